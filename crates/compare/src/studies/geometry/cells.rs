//! Intervals in tables: joined over seeds, placed beside a value, and written.

use std::cmp::Ordering;

use bayeslora_metrics::Interval;

/// Mean over seeds, within the widest of their intervals.
pub(super) fn over<T>(found: &[&T], value: impl Fn(&T) -> Option<Interval>) -> Option<Interval> {
    let all = found.iter().map(|finding| value(finding)).collect::<Option<Vec<_>>>()?;
    Some(Interval {
        estimate: all.iter().map(|one| one.estimate).sum::<f64>() / all.len() as f64,
        lower: all.iter().map(|one| one.lower).fold(f64::INFINITY, f64::min),
        upper: all.iter().map(|one| one.upper).fold(f64::NEG_INFINITY, f64::max),
    })
}

/// On which side of `middle` an interval lies wholly; `Equal` where it is on both, or where there is none.
pub(super) fn side(interval: Option<Interval>, middle: f64) -> Ordering {
    match interval {
        Some(Interval { lower, .. }) if lower > middle => Ordering::Greater,
        Some(Interval { upper, .. }) if upper < middle => Ordering::Less,
        _ => Ordering::Equal,
    }
}

/// `0.12 [0.10, 0.14]`, or a dash.
pub(super) fn cell(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "–".to_owned(),
        |Interval { estimate, lower, upper }| format!("{estimate:.2} [{lower:.2}, {upper:.2}]"),
    )
}

/// Columns of intervals: estimate, lower and upper end.
pub(super) fn interval_columns(names: &[&str]) -> impl Iterator<Item = String> {
    names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_lower"), format!("{name}_upper")])
}

/// Their cells; empty where there is no interval.
pub(super) fn interval_cells(intervals: &[Option<Interval>]) -> impl Iterator<Item = String> {
    intervals.iter().flat_map(|interval| match interval {
        Some(Interval { estimate, lower, upper }) => [estimate, lower, upper].map(|value| format!("{value:.5}")),
        None => [const { String::new() }; 3],
    })
}
