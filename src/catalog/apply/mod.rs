//! Configuration as code: what makes the catalog what files say, as a pure plan over a snapshot.

mod diff;
mod files;
#[cfg(test)]
mod tests;

pub use diff::Difference;
pub use files::{elsewhere, exported, faults, own_faults, schema, schema_text};

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::catalog::change::{Action, Basis, Change, Condition, Decision, Refusal};
use crate::catalog::keep;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::{Reference, Resource};
use crate::catalog::schema::READ_ONLY;
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::OrgId;
use crate::model::problem::Problem;

/// How often what does not fit is tried again behind the others of its kind: a unit waits for the one above it, a value that only
/// one may have for whoever gives it up.
const ROUNDS: usize = 32;
/// More than this is not told: who mends the first ones sees the rest the next time.
const MAX_FAULTS: usize = 100;

/// A resource as a file has it: its JSON form without its id.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub key: Key,
    pub spec: Value,
}

/// What becomes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Create,
    Update,
    Delete,
    Unchanged,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub verb: Verb,
    pub key: Key,
    /// Between what clients see of it before and after; what is left at its default when it is made, or deleted, is not told.
    pub diff: Vec<Difference>,
    /// Its place among the desired; `None`: it is there and not desired.
    pub at: Option<usize>,
    /// What is to be written; `None`: nothing.
    pub change: Option<Change>,
}

/// In the order in which it is to be written.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
}

/// What keeps a plan from being made, and with which of the desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: Option<usize>,
    /// The path begins at the resource: `id`, `spec.targetUrl`.
    pub problem: Problem,
}

impl Fault {
    fn of(desired: &Desired, at: usize, problem: Problem) -> Fault {
        let path = place(desired.key.kind, &problem.path);
        Fault { at: Some(at), problem: Problem { path, ..problem } }
    }
}

/// Where in a file a field of a resource is.
pub fn place(kind: Kind, field: &str) -> String {
    match field {
        "" => "spec".to_owned(),
        field if field == kind.id_field() => "id".to_owned(),
        field => format!("spec.{field}"),
    }
}

/// Plans what makes the catalog hold the desired resources as they are. Kinds come in their order, units below those that they are
/// part of; what is deleted goes in the reverse order, first where nothing refers to it.
///
/// `prune` deletes what the desired do not name: of the kinds that are configuration, in the organisations that the desired are
/// of, and nowhere else. An organisation itself is never deleted by it: what names it keeps it, and what does not leaves it alone.
///
/// # Errors
/// Everything that is wrong with the desired (the first hundred): nothing of them can be written then.
pub fn plan(desired: &[Desired], prune: bool, basis: Basis) -> Result<Plan, Vec<Fault>> {
    let mut planner = Planner::new(desired, prune, basis);
    planner.delete_what_is_free();
    planner.put_all();
    planner.delete_the_rest();
    if planner.faults.is_empty() {
        Ok(Plan { steps: planner.steps })
    } else {
        planner.faults.sort_by_key(|fault| fault.at);
        planner.faults.truncate(MAX_FAULTS);
        Err(planner.faults)
    }
}

struct Planner<'a> {
    basis: Basis<'a>,
    /// The catalog with the steps so far.
    after: Snapshot,
    desired: &'a [Desired],
    /// By kind and id, each once.
    order: Vec<(Key, usize)>,
    /// What pruning deletes, and what of it is left to be.
    doomed: BTreeSet<Key>,
    pruned: BTreeSet<Key>,
    /// Desired, and not valid: who refers to them is not to blame.
    broken: BTreeSet<Key>,
    steps: Vec<Step>,
    faults: Vec<Fault>,
}

impl<'a> Planner<'a> {
    fn new(desired: &'a [Desired], prune: bool, basis: Basis<'a>) -> Self {
        let (order, faults) = in_order(desired);
        let pruned = if prune { not_desired(desired, &order, basis.snapshot) } else { BTreeSet::new() };
        Planner {
            basis,
            after: basis.snapshot.clone(),
            desired,
            order: order.into_iter().collect(),
            doomed: pruned.clone(),
            pruned,
            broken: BTreeSet::new(),
            steps: Vec::new(),
            faults,
        }
    }

