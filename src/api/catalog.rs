//! `/api/v1/admin/catalog`: the whole configuration at once, out as `export` and in as `apply`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, Param, get, post};
use crate::api::error::{ApiError, Code};
use crate::api::json::LargeJsonBody;
use crate::api::params::Params;
use crate::catalog::Snapshot;
use crate::catalog::apply::{self, Desired, Difference, Fault, Plan, Verb};
use crate::catalog::audit::Origin;
use crate::catalog::change::{Basis, Change};
use crate::catalog::fields::Fields;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::schema::describe;
use crate::catalog::writer::WriteError;
use crate::model::ids::{Offset, ResourceId};
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

const APPLY: &str = "/api/v1/admin/catalog/apply";
const EXPORT: &str = "/api/v1/admin/catalog/export";
const TAG: &str = "Catalog";
/// Of a body of `apply`.
const BODY_LIMIT: usize = 512 * 1_024 * 1_024;
/// Resources in one.
const MOST: usize = 1_000_000;
/// How often a plan is made anew where others write meanwhile.
const TRIES: usize = 5;
/// For the snapshot to hold what was written before.
const CURRENT_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn routes(door: &mut Door, api: &ApiState) {
    let apply = post(APPLY, Access::Admin)
        .says(
            TAG,
            "Makes the catalog hold these resources as they are, in one transaction, or says what that would change.",
        )
        .body(body())
        .example(json!({"resources": [{"kind": "Organization", "id": "648", "spec": {"name": "City Clinic"}}], "dryRun": true}))
        .answers(Answer::json(200, "What is, or would be, done.", answer()))
        .fails(&[409]);
    door.add(apply, run.layer(DefaultBodyLimit::max(BODY_LIMIT)), api.clone());
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

fn resource() -> Value {
    let mut resource = Fields::sketch(desired);
    let about = [
        ("kind", "What it is."),
        ("id", "Its id; of an organization its `orgId`, of an org unit its `rid`."),
        ("spec", "Its fields, as its own route takes them, `orgId` included and its id left out."),
    ];
    describe(&mut resource, &about);
    resource
}

fn body() -> Value {
    let mut body = Fields::sketch(ask);
    body["properties"]["resources"]["items"] = resource();
    let about = [
        ("resources", "What is to be there. What is there already, and so, stays as it is."),
        (
            "prune",
            "Whether to delete what else there is of the organizations that the resources are of, but for users and API keys.",
        ),
        ("dryRun", "Whether to say only what would be done."),
        ("expectedPosition", "The `position` that a plan was answered with: 409 where the catalog was changed since."),
    ];
    describe(&mut body, &about);
    body
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
        "resources": {"type": "array", "items": resource(), "description": "The resources, as `apply` takes them."},
        "position": {"type": "integer", "description": "Where the catalog was."},
    }})
}

/// What is asked of `apply`.
#[derive(Debug)]
struct Ask {
    desired: Vec<Desired>,
    prune: bool,
    dry_run: bool,
    expected: Option<Offset>,
}

fn ask(fields: &mut Fields) -> Option<Ask> {
    fields.require("resources");
    let desired = fields.objects("resources", MOST, desired);
    Some(Ask {
        prune: fields.flag("prune").unwrap_or(false),
        dry_run: fields.flag("dryRun").unwrap_or(false),
        expected: fields.number("expectedPosition", 0..=i64::MAX as u64).map(|at| Offset(at as i64)),
        desired: desired?,
    })
}

fn desired(fields: &mut Fields) -> Option<Desired> {
    for name in ["kind", "id", "spec"] {
        fields.require(name);
    }
    let kinds: Vec<(&str, Kind)> = Kind::configuration().map(|kind| (kind.name(), kind)).collect();
    let kind = fields.choice("kind", &kinds);
    let id = fields.id("id", ResourceId::parse);
    let spec = fields.map("spec").map(Value::Object);
    Some(Desired { key: Key { kind: kind?, id: id? }, spec: spec? })
}

#[derive(Debug, Serialize)]
pub(super) struct Applied {
    plan: Vec<Shown>,
    applied: bool,
    position: Offset,
}

#[derive(Debug, Serialize)]
struct Shown {
    action: Verb,
    kind: &'static str,
    id: ResourceId,
    diff: Vec<Difference>,
}

