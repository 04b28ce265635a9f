//! Every operation, with its gradients, on the device beside the processor's fast path.

use anyhow::Result;
use bayeslora_benches::normal;
use bayeslora_kernels::{
    Activation, Context, Counter, Draws, Frozen, FrozenLinear, Heads, Keep, LowRankTerm, Mask, Packing, Rotary, Turn,
    add_layer_norm, attention_within, dropout, gated, rms_norm, weight_dropout,
};
use candle_core::{Device, Tensor, Var};

use crate::checks::Check;

/// Sums of some hundred products in another order.
const TOLERANCE: f64 = 2e-5;
const SAMPLES: usize = 3;
const ROWS: usize = 45;
const WIDTH: usize = 64;

/// What an operation makes of its arguments.
type Operation<'a> = Box<dyn Fn(&[&Tensor]) -> candle_core::Result<Tensor> + 'a>;

pub(crate) fn check(device: &Device) -> Result<Vec<Check>> {
    let all = [SAMPLES, ROWS, WIDTH];
    let there = |x: &Tensor, number: u32, shape: &[usize]| normal(number, shape).to_device(x.device());
    let weight = |x: &Tensor| there(x, 90, &[WIDTH]);
    let bias = |x: &Tensor| there(x, 91, &[WIDTH]);
    let frozen = |x: &Tensor| there(x, 92, &[WIDTH, WIDTH]);
    let packing = Packing::from_lengths(&[20, 1, 24]);
    let heads = Heads { cap: Some(5.0), ..Heads::new(4, 2, 16, Mask::Window(7)) };
    let context = Context::sentences(&packing)?;
    let frequencies: Vec<f64> = (0..8).map(|i| 1e4_f64.powf(-f64::from(i) / 8.0)).collect();
    let rotary = Rotary::new(&frequencies, ROWS)?;
    let positions: Vec<u32> = context.positions().to_vec();
    let keep = Keep { threshold: (1 << 32) / 10 * 7, value: 1.0 / 0.7 };
    let mut operations: Vec<(String, Vec<Vec<usize>>, Operation<'_>)> = Vec::new();
    for activation in Activation::ALL {
        operations.push((format!("{activation:?}"), vec![all.to_vec()], Box::new(move |x| activation.apply(x[0]))));
    }
    operations.push(("gated".into(), vec![all.to_vec(); 2], Box::new(|x| gated(Activation::Silu, x[0], x[1]))));
    operations.push((
        "layer norm of a sum".into(),
        vec![all.to_vec(), vec![1, ROWS, WIDTH]],
        Box::new(|x| add_layer_norm(x[0], x[1], &weight(x[0])?, &bias(x[0])?, 1e-12)),
    ));
    operations.push(("RMS norm".into(), vec![all.to_vec()], Box::new(|x| rms_norm(x[0], &weight(x[0])?, 1e-6))));
    operations.push(("rotary positions".into(), vec![all.to_vec()], Box::new(|x| rotary.apply(x[0], &positions))));
    operations.push((
        "attention".into(),
        vec![all.to_vec(), vec![SAMPLES, ROWS, WIDTH / 2], vec![1, ROWS, WIDTH / 2]],
        Box::new(|x| attention_within(x[0], x[1], x[2], &context, &heads)),
    ));
    operations.push(("dropout".into(), vec![vec![1, ROWS, WIDTH]], Box::new(move |x| dropout(x[0], draws()?, keep))));
    operations.push((
        "weight dropout".into(),
        vec![all.to_vec(), vec![4, WIDTH]],
        Box::new(move |x| weight_dropout(x[0], x[1], draws()?, keep)),
    ));
    operations.push((
        "frozen map with a low-rank pair".into(),
        vec![vec![1, ROWS, WIDTH], vec![SAMPLES, ROWS, 4], vec![WIDTH, 4]],
        Box::new(|x| {
            let term = LowRankTerm { core: x[1], up: x[2], scale: 1.7, offset: None };
            FrozenLinear::new(Frozen::dense(frozen(x[0])?)?, bias(x[0])?).forward(x[0], Some(term))
        }),
    ));
    let mut checks = Vec::new();
    for (name, shapes, operation) in &operations {
        let (expected, found) = (results(&Device::Cpu, shapes, operation)?, results(device, shapes, operation)?);
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let what = if place == 0 { name.clone() } else { format!("{name}, gradient {place}") };
            checks.push(Check::of(what, found, expected, TOLERANCE)?);
        }
    }
    Ok(checks)
}

/// The value of an operation, and the gradient of a fixed projection of it by each argument.
fn results(device: &Device, shapes: &[Vec<usize>], operation: &Operation<'_>) -> Result<Vec<Tensor>> {
    let vars =
        (1..).zip(shapes).map(|(number, shape)| Ok(Var::from_tensor(&normal(number, shape).to_device(device)?)?));
    let vars: Vec<Var> = vars.collect::<Result<_>>()?;
    let value = operation(&vars.iter().map(Var::as_tensor).collect::<Vec<_>>())?;
    let direction = normal(99, value.dims()).to_device(device)?;
    let gradients = (&value * direction)?.sum_all()?.backward()?;
    let mut all = vec![value.detach()];
    for var in &vars {
        all.push(gradients.get(var).map_or_else(|| var.zeros_like(), |gradient| Ok(gradient.clone()))?);
    }
    Ok(all)
}

/// Words of every row of some samples.
fn draws() -> candle_core::Result<Draws> {
    let mut draws = Draws::of_rows(ROWS);
    for sample in (0..).take(SAMPLES) {
        let counters = (0..).take(ROWS).map(|row| Counter { key: [1, 2], upper: [3, row, sample] });
        draws.push_group(counters, [Turn::NONE])?;
    }
    Ok(draws)
}
