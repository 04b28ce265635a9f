//! `tokenizer_config.json`: what decides beside the tokenizer's own file.

use std::path::Path;

use bayeslora_host::read;
use serde_json::{Map, Value};
use tokenizers::TruncationDirection;

use crate::error::{Error, Result};

/// What `tokenizer_config.json` says of the computation; absent and null alike leave the tokenizer's own file as it is.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) do_lower_case: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) tokenize_chinese_chars: Option<bool>,
    /// Whether RoBERTa's tokenizer puts a space before a text; none for other tokenizers.
    pub(super) space_before: Option<bool>,
    pub(super) truncation_side: Option<TruncationDirection>,
    /// Tokens; none where the file has transformers' "no limit", a number far beyond any text.
    pub(super) model_max_length: Option<usize>,
}

/// Lengths from here on mean "no limit".
const NO_LIMIT: f64 = 1e9;

impl Settings {
    /// Reads `tokenizer_config.json` of a folder; without the file nothing is set.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer_config.json");
        if !path.is_file() {
            return Ok(Self::default());
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
        let model_max_length = match find("model_max_length") {
            None => None,
            Some(value) => {
                let length = value.as_f64().filter(|length| *length >= 1.0);
                let length = length.ok_or_else(|| refused("model_max_length", "a number of tokens, at least 1"))?;
                value.as_u64().filter(|_| length < NO_LIMIT).and_then(|length| usize::try_from(length).ok())
            }
        };
        // These classes of transformers read none of BERT's keys. The first puts no space before a text unless it is told to, whatever the
        // tokenizer's own file says.
        let class = find("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        let [roberta, xlm] = ["Roberta", "XLMRoberta"].map(|name| class.starts_with(name));
        let of_bert = |key: &str| if roberta || xlm { Ok(None) } else { truth(key) };
        let space = truth("add_prefix_space")?;
        if xlm && space == Some(false) {
            return Err(refused("add_prefix_space", "true, or none: versions of transformers differ in what false is"));
        }
        Ok(Self {
            do_lower_case: of_bert("do_lower_case")?,
            strip_accents: of_bert("strip_accents")?,
            tokenize_chinese_chars: of_bert("tokenize_chinese_chars")?,
            space_before: roberta.then_some(space.unwrap_or(false)),
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
