//! What people see of a publication: a bar on a terminal, lines elsewhere, and which lines were refused.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar};

use super::lines::{Place, Refused};
use crate::cli::exit::Exit;
use crate::cli::output::{self, one_line};

/// Refused lines that are shown; the rest is counted.
const SHOWN: u64 = 20;

/// Counted over every run of a publication that is gone on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub accepted: u64,
    pub refused: u64,
}

impl Totals {
    fn all(self) -> u64 {
        self.accepted + self.refused
    }
}

pub(super) struct Told {
    bar: ProgressBar,
    errors: Option<Errors>,
    shown: u64,
    began: Instant,
    last: Instant,
    /// Before this run.
    earlier: Totals,
}

/// The file of the refused lines.
struct Errors {
    path: String,
    file: BufWriter<File>,
    /// What is in it is of another publication.
    is_stale: bool,
}

impl Errors {
    /// `append`: what is in it is of this publication. Nothing of the file changes yet.
    fn open(path: &Path, append: bool) -> Result<Errors, Exit> {
        let about = |e: io::Error| Exit::Usage(format!("--errors {}: {e}", path.display()));
        let file = File::options().create(true).append(true).open(path).map_err(about)?;
        // A pipe or a terminal holds nothing.
        let is_stale = !append && file.metadata().map_err(about)?.is_file();
        Ok(Errors { path: path.display().to_string(), file: BufWriter::new(file), is_stale })
    }

    fn write(&mut self, refused: &Refused) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, refused)?;
        self.file.write_all(b"\n")
    }

    fn fault(&self, error: &io::Error) -> Exit {
        Exit::Failed(format!("--errors {}: {error}", self.path))
    }
}

impl Told {
    /// `length`: of the input, where it is known. `errors`: appended to, for a publication that is gone on with.
    pub(super) fn new(length: Option<u64>, errors: Option<&Path>, earlier: Totals) -> Result<Told, Exit> {
        let errors = errors.map(|path| Errors::open(path, earlier != Totals::default())).transpose()?;
        let bar = match length {
            Some(length) => output::bar(
                ProgressBar::new(length),
                "[{bar:30}] {bytes}/{total_bytes} {msg} {binary_bytes_per_sec}, {eta} to go{prefix}",
            ),
            None => output::bar(ProgressBar::no_length(), "{spinner} {bytes} {msg} {binary_bytes_per_sec}{prefix}"),
        };
        let now = Instant::now();
        Ok(Told { bar, errors, shown: 0, began: now, last: now, earlier })
    }

    /// Tells that the gateway is away, beside the bar.
    pub(super) fn outage(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |why| {
            bar.suspend(|| eprintln!("tidegate: the gateway takes nothing now ({why}); trying again"));
        }
    }

    /// Goes on at `place` without having sent what lies before.
    pub(super) fn resumed(&self, place: Place) {
        self.bar.set_position(place.bytes);
        self.bar.reset_eta();
    }

    /// The gateway has answered: what another publication left in the file of refused lines goes. A wrong key, or a gateway
    /// that is not there, leaves it.
    pub(super) fn answered(&mut self) -> Result<(), Exit> {
        let Some(errors) = self.errors.as_mut().filter(|errors| errors.is_stale) else { return Ok(()) };
        errors.is_stale = false;
        errors.file.get_ref().set_len(0).map_err(|e| errors.fault(&e))
    }

    /// Everything up to `place` was answered.
    pub(super) fn moved(&mut self, place: Place, totals: Totals) {
        self.bar.set_position(place.bytes);
        let rate = rate(totals.accepted - self.earlier.accepted, self.began.elapsed());
        let refused =
            if totals.refused > 0 { format!(", {} refused", HumanCount(totals.refused)) } else { String::new() };
        self.bar.set_message(format!("{} events{refused}, {rate}/s,", HumanCount(totals.accepted)));
        if self.bar.is_hidden() && self.last.elapsed() >= output::EVERY {
            self.last = Instant::now();
            eprintln!(
                "line {}: {} events accepted{refused}, {rate}/s",
                HumanCount(place.lines),
                HumanCount(totals.accepted)
            );
        }
    }

    /// Shows why a line was refused, and writes it down where that was asked for.
    pub(super) fn refused(&mut self, refused: &Refused) -> Result<(), Exit> {
        if self.shown < SHOWN {
            let line = told(refused);
            self.bar.suspend(|| eprintln!("{line}"));
        }
        self.shown += 1;
        let Some(errors) = &mut self.errors else { return Ok(()) };
        errors.write(refused).map_err(|e| errors.fault(&e))
    }

