//! A plan for people: what is made, changed and deleted, field by field.

use std::collections::HashMap;

use serde_json::Value;

use super::{Difference, Plan, Step};
use crate::cli::columns::{Colour, Line, colours};
use crate::cli::files::Resources;
use crate::cli::output::harmless;

/// Characters of a value that are shown.
const SHOWN: usize = 100;

pub(super) fn plan(plan: &Plan, found: &Resources, places: &HashMap<String, usize>) -> String {
    let mut text = String::new();
    for step in plan.plan.iter().filter(|step| step.action != "unchanged") {
        let key = format!("{}/{}", step.kind, step.id);
        text += &head(step, &key);
        if step.action == "delete" {
            continue;
        }
        let at = places.get(&key).copied();
        for change in &step.diff {
            text += &line(change, at.and_then(|at| found.written(at, &change.path)), step.action == "create");
        }
    }
    let count = |action: &str| plan.plan.iter().filter(|step| step.action == action).count();
    let (create, update, delete, same) = (count("create"), count("update"), count("delete"), count("unchanged"));
    if create + update + delete == 0 {
        return format!("nothing to change: {same} unchanged\n");
    }
    text + &format!("{create} to create, {update} to update, {delete} to delete, {same} unchanged\n")
}

fn head(step: &Step, key: &str) -> String {
    let (sign, colour) = match step.action.as_str() {
        "create" => ("+", Colour::Green),
        "delete" => ("-", Colour::Red),
        _ => ("~", Colour::Yellow),
    };
    let mut line = Line::new(colours());
    line.column(Some(&format!("{sign} {} {key}", step.action)), 0, colour);
    line.finish()
}

/// What came from elsewhere is shown as it is written.
fn line(change: &Difference, written: Option<&str>, new: bool) -> String {
    let mut line = Line::new(colours());
    line.column(Some("   "), 3, Colour::Plain);
    line.column(Some(&change.path), 24, Colour::Plain);
    let (from, to) = match written {
        Some(written) => ("...".to_owned(), written.to_owned()),
        None => (shown(&change.from), shown(&change.to)),
    };
    if !new {
        line.column(Some(&from), 0, Colour::Red);
        line.column(Some("->"), 0, Colour::Dim);
    }
    line.column(Some(&to), 0, Colour::Green);
    line.finish()
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "(none)".to_owned(),
        value => harmless(&value.to_string()),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
