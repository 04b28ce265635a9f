//! One text, with its label and the human ratings behind it where there are any.

/// A text, and what people said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Identifier as published, unique within its domain.
    pub id: String,
    /// Text as published.
    pub text: String,
    /// Index of the class; `None` where the classes of the task mean nothing.
    pub label: Option<u32>,
    /// How people rated it; `None` where nobody was asked.
    pub ratings: Option<Ratings>,
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
}

impl Ratings {
    /// Share of raters for each class, `[negative, positive]`; a neutral rating counts half for each.
    ///
    /// `p(positive) = (#{r > 0} + #{r = 0} / 2) / #r`. Both shares are NaN when nobody rated.
    ///
    /// # Examples
    /// ```
    /// # use bayeslora_data::tasks::Ratings;
    /// let ratings = Ratings { each: vec![2, 1, 0, -1], mean: 0.5 };
    /// assert_eq!(ratings.soft_label(), [0.375, 0.625]);
    /// ```
    pub fn soft_label(&self) -> [f64; 2] {
        let count = |keep: fn(&i8) -> bool| self.each.iter().filter(|rating| keep(rating)).count() as f64;
        let (positive, neutral) = (count(|rating| *rating > 0), count(|rating| *rating == 0));
        let raters = self.each.len() as f64;
        let positive = (positive + neutral / 2.0) / raters;
        [1.0 - positive, positive]
    }

    /// Entropy of [`Self::soft_label`] in nats: 0 when the raters agree on the sign, `ln 2` when they are split evenly.
    pub fn entropy(&self) -> f64 {
        // -p ln p tends to 0 with p, where the product itself is NaN.
        self.soft_label().into_iter().map(|share| if share == 0.0 { 0.0 } else { -share * share.ln() }).sum()
    }

    /// Standard deviation of the ratings (divided by their number, as in the published column).
    pub fn sd(&self) -> f64 {
        let raters = self.each.len() as f64;
        let ratings = || self.each.iter().copied().map(f64::from);
        let mean = ratings().sum::<f64>() / raters;
        (ratings().map(|rating| (rating - mean).powi(2)).sum::<f64>() / raters).sqrt()
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
        let example = Example { id: "7_2".into(), text: String::new(), label: None, ratings: None };
        assert_eq!(example.group(), "7");
    }
}
