//! One resource, or a page of them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::Served;
use super::filter::Filter;
use super::found::{Ask, Found};
use super::issue::issue;
use crate::api::answer::{self, Shown};
use crate::api::conditions::if_match;
use crate::api::door::Principal;
use crate::api::draft::Draft;
use crate::api::error::ApiError;
use crate::api::json::JsonBody;
use crate::api::listing::{Listing, Page};
use crate::api::params::Params;
use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::RETRY_DELAYS;
use crate::catalog::resource::Resource;

/// How long an answer waits for when something came in last.
const TOLD_WITHIN: Duration = Duration::from_millis(250);
/// Characters of a name that a copy keeps, so that its own is not too long.
const LONGEST_TITLE: usize = 190;

pub async fn list(State(served): State<Served>, mut params: Params) -> Result<Json<Page<Shown>>, ApiError> {
    let listing = Listing::of(&mut params);
    let filter = Filter::of(served.of.kind, &mut params);
    params.finish()?;
    let snapshot = served.api.snapshot()?;
    let all = snapshot.all(served.of.kind).values().filter(|resource| filter.takes(resource, &listing));
    let mut page = listing.page(served.of.items, all, |resource| served.shown(resource));
    served.tell_uses(&mut page.items).await;
    Ok(Json(page))
}

pub async fn create(
    State(served): State<Served>,
    mut params: Params,
    by: Origin,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let org = served.owner(&mut params);
    params.finish()?;
    let issued = issue(&served.api, served.of.kind, (&mut body, None)).await?;
    let draft = match &org {
        Some(org) => served.draft(body).fix("orgId", org.as_str()),
        None => served.draft(body),
    };
    let draft = draft.made(issued.fields);
    let draft = match served.of.kind {
        Kind::Organization | Kind::OrgUnit => draft,
        _ => draft.default("id", || Uuid::now_v7().to_string().into()),
    };
    let (key, json) = draft.named()?;
    let made =
        served.write(Change { key, of: None, condition: Condition::None, action: Action::Create(json) }, &by).await?;
    let shown = served.told(&made).await;
    let shown = issued.once.into_iter().fold(shown, |shown, (name, value)| shown.once(name, value));
    Ok(answer::created(served.of.path, &made, shown))
}

pub async fn one(State(served): State<Served>, Found(is): Found) -> Response {
    answer::found(&is, served.told(&is).await)
}

pub async fn replace(
    State(served): State<Served>,
    (Found(was), headers, by): Ask,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let issued = issue(&served.api, served.of.kind, (&mut body, Some(&was))).await?;
    let draft = served.draft(body).fix(served.of.kind.id_field(), was.key().id.as_str()).made(issued.fields);
    let draft = match was.org() {
        Some(org) => draft.default("orgId", || org.as_str().into()),
        None => draft,
    };
    let (_, json) = draft.named()?;
    served.change(&was, (if_match(&headers), Action::Replace(json)), &by).await
}

pub async fn merge(
    State(served): State<Served>,
    (Found(was), headers, by): Ask,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let issued = issue(&served.api, served.of.kind, (&mut body, Some(&was))).await?;
    let draft = served.changed(body).only_same(served.of.kind.id_field(), was.key().id.as_str());
    let patch = draft.made(issued.fields).patch()?;
    served.change(&was, (if_match(&headers), Action::Merge(patch)), &by).await
}

pub async fn enable(State(served): State<Served>, ask: Ask) -> Result<Response, ApiError> {
    served.set_active(true, ask).await
}

pub async fn disable(State(served): State<Served>, ask: Ask) -> Result<Response, ApiError> {
    served.set_active(false, ask).await
}

