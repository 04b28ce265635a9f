//! What is refused: files that are damaged, and models that would be computed wrongly.

use bayeslora_models::Gguf;
use candle_core::Tensor;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;

use crate::parts::{DEVICE, converted, count, golden};

#[test]
fn what_would_be_computed_wrongly_is_refused_with_its_key_and_value() {
    let (llama, _) = converted("llama_plain", "llama");
    let text = |text: &str| Value::String(text.to_owned());
    for (parts, expected) in [
        (
            llama.clone().key("general.architecture", text("phi3")),
            "general.architecture is \"phi3\"; decoders here are \"llama\"",
        ),
        (llama.clone().key("general.architecture", Value::U8(1)), "general.architecture is 1; expected a text"),
        (llama.clone().key("general.type", text("adapter")), "general.type is \"adapter\"; expected \"model\""),
        (
            llama.clone().key("split.count", Value::U16(3)),
            "is one of 3 parts (split.count); join them with llama-gguf-split",
        ),
        (
            llama.clone().key("llama.expert_count", Value::U32(8)),
            "llama.expert_count is 8; expected none: mixtures of experts",
        ),
        (
            llama.clone().key("llama.rope.dimension_count", Value::U32(8)),
            "llama.rope.dimension_count is 8; expected 16, the width of a head",
        ),
        (
            llama.clone().key("llama.attention.value_length", Value::U32(8)),
            "llama.attention.value_length is 8; expected 16",
        ),
        (
            llama.clone().key("llama.rope.scaling.type", text("yarn")),
            "llama.rope.scaling.type is \"yarn\"; expected \"none\" or \"linear\"",
        ),
        (
            llama.clone().key("llama.attention.sliding_window", Value::U32(8)),
            "llama.attention.sliding_window is 8; expected none",
        ),
        (
            llama.clone().key("llama.attention.head_count_kv", Value::U32(3)),
            "llama.attention.head_count 4 is not a multiple of llama.attention.head_count_kv 3",
        ),
        (llama.clone().key("llama.block_count", Value::I32(-1)), "llama.block_count is -1; expected a whole number"),
        (llama.clone().key("llama.block_count", Value::U32(1000)), "llama.block_count is 1000; expected 1 to 253"),
        (
            llama.clone().key("llama.embedding_length", Value::Array(vec![])),
            "llama.embedding_length is a list of 0; expected a whole",
        ),
    ] {
        let message = parts.refused();
        assert!(message.starts_with(&format!("tiny.gguf: {expected}")), "{message}");
    }
    let mut parts = llama.clone();
    parts.keys.remove("llama.context_length");
    assert_eq!(parts.refused(), "tiny.gguf: has no llama.context_length; expected a whole model");
    let mut parts = llama;
    parts.tensors.remove("token_embd.weight");
    assert_eq!(parts.refused(), "tiny.gguf: has no token_embd.weight; expected a whole Llama model");
    let (gemma, _) = converted("gemma3", "gemma3");
    let gemma = gemma.key("gemma3.attention.sliding_window", count(8));
    assert_eq!(gemma.refused(), "tiny.gguf: gemma3.rope.freq_base is missing; expected a number above 0");
}

/// The file with `find` replaced.
fn patched(bytes: &[u8], find: &[u8], with: &[u8]) -> Vec<u8> {
    let at = bytes.windows(find.len()).position(|window| window == find).unwrap();
    [&bytes[..at], with, &bytes[at + find.len()..]].concat()
}

