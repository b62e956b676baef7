//! Fields with several values, or with fields of their own.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Map, Value, json};

use super::{EVENT_PATTERN, Fields, IDENTIFIER, Text, listed, must_be};

impl Fields {
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
        let schema = || json!({"type": "array", "maxItems": 100, "items": {"type": "string", "enum": listed(words)}});
        if self.sketched(name, schema) {
            return None;
        }
        self.list(name, (100, any_text), |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found
                .map(|(_, choice)| choice.clone())
                .ok_or_else(|| format!("must be one of {}", listed(words).join(", ")))
        })
    }

    /// A list of at most `max` texts, each parsed; problems name the element. `items`: the schema of one.
    pub fn list<T, E: Display>(
        &mut self,
        name: &'static str,
        (max, items): (usize, fn() -> Value),
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        if self.sketched(name, || json!({"type": "array", "maxItems": max, "items": items()})) {
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

    /// As `list` with at least one; a text that stands alone is a list of one.
    pub fn one_or_list<T, E: Display>(
        &mut self,
        name: &'static str,
        (max, items): (usize, fn() -> Value),
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        if let Some(value) = self.map.get_mut(name).filter(|value| value.is_string()) {
            *value = Value::Array(vec![value.take()]);
        }
        let list = self.list(name, (max, items), parse);
        if let Some(sketch) = &mut self.sketch {
            sketch.or_one(name);
        }
        list
    }

    /// An object of texts with at most `max` entries. `entries`: the schemas of a name and of a value.
    pub fn texts(
        &mut self,
        name: &'static str,
        (max, entries): (usize, fn() -> [Value; 2]),
    ) -> Option<BTreeMap<String, String>> {
        let schema = || {
            let [names, values] = entries();
            json!({"type": "object", "maxProperties": max, "propertyNames": names, "additionalProperties": values})
        };
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
        const VALUE: Text = Text { chars: 0..=255, lines: false };
        let entries = || [Text::line(63).schema(), VALUE.schema()];
        let labels = self.texts("labels", (64, entries)).unwrap_or_default();
        for (key, value) in &labels {
            if let Err(message) = Text::line(63).check(key) {
                self.wrong(format!("labels.{key}"), format!("has a name that {message}"));
            }
            if let Err(message) = VALUE.check(value) {
                self.wrong(format!("labels.{key}"), message);
            }
        }
        labels
    }
}

/// Any text: what it may be is told where it is not.
pub fn any_text() -> Value {
    json!({"type": "string"})
}

/// An identifier.
pub fn identifier() -> Value {
    json!({"type": "string", "pattern": IDENTIFIER})
}

/// An event type, or a pattern of some.
pub fn event_pattern() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": EVENT_PATTERN})
}
