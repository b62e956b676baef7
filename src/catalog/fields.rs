//! Reads a JSON object field by field and collects everything that is wrong with it, each with its path.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::model::problem::Problem;
use crate::model::suggest::nearest;
use crate::model::time::Timestamp;

/// More problems than this are not told: a client mends the first ones first.
const MAX_PROBLEMS: usize = 100;

/// An object that is being read. A field that is `null` counts as absent.
#[derive(Debug)]
pub struct Fields {
    map: Map<String, Value>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
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
            Value::Object(map) => Ok(Fields { map, asked: Vec::new(), problems: Vec::new() }),
            _ => Err(vec![Problem::new("", "must be a JSON object")]),
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

    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Reads `alias` as `name`. Both at once is a problem.
    pub fn alias(&mut self, name: &'static str, alias: &'static str) {
        let Some(value) = self.map.remove(alias) else { return };
        if self.map.contains_key(name) {
            self.wrong(alias, format!("is another name of `{name}`: give one of them"));
        } else {
            self.map.insert(name.to_owned(), value);
        }
    }

    /// Says so if the field is missing; reading it comes after.
    pub fn require(&mut self, name: &'static str) {
        if self.map.get(name).is_none_or(Value::is_null) {
            self.wrong(name, "is required");
        }
    }

    /// Reads what is there with `read`, whose error is told after the path.
    fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.take(name)?;
        read(&value).map_err(|message| self.wrong(name, message)).ok()
    }

    /// An id: producers send `648` and `"648"`.
    pub fn id<T, E: Display>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        self.read(name, |value| match value {
            Value::String(text) => parse(text).map_err(|error| error.to_string()),
            Value::Number(number) if !number.is_f64() => parse(&number.to_string()).map_err(|error| error.to_string()),
            other => Err(must_be("a string or a whole number", "a number", other)),
        })
    }

    pub fn text(&mut self, name: &'static str, form: &Text) -> Option<String> {
        self.read(name, |value| {
            let text = value.as_str().ok_or_else(|| must_be("a string", "a string", value))?;
            form.check(text).map(|()| text.to_owned())
        })
    }

    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, |value| value.as_bool().ok_or_else(|| must_be("true or false", "a boolean", value)))
    }

    pub fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let time = |value: &Value| value.as_str().and_then(Timestamp::parse);
        self.read(name, |value| {
            time(value).ok_or_else(|| must_be("a time such as `2026-11-20T08:15:30Z`", "a string", value))
        })
    }

    pub fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.read(name, |value| {
            let number = value.as_u64().filter(|n| range.contains(n));
            let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
            number.ok_or_else(|| must_be(&wanted(), "a number", value))
        })
    }

    pub fn decimal(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        self.read(name, |value| {
            let number = value.as_f64().filter(|n| range.contains(n));
            let wanted = || format!("a number from {} to {}", range.start(), range.end());
            number.ok_or_else(|| must_be(&wanted(), "a number", value))
        })
    }

    /// An object with fields of its own; what is wrong in it is told under its path.
    pub fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields) -> Option<T>) -> Option<T> {
        let value = self.take(name)?;
        let Value::Object(map) = value else {
            self.wrong(name, must_be("an object", "an object", &value));
            return None;
        };
        let mut inner = Fields { map, asked: Vec::new(), problems: Vec::new() };
        let read = read(&mut inner);
        match inner.finish(read) {
            Ok(read) => Some(read),
            Err(problems) => {
                problems.into_iter().for_each(|p| self.wrong(format!("{name}.{}", p.path), p.message));
                None
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Clone>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.take(name)?;
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, format!("must be one of {}", words.join(", ")));
        }
        found.map(|(_, choice)| choice.clone())
    }

    /// Makes a list of one of a text that stands alone.
    pub fn one_as_list(&mut self, name: &str) {
        if let Some(value) = self.map.get_mut(name).filter(|value| value.is_string()) {
            *value = Value::Array(vec![value.take()]);
        }
    }

    /// A list of at most `max` texts, each parsed; problems name the element.
    pub fn list<T, E: Display>(
        &mut self,
        name: &'static str,
        max: usize,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let values = self.read(name, |value| match value {
            Value::Array(values) if values.len() <= max => Ok(values.clone()),
            Value::Array(_) => Err(format!("must have at most {max} elements")),
            other => Err(must_be("a list of strings", "a list", other)),
        })?;
        let parsed = values.iter().enumerate().filter_map(|(i, value)| {
            let text = value.as_str().ok_or_else(|| must_be("a string", "a string", value));
            let parsed = text.and_then(|text| parse(text).map_err(|error| error.to_string()));
            parsed.map_err(|message| self.wrong(format!("{name}[{i}]"), message)).ok()
        });
        let parsed: Vec<T> = parsed.collect();
        (parsed.len() == values.len()).then_some(parsed)
    }

    /// An object of texts with at most `max` entries.
    pub fn texts(&mut self, name: &'static str, max: usize) -> Option<BTreeMap<String, String>> {
        let entries = self.read(name, |value| match value {
            Value::Object(entries) if entries.len() <= max => Ok(entries.clone()),
            Value::Object(_) => Err(format!("must have at most {max} entries")),
            other => Err(must_be("an object of strings", "an object", other)),
        })?;
        let mut texts = BTreeMap::new();
        for (key, value) in entries {
            match value {
                Value::String(text) => drop(texts.insert(key, text)),
                other => self.wrong(format!("{name}.{key}"), must_be("a string", "a string", &other)),
            }
        }
        Some(texts)
    }

    /// `{name: text}`: 64 at most, keys of 1-63 characters, values of up to 255.
    pub fn labels(&mut self) -> BTreeMap<String, String> {
        let labels = self.texts("labels", 64).unwrap_or_default();
        let value_form = Text { chars: 0..=255, lines: false };
        for (key, value) in &labels {
            if let Err(message) = Text::line(63).check(key) {
                self.wrong(format!("labels.{key}"), format!("has a name that {message}"));
            }
            if let Err(message) = value_form.check(value) {
                self.wrong(format!("labels.{key}"), message);
            }
        }
        labels
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
