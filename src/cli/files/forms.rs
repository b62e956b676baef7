//! The form of a file: documents, each a resource, a list of them, or `{resources: [...]}` as the API exports it.

use std::sync::Arc;

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::source::decoded;
use super::tree::{Node, Tree};
use super::{Wrong, json};
use crate::catalog::{Key, Kind};
use crate::model::problem::json_fault;
use crate::model::suggest::nearest;

const FIELDS: [&str; 4] = ["kind", "id", "spec", "$schema"];

/// Shows the resources in a text as they are read, each with what it is; nothing of them is kept here. Answers what is wrong.
pub(super) fn resources(file: &Arc<str>, bytes: &[u8], json: bool, mut see: impl FnMut(Node, Key)) -> Vec<Wrong> {
    let at = |line, message| Wrong { file: Arc::clone(file), line, of: None, path: String::new(), message };
    let mut wrong = Vec::new();
    let told = |node: &Node, problems: Vec<(String, String)>| {
        let one = |(path, message): (String, String)| Wrong { line: node.line_of(&path), path, ..at(None, message) };
        problems.into_iter().map(one).collect::<Vec<_>>()
    };
    let mut one = |node: Node| match key(&node) {
        Ok(key) => see(node, key),
        Err(problems) => wrong.extend(told(&node, problems)),
    };
    let read = decoded(bytes).and_then(|text| match json && !text.contains("${") {
        true => json::each(text, &mut |value| one(Node::without_lines(value))),
        false => each(bytes, json, &mut one),
    });
    if json && !wrong.is_empty() {
        // Where they stand is worth a second look.
        wrong.clear();
        let _ = each(bytes, json, |node| wrong.extend(key(&node).err().into_iter().flat_map(|of| told(&node, of))));
    }
    wrong.extend(read.err().map(|(line, message)| at(Some(line), message)));
    wrong
}

/// Shows what a file has in the place of resources, one after the other, with the lines of all.
pub(super) fn each(bytes: &[u8], json: bool, mut see: impl FnMut(Node)) -> Result<(), (u64, String)> {
    let text = decoded(bytes)?;
    if json {
        return of_json(text).map(|node| parts(node, &mut see));
    }
    of_yaml(text, |document| parts(document, &mut see))
}

/// Shows the documents of a text, each before the next one is read: a file of 100,000 has no place in memory as trees.
pub(super) fn of_yaml(text: &str, mut see: impl FnMut(Node)) -> Result<(), (u64, String)> {
    // As much as the file has: it is the user's own.
    let options = serde_saphyr::options! {
        budget: None,
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    let mut bytes = text.as_bytes();
    for document in serde_saphyr::read_with_options::<_, Spanned<Tree>>(&mut bytes, options) {
        see(document.map(Node::from).map_err(fault)?);
    }
    Ok(())
}

fn fault(error: serde_saphyr::Error) -> (u64, String) {
    let error = error.without_snippet();
    let line = error.location().map_or(1, |at| at.line());
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or_default();
    if let Some(name) = what.strip_prefix("duplicate mapping key: ") {
        let name = name.split(", set ").next().unwrap_or(name);
        return (line, format!("is not YAML: the field `{name}` is there twice"));
    }
    let hint = HINTS.iter().find(|(of, _)| what.contains(of)).map_or("", |(_, hint)| hint);
    (line, format!("is not YAML: {what}{hint}"))
}

/// What people do who are told that.
const HINTS: [(&str, &str); 4] = [
    (
        "mapping values are not allowed",
        "; indent it as the fields beside it, and put a text with `: ` in it into quotes",
    ),
    ("tabs disallowed", "; indent with spaces"),
    ("multiline quoted scalar", "; is a quote missing above?"),
    ("alias replay limit", "; what its anchors (`&`, `*`) come to is too much"),
];

/// JSON is YAML too, which tells the lines; what JSON says is as JSON has it.
fn of_json(text: &str) -> Result<Node, (u64, String)> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| (e.line() as u64, format!("is not JSON: {}", json_fault(&e))))?;
    let mut with_lines = Vec::new();
    let read = of_yaml(text, |node| with_lines.push(node));
    let same = with_lines.pop().filter(|node| read.is_ok() && with_lines.is_empty() && node.to_json() == value);
    Ok(same.unwrap_or_else(|| Node::without_lines(value)))
}

