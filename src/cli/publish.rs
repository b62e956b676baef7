//! `tidegate publish`.

mod lines;
mod resume;
mod run;
mod send;
#[cfg(test)]
mod tests;
mod told;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Common;
use super::client::{Api, Reach};
use super::exit::Exit;
use super::output;
use super::serve::{stop_on_signal, until_ended};
use crate::config::Flags;
use crate::model::duration::DurationText;
use crate::model::problem::not_json;
use send::{Gateway, Stop};

/// Publish events to a running gateway: one by flags, or JSON lines from a file or a pipe
#[derive(Args, Debug)]
#[command(
    long_about = "Publish events to a running gateway: one by flags, or JSON lines from a file or a pipe, each an event as \
    `POST /api/v1/events` takes it.\n\n\
    Lines travel in batches, several at once, so that events may change places; --in-flight 1 keeps the order of the lines. An \
    event without an id gets one. What the gateway cannot take now is sent again; a line that it refuses is shown with the \
    gateway's own words, and the others go on.\n\n\
    With --resume a file beside the input (`events.jsonl.progress`) tells how far all is answered. After ctrl-C, kill -9 or the \
    end of the gateway the same command goes on from there, and what was under way then is recognised as a repeat. Run once \
    more after the end, it publishes what was appended since.\n\n\
    The API key is TIDEGATE_ADMIN_KEY, else what `tidegate dev` keeps in the data folder (.tidegate/admin.key).",
    after_help = "Examples:\n  \
    tidegate publish --type patient.created --org 648 --entity Patient/1 --payload '{\"id\":1}'\n  \
    tidegate publish --type patient.created --org 648 --payload @patient.json\n  \
    tidegate publish --org 648 --resume events.jsonl\n  \
    tidegate publish --errors refused.jsonl topologies/examples/healthcare/events.jsonl\n  \
    jq -c '{eventType: \"patient.created\", payload: .}' patients.json | tidegate publish --org 648 -\n\n\
    Exit codes: 0 all were accepted, 1 some were refused, 2 wrong usage or key, 3 no gateway answers."
)]
pub(super) struct Publish {
    /// JSON lines, one event each; `-` reads them from standard input. With --type: the payload
    #[arg(value_name = "FILE", required_unless_present = "event_type")]
    file: Option<PathBuf>,
    /// Publish one event of this type
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Organization of the events; one that names another is refused
    #[arg(short, long, value_name = "ORG")]
    org: Option<String>,
    /// What the one event is about: `Patient/1`
    #[arg(short, long, value_name = "ENTITY", requires = "event_type")]
    entity: Option<String>,
    /// Payload of the one event: JSON, `@FILE`, or `-` for standard input
    #[arg(short, long, value_name = "JSON", requires = "event_type", conflicts_with = "file")]
    payload: Option<String>,
    /// Id of the one event: publishing it again changes nothing [default: a new one]
    #[arg(long, value_name = "ID", requires = "event_type")]
    id: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Batches under way at once
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    in_flight: u8,
    /// Keep the progress beside the file, and go on where an earlier run was interrupted
    #[arg(long, conflicts_with = "event_type")]
    resume: bool,
    /// Write every refused line to this file: `{line, code, error, details}`
    #[arg(long, value_name = "FILE", conflicts_with = "event_type")]
    errors: Option<PathBuf>,
    /// For how long a request is tried again while the gateway takes nothing
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    patience: DurationText,
}

pub(super) fn run(common: &Common, command: Publish) -> Result<(), Exit> {
    let config = common.load(Flags::new())?;
    let api = command.reach.api(&config)?;
    let stop = CancellationToken::new();
    until_ended(async {
        let publishing = async {
            match command.event_type {
                Some(_) => one(&command, api, stop.clone()).await,
                None => run::lines(&command, api, &stop).await,
            }
        };
        tokio::select! {
            ended = publishing => ended,
            again = stop_on_signal(&stop, || eprintln!("\nstopping: what is under way is finished first (ctrl-C again: at once)")) =>
                Err(again),
        }
    })
}

async fn one(command: &Publish, api: Api, stop: CancellationToken) -> Result<(), Exit> {
    let id = command.id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let event = event(command, &id)?;
    let told = |why: &str| eprintln!("tidegate: the gateway takes nothing now ({why}); trying again");
    let gateway = Gateway::new((api, command.org.as_deref()), command.patience(), stop, told);
    match gateway.one(event).await {
        Ok(Ok(())) => output::print(&format!("accepted {}\n", output::one_line(&id))),
        Ok(Err(refused)) => Err(Exit::Failed(format!("refused: {}", told::told(&refused)))),
        Err(Stop::Failed(exit)) => Err(exit),
        Err(Stop::Interrupted) => Err(Exit::Failed(format!(
            "interrupted; the event may have been accepted: the same command with --id {id} publishes it once"
        ))),
    }
}

/// The one event that the flags name.
fn event(command: &Publish, id: &str) -> Result<String, Exit> {
    let payload = payload(command)?;
    let payload: &RawValue =
        serde_json::from_str(&payload).map_err(|e| Exit::Usage(format!("the payload {}", not_json(&e))))?;
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Event<'a> {
        id: &'a str,
        event_type: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        entity_id: Option<&'a str>,
        payload: &'a RawValue,
    }
    let event = Event { id, event_type: command.event_type.as_deref(), entity_id: command.entity.as_deref(), payload };
    serde_json::to_string(&event).map_err(Exit::failed)
}

fn payload(command: &Publish) -> Result<String, Exit> {
    let from_file =
        |path: &Path| fs::read_to_string(path).map_err(|e| Exit::Usage(format!("the payload {}: {e}", path.display())));
    let from_pipe = || {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|e| Exit::Usage(format!("standard input: {e}")))?;
        Ok(text)
    };
    match (command.payload.as_deref(), &command.file) {
        (Some("-"), _) => from_pipe(),
        (Some(text), _) => {
            text.strip_prefix('@').map_or_else(|| Ok(text.to_owned()), |path| from_file(Path::new(path)))
        }
        (None, Some(path)) if path == Path::new("-") => from_pipe(),
        (None, Some(path)) => from_file(path),
        (None, None) => Err(Exit::usage("an event has a payload: give --payload '{...}', @FILE or -")),
    }
}

impl Publish {
    fn patience(&self) -> Duration {
        self.patience.0
    }

    /// The file of lines; `None` is standard input.
    fn input(&self) -> Option<&Path> {
        self.file.as_deref().filter(|path| *path != Path::new("-"))
    }
}
