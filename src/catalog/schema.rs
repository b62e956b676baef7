//! JSON Schemas (2020-12) of resources, made of what is read, what is said about it, and what is filled in.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::catalog::fields::Fields;
use crate::catalog::keep::mask;
use crate::catalog::kind::Kind;

impl Kind {
    /// The schema of its JSON form: every field described, with limits, defaults and an example.
    pub fn schema(self) -> &'static Value {
        static SCHEMAS: OnceLock<Vec<Value>> = OnceLock::new();
        &SCHEMAS.get_or_init(|| Kind::ALL.into_iter().map(schema).collect())[self as usize]
    }

    /// The paths of its secrets: `channels[].secret`.
    pub fn secrets(self) -> &'static [String] {
        static SECRETS: OnceLock<Vec<Vec<String>>> = OnceLock::new();
        let found = |kind: Kind| {
            let mut paths = Vec::new();
            walk(&sketch(kind), "", &mut |path, field| {
                if field.get("format").is_some_and(|format| format == "password") {
                    paths.push(path.to_owned());
                }
            });
            paths
        };
        &SECRETS.get_or_init(|| Kind::ALL.into_iter().map(found).collect())[self as usize]
    }
}

impl Kind {
    /// What reading fills in below its fields, by path: `condition.windowSeconds`; null where it stays empty.
    fn filled(self) -> &'static BTreeMap<String, Value> {
        static FILLED: OnceLock<Vec<BTreeMap<String, Value>>> = OnceLock::new();
        &FILLED.get_or_init(|| Kind::ALL.into_iter().map(|kind| filled_below(kind, &sketch(kind))).collect())
            [self as usize]
    }
}

/// What every resource has and no client sends.
pub const READ_ONLY: [&str; 3] = ["version", "createdAt", "updatedAt"];

/// Fields whose default is not the same in every gateway: a topology has its own.
const ELSEWHERE: [&str; 1] = ["retry"];

/// Takes out what is filled in where it is left out, wherever it is read: files and plans are shorter without.
pub fn lean(kind: Kind, json: &mut Value) {
    let Value::Object(fields) = json else { return };
    let known = &kind.schema()["properties"];
    fields.retain(|name, value| {
        let default = known[name.as_str()].get("default").filter(|_| !ELSEWHERE.contains(&name.as_str()));
        !value.is_null() && default != Some(&*value)
    });
    for (name, value) in fields {
        thin(name, value, kind.filled());
    }
}

/// The same below a field. Nothing is left out whole: an empty object may mean another thing than none.
fn thin(path: &str, value: &mut Value, filled: &BTreeMap<String, Value>) {
    if !filled.range(path.to_owned()..).next().is_some_and(|(below, _)| below.starts_with(path)) {
        return;
    }
    match value {
        Value::Array(items) => {
            let path = format!("{path}[]");
            items.iter_mut().for_each(|item| thin(&path, item, filled));
        }
        Value::Object(fields) => {
            let is_said = |name: &str, value: &Value| filled.get(&format!("{path}.{name}")) != Some(value);
            if fields.iter().any(|(name, value)| is_said(name, value)) {
                fields.retain(|name, value| is_said(name, value));
            }
            for (name, value) in fields {
                thin(&format!("{path}.{name}"), value, filled);
            }
        }
        _ => {}
    }
}

fn sketch(kind: Kind) -> Value {
    Fields::sketch(|fields| kind.sketch(fields))
}

fn schema(kind: Kind) -> Value {
    let mut schema = sketch(kind);
    describe(&mut schema, kind.about());
    for name in kind.hidden() {
        if let Some(Value::Object(fields)) = schema.get_mut("properties") {
            fields.shift_remove(*name);
        }
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|required| required != name);
        }
    }
    for name in kind.given() {
        schema["properties"][*name]["readOnly"] = true.into();
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|required| required != name);
        }
    }
    let below = kind.filled().iter().filter(|(_, value)| !value.is_null());
    for (name, value) in
        defaults(kind, &schema).into_iter().chain(below.map(|(path, value)| (path.clone(), value.clone())))
    {
        if let Some(Value::Object(field)) = at(&mut schema, &name) {
            field.insert("default".to_owned(), value);
        }
    }
    for (name, form, text) in [
        ("version", json!({"type": "integer", "minimum": 1}), "Counts its changes; its ETag."),
        ("createdAt", json!({"type": "string", "format": "date-time"}), "When it was made."),
        ("updatedAt", json!({"type": "string", "format": "date-time"}), "When it was changed last."),
    ] {
        let mut field = form;
        field["description"] = text.into();
        field["readOnly"] = true.into();
        schema["properties"][name] = field;
    }
    if let Some((name, text)) = kind.told() {
        schema["properties"][name] =
            json!({"type": ["string", "null"], "format": "date-time", "description": text, "readOnly": true});
    }
    schema["title"] = kind.name().into();
    schema["examples"] = json!([example(kind)]);
    schema
}

