//! Records of `audit`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::place;
use crate::history::rows::Audited;
use crate::model::record::Received;
use crate::model::time::Timestamp;

/// The value of a record; words of later versions are kept as they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    at: Timestamp,
    actor: String,
    address: Option<String>,
    request_id: Option<String>,
    action: String,
    kind: String,
    id: String,
    org_id: Option<String>,
    version: u64,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    created_at: Option<Timestamp>,
}

pub(super) fn audited(received: &Received) -> Option<Audited> {
    let told: Told = serde_json::from_slice(received.record.value.as_deref()?).ok()?;
    let made = told.after.or(told.before).and_then(|raw| serde_json::from_str::<Made>(raw.get()).ok());
    let owned = |raw: Option<&RawValue>| raw.map(|raw| raw.get().to_owned());
    Some(Audited {
        place: place(received),
        at: told.at,
        actor: told.actor,
        action: told.action,
        kind: told.kind,
        id: told.id,
        org: told.org_id,
        version: told.version,
        made_at: made.and_then(|made| made.created_at),
        address: told.address,
        request_id: told.request_id,
        before: owned(told.before),
        after: owned(told.after),
    })
}
