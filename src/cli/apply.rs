//! `tidegate apply`.

mod told;

use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Common;
use super::client::{Answer, Api, Reach, cause};
use super::exit::Exit;
use super::files::{self, Paths, Resources};
use super::output;
use super::serve::until_ended;
use crate::catalog::apply::Fault;
use crate::config::Flags;
use crate::model::problem::Problem;

/// Bytes of a request that are made at a time, about.
const PIECE: usize = 64 * 1_024;
const NOTHING: &str = "; nothing was changed";

/// Make the catalog what files say: shows what would change, asks, and does it in one transaction
#[derive(Args, Debug)]
#[command(
    long_about = "Make the catalog what files say: shows what would change, asks, and does it in one transaction. What the files do \
    not name stays as it is, but for --prune. Users and API keys are not kept in files.\n\n\
    A file holds resources as YAML or JSON: `kind`, `id` and `spec`; see `tidegate validate --help`, and `tidegate export` for what \
    there is. A text may hold `${env:NAME}` or `${file:path}`, by which secrets stay out of files; a path begins at the folder of its \
    file, `$${` stands for `${`.\n\n\
    --prune deletes what the files do not name, in the organizations that they name or have resources of, and nowhere else. An \
    organization itself is never deleted by it: one that is in no file any more is left alone, with all it has.\n\n\
    The API key is TIDEGATE_ADMIN_KEY, else what `tidegate dev` keeps in the data folder (.tidegate/admin.key).",
    after_help = "Examples:\n  tidegate apply -f catalog/ --dry-run\n  tidegate apply -f catalog/\n  \
    tidegate apply -f catalog/ --prune --yes\n  tidegate export --api http://staging:8080 | tidegate apply -f - --dry-run\n\n\
    Exit codes: 0 the catalog is as the files say (--dry-run: the plan was made), 1 it is not: something is wrong, or you said no; \
    2 wrong usage or key, or there is nobody to ask; 3 no gateway answers."
)]
pub(super) struct Apply {
    #[command(flatten)]
    paths: Paths,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Delete what the files do not name, in the organizations that they name
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Deserialize)]
struct Step {
    action: String,
    kind: String,
    id: String,
    diff: Vec<Changed>,
}

#[derive(Debug, Deserialize)]
struct Changed {
    path: String,
    from: Value,
    to: Value,
}

pub(super) fn run(common: &Common, command: &Apply) -> Result<(), Exit> {
    let config = common.load(Flags::new())?;
    let found = command.paths.read()?;
    let mut wrong = found.missing.clone();
    wrong.extend(found.wrong_in_themselves());
    if !wrong.is_empty() {
        return Err(files::tell(wrong, NOTHING));
    }
    found.note_where_nothing_is();
    let found = Arc::new(found);
    let gateway = Gateway { api: command.reach.api(&config)?, found: Arc::clone(&found), prune: command.prune };
    until_ended(async {
        let mut shown = told::Shown::of(&found);
        let position = gateway.ask(None, |step| shown.step(step)).await?;
        let changes = shown.end()?;
        if changes == 0 || command.dry_run {
            return Ok(());
        }
        if !command.yes {
            ask(changes)?;
        }
        let position = gateway.ask(Some(position), |_| Ok(())).await?;
        output::print(&format!("applied; the catalog is at {position}\n"))
    })
}

/// Where nobody says yes, nothing is changed.
fn ask(changes: usize) -> Result<(), Exit> {
    if !output::can_ask() {
        return Err(Exit::usage(
            "nothing was changed: it asks before it does, and there is no terminal to ask on; --yes says yes, --dry-run only shows \
             what would change",
        ));
    }
    let question = if changes == 1 { "Make this change?".to_owned() } else { format!("Make these {changes} changes?") };
    if output::agreed(&question)? { Ok(()) } else { Err(Exit::failed("nothing was changed")) }
}

struct Gateway {
    api: Api,
    found: Arc<Resources>,
    prune: bool,
}

