//! The tests' experiment cut down to seconds.

/// What makes the experiment of `movies.toml` small.
pub(crate) const SMALL: [(&str, &str); 7] = [
    ("split-seed = 0", "split-seed = 0\nmax-validation = 24"),
    ("max-train = 2400", "max-train = 96"),
    ("max-test = 800", "max-test = 60"),
    ("max-shifted = 300", "max-shifted = 30"),
    ("\nsamples = 10\n", "\nsamples = 3\n"),
    ("members = 5", "members = 2"),
    ("resamples = 1000", "resamples = 50"),
];

/// A text with some of it replaced, all of which must be there.
pub(crate) fn replaced(mut text: String, replacements: &[(&str, &str)]) -> String {
    for (from, to) in replacements {
        assert!(text.contains(from), "{from:?} is not in the experiment");
        text = text.replacen(from, to, 1);
    }
    text
}
