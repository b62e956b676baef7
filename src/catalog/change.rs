//! What a change of the catalog comes to: a pure decision over a snapshot.

use serde_json::Value;

use crate::catalog::kind::{Key, Kind};
use crate::catalog::kinds::check_below;
use crate::catalog::resource::{Body, Resource, Revision, Succession};
use crate::catalog::seal::Keyring;
use crate::catalog::snapshot::Snapshot;
use crate::catalog::{keep, merge};
use crate::model::ids::OrgId;
use crate::model::problem::{Problem, summary};
use crate::model::time::Timestamp;

/// How many referrers an error names.
const NAMED: usize = 20;
/// Of a resource's record. Twice this, and an audit of what it was and is, fit into the topics.
const MAX_BYTES: usize = 1_024 * 1_024;

/// Lists and objects within each other. What reads an export or an audit takes 128, and wraps this in some of its own.
const DEEPEST: usize = 100;

/// One change of one resource.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: Key,
    /// The resource that the caller was found to have to do with; `None`: whichever has the key.
    pub of: Option<Lifetime>,
    pub condition: Condition,
    pub action: Action,
}

/// Which of the resources that have had a key one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    org: Option<OrgId>,
    made_at: Timestamp,
}

impl Lifetime {
    fn of(resource: &Resource) -> Lifetime {
        Lifetime { org: resource.org().cloned(), made_at: resource.revision.created_at }
    }
}

/// What the caller believes to be there (`If-Match`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    None,
    /// One of these versions.
    Versions(Vec<Tag>),
}

/// A version as callers name it: its ETag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub version: u64,
    /// When the resource was made: versions begin anew with one that is made under the id of a deleted one. `None`: whichever
    /// has the id.
    pub made_at: Option<Timestamp>,
}

impl Tag {
    pub const fn of(revision: &Revision) -> Tag {
        Tag { version: revision.version, made_at: Some(revision.created_at) }
    }

    fn names(&self, revision: &Revision) -> bool {
        self.version == revision.version && self.made_at.is_none_or(|made_at| made_at == revision.created_at)
    }
}

/// JSON as a client sent it: what it may leave out or mask (`***`) is taken from the resource as it is when it is changed.
#[derive(Clone, Debug)]
pub enum Action {
    Create(Value),
    Replace(Value),
    /// RFC 7396.
    Merge(Value),
    SetActive(bool),
    Delete,
    /// An earlier version of it as its record held it, back. See `keep::revive`.
    Restore(Value),
    /// A version of what was deleted, back: whatever recognizes somebody is made anew in it.
    Remake(Value),
    /// Its secrets under the key that seals now.
    Reseal,
}

impl Action {
    /// Is the resource read anew from JSON?
    const fn is_written(&self) -> bool {
        match self {
            Action::Create(_) | Action::Replace(_) | Action::Merge(_) | Action::Restore(_) | Action::Remake(_) => true,
            Action::SetActive(_) | Action::Delete | Action::Reseal => false,
        }
    }
}

/// Why a change is refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{} fields are not valid", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no {}", .0.told())]
    NotFound(Key),
    #[error("{} exists already", .0.told())]
    Exists(Key),
    /// Another one of its kind has what only one may have.
    #[error("{}", summary(std::slice::from_ref(.0)))]
    Taken(Problem),
    #[error("{} is at version {actual} of what was made at {made_at}, not at the one given in If-Match", key.told())]
    VersionMismatch { key: Key, actual: u64, made_at: Timestamp },
    /// `by` names at most 20 of `count`.
    #[error("{} is used by {count} other resources; delete them first", key.told())]
    Referenced { key: Key, by: Vec<Key>, count: usize },
    #[error("{} cannot be disabled", .0.noun())]
    AlwaysActive(Kind),
    #[error("{} is the last ADMIN who can log in; make another with a password first", .0.told())]
    LastAdmin(Key),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Put {
        was: Option<Resource>,
        is: Resource,
    },
    /// Of the resource as it was.
    Remove(Resource),
    /// It is so already.
    Unchanged(Resource),
}

impl Decision {
    /// The resource as it will be or, deleted, as it was.
    pub fn resource(&self) -> &Resource {
        match self {
            Decision::Put { is, .. } => is,
            Decision::Remove(was) | Decision::Unchanged(was) => was,
        }
    }

    pub fn is_unchanged(&self) -> bool {
        matches!(self, Decision::Unchanged(_))
    }

