//! What a change of the catalog comes to: a pure decision over a snapshot.

use std::sync::Arc;

use crate::catalog::resource::{Key, Resource, Revision};
use crate::catalog::snapshot::Snapshot;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

/// How many referrers an error names.
const NAMED: usize = 20;

/// One change of one resource.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: Key,
    pub condition: Condition,
    pub action: Action,
}

/// What the caller believes to be there (`If-Match`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    None,
    /// One of these versions.
    Versions(Vec<u64>),
}

#[derive(Clone, Debug)]
pub enum Action {
    Create(Resource),
    Replace(Resource),
    SetActive(bool),
    Delete,
}

/// Why a change is refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{} fields are not valid", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no {} `{}`", .0.kind(), .0.id())]
    NotFound(Key),
    #[error("{} `{}` exists already", .0.kind(), .0.id())]
    Exists(Key),
    #[error("{} `{}` is at version {actual}, not at the one given in If-Match", key.kind(), key.id())]
    VersionMismatch { key: Key, actual: u64 },
    /// `by` names at most 20 of `count`.
    #[error("{} `{}` is used by {count} integrations; delete them first", key.kind(), key.id())]
    Referenced { key: Key, by: Vec<String>, count: usize },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Put(Resource),
    /// Of the resource as it was.
    Remove(Resource),
    /// It is so already.
    Unchanged(Resource),
}

impl Change {
    pub fn decide(&self, snapshot: &Snapshot, now: Timestamp) -> Result<Decision, Refusal> {
        let current = self.key.find(snapshot);
        if let Action::Create(new) = &self.action {
            if current.is_some() {
                return Err(Refusal::Exists(self.key.clone()));
            }
            let first = Revision { version: 1, created_at: now, updated_at: now };
            return valid(new, None, snapshot).map(|new| Decision::Put(new.revised(first)));
        }
        let current = current.ok_or_else(|| Refusal::NotFound(self.key.clone()))?;
        self.check_version(&current)?;
        match &self.action {
            Action::Create(new) | Action::Replace(new) => {
                let new = valid(new, Some(&current), snapshot)?;
                Ok(Decision::Put(new.revised(next(&current, now))))
            }
            Action::SetActive(active) => set_active(current, *active, now),
            Action::Delete => match self.key.referrers(snapshot, NAMED) {
                (_, 0) => Ok(Decision::Remove(current)),
                (by, count) => Err(Refusal::Referenced { key: self.key.clone(), by, count }),
            },
        }
    }

    fn check_version(&self, current: &Resource) -> Result<(), Refusal> {
        let actual = current.revision().version;
        match &self.condition {
            Condition::Versions(versions) if !versions.contains(&actual) => {
                Err(Refusal::VersionMismatch { key: self.key.clone(), actual })
            }
            Condition::Versions(_) | Condition::None => Ok(()),
        }
    }
}

fn next(current: &Resource, now: Timestamp) -> Revision {
    let Revision { version, created_at, updated_at } = current.revision();
    // A clock that was set back must not make a resource younger.
    Revision { version: version + 1, created_at, updated_at: now.max(updated_at) }
}

fn valid(new: &Resource, current: Option<&Resource>, snapshot: &Snapshot) -> Result<Resource, Refusal> {
    let mut problems = new.check(snapshot);
    if let Some(current) = current.filter(|current| current.org_id() != new.org_id()) {
        let message = format!("cannot be changed: it belongs to organization `{}`", current.org_id());
        problems.push(Problem::new("orgId", message));
    }
    if problems.is_empty() { Ok(new.clone()) } else { Err(Refusal::Invalid(problems)) }
}

fn set_active(current: Resource, active: bool, now: Timestamp) -> Result<Decision, Refusal> {
    let revision = next(&current, now);
    match current {
        Resource::OutboundIntegration(one) if one.is_active == active => {
            Ok(Decision::Unchanged(Resource::OutboundIntegration(one)))
        }
        Resource::OutboundIntegration(mut one) => {
            Arc::make_mut(&mut one).is_active = active;
            Ok(Decision::Put(Resource::OutboundIntegration(one).revised(revision)))
        }
        Resource::Organization(_) => {
            Err(Refusal::Invalid(vec![Problem::new("isActive", "is no field of an organization")]))
        }
    }
}