    /// What nothing refers to goes first, so that what it alone could have is free for others.
    fn delete_what_is_free(&mut self) {
        let mut left = std::mem::take(&mut self.pruned);
        while let Some(free) = Some(self.free(&left)).filter(|free| !free.is_empty()) {
            for key in free {
                left.remove(&key);
                self.delete(key);
            }
        }
        self.pruned = left;
    }

    /// In the reverse order of kinds.
    fn free(&self, of: &BTreeSet<Key>) -> Vec<Key> {
        of.iter().rev().filter(|key| self.after.referrers(key).next().is_none()).cloned().collect()
    }

    fn delete_the_rest(&mut self) {
        self.delete_what_is_free();
        for key in std::mem::take(&mut self.pruned) {
            let by = self.after.referrers(&key).next().map(Key::told).unwrap_or_default();
            let message = format!("{} is in no file, but {by} uses it", key.told());
            // A desired one that is not valid still refers to it as it was.
            if self.faults.is_empty() {
                self.faults.push(Fault { at: None, problem: Problem::new("", message) });
            }
        }
    }

    fn delete(&mut self, key: Key) {
        let Some(was) = self.after.get(&key) else { return };
        let diff = diff::between(key.kind, Some(&self.told(was)), None);
        self.after.remove(&key);
        let change = Change { key: key.clone(), condition: Condition::None, action: Action::Delete };
        self.steps.push(Step { verb: Verb::Delete, key, diff, at: None, change: Some(change) });
    }

    fn put_all(&mut self) {
        let mut rest = std::mem::take(&mut self.order).into_iter().peekable();
        while let Some((first, _)) = rest.peek() {
            let kind = first.kind;
            let mut waiting = Vec::new();
            while let Some(next) = rest.next_if(|(key, _)| key.kind == kind) {
                waiting.push(next.1);
            }
            self.put_kind(waiting);
        }
    }

    fn put_kind(&mut self, mut waiting: Vec<usize>) {
        for _ in 0..ROUNDS {
            let before = waiting.len();
            let mut refused = Vec::new();
            for at in waiting {
                if let Err(problems) = self.put(at, &self.desired[at]) {
                    refused.push((at, problems));
                }
            }
            if refused.is_empty() {
                return;
            }
            if refused.len() == before {
                self.blame(refused);
                return;
            }
            waiting = refused.into_iter().map(|(at, _)| at).collect();
        }
        // Those that are left wait for each other without end.
        let rest = waiting.into_iter().map(|at| (at, vec![Problem::new("", "fits none of the others")])).collect();
        self.blame(rest);
    }

    fn blame(&mut self, refused: Vec<(usize, Vec<Problem>)>) {
        self.broken.extend(refused.iter().map(|(at, _)| self.desired[*at].key.clone()));
        let before = self.faults.len();
        for (at, problems) in &refused {
            let desired = &self.desired[*at];
            let excused = self.excused(desired);
            let own = problems.iter().filter(|problem| !excused.contains(&problem.path.as_str())).cloned();
            self.faults.extend(own.map(|problem| Fault::of(desired, *at, problem)));
        }
        if self.faults.len() == before && before == 0 {
            // Each of them needs another of them.
            let all = refused.into_iter().flat_map(|(at, problems)| problems.into_iter().map(move |p| (at, p)));
            self.faults.extend(all.map(|(at, problem)| Fault::of(&self.desired[at], at, problem)));
        }
        self.faults.truncate(10 * MAX_FAULTS);
    }