    /// The same decision at another time.
    pub(super) fn dated(&self, now: Timestamp) -> Decision {
        let mut dated = self.clone();
        if let Decision::Put { was, is } = &mut dated {
            let made = was.as_ref().map_or(now, |was| was.revision.created_at);
            let before = was.as_ref().map_or(now, |was| was.revision.updated_at);
            is.revision = Revision { created_at: made, updated_at: now.max(before), ..is.revision };
        }
        dated
    }
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    pub snapshot: &'a Snapshot,
    pub now: Timestamp,
    /// `None`: nothing can be sealed, so no secret is taken.
    pub keyring: Option<&'a Keyring>,
}

/// Decides changes one after the other. They are one transaction: whether names that are referred to are there, and whether what
/// only one may have is had once, is asked of the catalog as all of them leave it.
///
/// # Errors
/// The first change that is refused, by its place.
pub fn decide(changes: &[Change], basis: Basis) -> Result<Vec<Decision>, (usize, Refusal)> {
    let mut after = basis.snapshot.clone();
    let mut decisions = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        let decision = change.decide(Basis { snapshot: &after, ..basis }).map_err(|refusal| (at, refusal))?;
        match &decision {
            Decision::Put { is, .. } => after.put(is.clone()),
            Decision::Remove(_) => after.remove(&change.key),
            Decision::Unchanged(_) => {}
        }
        decisions.push(decision);
    }
    for (at, (change, decision)) in changes.iter().zip(&decisions).enumerate() {
        change.fits(decision, (basis.snapshot, &after)).map_err(|refusal| (at, refusal))?;
    }
    // A plan is not asked: users are no part of one.
    let leaves_none = || !after.all(Kind::User).values().any(administers);
    match decisions.iter().rposition(puts_admin_out) {
        Some(at) if leaves_none() => Err((at, Refusal::LastAdmin(changes[at].key.clone()))),
        _ => Ok(decisions),
    }
}

fn puts_admin_out(decision: &Decision) -> bool {
    match decision {
        Decision::Put { was, is } => was.as_ref().is_some_and(administers) && !administers(is),
        Decision::Remove(was) => administers(was),
        Decision::Unchanged(_) => false,
    }
}

fn administers(resource: &Resource) -> bool {
    matches!(&resource.body, Body::User(user) if user.administers())
}

impl Change {
    /// Of this resource: of one that has its key after it is gone, another's perhaps, nothing is changed.
    pub fn of(was: &Resource, condition: Condition, action: Action) -> Change {
        Change { key: was.key(), of: Some(Lifetime::of(was)), condition, action }
    }

    /// Decides this one change, whether or not it fits the others of the catalog.
    pub(super) fn decide(&self, basis: Basis) -> Result<Decision, Refusal> {
        let Basis { snapshot, now, keyring } = basis;
        let was = snapshot.get(&self.key).cloned();
        match (&self.action, &was) {
            (Action::Create(_) | Action::Remake(_), Some(_)) => return Err(Refusal::Exists(self.key.clone())),
            (Action::Create(json), None) => return self.make(json, basis),
            (Action::Remake(json), None) if self.condition == Condition::None => return self.make(json, basis),
            _ => {}
        }
        let is_it = |was: &Resource| self.of.as_ref().is_none_or(|of| *of == Lifetime::of(was));
        let was = was.filter(is_it).ok_or_else(|| Refusal::NotFound(self.key.clone()))?;
        self.check_version(&was)?;
        let is = match &self.action {
            Action::Create(json) | Action::Remake(json) | Action::Replace(json) => {
                let mut json = json.clone();
                keep::keep(&mut json, &was);
                self.read(json, Some(&was), basis)?
            }
            Action::Merge(patch) => {
                let mut json = was.to_json();
                merge::merge(&mut json, patch.clone());
                keep::keep(&mut json, &was);
                self.read(json, Some(&was), basis)?
            }
            Action::Restore(json) => {
                let mut json = json.clone();
                keep::revive(&was, &mut json, keyring).map_err(Refusal::Invalid)?;
                self.read(json, Some(&was), basis)?
            }
            Action::SetActive(active) => match was.active() {
                None => return Err(Refusal::AlwaysActive(self.key.kind)),
                Some(is) if is == *active => return Ok(Decision::Unchanged(was)),
                Some(_) => was.with_active(*active),
            },
            Action::Delete => return Ok(Decision::Remove(was)),
            Action::Reseal => match keep::reseal(was.clone(), keyring).map_err(Refusal::Invalid)? {
                is if is.body == was.body => return Ok(Decision::Unchanged(was)),
                is => is,
            },
        };
        let is_restored = matches!(self.action, Action::Restore(_));
        let how = Succession { created_at: was.revision.created_at, now, is_restored };
        Ok(Decision::Put { is: is.succeeding(&was, &how).revised(next(&was, now)), was: Some(was) })
    }

