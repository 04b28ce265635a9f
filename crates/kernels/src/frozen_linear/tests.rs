//! Frozen maps against their plain twins, however they are held.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device};

use super::*;
use crate::testing::{assert_gradient, assert_twins, flat, normal, relative_difference};

#[test]
fn agrees_with_its_plain_twin_and_finite_differences() {
    for (x_samples, core_samples, with_bias) in
        [(1, 1), (1, 4), (4, 4), (4, 1)].into_iter().flat_map(|(x, core)| [(x, core, true), (x, core, false)])
    {
        let (d_out, d_in, rows, rank) = (37, 21, 45, 3);
        let bias = with_bias.then(|| normal(2, d_out).as_detached_tensor());
        let frozen = FrozenLinear::new(Frozen::dense(normal(1, (d_out, d_in)).as_detached_tensor()).unwrap(), bias);
        let x = normal(3, (x_samples, rows, d_in));
        let core = normal(4, (core_samples, rows, rank));
        let up = normal(5, (d_out, rank));
        let increment = || LowRankTerm { core: core.as_tensor(), up: up.as_tensor(), scale: 1.7, offset: None };
        let fast = || frozen.forward(&x, Some(increment())).unwrap();
        let plain = frozen.plain(&x, Some(increment())).unwrap();
        assert_twins(&[x.clone(), core.clone(), up.clone()], &fast(), &plain, 1e-5);
        for var in [&x, &core, &up] {
            assert_gradient(var, fast, 2e-3);
        }
        assert_twins(
            std::slice::from_ref(&x),
            &frozen.forward(&x, None).unwrap(),
            &frozen.plain(&x, None).unwrap(),
            1e-5,
        );
    }
}

/// The same matrix held in every way, with what it is when it is widened.
fn every_way(d_out: usize, d_in: usize) -> Vec<(String, Frozen, Tensor)> {
    let weight = normal(1, (d_out, d_in)).as_detached_tensor();
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let weight = weight.to_dtype(dtype).unwrap();
        let wide = weight.to_dtype(DType::F32).unwrap();
        all.push((format!("{dtype:?}"), Frozen::dense(weight).unwrap(), wide));
    }
    all.push(("in order".to_owned(), Frozen::dense(weight.clone()).unwrap().in_order().unwrap(), weight.clone()));
    for kind in [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K] {
        if d_in.is_multiple_of(kind.block_size()) {
            let quantised = QTensor::quantize(&weight, kind).unwrap();
            let wide = quantised.dequantize(&Device::Cpu).unwrap();
            all.push((format!("{kind:?}"), Frozen::quantised(quantised).unwrap(), wide));
        }
    }
    all
}

/// Values and gradients below the map are those of the widened matrix, and finite differences of themselves.
#[test]
fn however_it_is_held_it_is_the_widened_matrix() {
    for (d_out, d_in, rows) in [(37, 21, 5), (37, 256, 3), (50, 64, 70), (500, 2048, 2)] {
        for (what, frozen, wide) in every_way(d_out, d_in) {
            let bias = normal(2, d_out).as_detached_tensor();
            assert!(flat(&frozen.tensor(DType::F32).unwrap()) == flat(&wide), "{what}");
            let numbers = [3, 0, 36];
            let picked = wide.index_select(&Tensor::new(&numbers, &Device::Cpu).unwrap(), 0).unwrap();
            assert_eq!(flat(&frozen.rows(&numbers).unwrap()), flat(&picked), "{what}");
            let frozen = FrozenLinear::new(frozen, bias.clone());
            let plain = FrozenLinear::new(Frozen::dense(wide).unwrap(), bias);
            for (x_samples, core_samples) in [(1, 1), (1, 3), (3, 3), (3, 1)] {
                let (x, core) = (normal(3, (x_samples, rows, d_in)), normal(4, (core_samples, rows, 2)));
                let up = normal(5, (d_out, 2));
                let term = LowRankTerm { core: core.as_tensor(), up: up.as_tensor(), scale: 1.7, offset: None };
                let fast = || frozen.forward(&x, Some(term)).unwrap();
                let vars = [x.clone(), core.clone(), up.clone()];
                assert_twins(&vars, &fast(), &plain.plain(&x, Some(term)).unwrap(), 1e-5);
                let alone = || frozen.forward(&x, None).unwrap();
                assert_twins(std::slice::from_ref(&x), &alone(), &plain.plain(&x, None).unwrap(), 1e-5);
                if d_in < 100 {
                    assert_gradient(&x, alone, 2e-3);
                }
                let samples = x_samples.max(core_samples);
                let core = core.broadcast_as((samples, rows, 2)).unwrap();
                let (core, up) = (flat(&core.contiguous().unwrap()), flat(&up));
                let term = LowRankValues { core: &core, up: &up, scale: 1.7, rank: 2 };
                let scratch = &mut FrozenScratch::default();
                for (term, expected) in [(None, alone()), (Some(term), fast())] {
                    let mut out = vec![f32::NAN; samples * rows * d_out];
                    frozen.forward_into(&mut out, &flat(&x), term, scratch).unwrap();
                    let out = Tensor::from_vec(out, (samples, rows, d_out), &Device::Cpu).unwrap();
                    let expected = expected.broadcast_as(out.shape()).unwrap();
                    assert!(relative_difference(&out, &expected) < 1e-5, "{what}");
                }
            }
        }
    }
}

/// The bytes are those of the file, and rows that are not there are refused.
#[test]
fn nothing_is_widened_to_be_held() {
    let of = |what: &str| every_way(48, 256).into_iter().find(|(name, ..)| name == what).unwrap().1;
    for (what, bytes) in
        [("F32", 48 * 256 * 4), ("F16", 48 * 256 * 2), ("BF16", 48 * 256 * 2), ("Q4_1", 48 * 256 / 32 * 20)]
    {
        assert_eq!(of(what).bytes(), bytes, "{what}");
        assert!(of(what).rows(&[48]).unwrap_err().to_string().contains("row 48 of 48"));
    }
    assert_eq!(of("in order").bytes(), (48 * 256 + 16) * 4);
    assert!(Frozen::dense(Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap()).is_err());
}

/// Activations of half precision on a processor meet the matrix in their own type.
#[test]
fn half_precision_activations() {
    for (what, frozen, wide) in every_way(40, 256) {
        let x = normal(3, (2, 3, 256)).to_dtype(DType::BF16).unwrap();
        let out = FrozenLinear::new(frozen, None).forward(&x, None).unwrap();
        assert_eq!(out.dtype(), DType::BF16);
        let exact = x.to_dtype(DType::F32).unwrap().broadcast_matmul(&wide.t().unwrap()).unwrap();
        assert!(relative_difference(&out.to_dtype(DType::F32).unwrap(), &exact) < 1e-2, "{what}");
    }
}
