//! The nearest known word to an unknown one.

/// `unknown KIND "got"; did you mean "nearest"? The KINDs are ...`.
pub fn unknown<'a>(kind: &str, got: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let suggestion = nearest(got, &known).map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
    format!("unknown {kind} \"{got}\"{suggestion} (known: {})", known.join(", "))
}

fn nearest<'a>(got: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &str| strsim::damerau_levenshtein(got, word);
    let word = known.iter().copied().min_by_key(|word| distance(word))?;
    (distance(word) <= got.chars().count().max(word.chars().count()) / 2).then_some(word)
}

/// Appends the nearest known word to serde's "unknown field `x`, expected one of `y`, `z`" and its like.
pub fn with_suggestion(message: &str) -> String {
    let mut quoted =
        message.lines().filter(|line| line.contains("unknown ")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let Some(got) = quoted.next() else { return message.trim_end().to_owned() };
    let known: Vec<&str> = quoted.collect();
    match nearest(got, &known) {
        Some(word) => format!("{}\ndid you mean `{word}`?", message.trim_end()),
        None => message.trim_end().to_owned(),
    }
}
