//! Configuration as code: what makes the catalog what files say, as a pure plan over a snapshot.

mod desired;
mod files;
#[cfg(test)]
mod tests;

pub use desired::Desired;
pub use files::{elsewhere, exported, faults, own_faults, schema, schema_text};

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::catalog::change::{Action, Basis, Change, Condition, Decision, Refusal, misfits};
use crate::catalog::diff::{Changed, diff};
use crate::catalog::keep;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::kinds::depth;
use crate::catalog::resource::Resource;
use crate::catalog::schema::{READ_ONLY, lean};
use crate::catalog::seal::Keyring;
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::OrgId;
use crate::model::problem::Problem;

/// More than this is not told: who mends the first ones sees the rest the next time.
const MAX_FAULTS: usize = 100;

/// How the message ends of what is desired twice.
pub const TWICE: &str = "is there twice";

/// What becomes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Create,
    Update,
    Delete,
    Unchanged,
}

/// What becomes of one resource. Small: of what stays as it is there is no more than its name.
#[derive(Clone, Debug)]
pub struct Step {
    pub verb: Verb,
    pub key: Key,
    /// What is to be written; `None`: nothing.
    pub decision: Option<Decision>,
}

/// In the order in which it is to be written: what is deleted, then what is put, each after what it refers to.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
}

impl Plan {
    /// How many resources it changes.
    pub fn changes(&self) -> usize {
        self.steps.iter().filter(|step| step.decision.is_some()).count()
    }
}

impl Step {
    /// Between what clients see of it before and after; what is left at its default when it is made, or deleted, is not told.
    pub fn diff(&self, keyring: Option<&Keyring>) -> Vec<Changed> {
        let told = |one: Option<&Resource>| one.map(|one| compared(one, keyring)).unwrap_or_default();
        let (mut was, mut is) = match &self.decision {
            Some(Decision::Put { was, is }) => (told(was.as_ref()), told(Some(is))),
            Some(Decision::Remove(was)) => (told(Some(was)), Value::Null),
            Some(Decision::Unchanged(_)) | None => return Vec::new(),
        };
        match (&was, &is) {
            (Value::Null, _) => lean(self.key.kind, &mut is),
            (_, Value::Null) => lean(self.key.kind, &mut was),
            _ => {}
        }
        diff(self.key.kind, &was, &is)
    }
}

/// The JSON form with secrets in clear, to be compared.
fn compared(resource: &Resource, keyring: Option<&Keyring>) -> Value {
    let mut json = keep::opened(resource, keyring);
    without(&mut json, &READ_ONLY);
    json
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

/// Plans what makes the catalog hold the desired resources as they are. It is one transaction: whether everything fits is asked of
/// the catalog as it is afterwards, whatever changes hands on the way.
///
/// `prune` deletes what the desired do not name: of the kinds that are configuration, in the organizations that the desired are
/// of, and nowhere else. An organization itself is never deleted by it: what names it keeps it, and what does not leaves it alone.
///
/// # Errors
/// Everything that is wrong with the desired (the first hundred): nothing of them can be written then.
pub fn plan(desired: &[Desired], prune: bool, basis: Basis) -> Result<Plan, Vec<Fault>> {
    let mut planner = Planner::new(desired, basis);
    planner.put_all();
    if prune {
        planner.delete_the_rest();
    }
    planner.check_all();
    planner.finish()
}

struct Planner<'a> {
    basis: Basis<'a>,
    /// The catalog as it will be.
    after: Snapshot,
    desired: &'a [Desired],
    /// By kind and id, each once.
    order: BTreeMap<Key, usize>,
    /// Whose resources they are: whatever pruning deletes is theirs.
    owners: BTreeSet<OrgId>,
    doomed: BTreeSet<Key>,
    /// Desired, and not valid: who refers to them is not to blame.
    broken: BTreeSet<Key>,
    steps: Vec<Step>,
    faults: Vec<Fault>,
}

impl<'a> Planner<'a> {
    fn new(desired: &'a [Desired], basis: Basis<'a>) -> Self {
        let (order, faults) = in_order(desired);
        Planner {
            basis,
            after: basis.snapshot.clone(),
            desired,
            order,
            owners: BTreeSet::new(),
            doomed: BTreeSet::new(),
            broken: BTreeSet::new(),
            steps: Vec::new(),
            faults,
        }
    }

    fn put_all(&mut self) {
        for (key, at) in std::mem::take(&mut self.order) {
            let desired = &self.desired[at];
            let (json, problems) = desired.whole();
            self.blame(at, problems);
            match self.put(&key, json) {
                Ok(step) => self.steps.push(step),
                Err(problems) => {
                    self.broken.insert(key.clone());
                    self.blame(at, problems);
                }
            }
            self.order.insert(key, at);
        }
    }

