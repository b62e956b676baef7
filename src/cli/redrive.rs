//! `tidegate redrive`.

mod chosen;
mod put_back;
mod told;

use std::io::{self, BufRead as _, Read as _};

use clap::Args;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Common;
use super::client::{Api, Reach};
use super::deliveries::{Filter, id};
use super::exit::Exit;
use super::output;
use super::serve::{stop_on_signal, until_ended};
use crate::config::Flags;
use crate::model::time::{Clock as _, SystemClock};
use chosen::Chosen;
use put_back::{Gateway, Outcome};
use told::{Told, Totals};

/// Dead letters that are on their way back at once.
const AT_ONCE: usize = 8;
/// With --all, where nobody says how many.
const MOST: usize = 100_000;
/// Lines of standard input that were read and wait.
const READ_AHEAD: usize = 64;
/// Bytes of a line: an id is shorter, and what is no text of lines ends in errors, not in memory.
const LONGEST_LINE: u64 = 4_096;

/// Put dead letters back: each is the same delivery again, its attempts counted on
#[derive(Args, Debug)]
#[command(
    long_about = "Put dead letters back: each is the same delivery again, its attempts counted on. It keeps its id, by which a receiver \
    knows a repeat.\n\n\
    They are named by the ids of their deliveries, or chosen by --all and what goes with it. One that is no longer dead is told, and \
    is no failure. The history is asked, which is a second or so behind: one that was put back is not put back again, and where the history has still \
    to find out which were, the command waits for it.\n\n\
    The API key is TIDEGATE_ADMIN_KEY, else what `tidegate dev` keeps in the data folder (.tidegate/admin.key).",
    after_help = "Examples:\n  \
    tidegate redrive 01a1ffb3-2102-8879-8232-fe37ac38a16c\n  \
    tidegate redrive --all --integration bills --from 1h --dry-run\n  \
    tidegate redrive --all --integration bills --category http_5xx --yes\n  \
    tidegate logs --status dead -n 500 -o json | jq -r .id | tidegate redrive -\n  \
    tidegate tail dlq --from 1h --no-follow -o json | jq -r .headers.tg_delivery | tidegate redrive -\n\n\
    Exit codes: 0 all were put back or are no longer dead, 1 some could not be, 2 wrong usage or key, 3 no gateway answers, or its \
    history is away."
)]
pub(super) struct Redrive {
    /// Deliveries by their ids; `-` reads them from standard input, one a line
    #[arg(value_name = "DELIVERY", conflicts_with = "all")]
    ids: Vec<String>,
    /// All dead letters, or those that the filters below let through; asks first
    #[arg(long)]
    all: bool,
    /// With --all: show how many there are, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// With --all: do not ask
    #[arg(short, long)]
    yes: bool,
    /// With --all: so many at most, the newest first [default: 100000]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: Option<u32>,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    filter: Filter,
}

pub(super) fn run(common: &Common, command: &Redrive) -> Result<(), Exit> {
    if command.ids.is_empty() && !command.all {
        return Err(Exit::usage(
            "name dead letters by the ids of their deliveries, or choose them by --all; see --help",
        ));
    }
    let query = command.filter.query(SystemClock.now())?;
    // clap does not hold a `requires` where ids, which conflict with it, are given.
    if !command.all && (command.dry_run || command.yes || command.limit.is_some() || !query.is_empty()) {
        return Err(Exit::usage(
            "filters, --limit, --dry-run and --yes go with --all; ids are put back as they are named",
        ));
    }
    let asks = command.all && !command.yes && !command.dry_run;
    if asks && !output::can_ask() {
        return Err(Exit::usage(
            "--all asks before it does anything, and there is no terminal to ask on: --yes says yes, --dry-run only shows how many \
             there are",
        ));
    }
    let ids = Ids::parse(&command.ids)?;
    let api = command.reach.api(&common.load(Flags::new())?)?;
    until_ended(async {
        if !command.all {
            return put_back(api, ids.stream(), ids.known()).await;
        }
        let most = command.limit.map_or(MOST, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let chosen = Chosen::find(&api, query, most).await?;
        output::print(&chosen.text())?;
        if chosen.ids.is_empty() || command.dry_run {
            return Ok(());
        }
        if asks && !agreed(chosen.ids.len())? {
            return Err(Exit::failed("nothing was put back"));
        }
        let count = chosen.ids.len() as u64;
        put_back(api, stream::iter(chosen.ids.into_iter().map(Ok)).boxed(), Some(count)).await
    })
}

fn agreed(count: usize) -> Result<bool, Exit> {
    output::agreed(&if count == 1 { "Put it back?".to_owned() } else { format!("Put {count} back?") })
}

/// What was named on the command line.
struct Ids {
    named: Vec<String>,
    /// And then from standard input.
    piped: bool,
}

impl Ids {
    fn parse(given: &[String]) -> Result<Ids, Exit> {
        let mut ids = Ids { named: Vec::new(), piped: false };
        for text in given {
            match id(text) {
                Ok(id) => ids.named.push(id),
                Err(_) if text == "-" => ids.piped = true,
                Err(wrong) => return Err(Exit::Usage(wrong)),
            }
        }
        Ok(ids)
    }

    fn known(&self) -> Option<u64> {
        (!self.piped).then_some(self.named.len() as u64)
    }

    fn stream(&self) -> BoxStream<'static, Result<String, String>> {
        let named = stream::iter(self.named.clone().into_iter().map(Ok));
        if self.piped { named.chain(piped()).boxed() } else { named.boxed() }
    }
}

