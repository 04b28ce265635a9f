//! A toy asset, its archives, and a scripted source in place of the network.

mod archives;
mod hub;
mod installing;
mod refusing;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::asset::{Asset, AssetFile, Layout, Origin, Package, Repository};
use super::event::{Event, Notify};
use super::source::{Failure, Fetched, LocalArchive, Request, Source};
use super::{AssetDir, AssetOptions, Assets};
use crate::error::Error;
use bayeslora_host::hex;

const FILES: [(&str, &[u8]); 2] = [("a.txt", b"alpha"), ("b.txt", b"bravo, longer")];

/// The toy's package as a well-formed wheel: a file of the same name in a subfolder, and one nobody wants.
fn wheel() -> Vec<u8> {
    zipped(&[
        ("toy/data/1_Pooling/a.txt", b"another a.txt"),
        ("toy/data/a.txt", FILES[0].1),
        ("toy/data/README.md", b"not wanted"),
        ("toy/data/b.txt", FILES[1].1),
    ])
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn tar_gz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        // Written raw: the builder itself refuses the paths that the refusal tests need.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// The toy asset whose package has this archive.
fn toy(archive: &[u8], layout: Layout) -> &'static Asset {
    let sha256 = |bytes: &[u8]| -> &'static str { Box::leak(hex(&Sha256::digest(bytes)).into_boxed_str()) };
    let files: Vec<_> = FILES
        .iter()
        .map(|(name, bytes)| AssetFile { name, bytes: bytes.len() as u64, sha256: sha256(bytes) })
        .collect();
    Box::leak(Box::new(Asset {
        name: "toy",
        files: files.leak(),
        hub: Some("somebody/toy"),
        origin: Origin::Package(Package {
            name: "toy-data",
            version: "1.0",
            archive: "toy.whl",
            sha256: sha256(archive),
            layout,
        }),
    }))
}

fn toy_wheel() -> &'static Asset {
    toy(&wheel(), Layout::Wheel { folder: "toy/data" })
}

/// What the scripted source does when asked.
enum Step {
    Archive(Vec<u8>),
    Files(Vec<(&'static str, &'static [u8])>),
    Unavailable,
}

/// A source that goes through a script, one step per request, and repeats the last one.
struct Script {
    steps: Mutex<Vec<Step>>,
    asked: Mutex<u32>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Source for &'static Script {
    fn offer(&self, _: &Asset) -> Option<String> {
        Some("the script".to_owned())
    }

    fn is_download(&self) -> bool {
        true
    }

    fn fetch(&self, request: &Request<'_>, _: Notify<'_>) -> Result<Fetched, Failure> {
        *self.asked.lock().unwrap() += 1;
        let mut steps = self.steps.lock().unwrap();
        let step = if steps.len() > 1 { &steps.remove(0) } else { &steps[0] };
        match step {
            Step::Archive(bytes) => {
                let path = request.into.join(request.asset.package().unwrap().archive);
                fs::write(&path, bytes).unwrap();
                Ok(Fetched::Archive(path))
            }
            Step::Files(files) => {
                for (name, bytes) in files {
                    fs::write(request.into.join(name), bytes).unwrap();
                }
                Ok(Fetched::Files)
            }
            Step::Unavailable => Err(Failure::Unavailable("the line is dead".to_owned())),
        }
    }
}

/// A place with a cache, a folder of the user's, and a scripted network.
struct Scene {
    root: TempDir,
    script: &'static Script,
    options: AssetOptions,
    network: bool,
}

impl Scene {
    fn new(steps: Vec<Step>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = AssetOptions { cache: Some(root.path().join("cache")), ..AssetOptions::default() };
        let script = Box::leak(Box::new(Script { steps: Mutex::new(steps), asked: Mutex::new(0) }));
        Self { root, script, options, network: true }
    }

    /// Gives the user a folder with these files.
    fn with_local(mut self, files: &[(&str, &[u8])]) -> Self {
        let local = self.root.path().join("local");
        put(&local, files);
        self.options.local = Some(local);
        self
    }

    /// Gives the user a folder of data sets with these files.
    fn with_data(mut self, files: &[(&str, &[u8])]) -> Self {
        let data = self.root.path().join("data");
        fs::create_dir_all(&data).unwrap();
        put(&data, files);
        self.options.data = Some(data);
        self
    }

    /// Takes the scripted network away, as for an asset that no source offers.
    fn without_network(mut self) -> Self {
        self.network = false;
        self
    }

    fn offline(mut self) -> Self {
        self.options.offline = true;
        self
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    fn asked(&self) -> u32 {
        *self.script.asked.lock().unwrap()
    }

    /// Opens as a new process would.
    fn open(&self, asset: &'static Asset) -> (Result<AssetDir, Error>, Vec<String>) {
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        if let Some(folder) = self.options.local.clone() {
            sources.push(Box::new(LocalArchive { folder }));
        }
        if self.network {
            sources.push(Box::new(self.script));
        }
        let mut events = Vec::new();
        let result = Assets::with_sources(&self.options, sources).and_then(|assets| {
            assets.open_asset(asset, &mut |event: Event| events.push(self.plain(&event.to_string())))
        });
        (result, events)
    }

    /// The message of the error that opening gives.
    fn refusal(&self, asset: &'static Asset) -> String {
        self.plain(&self.open(asset).0.unwrap_err().to_string())
    }

    /// A text without the temporary folder.
    fn plain(&self, text: &str) -> String {
        text.replace(&self.root.path().display().to_string(), "ROOT")
    }
}

fn put(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The names in a folder, sorted.
fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}