/// Shows the resources that a document holds.
fn parts(document: Node, see: &mut impl FnMut(Node)) {
    match document.tree {
        Tree::Plain(Value::Null) => {}
        Tree::List(items) => items.into_iter().for_each(|item| parts(item, see)),
        Tree::Fields(mut fields) if fields.iter().any(|(name, _)| name == "resources") => {
            if let Some(at) = fields.iter().position(|(name, _)| name == "resources") {
                parts(fields.swap_remove(at).1, see);
            }
        }
        tree => see(Node { line: document.line, tree }),
    }
}

/// Which resource it is, else what is wrong, by its path.
pub(super) fn key(node: &Node) -> Result<Key, Vec<(String, String)>> {
    let Tree::Fields(fields) = &node.tree else {
        return Err(vec![(String::new(), "must be a resource: `kind`, `id` and `spec`".to_owned())]);
    };
    let mut wrong = Vec::new();
    let kind = node.get("kind").map(kind).transpose().unwrap_or_else(|message| {
        wrong.push(("kind".to_owned(), message));
        None
    });
    for name in ["kind", "id", "spec"] {
        if node.get(name).is_none() && !wrong.iter().any(|(path, _)| path == name) {
            wrong.push((name.to_owned(), "is required".to_owned()));
        }
    }
    for (name, _) in fields.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())) {
        wrong.push((name.clone(), unknown(name, kind)));
    }
    if node.get("spec").is_some_and(|spec| !matches!(spec.tree, Tree::Fields(_))) {
        wrong.push(("spec".to_owned(), "must be an object".to_owned()));
    }
    let id = node.get("id").and_then(|id| match &id.tree {
        Tree::Text(text) => Some(text.clone()),
        Tree::Plain(Value::Number(number)) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    });
    let key = kind.zip(id).and_then(|(kind, id)| Key::of(kind, &id));
    if node.get("id").is_some() && kind.is_some() && key.is_none() {
        let quotes = match node.get("id").map(|id| &id.tree) {
            Some(Tree::Plain(_)) => "; what is a number, a yes or nothing to YAML is a text in quotes only",
            _ => "",
        };
        wrong.push(("id".to_owned(), format!("must be 1-128 of A-Z a-z 0-9 . _ : -{quotes}")));
    }
    match key {
        Some(key) if wrong.is_empty() => Ok(key),
        _ => Err(wrong),
    }
}

fn kind(node: &Node) -> Result<Kind, String> {
    let known = || Kind::configuration().map(Kind::name);
    let all = known().collect::<Vec<_>>().join(", ");
    let Tree::Text(name) = &node.tree else { return Err(format!("must be one of {all}")) };
    match Kind::parse(name) {
        Some(kind) if kind.is_configuration() => Ok(kind),
        Some(kind) => Err(format!("must be one of {all}: {}s are not kept in files", kind.noun())),
        None => Err(match nearest(name, known()) {
            Some(meant) => format!("`{name}` is not known; did you mean `{meant}`?"),
            None => format!("`{name}` is not known; it must be one of {all}"),
        }),
    }
}

fn unknown(name: &str, kind: Option<Kind>) -> String {
    let belongs = kind.is_some_and(|kind| kind.schema()["properties"].get(name).is_some());
    match nearest(name, FIELDS) {
        _ if belongs => format!("belongs into the spec: `spec: {{{name}: ...}}`"),
        Some(meant) => format!("is not a known field; did you mean `{meant}`?"),
        None => "is not a known field; fields of the resource stand in `spec`".to_owned(),
    }
}
