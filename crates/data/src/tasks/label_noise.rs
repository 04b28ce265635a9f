//! Wrong training labels, by a seeded draw for each example.

use sha2::{Digest, Sha256};

use super::example::Example;

/// Replaces each label, with probability `share`, by another of `classes` classes, or of the example's own options; all others are equally
/// likely. Returns how many were replaced.
///
/// The draw of an example depends on the seed and its identifier only: its place and company do not matter, and a larger share
/// replaces what a smaller one replaces, by the same labels.
pub(super) fn flip(examples: &mut [Example], share: f64, seed: u64, classes: usize) -> usize {
    let mut flipped = 0;
    for example in examples {
        let own = example.choice.as_ref().map_or(classes, |choice| choice.options.len());
        let others = u64::try_from(own).unwrap_or(u64::MAX).saturating_sub(1);
        let mut hasher = Sha256::new();
        hasher.update(seed.to_le_bytes());
        hasher.update(b"label-noise\0");
        hasher.update(&example.id);
        let digest: [u8; 32] = hasher.finalize().into();
        let [chance, which] = [0, 8].map(|from: usize| {
            let bytes: [u8; 8] = std::array::from_fn(|k| digest[from + k]);
            u64::from_le_bytes(bytes)
        });
        let chance = (chance >> 11) as f64 / 9_007_199_254_740_992.0;
        if let Some(label) = example.label.filter(|_| chance < share && others > 0) {
            // One of the labels after this one, around the circle.
            let moved = (u64::from(label) + 1 + which % others) % (others + 1);
            example.label = u32::try_from(moved).ok();
            flipped += 1;
        }
    }
    flipped
}

#[cfg(test)]
mod tests {
    use super::super::choice::Choice;
    use super::super::prompts::{Kind, Style, Template};
    use super::*;

    fn examples(count: u32, classes: u32) -> Vec<Example> {
        let example = |n: u32| Example {
            id: n.to_string(),
            text: String::new(),
            label: Some(n % classes),
            ratings: None,
            choice: None,
        };
        (0..count).map(example).collect()
    }

    fn flipped(examples: &[Example], share: f64, classes: usize) -> Vec<Option<u32>> {
        let mut flipped = examples.to_vec();
        let count = flip(&mut flipped, share, 3, classes);
        assert_eq!(count, examples.iter().zip(&flipped).filter(|(before, after)| before.label != after.label).count());
        flipped.into_iter().map(|example| example.label).collect()
    }

    #[test]
    fn the_share_is_kept_and_other_classes_are_equally_likely() {
        let clean = examples(20_000, 4);
        let noisy = flipped(&clean, 0.3, 4);
        let mut moves = [0u32; 4];
        for (example, label) in clean.iter().zip(noisy) {
            moves[usize::try_from((label.unwrap() + 4 - example.label.unwrap()) % 4).unwrap()] += 1;
        }
        // Binomial, five standard errors.
        for (count, rate) in moves.into_iter().zip([0.7, 0.1, 0.1, 0.1]) {
            let expected: f64 = 20_000.0 * rate;
            assert!((f64::from(count) - expected).abs() < 5.0 * (expected * (1.0 - rate)).sqrt(), "{moves:?}");
        }
    }

    #[test]
    fn order_and_company_do_not_matter_and_more_noise_keeps_what_less_did() {
        let clean = examples(500, 3);
        let (little, much) = (flipped(&clean, 0.1, 3), flipped(&clean, 0.5, 3));
        for ((example, little), much) in clean.iter().zip(&little).zip(&much) {
            assert!(*little == example.label || little == much);
        }
        let mut reversed = clean.clone();
        reversed.reverse();
        let mut turned = flipped(&reversed[..100], 0.5, 3);
        turned.reverse();
        assert_eq!(turned, much[400..]);
        assert_eq!(flipped(&clean, 0.0, 3), clean.iter().map(|example| example.label).collect::<Vec<_>>());
    }

    #[test]
    fn a_question_gets_a_label_of_its_own_options() {
        let template = Template::new(Style::Plain, None, Kind::Question).unwrap();
        let mut clean = examples(2_000, 2);
        for (number, example) in clean.iter_mut().enumerate() {
            let options = vec!["option".to_owned(); 2 + number % 2];
            example.choice = Some(Choice::new(options, template));
        }
        let mut noisy = clean.clone();
        flip(&mut noisy, 0.9, 3, 5);
        let mut most = 0;
        for example in &noisy {
            let options = example.choice.as_ref().unwrap().options.len();
            assert!((example.label.unwrap() as usize) < options, "{example:?}");
            most = most.max(example.label.unwrap());
        }
        assert_eq!(most, 2);
    }
}
