//! Who changed what: a record beside each change of the catalog, in the same transaction. And who has seen which payload.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::change::{Action, Decision};
use crate::catalog::kind::Key;
use crate::catalog::resource::Resource;
use crate::model::record::{Headers, Output, Record};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;

/// Who asks for a change, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// `user:ada`, `key:till`, or `admin-key`.
    pub actor: String,
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
}

/// What was done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Deed {
    Create,
    Update,
    Enable,
    Disable,
    Delete,
    /// An earlier version came back, or what was deleted.
    Restore,
    /// The secrets were sealed under another key.
    Reseal,
    /// Somebody has seen a payload. Of no resource: `id` is that of the event, the delivery or the rejected records.
    View,
    /// Somebody has put a dead letter back. Of no resource: `id` is that of the delivery.
    Redrive,
}

impl Deed {
    /// The words of all.
    pub const WORDS: &str = "CREATE, UPDATE, ENABLE, DISABLE, DELETE, RESTORE, RESEAL, VIEW, REDRIVE";
}

/// A change that is to be written, with what it comes to.
#[derive(Clone, Debug)]
pub struct Made {
    pub key: Key,
    pub deed: Deed,
    pub decision: Decision,
}

/// The value of a record of the topic `audit`, whose key is the actor. Secrets in it are sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub at: Timestamp,
    #[serde(flatten)]
    pub origin: Origin,
    pub action: Deed,
    pub kind: String,
    pub id: String,
    pub org_id: Option<String>,
    /// As it is afterwards or, deleted, as it was. 0: of no resource.
    pub version: u64,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl From<&Action> for Deed {
    fn from(action: &Action) -> Deed {
        match action {
            Action::Create(_) => Deed::Create,
            Action::Replace(_) | Action::Merge(_) => Deed::Update,
            Action::SetActive(true) => Deed::Enable,
            Action::SetActive(false) => Deed::Disable,
            Action::Delete => Deed::Delete,
            Action::Restore(_) | Action::Remake(_) => Deed::Restore,
            Action::Reseal => Deed::Reseal,
        }
    }
}

impl Entry {
    /// `None` where nothing changes.
    pub fn of(made: &Made, (origin, at): (&Origin, Timestamp)) -> Option<Entry> {
        let Made { key, deed, decision } = made;
        let (before, after) = match decision {
            Decision::Put { was, is } => (was.as_ref(), Some(is)),
            Decision::Remove(was) => (Some(was), None),
            Decision::Unchanged(_) => return None,
        };
        let resource = decision.resource();
        Some(Entry {
            at,
            origin: origin.clone(),
            action: *deed,
            kind: key.kind.to_string(),
            id: key.id.to_string(),
            org_id: resource.org().map(ToString::to_string),
            version: resource.revision.version,
            before: before.map(Resource::to_json),
            after: after.map(Resource::to_json),
        })
    }

    pub fn record(&self) -> Output {
        // Text keys and plain values only: there is nothing in it that JSON cannot say.
        let value = serde_json::to_vec(self).map(Bytes::from).ok();
        let key = Some(Bytes::from(self.origin.actor.clone()));
        Output { topic: Topic::Audit, partition: None, record: Record { key, value, headers: Headers::default() } }
    }
}
