//! What differs between two forms of a resource, field by field, for people: no secret is in it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::catalog::fields::MASK;
use crate::catalog::keep::{each, each_sealed};
use crate::catalog::kind::Kind;
use crate::catalog::schema::READ_ONLY;

/// What stands for a secret that is another now.
const CHANGED: &str = "*** (changed)";
/// Between the mask and the secret, so that two secrets differ while they are compared. No field holds it.
const BEHIND: char = '\u{0}';

/// A field that changed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Changed {
    /// Which field: `retry.delays[1]`.
    pub path: String,
    /// As it was; null: it was not there. A secret is `***`.
    pub from: Value,
    /// As it became; null: it is gone. A secret is `***`, and another than before `*** (changed)`.
    pub to: Value,
}

/// What is different, in the order of fields. Null stands for a resource that is not there; secrets may be sealed or, on both
/// sides, in clear.
pub fn diff(kind: Kind, before: &Value, after: &Value) -> Vec<Changed> {
    let (before, after) = (marked(kind, before), marked(kind, after));
    let mut found = Vec::new();
    compare(String::new(), (&before, &after), &mut found);
    for Changed { from, to, .. } in &mut found {
        let other = is_marked(from) && is_marked(to);
        unmark(from);
        unmark(to);
        if other {
            *to = CHANGED.into();
        }
    }
    found
}

/// The form as it may be seen, but for what is behind each mask.
fn marked(kind: Kind, json: &Value) -> Value {
    let mut marked = json.clone();
    let mut mark = |secret: &mut Value| {
        *secret = format!("{MASK}{BEHIND}{}", secret.as_str().unwrap_or_default()).into();
    };
    kind.secrets().iter().for_each(|path| each(&mut marked, path, &mut mark));
    each_sealed(&mut marked, &mut mark);
    if let Value::Object(fields) = &mut marked {
        for (name, told) in kind.audited() {
            if let Some(mut hidden @ Value::String(_)) = fields.shift_remove(*name) {
                mark(&mut hidden);
                fields.insert((*told).to_owned(), hidden);
            }
        }
        READ_ONLY.iter().chain(kind.hidden()).for_each(|name| drop(fields.shift_remove(*name)));
    }
    marked
}

fn is_marked(value: &Value) -> bool {
    let text = value.as_str().and_then(|text| text.strip_prefix(MASK));
    text.is_some_and(|rest| rest.starts_with(BEHIND))
}

fn unmark(value: &mut Value) {
    if is_marked(value) {
        *value = MASK.into();
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(unmark),
        Value::Object(fields) => fields.values_mut().for_each(unmark),
        _ => {}
    }
}

fn compare(path: String, (before, after): (&Value, &Value), found: &mut Vec<Changed>) {
    let nothing = Map::new();
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(old), Value::Object(new)) => objects(&path, (old, new), found),
        (Value::Null, Value::Object(new)) if path.is_empty() => objects(&path, (&nothing, new), found),
        (Value::Object(old), Value::Null) if path.is_empty() => objects(&path, (old, &nothing), found),
        (Value::Array(old), Value::Array(new)) => {
            for at in 0..old.len().max(new.len()) {
                let of = |list: &[Value]| list.get(at).cloned().unwrap_or_default();
                compare(format!("{path}[{at}]"), (&of(old), &of(new)), found);
            }
        }
        (from, to) => found.push(Changed { path, from: from.clone(), to: to.clone() }),
    }
}

fn objects(path: &str, (old, new): (&Map<String, Value>, &Map<String, Value>), found: &mut Vec<Changed>) {
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    for name in new.keys().chain(gone) {
        let under = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        compare(under, (&of(old), &of(new)), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_told_by_its_path_and_a_secret_only_that_it_changed() {
        let channel = |url: &str, secret: &str| json!({"type": "WEBHOOK", "url": url, "secret": secret});
        let rule = |name: &str, channels: Value| json!({"name": name, "version": name, "channels": channels});
        let sealed = ["sealed:1:a", "sealed:1:b"];
        let told = |path: &str, from: Value, to: Value| Changed { path: path.into(), from, to };
        let cases = [
            (rule("a", json!([])), rule("a", json!([])), vec![]),
            (rule("a", json!([])), rule("b", json!([])), vec![told("name", json!("a"), json!("b"))]),
            (
                rule("a", json!([channel("u", sealed[0])])),
                rule("a", json!([channel("v", sealed[1])])),
                vec![
                    told("channels[0].url", json!("u"), json!("v")),
                    told("channels[0].secret", json!("***"), json!("*** (changed)")),
                ],
            ),
            (
                rule("a", json!([])),
                rule("a", json!([channel("u", sealed[0])])),
                vec![told("channels[0]", Value::Null, channel("u", "***"))],
            ),
            (
                json!({"later": {"key": sealed[0]}}),
                json!({"later": {"key": sealed[1]}}),
                vec![told("later.key", json!("***"), json!("*** (changed)"))],
            ),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 1, "d": null}}),
                vec![told("a.c", json!(2), Value::Null)],
            ),
            (Value::Null, json!({"name": "a"}), vec![told("name", Value::Null, json!("a"))]),
            (json!({"name": "a"}), Value::Null, vec![told("name", json!("a"), Value::Null)]),
        ];
        for (before, after, expected) in cases {
            assert_eq!(diff(Kind::AlertRule, &before, &after), expected, "{before} {after}");
        }
    }
}
