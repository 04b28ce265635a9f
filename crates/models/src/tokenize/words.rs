//! How byte-level vocabularies cut a text into words before their merges: by the names of `tokenizer.ggml.pre`, as in the models' own
//! tokenizer.json.

use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

/// The words of one kind of vocabulary.
pub(super) struct Words {
    /// Its names.
    names: &'static [&'static str],
    cut: Cut,
    /// Whether characters are composed first (NFC).
    pub(super) composed: bool,
    /// Whether a word that is a token is taken whole, whatever the merges make of it.
    pub(super) whole: bool,
    /// Whether the token of the beginning stands before a text, where a file does not say.
    pub(super) adds_bos: bool,
}

/// Where words end.
enum Cut {
    /// As in GPT-2.
    Gpt2,
    /// The same, with digits apart from each other.
    Digits,
    /// At the ends of matches.
    Pattern(&'static str),
}

/// Up to three digits a word.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// One digit a word.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// One digit a word, and a word ends where capitals begin.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const PLAIN: Words =
    Words { names: &["gpt-2", "phi-2"], cut: Cut::Gpt2, composed: false, whole: false, adds_bos: false };

/// The kinds that are read.
static KINDS: [Words; 6] = [
    PLAIN,
    Words { names: &["smollm", "starcoder"], cut: Cut::Digits, ..PLAIN },
    Words {
        names: &["llama-bpe", "llama3", "llama-v3"],
        cut: Cut::Pattern(LLAMA3),
        whole: true,
        adds_bos: true,
        ..PLAIN
    },
    Words { names: &["smaug-bpe", "dbrx"], cut: Cut::Pattern(LLAMA3), ..PLAIN },
    Words { names: &["qwen2"], cut: Cut::Pattern(QWEN2), composed: true, ..PLAIN },
    Words { names: &["tekken"], cut: Cut::Pattern(TEKKEN), whole: true, adds_bos: true, ..PLAIN },
];

impl Words {
    /// The kind of that name.
    pub(super) fn of(name: &str) -> Result<&'static Self, String> {
        KINDS.iter().find(|words| words.names.contains(&name)).ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().flat_map(|words| words.names).copied().collect();
            format!(
                "tokenizer.ggml.pre is \"{name}\"; the words of {} are known: take the model's own tokenizer.json",
                known.join(", ")
            )
        })
    }

    /// What cuts a text, and spells its bytes.
    pub(super) fn cutter(&self) -> tokenizers::Result<PreTokenizerWrapper> {
        let bytes = |cuts: bool| ByteLevel::new(false, true, cuts).into();
        Ok(match self.cut {
            Cut::Gpt2 => bytes(true),
            Cut::Digits => Sequence::new(vec![Digits::new(true).into(), bytes(true)]).into(),
            Cut::Pattern(pattern) => {
                let pattern = SplitPattern::Regex(pattern.to_owned());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
                Sequence::new(vec![split.into(), bytes(false)]).into()
            }
        })
    }
}
