//! Fields with one value.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};
use url::Url;

use super::{EVENT_TYPE, Fields, IDENTIFIER, Secret, Text, must_be};
use crate::model::number::whole;
use crate::model::time::Timestamp;

impl Fields {
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
        let schema = || match [parse("a/b").is_err(), parse("a*").is_err()] {
            [true, _] => json!({"type": "string", "pattern": IDENTIFIER}),
            [false, true] => json!({"type": "string", "pattern": EVENT_TYPE}),
            _ => Text::line(256).schema(),
        };
        if self.sketched(name, || or_number(schema())) {
            return None;
        }
        self.read(name, |value| match value {
            Value::String(text) => parse(text).map_err(|error| error.to_string()),
            Value::Number(number) if whole(number).is_some() => {
                parse(&whole(number).unwrap_or_default().to_string()).map_err(|error| error.to_string())
            }
            other => Err(must_be("a string or a whole number", "a number", other)),
        })
    }

    pub fn text(&mut self, name: &'static str, form: &Text) -> Option<String> {
        if self.sketched(name, || form.schema()) {
            return None;
        }
        self.read(name, |value| {
            let text = value.as_str().ok_or_else(|| must_be("a string", "a string", value))?;
            form.check(text).map(|()| text.to_owned())
        })
    }

    /// A secret of 1 to 4,096 characters.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let schema = || json!({"type": "string", "minLength": 1, "maxLength": 4_096, "format": "password"});
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
        if self.sketched(name, || json!({"type": "string", "format": "uri", "maxLength": 2_048, "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s#]+$"})) {
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
            let number = value.as_number().and_then(whole).and_then(|n| u64::try_from(n).ok());
            let number = number.filter(|n| range.contains(n));
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
}

/// A number is its digits: what JSON readers take for a whole number.
fn or_number(mut text: Value) -> Value {
    text["type"] = json!(["string", "integer"]);
    text["minimum"] = json!(i64::MIN);
    text["maximum"] = json!(u64::MAX);
    text
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
