//! Bakes the commit into the binary, so that records can say which source computed them.

use std::path::Path;
use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    // Sources of this crate and of those it computes with; the index changes with every commit.
    println!("cargo::rerun-if-changed=..");
    if let Some(index) = git(&["rev-parse", "--git-path", "index"])
        && Path::new(&index).exists()
    {
        println!("cargo::rerun-if-changed={index}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).map_or_else(
        || "unknown".to_owned(),
        |commit| match git(&["status", "--porcelain", "--", "..", "../../Cargo.toml", "../../Cargo.lock"]) {
            Some(changes) if changes.is_empty() => commit,
            _ => format!("{commit}+dirty"),
        },
    );
    println!("cargo::rustc-env=BAYESLORA_COMMIT={commit}");
}
