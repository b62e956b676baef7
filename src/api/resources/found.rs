//! The resource that a request is of.

use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Served;
use crate::api::error::{ApiError, Code};
use crate::api::params::Params;
use crate::catalog::audit::Origin;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::kinds::typed;
use crate::catalog::resource::Resource;
use crate::model::ids::OrgId;

/// The id in the path, whatever else is in it.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// The resource that the path names, as it is now; `orgId` is the only parameter of such a route.
pub(super) struct Found(pub Resource);

/// What tells of a change beside its body: the resource, the conditions, and who asks.
pub(super) type Ask = (Found, HeaderMap, Origin);

impl FromRequestParts<Served> for Found {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Response> {
        let (id, org) = wanted(parts, served).await?;
        served.visible(&id, org.as_ref()).map(Found).map_err(IntoResponse::into_response)
    }
}

/// The same, or the name of what is there no more.
pub(super) enum Sought {
    There(Resource),
    Missing { id: String, org: Option<OrgId>, error: ApiError },
}

impl FromRequestParts<Served> for Sought {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Response> {
        let (id, org) = wanted(parts, served).await?;
        match served.visible(&id, org.as_ref()) {
            Ok(found) => Ok(Sought::There(found)),
            Err(error) if error.code == Code::NotFound => Ok(Sought::Missing { id, org, error }),
            Err(error) => Err(error.into_response()),
        }
    }
}

async fn wanted(parts: &mut Parts, served: &Served) -> Result<(String, Option<OrgId>), Response> {
    let path = Path::<Named>::from_request_parts(parts, served).await;
    let Path(Named { id }) = path.map_err(IntoResponse::into_response)?;
    let Ok(mut params) = Params::from_request_parts(parts, served).await;
    let org = served.owner(&mut params);
    params.finish().map_err(IntoResponse::into_response)?;
    Ok((id, org))
}

impl Served {
    /// The organization that the URL names.
    pub(super) fn owner(&self, params: &mut Params) -> Option<OrgId> {
        (self.of.kind != Kind::Organization).then(|| params.org()).flatten()
    }

    /// The resource of this id, or of this event type where it is known by that; one of another organization than the URL names
    /// is not there.
    pub(super) fn visible(&self, id: &str, org: Option<&OrgId>) -> Result<Resource, ApiError> {
        let kind = self.of.kind;
        let snapshot = self.api.snapshot()?;
        let found = Key::of(kind, id).and_then(|key| snapshot.get(&key).cloned());
        let found = found.filter(|found| org.is_none_or(|org| found.org() == Some(org)));
        let found = found.or_else(|| {
            let key = snapshot.holders(kind, &typed(org.filter(|_| self.of.is_typed())?, id)).next()?;
            snapshot.get(key).cloned()
        });
        found.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no {} `{id}`", kind.noun())))
    }
}