#[test]
fn damaged_files_are_refused_and_none_makes_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let opened = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let message = Gguf::open(&path).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message.replace(&path.display().to_string(), "tiny.gguf")
    };
    let bytes = std::fs::read(golden("types.gguf")).unwrap();
    // Cut off all over the head, and within the tensors.
    for length in (0..1200).step_by(7).chain([4000, bytes.len() - 33]) {
        let message = opened(&bytes[..length]);
        let known =
            ["not a complete GGUF file (", "not a GGUF file (", "ends within blk.", "has no general.architecture"];
        assert!(known.iter().any(|known| message.starts_with(&format!("tiny.gguf: {known}"))), "{length}: {message}");
    }
    assert!(opened(b"{\"a\": 1}").starts_with("tiny.gguf: not a complete GGUF file (unknown magic"));
    assert!(opened(b"version https://git-lfs.github.com/spec/v1\n").starts_with("tiny.gguf: a pointer of Git LFS"));
    // The type of a tensor stands after its two sizes.
    let sizes = [256_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat();
    let with = |kind: u32| {
        patched(&bytes, &[&sizes[..], &3_u32.to_le_bytes()].concat(), &[&sizes[..], &kind.to_le_bytes()].concat())
    };
    let message = opened(&with(20));
    let expected = "tiny.gguf: has tensors of type 20 (IQ4_NL), which are not read; make a file of type F16, Q8_0, ";
    assert!(message.starts_with(expected), "{message}");
    assert!(opened(&with(77)).starts_with("tiny.gguf: has tensors of type 77, which are not read; make a file"));
    assert!(opened(&with(15)).starts_with("tiny.gguf: blk.4.ffn_up.weight is of type Q8K, which is not read; make"));
    // Sizes whose product is beyond 64 bits, and a row that is no whole number of blocks.
    let large = [(1_u64 << 62).to_le_bytes(), 8_u64.to_le_bytes()].concat();
    assert!(
        opened(&patched(&bytes, &sizes, &large))
            .starts_with("tiny.gguf: ends within blk.0.ffn_up.weight; it is cut off")
    );
    let odd = [250_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat();
    let kinds = [&sizes[..], &12_u32.to_le_bytes()].concat();
    let message = opened(&patched(&bytes, &kinds, &[&odd[..], &12_u32.to_le_bytes()].concat()));
    assert!(
        message.starts_with("tiny.gguf: blk.10.ffn_up.weight has shape [2, 250]; expected rows of a multiple of 256")
    );
    let (parts, _) = converted("qwen2", "qwen2");
    let message = parts.clone().key("general.alignment", Value::U32(0)).refused();
    assert!(message.starts_with("tiny.gguf: not a GGUF file ("), "{message}");
}

#[test]
fn tensors_that_are_missing_or_damaged_are_refused_by_name() {
    let (mut parts, _) = converted("qwen2", "qwen2");
    let mut numbers = vec![0.5_f32; 96 * 64];
    for (block, kind, value) in [(0, GgmlDType::BF16, f32::NAN), (1, GgmlDType::Q8_0, f32::INFINITY)] {
        numbers[70] = value;
        let tensor = Tensor::from_vec(numbers.clone(), (96, 64), &DEVICE).unwrap();
        parts.tensors.insert(format!("blk.{block}.ffn_up.weight"), (tensor, Some(kind)));
    }
    parts.tensors.remove("blk.2.attn_q.weight");
    let (_folder, path) = parts.write();
    let gguf = Gguf::open(&path).unwrap();
    let refused = |name: &str, shape: &[usize]| {
        let message = gguf.stored(name, shape, &DEVICE).unwrap_err().to_string();
        message.replace(&path.display().to_string(), "tiny.gguf")
    };
    for block in 0..2 {
        let message = refused(&format!("model.layers.{block}.mlp.up_proj.weight"), &[96, 64]);
        let expected = format!("tiny.gguf: blk.{block}.ffn_up.weight [96, 64] has the value ");
        assert!(message.starts_with(&expected), "{message}");
    }
    let message = refused("model.layers.2.self_attn.q_proj.weight", &[64, 64]);
    let expected = "tiny.gguf: has no tensor model.layers.2.self_attn.q_proj.weight (here blk.2.attn_q.weight); expected a whole Qwen2 model";
    assert_eq!(message, expected);
    assert_eq!(
        refused("score.weight", &[3, 64]),
        "tiny.gguf: has no tensor score.weight; expected a whole Qwen2 model"
    );
    let message = refused("model.norm.weight", &[65]);
    assert_eq!(message, "tiny.gguf: output_norm.weight has shape [64]; its metadata says [65]");
    assert!(
        gguf.has("model.norm.weight")
            && !gguf.has("score.weight")
            && !gguf.has("model.layers.2.self_attn.q_proj.weight")
    );
}
