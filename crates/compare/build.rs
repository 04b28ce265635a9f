//! Bakes the commit into the binary, so that records can say which source computed them.

use std::path::Path;
use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    // Sources of this crate and of those it computes with. The log of HEAD grows with every commit; the index changes whenever anybody asks
    // for the status, this script too.
    println!("cargo::rerun-if-changed=..");
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).map_or_else(
        || "unknown".to_owned(),
        |commit| match git(&[
            "--no-optional-locks",
            "status",
            "--porcelain",
            "--",
            "..",
            "../../Cargo.toml",
            "../../Cargo.lock",
        ]) {
            Some(changes) if changes.is_empty() => commit,
            _ => format!("{commit}+dirty"),
        },
    );
    println!("cargo::rustc-env=BAYESLORA_COMMIT={commit}");
}