async fn run(
    State(api): State<ApiState>,
    params: Params,
    by: Origin,
    LargeJsonBody(body): LargeJsonBody,
) -> Result<Json<Applied>, ApiError> {
    params.finish()?;
    let mut ask = read(body).map_err(ApiError::invalid)?;
    for one in ask.desired.iter_mut().filter(|one| one.key.kind == Kind::OutboundIntegration) {
        if let Value::Object(fields) = &mut one.spec
            && fields.get("retry").is_none_or(Value::is_null)
        {
            fields.insert("retry".to_owned(), api.default_retry());
        }
    }
    let ask = Arc::new(ask);
    for _ in 0..TRIES {
        let snapshot = api.snapshot()?;
        if let Some(planned) = ask.expected.filter(|expected| snapshot.changed() > *expected) {
            return Err(WriteError::Moved { planned, actual: snapshot.changed() }.into());
        }
        let plan = planned(&api, &ask, &snapshot).await?;
        if ask.dry_run {
            return Ok(told(plan, false, snapshot.changed()));
        }
        match write(&api, &plan, snapshot.changed(), &by).await {
            Ok(()) => return Ok(told(plan, true, api.snapshot()?.changed())),
            Err(WriteError::Moved { .. }) if ask.expected.is_none() => {}
            Err(error) => return Err(refused(error, &plan)),
        }
    }
    Err(ApiError::unavailable("the catalog is changed too often to be planned over; try again"))
}

fn read(body: Value) -> Result<Ask, Vec<Problem>> {
    let mut fields = Fields::of(body)?;
    let asked = ask(&mut fields);
    fields.finish(asked)
}

/// On a thread of its own kind: a large plan takes seconds of computing.
async fn planned(api: &ApiState, ask: &Arc<Ask>, snapshot: &Arc<Snapshot>) -> Result<Plan, ApiError> {
    let (api, ask, snapshot) = (api.clone(), Arc::clone(ask), Arc::clone(snapshot));
    let planning = tokio::task::spawn_blocking(move || {
        // Nothing is dated by a plan.
        let basis = Basis { snapshot: &snapshot, now: Timestamp::default(), keyring: api.writer.keyring() };
        apply::plan(&ask.desired, ask.prune, basis)
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
    let changes: Vec<Change> = plan.steps.iter().filter_map(|step| step.change.clone()).collect();
    if !changes.is_empty() {
        return api.writer.write_planned(&changes, planned, by).await.map(drop);
    }
    api.catalog.catch_up(&*api.log, CURRENT_WITHIN).await?;
    match api.catalog.snapshot().changed() {
        actual if actual > planned => Err(WriteError::Moved { planned, actual }),
        _ => Ok(()),
    }
}

fn told(plan: Plan, applied: bool, position: Offset) -> Json<Applied> {
    let shown =
        |step: apply::Step| Shown { action: step.verb, kind: step.key.kind.name(), id: step.key.id, diff: step.diff };
    Json(Applied { plan: plan.steps.into_iter().map(shown).collect(), applied, position })
}

/// By its place in the request.
fn problem(fault: Fault) -> Problem {
    let Fault { at, problem } = fault;
    match at {
        Some(at) => Problem::new(format!("resources[{at}].{}", problem.path), problem.message),
        None => Problem::new("prune", problem.message),
    }
}

/// What was planned over the same catalog fits it: a refusal is of what no plan sees, and names its resource all the same.
fn refused(error: WriteError, plan: &Plan) -> ApiError {
    let place = match &error {
        WriteError::Refused { at, .. } => plan.steps.iter().filter(|step| step.change.is_some()).nth(*at),
        _ => None,
    };
    let mut answer = ApiError::from(error);
    if let Some((at, kind)) = place.and_then(|step| Some((step.at?, step.key.kind))) {
        let path = |field: &str| format!("resources[{at}].{}", apply::place(kind, field));
        answer.details.iter_mut().for_each(|detail| detail.path = path(&detail.path));
    }
    answer
}

#[derive(Debug, Serialize)]
pub(super) struct Exported {
    resources: Vec<Value>,
    position: Offset,
}

async fn export_all(State(api): State<ApiState>, mut params: Params) -> Result<Json<Exported>, ApiError> {
    let org = params.org();
    let kind = params.parsed("kind", |name| {
        let known = || Kind::configuration().map(Kind::name).collect::<Vec<_>>().join(", ");
        let found = Kind::parse(name).filter(|kind| kind.is_configuration());
        found.ok_or_else(|| format!("must be one of {}", known()))
    });
    params.finish()?;
    let snapshot = api.snapshot()?;
    let kinds = Kind::configuration().filter(|one| kind.is_none_or(|kind| kind == *one));
    let all = kinds.flat_map(|kind| snapshot.all(kind).values());
    let theirs = all.filter(|one| org.as_ref().is_none_or(|org| one.org() == Some(org)));
    Ok(Json(Exported { resources: theirs.map(apply::exported).collect(), position: snapshot.changed() }))
}
