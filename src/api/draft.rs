//! What a request says in its URL and in its body at once must be the same.

use serde_json::{Map, Value};

use crate::api::error::ApiError;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::schema::READ_ONLY;
use crate::model::number::whole;
use crate::model::problem::Problem;

/// A body on its way to a resource.
#[derive(Debug)]
pub struct Draft {
    kind: Kind,
    json: Value,
    problems: Vec<Problem>,
}

impl Draft {
    pub fn new(kind: Kind, mut json: Value) -> Self {
        let mut problems = Vec::new();
        if let Value::Object(map) = &mut json {
            // A client that sends back what it got changes nothing by them.
            let told = kind.told().map(|(name, _)| name);
            for name in READ_ONLY.iter().chain(kind.given()).chain(&told) {
                map.shift_remove(*name);
            }
            for name in kind.hidden().iter().filter(|name| map.contains_key(**name)) {
                problems.push(Problem::new(*name, "is not a known field"));
            }
            if let Some(org) = map.shift_remove("tenantId") {
                let same = map.entry("orgId").or_insert_with(|| org.clone()) == &org;
                if !same {
                    problems.push(Problem::new("tenantId", "is another name of `orgId`, which says otherwise"));
                }
            }
        }
        Draft { kind, json, problems }
    }

    /// The URL says what `name` is; a body that says otherwise is wrong.
    pub fn fix(mut self, name: &str, value: &str) -> Self {
        self = self.only_same(name, value);
        if let Value::Object(map) = &mut self.json {
            map.insert(name.to_owned(), value.into());
        }
        self
    }

    /// What the URL says `name` is, the body says too, or not at all.
    pub fn only_same(mut self, name: &str, value: &str) -> Self {
        let Value::Object(map) = &self.json else { return self };
        if let Some(other) = text(map, name).filter(|other| other != value) {
            self.problems.push(Problem::new(name, format!("is `{other}` here, and this request is of `{value}`")));
        }
        self
    }

    /// What `name` is where the body does not say.
    pub fn default(mut self, name: &str, value: impl FnOnce() -> Value) -> Self {
        if let Value::Object(map) = &mut self.json
            && map.get(name).is_none_or(Value::is_null)
        {
            map.insert(name.to_owned(), value());
        }
        self
    }

    /// What the gateway says of it, and no client can.
    pub fn made(mut self, fields: Map<String, Value>) -> Self {
        if let Value::Object(map) = &mut self.json {
            map.extend(fields);
        }
        self
    }

    /// The resource that is meant, and what is said of it. Whether that is valid is decided where it is written, but where
    /// something is wrong already, all of it is told at once.
    pub fn named(mut self) -> Result<(Key, Value), ApiError> {
        let id = self.json.as_object().and_then(|map| text(map, self.kind.id_field()));
        let key = id.and_then(|id| Key::of(self.kind, &id));
        match key {
            Some(key) if self.problems.is_empty() => Ok((key, self.json)),
            _ => {
                self.problems.extend(self.kind.read(self.json).err().into_iter().flatten());
                Err(ApiError::invalid(self.problems))
            }
        }
    }

    /// What is to be merged into a resource.
    pub fn patch(mut self) -> Result<Value, ApiError> {
        if !self.json.is_object() {
            self.problems.push(Problem::new("", "must be a JSON object"));
        }
        if self.problems.is_empty() { Ok(self.json) } else { Err(ApiError::invalid(self.problems)) }
    }
}

/// Producers send `648` and `"648"`.
fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    match map.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(whole(number).map_or_else(|| number.to_string(), |whole| whole.to_string())),
        _ => None,
    }
}
