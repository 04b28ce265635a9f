//! An input with what a classifier says of it, and what is known of its label.

use std::collections::BTreeSet;

use bayeslora_host::sha256_hex;

use crate::error::{Error, Result};

/// An input: to calibrate on, to check with or to decide about. What a rule needs and is not there, it escalates or refuses.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Example {
    /// Name of the input, once in a set.
    pub id: String,
    /// Name of what it shares with other inputs, such as the review of a sentence: of a group one example is used.
    pub group: Option<String>,
    /// Name of its kind, such as a language, for sets with a promise for each kind.
    pub stratum: Option<String>,
    /// SHA-256 of the text, to tell whether it served something else.
    pub sha256: Option<String>,
    /// Uncertainty, larger = more uncertain.
    pub score: f64,
    /// Distance from what was trained on, larger = farther.
    pub distance: Option<f64>,
    /// Probability of each class.
    pub probabilities: Option<Vec<f64>>,
    /// The class it is.
    pub label: Option<usize>,
    /// Whether the prediction is wrong.
    pub wrong: Option<bool>,
}

/// The first eight bytes of a SHA-256, by purpose and text, mostly an id: a number that has nothing to do with the order of examples.
pub(crate) fn hashed(purpose: &str, text: &str) -> u64 {
    u64::from_str_radix(&sha256_hex(format!("bayeslora-guard/{purpose}\0{text}").as_bytes())[..16], 16).unwrap_or(0)
}

/// One example a group, that of the smallest hashed id, in the order of ids.
///
/// # Errors
/// [`Error::Examples`] for an id that is empty or comes twice.
pub(crate) fn one_a_group(set: &'static str, examples: Vec<Example>) -> Result<Vec<Example>> {
    let mut examples = examples;
    examples.sort_by(|a, b| a.id.cmp(&b.id));
    let refused = |problem| Err(Error::Examples { set, problem });
    if let Some(twice) =
        examples.windows(2).find_map(|pair| matches!(pair, [a, b] if a.id == b.id).then(|| pair.first()).flatten())
    {
        return refused(format!("the id `{}` comes twice; give every example its own", twice.id));
    }
    if examples.first().is_some_and(|first| first.id.is_empty()) {
        return refused("an id is empty; name every example".to_owned());
    }
    let mut order: Vec<(u64, &Example)> =
        examples.iter().map(|example| (hashed("group", &example.id), example)).collect();
    order.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.id.cmp(&b.1.id)));
    let mut groups = BTreeSet::new();
    let kept = order.into_iter().filter(|(_, example)| example.group.as_ref().is_none_or(|group| groups.insert(group)));
    let kept: BTreeSet<String> = kept.map(|(_, example)| example.id.clone()).collect();
    Ok(examples.into_iter().filter(|example| kept.contains(&example.id)).collect())
}

/// SHA-256 over everything that is known of the examples, in the order of ids.
pub(crate) fn digest(examples: &[Example]) -> String {
    let mut lines: Vec<String> = examples.iter().map(line).collect();
    lines.sort();
    sha256_hex(lines.join("\n").as_bytes())
}

/// A number for everything that is known of an example: two examples that are alike in all of it have the same.
pub(crate) fn fingerprint(example: &Example) -> u64 {
    hashed("example", &line(example))
}

fn line(example: &Example) -> String {
    let bits = |value: f64| format!("{:016x}", value.to_bits());
    let probabilities = example.probabilities.iter().flatten().map(|&p| bits(p)).collect::<Vec<_>>();
    let Example { id, group, stratum, sha256, score, distance, label, wrong, .. } = example;
    let numbers = (bits(*score), distance.map(bits), probabilities);
    format!("{:?}", (id, group, stratum, sha256, numbers, label, wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(id: usize, group: Option<usize>) -> Example {
        let group = group.map(|group| group.to_string());
        Example { id: format!("e{id}"), group, score: 0.5, ..Example::default() }
    }

    #[test]
    fn of_a_group_one_is_drawn_whatever_the_order() {
        let mut examples: Vec<Example> = (0..60).map(|id| example(id, (id < 40).then_some(id / 4))).collect();
        let kept = one_a_group("calibration", examples.clone()).unwrap();
        assert_eq!(kept.len(), 10 + 20);
        let digests = (digest(&examples), digest(&kept));
        examples.reverse();
        let again = one_a_group("calibration", examples.clone()).unwrap();
        assert_eq!((kept.clone(), digests), (again.clone(), (digest(&examples), digest(&again))));
        // Not always the first of the four.
        assert!(kept.iter().any(|e| e.group.is_some() && !e.id[1..].parse::<usize>().unwrap().is_multiple_of(4)));
        examples[3].score = 0.5f64.next_up();
        assert_ne!(digest(&examples), digest(&kept));
    }

    #[test]
    fn ids_name_examples() {
        let message =
            |ids: [usize; 2]| one_a_group("grid", ids.map(|id| example(id, None)).to_vec()).unwrap_err().to_string();
        assert_eq!(message([1, 1]), "grid: the id `e1` comes twice; give every example its own");
        let empty = one_a_group("grid", vec![Example::default()]).unwrap_err().to_string();
        assert_eq!(empty, "grid: an id is empty; name every example");
    }
}
