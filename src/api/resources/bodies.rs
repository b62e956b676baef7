//! What may be sent, as each route reads it: the schema of a kind with more or less of it required.

use serde_json::{Map, Value, json};

use super::COLLECTIONS;
use super::issue::asked;
use crate::catalog::fields::or_null;
use crate::catalog::kind::Kind;
use crate::catalog::schema::example;

/// Fields that name the owner.
const OWNER: [&str; 2] = ["orgId", "tenantId"];

/// The names under which the document has them.
pub fn new(kind: Kind) -> String {
    format!("New{kind}")
}

pub fn replacement(kind: Kind) -> String {
    format!("{kind}Replacement")
}

pub fn changes(kind: Kind) -> String {
    format!("{kind}Changes")
}

pub fn copy(kind: Kind) -> String {
    format!("{kind}Copy")
}

pub fn schemas() -> Map<String, Value> {
    let mut all = Map::new();
    for kind in COLLECTIONS.iter().map(|of| of.kind) {
        all.insert(new(kind), of_new(kind));
        all.insert(replacement(kind), of_replacement(kind));
        all.insert(changes(kind), of_changes(kind));
        // What nobody sees is not given to another.
        if kind.hidden().is_empty() {
            all.insert(copy(kind), of_copy(kind));
        }
    }
    all
}

/// The owner comes with the key or in the query too, and an id is made where none is given.
fn of_new(kind: Kind) -> Value {
    let mut schema = whole(kind);
    let optional: &[&str] = match kind {
        Kind::Organization => &[],
        Kind::OrgUnit => &OWNER,
        _ => &["id", "orgId", "tenantId"],
    };
    optional.iter().for_each(|name| need_not(&mut schema, name));
    if kind == Kind::Organization {
        // Here it is the id, by either name.
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|required| required != "orgId");
        }
        schema["anyOf"] = OWNER.map(|name| json!({"required": [name]})).into_iter().collect();
    }
    schema
}

/// What the URL says, the body says too, or not at all.
fn of_replacement(kind: Kind) -> Value {
    let mut schema = whole(kind);
    let mut example = example(kind);
    for name in [kind.id_field()].into_iter().chain(OWNER) {
        need_not(&mut schema, name);
        only_shown(&mut schema, name);
        if let Value::Object(example) = &mut example {
            example.shift_remove(name);
        }
    }
    schema["examples"] = json!([example]);
    schema
}

fn of_changes(kind: Kind) -> Value {
    let mut schema = of_replacement(kind);
    loosen(&mut schema);
    schema["examples"] = json!([{"labels": {"team": "erp"}}]);
    schema
}

fn of_copy(kind: Kind) -> Value {
    let mut schema = of_new(kind);
    loosen(&mut schema);
    let id = format!("{}-2", example(kind)[kind.id_field()].as_str().unwrap_or_default());
    let mut example = json!({kind.id_field(): id, "labels": {"team": "erp"}});
    // What only one may have.
    match kind {
        Kind::EventType | Kind::FieldSchema => example["eventType"] = "patient.updated".into(),
        Kind::Lookup => example["source"] = json!({"id": "8"}),
        _ => {}
    }
    schema["examples"] = json!([example]);
    schema
}

fn whole(kind: Kind) -> Value {
    asked(kind).unwrap_or_else(|| kind.schema().clone())
}

fn need_not(schema: &mut Value, name: &str) {
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|required| required != name);
    }
    if let Some(field) = schema["properties"].get_mut(name) {
        or_null(field);
    }
}

fn only_shown(schema: &mut Value, name: &str) {
    if let Some(field) = schema["properties"].get_mut(name) {
        field["readOnly"] = true.into();
    }
}

/// Nothing is required where fields are changed one by one, in objects within it too.
fn loosen(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    map.shift_remove("required");
    if map.contains_key("properties") {
        map.shift_remove("anyOf");
    }
    if let Some(Value::Object(fields)) = map.get_mut("properties") {
        fields.values_mut().for_each(loosen);
    }
}
