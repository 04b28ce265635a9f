use super::*;
use crate::protocol::Part;
use crate::record::{Agreement, Errors, Machine, Measurement, Record, SCHEMA};

fn machine() -> Machine {
    let versions = [("torch".to_owned(), "2.15.0".to_owned())].into();
    let (cpu, date, commit) = ("CPU".to_owned(), "2026-01-01".to_owned(), "abc".to_owned());
    Machine { cpu, cores: 2, threads: 2, date, commit, versions }
}

fn record(set: &str, measurements: Vec<Measurement>) -> Record {
    let settings = serde_json::Value::Null;
    Record {
        schema: SCHEMA,
        set: set.to_owned(),
        is_quick: false,
        settings,
        machine: machine(),
        others: None,
        agreement: vec![],
        measurements,
    }
}

fn one(contestant: &str, at: f64, seconds: &[f64]) -> Measurement {
    Measurement {
        contestant: contestant.to_owned(),
        at,
        seconds: seconds.to_vec(),
        ready_bytes: Some(100_000_000),
        peak_bytes: Some(200_000_000),
        tokens: 1000,
        padded: 1500,
        flops: 5e9,
        bytes: 1e8,
        ..Measurement::default()
    }
}

fn limits() -> Record {
    let part = |name: &str, flops, bytes| Part { name: name.to_owned(), seconds: 1.0, flops, bytes };
    let parts = vec![part("product 1 x 1 x 1", 1e10, 1e9), part("memory, copy", 0.0, 2e9), part("block", 4e9, 1e8)];
    record("limits", vec![Measurement { parts, ..one("limits", 2.0, &[1.0]) }])
}

fn measured() -> Records {
    let errors = Some(Errors { mean: 0.01, variance: Some(0.3), logit_variance: Some(0.25) });
    let failed = Measurement { failed: Some("no | compiler".to_owned()), ..one("torch-sorted-compiled", 20.0, &[]) };
    let mut main = record(
        "main",
        vec![
            one("v1-loop", 20.0, &[10.0, 12.0]),
            one("torch-sorted-cheap", 20.0, &[4.0, 4.0]),
            failed,
            one("torch-bf16", 20.0, &[1.0, 1.0]),
            one("exact", 20.0, &[2.0, 2.0, 1.0]),
        ],
    );
    main.agreement.push(Agreement {
        contestant: "v1-loop".to_owned(),
        at: 20.0,
        of: "means".to_owned(),
        statistic: 1.5,
        limit: 5.0,
        farthest: None,
        is_enforced: true,
    });
    let training =
        vec![one("torch-training", 0.15, &[2.0]), Measurement { padded: 1000, ..one("training", 0.15, &[1.0]) }];
    let layer = [("torch-layer", 6.0), ("torch-layer-hoisted", 3.0), ("layer-input", 1.0)];
    let layer = layer.map(|(id, seconds)| one(id, 768.0, &[seconds])).into();
    let samples = [1.0, 10.0, 20.0, 100.0].map(|at| Measurement { errors, ..one("exact", at, &[at / 10.0]) });
    Records(vec![
        limits(),
        record("layer-768", layer),
        record("training-8", training),
        main,
        record("samples", samples.into()),
    ])
}

fn measured_bar(records: &Records, starts: &str) -> (Option<f64>, &'static str) {
    let bars = bars::all(records);
    let bar = bars.iter().find(|bar| bar.what.starts_with(starts)).unwrap();
    (bar.measured, bar.verdict())
}

#[test]
fn bars_are_ratios_of_medians_and_say_what_is_not_met() {
    let records = measured();
    assert_eq!(measured_bar(&records, "Exact sampling, T = 20: times the v1 loop"), (Some(5.5), "met"));
    let fastest = "Exact sampling, T = 20: times the fastest PyTorch variant (PyTorch, sorted, cheap dropout)";
    assert_eq!(measured_bar(&records, fastest), (Some(2.0), "**not met**"));
    assert_eq!(measured_bar(&records, "The same in reduced precision").0, Some(0.5));
    // 5e9 operations in 2 s against 1e10 a second.
    assert_eq!(measured_bar(&records, "Share of the measured matrix-product limit").0, Some(0.25));
    assert_eq!(measured_bar(&records, "Linearised (no sampling)"), (None, "not measured"));
    assert_eq!(measured_bar(&records, "One map 768 x 768, T = 32, input site: times PEFT's loop").0, Some(6.0));
    assert_eq!(measured_bar(&records, "One map 768 x 768, T = 32, input site: share"), (Some(0.5), "**not met**"));
    assert_eq!(measured_bar(&records, "One map 4096 x 4096, T = 32, input site: share"), (None, "not measured"));
    assert_eq!(measured_bar(&records, "Training step, rank 8, batch 16, dropout 0.15"), (Some(2.0), "met"));
    assert_eq!(
        measured_bar(&records, "The same, rank 8, with PyTorch's padding").0.map(|r| (r * 3.0).round()),
        Some(4.0)
    );
    assert_eq!(measured_bar(&records, "Training, rank 8: peak memory"), (Some(1.0), "met"));
    assert_eq!(measured_bar(&records, "Peak memory of exact sampling"), (Some(1.0), "met"));
}

