//! Reads a JSON object field by field and collects everything that is wrong with it, each with its path.
//!
//! The same calls make the schema of what is read (`Fields::sketch`): a reader asks for every field whatever the others hold, and
//! is then asked without any.

mod case;
mod many;
mod one;
mod secret;
mod sketch;

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::model::problem::Problem;
use crate::model::suggest::nearest;

/// More problems than this are not told: a client mends the first ones first.
const MAX_PROBLEMS: usize = 100;

pub use case::Case;
pub use many::{any_text, event_pattern, identifier};
pub use secret::{MASK, Secret};
use sketch::Sketch;
pub use sketch::or_null;

/// Identifiers as the schema tells them; `model::ids` checks them.
pub const IDENTIFIER: &str = "^[A-Za-z0-9._:-]{1,128}$";
/// Event types, and with `*` as a segment patterns of them.
pub const EVENT_TYPE: &str = r"^[^\s*\u0000-\u001f\u007f-\u009f]{1,255}$";
const EVENT_PATTERN: &str = r"^(\*|[^\s*.\u0000-\u001f\u007f-\u009f]*)(\.(\*|[^\s*.\u0000-\u001f\u007f-\u009f]*))*$";

/// An object that is being read. A field that is `null` counts as absent.
#[derive(Debug)]
pub struct Fields {
    map: Map<String, Value>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
    /// There is nothing to read: what is asked for is written down.
    sketch: Option<Sketch>,
}

/// How a text may look.
#[derive(Clone, Debug)]
pub struct Text {
    pub chars: RangeInclusive<usize>,
    /// May it have line breaks and tabs?
    pub lines: bool,
}

impl Text {
    pub const fn line(max: usize) -> Self {
        Text { chars: 1..=max, lines: false }
    }

    pub const fn lines(max: usize) -> Self {
        Text { chars: 0..=max, lines: true }
    }

    /// The same rules as `check` has.
    pub fn schema(&self) -> Value {
        let (min, max) = (*self.chars.start(), *self.chars.end());
        let control = if self.lines {
            r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
        } else {
            r"\u0000-\u001f\u007f-\u009f"
        };
        let pattern = match min {
            0 => format!("^[^{control}]*$"),
            _ => format!(r"^[^{control}]*[^\s{control}][^{control}]*$"),
        };
        json!({"type": "string", "minLength": min, "maxLength": max, "pattern": pattern})
    }

    /// What is wrong with `text`, to be read after the name of the field.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let (min, max) = (*self.chars.start(), *self.chars.end());
        let allowed = |c: char| !c.is_control() || (self.lines && matches!(c, '\n' | '\r' | '\t'));
        if !text.chars().all(allowed) {
            return Err("must not contain control characters".to_owned());
        }
        if !self.chars.contains(&text.chars().count()) || (min > 0 && text.trim().is_empty()) {
            return Err(format!("must be {min} to {max} characters long"));
        }
        Ok(())
    }
}

impl Fields {
    pub fn of(value: Value) -> Result<Self, Vec<Problem>> {
        match value {
            Value::Object(map) => Ok(Fields::over(map)),
            _ => Err(vec![Problem::new("", "must be a JSON object")]),
        }
    }

    fn over(map: Map<String, Value>) -> Self {
        Fields { map, asked: Vec::new(), problems: Vec::new(), sketch: None }
    }

    /// The JSON Schema of what `read` asks for.
    pub fn sketch<T>(read: impl FnOnce(&mut Fields) -> T) -> Value {
        let mut fields = Fields { sketch: Some(Sketch::default()), ..Fields::over(Map::new()) };
        read(&mut fields);
        fields.sketch.unwrap_or_default().into_schema()
    }

    /// Writes a field down where nothing is read; true where it did.
    fn sketched(&mut self, name: &str, schema: impl FnOnce() -> Value) -> bool {
        if let Some(sketch) = &mut self.sketch {
            sketch.put(name, schema());
        }
        self.sketch.is_some()
    }

    /// Adds to the schema of a field what its reader asks beyond its form.
    pub fn refine(&mut self, name: &str, more: impl FnOnce() -> Value) {
        if let Some(sketch) = &mut self.sketch {
            sketch.refine(name, more());
        }
    }

    pub fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem::new(path, message));
        }
    }

    pub fn is_wrong(&self) -> bool {
        !self.problems.is_empty()
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.map.swap_remove(name).filter(|value| !value.is_null())
    }

    /// Reads `alias` as `name`. Both at once is a problem.
    pub fn alias(&mut self, name: &'static str, alias: &'static str) {
        if let Some(sketch) = &mut self.sketch {
            sketch.alias(name, alias);
        }
        let Some(value) = self.map.shift_remove(alias) else { return };
        if self.map.contains_key(name) {
            self.wrong(alias, format!("is another name of `{name}`: give one of them"));
        } else {
            self.map.insert(name.to_owned(), value);
        }
    }

    /// Says so if the field is missing; reading it comes after.
    pub fn require(&mut self, name: &'static str) {
        if let Some(sketch) = &mut self.sketch {
            sketch.require(name);
        } else if self.map.get(name).is_none_or(Value::is_null) {
            self.wrong(name, "is required");
        }
    }

    /// Reads what is there with `read`, whose error is told after the path.
    fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.take(name)?;
        read(&value).map_err(|message| self.wrong(name, message)).ok()
    }

    /// What was read, unless something was wrong. Whatever was not asked for is a problem, with the name that was meant.
    pub fn finish<T>(mut self, read: Option<T>) -> Result<T, Vec<Problem>> {
        for key in std::mem::take(&mut self.map).into_iter().map(|(key, _)| key) {
            let message = match nearest(&key, self.asked.iter().copied()) {
                Some(name) => format!("is not a known field; did you mean `{name}`?"),
                None => "is not a known field".to_owned(),
            };
            self.wrong(key, message);
        }
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(self.problems),
        }
    }
}

/// `wanted` is a form of `kind`: what is of another kind is told so.
fn must_be(wanted: &str, kind: &str, value: &Value) -> String {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    if is == kind { format!("must be {wanted}") } else { format!("must be {wanted}, not {is}") }
}

fn listed<'a, T>(words: &[(&'a str, T)]) -> Vec<&'a str> {
    words.iter().map(|(word, _)| *word).collect()
}
