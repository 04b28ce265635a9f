//! The top label, `argmax_c p_c`, and its probability, the confidence.

use ndarray::ArrayView2;

/// The most probable class of one example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TopLabel {
    pub(crate) class: usize,
    pub(crate) probability: f64,
}

/// The most probable class of every row, the first one on ties.
pub(crate) fn labels(probabilities: ArrayView2<'_, f64>) -> Vec<TopLabel> {
    let top = |row: ndarray::ArrayView1<'_, f64>| {
        let start = TopLabel { class: 0, probability: f64::NEG_INFINITY };
        row.iter().enumerate().fold(start, |best, (class, &probability)| {
            if probability > best.probability { TopLabel { class, probability } } else { best }
        })
    };
    probabilities.outer_iter().map(top).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_of_tied_classes() {
        let found = labels(ndarray::array![[0.4, 0.4, 0.2], [0.2, 0.3, 0.5]].view());
        assert_eq!(found[0], TopLabel { class: 0, probability: 0.4 });
        assert_eq!(found[1], TopLabel { class: 2, probability: 0.5 });
    }
}
