//! Lines on their way: read by one thread, sent in batches of which some are under way at once, answered in their order.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Publish;
use super::lines::{Batch, Batches, Limits, Place, Run};
use super::resume::{self, Progress};
use super::send::{Answered, Gateway, Stop};
use super::told::{Told, Totals};
use crate::cli::client::Api;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::model::time::{Clock as _, SystemClock};

/// Batches that were read and wait to be sent.
const READ_AHEAD: usize = 1;
/// Between two writes of the progress file. What was answered since the last is sent once more after a kill, and recognised.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// Publishes the lines of a file or of standard input.
pub(super) async fn lines(command: &Publish, api: Api, stop: &CancellationToken) -> Result<(), Exit> {
    let run = Run { id: Uuid::now_v7(), began: SystemClock.now() };
    let mut input = Input::open(command, run)?;
    let earlier = input.totals();
    let mut told = Told::new(input.length, command.errors.as_deref(), earlier)?;
    if let Some(kept) = &input.kept {
        eprintln!("the progress is kept in {}", kept.path.display());
        if kept.progress.lines > 0 {
            let place = kept.progress.place();
            eprintln!("going on behind line {}: {} events were accepted before", place.lines, earlier.accepted);
            told.resumed(place);
        }
    }
    let gateway = Gateway::new((api, command.org.as_deref()), command.patience(), stop.clone(), told.outage());
    let (batches, read) = mpsc::channel(READ_AHEAD);
    let mut reading = input.batches();
    // A thread of its own: a file and a pipe are read by calls that block. It ends when nobody takes its batches any more.
    let reader = tokio::task::spawn_blocking(move || read_all(&mut reading, &batches));
    let in_flight = usize::from(command.in_flight);
    let answers = taken(read, stop).map(|batch| send(&gateway, batch)).buffered(in_flight);
    let sent = Sending { told: &mut told, kept: input.kept.as_mut(), totals: earlier, saved: Instant::now() };
    let (totals, ended) = sent.run(answers).await;
    // Left behind where it waits for somebody to write into a pipe; the runtime's end does not wait for it for long.
    let end = match &ended {
        Ok(()) if !stop.is_cancelled() => reader.await.map_err(Exit::failed)?,
        _ => None,
    };
    if end.is_some() {
        // An empty input has no answer, and no refused line either.
        told.answered()?;
    }
    if let Some(kept) = &mut input.kept {
        kept.save(end, totals)?;
    }
    let summary = told.summary(totals)?;
    if ended.is_ok() || totals != earlier {
        output::print(&format!("{summary}\n"))?;
    }
    verdict(ended, totals, (stop.is_cancelled() && end.is_none(), input.kept.is_some()))
}

/// Reads to the end, which it returns, or for as long as somebody takes what it reads.
fn read_all(reading: &mut Batches, batches: &mpsc::Sender<io::Result<Batch>>) -> Option<Place> {
    loop {
        let batch = match reading.next() {
            Ok(None) => return Some(reading.at()),
            Ok(Some(batch)) => Ok(batch),
            Err(e) => Err(e),
        };
        let failed = batch.is_err();
        if batches.blocking_send(batch).is_err() || failed {
            return None;
        }
    }
}

/// What the shell is told.
fn verdict(ended: Result<(), Stop>, totals: Totals, (stopped, kept): (bool, bool)) -> Result<(), Exit> {
    let again = if kept { "; the same command goes on from here" } else { "" };
    match ended {
        Err(Stop::Failed(exit)) => Err(exit.and(again)),
        Err(Stop::Interrupted) => Err(Exit::Failed(format!("interrupted{again}"))),
        Ok(()) if stopped => Err(Exit::Failed(format!("interrupted{again}"))),
        Ok(()) if totals.refused > 0 => Err(Exit::Failed(match totals.refused {
            1 => "1 event was refused".to_owned(),
            n => format!("{n} events were refused"),
        })),
        Ok(()) => Ok(()),
    }
}

/// What is published, and how far an earlier run was.
struct Input {
    lines: Option<Box<dyn Read + Send>>,
    length: Option<u64>,
    limits: Limits,
    run: Run,
    kept: Option<Kept>,
    /// Held to the end: its lock keeps a second publication of this file away.
    _locked: Option<File>,
}

/// The progress and its file.
struct Kept {
    progress: Progress,
    path: PathBuf,
}

impl Kept {
    fn save(&mut self, to: Option<Place>, totals: Totals) -> Result<(), Exit> {
        if let Some(place) = to {
            self.progress.moved(place);
        }
        (self.progress.accepted, self.progress.refused) = (totals.accepted, totals.refused);
        resume::save(&self.path, &self.progress)
            .map_err(|e| Exit::Failed(format!("the progress file {}: {e}", self.path.display())))
    }
}

