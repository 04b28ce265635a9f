//! Calibration data: one example a group, and a part of them set aside to fix what is tested on the rest.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::example::{Example, digest, fingerprint, hashed, one_a_group};

const SET: &str = "calibration";
const GRID: &str = "grid";

/// Labelled examples that served nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    examples: Vec<Example>,
    given: usize,
    digest: String,
    /// Fingerprints of all that were given.
    seen: BTreeSet<u64>,
}

impl Calibration {
    /// Draws one example a group by its hashed id. The order of examples does not matter.
    ///
    /// # Errors
    /// [`Error::Examples`] without examples, for an id that is empty or comes twice, a score or distance that is not finite, a verdict that is
    /// missing, and scores that are all the same.
    /// # Examples
    /// ```
    /// use bayeslora_guard::{Calibration, Example};
    /// let sentence = |n: u32| Example {
    ///     id: format!("sentence {n}"),
    ///     group: Some(format!("review {}", n / 5)),
    ///     score: f64::from(n),
    ///     wrong: Some(n % 9 == 0),
    ///     ..Example::default()
    /// };
    /// let calibration = Calibration::new((0..100).map(sentence).collect())?;
    /// assert_eq!((calibration.given(), calibration.examples().len()), (100, 20));
    /// # Ok::<(), bayeslora_guard::Error>(())
    /// ```
    pub fn new(examples: Vec<Example>) -> Result<Self> {
        let (given, digest, seen) = (examples.len(), digest(&examples), fingerprints(&examples));
        let examples = one_a_group(SET, examples)?;
        check_numbers(SET, &examples)?;
        if let Some(example) = examples.iter().find(|example| example.wrong.is_none()) {
            return refused(
                SET,
                format!("id `{}` has no verdict; give its label, or whether it is correct", example.id),
            );
        }
        let first = examples.first().map_or(0.0, |example| example.score);
        if examples.len() > 1 && examples.iter().all(|example| example.score.to_bits() == first.to_bits()) {
            return refused(
                SET,
                format!("the score is {first} for every example and orders nothing; take another score"),
            );
        }
        Ok(Self { examples, given, digest, seen })
    }

    /// One a group, in the order of their ids.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Examples given, groups in full.
    pub fn given(&self) -> usize {
        self.given
    }

    /// SHA-256 over all that were given.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Sets aside `share` of the examples as the grid, each by its own hashed id.
    pub(crate) fn split(self, share: f64) -> Result<Parts> {
        // A share of 2^64, where the last bits do not matter.
        let is_grid = |example: &Example| (hashed("grid", &example.id) as f64) < share * 2.0_f64.powi(64);
        let (grid, calibration): (Vec<Example>, Vec<Example>) = self.examples.into_iter().partition(is_grid);
        Parts::new(calibration, grid, [self.given; 2], self.digest, self.seen)
    }

    /// Takes other examples as the grid; they need no verdict.
    pub(crate) fn with_grid(self, grid: Vec<Example>) -> Result<Parts> {
        let given = grid.len();
        let seen = &self.seen | &fingerprints(&grid);
        let grid = one_a_group(GRID, grid)?;
        check_numbers(GRID, &grid)?;
        let ids: BTreeSet<&str> = self.examples.iter().map(|example| example.id.as_str()).collect();
        let groups: BTreeSet<&str> = self.examples.iter().filter_map(|example| example.group.as_deref()).collect();
        for Example { id, group, .. } in &grid {
            if ids.contains(id.as_str()) {
                return refused(GRID, format!("id `{id}` is also in the calibration; keep the two apart"));
            }
            if let Some(group) = group.as_deref().filter(|group| groups.contains(group)) {
                return refused(GRID, format!("group `{group}` is also in the calibration; keep the two apart"));
            }
        }
        Parts::new(self.examples, grid, [self.given, given], self.digest, seen)
    }
}

/// What is tested on, and what fixed the tests.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) calibration: Vec<Example>,
    pub(crate) grid: Vec<Example>,
    /// Examples given of each.
    pub(crate) given: [usize; 2],
    /// Digest of all calibration examples given, and of the grid.
    pub(crate) digests: [String; 2],
    /// Fingerprints of all examples given.
    pub(crate) seen: BTreeSet<u64>,
}

impl Parts {
    fn new(
        calibration: Vec<Example>,
        grid: Vec<Example>,
        given: [usize; 2],
        whole: String,
        seen: BTreeSet<u64>,
    ) -> Result<Self> {
        for (set, part) in [(SET, &calibration), (GRID, &grid)] {
            if part.is_empty() {
                return refused(set, "has no examples; give more of them".to_owned());
            }
        }
        let digests = [whole, digest(&grid)];
        Ok(Self { calibration, grid, given, digests, seen })
    }
}

fn fingerprints(examples: &[Example]) -> BTreeSet<u64> {
    examples.iter().map(fingerprint).collect()
}

fn check_numbers(set: &'static str, examples: &[Example]) -> Result<()> {
    for Example { id, score, distance, .. } in examples {
        let numbers = [("score", Some(*score)), ("distance", *distance)];
        for (what, value) in numbers.into_iter().filter_map(|(what, value)| Some((what, value?))) {
            if !value.is_finite() {
                return refused(set, format!("the {what} of id `{id}` is {value}, expected a finite number"));
            }
        }
    }
    Ok(())
}

fn refused<T>(set: &'static str, problem: String) -> Result<T> {
    Err(Error::Examples { set, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(n: usize) -> Vec<Example> {
        let example = |n: usize| Example {
            id: n.to_string(),
            score: n as f64,
            wrong: Some(n.is_multiple_of(2)),
            ..Example::default()
        };
        (0..n).map(example).collect()
    }

    #[test]
    fn an_id_decides_its_part_whatever_the_others() {
        let grid = |n| -> BTreeSet<String> {
            let parts = Calibration::new(examples(n)).unwrap().split(0.2).unwrap();
            assert_eq!(parts.calibration.len() + parts.grid.len(), n);
            parts.grid.into_iter().map(|example| example.id).collect()
        };
        let (some, more) = (grid(500), grid(1000));
        assert!(some.is_subset(&more) && (70..130).contains(&some.len()), "{}", some.len());
    }

    #[test]
    fn what_orders_or_says_nothing_is_refused() {
        let message = |change: &dyn Fn(&mut Vec<Example>)| {
            let mut given = examples(4);
            change(&mut given);
            Calibration::new(given).unwrap_err().to_string()
        };
        assert_eq!(
            message(&|given| given.iter_mut().for_each(|example| example.score = 0.5)),
            "calibration: the score is 0.5 for every example and orders nothing; take another score"
        );
        assert_eq!(
            message(&|given| given[2].score = f64::NAN),
            "calibration: the score of id `2` is NaN, expected a finite number"
        );
        assert_eq!(
            message(&|given| given[1].wrong = None),
            "calibration: id `1` has no verdict; give its label, or whether it is correct"
        );
    }

    #[test]
    fn a_grid_of_its_own_shares_nothing_with_the_calibration() {
        let mut given = examples(4);
        given[0].group = Some("g".into());
        let calibration = Calibration::new(given).unwrap();
        let message = |grid: Vec<Example>| calibration.clone().with_grid(grid).unwrap_err().to_string();
        assert_eq!(message(examples(1)), "grid: id `0` is also in the calibration; keep the two apart");
        let other = Example { id: "x".into(), group: Some("g".into()), ..Example::default() };
        assert_eq!(message(vec![other]), "grid: group `g` is also in the calibration; keep the two apart");
        assert_eq!(message(vec![]), "grid: has no examples; give more of them");
    }
}
