//! Which row of one set of predictions is about the same example as a row of another: by id, and by the hash of the text where both have it.

use std::collections::BTreeMap;

use super::set::Predictions;
use crate::error::{Error, Result};

/// For each example of `first`, its place in `second`: `second.at(&places)` has the order of `first`. The names are those of the sets in messages.
///
/// # Errors
/// [`Error::Pairing`] naming an id that is in one set only, or twice in one, or that has another text in the other.
/// # Examples
/// ```
/// use bayeslora_records::predictions::{pair, read_lines};
/// let folder = tempfile::tempdir()?;
/// let written = |name: &str, ids: [&str; 2]| {
///     let path = folder.path().join(name);
///     std::fs::write(&path, ids.map(|id| format!("{{\"id\": \"{id}\", \"correct\": true}}\n")).concat())?;
///     Ok::<_, Box<dyn std::error::Error>>(read_lines(&path)?)
/// };
/// let (mine, yours) = (written("mine", ["a", "b"])?, written("yours", ["b", "a"])?);
/// assert_eq!(pair(("mine", &mine), ("yours", &yours))?, [1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair(first: (&str, &Predictions), second: (&str, &Predictions)) -> Result<Vec<usize>> {
    let (places, own) = (places(second)?, places(first)?);
    let refused = |id: &str, problem: String| Err(Error::Pairing { id: id.to_owned(), problem });
    let missing = |here: &str, there: &str| format!("is in {here} and not in {there}; predict the same examples");
    let mut found = Vec::with_capacity(first.1.examples.len());
    for example in &first.1.examples {
        let id = example.id.as_str();
        let Some(&place) = places.get(id) else { return refused(id, missing(first.0, second.0)) };
        let other = second.1.examples.get(place).and_then(|other| other.sha256.as_ref());
        if let (Some(own), Some(other)) = (&example.sha256, other)
            && own != other
        {
            let problem =
                format!("has another text in {} than in {}; compare predictions of one data set", second.0, first.0);
            return refused(id, problem);
        }
        found.push(place);
    }
    match second.1.examples.iter().find(|example| !own.contains_key(example.id.as_str())) {
        Some(example) => refused(&example.id, missing(second.0, first.0)),
        None => Ok(found),
    }
}

fn places<'a>((name, set): (&str, &'a Predictions)) -> Result<BTreeMap<&'a str, usize>> {
    let mut places = BTreeMap::new();
    for (place, example) in set.examples.iter().enumerate() {
        if places.insert(example.id.as_str(), place).is_some() {
            let problem = format!("is in {name} twice; give every example its own id");
            return Err(Error::Pairing { id: example.id.clone(), problem });
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::set::Identity;

    fn set(examples: &[(&str, Option<char>)]) -> Predictions {
        let identity = |&(id, hash): &(&str, Option<char>)| Identity {
            id: id.to_owned(),
            sha256: hash.map(|digit| digit.to_string().repeat(64)),
            group: None,
        };
        Predictions {
            examples: examples.iter().map(identity).collect(),
            outputs: None,
            labels: vec![None; examples.len()],
            correct: Some(vec![true; examples.len()]),
            ratings: None,
            scores: BTreeMap::new(),
            about: crate::predictions::About::default(),
        }
    }

    #[test]
    fn order_does_not_matter_and_what_differs_is_named() {
        let own = set(&[("a", Some('1')), ("b", None), ("c", Some('3'))]);
        let other = set(&[("c", Some('3')), ("a", Some('1')), ("b", Some('2'))]);
        let places = pair(("A", &own), ("B", &other)).unwrap();
        assert_eq!(places, [1, 2, 0]);
        assert_eq!(other.at(&places).examples.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let message = |other: &[(&str, Option<char>)]| pair(("A", &own), ("B", &set(other))).unwrap_err().to_string();
        assert_eq!(message(&[("a", None), ("b", None)]), "id `c` is in A and not in B; predict the same examples");
        assert_eq!(
            message(&[("a", None), ("b", None), ("c", None), ("d", None)]),
            "id `d` is in B and not in A; predict the same examples"
        );
        assert_eq!(
            message(&[("a", Some('2')), ("b", None), ("c", None)]),
            "id `a` has another text in B than in A; compare predictions of one data set"
        );
        assert_eq!(message(&[("a", None), ("a", None)]), "id `a` is in B twice; give every example its own id");
    }
}
