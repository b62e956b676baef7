//! `/api/v1/admin/audit`: who changed what.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::changes::Changes;
use super::paging::{self, Paging};
use super::{one_word, span, store};
use crate::api::ApiState;
use crate::api::answer::Shown;
use crate::api::door::{Access, Answer, Door, Param, get};
use crate::api::error::ApiError;
use crate::api::listing::Page;
use crate::api::params::Params;
use crate::api::spec::page;
use crate::catalog::audit::Deed;
use crate::catalog::diff::{Changed, diff};
use crate::catalog::kind::Kind;
use crate::history::rows::Audited;
use crate::history::store::AuditFilter;

/// A change of the configuration.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEntry")]
pub(super) struct Item {
    /// Its own id.
    id: String,
    /// When.
    at: crate::model::time::Timestamp,
    /// Who: `user:ada`, `key:till`, `admin-key`.
    actor: String,
    /// What was done: `CREATE`, `UPDATE`, `ENABLE`, `DISABLE`, `DELETE`, `RESTORE`, `RESEAL`; or `VIEW`: a payload was seen; or
    /// `REDRIVE`: a dead letter was put back.
    action: String,
    /// The kind of the resource; of a view `Event`, `Delivery` or `Rejected`; of what was put back `Delivery`.
    kind: String,
    /// The resource; of a view the event, the delivery, or the first and the last of the records; of what was put back the
    /// delivery.
    resource_id: String,
    /// The organization that it belongs to.
    org_id: Option<String>,
    /// Its version afterwards or, deleted, the last one. 0 where there is no resource.
    version: u64,
    /// As it was, secrets masked; null: it was made, or its kind is not known here.
    #[schemars(with = "Option<Value>")]
    before: Option<Shown>,
    /// As it is afterwards, secrets masked; null: it was deleted, or its kind is not known here.
    #[schemars(with = "Option<Value>")]
    after: Option<Shown>,
    /// Fields that changed, of one that was there before and after. That a password or the sessions of a user are others now is
    /// told as `password` and `sessions`, and nothing more of them.
    changes: Vec<Changed>,
    /// From which address.
    address: Option<String>,
    /// The request, as logs name it.
    request_id: Option<String>,
}

/// The parameters that `list` reads.
fn params() -> Vec<Param> {
    let own = [
        Param::org("Of resources of this organization."),
        Param::text("actor", "By this one: `user:ada`, `key:till`, `admin-key`."),
        Param::one_of("action", "Where this was done.", Deed::WORDS),
        Param::text("kind", "Of resources of this kind: `OutboundIntegration`."),
        Param::text("id", "Of the resource with this id."),
    ];
    own.into_iter().chain(super::dates()).chain(paging::params(true)).collect()
}

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let many = get("/api/v1/admin/audit", Access::Oversee)
        .says(
            "Audit",
            "Changes of the configuration and views of payloads, newest first: who, what, from where. A page of large resources ends \
             early: go on with `nextCursor`.",
        )
        .params(params())
        .answers(Answer::json(200, "A page.", page("audit", "AuditEntry")));
    door.add(many, list, state.clone());
}

pub async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Page<impl Serialize>>, ApiError> {
    let (since, until) = span(&mut params);
    // Whether it is a word that is known; kinds of later versions may be asked for.
    let known: Option<Deed> = one_word(&mut params, "action", Deed::WORDS);
    let filter = AuditFilter {
        org: params.org(),
        kind: params.text("kind"),
        id: params.text("id"),
        actor: params.text("actor"),
        action: known.map(word),
        since,
        until,
    };
    let paging = Paging::with_cursor(&mut params);
    params.finish()?;
    let changes = Changes::Of(&filter);
    let listed = changes.page(&*store(&state)?, &paging.asked()).await?;
    Ok(Json(paging.answer("audit", listed, |row| changes.place(row), item)))
}

fn word(deed: Deed) -> String {
    serde_json::to_value(deed).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn item(row: Audited) -> Item {
    let shown = |text: &Option<String>| Some(Shown::recorded(Kind::parse(&row.kind)?, json(text.as_deref())?));
    Item {
        id: row.name(),
        before: shown(&row.before),
        after: shown(&row.after),
        changes: changes(&row),
        at: row.at,
        actor: row.actor,
        action: row.action,
        kind: row.kind,
        resource_id: row.id,
        org_id: row.org,
        version: row.version,
        address: row.address,
        request_id: row.request_id,
    }
}

pub(in crate::api) fn json(text: Option<&str>) -> Option<Value> {
    serde_json::from_str(text?).ok()
}

/// Which fields a change has changed.
pub(in crate::api) fn changes(row: &Audited) -> Vec<Changed> {
    let told = || {
        let (before, after) = (json(row.before.as_deref())?, json(row.after.as_deref())?);
        Some(diff(Kind::parse(&row.kind)?, &before, &after))
    };
    told().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::facts::from_word;

    #[test]
    fn every_word_of_an_action_is_one() {
        for told in Deed::WORDS.split(", ") {
            assert_eq!(from_word::<Deed>(told).map(word).as_deref(), Some(told));
        }
    }
}
