use bayeslora_adapters::{Coupling, GroupSize};
use bayeslora_metrics::Interval;

use super::findings::{Finding, SAMPLES, Scheme, Variance};
use super::method::{CouplingsOptions, MethodCouplings};
use super::stopping::Stopped;
use super::table;
use crate::studies::toy;

fn around(estimate: f64, by: f64) -> Interval {
    Interval { estimate, lower: estimate - by, upper: estimate + by }
}

fn finding(scheme: Scheme, samples: u32, factor: f64) -> Finding {
    let variance = |error: f64| Variance { error, factor: around(factor, 0.3), bias: around(-0.021, 0.03) };
    Finding {
        scheme,
        samples,
        replicates: 8,
        mean_error: 0.012_345 / factor,
        mean_factor: around(factor, 0.2),
        variance: variance(0.4),
        corrected: (scheme == Scheme::TwoGroups).then(|| variance(0.5)),
    }
}

fn stopped(coupling: Coupling, alpha: f64) -> Stopped {
    let balanced_samples = (alpha > 0.01).then_some(16);
    Stopped {
        coupling,
        alpha,
        mean_samples: 12.34,
        median_samples: 8,
        undecided: 3,
        wrong: 1,
        agreeing: 97,
        texts: 100,
        fixed_agreement: 0.9712,
        fixed_samples: Some(24),
        balanced_samples,
    }
}

#[test]
fn the_page_is_as_it_was_written_down() {
    let last = SAMPLES[SAMPLES.len() - 1];
    let method = MethodCouplings {
        label: "MC".to_owned(),
        findings: vec![
            finding(Scheme::Independent, 2, 1.0),
            finding(Scheme::Antithetic, last, 1.4),
            finding(Scheme::Balanced, last, 0.6),
            finding(Scheme::TwoGroups, last, 1.1),
        ],
        stopped: vec![
            stopped(Coupling::Independent, 0.05),
            stopped(Coupling::Independent, 0.01),
            stopped(Coupling::Balanced(GroupSize::new(4).unwrap()), 0.05),
        ],
        most: 1024,
        reference_capped: 2,
        texts: 100,
    };
    let options = CouplingsOptions { texts: 100, replicates: 8, most: 1024, resamples: 200 };
    let page = table::page(&toy::plan(), &options, &[method]).markdown();
    assert_eq!(page, include_str!("expected.md"));
}
