//! `/api/v1/admin/catalog`: the whole configuration at once, out as `export` and in as `apply`.

mod ask;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, Param, get, post};
use crate::api::error::{ApiError, Code};
use crate::api::params::Params;
use crate::api::streamed::listed;
use crate::catalog::Snapshot;
use crate::catalog::apply::{self, Desired, Fault, Plan, Verb};
use crate::catalog::audit::Origin;
use crate::catalog::change::Basis;
use crate::catalog::diff::Changed;
use crate::catalog::kind::Kind;
use crate::catalog::resource::Resource;
use crate::catalog::writer::WriteError;
use crate::model::ids::{Offset, ResourceId};
use crate::model::problem::Problem;
use crate::model::time::Timestamp;
use ask::Ask;
use turns::{Turn, Turns};

const APPLY: &str = "/api/v1/admin/catalog/apply";
const EXPORT: &str = "/api/v1/admin/catalog/export";
const TAG: &str = "Catalog";
/// Resources that an export takes from the snapshot at a time.
const AT_ONCE: usize = 256;
/// How often a plan is made anew where others write meanwhile.
const TRIES: usize = 5;

pub(super) fn routes(door: &mut Door, api: &ApiState) {
    let apply = post(APPLY, Access::Admin)
        .says(
            TAG,
            "Makes the catalog hold these resources as they are, in one transaction, or says what that would change. A process \
             does two of these at a time: 503 where none of them ends within 15 s. Of the body come 64 KiB each 10 s, or its \
             end: 400 where it stalls.",
        )
        .body(ask::body())
        .example(json!({"resources": [{"kind": "Organization", "id": "648", "spec": {"name": "City Clinic"}}], "dryRun": true}))
        .answers(Answer::json(200, "What is, or would be, done.", answer()))
        .fails(&[409]);
    door.add(apply, run, (api.clone(), Turns::default()));
    let kinds: Vec<&str> = Kind::configuration().map(Kind::name).collect();
    let export = get(EXPORT, Access::Admin)
        .says(TAG, "All resources as `apply` takes them, secrets sealed; users and API keys are none of them.")
        .params([
            Param::org("Those of this organization, itself included."),
            Param::one_of("kind", "Those of this kind.", &kinds.join(", ")),
        ])
        .from_snapshot()
        .answers(Answer::json(200, "The resources, by kind and id.", exported()));
    door.add(export, export_all, api.clone());
}

fn answer() -> Value {
    let change = json!({"type": "object", "required": ["path", "from", "to"], "properties": {
        "path": {"type": "string", "description": "The field."},
        "from": {"description": "What it was; null where it was not there. A secret is `***`."},
        "to": {"description": "What it is to be; null where it is not there any more. A secret is `***`, or `*** (changed)`."},
    }});
    let step = json!({"type": "object", "required": ["action", "kind", "id", "diff"], "properties": {
        "action": {"type": "string", "enum": ["create", "update", "delete", "unchanged"], "description": "What is done."},
        "kind": {"type": "string", "description": "With a resource of which kind."},
        "id": {"type": "string", "description": "With which."},
        "diff": {"type": "array", "items": change, "description": "What changes, field by field."},
    }});
    json!({"type": "object", "required": ["plan", "applied", "position"], "properties": {
        "plan": {"type": "array", "items": step, "description": "Every step, in the order in which they are made."},
        "applied": {"type": "boolean", "description": "Whether the catalog is so now; false after a dry run."},
        "position": {"type": "integer", "description": "Where the catalog is: for `expectedPosition`."},
    }})
}

fn exported() -> Value {
    json!({"type": "object", "required": ["resources", "position"], "properties": {
        "resources": {"type": "array", "items": ask::resource(), "description": "The resources, as `apply` takes them."},
        "position": {"type": "integer", "description": "Where the catalog was."},
    }})
}

#[derive(Debug, Serialize)]
struct Shown {
    action: Verb,
    kind: &'static str,
    id: ResourceId,
    diff: Vec<Changed>,
}

