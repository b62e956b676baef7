//! What people see of dead letters on their way back: a bar on a terminal, and a line for each that stays.

use std::time::Instant;

use indicatif::{HumanCount, ProgressBar};

use super::put_back::Outcome;
use crate::cli::output;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub put_back: u64,
    pub no_longer_dead: u64,
    pub failed: u64,
}

pub(super) struct Told {
    bar: ProgressBar,
    last: Instant,
}

impl Told {
    /// `count`: where it is known how many there are.
    pub(super) fn new(count: Option<u64>) -> Told {
        let bar = match count {
            Some(count) => output::bar(ProgressBar::new(count), "[{bar:30}] {pos}/{len} {msg} {eta} to go"),
            None => output::bar(ProgressBar::no_length(), "{spinner} {msg} {per_sec}"),
        };
        Told { bar, last: Instant::now() }
    }

    /// Tells that the gateway asks to wait, beside the bar.
    pub(super) fn outage(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |why| bar.suspend(|| eprintln!("tidegate: the gateway asks to wait ({why}); trying again"))
    }

    pub(super) fn happened(&mut self, totals: &mut Totals, outcome: Outcome) {
        let (count, line) = match outcome {
            Outcome::PutBack => (&mut totals.put_back, None),
            Outcome::NoLongerDead(line) => (&mut totals.no_longer_dead, Some(line)),
            Outcome::Failed(line) => (&mut totals.failed, Some(line)),
        };
        *count += 1;
        if let Some(line) = line {
            self.bar.suspend(|| eprintln!("{line}"));
        }
        self.bar.set_message(counts(*totals) + ",");
        self.bar.inc(1);
        if self.bar.is_hidden() && self.last.elapsed() >= output::EVERY {
            self.last = Instant::now();
            eprintln!("{}", counts(*totals));
        }
    }

    /// The end of it, as a line.
    pub(super) fn summary(&mut self, totals: Totals) -> String {
        self.bar.finish_and_clear();
        counts(totals) + "\n"
    }
}

fn counts(totals: Totals) -> String {
    let Totals { put_back, no_longer_dead, failed } = totals;
    let more = [(no_longer_dead, "no longer dead"), (failed, "failed")].into_iter().filter(|(count, _)| *count > 0);
    let more: String = more.map(|(count, what)| format!(", {} {what}", HumanCount(count))).collect();
    format!("{} put back{more}", HumanCount(put_back))
}
