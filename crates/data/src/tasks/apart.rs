//! No text in two splits: what a later set repeats of an earlier one is dropped.

use std::collections::BTreeSet;

use super::example::Example;

/// Two texts with the same normal form are the same text.
pub(super) fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// What an example is told apart by: its text and, of a question, its passage and its options in any order. Questions of the same words
/// with other options are others.
fn identity(example: &Example) -> String {
    let text = normalised(&example.text);
    let Some(choice) = &example.choice else { return text };
    let passage = choice.passage.as_deref().map(normalised);
    // What is normalised has no line breaks.
    std::iter::once(text).chain(passage).chain(choice.unordered(normalised)).collect::<Vec<_>>().join("\n")
}

/// The texts of a set that stays as published.
pub(super) fn texts(examples: &[Example]) -> BTreeSet<String> {
    examples.iter().map(identity).collect()
}

/// Drops the examples whose text is among `seen` or stands earlier in `examples`, and adds the others' texts to `seen`. It returns a
/// sentence with the count where there is something to say.
pub(super) fn keep_apart(examples: &mut Vec<Example>, seen: &mut BTreeSet<String>, set: &str) -> Option<String> {
    let all = examples.len();
    examples.retain(|example| seen.insert(identity(example)));
    let dropped = all - examples.len();
    (dropped > 0).then(|| {
        format!(
            "{set}: {dropped} of {all} published examples are dropped, since a set that is tested or validated on has their text, or \
             an earlier line (case and white space ignored)"
        )
    })
}
