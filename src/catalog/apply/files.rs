//! Resources as files hold them: their form, and what is wrong with some of them without a catalog to hold them against.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Desired, Fault, in_order};
use crate::catalog::fields::MASK;
use crate::catalog::keep;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::schema::READ_ONLY;
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::OrgId;
use crate::model::problem::Problem;

/// The resource as a file may have it: its secrets sealed, without what the catalog itself says of it.
pub fn exported(resource: &Resource) -> Value {
    let (key, mut spec) = (resource.key(), resource.to_json());
    if let Value::Object(fields) = &mut spec {
        let told = READ_ONLY.iter().chain(key.kind.hidden());
        told.for_each(|name| drop(fields.shift_remove(*name)));
        fields.shift_remove(key.kind.id_field());
    }
    json!({"kind": key.kind.name(), "id": key.id, "spec": spec})
}

/// The JSON Schema of a file that holds one resource of this kind.
pub fn schema(kind: Kind) -> Value {
    let mut spec = kind.schema().clone();
    let (field, mut about) = (kind.id_field(), "Its id.".into());
    if let Value::Object(fields) = &mut spec["properties"] {
        about = fields.shift_remove(field).map_or(about, |mut id| id["description"].take());
        READ_ONLY.iter().for_each(|name| drop(fields.shift_remove(*name)));
    }
    if let Some(Value::Array(required)) = spec.get_mut("required") {
        required.retain(|name| name != field);
    }
    let mut example = spec["examples"][0].take();
    let id = example.as_object_mut().and_then(|fields| fields.shift_remove(field));
    if let Value::Object(whole) = &mut spec {
        whole.shift_remove("title");
        whole.shift_remove("examples");
        whole.insert("description".to_owned(), "What it is.".into());
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.name(),
        "description": format!("One {} in a file for `tidegate apply`.", kind.noun()),
        "type": "object",
        "required": ["kind", "id", "spec"],
        "properties": {
            "$schema": {"type": "string", "description": "Where this schema is, for editors."},
            "kind": {"const": kind.name(), "description": "What it is a resource of."},
            "id": {"type": ["string", "integer"], "pattern": "^[A-Za-z0-9._:-]{1,128}$", "description": about},
            "spec": spec,
        },
        "additionalProperties": false,
        "examples": [{"kind": kind.name(), "id": id, "spec": example}],
    })
}

/// The same as the text of its file.
pub fn schema_text(kind: Kind) -> String {
    format!("{:#}\n", schema(kind))
}

/// What is wrong with them whatever the catalog holds. A field that names what none of them is counts as wrong where the
/// organization is one of them, for then they are the whole of it; else the catalog may have it.
pub fn faults(desired: &[Desired]) -> Vec<Fault> {
    faults_of(desired, true)
}

/// The same of each alone, and of what is there twice: what else there is is not known.
pub fn own_faults(desired: &[Desired]) -> Vec<Fault> {
    faults_of(desired, false)
}

fn faults_of(desired: &[Desired], together: bool) -> Vec<Fault> {
    let (order, mut faults) = in_order(desired);
    let (mut all, mut read, mut broken) = (Snapshot::default(), Vec::new(), BTreeSet::new());
    for (at, one) in desired.iter().enumerate() {
        match read_alone(one) {
            Ok(resource) if together && order.get(&one.key) == Some(&at) => {
                all.put(resource.clone());
                read.push((at, resource));
            }
            Ok(_) => {}
            Err(problems) => {
                broken.insert(one.key.clone());
                faults.extend(problems.into_iter().map(|problem| Fault::of(one, at, problem)));
            }
        }
    }
    for (at, resource) in &read {
        let whole = resource.org().is_some_and(|org| all.get(&Key::from(org)).is_some());
        let unknown = |to: &Key| all.get(to).is_none();
        let excused: Vec<&str> = resource
            .references()
            .into_iter()
            .filter(|one| broken.contains(&one.to) || (unknown(&one.to) && !whole))
            .map(|one| one.path)
            .collect();
        let problems = resource.check(&all).into_iter().filter(|problem| !excused.contains(&problem.path.as_str()));
        faults.extend(problems.map(|problem| Fault::of(&desired[*at], *at, problem)));
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Organizations that they are of, and that none of them is.
pub fn elsewhere(desired: &[Desired]) -> BTreeSet<OrgId> {
    let there: BTreeSet<&Key> = desired.iter().map(|one| &one.key).collect();
    let of = |one: &Desired| read_alone(one).ok()?.org().cloned();
    desired.iter().filter_map(of).filter(|org| !there.contains(&Key::from(org))).collect()
}

fn read_alone(one: &Desired) -> Result<Resource, Vec<Problem>> {
    let (mut json, mut problems) = one.whole();
    for path in one.key.kind.secrets() {
        // It stands for the one that is there: whether one is, the catalog knows.
        keep::each(&mut json, path, &mut |secret| {
            if secret == MASK {
                *secret = "as it is".into();
            }
        });
    }
    match one.key.kind.read(json) {
        Ok(resource) if problems.is_empty() => Ok(resource),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    }
}
