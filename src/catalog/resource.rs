//! Resources of the catalog as one mechanism. A kind is a type with a module of its own (its JSON form, its rules, its
//! references); it joins by an arm in each `match` here.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::catalog::fields::Fields;
use crate::catalog::snapshot::Snapshot;
use crate::catalog::{integration, organization};
use crate::model::ids::{IntegrationId, OrgId};
use crate::model::integration::OutboundIntegration;
use crate::model::org::Organization;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Organization,
    OutboundIntegration,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Organization => "Organization",
            Kind::OutboundIntegration => "OutboundIntegration",
        }
    }

    /// Reads the JSON form of a resource of this kind.
    ///
    /// # Errors
    /// Everything that is wrong with it (the first hundred), each with its path.
    pub fn read(self, json: Value) -> Result<Resource, Vec<Problem>> {
        let mut fields = Fields::of(json)?;
        match self {
            Kind::Organization => {
                let read = organization::read(&mut fields);
                fields.finish(read).map(|org| Resource::Organization(Arc::new(org)))
            }
            Kind::OutboundIntegration => {
                let read = integration::read(&mut fields);
                fields.finish(read).map(|one| Resource::OutboundIntegration(Arc::new(one)))
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which resource: the key of its record, `OutboundIntegration/bills`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Organization(OrgId),
    OutboundIntegration(IntegrationId),
}

impl Key {
    pub const fn kind(&self) -> Kind {
        match self {
            Key::Organization(_) => Kind::Organization,
            Key::OutboundIntegration(_) => Kind::OutboundIntegration,
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Key::Organization(id) => id.as_str(),
            Key::OutboundIntegration(id) => id.as_str(),
        }
    }

    /// The key of a record; `None` for kinds and ids that this version does not know.
    pub fn parse(text: &str) -> Option<Key> {
        match text.split_once('/')? {
            ("Organization", id) => OrgId::parse(id).ok().map(Key::Organization),
            ("OutboundIntegration", id) => IntegrationId::parse(id).ok().map(Key::OutboundIntegration),
            _ => None,
        }
    }

    /// The resource of this key, as the snapshot has it.
    pub fn find(&self, snapshot: &Snapshot) -> Option<Resource> {
        match self {
            Key::Organization(id) => snapshot.organization(id).cloned().map(Resource::Organization),
            Key::OutboundIntegration(id) => snapshot.integration(id).cloned().map(Resource::OutboundIntegration),
        }
    }

    pub fn remove(&self, snapshot: &mut Snapshot) {
        match self {
            Key::Organization(id) => snapshot.remove_organization(id),
            Key::OutboundIntegration(id) => snapshot.remove_integration(id),
        }
    }

    /// Its newest record cannot be read here. What was known of it stays, and its absence says nothing.
    pub fn set_unreadable(&self, snapshot: &mut Snapshot) {
        if let Key::OutboundIntegration(id) = self {
            snapshot.set_unreadable(id);
        }
    }

    /// What else in the catalog would be left without it: at most `max` names, and how many there are.
    pub fn referrers(&self, snapshot: &Snapshot, max: usize) -> (Vec<String>, usize) {
        match self {
            Key::Organization(id) => match snapshot.org(id) {
                Some(view) => {
                    let names = view.integrations().values().take(max).map(|one| one.id.to_string()).collect();
                    (names, view.integrations().len())
                }
                None => (Vec::new(), 0),
            },
            Key::OutboundIntegration(_) => (Vec::new(), 0),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.id())
    }
}

/// A resource of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    Organization(Arc<Organization>),
    OutboundIntegration(Arc<OutboundIntegration>),
}

/// What the catalog itself says of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Resource {
    pub fn key(&self) -> Key {
        match self {
            Resource::Organization(org) => Key::Organization(org.org_id.clone()),
            Resource::OutboundIntegration(one) => Key::OutboundIntegration(one.id.clone()),
        }
    }

    pub fn org_id(&self) -> &OrgId {
        match self {
            Resource::Organization(org) => &org.org_id,
            Resource::OutboundIntegration(one) => &one.org_id,
        }
    }

    pub fn revision(&self) -> Revision {
        let of = |version, created_at, updated_at| Revision { version, created_at, updated_at };
        match self {
            Resource::Organization(org) => of(org.version, org.created_at, org.updated_at),
            Resource::OutboundIntegration(one) => of(one.version, one.created_at, one.updated_at),
        }
    }

    pub fn revised(self, revision: Revision) -> Resource {
        match self {
            Resource::Organization(mut org) => {
                let new = Arc::make_mut(&mut org);
                (new.version, new.created_at, new.updated_at) =
                    (revision.version, revision.created_at, revision.updated_at);
                Resource::Organization(org)
            }
            Resource::OutboundIntegration(mut one) => {
                let new = Arc::make_mut(&mut one);
                (new.version, new.created_at, new.updated_at) =
                    (revision.version, revision.created_at, revision.updated_at);
                Resource::OutboundIntegration(one)
            }
        }
    }

    /// What is wrong with its references to other resources.
    pub fn check(&self, snapshot: &Snapshot) -> Vec<Problem> {
        match self {
            Resource::Organization(_) => Vec::new(),
            Resource::OutboundIntegration(one) => integration::check(one, snapshot),
        }
    }

    pub fn put(self, snapshot: &mut Snapshot) {
        match self {
            Resource::Organization(org) => snapshot.put_organization(org),
            Resource::OutboundIntegration(one) => snapshot.put_integration(one),
        }
    }

    /// The JSON form as bytes: the value of its record.
    pub fn to_bytes(&self) -> Bytes {
        // Text keys and plain values only: there is nothing in it that JSON cannot say.
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }
}

impl Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Resource::Organization(org) => organization::form(org).serialize(serializer),
            Resource::OutboundIntegration(one) => integration::form(one).serialize(serializer),
        }
    }
}