    /// Fields that name another that is desired too, and not valid itself: that is told where it is.
    fn excused(&self, desired: &Desired) -> Vec<&'static str> {
        let broken = |to: &Key| self.broken.contains(to) && *to != desired.key && self.basis.snapshot.get(to).is_none();
        desired.references().into_iter().filter(|reference| broken(&reference.to)).map(|one| one.path).collect()
    }

    fn put(&mut self, at: usize, desired: &Desired) -> Result<(), Vec<Problem>> {
        let (json, mut problems) = desired.whole();
        let lost = self.pruned_away(desired);
        if !lost.is_empty() {
            return Err(lost);
        }
        let key = desired.key.clone();
        let action = match self.after.get(&key) {
            Some(_) => Action::Replace(json),
            None => Action::Create(json),
        };
        let change = Change { key: key.clone(), condition: Condition::None, action };
        let decided = change.decide(Basis { snapshot: &self.after, ..self.basis });
        let (was, is) = match decided {
            Ok(Decision::Put { was, is }) => (was, is),
            Ok(Decision::Unchanged(_) | Decision::Remove(_)) => return Ok(()),
            Err(refusal) => {
                problems.extend(reasons(refusal));
                return Err(problems);
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let (old, new) = (was.as_ref().map(|was| self.told(was)), self.told(&is));
        let (verb, change) = match &old {
            Some(old) if *old == new => (Verb::Unchanged, None),
            Some(_) => (Verb::Update, Some(change)),
            None => (Verb::Create, Some(change)),
        };
        if change.is_some() {
            self.after.put(is);
        }
        let diff = diff::between(key.kind, old.as_ref(), Some(&new));
        self.steps.push(Step { verb, key, diff, at: Some(at), change });
        Ok(())
    }

    /// Fields that name what pruning deletes.
    fn pruned_away(&self, desired: &Desired) -> Vec<Problem> {
        if self.doomed.is_empty() {
            return Vec::new();
        }
        let gone = desired.references().into_iter().filter(|reference| self.doomed.contains(&reference.to));
        let told = |to: &Key| format!("names {}, which is in no file, so that pruning deletes it", to.told());
        gone.map(|reference| Problem::new(reference.path, told(&reference.to))).collect()
    }

    /// The JSON form with secrets in clear, to be compared.
    fn told(&self, resource: &Resource) -> Value {
        let mut json = keep::opened(resource, self.basis.keyring);
        without(&mut json, &READ_ONLY);
        json
    }
}

impl Desired {
    /// None where it cannot be read.
    fn references(&self) -> Vec<Reference> {
        self.key.kind.read(self.whole().0).map(|read| read.references()).unwrap_or_default()
    }

    /// Its whole JSON form, and what is wrong with what a file may say and a resource may not.
    fn whole(&self) -> (Value, Vec<Problem>) {
        let (mut json, field, mut problems) = (self.spec.clone(), self.key.kind.id_field(), Vec::new());
        without(&mut json, &READ_ONLY);
        if let Value::Object(fields) = &mut json {
            let said = match fields.get(field) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            };
            if let Some(other) = said.filter(|said| said != self.key.id.as_str()) {
                let message = format!("is `{other}` in the spec and `{}` beside it", self.key.id);
                problems.push(Problem::new(field, message));
            }
            fields.insert(field.to_owned(), self.key.id.as_str().into());
        }
        (json, problems)
    }
}

fn without(json: &mut Value, names: &[&str]) {
    if let Value::Object(fields) = json {
        names.iter().for_each(|name| drop(fields.shift_remove(*name)));
    }
}

fn reasons(refusal: Refusal) -> Vec<Problem> {
    match refusal {
        Refusal::Invalid(problems) => problems,
        other => vec![Problem::new("", other.to_string())],
    }
}

/// The places of the desired by kind and id. What is desired twice is told of the second.
fn in_order(desired: &[Desired]) -> (BTreeMap<Key, usize>, Vec<Fault>) {
    let (mut order, mut faults) = (BTreeMap::new(), Vec::new());
    for (at, one) in desired.iter().enumerate() {
        if order.contains_key(&one.key) {
            let problem = Problem::new(one.key.kind.id_field(), format!("{} is there twice", one.key.told()));
            faults.push(Fault::of(one, at, problem));
        } else {
            order.insert(one.key.clone(), at);
        }
    }
    (order, faults)
}

/// Whose resources they are: whatever pruning deletes is theirs.
fn owners(desired: &[Desired]) -> BTreeSet<OrgId> {
    let owner = |one: &Desired| match one.key.kind {
        Kind::Organization => OrgId::parse(one.key.id.as_str()).ok(),
        kind => kind.read(one.whole().0).ok().and_then(|read| read.org().cloned()),
    };
    desired.iter().filter_map(owner).collect()
}

fn not_desired(desired: &[Desired], order: &BTreeMap<Key, usize>, snapshot: &Snapshot) -> BTreeSet<Key> {
    let owners = owners(desired);
    let kinds = Kind::configuration().filter(|kind| *kind != Kind::Organization);
    let there = kinds.flat_map(|kind| snapshot.all(kind).values());
    let theirs = there.filter(|one| one.org().is_some_and(|org| owners.contains(org)));
    theirs.map(Resource::key).filter(|key| !order.contains_key(key)).collect()
}
