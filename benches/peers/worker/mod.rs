//! Our side of the protocol: one process, one job.

mod ask;
mod layer;
mod limits;
mod predict;
mod sweep;
mod train;

pub(crate) use train::order;

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bayeslora_host::memory::peak;

use crate::protocol::{Job, Ran, Ready, Reply, Request, Work};

/// What a job becomes once loaded.
trait Task {
    /// What happens once, before the clock.
    fn warm(&mut self) -> Result<()>;

    /// The timed work. A task that times itself returns its seconds, others leave them 0.
    fn run(&mut self) -> Result<Ran>;

    /// What the last run computed.
    fn outputs(&self) -> Result<Vec<f32>>;
}

/// Serves the job in the file `path`.
pub(crate) fn serve(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let job: Job = serde_json::from_str(&text).with_context(|| format!("{} is not a job", path.display()))?;
    let mut out = std::io::stdout().lock();
    let mut say = |reply: &Reply| -> Result<()> {
        serde_json::to_writer(&mut out, reply)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    };
    let mut task = match load(&job) {
        Ok(task) => task,
        Err(error) => return say(&Reply::Failed { reason: format!("{error:#}") }),
    };
    let settings = format!("{} threads, mimalloc", rayon::current_num_threads());
    let versions = [("bayeslora".to_owned(), bayeslora_compare::COMMIT.to_owned())].into();
    say(&Reply::Ready(Ready { versions, settings, peak_bytes: peak() }))?;
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?).context("not a request")?;
        match answer(task.as_mut(), &request) {
            Ok(reply) => say(&reply)?,
            Err(error) => return say(&Reply::Failed { reason: format!("{error:#}") }),
        }
    }
    Ok(())
}

fn load(job: &Job) -> Result<Box<dyn Task>> {
    Ok(match &job.work {
        Work::Predict { .. } => Box::new(predict::Predict::load(job)?),
        Work::Ask { .. } => Box::new(ask::Ask::load(job)?),
        Work::Train { .. } => Box::new(train::Training::load(job)?),
        Work::Sweep { .. } => Box::new(sweep::Sweep::load(job)?),
        Work::Layer { .. } => Box::new(layer::Layer::load(job)?),
        Work::Limits { .. } => Box::new(limits::Limits::load(job)?),
    })
}

fn answer(task: &mut dyn Task, request: &Request) -> Result<Reply> {
    let started = Instant::now();
    let mut ran = match request {
        Request::Warm => task.warm().map(|()| Ran::default())?,
        Request::Run => task.run()?,
        Request::Outputs { path } => {
            let bytes: Vec<u8> = task.outputs()?.into_iter().flat_map(f32::to_le_bytes).collect();
            std::fs::write(path, bytes)?;
            return Ok(Reply::Written);
        }
    };
    if ran.seconds == 0.0 {
        ran.seconds = started.elapsed().as_secs_f64();
    }
    ran.peak_bytes = peak();
    Ok(Reply::Ran(ran))
}
