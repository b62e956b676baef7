//! What a resource was: its versions, and the way back to one. History has them, as long as it keeps the audit.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use super::found::{Found, Sought};
use super::{Served, Spoken, issue};
use crate::api::answer::{self, Shown};
use crate::api::conditions::if_match;
use crate::api::door::{Access, Answer, Door, form, get, post};
use crate::api::error::{ApiError, Code};
use crate::api::history::audit::{changes, json};
use crate::api::history::changes::Changes;
use crate::api::history::paging::{self, Paging};
use crate::api::history::store;
use crate::api::json::JsonBody;
use crate::api::listing::Page;
use crate::api::params::Params;
use crate::api::spec::{has, page};
use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change};
use crate::catalog::diff::Changed;
use crate::catalog::fields::Fields;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::schema::describe;
use crate::history::rows::Audited;
use crate::history::store::{AuditFilter, Lifetime, Page as Asked};
use crate::model::ids::OrgId;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

const DELETE: &str = "DELETE";

/// A version of a resource.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Version")]
pub(in crate::api) struct Item {
    /// Counts the changes of the resource.
    version: u64,
    /// When it came to be.
    at: Timestamp,
    /// Who made it: `user:ada`, `key:till`, `admin-key`.
    actor: String,
    /// What was done: `CREATE`, `UPDATE`, `ENABLE`, `DISABLE`, `RESTORE` or `RESEAL`.
    action: String,
    /// Fields that differ from the version before.
    changes: Vec<Changed>,
}

pub(in crate::api) fn schemas(all: &mut SchemaGenerator) {
    has::<Item>(all);
}

/// `reads` and `changes` are those of the collection.
pub(super) fn routes(door: &mut Door, served: &Served, (reads, changes): (Access, Access)) {
    let Spoken { kind, tag, noun, one } = served.of.spoken();
    let list = get(format!("{one}/versions"), reads)
        .says(tag, format!("What one {noun} was, newest first, as far back as history keeps the audit."))
        .params(super::org_of(kind))
        .params(paging::params(true))
        .answers(Answer::json(200, "A page.", page("versions", "Version")));
    door.add(list, versions, served.clone());
    let read = get(format!("{one}/versions/{{version}}"), reads)
        .says(tag, format!("One {noun} as it was at a version."))
        .params(super::org_of(kind))
        .answers(Answer::json(200, "As it was.", form(tag)));
    door.add(read, version, served.clone());
    let back = post(format!("{one}/restore"), changes)
        .says(
            tag,
            format!(
                "Brings back what one {noun} was at a version, as a new version that has to be valid now; one that was deleted, \
                 too, unless `If-Match` is sent. A secret that cannot be opened any more stays as it is now.{}",
                about_return(kind)
            ),
        )
        .params(super::org_of(kind))
        .body(schema())
        .example(json!({"version": 1}))
        .answers(Answer::json(200, "As it is now.", issue::told(kind).unwrap_or_else(|| form(tag))).with_etag())
        .fails(&[409]);
    door.add(back, restore, served.clone());
}

/// What does not come back with a version.
fn about_return(kind: Kind) -> &'static str {
    match kind {
        Kind::User => {
            " Every session of the person ends. Who is disabled stays so. Who was deleted comes back without a password: set one \
             (PATCH `password`)."
        }
        Kind::ApiKey => {
            " A key that is disabled or has expired stays so. One that was deleted comes back as a new key, told here and never \
             again."
        }
        _ => "",
    }
}

fn schema() -> Value {
    let mut schema = Fields::sketch(ask);
    describe(&mut schema, &[("version", "The version whose state comes back.")]);
    schema
}

fn ask(fields: &mut Fields) -> Option<u64> {
    fields.require("version");
    fields.number("version", 1..=u64::from(u32::MAX))
}