impl Gateway {
    /// Shows each step of a plan, and answers where the catalog is; `planned`: it is carried out, if nothing was changed since the
    /// one before.
    async fn ask(&self, planned: Option<u64>, mut see: impl FnMut(Step) -> Result<(), Exit>) -> Result<u64, Exit> {
        let (doing, done) = if planned.is_some() { ("applying", "applied") } else { ("planning", "planned") };
        let bar = output::bar(
            ProgressBar::new(self.found.desired.len() as u64),
            &format!("{doing}: {{pos}} of {{len}} resources sent {{elapsed}}"),
        );
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        let pieces = Body { found: Arc::clone(&self.found), head: Some(self.head(planned)), at: 0, bar: bar.clone() };
        let answer = self.api.upload(self.api.url(&["admin", "catalog", "apply"], &[]), pieces).await;
        bar.finish_and_clear();
        let unknown = |why: &str| {
            let why =
                format!("whether it was applied is not known ({why}): the same command tells, and does what is left");
            Exit::Unreachable(why)
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if planned.is_some() && !error.is_connect() => return Err(unknown(&cause(&error))),
            Err(error) => return Err(self.api.unreachable(&cause(&error))),
        };
        if answer.status() != StatusCode::OK {
            let answer = answer.whole().await.map_err(|error| self.api.unreachable(&cause(&error)))?;
            return Err(self.refusal(&answer));
        }
        let answer = self.api.of_a_gateway(answer)?;
        let misread =
            |why: &str| Exit::Failed(format!("it was {done}, but the gateway's answer is not understood: {why}"));
        let rest = answer.items("plan", |step| {
            let step = serde_json::from_slice(step).map_err(|error| misread(&error.to_string()))?;
            see(step)
        });
        // It answers so once all of it is written.
        let rest = rest.await.map_err(|exit| if planned.is_some() { exit.and("; it was applied") } else { exit });
        rest?["position"].as_u64().ok_or_else(|| misread("it has no position"))
    }

    /// The request up to its resources.
    fn head(&self, planned: Option<u64>) -> String {
        let mut head = json!({"prune": self.prune, "dryRun": planned.is_none()});
        if let Some(planned) = planned {
            head["expectedPosition"] = planned.into();
        }
        let head = head.to_string();
        format!("{},\"resources\":[", head.trim_end_matches('}'))
    }

    /// By the files and lines where what is wrong stands.
    fn refusal(&self, answer: &Answer) -> Exit {
        let details = answer.words().details;
        let faults: Vec<Fault> = details.as_array().into_iter().flatten().filter_map(fault).collect();
        match answer.status.as_u16() {
            400 if !faults.is_empty() => files::tell(self.found.placed(faults), NOTHING),
            409 => Exit::Failed(format!("nothing was changed{}; run it again for a new plan", answer.said())),
            _ => self.api.refusal(answer, "api"),
        }
    }
}

/// A request, made while it is sent.
struct Body {
    found: Arc<Resources>,
    head: Option<String>,
    at: usize,
    bar: ProgressBar,
}

impl Iterator for Body {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let all = &self.found.desired;
        if self.at > all.len() {
            return None;
        }
        let mut piece = self.head.take().unwrap_or_default();
        while piece.len() < PIECE {
            let Some(one) = all.get(self.at) else {
                piece += "]}";
                self.at += 1;
                break;
            };
            if self.at > 0 {
                piece.push(',');
            }
            piece += &one.text();
            self.at += 1;
        }
        self.bar.set_position(self.at.min(all.len()) as u64);
        Some(piece.into())
    }
}

/// `resources[3].spec.targetUrl` is a field of the fourth.
fn fault(detail: &Value) -> Option<Fault> {
    let (path, message) = (detail["path"].as_str()?, detail["message"].as_str()?);
    let of = path.strip_prefix("resources[").and_then(|rest| rest.split_once(']'));
    let of = of.and_then(|(at, path)| Some((at.parse().ok()?, path.strip_prefix('.').unwrap_or(path))));
    let (at, path) = of.map_or((None, path), |(at, path)| (Some(at), path));
    Some(Fault { at, problem: Problem::new(path, message) })
}