pub async fn delete(State(served): State<Served>, (Found(was), headers, by): Ask) -> Result<StatusCode, ApiError> {
    served.write(Change::of(&was, if_match(&headers), Action::Delete), &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A copy under another id: disabled where that can be, so that nothing is delivered twice unasked.
pub async fn duplicate(
    State(served): State<Served>,
    (Found(was), _, by): Ask,
    who: Principal,
    body: Option<JsonBody>,
) -> Result<Response, ApiError> {
    let kind = served.of.kind;
    let mut json = was.to_json();
    let new = Uuid::now_v7().to_string();
    let name = format!("{} (copy)", was.title().chars().take(LONGEST_TITLE).collect::<String>());
    let mut own = json!({"name": name, "isActive": false, kind.id_field(): new.clone()});
    if let Value::Object(own) = &mut own {
        own.retain(|field, _| json.get(field).is_some());
    }
    crate::catalog::merge::merge(&mut json, own);
    if let Some(JsonBody(changes)) = body {
        crate::catalog::merge::merge(&mut json, changes);
    }
    let draft = served.draft(json).default(kind.id_field(), || new.into());
    let draft = match was.org() {
        Some(org) => draft.default("orgId", || org.as_str().into()),
        None => draft,
    };
    let draft = match &who.org {
        Some(own) => draft.fix("orgId", own.as_str()),
        None => draft,
    };
    let (key, json) = draft.named()?;
    let made =
        served.write(Change { key, of: None, condition: Condition::None, action: Action::Create(json) }, &by).await?;
    Ok(answer::created(served.of.path, &made, served.shown(&made)))
}

impl Served {
    pub(super) fn shown(&self, resource: &Resource) -> Shown {
        Shown::of(&self.api.as_it_holds(resource))
    }

    /// One resource, and when it came in last.
    pub(super) async fn told(&self, resource: &Resource) -> Shown {
        let mut shown = [self.shown(resource)];
        // What was written is answered whether or not a busy history has the time to be asked.
        let _ = timeout(TOLD_WITHIN, self.tell_uses(&mut shown)).await;
        let [shown] = shown;
        shown
    }

    /// Says when each came in last: what history knows, where it is here. An id that another had before knows nothing of it.
    async fn tell_uses(&self, shown: &mut [Shown]) {
        let Some((name, _)) = self.of.kind.told() else { return };
        let last = {
            let ids: Vec<&str> = shown.iter().map(Shown::id).collect();
            let uses = &self.api.credentials.uses;
            uses.last(&self.api.history, (self.of.kind, &ids)).await.unwrap_or_default()
        };
        for one in shown {
            let at = last.get(one.id()).copied().filter(|at| one.created_at().is_none_or(|made| made <= *at));
            one.tell(name, at);
        }
    }

    /// A body that says nothing of retries means the topology's.
    fn draft(&self, body: Value) -> Draft {
        let draft = Draft::new(self.of.kind, body);
        match self.of.kind {
            Kind::OutboundIntegration => draft.default("retry", || self.api.default_retry()),
            _ => draft,
        }
    }

    /// A body that changes what it names: retries that it says are null are the topology's, whole.
    fn changed(&self, mut body: Value) -> Draft {
        let retries = (self.of.kind == Kind::OutboundIntegration).then(|| body.get_mut("retry")).flatten();
        if let Some(retry) = retries.filter(|retry| retry.is_null()) {
            *retry = self.api.default_retry();
            if let Value::Object(policy) = retry {
                for delays in RETRY_DELAYS {
                    policy.entry(delays).or_insert(Value::Null);
                }
            }
        }
        Draft::new(self.of.kind, body)
    }

    async fn set_active(&self, active: bool, (Found(was), headers, by): Ask) -> Result<Response, ApiError> {
        self.change(&was, (if_match(&headers), Action::SetActive(active)), &by).await
    }

    pub(super) async fn change(
        &self,
        was: &Resource,
        (condition, action): (Condition, Action),
        by: &Origin,
    ) -> Result<Response, ApiError> {
        let made = self.write(Change::of(was, condition, action), by).await?;
        Ok(answer::found(&made, self.told(&made).await))
    }

    pub(super) async fn write(&self, change: Change, by: &Origin) -> Result<Resource, ApiError> {
        Ok(self.api.writer.write(change, by).await?)
    }
}