/// Says what each field is, by its path.
pub fn describe(schema: &mut Value, about: &[(&str, &str)]) {
    for (path, text) in about {
        if let Some(Value::Object(field)) = at(schema, path) {
            field.insert("description".to_owned(), (*text).into());
        }
    }
}

/// The example, without what no client sends.
pub fn example(kind: Kind) -> Value {
    let mut example: Value = serde_json::from_str(kind.example()).unwrap_or_default();
    mask(kind, &mut example);
    if let Value::Object(fields) = &mut example {
        kind.given().iter().for_each(|name| drop(fields.shift_remove(*name)));
    }
    example
}

/// What is filled in where a client says no more than it must.
fn defaults(kind: Kind, schema: &Value) -> Map<String, Value> {
    let Ok(Value::Object(mut least)) = serde_json::from_str(kind.example()) else { return Map::new() };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let hidden = kind.hidden();
    // A user without an organization would be refused: what is there for a reason stays.
    let given = kind.given();
    let stays = |name: &str| hidden.contains(&name) || given.contains(&name) || name == "orgId";
    least.retain(|name, _| required.iter().any(|r| r == name) || stays(name));
    let said: Vec<String> = least.keys().cloned().collect();
    let Ok(read) = kind.read(Value::Object(least)) else { return Map::new() };
    let Value::Object(mut filled) = read.to_json() else { return Map::new() };
    filled.retain(|name, value| !said.contains(name) && !hidden.contains(&name.as_str()) && !value.is_null());
    READ_ONLY.iter().for_each(|name| drop(filled.shift_remove(*name)));
    filled
}

/// What is filled in below the fields of the example, each where it alone is left out.
fn filled_below(kind: Kind, schema: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let example = serde_json::from_str(kind.example()).unwrap_or_default();
    let Ok(example) = kind.read(example).map(|resource| resource.to_json()) else { return found };
    walk(schema, "", &mut |path, field| {
        let (path, field) = match field.get("items") {
            Some(items) => (format!("{path}[]"), items),
            None => (path.to_owned(), field),
        };
        let place = format!("/{}", path.replace("[]", "/0").replace('.', "/"));
        let Some(Value::Object(fields)) = example.pointer(&place).filter(|_| field.get("properties").is_some()) else {
            return;
        };
        for name in fields.keys() {
            let mut less = example.clone();
            if let Some(Value::Object(fields)) = less.pointer_mut(&place) {
                fields.shift_remove(name);
            }
            let read = kind.read(less).ok().map(|resource| resource.to_json());
            if let Some(value) = read.as_ref().and_then(|read| read.pointer(&format!("{place}/{name}"))) {
                found.insert(format!("{path}.{name}"), value.clone());
            }
        }
    });
    found
}

/// The schema of the field at `path`: `channels[].secret`.
fn at<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').try_fold(schema, |schema, part| {
        let (name, many) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        let field = schema.get_mut("properties")?.get_mut(name)?;
        if many { field.get_mut("items") } else { Some(field) }
    })
}