    fn put(&mut self, key: &Key, json: Value) -> Result<Step, Vec<Problem>> {
        let action = match self.basis.snapshot.get(key) {
            Some(_) => Action::Replace(json),
            None => Action::Create(json),
        };
        let change = Change { key: key.clone(), of: None, condition: Condition::None, action };
        let decision = change.decide(self.basis).map_err(reasons)?;
        self.owners.extend(decision.resource().org().cloned());
        let keyring = self.basis.keyring;
        let verb = match &decision {
            Decision::Put { was: None, .. } => Verb::Create,
            Decision::Put { was: Some(was), is } if compared(was, keyring) != compared(is, keyring) => Verb::Update,
            _ => return Ok(Step { verb: Verb::Unchanged, key: key.clone(), decision: None }),
        };
        self.after.put(decision.resource().clone());
        Ok(Step { verb, key: key.clone(), decision: Some(decision) })
    }

    fn delete_the_rest(&mut self) {
        let kinds = Kind::configuration().filter(|kind| *kind != Kind::Organization);
        let there = kinds.flat_map(|kind| self.basis.snapshot.all(kind).values());
        let theirs = there.filter(|one| one.org().is_some_and(|org| self.owners.contains(org)));
        for was in theirs.filter(|one| !self.order.contains_key(&one.key())) {
            let key = was.key();
            self.after.remove(&key);
            self.doomed.insert(key.clone());
            self.steps.push(Step { verb: Verb::Delete, key, decision: Some(Decision::Remove(was.clone())) });
        }
    }

    /// What is put, and where something is deleted what stays too.
    fn check_all(&mut self) {
        let asked = |step: &&Step| match step.verb {
            Verb::Create | Verb::Update => true,
            Verb::Unchanged => !self.doomed.is_empty(),
            Verb::Delete => false,
        };
        let mut found = Vec::new();
        for step in self.steps.iter().filter(asked) {
            let problems = self.after.get(&step.key).map(|is| self.misfits(is)).unwrap_or_default();
            if let Some(at) = self.order.get(&step.key).filter(|_| !problems.is_empty()) {
                found.push((*at, problems));
            }
        }
        found.into_iter().for_each(|(at, problems)| self.blame(at, problems));
        if !self.faults.is_empty() {
            return;
        }
        // Somebody who is not desired: of a kind that is in no file, or of older rules.
        for key in &self.doomed {
            if let Some(by) = self.after.referrers(key).next() {
                let message = format!("{} is in no file, but {} uses it", key.told(), by.told());
                self.faults.push(Fault { at: None, problem: Problem::new("", message) });
            }
        }
    }

    fn misfits(&self, is: &Resource) -> Vec<Problem> {
        let named = is.references();
        let told = |problem: Problem| match named.iter().find(|one| one.path == problem.path).map(|one| &one.to) {
            // That is told where it is.
            Some(to) if self.broken.contains(to) && self.after.get(to).is_none() => None,
            Some(to) if self.doomed.contains(to) => {
                let message = format!("names {}, which is in no file, so that pruning deletes it", to.told());
                Some(Problem::new(problem.path, message))
            }
            _ => Some(problem),
        };
        misfits(is, self.basis.snapshot, &self.after).into_iter().filter_map(told).collect()
    }

    fn blame(&mut self, at: usize, problems: Vec<Problem>) {
        let room = (10 * MAX_FAULTS).saturating_sub(self.faults.len());
        let desired = &self.desired[at];
        self.faults.extend(problems.into_iter().take(room).map(|problem| Fault::of(desired, at, problem)));
    }

    fn finish(self) -> Result<Plan, Vec<Fault>> {
        let Planner { basis, after, mut steps, mut faults, .. } = self;
        if !faults.is_empty() {
            faults.sort_by_key(|fault| fault.at);
            faults.truncate(MAX_FAULTS);
            return Err(faults);
        }
        let level = |step: &Step| match step.verb {
            Verb::Delete => (step.key.kind, depth(basis.snapshot, &step.key)),
            _ => (step.key.kind, depth(&after, &step.key)),
        };
        let (mut gone, mut there): (Vec<Step>, Vec<Step>) = steps.drain(..).partition(|step| step.verb == Verb::Delete);
        gone.sort_by_cached_key(|step| std::cmp::Reverse(level(step)));
        there.sort_by_cached_key(level);
        gone.append(&mut there);
        Ok(Plan { steps: gone })
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
            let problem = Problem::new(one.key.kind.id_field(), format!("{} {TWICE}", one.key.told()));
            faults.push(Fault::of(one, at, problem));
        } else {
            order.insert(one.key.clone(), at);
        }
    }
    (order, faults)
}