impl Input {
    fn open(command: &Publish, run: Run) -> Result<Input, Exit> {
        let Some(path) = command.input() else {
            if command.resume {
                return Err(Exit::usage("a pipe cannot be gone on with: --resume needs a file"));
            }
            let lines: Option<Box<dyn Read + Send>> = Some(Box::new(io::stdin()));
            return Ok(Input { lines, length: None, limits: Limits::PIPE, run, kept: None, _locked: None });
        };
        let fault = |e: io::Error| Exit::Usage(format!("{}: {e}", path.display()));
        let mut file = File::open(path).map_err(fault)?;
        let about = file.metadata().map_err(fault)?;
        if about.is_dir() {
            return Err(Exit::Usage(format!("{} is a folder; a file of JSON lines is expected", path.display())));
        }
        // A named pipe has a path and is read like standard input.
        let length = about.is_file().then_some(about.len());
        let limits = if about.is_file() { Limits::FILE } else { Limits::PIPE };
        if !command.resume {
            return Ok(Input { lines: Some(Box::new(file)), length, limits, run, kept: None, _locked: None });
        }
        if !about.is_file() {
            return Err(Exit::Usage(format!("{} is no regular file: --resume needs one", path.display())));
        }
        let locked = lock(&file, path)?;
        let kept = kept(&mut file, path, (run, command.org.as_deref()))?;
        file.seek(SeekFrom::Start(kept.progress.bytes)).map_err(fault)?;
        let run = kept.progress.run();
        Ok(Input { lines: Some(Box::new(file)), length, limits, run, kept: Some(kept), _locked: Some(locked) })
    }

    fn totals(&self) -> Totals {
        let progress = self.kept.as_ref().map(|kept| &kept.progress);
        progress.map_or_else(Totals::default, |p| Totals { accepted: p.accepted, refused: p.refused })
    }

    /// The batches from where an earlier run was; asked for once.
    fn batches(&mut self) -> Batches {
        let at = self.kept.as_ref().map_or_else(Place::default, |kept| kept.progress.place());
        let lines = self.lines.take().unwrap_or_else(|| Box::new(io::empty()));
        Batches::new(lines, self.run, (self.limits, at))
    }
}

/// Two that go on with one file would each take back what the other has written down.
fn lock(file: &File, path: &Path) -> Result<File, Exit> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Exit::Usage(format!("{} is being published by another process", path.display())));
        }
        Err(TryLockError::Error(e)) => {
            return Err(Exit::Usage(format!("{} cannot be locked: {e}", path.display())));
        }
    }
    file.try_clone().map_err(Exit::failed)
}

/// The progress of an earlier run, else a new one, which is on the disk before anything is sent under its ids.
fn kept(file: &mut File, path: &Path, (run, org): (Run, Option<&str>)) -> Result<Kept, Exit> {
    let place = resume::path_of(path);
    if let Some(progress) = resume::load(&place, file, org).map_err(Exit::Usage)? {
        return Ok(Kept { progress, path: place });
    }
    let fault = |e: io::Error| {
        Exit::Usage(format!(
            "the progress file {} cannot be written: {e}; copy the input to another folder",
            place.display()
        ))
    };
    let progress = Progress::new(file, run, org).map_err(fault)?;
    resume::save(&place, &progress).map_err(fault)?;
    Ok(Kept { progress, path: place })
}

/// The batches as they are read, until the end or until `stop`.
fn taken(
    read: mpsc::Receiver<io::Result<Batch>>,
    stop: &CancellationToken,
) -> impl Stream<Item = io::Result<Batch>> + Send + Unpin {
    let stop = stop.clone();
    Box::pin(stream::unfold((read, stop), |(mut read, stop)| async move {
        let batch = stop.run_until_cancelled(read.recv()).await.flatten()?;
        Some((batch, (read, stop)))
    }))
}

async fn send(gateway: &Gateway, batch: io::Result<Batch>) -> Result<(Place, Answered), Stop> {
    let batch = batch.map_err(|e| Stop::Failed(Exit::Failed(format!("the input cannot be read on: {e}"))))?;
    let mut answered = gateway.batch(&batch.items).await?;
    answered.refused.extend(batch.refused);
    answered.refused.sort_by_key(|refused| refused.line);
    Ok((batch.end, answered))
}

/// What is done with the answers.
struct Sending<'a> {
    told: &'a mut Told,
    kept: Option<&'a mut Kept>,
    totals: Totals,
    saved: Instant,
}

impl Sending<'_> {
    async fn run(mut self, answers: impl Stream<Item = Result<(Place, Answered), Stop>>) -> (Totals, Result<(), Stop>) {
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            if let Err(why) = answer.and_then(|answer| self.answered(answer).map_err(Stop::Failed)) {
                return (self.totals, Err(why));
            }
        }
        (self.totals, Ok(()))
    }

    fn answered(&mut self, (place, answered): (Place, Answered)) -> Result<(), Exit> {
        self.told.answered()?;
        for refused in &answered.refused {
            self.told.refused(refused)?;
        }
        self.totals.accepted += answered.accepted;
        self.totals.refused += answered.refused.len() as u64;
        self.told.moved(place, self.totals);
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.progress.moved(place);
        if self.saved.elapsed() >= SAVE_EVERY {
            // Written down first: a line below the saved place is not looked at again.
            self.told.flush()?;
            kept.save(None, self.totals)?;
            self.saved = Instant::now();
        }
        Ok(())
    }
}
