use std::collections::BTreeMap;

use super::findings::{Measured, OfRow, Reading, Shown, difference};
use super::measure::sorted;
use super::table;
use crate::studies::toy;

fn shown(metric: &'static str) -> Shown {
    Shown { domain: "movies".to_owned(), metric, is_tempered: false }
}

/// A reading whose validation NLL and NLL differ, so that one cannot stand for the other.
fn reading(row: &str, seed: u64, width: f64, (validation_nll, nll): (f64, f64)) -> Reading {
    let scores = BTreeMap::from([(shown("nll"), nll), (shown("mean_mutual_information"), 0.01 * width)]);
    let scores = if width > 0.0 { scores } else { BTreeMap::from([(shown("nll"), nll)]) };
    Reading { row: row.to_owned(), label: row.to_uppercase(), seed, width, validation_nll, scores }
}

fn readings() -> Vec<Reading> {
    vec![
        reading("mc", 1, 0.0, (0.50, 0.51)),
        reading("mc", 1, 1.0, (0.48, 0.47)),
        reading("mc", 1, 2.0, (0.46, 0.45)),
        reading("mc", 2, 0.0, (0.50, 0.52)),
        reading("mc", 2, 1.0, (0.47, 0.48)),
        // The test set would choose otherwise than validation does.
        reading("mc", 2, 2.0, (0.49, 0.40)),
    ]
}

#[test]
fn the_width_is_chosen_on_validation_texts_seed_by_seed() {
    let readings = readings();
    let rows = OfRow::all(&readings);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].chosen(), [2.0, 1.0]);
    assert_eq!(rows[0].at_chosen(&shown("nll")), Some(vec![0.45, 0.48]));
    assert_eq!(rows[0].scores(&shown("nll"), 1.0), Some(vec![0.47, 0.48]));
    assert_eq!(rows[0].scores(&shown("ece"), 1.0), None);
    // Differences -0.02 and 0: mean -0.01, standard error 0.01, and 12.706 of them with one degree of freedom.
    let found = difference(&[0.45, 0.48], &[0.47, 0.48]).unwrap();
    assert!((found.estimate + 0.01).abs() < 1e-12 && (found.upper + 0.01 - 0.127_062_047).abs() < 1e-6, "{found:?}");
}

#[test]
fn widths_are_read_once_each_in_order_and_the_fitted_one_always() {
    assert_eq!(sorted(&[4.0, 0.0, -0.0, 4.0]).unwrap(), [0.0, 1.0, 4.0]);
    assert_eq!(sorted(&[1.0]).unwrap(), [1.0]);
    for wrong in [-0.5, f64::NAN, f64::INFINITY] {
        let said = sorted(&[1.0, wrong]).unwrap_err().to_string();
        assert!(
            said.contains(&format!("width {wrong}")) && said.ends_with("expected a number of at least 0"),
            "{said}"
        );
    }
}

#[test]
fn the_page_is_as_it_was_written_down() {
    let readings = readings();
    let all = [shown("nll"), shown("mean_mutual_information")];
    let measured = Measured {
        widths: &[0.0, 1.0, 2.0],
        texts: &[("validation".to_owned(), 40), ("Movie reviews".to_owned(), 50)],
        failed: &["BLoB, seed 3".to_owned()],
        readings: &readings,
        shown: &all,
    };
    let page = table::page(&toy::plan(), 200, &measured).unwrap().markdown();
    assert_eq!(page, include_str!("expected.md"));
    let csv = String::from_utf8(table::csv(&readings, &all).unwrap()).unwrap();
    assert!(
        csv.starts_with("row,seed,width,validation_nll,movies/nll,movies/mean_mutual_information\nmc,1,0,"),
        "{csv}"
    );
}
