//! What a set of predictions says of itself: the metadata of its file.

use std::collections::BTreeMap;

/// The only value of the metadata's `format` that is read.
pub const FORMAT: &str = "bayeslora-predictions/1";

/// What the first axis of the outputs is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Samples {
    /// Draws from a posterior over weights.
    Posterior,
    /// Members of an ensemble.
    Members,
    /// Repeats of the same prediction, as evaluation programs make them.
    Epochs,
    /// There is one.
    #[default]
    One,
}

const SAMPLES: [(&str, Samples); 4] = [
    ("posterior", Samples::Posterior),
    ("members", Samples::Members),
    ("epochs", Samples::Epochs),
    ("one", Samples::One),
];

impl Samples {
    /// As metadata name it.
    pub fn word(self) -> &'static str {
        SAMPLES.iter().find(|(_, kind)| *kind == self).map_or("one", |(word, _)| word)
    }
}

/// Where predictions come from and how they are meant. What is unknown stays empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Name of the method.
    pub method: Option<String>,
    /// Name of the task.
    pub task: Option<String>,
    /// Domain of the texts.
    pub domain: Option<String>,
    /// Split of the task's data.
    pub split: Option<String>,
    /// Seed of the fit.
    pub seed: Option<u64>,
    /// Names of the classes in the order of the last axis; empty where they are unknown.
    pub classes: Vec<String>,
    /// What the first axis is.
    pub samples: Samples,
    /// Whether the mean over samples is of logits, not of probabilities.
    pub averages_logits: bool,
    /// Program and file they were taken from.
    pub source: Option<String>,
}

impl About {
    /// As metadata of a file.
    pub(super) fn to_metadata(&self) -> BTreeMap<&'static str, String> {
        let samples = self.samples.word();
        let averaging = if self.averages_logits { "mean-logits" } else { "mean-probs" };
        let mut found = BTreeMap::from([
            ("format", FORMAT.to_owned()),
            ("samples", samples.to_owned()),
            ("averaging", averaging.to_owned()),
        ]);
        let texts = [&self.method, &self.task, &self.domain, &self.split, &self.source];
        for (name, text) in ["method", "task", "domain", "split", "source"].into_iter().zip(texts) {
            found.extend(text.clone().map(|text| (name, text)));
        }
        found.extend(self.seed.map(|seed| ("seed", seed.to_string())));
        if !self.classes.is_empty() {
            found.insert("classes", serde_json::Value::from(self.classes.clone()).to_string());
        }
        found
    }

    /// From the metadata of a file; other entries than these are passed over. The error is a clause about the file.
    pub(super) fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |name: &str| metadata.get(name).cloned();
        match text("format").as_deref() {
            Some(FORMAT) => {}
            Some(other) => return Err(format!("has the format `{other}`, expected `{FORMAT}`; convert it again")),
            None => return Err(format!("has no format in its metadata, expected `{FORMAT}`; convert it again")),
        }
        let seed =
            text("seed").map(|word| word.parse().map_err(|_| format!("has the seed `{word}`, expected a number")));
        let classes = text("classes").map(|list| {
            serde_json::from_str(&list).map_err(|_| format!("has the classes `{list}`, expected a JSON list of names"))
        });
        let word = text("samples").unwrap_or_else(|| "one".to_owned());
        let samples = SAMPLES.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
        let averages_logits = match text("averaging").as_deref() {
            None | Some("mean-probs") => false,
            Some("mean-logits") => true,
            Some(other) => return Err(format!("has the averaging `{other}`, expected mean-probs or mean-logits")),
        };
        Ok(Self {
            method: text("method"),
            task: text("task"),
            domain: text("domain"),
            split: text("split"),
            seed: seed.transpose()?,
            classes: classes.transpose()?.unwrap_or_default(),
            samples: samples
                .ok_or_else(|| format!("has the samples `{word}`, expected posterior, members, epochs or one"))?,
            averages_logits,
            source: text("source"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(metadata: BTreeMap<&'static str, String>) -> BTreeMap<String, String> {
        metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let full = About {
            method: Some("mine".into()),
            seed: Some(u64::MAX),
            classes: vec!["no \"way\"".into(), "yes".into()],
            samples: Samples::Members,
            averages_logits: true,
            ..About::default()
        };
        for about in [full, About::default()] {
            assert_eq!(About::from_metadata(&owned(about.to_metadata())), Ok(about));
        }
    }

    #[test]
    fn other_words_are_refused_with_those_there_are() {
        let refused = |name: &str, value: &str| {
            let mut metadata = owned(About::default().to_metadata());
            metadata.insert(name.to_owned(), value.to_owned());
            About::from_metadata(&metadata).unwrap_err()
        };
        assert_eq!(
            refused("format", "pt"),
            "has the format `pt`, expected `bayeslora-predictions/1`; convert it again"
        );
        assert_eq!(refused("seed", "-1"), "has the seed `-1`, expected a number");
        assert_eq!(refused("classes", "a,b"), "has the classes `a,b`, expected a JSON list of names");
        assert_eq!(refused("samples", "3"), "has the samples `3`, expected posterior, members, epochs or one");
        assert_eq!(refused("averaging", "max"), "has the averaging `max`, expected mean-probs or mean-logits");
        assert!(About::from_metadata(&BTreeMap::new()).unwrap_err().starts_with("has no format in its metadata"));
    }
}
