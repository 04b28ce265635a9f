//! `tokenizer_config.json`: what decides beside the tokenizer's own file.

use std::path::Path;

use bayeslora_host::read;
use serde_json::{Map, Value};
use tokenizers::TruncationDirection;

use crate::error::{Error, Result};

/// Which of transformers' classes reads a folder: each puts other things on top of the tokenizer's own file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Class {
    /// Makes everything but the vocabulary anew from its own settings: lower case unless told otherwise, `[CLS] a [SEP] b [SEP]`.
    Bert,
    /// Puts no space before a text unless told to, whatever the tokenizer's own file says.
    Roberta,
    /// Reads none of BERT's keys.
    XlmRoberta,
    /// Reads the tokenizer's own file and nothing else.
    Plain,
    /// One that this program does not know by name, or none.
    #[default]
    Other,
}

impl Class {
    /// By `tokenizer_class`, else by the `model_type` of the model in the same folder, as `AutoTokenizer` does.
    fn of(class: Option<&str>, folder: &Path) -> Self {
        let starts = |name: &str, known: &[&str]| known.iter().any(|known| name.starts_with(known));
        let Some(class) = class else {
            let config = std::fs::read(folder.join("config.json")).unwrap_or_default();
            let config: Value = serde_json::from_slice(&config).unwrap_or_default();
            return match config["model_type"].as_str() {
                Some("bert" | "distilbert") => Self::Bert,
                Some("roberta") => Self::Roberta,
                Some("xlm-roberta") => Self::XlmRoberta,
                _ => Self::Other,
            };
        };
        match class {
            _ if starts(class, &["BertTokenizer", "DistilBertTokenizer"]) => Self::Bert,
            _ if starts(class, &["Roberta"]) => Self::Roberta,
            _ if starts(class, &["XLMRoberta"]) => Self::XlmRoberta,
            _ if starts(class, &["PreTrainedTokenizer", "TokenizersBackend"]) => Self::Plain,
            _ => Self::Other,
        }
    }
}

/// What `tokenizer_config.json` says of the computation; absent and null alike leave what the class does by itself.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) class: Class,
    pub(super) do_lower_case: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) tokenize_chinese_chars: Option<bool>,
    /// Whether RoBERTa's tokenizer puts a space before a text; none for other tokenizers.
    pub(super) space_before: Option<bool>,
    pub(super) truncation_side: Option<TruncationDirection>,
    /// Tokens; none where the file has transformers' "no limit", a number far beyond any text.
    pub(super) model_max_length: Option<usize>,
    /// The tokens before and after a text, of tokenizers that are not made anew.
    pub(super) marks: [Mark; 2],
}

/// A token that may stand around texts.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// Where it is told whether it does.
    pub(super) key: &'static str,
    pub(super) stands: Option<bool>,
    pub(super) text: Option<String>,
}

/// The keys of the marks before and after a text: whether they stand there, and their texts.
const MARKS: [(&str, &str); 2] = [("add_bos_token", "bos_token"), ("add_eos_token", "eos_token")];

