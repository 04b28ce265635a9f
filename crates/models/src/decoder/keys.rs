//! Keys of a JSON object with their types: what is not of its type is refused with the key and the value.

use serde_json::{Map, Value};

/// A JSON object, and the path that its keys are named with in messages.
///
/// Absent and null are told apart where transformers does: a key that is absent has its class' default, a null means "none".
pub(crate) struct Keys<'a> {
    map: &'a Map<String, Value>,
    /// Before every key: nothing, or the path of an inner object with a dot.
    before: String,
}

/// What is wrong, in one line, without the file.
pub(crate) type Problem = String;

impl<'a> Keys<'a> {
    /// The keys of a whole file.
    pub(crate) fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, before: String::new() }
    }

    /// The keys of the object at `key`; none where it is absent or null.
    pub(crate) fn inner(&self, key: &str) -> Result<Option<Self>, Problem> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.refused(key, "an object of keys"))?;
        Ok(Some(Self { map, before: format!("{}{key}.", self.before) }))
    }

    /// The key as messages name it.
    pub(crate) fn spelt(&self, key: &str) -> String {
        format!("{}{key}", self.before)
    }

    /// Whether the key is there, be it null.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value, if there is one and it is not null.
    pub(crate) fn find(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// "`key` is `value`; expected `expected`".
    pub(crate) fn refused(&self, key: &str, expected: &str) -> Problem {
        let value = self.map.get(key).unwrap_or(&Value::Null);
        format!("{} is {value}; expected {expected}", self.spelt(key))
    }

    /// A whole number of at least 1.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, Problem> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        size.map(Some).ok_or_else(|| self.refused(key, "a whole number of at least 1"))
    }

    /// A whole number.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, Problem> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.map(Some).ok_or_else(|| self.refused(key, "a whole number"))
    }

    /// A finite number above 0.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, Problem> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
        number.map(Some).ok_or_else(|| self.refused(key, "a number above 0"))
    }

    /// True or false.
    pub(crate) fn truth(&self, key: &str) -> Result<Option<bool>, Problem> {
        let Some(value) = self.find(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.refused(key, "true or false"))
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Problem> {
        let Some(value) = self.find(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.refused(key, "a text in quotes"))
    }

    /// Numbers of tokens, one or a list; a negative one stands for none, as older files have it.
    pub(crate) fn tokens(&self, key: &str) -> Result<Vec<u32>, Problem> {
        let token = |value: &Value| match value.as_i64() {
            Some(number) if number < 0 => Ok(None),
            _ => value.as_u64().and_then(|number| u32::try_from(number).ok()).map(Some).ok_or(()),
        };
        let found = match self.find(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(token).collect(),
            Some(value) => token(value).map(|token| vec![token]),
        };
        let found: Vec<Option<u32>> = found.map_err(|()| self.refused(key, "the number of a token"))?;
        Ok(found.into_iter().flatten().collect())
    }
}
