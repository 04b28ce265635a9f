//! Bins over `[0, 1]` and the binned gap between predicted and observed frequency,
//! `sum_b (n_b / N) |hits_b / n_b - p_b / n_b|` (Naeini et al. 2015; Guo et al. 2017, equation 3).

/// Sums over the (weighted) examples of one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Bin {
    /// Number of examples.
    pub(crate) count: f64,
    /// Sum of their predicted probabilities.
    pub(crate) predicted: f64,
    /// How often the predicted event happened.
    pub(crate) hits: f64,
}

impl Bin {
    pub(crate) fn add(&mut self, weight: f64, predicted: f64, hits: f64) {
        self.count += weight;
        self.predicted += weight * predicted;
        self.hits += weight * hits;
    }
}

/// The `bins - 1` edges inside `[0, 1]`, `k / bins`, each rounded once.
pub(crate) fn inner_edges(bins: usize) -> Vec<f64> {
    (1..bins).map(|k| k as f64 / bins as f64).collect()
}

/// The left-closed bin of `value`; everything from the last edge up, 1.0 included, is in the last bin.
///
/// Searches the edges instead of flooring `value * bins`: 0.29 * 100 is 28.999999999999996.
pub(crate) fn bin_of(edges: &[f64], value: f64) -> usize {
    edges.partition_point(|edge| *edge <= value)
}

/// `sum_b |hits_b - predicted_b| / N`, which is the weighted mean of the gaps; empty bins contribute nothing.
pub(crate) fn gap(bins: &[Bin]) -> f64 {
    let total: f64 = bins.iter().map(|bin| bin.count).sum();
    bins.iter().map(|bin| (bin.hits - bin.predicted).abs()).sum::<f64>() / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_closed_on_the_left_and_one_is_in_the_last() {
        let edges = inner_edges(100);
        for k in 0..100u8 {
            assert_eq!(bin_of(&edges, f64::from(k) / 100.0), usize::from(k));
        }
        assert_eq!(bin_of(&edges, 1.0), 99);
        assert_eq!(bin_of(&edges, 0.29_f64.next_down()), 28);
        assert_eq!(bin_of(&inner_edges(1), 1.0), 0);
    }
}
