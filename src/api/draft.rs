//! What a request says in its URL and in its body at once must be the same.

use serde_json::{Map, Value};

use crate::api::error::ApiError;
use crate::catalog::resource::{Kind, Resource};
use crate::model::problem::Problem;

/// Told by the server; a client that sends back what it got changes nothing by them.
const READ_ONLY: [&str; 3] = ["version", "createdAt", "updatedAt"];

/// A body on its way to a resource.
#[derive(Debug)]
pub struct Draft {
    kind: Kind,
    json: Value,
    problems: Vec<Problem>,
}

impl Draft {
    pub fn new(kind: Kind, mut json: Value) -> Self {
        if let Value::Object(map) = &mut json {
            for name in READ_ONLY {
                map.remove(name);
            }
            if let Some(org) = map.remove("tenantId").filter(|_| !map.contains_key("orgId")) {
                map.insert("orgId".to_owned(), org);
            }
        }
        Draft { kind, json, problems: Vec::new() }
    }

    /// The URL says what `name` is; a body that says otherwise is wrong.
    pub fn fix(mut self, name: &str, value: &str) -> Self {
        let Value::Object(map) = &mut self.json else { return self };
        if let Some(other) = text(map, name).filter(|other| other != value) {
            self.problems.push(Problem::new(name, format!("is `{other}` here and `{value}` in the URL")));
        }
        map.insert(name.to_owned(), value.into());
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

    pub fn read(mut self) -> Result<Resource, ApiError> {
        match self.kind.read(self.json) {
            Ok(resource) if self.problems.is_empty() => Ok(resource),
            Ok(_) => Err(ApiError::invalid(self.problems)),
            Err(problems) => {
                self.problems.extend(problems);
                Err(ApiError::invalid(self.problems))
            }
        }
    }
}

/// Producers send `648` and `"648"`.
fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    match map.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
