use std::collections::BTreeMap;

use bayeslora_adapters::{Slot, TargetMap};
use bayeslora_metrics::{Bootstrap, Interval};
use bayeslora_theory::Site;

use super::findings::{Finding, GeometryOptions, SHARES, Text};
use super::predictions::{Reached, Scores, VARIANCE, reached};
use super::table;
use crate::studies::toy;

/// Findings of a map at every share; the later the seed, the wider `S_X`.
fn findings(seed: usize, map: TargetMap, site: Site, own_site: bool, estimate: f64) -> Vec<Finding> {
    let around = |by: f64| Interval { estimate, lower: estimate - by, upper: estimate + by };
    let of = |(place, share): (usize, f64)| Finding {
        method: "MC".to_owned(),
        seed: seed as u64,
        slot: Slot::new(4, map),
        site,
        own_site,
        share,
        k: 3 + place + seed,
        d: 12,
        rho: 0.7 + estimate,
        norm_variation: 0.031 * seed as f64,
        distance: Some(around(0.1)),
        relative: None,
        given_norm: Some(around(0.6)),
        auroc: Some(around(0.25)),
        auroc_distance: Some(around(0.02)),
        auroc_norm: (map == TargetMap::Query).then(|| around(0.3)),
    };
    SHARES.into_iter().enumerate().map(of).collect()
}

/// What is measured beside them, from a few texts.
fn beside(seed: u64) -> Vec<Reached> {
    let values = |step: usize, from: f64| (0..9).map(|i| from + ((i * step) % 9) as f64).collect::<Vec<_>>();
    let text = |(&distance, &v): (&f64, &f64)| Text {
        energy: 1.0,
        outside: vec![distance * distance; SHARES.len()],
        variances: vec![v; Site::ALL.len()],
    };
    let side = |from: f64| values(2, from).iter().zip(&values(4, 1.0)).map(text).collect();
    let texts = BTreeMap::from([(Slot::new(4, TargetMap::Query), [side(1.0), side(5.0)])]);
    let entropy = [values(7, 0.5), values(5, 1.5)];
    let sampled = vec![(VARIANCE, [values(2, 0.1), values(8, 3.0)])];
    let bootstrap = Bootstrap { resamples: 20, ..Bootstrap::default() };
    reached(("MC", seed, Site::Rank), &texts, Scores { samples: 10, sampled, entropy }, &bootstrap)
}

#[test]
fn the_page_is_as_it_was_written_down() {
    let mut found = Vec::new();
    for seed in [1, 2] {
        found.extend(findings(seed, TargetMap::Query, Site::Rank, true, -0.2));
        found.extend(findings(seed, TargetMap::Output, Site::Rank, true, 0.4));
        found.extend(findings(seed, TargetMap::Query, Site::Input, false, 0.8));
    }
    let reached: Vec<Reached> = [1, 2].into_iter().flat_map(beside).collect();
    let options = GeometryOptions { texts: 500, resamples: 400 };
    let page = table::page(&toy::plan(), &options, &[500, 300], &found, &reached).markdown();
    assert_eq!(page, include_str!("expected.md"));
}
