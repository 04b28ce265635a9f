//! `report.html` in a real browser: headless Chromium, named by `BAYESLORA_CHROMIUM` or found on the path.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn browser() -> PathBuf {
    if let Some(named) = std::env::var_os("BAYESLORA_CHROMIUM") {
        return named.into();
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|p| p.is_file());
    found.expect("no Chromium on the path; install it or name it in BAYESLORA_CHROMIUM")
}

/// What a script finds on a page, given as the text of its `report` calls.
fn probe(folder: &Path, page: &str) -> String {
    let path = folder.join("probe.html");
    std::fs::write(&path, page).unwrap();
    let output = Command::new(browser())
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(["--dump-dom"])
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = dom.split_once("<pre id=\"probe\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    found.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&output.stderr))).0.to_owned()
}

#[test]
#[ignore = "needs Chromium"]
fn the_report_sorts_fetches_nothing_and_fits_a_phone() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results");
    let folder = tempfile::tempdir().unwrap();
    // Written into a copy: the repository's own is for its reader to make.
    let copy = folder.path().join("results");
    assert!(Command::new("cp").arg("-r").arg(&results).arg(&copy).status().unwrap().success());
    let written = Command::new(env!("CARGO_BIN_EXE_bayeslora")).arg("overview").arg(&copy).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let page = std::fs::read_to_string(copy.join("report.html")).unwrap();

    // In a frame as wide as a phone. Errors are heard from the first script on.
    let hearing = "<script>window.heard = []; addEventListener('error', (e) => heard.push(e.message));</script>";
    let inside = page.replacen("<head>", &format!("<head>{hearing}"), 1);
    let mut frame = String::new();
    for character in inside.chars() {
        match character {
            '&' => frame += "&amp;",
            '"' => frame += "&quot;",
            other => frame.push(other),
        }
    }
    let script = include_str!("report_in_browser.js");
    let outside = format!(
        "<!doctype html><body><iframe id=f width=390 height=800 srcdoc=\"{frame}\"></iframe><pre id=\"probe\"></pre><script>{script}</script>"
    );
    let found = probe(folder.path(), &outside);
    let value = |name: &str| {
        let line = found.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {found}")).to_owned()
    };
    let about = |folder: &Path| ["experiment.toml", "about.toml"].iter().any(|name| folder.join(name).is_file());
    let folders = std::fs::read_dir(&results).unwrap().flatten().filter(|entry| about(&entry.path())).count();
    assert_eq!(value("experiments"), folders.to_string());
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    let chosen = value("chosen");
    let (first, all) = chosen.split_once(" 1 ").unwrap();
    let (shown, choices) = all.split_once(" of ").unwrap();
    assert!(first == "main-encoder" && shown == choices, "{chosen}");
    for (name, expected) in [
        ("links", "true"),
        ("unique", "true"),
        ("images", "true"),
        ("once", "true"),
        ("fetched", "0"),
        ("folded", "false"),
        ("errors", ""),
    ] {
        assert_eq!(value(name), expected, "{name}: {found}");
    }
    assert!(value("width").parse::<u32>().unwrap() <= 390, "{found}");
    assert_eq!([value("before"), value("after"), value("again")], ["false", "true ascending", "true descending"]);
    assert_eq!([value("other"), value("first")], ["- - ascending", "- ascending -"]);
    assert_eq!(value("rising"), "−3, &lt; 0.0001, 9.25*, 10.5 ± 0.1, —");
    assert_eq!(value("falling"), "10.5 ± 0.1, 9.25*, &lt; 0.0001, −3, —");
}
