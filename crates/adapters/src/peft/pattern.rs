//! Which modules the settings name: PEFT's lists of name ends and its Python regular expressions.

use std::fmt;

use fancy_regex::Regex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::{Error, Result};

/// The entries of a JSON object in the order of the file.
pub(super) struct Ordered(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of values by pattern")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Values by regular expression; the first expression that matches a module counts.
///
/// PEFT matches `re.match(r"(.*\.)?(KEY)$", module)`.
#[derive(Debug, Clone)]
pub struct Patterns<T>(Vec<(Regex, T)>);

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Patterns<T> {
    pub(super) fn push(&mut self, key: &str, value: T) -> Result<(), String> {
        self.0.push((compiled(&format!(r"\A(?:.*\.)?(?:{key})$"), key)?, value));
        Ok(())
    }

    /// The value of the first pattern that names `module`.
    pub(super) fn first(&self, module: &str) -> Result<Option<&T>> {
        for (regex, value) in &self.0 {
            if is_match(regex, module)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// How modules are named.
#[derive(Debug, Clone)]
pub(super) enum Modules {
    /// Every linear map outside the head.
    AllLinear,
    /// Paths, or ends of paths from a dot on.
    Named(Vec<String>),
    /// A regular expression for whole paths.
    Matching(Regex),
}

impl Modules {
    pub(super) fn matching(text: &str) -> Result<Self, String> {
        Ok(Self::Matching(compiled(&format!(r"\A(?:{text})\z"), text)?))
    }

    fn contain(&self, module: &str, linear: bool) -> Result<bool> {
        match self {
            Self::AllLinear => Ok(linear),
            Self::Named(names) => Ok(names.iter().any(|name| ends_with_module(module, name))),
            Self::Matching(regex) => is_match(regex, module),
        }
    }
}

/// Layers to which a list of names is restricted.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    numbers: Vec<u64>,
    /// Each with the layer's number as its group.
    patterns: Vec<Regex>,
}

impl Layers {
    pub(super) fn new(numbers: Vec<u64>, patterns: &[String]) -> Result<Self, String> {
        let patterns = if patterns.is_empty() {
            vec![compiled(r"\A.*?\.[^.]*\.(\d+)\.", "layers")?]
        } else {
            let one = |pattern: &String| compiled(&format!(r"\A(?:.*?\.)?(?:{pattern})\.(?P<idx>\d+)\."), pattern);
            patterns.iter().map(one).collect::<Result<_, _>>()?
        };
        Ok(Self { numbers, patterns })
    }

    fn contain(&self, module: &str) -> Result<bool> {
        for regex in &self.patterns {
            let found = regex.captures(module).map_err(|error| slow(regex, &error))?;
            let group = found.as_ref().and_then(|found| found.name("idx").or_else(|| found.get(1)));
            if let Some(group) = group {
                // PEFT stops at the first pattern that matches.
                return Ok(group.as_str().parse().is_ok_and(|number| self.numbers.contains(&number)));
            }
        }
        Ok(false)
    }
}

/// Which modules an adapter's settings name, by PEFT's rules.
#[derive(Debug, Clone)]
pub struct Targets {
    pub(super) modules: Modules,
    pub(super) excluded: Option<Modules>,
    /// Modules saved whole, whose parts are never adapted.
    pub(super) saved: Vec<Regex>,
    pub(super) layers: Option<Layers>,
}

impl Targets {
    /// Whether the module at `path` is adapted; `linear` says that it is a linear map outside the head.
    ///
    /// # Errors
    /// When a regular expression takes too long to match.
    pub fn contain(&self, path: &str, linear: bool) -> Result<bool> {
        if let Some(excluded) = &self.excluded
            && excluded.contain(path, linear)?
        {
            return Ok(false);
        }
        for saved in &self.saved {
            if is_match(saved, path)? {
                return Ok(false);
            }
        }
        if !self.modules.contain(path, linear)? {
            return Ok(false);
        }
        match (&self.modules, &self.layers) {
            (Modules::Named(_), Some(layers)) => layers.contain(path),
            _ => Ok(true),
        }
    }
}

/// Whether `name` is the whole of `path` or its end from a dot on.
pub fn ends_with_module(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The module of this name anywhere in a path, with all its parts.
pub(super) fn saved_module(name: &str) -> Result<Regex, String> {
    compiled(&format!(r"\A(?:|.*\.)(?:{name})(?:$|\..*)"), name)
}

fn compiled(regex: &str, shown: &str) -> Result<Regex, String> {
    Regex::new(regex)
        .map_err(|error| format!("`{shown}` is not a regular expression ({error}); expected Python's syntax or a name"))
}

fn is_match(regex: &Regex, text: &str) -> Result<bool> {
    regex.is_match(text).map_err(|error| slow(regex, &error))
}

fn slow(regex: &Regex, error: &fancy_regex::Error) -> Error {
    Error::Pattern { pattern: regex.as_str().to_owned(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "bert.encoder.layer.1.attention.self.query";

    fn named(names: &[&str]) -> Modules {
        Modules::Named(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn all(modules: Modules) -> Targets {
        Targets { modules, excluded: None, saved: Vec::new(), layers: None }
    }

    #[test]
    fn the_first_pattern_in_the_file_counts() {
        let mut patterns = Patterns::default();
        for (key, value) in [("self.quer.", 1), ("query", 2), (r"layer\.[02]\..*query", 3), ("key|value", 4)] {
            patterns.push(key, value).unwrap();
        }
        assert_eq!(patterns.first(QUERY).unwrap(), Some(&1));
        // A key is matched from the beginning or from a dot on, and up to the end.
        assert_eq!(patterns.first("my_query").unwrap(), None);
        assert_eq!(patterns.first("query.dense").unwrap(), None);
        assert_eq!(patterns.first("a.value").unwrap(), Some(&4));
        let error = patterns.push("quer(y", 5).unwrap_err();
        assert!(error.starts_with("`quer(y` is not a regular expression"), "{error}");
    }

    #[test]
    fn order_is_that_of_the_file() {
        let ordered: Ordered = serde_json::from_str(r#"{"z": 1, "a": 2}"#).unwrap();
        assert_eq!(ordered.0.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    }

    #[test]
    fn lists_name_ends_and_expressions_whole_paths() {
        let contains = |modules, path| all(modules).contain(path, true).unwrap();
        assert!(contains(named(&["query"]), QUERY) && contains(named(&[QUERY]), QUERY));
        assert!(!contains(named(&["uery"]), QUERY));
        assert!(contains(Modules::matching(r".*\.(query|key)").unwrap(), QUERY));
        assert!(!contains(Modules::matching("query").unwrap(), QUERY));
        // Look-around is Python's.
        assert!(contains(Modules::matching(r"(?!.*layer\.0\.).*query").unwrap(), QUERY));
        assert!(contains(Modules::AllLinear, QUERY) && !all(Modules::AllLinear).contain("classifier", false).unwrap());
    }

    #[test]
    fn exclusion_saved_modules_and_layers_narrow_the_targets() {
        let excluded = Targets { excluded: Some(named(&["query"])), ..all(named(&["query", "value"])) };
        assert!(!excluded.contain(QUERY, true).unwrap() && excluded.contain("a.value", true).unwrap());
        let saved = Targets { saved: vec![saved_module("pooler").unwrap()], ..all(named(&["dense"])) };
        assert!(!saved.contain("bert.pooler.dense", true).unwrap());
        assert!(saved.contain("bert.encoder.layer.0.output.dense", true).unwrap());
        for patterns in [&[][..], &["layer".to_owned()], &["block".to_owned(), "layer".to_owned()]] {
            let layers = |numbers| Some(Layers::new(numbers, patterns).unwrap());
            let only = |numbers| Targets { layers: layers(numbers), ..all(named(&["query"])) };
            assert!(only(vec![0, 1]).contain(QUERY, true).unwrap());
            assert!(!only(vec![0, 2]).contain(QUERY, true).unwrap());
        }
    }
}
