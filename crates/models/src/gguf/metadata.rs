//! What a GGUF file says of itself, by key, with types.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;

use super::rows::Heads;
use crate::decoder::Family;

/// The keys of a file.
pub(crate) struct Metadata<'a> {
    map: &'a HashMap<String, Value>,
}

impl<'a> Metadata<'a> {
    pub(crate) fn new(map: &'a HashMap<String, Value>) -> Self {
        Self { map }
    }

    pub(crate) fn find(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key)
    }

    /// "`key` is `value`; expected `expected`".
    pub(crate) fn refused(&self, key: &str, expected: &str) -> String {
        let value = match self.map.get(key) {
            None => "missing".to_owned(),
            Some(Value::Array(list)) => format!("a list of {}", list.len()),
            Some(Value::String(text)) => format!("{:?}", text.chars().take(60).collect::<String>()),
            Some(Value::Bool(truth)) => truth.to_string(),
            Some(value) => signed_of(value)
                .map(|number| number.to_string())
                .or_else(|| number_of(value).map(|number| number.to_string()))
                .unwrap_or_default(),
        };
        format!("{key} is {value}; expected {expected}")
    }

    /// A whole number.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.map.get(key) else { return Ok(None) };
        let count = whole_of(value).and_then(|count| usize::try_from(count).ok());
        count.map(Some).ok_or_else(|| self.refused(key, "a whole number"))
    }

    /// A whole number of at least 1.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, String> {
        match self.count(key)? {
            Some(0) => Err(self.refused(key, "a whole number of at least 1")),
            size => Ok(size),
        }
    }

    /// A finite number of at least 0.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.map.get(key) else { return Ok(None) };
        let number = number_of(value).filter(|number| number.is_finite() && *number >= 0.0);
        number.map(Some).ok_or_else(|| self.refused(key, "a number of at least 0"))
    }

    /// True or false.
    pub(crate) fn truth(&self, key: &str) -> Result<Option<bool>, String> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(_) => Err(self.refused(key, "true or false")),
        }
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refused(key, "a text")),
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, String> {
        let text = |value: &'a Value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        };
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => {
                list.iter().map(text).collect::<Option<_>>().map(Some).ok_or_else(|| self.refused(key, "texts"))
            }
            Some(_) => Err(self.refused(key, "a list of texts")),
        }
    }

    /// A list of whole numbers.
    pub(crate) fn counts(&self, key: &str) -> Result<Option<Vec<u64>>, String> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => list
                .iter()
                .map(whole_of)
                .collect::<Option<_>>()
                .map(Some)
                .ok_or_else(|| self.refused(key, "whole numbers")),
            Some(_) => Err(self.refused(key, "a list of whole numbers")),
        }
    }

    /// How many heads a map's rows belong to.
    pub(crate) fn heads(&self, family: &Family, of: Heads) -> Result<usize, String> {
        let key = |end: &str| format!("{}.attention.{end}", family.gguf.unwrap_or_default());
        let all = key("head_count");
        let queries = self.size(&all)?.ok_or_else(|| format!("has no {all}; expected a whole model"))?;
        match of {
            Heads::Queries => Ok(queries),
            Heads::Keys => Ok(self.size(&key("head_count_kv"))?.unwrap_or(queries)),
        }
    }
}

fn whole_of(value: &Value) -> Option<u64> {
    match *value {
        Value::U64(number) => Some(number),
        _ => signed_of(value)?.try_into().ok(),
    }
}

/// A whole number of any type but the widest without a sign.
fn signed_of(value: &Value) -> Option<i64> {
    match *value {
        Value::U8(number) => Some(number.into()),
        Value::U16(number) => Some(number.into()),
        Value::U32(number) => Some(number.into()),
        Value::I8(number) => Some(number.into()),
        Value::I16(number) => Some(number.into()),
        Value::I32(number) => Some(number.into()),
        Value::I64(number) => Some(number),
        _ => None,
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match *value {
        // The decimal that was rounded to f32, such as 1e-5.
        Value::F32(number) => number.to_string().parse().ok(),
        Value::F64(number) => Some(number),
        _ => whole_of(value).map(|number| number as f64),
    }
}