/// The text of a token, which may have settings beside it.
fn text_of(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

/// Lengths from here on mean "no limit".
const NO_LIMIT: f64 = 1e9;

impl Settings {
    /// Reads `tokenizer_config.json` of a folder; without the file nothing is set.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer_config.json");
        if !path.is_file() {
            let class = Class::of(None, folder);
            return Ok(Self { class, space_before: (class == Class::Roberta).then_some(false), ..Self::default() });
        }
        let problem = |problem: String| Error::File { path: path.clone(), problem };
        let keys: Map<String, Value> = serde_json::from_slice(&read(&path)?)
            .map_err(|error| problem(format!("not the settings of a tokenizer: {error}")))?;
        let refused = |key: &str, expected: &str| problem(format!("{key} is {}; expected {expected}", keys[key]));
        let find = |key: &str| keys.get(key).filter(|value| !value.is_null());
        let truth = |key: &str| match find(key) {
            None => Ok(None),
            Some(value) => value.as_bool().map(Some).ok_or_else(|| refused(key, "true or false")),
        };
        let truncation_side = match find("truncation_side").map(Value::as_str) {
            None => None,
            Some(Some("left")) => Some(TruncationDirection::Left),
            Some(Some("right")) => Some(TruncationDirection::Right),
            Some(_) => return Err(refused("truncation_side", "\"left\" or \"right\"")),
        };
        // The second is the older name.
        let key = if keys.contains_key("model_max_length") { "model_max_length" } else { "max_len" };
        let model_max_length = match find(key) {
            None => None,
            Some(value) => {
                let wrong = || refused(key, "a whole number of tokens, at least 1");
                let length = value.as_f64().filter(|length| *length >= 1.0).ok_or_else(wrong)?;
                let whole = || value.as_u64().and_then(|length| usize::try_from(length).ok());
                if length >= NO_LIMIT { None } else { Some(whole().ok_or_else(wrong)?) }
            }
        };
        let class = Class::of(find("tokenizer_class").and_then(Value::as_str), folder);
        let reads_keys = matches!(class, Class::Bert | Class::Other);
        let of_bert = |key: &str| if reads_keys { truth(key) } else { Ok(None) };
        let space = truth("add_prefix_space")?;
        if class == Class::XlmRoberta && space == Some(false) {
            return Err(refused("add_prefix_space", "true, or none: versions of transformers differ in what false is"));
        }
        let is_made_anew = !matches!(class, Class::Plain | Class::Other);
        let mark = |(key, token)| {
            let stands = if is_made_anew { None } else { truth(key)? };
            Ok::<_, Error>(Mark { key, stands, text: find(token).and_then(text_of) })
        };
        let [before, after] = MARKS.map(mark);
        Ok(Self {
            marks: [before?, after?],
            class,
            do_lower_case: of_bert("do_lower_case")?,
            strip_accents: of_bert("strip_accents")?,
            tokenize_chinese_chars: of_bert("tokenize_chinese_chars")?,
            space_before: (class == Class::Roberta).then_some(space.unwrap_or(false)),
            truncation_side,
            model_max_length,
        })
    }

    /// Puts the settings of BERT's normaliser and of RoBERTa's spaces into `tokenizer.json`, which transformers lets them override.
    ///
    /// # Errors
    /// One line, where lower case or accents are asked of a tokenizer that has another normaliser.
    pub(super) fn apply(&self, json: &mut Value) -> Result<(), String> {
        let wanted = [
            ("lowercase", "do_lower_case", self.do_lower_case),
            ("strip_accents", "strip_accents", self.strip_accents),
            ("handle_chinese_chars", "tokenize_chinese_chars", self.tokenize_chinese_chars),
        ];
        let bytes = json.get_mut("pre_tokenizer").and_then(|json| of_type(json, "ByteLevel", "pretokenizers"));
        if let (Some(space), Some(bytes)) = (self.space_before, bytes) {
            bytes.insert("add_prefix_space".to_owned(), space.into());
        }
        // BERT's class makes its own normaliser for its own kind of vocabulary.
        if self.class == Class::Bert && json["model"]["type"] == "WordPiece" {
            return Ok(());
        }
        let normalizer = json.get_mut("normalizer").and_then(|json| of_type(json, "BertNormalizer", "normalizers"));
        match normalizer {
            Some(normalizer) => {
                for (theirs, _, value) in wanted {
                    if let Some(value) = value {
                        normalizer.insert(theirs.to_owned(), value.into());
                    }
                }
                Ok(())
            }
            // Other tokenizers of transformers do not read these keys; what asks for a change that is not made is refused.
            None => {
                match wanted.iter().find(|(_, key, value)| *key != "tokenize_chinese_chars" && *value == Some(true)) {
                    None => Ok(()),
                    Some((_, key, _)) => Err(format!(
                        "has no BertNormalizer, but tokenizer_config.json beside it says {key}: true; remove that key, or save the tokenizer anew"
                    )),
                }
            }
        }
    }
}

/// The part of type `kind`, alone or in a sequence, whose parts are at `sequence`.
fn of_type<'a>(part: &'a mut Value, kind: &str, sequence: &str) -> Option<&'a mut Map<String, Value>> {
    if part.get("type").and_then(Value::as_str) == Some(kind) {
        return part.as_object_mut();
    }
    part.get_mut(sequence)?.as_array_mut()?.iter_mut().find_map(|part| of_type(part, kind, sequence))
}