/// Shows every field to `see` with its path.
pub fn walk(schema: &Value, under: &str, see: &mut impl FnMut(&str, &Value)) {
    let Some(Value::Object(fields)) = schema.get("properties") else { return };
    for (name, field) in fields {
        let path = if under.is_empty() { name.clone() } else { format!("{under}.{name}") };
        see(&path, field);
        walk(field, &path, see);
        if let Some(items) = field.get("items") {
            walk(items, &format!("{path}[]"), see);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::retry::RetryPolicy;

    #[test]
    fn every_field_of_every_kind_is_described_and_nothing_else() {
        for kind in Kind::ALL {
            let mut found = Vec::new();
            walk(kind.schema(), "", &mut |path, field| {
                found.push(path.to_owned());
                assert!(
                    field["description"].as_str().is_some_and(|text| text.ends_with('.')),
                    "{kind} {path}: {field}"
                );
            });
            for (path, _) in kind.about().iter().filter(|(path, _)| !kind.hidden().contains(path)) {
                assert!(found.iter().any(|found| found == path), "{kind} has no field {path}");
            }
        }
    }

    #[test]
    fn an_example_is_read_and_keeps_to_its_schema() {
        for kind in Kind::ALL {
            let read = kind.read(serde_json::from_str(kind.example()).unwrap());
            let written = read.unwrap_or_else(|problems| panic!("{kind}: {problems:?}")).to_json();
            let again = kind.read(written.clone()).unwrap().to_json();
            assert_eq!(written, again, "{kind}");
            let mut shown = written;
            mask(kind, &mut shown);
            let known = kind.schema()["properties"].as_object().unwrap();
            for name in shown.as_object().unwrap().keys() {
                assert!(known.contains_key(name), "{kind} answers {name}, which its schema does not know");
            }
        }
    }

    #[test]
    fn what_is_filled_in_can_be_read_again() {
        for kind in Kind::ALL {
            let required = kind.schema()["required"].as_array().cloned().unwrap_or_default();
            let mut least: Map<String, Value> = serde_json::from_str(kind.example()).unwrap();
            let stays = |name: &str| kind.hidden().contains(&name) || kind.given().contains(&name) || name == "orgId";
            least.retain(|name, _| required.iter().any(|required| required == name) || stays(name));
            let written = kind.read(Value::Object(least)).unwrap().to_json();
            assert!(kind.read(written.clone()).is_ok(), "{kind} is written as nobody reads it: {written}");
        }
    }

    #[test]
    fn defaults_and_limits_are_told() {
        let schema = Kind::OutboundIntegration.schema();
        let timeout = &schema["properties"]["timeoutMs"];
        assert_eq!(
            (&timeout["minimum"], &timeout["maximum"], &timeout["default"]),
            (&json!(100), &json!(60_000), &json!(30_000))
        );
        assert_eq!(schema["properties"]["scope"]["default"], "INCLUDE_CHILDREN");
        assert_eq!(schema["properties"]["retry"]["properties"]["maxAttempts"]["maximum"], 100);
        assert_eq!(schema["required"], json!(["id", "orgId", "name", "eventType", "targetUrl"]));
    }

    #[test]
    fn what_nobody_would_write_is_left_out_at_every_depth_and_reads_as_the_same() {
        let standard = json!({"retry": RetryPolicy::default()});
        let cases = [
            (
                Kind::AlertRule,
                json!({"condition": {"type": "DEAD_LETTERS", "threshold": null, "windowSeconds": 300, "integrationId": null}}),
                json!({"condition": {"type": "DEAD_LETTERS"}}),
            ),
            (
                Kind::AlertRule,
                json!({"condition": {"type": "DEAD_LETTERS", "windowSeconds": 301}}),
                json!({"condition": {"type": "DEAD_LETTERS", "windowSeconds": 301}}),
            ),
            (
                Kind::OutboundIntegration,
                json!({"retry": {"maxAttempts": 9, "delays": ["1s"], "jitter": 0.2}}),
                json!({"retry": {"maxAttempts": 9, "delays": ["1s"]}}),
            ),
            // A gateway's own topology says what no policy is.
            (Kind::OutboundIntegration, standard.clone(), standard),
            (
                Kind::EventType,
                json!({"sample": {"a": null, "b": [{"c": null}]}}),
                json!({"sample": {"a": null, "b": [{"c": null}]}}),
            ),
            (
                Kind::Template,
                json!({"integration": {"timeoutMs": 30000, "x": null}}),
                json!({"integration": {"timeoutMs": 30000, "x": null}}),
            ),
        ];
        for (kind, mut json, expected) in cases {
            lean(kind, &mut json);
            assert_eq!(json, expected, "{kind}");
        }
        for kind in Kind::ALL {
            let whole = kind.read(serde_json::from_str(kind.example()).unwrap()).unwrap().to_json();
            let mut short = whole.clone();
            lean(kind, &mut short);
            assert_eq!(kind.read(short.clone()).unwrap().to_json(), whole, "{short}");
        }
    }

    #[test]
    fn what_is_hidden_is_in_no_schema_and_what_is_secret_is_known() {
        let user = Kind::User.schema();
        assert!(user["properties"].get("passwordHash").is_none());
        assert_eq!(Kind::AlertRule.secrets(), ["channels[].secret"]);
        assert!(Kind::Organization.secrets().is_empty());
    }
}
