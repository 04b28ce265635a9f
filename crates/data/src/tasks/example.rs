//! One text, with its label, and the human ratings behind it or the options of its question where there are any.

use super::choice::Choice;
use super::prompts::Prompt;

/// A text, and what people said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Identifier as published, unique within its domain.
    pub id: String,
    /// Text as published.
    pub text: String,
    /// Index of the class, or of the right option; `None` where the classes of the task mean nothing.
    pub label: Option<u32>,
    /// How people rated it; `None` where nobody was asked.
    pub ratings: Option<Ratings>,
    /// The options of a question, of which one is right; `None` for a text of a class. The text is the question.
    pub choice: Option<Choice>,
}

/// What several people said of one text on a scale from negative to positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratings {
    /// One rating per rater, from -4 (most negative) to 4 (most positive).
    pub each: Vec<i8>,
    /// Mean rating as published, whose sign is the label.
    pub mean: f64,
}

impl Example {
    /// The review or editorial that the snippet was cut from: the identifier up to `_`.
    ///
    /// Snippets of one group are not independent. An identifier without `_` is its own group.
    pub fn group(&self) -> &str {
        self.id.split_once('_').map_or(self.id.as_str(), |(group, _)| group)
    }

    /// The question as a language model reads it; `None` for a text of a class.
    pub fn prompt(&self) -> Option<Prompt> {
        self.choice.as_ref().map(|choice| choice.prompt(&self.text))
    }
}

impl Ratings {
    /// Share of raters for each class, `[negative, positive]`; a neutral rating counts half for each.
    ///
    /// `p(positive) = (#{r > 0} + #{r = 0} / 2) / #r`. Both shares are NaN when nobody rated. Turning every rating round swaps the
    /// two shares exactly.
    ///
    /// # Examples
    /// ```
    /// # use bayeslora_data::tasks::Ratings;
    /// let ratings = Ratings { each: vec![2, 1, 0, -1], mean: 0.5 };
    /// assert_eq!(ratings.soft_label(), [0.375, 0.625]);
    /// ```
    pub fn soft_label(&self) -> [f64; 2] {
        let count = |keep: fn(&i8) -> bool| self.each.iter().filter(|rating| keep(rating)).count() as f64;
        let (negative, neutral, positive) = (count(|r| *r < 0), count(|r| *r == 0), count(|r| *r > 0));
        // Both from counts: rounding 1 - p would tell a share from its mirror image.
        [negative, positive].map(|of_sign| (of_sign + neutral / 2.0) / self.each.len() as f64)
    }

    /// Entropy of [`Self::soft_label`] in nats: 0 when the raters agree on the sign, `ln 2` when they are split evenly.
    ///
    /// Texts whose shares are each other's mirror image have the same bits: ranks of entropies know nothing of the label.
    pub fn entropy(&self) -> f64 {
        let mut shares = self.soft_label();
        shares.sort_by(f64::total_cmp);
        // -p ln p tends to 0 with p, where the product itself is NaN.
        shares.into_iter().map(|share| if share == 0.0 { 0.0 } else { -share * share.ln() }).sum()
    }

    /// Standard deviation of the ratings (divided by their number, as in the published column).
    ///
    /// `sqrt(n sum r^2 - (sum r)^2) / n` is of whole numbers up to the root: spreads that are equal have the same bits, whatever
    /// the order and the sign of the ratings.
    pub fn sd(&self) -> f64 {
        let raters = self.each.len() as f64;
        let sum = |of: fn(f64) -> f64| self.each.iter().map(|rating| of(f64::from(*rating))).sum::<f64>();
        (raters * sum(|r| r * r) - sum(|r| r).powi(2)).sqrt() / raters
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::*;

    fn rated(ratings: &[i8]) -> Ratings {
        Ratings { each: ratings.to_vec(), mean: 0.0 }
    }

    #[test]
    fn raters_who_agree_leave_no_entropy_and_an_even_split_leaves_ln_2() {
        assert_eq!(rated(&[1, 4, 2]).soft_label().map(f64::to_bits), [0.0, 1.0].map(f64::to_bits));
        assert!(rated(&[1, 4, 2]).entropy().abs() < f64::EPSILON);
        assert!((rated(&[-1, 4, 0]).entropy() - LN_2).abs() < f64::EPSILON);
        assert!((rated(&[0, 0]).entropy() - LN_2).abs() < f64::EPSILON);
    }

    /// `positive`, `neutral` and `negative` ratings of 1, 0 and -1.
    fn votes(positive: usize, neutral: usize, negative: usize) -> Ratings {
        rated(&[vec![1; positive], vec![0; neutral], vec![-1; negative]].concat())
    }

    #[test]
    fn a_text_and_its_mirror_image_tie_exactly() {
        let mut distinct = Vec::new();
        for raters in 1..=20 {
            for positive in 0..=raters {
                for neutral in 0..=raters - positive {
                    let negative = raters - positive - neutral;
                    let (own, mirrored) = (votes(positive, neutral, negative), votes(negative, neutral, positive));
                    let [minus, plus] = own.soft_label();
                    assert_eq!(mirrored.soft_label().map(f64::to_bits), [plus, minus].map(f64::to_bits));
                    assert_eq!(
                        own.entropy().to_bits(),
                        mirrored.entropy().to_bits(),
                        "{positive} {neutral} {negative}"
                    );
                    assert_eq!(own.sd().to_bits(), mirrored.sd().to_bits(), "{positive} {neutral} {negative}");
                    if raters == 20 {
                        distinct.push(own.entropy().to_bits());
                    }
                }
            }
        }
        // The lesser share of twenty raters is one of 0, 1/40 .. 20/40.
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 21);
    }

    #[test]
    fn spreads_do_not_depend_on_the_order_or_the_place_of_ratings() {
        let bits = |ratings: &[i8]| rated(ratings).sd().to_bits();
        let one = [3, 2, 2, 2, 0, 4, 3, 1, 2, 2, 4, 3, 3, 1, 2];
        let mut sorted = one;
        sorted.sort_unstable();
        assert_eq!(bits(&one), bits(&sorted));
        assert_eq!(bits(&one), bits(&one.map(|rating| rating - 3)));
        assert_eq!(bits(&one), bits(&one.map(|rating| -rating)));
    }

    #[test]
    fn the_standard_deviation_is_the_published_one() {
        // Snippet 1 of the movie reviews, published as 1.06249.
        let sd = rated(&[3, 2, 2, 2, 0, 4, 3, 1, 2, 2, 4, 3, 3, 1, 2]).sd();
        assert!((sd - 1.06249).abs() < 5e-6, "{sd}");
    }

    #[test]
    fn nobody_rated_is_nan_and_not_a_panic() {
        assert!(rated(&[]).soft_label()[0].is_nan() && rated(&[]).sd().is_nan());
    }

    #[test]
    fn a_group_is_the_part_before_the_underscore() {
        let example = Example { id: "7_2".into(), text: String::new(), label: None, ratings: None, choice: None };
        assert_eq!(example.group(), "7");
    }
}