    /// Nothing that was told of is only in memory.
    pub(super) fn flush(&mut self) -> Result<(), Exit> {
        let Some(errors) = &mut self.errors else { return Ok(()) };
        errors.file.flush().map_err(|e| errors.fault(&e))
    }

    /// The end of it, as a sentence.
    pub(super) fn summary(&mut self, totals: Totals) -> Result<String, Exit> {
        self.flush()?;
        self.bar.finish_and_clear();
        if self.shown > SHOWN {
            let more = HumanCount(self.shown - SHOWN);
            match &self.errors {
                Some(errors) => eprintln!("{more} more were refused; {} has all of them", errors.path),
                None => eprintln!("{more} more were refused; --errors FILE writes down all of them"),
            }
        }
        let took = self.began.elapsed();
        let rate = match totals.accepted - self.earlier.accepted {
            0 => String::new(),
            accepted => format!(" ({}/s)", rate(accepted, took)),
        };
        let earlier = match self.earlier.all() {
            0 => String::new(),
            earlier => format!(", {} of them by earlier runs", HumanCount(earlier)),
        };
        let time = if took < Duration::from_secs(10) {
            format!("{:.1} s", took.as_secs_f64())
        } else {
            HumanDuration(took).to_string()
        };
        Ok(format!(
            "{} accepted, {} refused{earlier}, in {time}{rate}",
            HumanCount(totals.accepted),
            HumanCount(totals.refused),
        ))
    }
}

fn rate(count: u64, took: Duration) -> HumanCount {
    HumanCount((count as f64 / took.as_secs_f64().max(0.001)) as u64)
}

/// A refused line for a terminal: `line 17: ...`, with everything that is wrong.
pub(super) fn told(refused: &Refused) -> String {
    let all: Vec<String> = refused
        .details
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|d| match d["path"].as_str()? {
            "" => d["message"].as_str().map(str::to_owned),
            path => Some(format!("`{path}` {}", d["message"].as_str()?)),
        })
        .collect();
    // The message tells the first of the details and how many there are.
    let why = if all.len() > 1 { all.join("; ") } else { refused.error.clone() };
    let place = if refused.line == 0 { String::new() } else { format!("line {}: ", refused.line) };
    one_line(&format!("{place}{why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_line_is_told_with_everything_that_is_wrong_and_does_nothing_to_the_terminal() {
        let refused = |error: &str, details| Refused { line: 17, code: "C".into(), error: error.into(), details };
        assert_eq!(told(&refused("no\u{1b}[2J\nevent", json!(null))), "line 17: no\\u{1b}[2J\\nevent");
        let one = json!([{"path": "payload", "message": "is required"}]);
        assert_eq!(told(&refused("`payload` is required", one)), "line 17: `payload` is required");
        let two = json!([{"path": "payload", "message": "is required"}, {"path": "", "message": "is odd"}]);
        assert_eq!(told(&refused("x; and 1 more", two)), "line 17: `payload` is required; is odd");
    }

    #[test]
    fn nothing_that_was_accepted_has_no_rate() {
        let summary = |earlier, accepted, refused| {
            Told::new(None, None, earlier).unwrap().summary(Totals { accepted, refused }).unwrap()
        };
        let earlier = Totals { accepted: 5, refused: 0 };
        assert!(summary(Totals::default(), 3, 1).ends_with("/s)"));
        for said in [summary(Totals::default(), 0, 3), summary(earlier, 5, 1)] {
            assert!(said.contains("refused") && !said.contains("/s"), "{said}");
        }
    }

    #[test]
    fn what_is_not_shown_is_written_down_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("errors.jsonl");
        for (earlier, lines) in [(Totals::default(), 30), (Totals { accepted: 1, refused: 30 }, 60)] {
            let mut told = Told::new(None, Some(&path), earlier).unwrap();
            for line in 1..=30 {
                let refused = Refused { line, code: "C".into(), error: "e".into(), details: json!(null) };
                told.refused(&refused).unwrap();
            }
            let summary = told.summary(Totals { accepted: 1, refused: lines }).unwrap();
            assert!(summary.starts_with(&format!("1 accepted, {lines} refused")), "{summary}");
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count() as u64, lines);
        }
    }

    #[test]
    fn what_another_publication_refused_stays_until_the_gateway_has_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("errors.jsonl");
        std::fs::write(&path, "of yesterday\n").unwrap();
        let mut told = Told::new(None, Some(&path), Totals::default()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "of yesterday\n");
        told.answered().unwrap();
        told.refused(&Refused { line: 1, code: "C".into(), error: "e".into(), details: json!(null) }).unwrap();
        told.answered().unwrap();
        told.flush().unwrap();
        let left = std::fs::read_to_string(&path).unwrap();
        assert!(!left.contains("yesterday") && left.lines().count() == 1, "{left}");
    }
}
