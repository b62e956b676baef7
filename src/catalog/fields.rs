//! Reads a JSON object field by field and collects everything that is wrong with it, each with its path.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::problem::Problem;
use crate::model::suggest::nearest;

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

    /// A field of any type that serde reads; what is wrong inside is told with its path.
    pub fn read<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let value = self.take(name)?;
        match serde_path_to_error::deserialize(value) {
            Ok(read) => Some(read),
            Err(error) => {
                let inner = error.path().to_string();
                let dot = if inner.starts_with('[') { "" } else { "." };
                let path = if inner == "." { name.to_owned() } else { format!("{name}{dot}{inner}") };
                self.wrong(path, error.into_inner().to_string());
                None
            }
        }
    }

    pub fn text(&mut self, name: &'static str, form: &Text) -> Option<String> {
        let text: String = self.read(name)?;
        match form.check(&text) {
            Ok(()) => Some(text),
            Err(message) => {
                self.wrong(name, message);
                None
            }
        }
    }

    pub fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(name)?;
        let number = value.as_u64().filter(|n| range.contains(n));
        if number.is_none() {
            self.wrong(name, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        number
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
    pub fn list<T, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        max: usize,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let texts: Vec<String> = self.read(name)?;
        if texts.len() > max {
            self.wrong(name, format!("must have at most {max} elements"));
            return None;
        }
        let parsed = texts.iter().enumerate().filter_map(|(i, text)| match parse(text) {
            Ok(element) => Some(element),
            Err(error) => {
                self.wrong(format!("{name}[{i}]"), error.to_string());
                None
            }
        });
        let parsed: Vec<T> = parsed.collect();
        (parsed.len() == texts.len()).then_some(parsed)
    }

    /// An object of texts with at most `max` entries.
    pub fn texts(&mut self, name: &'static str, max: usize) -> Option<BTreeMap<String, String>> {
        let texts: BTreeMap<String, String> = self.read(name)?;
        if texts.len() > max {
            self.wrong(name, format!("must have at most {max} entries"));
            return None;
        }
        Some(texts)
    }

    /// `{name: text}`: 64 at most, keys of 1-63 characters, values of up to 255.
    pub fn labels(&mut self) -> BTreeMap<String, String> {
        let labels = self.texts("labels", 64).unwrap_or_default();
        let value_form = Text { chars: 0..=255, lines: false };
        for (key, value) in &labels {
            if let Err(message) = Text::line(63).check(key) {
                self.wrong(format!("labels.{key}"), format!("the name {message}"));
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
