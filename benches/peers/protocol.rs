//! What the orchestrator and a worker say to each other: a job in a file, then one JSON line per question and answer.
//!
//! A worker loads its job, says `ready`, and waits. Two live workers are timed in turn, so only one computes at a time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// What a worker is started for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) threads: usize,
    pub(crate) seed: u64,
    /// How the contestant does it.
    pub(crate) variant: String,
    #[serde(flatten)]
    pub(crate) work: Work,
}

/// The work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Predict the texts of `input` with an adapter; no samples is the deterministic pass.
    Predict { model: PathBuf, adapter: PathBuf, input: PathBuf, samples: u32, batch: usize },
    /// Choose among the options of the questions of `input` with an adapter of a language model.
    Ask { model: PathBuf, adapter: PathBuf, input: PathBuf, samples: u32, batch: usize },
    /// Train on the texts of `input`, one step per factor of the learning rate.
    Train {
        model: PathBuf,
        adapter: PathBuf,
        input: PathBuf,
        rank: usize,
        alpha: f64,
        dropout: f64,
        batch: usize,
        rate: f64,
        clip: f64,
        factors: Vec<f64>,
    },
    /// Fit adapters of the last `blocks` blocks to the texts of `input` several times, one epoch each, and sample them.
    Sweep { model: PathBuf, input: PathBuf, blocks: usize, rank: usize, fits: u32, samples: u32 },
    /// Samples of one map, whose tensors `x`, `w`, `bias`, `a`, `b` are in `input`.
    Layer { input: PathBuf, scale: f64, dropout: f64, samples: u32 },
    /// The machine's own limits and the kernels against them.
    Limits { model: PathBuf, adapter: PathBuf, input: PathBuf, samples: u32 },
}

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Everything that happens once: compiling, touching memory.
    Warm,
    /// The timed work.
    Run,
    /// Writes what the last run computed, as little-endian f32.
    Outputs { path: PathBuf },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub(crate) enum Reply {
    Ready(Ready),
    Ran(Ran),
    Written,
    /// The worker ends after this.
    Failed {
        reason: String,
    },
}

/// A worker that has loaded its job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) versions: std::collections::BTreeMap<String, String>,
    pub(crate) settings: String,
    pub(crate) peak_bytes: Option<u64>,
}

/// One run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) seconds: f64,
    /// Largest resident size of the process so far.
    #[serde(default)]
    pub(crate) peak_bytes: Option<u64>,
    /// Tokens of the texts, once.
    #[serde(default)]
    pub(crate) tokens: u64,
    /// The same with padding.
    #[serde(default)]
    pub(crate) padded: u64,
    /// Parts timed apart.
    #[serde(default)]
    pub(crate) parts: Vec<Part>,
}

/// A kernel or a limit, with the work counted in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
}

/// A live worker.
pub(crate) struct Connection {
    name: String,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    // The job's file goes with the worker.
    _job: tempfile::NamedTempFile,
}