async fn run(
    State((api, turns)): State<(ApiState, Turns)>,
    params: Params,
    by: Origin,
    request: Request,
) -> Result<Response, ApiError> {
    params.finish()?;
    let (request, turn) = turns.take(request).await?;
    let Ask { desired, prune, dry_run, expected } = Ask::read(request, &api.default_retry()).await?;
    let mut desired = Some(Arc::new(desired));
    // A plan over what was there once says that nothing is to be done where something is.
    api.writer.see_everything().await.map_err(WriteError::from)?;
    for _ in 0..TRIES {
        let snapshot = api.snapshot()?;
        if let Some(planned) = expected.filter(|expected| snapshot.changed() > *expected) {
            return Err(WriteError::Moved { planned, actual: snapshot.changed() }.into());
        }
        // Many of them take room, which the write needs: where nothing is planned anew they are let go.
        let once = dry_run || expected.is_some();
        let Some(these) = (if once { desired.take() } else { desired.clone() }) else { break };
        let plan = planned(&api, (these, prune, &turn), &snapshot).await?;
        // A plan that cannot be carried out is none.
        api.writer.takes(plan.changes())?;
        if dry_run {
            return Ok(told(&api, (plan, turn), false, snapshot.changed()));
        }
        match write(&api, &plan, snapshot.changed(), &by).await {
            Ok(()) => return Ok(told(&api, (plan, turn), true, api.snapshot()?.changed())),
            Err(WriteError::Moved { .. }) if expected.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::unavailable("the catalog is changed too often to be planned over; try again"))
}

/// On a thread of its own kind: a large plan takes seconds of computing.
async fn planned(
    api: &ApiState,
    (desired, prune, turn): (Arc<Vec<Desired>>, bool, &Turn),
    snapshot: &Arc<Snapshot>,
) -> Result<Plan, ApiError> {
    let (api, snapshot, turn) = (api.clone(), Arc::clone(snapshot), Arc::clone(turn));
    let planning = tokio::task::spawn_blocking(move || {
        // It goes on where its client has gone, and the memory with it.
        let _turn = turn;
        // Nothing is dated by a plan.
        let basis = Basis { snapshot: &snapshot, now: Timestamp::default(), keyring: api.writer.keyring() };
        apply::plan(&desired, prune, basis)
    });
    match planning.await {
        Ok(plan) => plan.map_err(|faults| ApiError::invalid(faults.into_iter().map(problem).collect())),
        Err(error) => {
            tracing::error!(%error, "a plan could not be made");
            Err(ApiError::new(Code::InternalError, "the plan could not be made; the log says more"))
        }
    }
}

/// The catalog as it is when this is answered, not as it was, is what there is nothing to do for.
async fn write(api: &ApiState, plan: &Plan, planned: Offset, by: &Origin) -> Result<(), WriteError> {
    if plan.changes() > 0 {
        return api.writer.write_planned(plan, planned, by).await;
    }
    api.writer.see_everything().await?;
    match api.catalog.snapshot().changed() {
        actual if actual > planned => Err(WriteError::Moved { planned, actual }),
        _ => Ok(()),
    }
}

fn told(api: &ApiState, (plan, turn): (Plan, Turn), applied: bool, position: Offset) -> Response {
    let writer = Arc::clone(&api.writer);
    let shown = move |step: apply::Step| {
        let _turn = &turn;
        Shown { action: step.verb, kind: step.key.kind.name(), diff: step.diff(writer.keyring()), id: step.key.id }
    };
    let rest = [("applied", applied.into()), ("position", position.0.into())];
    let rest = rest.map(|(name, value): (&str, Value)| (name.to_owned(), value));
    listed("plan", plan.steps.into_iter().map(shown), rest.into_iter().collect())
}

/// By its place in the request.
fn problem(fault: Fault) -> Problem {
    let Fault { at, problem } = fault;
    match at {
        Some(at) => Problem::new(format!("resources[{at}].{}", problem.path), problem.message),
        None => Problem::new("prune", problem.message),
    }
}

async fn export_all(State(api): State<ApiState>, mut params: Params) -> Result<Response, ApiError> {
    let org = params.org();
    let kind = params.parsed("kind", |name| {
        let known = || Kind::configuration().map(Kind::name).collect::<Vec<_>>().join(", ");
        let found = Kind::parse(name).filter(|kind| kind.is_configuration());
        found.ok_or_else(|| format!("must be one of {}", known()))
    });
    params.finish()?;
    let snapshot = api.snapshot()?;
    let position = ("position".to_owned(), snapshot.changed().0.into());
    let kinds = Kind::configuration().filter(|one| kind.is_none_or(|kind| kind == *one)).collect();
    let all = Walk { snapshot, kinds, at: None, next: VecDeque::new() };
    let theirs = all.filter(move |one| org.as_ref().is_none_or(|org| one.org() == Some(org)));
    Ok(listed("resources", theirs.map(|one| apply::exported(&one)), [position].into_iter().collect()))
}

/// The resources of some kinds, a few at a time: a snapshot lends them only while it is looked at.
struct Walk {
    snapshot: Arc<Snapshot>,
    kinds: VecDeque<Kind>,
    /// Of the first of the kinds, the last that was taken.
    at: Option<ResourceId>,
    next: VecDeque<Resource>,
}

impl Iterator for Walk {
    type Item = Resource;

    fn next(&mut self) -> Option<Resource> {
        while self.next.is_empty() {
            let all = self.snapshot.all(*self.kinds.front()?);
            match &self.at {
                None => self.next.extend(all.values().take(AT_ONCE).cloned()),
                Some(at) => self.next.extend(all.iter_from(at).skip(1).take(AT_ONCE).map(|(_, one)| one.clone())),
            }
            self.at = self.next.back().map(|one| one.key().id);
            if self.at.is_none() {
                self.kinds.pop_front();
            }
        }
        self.next.pop_front()
    }
}