/// The lines of standard input as they come.
fn piped() -> impl futures_util::Stream<Item = Result<String, String>> + Send {
    let (lines, read) = mpsc::channel(READ_AHEAD);
    // A thread of its own: a pipe is read by calls that block. It ends when nobody takes its lines any more, and the runtime's
    // end does not wait for it for long.
    let reader = tokio::task::spawn_blocking(move || {
        let mut input = io::stdin().lock();
        for at in 1.. {
            let of_line = |wrong: String| format!("line {at}: {wrong}");
            let mut line = Vec::new();
            let found = match (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) if line.trim_ascii().is_empty() => continue,
                Ok(_) => (id(String::from_utf8_lossy(&line).trim()).map_err(of_line), false),
                Err(error) => (Err(of_line(error.to_string())), true),
            };
            if lines.blocking_send(found.0).is_err() || found.1 {
                return;
            }
        }
    });
    stream::unfold((read, reader), |(mut read, reader)| async move { Some((read.recv().await?, (read, reader))) })
}

/// Puts them back, as many as there are until ctrl-C.
async fn put_back(api: Api, ids: BoxStream<'static, Result<String, String>>, count: Option<u64>) -> Result<(), Exit> {
    let stop = CancellationToken::new();
    let mut told = Told::new(count);
    let gateway = Gateway::new(api, told.outage());
    let working = async {
        let ids = ids.take_until(stop.clone().cancelled_owned());
        let outcomes = ids.map(|id| one(&gateway, id, &stop)).buffered(AT_ONCE);
        let mut outcomes = std::pin::pin!(outcomes);
        let mut totals = Totals::default();
        let ended = loop {
            match outcomes.next().await {
                None => break Ok(()),
                Some(Ok(outcome)) => told.happened(&mut totals, outcome),
                Some(Err(exit)) if totals == Totals::default() => break Err(exit),
                Some(Err(exit)) => break Err(exit.and("; the same command goes on with the rest")),
            }
        };
        output::print(&told.summary(totals))?;
        ended.and_then(|()| verdict(totals, stop.is_cancelled()))
    };
    let goodbye = || eprintln!("\nstopping: what is under way is finished first (ctrl-C again: at once)");
    tokio::select! {
        ended = working => ended,
        again = stop_on_signal(&stop, goodbye) => Err(again),
    }
}

async fn one(gateway: &Gateway, id: Result<String, String>, stop: &CancellationToken) -> Result<Outcome, Exit> {
    match id {
        Ok(id) => gateway.put_back(&id, stop).await,
        Err(wrong) => Ok(Outcome::Failed(wrong)),
    }
}

fn verdict(totals: Totals, stopped: bool) -> Result<(), Exit> {
    match totals.failed {
        _ if stopped => Err(Exit::failed("interrupted; the others are as they were")),
        0 => Ok(()),
        1 => Err(Exit::failed("1 could not be put back")),
        n => Err(Exit::Failed(format!("{n} could not be put back"))),
    }
}

#[cfg(test)]
mod tests;
