//! An error and its causes as one sentence.

/// The messages of an error and its causes, each once: many messages end with their cause already.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let named = anyhow!("os error 2").context("a.json: os error 2").context("the tables are not written");
        assert_eq!(sentence(&named), "the tables are not written: a.json: os error 2");
        assert_eq!(sentence(&anyhow!("one").context("two")), "two: one");
    }
}