impl Connection {
    /// Starts `program` with the job's file as its last argument; does not wait for it.
    pub(crate) fn start(name: &str, mut program: Command, job: &Job) -> Result<Self> {
        let file = tempfile::Builder::new().prefix("job-").suffix(".json").tempfile()?;
        serde_json::to_writer(&file, job)?;
        program.arg(file.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().with_context(|| {
            format!(
                "{name}: {} cannot be started; is it installed?",
                Path::new(program.get_program()).file_name().unwrap_or_default().to_string_lossy()
            )
        })?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name}: the worker has no pipes");
        };
        Ok(Self { name: name.to_owned(), child, questions, answers: BufReader::new(answers), _job: file })
    }

    /// The next answer.
    fn hear(&mut self) -> Result<Reply> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).with_context(|| format!("{}: no answer", self.name))?;
        if read == 0 {
            let status = self.child.wait()?;
            bail!("{}: the worker ended without an answer ({status}); its own words are above", self.name);
        }
        parse(&line).with_context(|| format!("{}: not an answer", self.name))
    }

    fn ask(&mut self, request: &Request) -> Result<Reply> {
        let sent = serde_json::to_writer(&self.questions, request).map_err(std::io::Error::from);
        // A worker that died says why when its answer is read.
        let _ = sent.and_then(|()| self.questions.write_all(b"\n")).and_then(|()| self.questions.flush());
        self.hear()
    }

    /// Waits until the job is loaded; the reason when the contestant cannot do it.
    pub(crate) fn ready(&mut self) -> Result<Result<Ready, String>> {
        match self.hear()? {
            Reply::Ready(ready) => Ok(Ok(ready)),
            Reply::Failed { reason } => Ok(Err(reason)),
            other => bail!("{}: answered {other:?} to its start", self.name),
        }
    }

    /// Runs; the reason when it failed.
    pub(crate) fn run(&mut self, request: &Request) -> Result<Result<Ran, String>> {
        match self.ask(request)? {
            Reply::Ran(ran) => Ok(Ok(ran)),
            Reply::Failed { reason } => Ok(Err(reason)),
            other => bail!("{}: answered {other:?} to {request:?}", self.name),
        }
    }

    /// What the last run computed.
    pub(crate) fn outputs(&mut self) -> Result<Vec<f32>> {
        let file = tempfile::NamedTempFile::new()?;
        match self.ask(&Request::Outputs { path: file.path().to_owned() })? {
            Reply::Written => Ok(read_f32(file.path())?),
            Reply::Failed { reason } => bail!("{}: {reason}", self.name),
            Reply::Ready(_) | Reply::Ran(_) => bail!("{}: another answer than its outputs", self.name),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The worker holds nothing that is worth a farewell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Result<Reply> {
    serde_json::from_str(line)
        .with_context(|| format!("got {:?}", line.trim_end().chars().take(200).collect::<String>()))
}

fn read_f32(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_sides_are_understood() {
        let ran = r#"{"reply": "ran", "seconds": 1.5, "peak_bytes": 7, "tokens": 3, "padded": 4}"#;
        let expected = Ran { seconds: 1.5, peak_bytes: Some(7), tokens: 3, padded: 4, parts: vec![] };
        assert_eq!(parse(ran).unwrap(), Reply::Ran(expected.clone()));
        assert_eq!(
            parse(&serde_json::to_string(&Reply::Ran(expected.clone())).unwrap()).unwrap(),
            Reply::Ran(expected)
        );
        assert_eq!(parse(r#"{"reply":"written"}"#).unwrap(), Reply::Written);
        let error = format!("{:#}", parse("Traceback (most recent call last):\n").unwrap_err());
        assert!(error.starts_with("got \"Traceback (most recent call last):\""), "{error}");
    }

    #[test]
    fn a_job_is_one_flat_object() {
        let work = Work::Layer { input: "x".into(), scale: 0.5, dropout: 0.1, samples: 2 };
        let job = Job { threads: 2, seed: 1, variant: "loop".to_owned(), work };
        let text = serde_json::to_string(&job).unwrap();
        assert!(text.contains(r#""variant":"loop","kind":"layer","input":"x""#), "{text}");
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
        assert_eq!(serde_json::to_string(&Request::Warm).unwrap(), r#"{"command":"warm"}"#);
    }

    #[test]
    fn a_worker_that_dies_or_is_not_there_is_named() {
        let work = Work::Layer { input: "x".into(), scale: 0.5, dropout: 0.1, samples: 2 };
        let job = Job { threads: 2, seed: 1, variant: "loop".to_owned(), work };
        let mut dead = Connection::start("peer", Command::new("true"), &job).unwrap();
        let error = dead.ready().unwrap_err().to_string();
        assert!(error.starts_with("peer: the worker ended without an answer (exit status: 0)"), "{error}");
        let error = Connection::start("peer", Command::new("/nowhere/python"), &job).err().unwrap();
        assert_eq!(error.to_string(), "peer: python cannot be started; is it installed?");
        let mut echo = Command::new("echo");
        echo.arg(r#"{"reply":"failed","reason":"no torch"}"#);
        let mut failing = Connection::start("peer", echo, &job).unwrap();
        assert!(failing.ready().is_err(), "the job's path makes the line invalid");
    }
}
