//! What the asset store tells its caller while it works. The store itself never prints.

use std::fmt;
use std::path::PathBuf;

use crate::progress::Progress;

/// One step on the way to an asset; `Display` is one line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A source is asked.
    Trying {
        /// The asset.
        asset: &'static str,
        /// The source.
        source: String,
    },
    /// Bytes have arrived from a source that reports them.
    Progress {
        /// The file.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A source did not provide the asset; the next one is asked.
    SourceFailed {
        /// The asset.
        asset: &'static str,
        /// The source.
        source: String,
        /// Why.
        reason: String,
    },
    /// A broken file of the cache, or a broken download, was deleted.
    Removed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process is installing the same asset.
    Waiting {
        /// The lock file it holds.
        path: PathBuf,
    },
    /// The asset's files came into the cache.
    Installed {
        /// The asset.
        asset: &'static str,
        /// The source.
        source: String,
        /// The folder.
        path: PathBuf,
    },
    /// A large file of a folder that nobody declared is being read.
    Reading {
        /// The file.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A model in a folder of the user's own was read.
    Digested {
        /// What the experiment calls it.
        model: String,
        /// SHA-256 over the checksums of its files.
        digest: String,
        /// The folder.
        path: PathBuf,
    },
    /// All files have the declared checksums.
    Verified {
        /// The asset.
        asset: &'static str,
        /// The folder.
        path: PathBuf,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trying { asset, source } => write!(f, "{asset}: trying {source}"),
            Self::Progress { file, done, total } => write!(f, "{file}: {done} of {total} bytes"),
            Self::SourceFailed { asset, source, reason } => write!(f, "{asset}: not from {source}: {reason}"),
            Self::Removed { path, reason } => write!(f, "{}: removed: {reason}", path.display()),
            Self::Waiting { path } => write!(f, "{}: another process is installing; waiting", path.display()),
            Self::Installed { asset, source, path } => {
                write!(f, "{asset}: installed from {source} into {}", path.display())
            }
            Self::Reading { file, done, total } => write!(f, "{file}: {done} of {total} bytes read for its sha256"),
            Self::Digested { model, digest, path } => write!(f, "{model}: digest {digest} of {}", path.display()),
            Self::Verified { asset, path } => write!(f, "{asset}: checksums verified in {}", path.display()),
        }
    }
}

impl Event {
    /// Counts of bytes pass, everything else is worth keeping.
    pub fn tell(&self, progress: &dyn Progress) {
        match self {
            Self::Progress { .. } | Self::Reading { .. } => progress.passing(&self.to_string()),
            _ => progress.note(&self.to_string()),
        }
    }
}

/// Where events go.
pub(crate) type Notify<'a> = &'a mut dyn FnMut(Event);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_one_line() {
        let failed = Event::SourceFailed { asset: "toy", source: "the hub".into(), reason: "no answer".into() };
        assert_eq!(failed.to_string(), "toy: not from the hub: no answer");
        let removed = Event::Removed { path: "c/toy/a".into(), reason: "sha256 is 1, expected 2".into() };
        assert_eq!(removed.to_string(), "c/toy/a: removed: sha256 is 1, expected 2");
    }

    #[test]
    fn counts_of_bytes_pass_and_the_rest_is_kept() {
        #[derive(Default)]
        struct Heard(std::sync::Mutex<Vec<String>>);
        impl Progress for Heard {
            fn expect(&self, _: u64) {}
            fn advance(&self, _: u64) {}
            fn stage(&self, _: &str) {}
            fn note(&self, what: &str) {
                self.0.lock().unwrap().push(format!("note {what}"));
            }
            fn passing(&self, what: &str) {
                self.0.lock().unwrap().push(format!("passing {what}"));
            }
        }
        let heard = Heard::default();
        Event::Progress { file: "a".into(), done: 1, total: 2 }.tell(&heard);
        Event::Verified { asset: "toy", path: "c/toy".into() }.tell(&heard);
        let expected = ["passing a: 1 of 2 bytes", "note toy: checksums verified in c/toy"];
        assert_eq!(*heard.0.lock().unwrap(), expected);
    }
}
