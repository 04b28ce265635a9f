//! Have chains mixed, and how many independent draws are they worth? (Vehtari, Gelman, Simpson, Carpenter and Buerkner 2021.)

use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{Error, Result};

/// Rank-normalised split `R-hat` of a scalar, the larger of its bulk and its folded form; 1 where chains agree.
///
/// # Shapes
/// `chains: [chains][draws]`, all of one length.
/// # Errors
/// [`Error::Shape`] for chains of several lengths, [`Error::Setting`] below four draws or for a value that is not finite.
pub fn r_hat(chains: &[Vec<f64>]) -> Result<f64> {
    let split = split(chains)?;
    let median = median(split.iter().flatten().copied().collect());
    let folded: Vec<Vec<f64>> =
        split.iter().map(|chain| chain.iter().map(|value| (value - median).abs()).collect()).collect();
    Ok(ratio(&normalised(&split)).max(ratio(&normalised(&folded))))
}

/// Bulk effective sample size of a scalar: of its rank-normalised split chains, by Geyer's initial monotone sequence.
///
/// # Shapes
/// `chains: [chains][draws]`, all of one length.
/// # Errors
/// As [`r_hat`].
pub fn bulk_ess(chains: &[Vec<f64>]) -> Result<f64> {
    Ok(effective(&normalised(&split(chains)?)))
}

/// Every chain as two, its first half and its second; the middle draw of an odd number is left out.
fn split(chains: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
    let draws = chains.first().map_or(0, Vec::len);
    if let Some(other) = chains.iter().find(|chain| chain.len() != draws) {
        let (got, expected) = (format!("{} draws", other.len()), format!("{draws}, as the first"));
        return Err(Error::Shape { what: "a chain", got, expected });
    }
    if draws < 4 {
        return Err(Error::Setting { what: "number of draws", value: draws as f64, expected: "at least 4" });
    }
    if let Some(&value) = chains.iter().flatten().find(|value| !value.is_finite()) {
        return Err(Error::Setting { what: "a draw", value, expected: "a finite number" });
    }
    let half = draws / 2;
    Ok(chains.iter().flat_map(|chain| [chain[..half].to_vec(), chain[draws - half..].to_vec()]).collect())
}

/// Normal scores of the ranks among all draws, ties sharing their mean rank: `Phi^-1((rank - 3/8) / (S + 1/4))`.
fn normalised(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let all: Vec<f64> = chains.iter().flatten().copied().collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|&a, &b| all[a].total_cmp(&all[b]));
    let mut ranks = vec![0.0; all.len()];
    let mut first = 0;
    while first < order.len() {
        let mut next = first + 1;
        while next < order.len() && all[order[next]].total_cmp(&all[order[first]]).is_eq() {
            next += 1;
        }
        let mean = (first + next + 1) as f64 / 2.0;
        for &place in &order[first..next] {
            ranks[place] = mean;
        }
        first = next;
    }
    let normal = Normal::standard();
    let size = all.len() as f64;
    let scores: Vec<f64> = ranks.iter().map(|rank| normal.inverse_cdf((rank - 0.375) / (size + 0.25))).collect();
    scores.chunks(chains[0].len()).map(<[f64]>::to_vec).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Mean variance within chains, and the pooled estimate `(n - 1) / n W + var(means)`.
fn variances(chains: &[Vec<f64>]) -> (f64, f64) {
    let n = chains[0].len() as f64;
    let within = mean(&chains.iter().map(|chain| variance(chain)).collect::<Vec<_>>());
    let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
    let between = if means.len() > 1 { variance(&means) } else { 0.0 };
    (within, (n - 1.0) / n * within + between)
}

fn ratio(chains: &[Vec<f64>]) -> f64 {
    let (within, pooled) = variances(chains);
    // A constant agrees with itself.
    if within > 0.0 { (pooled / within).sqrt() } else { 1.0 }
}

fn effective(chains: &[Vec<f64>]) -> f64 {
    let (draws, count) = (chains[0].len(), chains.len());
    let total = (draws * count) as f64;
    let (within, pooled) = variances(chains);
    if within == 0.0 {
        return total;
    }
    let n = draws as f64;
    let centred: Vec<Vec<f64>> = chains.iter().map(|chain| chain.iter().map(|x| x - mean(chain)).collect()).collect();
    let covariance = |lag: usize| -> f64 {
        let of = |chain: &Vec<f64>| chain[lag..].iter().zip(chain).map(|(a, b)| a * b).sum::<f64>() / n;
        centred.iter().map(of).sum::<f64>() / count as f64
    };
    let correlation = |lag: usize| 1.0 - (within - covariance(lag)) / pooled;
    // Sums of neighbours are positive and fall: the sequence ends where they are not, and never rises. Of the pair where it ends, the
    // first counts, once.
    let mut pairs = vec![1.0 + correlation(1)];
    let mut end = 0.0;
    let bound = draws.saturating_sub(2);
    for lag in (2..bound).step_by(2) {
        let (even, odd) = (correlation(lag), correlation(lag + 1));
        if even + odd < 0.0 || lag + 2 >= bound {
            end = even.max(0.0);
            break;
        }
        let before = pairs.last().copied().unwrap_or(f64::INFINITY);
        pairs.push((even + odd).min(before));
    }
    let time = (-1.0 + 2.0 * pairs.iter().sum::<f64>() + end).max(1.0 / total.log10());
    total / time
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chains of tests/golden/diagnostics.py.
    fn chains(phi: f64, shift: f64) -> Vec<Vec<f64>> {
        let mut state: u64 = 12345;
        let mut chain = |number: u32| {
            let mut value = 0.0;
            let mut next = || {
                state = (1_103_515_245 * state + 12345) % (1 << 31);
                value = phi * value + (state as f64 / f64::from(1_u32 << 31) - 0.5);
                value + shift * f64::from(number)
            };
            (0..101).map(|_| next()).collect()
        };
        (0..4).map(&mut chain).collect()
    }

    #[test]
    fn chains_have_the_values_of_arviz() {
        for (phi, shift, expected_r_hat, expected_ess) in [
            (0.0, 0.0, 1.003_077_373_054_527_3, 404.340_140_986_414_55),
            (0.9, 0.0, 1.080_924_541_700_443_4, 36.190_242_696_438_48),
            (0.5, 0.2, 1.214_394_896_342_534_5, 15.179_730_865_787_699),
            (-0.6, 0.0, 1.011_391_466_418_654_3, 1_040.823_996_531_185),
        ] {
            let own = chains(phi, shift);
            let (r_hat, ess) = (r_hat(&own).unwrap(), bulk_ess(&own).unwrap());
            assert!((r_hat - expected_r_hat).abs() < 1e-8, "{phi} {shift}: {r_hat} for {expected_r_hat}");
            assert!((ess / expected_ess - 1.0).abs() < 1e-8, "{phi} {shift}: {ess} for {expected_ess}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_refused_and_a_constant_agrees() {
        assert_eq!(r_hat(&[vec![2.0; 8], vec![2.0; 8]]), Ok(1.0));
        assert_eq!(bulk_ess(&[vec![2.0; 8], vec![2.0; 8]]), Ok(16.0));
        let said = |chains: &[Vec<f64>]| r_hat(chains).unwrap_err().to_string();
        assert_eq!(said(&[vec![0.0; 8], vec![0.0; 7]]), "a chain is of 7 draws, expected 8, as the first");
        assert_eq!(said(&[vec![0.0; 3]]), "number of draws is 3, expected at least 4");
        assert_eq!(said(&[vec![0.0, 1.0, f64::NAN, 2.0]]), "a draw is NaN, expected a finite number");
    }
}
