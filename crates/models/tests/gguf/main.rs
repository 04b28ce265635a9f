//! GGUF files: values of every type against the gguf package (`golden/generate_gguf.py`), descriptions against config.json, the order of
//! rows against the converter's formula, and what is refused.
#![cfg(test)]

mod parts;
mod real;
mod refusals;
mod words;

use bayeslora_models::{Checkpoint, DecoderConfig, Gguf, Stored};
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{DType, Tensor};

use crate::parts::{DEVICE, config, converted, count, golden, narrow, values};

#[test]
fn every_type_is_read_as_the_gguf_package_reads_it() {
    let expected = candle_core::safetensors::load(golden("types.safetensors"), &DEVICE).unwrap();
    let gguf = Gguf::open(&golden("types.gguf")).unwrap();
    assert_eq!(expected.len(), 13);
    for (name, expected) in expected {
        let (kind, name) = name.split_once(' ').unwrap();
        let stored = gguf.stored(name, &[2, 256], &DEVICE).unwrap();
        let is_told = match &stored {
            Stored::Dense(tensor) => format!("{:?}", tensor.dtype()) == kind,
            Stored::Quantised(tensor) => format!("{:?}", tensor.dtype()).replace('_', "") == kind.replace('_', ""),
        };
        assert!(is_told, "{kind}: {stored:?}");
        let (got, expected) = (values(&stored.dense(&DEVICE).unwrap()), values(&expected));
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.1);
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() <= 1e-6 * largest, "{kind}: {got} against {expected}");
        }
    }
}

#[test]
fn a_file_describes_the_same_decoder_as_config_json() {
    for (name, architecture, more) in [
        ("llama_plain", "llama", vec![("rope.freq_base", Value::F32(1e4))]),
        ("qwen2", "qwen2", vec![("rope.freq_base", Value::F32(1e6))]),
        ("qwen3", "qwen3", vec![("rope.freq_base", Value::F32(1e6))]),
        (
            "gemma2",
            "gemma2",
            vec![
                ("attention.sliding_window", Value::U32(8)),
                ("attn_logit_softcapping", Value::F32(5.0)),
                ("final_logit_softcapping", Value::F32(8.0)),
                ("attention.scale", Value::F32(32_f32.sqrt().recip())),
            ],
        ),
        (
            "gemma3",
            "gemma3",
            vec![
                ("rope.freq_base", Value::F32(1e6)),
                ("rope.scaling.type", Value::String("linear".to_owned())),
                ("rope.scaling.factor", Value::F32(8.0)),
                ("attention.sliding_window", Value::U32(8)),
                ("attention.sliding_window_pattern", Value::U32(3)),
                ("attention.scale", Value::F32(32_f32.sqrt().recip())),
            ],
        ),
    ] {
        let (mut parts, tensors) = converted(name, architecture);
        for (key, value) in more {
            parts = parts.key(&format!("{architecture}.{key}"), value);
        }
        let (_folder, path) = parts.write();
        let (got, checkpoint) = Checkpoint::open(&path, &DEVICE).unwrap();
        let expected = config(name);
        assert!((got.attention_scale / expected.attention_scale - 1.0).abs() < 1e-6, "{name}");
        // The sum is in the file.
        let same = DecoderConfig {
            attention_scale: got.attention_scale,
            norm_plus_one: false,
            stored_dtype: Some(DType::F32),
            ..expected
        };
        assert_eq!(got, same, "{name}");
        for (name, shape) in got.parameters() {
            assert_eq!(values(&checkpoint.dense(&name, &shape).unwrap()), values(&tensors[&name]), "{name}");
        }
    }
}

#[test]
fn slower_turns_are_read_from_their_tensor() {
    let (mut parts, _) = converted("llama3", "llama");
    // `convert_hf_to_gguf` writes the factors of Llama 3.1 in f32.
    let factors: Vec<f32> = (0..8)
        .map(|pair| {
            let wavelength = std::f64::consts::TAU * 5e5_f64.powf(f64::from(pair) / 8.0);
            let smooth = (32.0 / wavelength - 1.0) / 3.0;
            let factor = if wavelength < 8.0 {
                1.0
            } else if wavelength > 32.0 {
                8.0
            } else {
                1.0 / ((1.0 - smooth) / 8.0 + smooth)
            };
            narrow(factor)
        })
        .collect();
    parts = parts.key("llama.rope.freq_base", Value::F32(5e5));
    let factors_of = |factors: &[f32]| (Tensor::new(factors, &DEVICE).unwrap(), None);
    parts.tensors.insert("rope_freqs.weight".to_owned(), factors_of(&factors));
    let (_folder, path) = parts.write();
    let got = Gguf::open(&path).unwrap().config().unwrap();
    for (got, expected) in got.ropes[0].inverse_frequencies.iter().zip(&config("llama3").ropes[0].inverse_frequencies) {
        assert!((got / expected - 1.0).abs() < 1e-7, "{got} against {expected}");
    }
    parts.tensors.insert("rope_freqs.weight".to_owned(), factors_of(&factors[1..]));
    assert_eq!(parts.refused(), "tiny.gguf: rope_freqs.weight has 7 values; expected 8 above 0, one for each pair");
}

#[test]
fn rows_of_blocks_of_bits_are_moved_as_those_of_numbers() {
    for architecture in ["llama", "qwen2"] {
        let (mut parts, tensors) = converted("qwen2", architecture);
        for (name, (_, kind)) in &mut parts.tensors {
            if name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight") {
                *kind = Some(GgmlDType::Q8_0);
            }
        }
        let (_folder, path) = parts.write();
        let gguf = Gguf::open(&path).unwrap();
        for (name, shape) in [("q_proj", [64, 64]), ("k_proj", [32, 64])] {
            let name = format!("model.layers.1.self_attn.{name}.weight");
            let stored = gguf.stored(&name, &shape, &DEVICE).unwrap();
            let Stored::Quantised(blocks) = &stored else { panic!("{stored:?}") };
            assert_eq!((blocks.dtype(), blocks.shape().dims()), (GgmlDType::Q8_0, &shape[..]));
            for (got, expected) in values(&stored.dense(&DEVICE).unwrap()).iter().zip(values(&tensors[&name])) {
                assert!(
                    (got - expected).abs() <= 0.5 / 127.0 + 1e-3,
                    "{architecture} {name}: {got} against {expected}"
                );
            }
        }
    }
}

#[test]
fn the_largest_gemmas_scale_by_the_width_for_each_head() {
    for (architecture, folder, blocks, expected) in
        [("gemma2", "gemma2", 46, 16.0_f64), ("gemma2", "gemma2", 42, 24.0), ("gemma3", "gemma3", 62, 16.0)]
    {
        let (parts, _) = converted(folder, architecture);
        let parts = parts
            .key(&format!("{architecture}.block_count"), count(blocks))
            .key(&format!("{architecture}.rope.freq_base"), Value::F32(1e4))
            .key(&format!("{architecture}.attention.sliding_window"), count(8));
        let (_folder, path) = parts.write();
        let config = Gguf::open(&path).unwrap().config().unwrap();
        assert!((config.attention_scale - expected.sqrt().recip()).abs() < 1e-12, "{}", config.attention_scale);
        assert_eq!(
            config.blocks.iter().filter(|block| block.window.is_none()).count(),
            blocks / if folder == "gemma2" { 2 } else { 6 }
        );
    }
}
