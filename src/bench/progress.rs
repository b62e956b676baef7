//! What the bench is doing now: a bar on a terminal, a line a step elsewhere.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Steps done of those planned, and the one at work.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    pub fn new(steps: u64) -> Progress {
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} {elapsed} {prefix}{wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress { bar, terminal: std::io::stderr().is_terminal() }
    }

    /// The next step begins.
    pub fn step(&self, what: impl Into<Cow<'static, str>>) {
        let what = what.into();
        if !self.terminal {
            eprintln!("{what}");
        }
        self.bar.inc(1);
        self.bar.set_prefix(what);
        self.bar.set_message("");
    }

    /// How far the step is.
    pub fn detail(&self, done: u64, of: u64) {
        self.bar.set_message(format!(": {} of {}", HumanCount(done), HumanCount(of)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
