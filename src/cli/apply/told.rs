//! A plan for people: what is made, changed and deleted, field by field.

use std::collections::HashMap;

use serde_json::Value;

use super::{Changed, Step};
use crate::cli::columns::{Colour, Line, colours};
use crate::cli::exit::Exit;
use crate::cli::files::Resources;
use crate::cli::output::{harmless, print};

/// Characters of a value that are shown.
const SHOWN: usize = 100;
/// Elements of a list whose order is told one by one.
const ORDERED: usize = 20;
/// Bytes that are written at once, about.
const PIECE: usize = 64 * 1_024;

/// A plan as it comes.
pub(super) struct Shown<'a> {
    found: &'a Resources,
    /// Where those are that have values from elsewhere.
    places: HashMap<String, usize>,
    text: String,
    create: usize,
    update: usize,
    delete: usize,
    same: usize,
}

impl<'a> Shown<'a> {
    pub fn of(found: &'a Resources) -> Shown<'a> {
        let key = |at: usize| Some((found.desired.get(at)?.key.to_string(), at));
        let places = found.with_values().filter_map(key).collect();
        Shown { found, places, text: String::new(), create: 0, update: 0, delete: 0, same: 0 }
    }

    pub fn step(&mut self, step: Step) -> Result<(), Exit> {
        *match step.action.as_str() {
            "create" => &mut self.create,
            "update" => &mut self.update,
            "delete" => &mut self.delete,
            _ => {
                self.same += 1;
                return Ok(());
            }
        } += 1;
        let key = format!("{}/{}", step.kind, step.id);
        self.text += &head(&step, &key);
        let at = self.places.get(&key).copied();
        for change in step.diff.iter().filter(|_| step.action != "delete") {
            let written = at.filter(|_| !change.to.is_null()).and_then(|at| self.found.written(at, &change.path));
            self.text += &line(change, written, step.action == "create");
        }
        if self.text.len() >= PIECE { print(&std::mem::take(&mut self.text)) } else { Ok(()) }
    }

    /// The sum of it; answers how much it changes.
    pub fn end(self) -> Result<usize, Exit> {
        let Shown { create, update, delete, same, text, .. } = self;
        let changes = create + update + delete;
        print(&match changes {
            0 => format!("nothing to change: {same} unchanged\n"),
            _ => format!("{text}{create} to create, {update} to update, {delete} to delete, {same} unchanged\n"),
        })?;
        Ok(changes)
    }
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
fn line(change: &Changed, written: Option<&str>, new: bool) -> String {
    let mut line = Line::new(colours());
    line.column(Some("   "), 3, Colour::Plain);
    line.column(Some(&change.path), 24, Colour::Plain);
    let (from, to) = match (written, order(&change.from, &change.to)) {
        (Some(written), _) => ("...".to_owned(), written.to_owned()),
        (None, Some(order)) => {
            line.column(Some(&order), 0, Colour::Green);
            return line.finish();
        }
        (None, None) => (shown(&change.from), shown(&change.to)),
    };
    if !new {
        line.column(Some(&from), 0, Colour::Red);
        line.column(Some("->"), 0, Colour::Dim);
    }
    line.column(Some(&to), 0, Colour::Green);
    line.finish()
}

/// Of a list whose elements changed places: which of them, counted from 1, stands where now.
fn order(from: &Value, to: &Value) -> Option<String> {
    let (Value::Array(from), Value::Array(to)) = (from, to) else { return None };
    if to.len() > ORDERED {
        return Some("the same in another order".to_owned());
    }
    let mut left: Vec<_> = from.iter().enumerate().collect();
    let mut places = Vec::new();
    for element in to {
        let at = left.iter().position(|(_, other)| *other == element)?;
        places.push((left.remove(at).0 + 1).to_string());
    }
    left.is_empty().then(|| format!("the same in another order: {}", places.join(", ")))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_in_another_order_is_told_in_one_line_by_its_places() {
        let change = |from: Value, to: Value| Changed { path: "channels".to_owned(), from, to };
        let (a, b, c) = (json!({"url": "a"}), json!({"url": "b"}), json!({"url": "c"}));
        let moved = line(&change(json!([a, b, c]), json!([c, a, b])), None, false);
        assert_eq!(moved.trim(), "channels                  the same in another order: 3, 1, 2");
        let other = line(&change(json!([a]), json!([b])), None, false);
        assert!(other.contains("->"), "{other}");
    }
}
