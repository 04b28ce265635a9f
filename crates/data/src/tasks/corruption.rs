//! Corruptions of a text at five strengths: typing errors, dropped words, shuffled words.
//!
//! What happens to a text is a function of the seed, the kind and the example's identifier. Its random numbers do not depend on the
//! strength, which only moves the threshold they are compared with: a stronger corruption changes what a weaker one changes, and
//! more (but a letter that has changed places with the one before it is left at that). Meaning and label are taken to survive, which is less and less true as the strength grows: read scores at strength 5 as those
//! of a text that people, too, may misread.

use std::fmt;
use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The strengths there are.
pub(super) const STRENGTHS: RangeInclusive<u8> = 1..=5;

/// A kind of corruption.
///
/// | kind | what happens | 1 | 2 | 3 | 4 | 5 |
/// |---|---|---|---|---|---|---|
/// | typos | each letter, with this probability, is replaced, dropped, doubled or swapped with the next | 0.02 | 0.05 | 0.1 | 0.2 | 0.3 |
/// | word drop | each word is dropped with this probability; one is always kept | 0.1 | 0.2 | 0.3 | 0.4 | 0.5 |
/// | word shuffle | words are sorted by place plus a uniform number up to this: neighbours change places | 2 | 3 | 5 | 9 | all |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corruption {
    /// Typing errors.
    Typos,
    /// Dropped words.
    WordDrop,
    /// Words out of order.
    WordShuffle,
}

impl Corruption {
    /// The word in identifiers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Typos => "typos",
            Self::WordDrop => "word-drop",
            Self::WordShuffle => "word-shuffle",
        }
    }

    /// Name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Typos => "Typos",
            Self::WordDrop => "Dropped words",
            Self::WordShuffle => "Shuffled words",
        }
    }

    /// `text`, of the example `id`, corrupted at a strength from 1 to 5; strengths beyond are the nearest of these.
    pub(super) fn apply(self, text: &str, id: &str, seed: u64, strength: u8) -> String {
        let mut random = Uniform::new(seed, self.word(), id);
        let level = usize::from(strength.clamp(*STRENGTHS.start(), *STRENGTHS.end()) - 1);
        match self {
            Self::Typos => typos(text, [0.02, 0.05, 0.1, 0.2, 0.3][level], &mut random),
            Self::WordDrop => drop_words(text, [0.1, 0.2, 0.3, 0.4, 0.5][level], &mut random),
            Self::WordShuffle => {
                shuffle_words(text, [Some(2.0), Some(3.0), Some(5.0), Some(9.0), None][level], &mut random)
            }
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Random numbers of one text: `ChaCha8` keyed by SHA-256, so that they are the same on every platform.
struct Uniform(ChaCha8Rng);

impl Uniform {
    fn new(seed: u64, kind: &str, id: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_le_bytes());
        hasher.update(kind);
        hasher.update([0]);
        hasher.update(id);
        Self(ChaCha8Rng::from_seed(hasher.finalize().into()))
    }

    /// Uniform in `[0, 1)`, with 53 bits.
    fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Uniform in `0..count`; the bias of at most `count / 2^53` is of no account here.
    fn below(&mut self, count: usize) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in [0, count)")]
        let place = (self.next() * count as f64) as usize;
        place.min(count.saturating_sub(1))
    }
}

fn typos(text: &str, rate: f64, random: &mut Uniform) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut typed = String::with_capacity(text.len());
    let mut swapped = false;
    for (place, &letter) in letters.iter().enumerate() {
        // Three numbers a letter, used or not: what happens to one does not depend on what happened to another.
        let (chance, kind, replacement) = (random.next(), random.below(4), random.below(26));
        if std::mem::take(&mut swapped) {
            continue;
        }
        let next = letters.get(place + 1).copied().filter(|next| next.is_alphabetic());
        match (letter.is_alphabetic() && chance < rate, kind, next) {
            (false, ..) => typed.push(letter),
            (true, 0, _) => typed.extend(('a'..='z').nth(replacement)),
            (true, 1, _) => {}
            (true, 2, Some(next)) => {
                typed.extend([next, letter]);
                swapped = true;
            }
            (true, ..) => typed.extend([letter, letter]),
        }
    }
    // Every letter dropped: nothing would be left to read.
    if typed.trim().is_empty() { text.to_owned() } else { typed }
}

fn drop_words(text: &str, rate: f64, random: &mut Uniform) -> String {
    let words: Vec<(f64, &str)> = text.split_whitespace().map(|word| (random.next(), word)).collect();
    // The word that would be dropped last is always kept.
    let surest = words.iter().map(|(chance, _)| *chance).fold(0.0, f64::max);
    let kept = words.iter().filter(|(chance, _)| *chance >= rate.min(surest)).map(|(_, word)| *word);
    kept.collect::<Vec<_>>().join(" ")
}

