//! What differs between two forms of a resource, field by field, for people: no secret is in it.

use std::collections::{HashMap, VecDeque};

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
    /// As it was; null: it was not there. A secret is `***`. Of a list whose elements changed places: those, in their order before.
    pub from: Value,
    /// As it became; null: it is gone. A secret is `***`, and another than before `*** (changed)`. Of a list whose elements changed
    /// places: the same, in their order now.
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
        (Value::Array(old), Value::Array(new)) => lists(&path, (old, new), found),
        (from, to) => found.push(Changed { path, from: from.clone(), to: to.clone() }),
    }
}

/// Element by element, whatever place each has now; that they changed places is one change of the list.
fn lists(path: &str, (old, new): (&[Value], &[Value]), found: &mut Vec<Changed>) {
    // Lists within a list are compared in their place: each level would read all below it once more.
    let was = match path.contains('[') {
        true => (0..new.len()).map(|at| Some(at).filter(|at| *at < old.len())).collect(),
        false => partners(old, new),
    };
    for (at, (element, was)) in new.iter().zip(&was).enumerate() {
        let before = was.and_then(|was| old.get(was)).unwrap_or(&Value::Null);
        compare(format!("{path}[{at}]"), (before, element), found);
    }
    let now: Vec<usize> = was.into_iter().flatten().collect();
    let mut before = now.clone();
    before.sort_unstable();
    for (at, element) in old.iter().enumerate().filter(|(at, _)| before.binary_search(at).is_err()) {
        compare(format!("{path}[{at}]"), (element, &Value::Null), found);
    }
    if now != before {
        let told = |order: &[usize]| order.iter().filter_map(|at| old.get(*at).cloned()).collect();
        found.push(Changed { path: path.to_owned(), from: told(&before), to: told(&now) });
    }
}

/// Which of the old elements each of the new ones is: one that is the same, or is but for its secrets, or else the one in its place.
/// By their texts, for a list may have as many elements as a request has room for.
fn partners(old: &[Value], new: &[Value]) -> Vec<Option<usize>> {
    let mut partners: Vec<_> = (0..new.len()).map(|at| (old.get(at) == new.get(at)).then_some(at)).collect();
    let mut is_free: Vec<_> = (0..old.len()).map(|at| partners.get(at).is_none_or(Option::is_none)).collect();
    for text in [whole, seen] {
        let mut there: HashMap<String, VecDeque<usize>> = HashMap::new();
        for (was, element) in old.iter().enumerate().filter(|(was, _)| is_free[*was]) {
            there.entry(text(element)).or_default().push_back(was);
        }
        for (partner, element) in partners.iter_mut().zip(new).filter(|(partner, _)| partner.is_none()) {
            *partner = there.get_mut(&text(element)).and_then(VecDeque::pop_front);
            partner.iter().for_each(|was| is_free[*was] = false);
        }
    }
    let in_its_place = |at: usize| is_free.get(at) == Some(&true);
    for (at, partner) in partners.iter_mut().enumerate().filter(|(at, partner)| partner.is_none() && in_its_place(*at))
    {
        *partner = Some(at);
    }
    partners
}

fn whole(value: &Value) -> String {
    value.to_string()
}

/// Without what is behind its masks.
fn seen(value: &Value) -> String {
    let mut seen = value.clone();
    unmark(&mut seen);
    seen.to_string()
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
    fn elements_that_change_places_are_told_as_that_and_each_change_of_theirs_at_its_own() {
        let told = |path: &str, from: Value, to: Value| Changed { path: path.into(), from, to };
        let of =
            |name: &str, secret: &str| json!({"type": "WEBHOOK", "url": name, "secret": format!("sealed:1:{secret}")});
        let shown = |name: &str| json!({"type": "WEBHOOK", "url": name, "secret": "***"});
        let (a, b, c) = (of("a", "1"), of("b", "2"), of("c", "3"));
        let places = |from: [&str; 2], to: [&str; 2]| {
            told("l", from.map(shown).into_iter().collect(), to.map(shown).into_iter().collect())
        };
        let cases = [
            (json!([a, b]), json!([b, a]), vec![places(["a", "b"], ["b", "a"])]),
            // What is put before the others moves none of them, nor does what goes.
            (json!([a, b]), json!([c, a, b]), vec![told("l[0]", Value::Null, shown("c"))]),
            (json!([c, a, b]), json!([a, b]), vec![told("l[0]", shown("c"), Value::Null)]),
            (
                json!([a, b]),
                json!([b, c]),
                vec![told("l[1]", Value::Null, shown("c")), told("l[0]", shown("a"), Value::Null)],
            ),
            (
                json!([a, b]),
                json!([of("b", "4"), a]),
                vec![told("l[0].secret", json!("***"), json!("*** (changed)")), places(["a", "b"], ["b", "a"])],
            ),
            (json!([a, b]), json!([of("d", "1"), b]), vec![told("l[0].url", json!("a"), json!("d"))]),
            (
                json!(["x", "x", "y"]),
                json!(["x", "y", "x"]),
                vec![told("l", json!(["x", "x", "y"]), json!(["x", "y", "x"]))],
            ),
            (
                json!(["1s", "5s"]),
                json!(["1s", "6s", "7s"]),
                vec![told("l[1]", json!("5s"), json!("6s")), told("l[2]", Value::Null, json!("7s"))],
            ),
        ];
        for (before, after, expected) in cases {
            assert_eq!(
                diff(Kind::AlertRule, &json!({"l": before}), &json!({"l": after})),
                expected,
                "{before} {after}"
            );
        }
    }

    #[test]
    fn a_list_as_long_as_a_request_keeps_nobody_waiting() {
        let of = |numbers: std::ops::Range<u32>| json!({"sample": numbers.rev().collect::<Vec<_>>()});
        let found = diff(Kind::EventType, &of(0..100_000), &of(50_000..200_000));
        // Half of the old are changed in their places, half went to the end behind as many new ones.
        assert_eq!(found.len(), 100_001);
    }

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