#[test]
fn the_page_shows_failures_spread_and_exponents() {
    let page = table::page(&measured()).markdown();
    for expected in [
        "| PyTorch, sorted, compiled | failed: no \\| compiler | – |",
        "| PyTorch, v1 loop | 11 | 10 to 12 | 2 | 1818 | 2727 | 200 | 100 | 0 |",
        "- CPU (2 cores), 2 threads, 2026-01-01, commit abc\n",
        "Not measured yet: forward, layer-4096, training-64,",
        "| samples T | 1 | 10 | 20 | 100 | exponent |",
        "| bayeslora, exact sampling | 0.1 | 1 | 2 | 10 | 1.00 ± 0.00 |",
        "| bayeslora, exact sampling | 20 | 2 | 0.01 | 0.3 | 0.25 |",
        "| main | PyTorch, v1 loop | means | 1.50e0 | 5e0 | agrees |",
        "## Exact sampling, T = 20, texts of 1000 tokens",
        "## Methodology",
        "## Bias",
    ] {
        assert!(page.contains(expected), "{expected} is not in\n{page}");
    }
}

#[test]
fn the_report_is_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    for record in measured().0 {
        record.write(folder.path()).unwrap();
    }
    let once = files(folder.path()).unwrap();
    let names: Vec<&str> = once.iter().map(|(name, _)| name.as_str()).collect();
    let figures = ["time.svg", "error.svg", "roofline.svg"];
    assert_eq!(names, [&["table.md", "table.csv"][..], &figures].concat());
    assert_eq!(once, files(folder.path()).unwrap());
    let csv = String::from_utf8(once[1].1.clone()).unwrap();
    assert!(
        csv.contains("main,v1-loop,20,11,10,12,2,0,100000000,200000000,1000,1500,5000000000,100000000,,,,\n"),
        "{csv}"
    );
}

#[test]
fn without_records_the_command_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = files(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("has no records; `make bench-peers` measures them"), "{error}");
}

#[test]
fn limits_are_those_of_the_machine_that_was_measured() {
    let mut records = measured();
    let share = "Share of the measured matrix-product limit that exact sampling reaches";
    let found = |records: &Records| bars::all(records).into_iter().find(|bar| bar.what == share).unwrap().measured;
    assert!(found(&records).is_some());
    // The main set elsewhere: no limit is known there, until that machine's own is measured.
    records.0.iter_mut().find(|record| record.set == "main").unwrap().machine.cpu = "Another".to_owned();
    assert_eq!(found(&records), None);
    let mut own = Record { set: "decoder-limits".to_owned(), ..limits() };
    own.machine.cpu = "Another".to_owned();
    records.0.push(own);
    assert!(found(&records).is_some());
}

#[test]
fn a_disturbed_set_is_named_above_everything() {
    let mut records = measured();
    records.0[0].notice(Some(0.1));
    assert!(!table::page(&records).markdown().contains("Other programs were computing"));
    records.0[0].notice(Some(0.5));
    records.0[0].notice(None);
    records.0[0].notice(Some(0.0));
    assert_eq!(records.0[0].others, Some(0.5));
    assert!(table::page(&records).markdown().contains("so their times mean little: limits.**"));
}

#[test]
fn the_committed_page_is_what_its_records_give() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/performance");
    for (name, bytes) in super::files(&folder.join("records")).unwrap() {
        let path = folder.join(name);
        assert!(!bayeslora_compare::is_stale(&path, &bytes), "{}: run `peers report`", path.display());
    }
}
