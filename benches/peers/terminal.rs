//! Progress: a bar with the time left where somebody watches, lines elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use bayeslora_data::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts expected seconds.
pub(crate) struct Terminal {
    bar: ProgressBar,
    watched: bool,
}

/// Hears of the training of the adapter; its messages alone are shown.
pub(crate) struct Quiet<'a>(&'a Terminal);

impl Terminal {
    pub(crate) fn new() -> Self {
        let watched = std::io::stderr().is_terminal();
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{bar:30} {percent:>3} %  {eta} left, {elapsed} gone  {wide_msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, watched }
    }

    /// Work of this many expected seconds begins.
    pub(crate) fn begin(&self, seconds: u64) {
        self.bar.reset();
        self.bar.set_length(seconds);
        self.bar.enable_steady_tick(Duration::from_secs(1));
    }

    /// Work of this many expected seconds is done; work that was found done says nothing about speed.
    pub(crate) fn done(&self, seconds: u64, ran: bool) {
        if ran {
            self.bar.inc(seconds);
        } else {
            self.bar.set_length(self.bar.length().unwrap_or(seconds).saturating_sub(seconds));
        }
    }

    /// What is being done.
    pub(crate) fn stage(&self, what: &str) {
        if self.watched {
            self.bar.set_message(what.to_owned());
        } else {
            eprintln!("{what}");
        }
    }

    pub(crate) fn quiet(&self) -> Quiet<'_> {
        Quiet(self)
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Quiet<'_> {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn stage(&self, what: &str) {
        self.0.stage(what);
    }
    fn note(&self, _: &str) {}
}
