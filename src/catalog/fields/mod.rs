//! Reads a JSON object field by field and collects everything that is wrong with it, each with its path.
//!
//! The same calls make the schema of what is read (`Fields::sketch`): a reader asks for every field whatever the others hold, and
//! is then asked without any.

mod secret;
mod sketch;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};
use url::Url;

use crate::model::problem::Problem;
use crate::model::suggest::nearest;
use crate::model::time::Timestamp;

/// More problems than this are not told: a client mends the first ones first.
const MAX_PROBLEMS: usize = 100;

pub use secret::{MASK, Secret};
use sketch::Sketch;

/// Identifiers as the schema tells them; `model::ids` checks them.
const IDENTIFIER: &str = "^[A-Za-z0-9._:-]{1,128}$";

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
        self.map.shift_remove(name).filter(|value| !value.is_null())
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

    /// A field whose feature this version does not have, as it came; `allowed` is the schema of what it may hold.
    pub fn neutral(&mut self, name: &'static str, allowed: Value) -> Option<Value> {
        if self.sketched(name, || allowed) {
            return None;
        }
        self.take(name)
    }

    /// Any JSON.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        if self.sketched(name, || json!({})) {
            return None;
        }
        self.take(name)
    }

    /// An object of any fields.
    pub fn map(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        if self.sketched(name, || json!({"type": "object"})) {
            return None;
        }
        self.read(name, |value| match value {
            Value::Object(map) => Ok(map.clone()),
            other => Err(must_be("an object", "an object", other)),
        })
    }

    /// An id: producers send `648` and `"648"`.
    pub fn id<T, E: Display>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        // What an identifier may not hold, ids of other forms may.
        let narrow = parse("a b").is_err() && parse("a*").is_err() && parse("a/b").is_err();
        let pattern = || {
            if narrow {
                json!({"type": ["string", "integer"], "pattern": IDENTIFIER})
            } else {
                json!({"type": ["string", "integer"]})
            }
        };
        if self.sketched(name, pattern) {
            return None;
        }
        self.read(name, |value| match value {
            Value::String(text) => parse(text).map_err(|error| error.to_string()),
            Value::Number(number) if !number.is_f64() => parse(&number.to_string()).map_err(|error| error.to_string()),
            other => Err(must_be("a string or a whole number", "a number", other)),
        })
    }

    pub fn text(&mut self, name: &'static str, form: &Text) -> Option<String> {
        let (min, max) = (*form.chars.start(), *form.chars.end());
        if self.sketched(name, || json!({"type": "string", "minLength": min, "maxLength": max})) {
            return None;
        }
        self.read(name, |value| {
            let text = value.as_str().ok_or_else(|| must_be("a string", "a string", value))?;
            form.check(text).map(|()| text.to_owned())
        })
    }

    /// A secret of 1 to 4,096 characters.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let schema =
            || json!({"type": "string", "minLength": 1, "maxLength": 4_096, "writeOnly": true, "format": "password"});
        if self.sketched(name, schema) {
            return None;
        }
        self.read(name, |value| {
            let text = value.as_str().ok_or_else(|| must_be("a string", "a string", value))?;
            Secret::parse(text)
        })
    }

    /// An address of HTTP.
    pub fn url(&mut self, name: &'static str) -> Option<Url> {
        if self.sketched(name, || json!({"type": "string", "format": "uri", "maxLength": 2_048})) {
            return None;
        }
        let text = self.text(name, &Text::line(2_048))?;
        parse_url(&text).map_err(|message| self.wrong(name, message)).ok()
    }

    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        if self.sketched(name, || json!({"type": "boolean"})) {
            return None;
        }
        self.read(name, |value| value.as_bool().ok_or_else(|| must_be("true or false", "a boolean", value)))
    }

    pub fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        if self.sketched(name, || json!({"type": "string", "format": "date-time"})) {
            return None;
        }
        let time = |value: &Value| value.as_str().and_then(Timestamp::parse);
        self.read(name, |value| {
            time(value).ok_or_else(|| must_be("a time such as `2026-11-20T08:15:30Z`", "a string", value))
        })
    }

    pub fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        if self.sketched(name, || json!({"type": "integer", "minimum": range.start(), "maximum": range.end()})) {
            return None;
        }
        self.read(name, |value| {
            let number = value.as_u64().filter(|n| range.contains(n));
            let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
            number.ok_or_else(|| must_be(&wanted(), "a number", value))
        })
    }

    pub fn decimal(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        if self.sketched(name, || json!({"type": "number", "minimum": range.start(), "maximum": range.end()})) {
            return None;
        }
        self.read(name, |value| {
            let number = value.as_f64().filter(|n| range.contains(n));
            let wanted = || format!("a number from {} to {}", range.start(), range.end());
            number.ok_or_else(|| must_be(&wanted(), "a number", value))
        })
    }

    /// An object with fields of its own; what is wrong in it is told under its path.
    pub fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields) -> Option<T>) -> Option<T> {
        if self.sketch.is_some() {
            let schema = Fields::sketch(read);
            self.sketched(name, || schema);
            return None;
        }
        match self.take(name)? {
            Value::Object(map) => self.within(name, map, read),
            other => {
                self.wrong(name, must_be("an object", "an object", &other));
                None
            }
        }
    }

    /// A list of at most `max` objects, each with fields of its own.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl Fn(&mut Fields) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.sketch.is_some() {
            let items = Fields::sketch(read);
            self.sketched(name, || json!({"type": "array", "maxItems": max, "items": items}));
            return None;
        }
        let values = self.array(name, max, "a list of objects")?;
        let count = values.len();
        let read = values.into_iter().enumerate().filter_map(|(i, value)| match value {
            Value::Object(map) => self.within(&format!("{name}[{i}]"), map, &read),
            other => {
                self.wrong(format!("{name}[{i}]"), must_be("an object", "an object", &other));
                None
            }
        });
        let read: Vec<T> = read.collect();
        (read.len() == count).then_some(read)
    }

    fn within<T>(
        &mut self,
        path: &str,
        map: Map<String, Value>,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Option<T> {
        let mut inner = Fields::over(map);
        let read = read(&mut inner);
        match inner.finish(read) {
            Ok(read) => Some(read),
            Err(problems) => {
                problems.into_iter().for_each(|p| self.wrong(format!("{path}.{}", p.path), p.message));
                None
            }
        }
    }

    fn array(&mut self, name: &'static str, max: usize, wanted: &str) -> Option<Vec<Value>> {
        self.read(name, |value| match value {
            Value::Array(values) if values.len() <= max => Ok(values.clone()),
            Value::Array(_) => Err(format!("must have at most {max} elements")),
            other => Err(must_be(wanted, "a list", other)),
        })
    }

    /// One of a few words.
    pub fn choice<T: Clone>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        if self.sketched(name, || json!({"type": "string", "enum": listed(words)})) {
            return None;
        }
        let value = self.take(name)?;
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        if found.is_none() {
            self.wrong(name, format!("must be one of {}", listed(words).join(", ")));
        }
        found.map(|(_, choice)| choice.clone())
    }

    /// Some of a few words.
    pub fn choices<T: Clone>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<Vec<T>> {
        let schema = || json!({"type": "array", "items": {"type": "string", "enum": listed(words)}});
        if self.sketched(name, schema) {
            return None;
        }
        self.list(name, 100, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found
                .map(|(_, choice)| choice.clone())
                .ok_or_else(|| format!("must be one of {}", listed(words).join(", ")))
        })
    }

    /// A list of at most `max` texts, each parsed; problems name the element.
    pub fn list<T, E: Display>(
        &mut self,
        name: &'static str,
        max: usize,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        if self.sketched(name, || json!({"type": "array", "maxItems": max, "items": {"type": "string"}})) {
            return None;
        }
        let values = self.array(name, max, "a list of strings")?;
        let parsed = values.iter().enumerate().filter_map(|(i, value)| {
            let text = value.as_str().ok_or_else(|| must_be("a string", "a string", value));
            let parsed = text.and_then(|text| parse(text).map_err(|error| error.to_string()));
            parsed.map_err(|message| self.wrong(format!("{name}[{i}]"), message)).ok()
        });
        let parsed: Vec<T> = parsed.collect();
        (parsed.len() == values.len()).then_some(parsed)
    }

    /// As `list`; a text that stands alone is a list of one.
    pub fn one_or_list<T, E: Display>(
        &mut self,
        name: &'static str,
        max: usize,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        if let Some(value) = self.map.get_mut(name).filter(|value| value.is_string()) {
            *value = Value::Array(vec![value.take()]);
        }
        let list = self.list(name, max, parse);
        if let Some(sketch) = &mut self.sketch {
            sketch.or_one(name);
        }
        list
    }

    /// An object of texts with at most `max` entries.
    pub fn texts(&mut self, name: &'static str, max: usize) -> Option<BTreeMap<String, String>> {
        let schema = || json!({"type": "object", "maxProperties": max, "additionalProperties": {"type": "string"}});
        if self.sketched(name, schema) {
            return None;
        }
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

fn listed<'a, T>(words: &[(&'a str, T)]) -> Vec<&'a str> {
    words.iter().map(|(word, _)| *word).collect()
}

/// A URL that requests may go to. An error reads on after the name of the field.
fn parse_url(text: &str) -> Result<Url, &'static str> {
    if text.contains("{{") {
        return Err("must not contain `{{`: this version has no placeholders in URLs yet");
    }
    if text.contains(char::is_whitespace) {
        return Err("must not contain spaces");
    }
    let url = Url::parse(text).map_err(|_| "must be a URL like `https://erp.example/bills`")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with `https://` or `http://`");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("must have a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password");
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment (`#`): it is never sent");
    }
    Ok(url)
}