fn shuffle_words(text: &str, reach: Option<f64>, random: &mut Uniform) -> String {
    let mut words: Vec<(f64, &str)> = Vec::new();
    for (place, word) in text.split_whitespace().enumerate() {
        let draw = random.next();
        words.push((reach.map_or(draw, |reach| place as f64 + reach * draw), word));
    }
    words.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    words.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TEXT: &str = "a stirring , funny and finally transporting re imagining of beauty and the beast";

    fn all(kind: Corruption, id: &str) -> Vec<String> {
        STRENGTHS.map(|strength| kind.apply(TEXT, id, 7, strength)).collect()
    }

    #[test]
    fn a_text_is_corrupted_alike_everywhere_and_each_in_its_own_way() {
        // Pinned: another generator or another order of its numbers would change committed results in silence.
        let found =
            [Corruption::Typos, Corruption::WordDrop, Corruption::WordShuffle].map(|kind| all(kind, "1")[3].clone());
        assert_eq!(found, PINNED);
        for kind in [Corruption::Typos, Corruption::WordDrop, Corruption::WordShuffle] {
            assert_eq!(all(kind, "1"), all(kind, "1"));
            assert_ne!(all(kind, "1"), all(kind, "2"), "identifiers change nothing");
            assert_ne!(kind.apply(TEXT, "1", 7, 5), kind.apply(TEXT, "1", 8, 5), "seeds change nothing");
        }
    }

    const PINNED: [&str; 3] = [
        "a stirrnig , funpyy annd finaly gransporting ree imagnign oof beautx nd thr beast",
        "a stirring , funny and finally transporting of and the beast",
        "stirring a funny finally and , transporting of re imagining beauty the beast and",
    ];

    #[test]
    fn what_is_dropped_stays_dropped_and_something_is_always_left() {
        for id in 0..50 {
            let texts = all(Corruption::WordDrop, &id.to_string());
            let words: Vec<Vec<&str>> = texts.iter().map(|text| text.split(' ').collect()).collect();
            for pair in words.windows(2) {
                let mut longer = pair[0].iter();
                assert!(pair[1].iter().all(|word| longer.any(|other| other == word)), "{pair:?}");
            }
            assert!(!Corruption::WordDrop.apply("word", &id.to_string(), 7, 5).is_empty());
            assert!(!Corruption::Typos.apply("a", &id.to_string(), 7, 5).is_empty());
        }
    }

    #[test]
    fn shuffled_words_are_the_same_words_and_weak_shuffles_stay_near() {
        let original: Vec<&str> = TEXT.split(' ').collect();
        let numbered: Vec<String> = (0..40).map(|place| place.to_string()).collect();
        for id in 0..50 {
            let id = id.to_string();
            for text in all(Corruption::WordShuffle, &id) {
                let mut words: Vec<&str> = text.split(' ').collect();
                words.sort_unstable();
                let mut expected = original.clone();
                expected.sort_unstable();
                assert_eq!(words, expected);
            }
            // Keys are within 2 of their places: no word moves by 2 or more.
            let weak = Corruption::WordShuffle.apply(&numbered.join(" "), &id, 7, 1);
            for (place, word) in weak.split(' ').enumerate() {
                assert!(word.parse::<usize>().unwrap().abs_diff(place) < 2, "{weak}");
            }
        }
    }

    #[test]
    fn rates_are_those_of_the_table() {
        // Words and letters of many texts: binomial, five standard errors.
        let words = vec!["word"; 200].join(" ");
        let near = |found: f64, rate: f64, n: f64| (found - rate).abs() < 5.0 * (rate * (1.0 - rate) / n).sqrt();
        for (strength, rate) in STRENGTHS.zip([0.1, 0.2, 0.3, 0.4, 0.5]) {
            let kept: usize = (0..50)
                .map(|id| Corruption::WordDrop.apply(&words, &id.to_string(), 7, strength).split(' ').count())
                .sum();
            assert!(near(1.0 - kept as f64 / 10_000.0, rate, 10_000.0), "{strength}: {kept}");
        }
        for (strength, rate) in STRENGTHS.zip([0.02, 0.05, 0.1, 0.2, 0.3]) {
            // Words of one letter have no next letter: a quarter is dropped, half doubled, a quarter replaced.
            let letters = vec!["#"; 200].join(" ").replace('#', "é");
            let changed: usize = (0..50)
                .map(|id| {
                    let typed = Corruption::Typos.apply(&letters, &id.to_string(), 7, strength);
                    200 - typed.split(' ').filter(|word| *word == "é").count()
                })
                .sum();
            assert!(near(changed as f64 / 10_000.0, rate, 10_000.0), "{strength}: {changed}");
        }
    }

    #[test]
    fn all_kinds_of_typos_occur() {
        let typed: BTreeSet<String> =
            (0..2000).map(|id| Corruption::Typos.apply("ab", &id.to_string(), 7, 5)).collect();
        for expected in ["ab", "ba", "b", "a", "aab", "abb", "xb", "ax"] {
            assert!(typed.contains(expected), "{expected} is not among {typed:?}");
        }
    }
}
