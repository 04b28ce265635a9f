//! The Hugging Face hub: first its cache on this machine, then downloads.
//!
//! The files must be byte for byte the declared ones. The hub's branch may move, and a tokenizer that differs
//! "trivially" is another tokenizer: its files are rejected and the next source is asked.
//!
//! The client has no time limits of its own, so the download runs on a thread that is given up when it is silent for
//! too long: a machine behind a firewall that swallows packets loses seconds, not minutes. A thread given up may still
//! write into the request's folder; the next installation sweeps what it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::Cache;
use hf_hub::api::Progress;
use hf_hub::api::sync::ApiBuilder;

use super::asset::Asset;
use super::event::{Event, Notify};
use super::source::{Failure, Fetched, Request, Source};
use bayeslora_host::sha256_of;

/// Files that another program has already downloaded from the hub. Copied, never changed.
#[derive(Debug)]
pub(crate) struct HubCache {
    /// The hub's cache folder.
    pub(crate) folder: PathBuf,
}

impl HubCache {
    /// The folder that the hub's clients use: `$HF_HOME/hub`, by default below the home folder.
    pub(crate) fn from_env() -> Option<Self> {
        let home = std::env::var_os("HF_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = home.or_else(|| Some(etcetera::home_dir().ok()?.join(".cache").join("huggingface")))?;
        Some(Self { folder: home.join("hub") })
    }

    fn find(&self, asset: &Asset) -> Option<Vec<PathBuf>> {
        let repository = Cache::new(self.folder.clone()).model(asset.hub?.to_owned());
        asset.files.iter().map(|file| repository.get(file.name)).collect()
    }
}

impl Source for HubCache {
    fn offer(&self, asset: &Asset) -> Option<String> {
        self.find(asset).map(|_| format!("the Hugging Face cache ({})", self.folder.display()))
    }

    fn is_download(&self) -> bool {
        false
    }

    fn fetch(&self, request: &Request<'_>, _: Notify<'_>) -> Result<Fetched, Failure> {
        let Some(paths) = self.find(request.asset) else {
            return Err(Failure::Unavailable("not complete".to_owned()));
        };
        for (file, path) in request.asset.files.iter().zip(paths) {
            require(file.name, &path, file.sha256).map_err(Failure::Unavailable)?;
            let target = request.into.join(file.name);
            fs::copy(path, &target).map_err(|error| Failure::write(&target, error))?;
        }
        Ok(Fetched::Files)
    }
}

/// Downloads from the hub.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Another address than the client's own.
    pub(crate) endpoint: Option<String>,
    /// How long to wait for the first answer.
    pub(crate) first_answer: Duration,
    /// How long a download may be silent.
    pub(crate) silence: Duration,
}

impl Hub {
    /// The client's own address, or that of `HF_ENDPOINT`.
    pub(crate) fn from_env() -> Self {
        Self {
            endpoint: std::env::var("HF_ENDPOINT").ok().filter(|value| !value.is_empty()),
            first_answer: Duration::from_secs(5),
            silence: Duration::from_secs(30),
        }
    }
}

impl Source for Hub {
    fn offer(&self, asset: &Asset) -> Option<String> {
        asset.hub.map(|repository| format!("the Hugging Face hub ({repository})"))
    }

    fn is_download(&self) -> bool {
        true
    }

    fn fetch(&self, request: &Request<'_>, notify: Notify<'_>) -> Result<Fetched, Failure> {
        let (sender, receiver) = mpsc::channel();
        let (asset, into, endpoint) = (request.asset, request.into.to_owned(), self.endpoint.clone());
        let worker = thread::Builder::new().name("hub".to_owned()).spawn(move || {
            let result = download(asset, &into, endpoint, &sender);
            // Nobody listens any more when the thread was given up.
            let _ = sender.send(News::End(result));
        });
        worker.map_err(|error| Failure::Unavailable(format!("cannot start a thread: {error}")))?;
        let mut patience = self.first_answer;
        loop {
            match receiver.recv_timeout(patience) {
                Ok(News::Bytes { file, done, total }) => {
                    patience = self.silence;
                    notify(Event::Progress { file, done, total });
                }
                Ok(News::End(Ok(()))) => return Ok(Fetched::Files),
                Ok(News::End(Err(reason))) => return Err(Failure::Unavailable(reason)),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::Unavailable(format!("no answer for {patience:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Unavailable("the client stopped without an answer".to_owned()));
                }
            }
        }
    }
}

/// What the downloading thread reports.
enum News {
    Bytes { file: String, done: u64, total: u64 },
    End(Result<(), String>),
}

fn download(asset: &Asset, into: &Path, endpoint: Option<String>, sender: &Sender<News>) -> Result<(), String> {
    let repository = asset.hub.ok_or("not on the hub")?;
    let mut builder = ApiBuilder::from_cache(Cache::new(into.join("hub"))).with_progress(false).with_retries(2);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let model = builder.build().map_err(|error| error.to_string())?.model(repository.to_owned());
    for file in asset.files {
        let reporter = Reporter { sender: sender.clone(), file: String::new(), done: 0, total: 0, sent: None };
        let path = model.download_with_progress(file.name, reporter).map_err(|error| error.to_string())?;
        require(file.name, &path, file.sha256)?;
        fs::copy(path, into.join(file.name)).map_err(|error| format!("{}: {error}", file.name))?;
    }
    Ok(())
}

/// Rejects a file that is not the declared one.
fn require(name: &str, path: &Path, expected: &str) -> Result<(), String> {
    match sha256_of(path) {
        Ok(got) if got == expected => Ok(()),
        Ok(got) => Err(format!("{name}: its sha256 is {got}, expected {expected}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Passes a download's progress on, ten times a second at most.
struct Reporter {
    sender: Sender<News>,
    file: String,
    done: u64,
    total: u64,
    sent: Option<Instant>,
}

impl Reporter {
    fn send(&mut self) {
        self.sent = Some(Instant::now());
        let _ = self.sender.send(News::Bytes { file: self.file.clone(), done: self.done, total: self.total });
    }
}

impl Progress for Reporter {
    fn init(&mut self, size: usize, filename: &str) {
        filename.clone_into(&mut self.file);
        (self.done, self.total) = (0, size as u64);
        self.send();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        if self.sent.is_none_or(|sent| sent.elapsed() >= Duration::from_millis(100)) {
            self.send();
        }
    }

    fn finish(&mut self) {
        self.send();
    }
}
