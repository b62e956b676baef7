//! `tidegate apply`.

mod told;

use std::collections::HashMap;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Common;
use super::client::{Answer, Api, Reach, cause};
use super::exit::Exit;
use super::files::{self, Failed, Resources};
use super::output;
use super::serve::until_ended;
use crate::catalog::apply::Fault;
use crate::config::Flags;
use crate::model::problem::Problem;

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
    2 wrong usage or key, 3 no gateway answers."
)]
pub(super) struct Apply {
    /// Files and folders; `-` is standard input
    #[arg(short, long = "file", value_name = "PATH", required = true, num_args = 1..)]
    file: Vec<PathBuf>,
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

/// What the gateway answers.
#[derive(Debug, Deserialize)]
struct Plan {
    plan: Vec<Step>,
    position: u64,
}

#[derive(Debug, Deserialize)]
struct Step {
    action: String,
    kind: String,
    id: String,
    diff: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    path: String,
    from: Value,
    to: Value,
}

pub(super) fn run(common: &Common, command: &Apply) -> Result<(), Exit> {
    let asks = !command.yes && !command.dry_run;
    if asks && !output::can_ask() {
        return Err(Exit::usage(
            "it asks before it changes anything, and there is no terminal to ask on: --yes says yes, --dry-run only shows what \
             would change",
        ));
    }
    let config = common.load(Flags::new())?;
    let found = files::read(&command.file).map_err(|failed| failed.tell(NOTHING))?;
    let mut wrong = found.missing.clone();
    wrong.extend(found.wrong_in_themselves());
    if !wrong.is_empty() {
        return Err(Failed::Wrong(wrong).tell(NOTHING));
    }
    let gateway = Gateway { api: command.reach.api(&config)?, found, prune: command.prune };
    until_ended(async {
        let plan = gateway.ask(None).await?;
        let places = gateway.places();
        output::print(&told::plan(&plan, &gateway.found, &places))?;
        let changes = plan.plan.iter().filter(|step| step.action != "unchanged").count();
        if changes == 0 || command.dry_run {
            return Ok(());
        }
        let question =
            if changes == 1 { "Make this change?".to_owned() } else { format!("Make these {changes} changes?") };
        if asks && !output::agreed(&question)? {
            return Err(Exit::failed("nothing was changed"));
        }
        let done = gateway.ask(Some(plan.position)).await?;
        output::print(&format!("applied; the catalog is at {}\n", done.position))
    })
}

struct Gateway {
    api: Api,
    found: Resources,
    prune: bool,
}

impl Gateway {
    /// A plan; `planned`: it is carried out, if nothing was changed since the one before.
    async fn ask(&self, planned: Option<u64>) -> Result<Plan, Exit> {
        let resource = |one: &crate::catalog::apply::Desired| json!({"kind": one.key.kind.name(), "id": one.key.id, "spec": one.spec});
        let resources: Vec<Value> = self.found.desired.iter().map(resource).collect();
        let mut body = json!({"resources": resources, "prune": self.prune, "dryRun": planned.is_none()});
        if let Some(planned) = planned {
            body["expectedPosition"] = planned.into();
        }
        let body = Bytes::from(body.to_string());
        let bar = output::bar(
            ProgressBar::new(body.len() as u64),
            if planned.is_some() {
                "applying {bytes}/{total_bytes} {elapsed}"
            } else {
                "planning {bytes}/{total_bytes} {elapsed}"
            },
        );
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        let sending = bar.clone();
        let url = self.api.url(&["admin", "catalog", "apply"], &[]);
        let answer = self.api.upload(url, body, move |bytes| sending.inc(bytes)).await;
        bar.finish_and_clear();
        match answer {
            Ok(answer) if answer.status == StatusCode::OK => serde_json::from_slice(&answer.body)
                .map_err(|e| Exit::Failed(format!("the gateway's answer is not understood: {e}"))),
            Ok(answer) => Err(self.refusal(&answer)),
            Err(error) if planned.is_some() && !error.is_connect() => Err(Exit::Unreachable(format!(
                "whether it was applied is not known ({}): the same command tells, and does what is left",
                cause(&error)
            ))),
            Err(error) => Err(self.api.unreachable(&cause(&error))),
        }
    }

    /// By the files and lines where what is wrong stands.
    fn refusal(&self, answer: &Answer) -> Exit {
        let details = answer.words().details;
        let faults: Vec<Fault> = details.as_array().into_iter().flatten().filter_map(fault).collect();
        match answer.status.as_u16() {
            400 if !faults.is_empty() => {
                Failed::Wrong(faults.into_iter().map(|fault| self.found.place(fault)).collect()).tell(NOTHING)
            }
            409 => Exit::Failed(format!("nothing was changed{}; run it again for a new plan", answer.said())),
            _ => self.api.refusal(answer, "api"),
        }
    }

    /// Where in the files each resource is.
    fn places(&self) -> HashMap<String, usize> {
        self.found.desired.iter().enumerate().map(|(at, one)| (one.key.to_string(), at)).collect()
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
