//! Progress on the terminal: a bar with the time left, and lines worth keeping. Quiet bars where nobody watches.

use std::io::IsTerminal as _;
use std::time::Duration;

use bayeslora_data::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows progress on standard error.
pub(crate) struct Terminal {
    bar: ProgressBar,
    watched: bool,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let watched = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(0),
            if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let template = "{bar:30} {percent:>3} %  {eta} left, {elapsed} gone  {wide_msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, watched }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
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
            eprintln!("{what}");
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
            eprintln!("{what}");
        }
    }
}