async fn versions(
    State(served): State<Served>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Page<Item>>, ApiError> {
    let org = served.owner(&mut params);
    let paging = Paging::with_cursor(&mut params);
    params.finish()?;
    let of = lifetime(&served.visible(&id, org.as_ref())?);
    let changes = Changes::Versions(&of);
    let listed = changes.page(&*store(&served.api)?, &paging.asked()).await?;
    Ok(Json(paging.answer("versions", listed, |row| changes.place(row), item)))
}

fn item(row: Audited) -> Item {
    Item { changes: changes(&row), version: row.version, at: row.at, actor: row.actor, action: row.action }
}

async fn version(
    State(served): State<Served>,
    Path((_, version)): Path<(String, String)>,
    Found(is): Found,
) -> Result<Json<Shown>, ApiError> {
    let wrong = |_| ApiError::invalid(vec![Problem::new("version", "must be a whole number from 1 on")]);
    let state = served.state_at(&lifetime(&is), version.parse().map_err(wrong)?).await?;
    Ok(Json(Shown::recorded(served.of.kind, state)))
}

async fn restore(
    State(served): State<Served>,
    (sought, headers, by): (Sought, HeaderMap, Origin),
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body).map_err(ApiError::invalid)?;
    let asked = ask(&mut fields);
    let version = fields.finish(asked).map_err(ApiError::invalid)?;
    let condition = if_match(&headers);
    let (id, org, missing) = match sought {
        Sought::There(is) => {
            let state = served.state_at(&lifetime(&is), version).await?;
            return served.change(&is, (condition, Action::Restore(state)), &by).await;
        }
        Sought::Missing { id, org, error } => (id, org, error),
    };
    let (key, of) = served.deleted(&id, org.as_ref(), missing).await?;
    let mut state = served.state_at(&of, version).await?;
    let once = issue::reissue(&served.api, key.kind, &mut state).await?;
    let made = served.write(Change { key, of: None, condition, action: Action::Remake(state) }, &by).await?;
    let shown = once.into_iter().fold(served.told(&made).await, |shown, (name, value)| shown.once(name, value));
    Ok(answer::found(&made, shown))
}

/// What was of another resource under the same id is not told.
fn lifetime(of: &Resource) -> Lifetime {
    let key = of.key();
    Lifetime {
        kind: key.kind.to_string(),
        id: key.id.to_string(),
        org: of.org().map(ToString::to_string),
        made_at: of.revision.created_at,
    }
}

impl Served {
    /// The resource at a version as its record held it: with its secrets sealed and its hidden fields.
    async fn state_at(&self, of: &Lifetime, version: u64) -> Result<Value, ApiError> {
        let row = store(&self.api)?.version(of, version).await?;
        row.as_ref().and_then(|row| json(row.holds(version))).ok_or_else(|| {
            let noun = self.of.kind.noun();
            let message = format!(
                "history has no version {version} of {noun} `{}`; it is a second or so behind, and keeps versions for as long as \
                 the audit",
                of.id
            );
            ApiError::new(Code::NotFound, message)
        })
    }

    /// The resource that had this id last; `missing` where there was none that the caller might have seen.
    async fn deleted(&self, id: &str, org: Option<&OrgId>, missing: ApiError) -> Result<(Key, Lifetime), ApiError> {
        let snapshot = self.api.snapshot()?;
        let key = Key::of(self.of.kind, id).filter(|key| snapshot.get(key).is_none());
        let Some(key) = key else { return Err(missing) };
        let filter = AuditFilter {
            kind: Some(key.kind.to_string()),
            id: Some(id.to_owned()),
            action: Some(DELETE.to_owned()),
            org: org.cloned(),
            ..AuditFilter::default()
        };
        let listed = store(&self.api)?.audit(&filter, &Asked { limit: 1, ..Asked::default() }).await?;
        match listed.items.into_iter().next().and_then(|row| Some((row.made_at?, row))) {
            Some((made_at, row)) => Ok((key, Lifetime { kind: row.kind, id: row.id, org: row.org, made_at })),
            None => Err(missing),
        }
    }
}
