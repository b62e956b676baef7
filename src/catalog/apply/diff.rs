//! What is different between two forms of a resource, field by field, for people: no secret is in it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::catalog::fields::MASK;
use crate::catalog::keep;
use crate::catalog::kind::Kind;
use crate::catalog::schema::lean;

/// What stands for a secret that is another now.
const CHANGED: &str = "*** (changed)";

/// One field; `null` where it is not there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// `retry.delays[1]`
    pub path: String,
    pub from: Value,
    pub to: Value,
}

/// Between two forms whose secrets are in clear. Where there is only one, what it leaves at its default is not told.
pub(super) fn between(kind: Kind, was: Option<&Value>, is: Option<&Value>) -> Vec<Difference> {
    let (mut old, mut new) = (was.cloned().unwrap_or_default(), is.cloned().unwrap_or_default());
    for path in kind.secrets() {
        cover(&mut new, was.unwrap_or(&Value::Null), path);
    }
    keep::mask(kind, &mut old);
    for name in kind.hidden() {
        if let Value::Object(fields) = &mut new {
            fields.shift_remove(*name);
        }
    }
    match (was, is) {
        (None, _) => lean(kind, &mut new),
        (_, None) => lean(kind, &mut old),
        _ => {}
    }
    let mut found = Vec::new();
    compare(String::new(), (&old, &new), &mut found);
    found
}

/// Puts the mask, or that it is another, in the place of each secret.
fn cover(is: &mut Value, was: &Value, path: &str) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, many) = first.strip_suffix("[]").map_or((first, false), |name| (name, true));
    let Some(new) = is.get_mut(name) else { return };
    let old = was.get(name).unwrap_or(&Value::Null);
    let go = |new: &mut Value, old: &Value| match rest {
        Some(rest) => cover(new, old, rest),
        None if new.is_string() => {
            let other = old.is_string() && old != new;
            *new = if other { CHANGED } else { MASK }.into();
        }
        None => {}
    };
    match new {
        Value::Array(items) if many => {
            items.iter_mut().enumerate().for_each(|(at, item)| go(item, old.get(at).unwrap_or(&Value::Null)))
        }
        new => go(new, old),
    }
}

fn compare(path: String, (old, new): (&Value, &Value), found: &mut Vec<Difference>) {
    let empty = Map::new();
    match (old, new) {
        (old, new) if old == new => {}
        (Value::Object(old), Value::Object(new)) => members(&path, (old, new), found),
        (Value::Null, Value::Object(new)) if path.is_empty() => members(&path, (&empty, new), found),
        (Value::Object(old), Value::Null) if path.is_empty() => members(&path, (old, &empty), found),
        (Value::Array(old), Value::Array(new)) => {
            for at in 0..old.len().max(new.len()) {
                let of = |list: &Vec<Value>| list.get(at).cloned().unwrap_or_default();
                compare(format!("{path}[{at}]"), (&of(old), &of(new)), found);
            }
        }
        (old, new) => found.push(Difference { path, from: old.clone(), to: new.clone() }),
    }
}

fn members(path: &str, (old, new): (&Map<String, Value>, &Map<String, Value>), found: &mut Vec<Difference>) {
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        compare(path, (&of(old), &of(new)), found);
    }
}
