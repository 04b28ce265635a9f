//! A seeded order that depends on identifiers only.
//!
//! Each example is placed by `SHA-256(seed, domain, id)`. The order is therefore the same on every platform and for
//! every order of the file, and dropping an example moves no other one past another. A smaller cap keeps a prefix, so
//! what a quick run uses is part of what a full run uses.

use sha2::{Digest, Sha256};

use super::example::Example;

/// Puts examples into the seeded order.
pub(super) fn shuffle(examples: &mut [Example], seed: u64, domain: &str) {
    shuffle_by(examples, seed, domain, |example| &example.id);
}

/// Puts anything with an identifier into the seeded order.
pub(super) fn shuffle_by<T>(values: &mut [T], seed: u64, domain: &str, id: impl Fn(&T) -> &str) {
    values.sort_by_cached_key(|value| {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_le_bytes());
        hasher.update(domain);
        hasher.update([0]);
        hasher.update(id(value));
        <[u8; 32]>::from(hasher.finalize())
    });
}

/// Cuts examples into three consecutive parts with these shares; the last part takes the rest.
pub(super) fn cut(mut examples: Vec<Example>, first: f64, second: f64) -> [Vec<Example>; 3] {
    let total = examples.len();
    let rest = examples.split_off(position(total, first + second));
    let middle = examples.split_off(position(total, first).min(examples.len()));
    [examples, middle, rest]
}

/// Cuts as [`cut`] does, but no group: examples of one `group` stand side by side, and each part ends where one does.
pub(super) fn cut_between_groups(
    mut examples: Vec<Example>,
    first: f64,
    second: f64,
    group: impl Fn(&Example) -> &str,
) -> [Vec<Example>; 3] {
    let total = examples.len();
    let is_inside = |at: usize| at > 0 && at < total && group(&examples[at - 1]) == group(&examples[at]);
    let end = |share| (position(total, share)..total).find(|at| !is_inside(*at)).unwrap_or(total);
    let (first, second) = (end(first), end(first + second));
    let rest = examples.split_off(second);
    let middle = examples.split_off(first.min(second));
    [examples, middle, rest]
}

/// The position nearest to a share of a total.
fn position(total: usize, share: f64) -> usize {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share in [0, 1] of a count that fits: rounded, not negative, and clamped"
    )]
    let position = (total as f64 * share).round() as usize;
    position.min(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(ids: impl IntoIterator<Item = u32>) -> Vec<Example> {
        let example =
            |id: u32| Example { id: id.to_string(), text: String::new(), label: Some(0), ratings: None, choice: None };
        ids.into_iter().map(example).collect()
    }

    fn order(mut examples: Vec<Example>, seed: u64, domain: &str) -> Vec<String> {
        shuffle(&mut examples, seed, domain);
        examples.into_iter().map(|example| example.id).collect()
    }

    #[test]
    fn the_order_is_this_one_on_every_platform() {
        // Computed apart: sorted(range(10), key=lambda i: sha256(struct.pack("<Q", 1) + b"movies\0" + str(i).encode()).digest())
        assert_eq!(order(numbered(0..10), 1, "movies").join(" "), "7 0 6 9 8 3 1 2 5 4");
    }

    #[test]
    fn the_order_of_the_file_does_not_matter_and_seed_and_domain_do() {
        let expected = order(numbered(0..100), 1, "movies");
        assert_eq!(order(numbered((0..100).rev()), 1, "movies"), expected);
        assert_ne!(order(numbered(0..100), 2, "movies"), expected);
        assert_ne!(order(numbered(0..100), 1, "tweets"), expected);
    }

    #[test]
    fn dropping_an_example_leaves_the_others_in_order() {
        let mut expected = order(numbered(0..100), 1, "movies");
        expected.retain(|id| id != "42");
        assert_eq!(order(numbered((0..100).filter(|id| *id != 42)), 1, "movies"), expected);
    }

    #[test]
    fn parts_have_their_shares_and_lose_nothing() {
        let sizes = |total, first, second| cut(numbered(0..total), first, second).map(|part| part.len());
        assert_eq!(sizes(10, 0.7, 0.1), [7, 1, 2]);
        assert_eq!(sizes(1, 0.7, 0.1), [1, 0, 0]);
        assert_eq!(sizes(10_566, 0.7, 0.1), [7_396, 1_057, 2_113]);
        for total in 0..50 {
            assert_eq!(sizes(total, 0.35, 0.45).iter().sum::<usize>(), total as usize);
        }
    }

    #[test]
    fn no_group_is_cut() {
        let grouped = |ids: &str| -> Vec<Example> {
            let example = |id: &str| Example { id: id.to_owned(), ..numbered([0]).remove(0) };
            ids.split(' ').map(example).collect()
        };
        let parts = |ids: &str, first, second| {
            cut_between_groups(grouped(ids), first, second, |example| &example.id[..1])
                .map(|part| part.into_iter().map(|example| example.id).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(parts("a1 a2 b1 b2 c1 c2", 0.5, 0.17), ["a1 a2 b1 b2", "", "c1 c2"]);
        assert_eq!(parts("a1 a2 b1 b2 c1 c2", 0.5, 0.25), ["a1 a2 b1 b2", "c1 c2", ""]);
        assert_eq!(parts("a1 b1 c1 d1 e1 f1", 0.5, 0.17), ["a1 b1 c1", "d1", "e1 f1"]);
        assert_eq!(parts("a1 a2 a3 a4 b1", 0.2, 0.2), ["a1 a2 a3 a4", "", "b1"]);
        assert_eq!(parts("a1 b1 b2", 0.6, 0.4), ["a1 b1 b2", "", ""]);
        assert_eq!(parts("a1 a2", 0.0, 0.5), ["", "a1 a2", ""]);
    }
}
