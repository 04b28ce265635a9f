//! Progress on the terminal: a bar with the time left, and lines worth keeping. Quiet bars where nobody watches.

use std::io::IsTerminal as _;
use std::time::Duration;

use bayeslora_data::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::lines::say;

/// Progress on standard error.
#[derive(Debug)]
pub struct Terminal {
    bar: ProgressBar,
    watched: bool,
}

/// The stages of a computation alone, on a terminal whose bar counts something else.
#[derive(Debug)]
pub struct Stages<'a>(&'a Terminal);

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// A bar where somebody watches standard error, and lines elsewhere.
    pub fn new() -> Self {
        let watched = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(0),
            if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let template = "{bar:30} {percent:>3} %  {eta} left, {elapsed} gone  {wide_msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, watched }
    }

    /// `work` units need not be done: they were found finished, which says nothing about speed.
    pub fn found(&self, work: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(work).saturating_sub(work));
    }

    /// What hears the stages of a computation and leaves the bar alone.
    pub fn stages(&self) -> Stages<'_> {
        Stages(self)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Terminal {
    fn expect(&self, work: u64) {
        self.bar.inc_length(work);
        self.bar.reset_eta();
        self.bar.enable_steady_tick(Duration::from_secs(1));
    }

    fn advance(&self, work: u64) {
        self.bar.inc(work);
    }

    fn stage(&self, what: &str) {
        if self.watched {
            self.bar.set_message(what.to_owned());
        } else {
            say(what);
        }
    }

    fn passing(&self, what: &str) {
        if self.watched {
            self.bar.set_message(what.to_owned());
        }
    }

    fn note(&self, what: &str) {
        if self.watched {
            self.bar.println(what);
        } else {
            say(what);
        }
    }
}

impl Progress for Stages<'_> {
    fn expect(&self, _: u64) {}

    fn advance(&self, _: u64) {}

    fn stage(&self, what: &str) {
        self.0.stage(what);
    }

    fn note(&self, _: &str) {}
}