    fn make(&self, json: &Value, basis: Basis) -> Result<Decision, Refusal> {
        let first = Revision { version: 1, created_at: basis.now, updated_at: basis.now };
        let is = self.read(json.clone(), None, basis)?;
        Ok(Decision::Put { was: None, is: is.revised(first) })
    }

    /// Does what it comes to fit the catalog as it is after all changes? Of a resource that is changed again, or was written by
    /// older rules and is not written anew, nothing is asked.
    fn fits(&self, decision: &Decision, (before, after): (&Snapshot, &Snapshot)) -> Result<(), Refusal> {
        let last = after.get(&self.key);
        match decision {
            Decision::Put { is, .. }
                if self.action.is_written() && last.is_some_and(|last| last.revision == is.revision) =>
            {
                let problems = misfits(is, before, after);
                match &problems[..] {
                    [] => Ok(()),
                    [only] if is.taken(after).as_ref() == Some(only) => Err(Refusal::Taken(only.clone())),
                    _ => Err(Refusal::Invalid(problems)),
                }
            }
            Decision::Remove(_) if last.is_none() => {
                let by: Vec<Key> = after.referrers(&self.key).take(NAMED).cloned().collect();
                if by.is_empty() {
                    return Ok(());
                }
                let count = after.referrers(&self.key).count();
                Err(Refusal::Referenced { key: self.key.clone(), by, count })
            }
            Decision::Put { .. } | Decision::Remove(_) | Decision::Unchanged(_) => Ok(()),
        }
    }

    fn check_version(&self, was: &Resource) -> Result<(), Refusal> {
        match &self.condition {
            Condition::Versions(tags) if !tags.iter().any(|tag| tag.names(&was.revision)) => {
                let Revision { version: actual, created_at: made_at, .. } = was.revision;
                Err(Refusal::VersionMismatch { key: self.key.clone(), actual, made_at })
            }
            Condition::Versions(_) | Condition::None => Ok(()),
        }
    }

    /// The resource that `json` means, if it is valid in itself.
    fn read(&self, json: Value, was: Option<&Resource>, basis: Basis) -> Result<Resource, Refusal> {
        if is_deeper(&json, DEEPEST) {
            let message = format!("must not be nested deeper than {DEEPEST} lists and objects");
            return Err(Refusal::Invalid(vec![Problem::new("", message)]));
        }
        let is = self.key.kind.read(json).map_err(Refusal::Invalid)?;
        let is = keep::seal(is, basis.keyring).map_err(Refusal::Invalid)?;
        let mut problems = Vec::new();
        if let Some(was) = was.filter(|was| was.org() != is.org()) {
            let owner = was.org().map_or_else(|| "none".to_owned(), |org| format!("`{org}`"));
            problems.push(Problem::new("orgId", format!("cannot be changed: its organization is {owner}")));
        }
        if is.key() != self.key {
            let message = format!("cannot be changed: this is {}", self.key.told());
            problems.push(Problem::new(self.key.kind.id_field(), message));
        }
        if is.to_bytes().len() > MAX_BYTES {
            problems.push(Problem::new("", format!("must not be longer than {MAX_BYTES} bytes in JSON")));
        }
        if problems.is_empty() { Ok(is) } else { Err(Refusal::Invalid(problems)) }
    }
}

/// What keeps a resource that is written from its place in the catalog as it is after all changes.
pub(super) fn misfits(is: &Resource, before: &Snapshot, after: &Snapshot) -> Vec<Problem> {
    let problems = is.check(after);
    if problems.is_empty() { check_below(is, before, after) } else { problems }
}

fn is_deeper(json: &Value, than: usize) -> bool {
    match json {
        Value::Array(items) => than == 0 || items.iter().any(|item| is_deeper(item, than - 1)),
        Value::Object(fields) => than == 0 || fields.values().any(|field| is_deeper(field, than - 1)),
        _ => false,
    }
}

fn next(was: &Resource, now: Timestamp) -> Revision {
    let Revision { version, created_at, updated_at } = was.revision;
    // A clock that was set back must not make a resource younger.
    Revision { version: version + 1, created_at, updated_at: now.max(updated_at) }
}
