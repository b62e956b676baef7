//! A resource as a file has it.

use serde_json::Value;

use super::without;
use crate::catalog::kind::Key;
use crate::catalog::schema::READ_ONLY;
use crate::model::problem::Problem;

/// A resource as a file has it: its JSON form without its id, kept as text, which takes a fifth of the memory of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    pub key: Key,
    spec: Box<str>,
}

impl Desired {
    pub fn new(key: Key, spec: &Value) -> Desired {
        Desired { key, spec: spec.to_string().into() }
    }

    pub fn spec(&self) -> Value {
        // It was JSON.
        serde_json::from_str(&self.spec).unwrap_or_default()
    }

    /// The whole of it as JSON, as `apply` takes it.
    pub fn text(&self) -> String {
        format!(r#"{{"kind":"{}","id":"{}","spec":{}}}"#, self.key.kind, self.key.id, self.spec)
    }

    /// Its whole JSON form, and what is wrong with what a file may say and a resource may not.
    pub(super) fn whole(&self) -> (Value, Vec<Problem>) {
        let (mut json, field, mut problems) = (self.spec(), self.key.kind.id_field(), Vec::new());
        without(&mut json, &READ_ONLY);
        if let Value::Object(fields) = &mut json {
            let said = match fields.get(field) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            };
            if let Some(other) = said.filter(|said| said != self.key.id.as_str()) {
                let message = format!("is `{other}` in the spec and `{}` beside it", self.key.id);
                problems.push(Problem::new(field, message));
            }
            fields.insert(field.to_owned(), self.key.id.as_str().into());
        }
        (json, problems)
    }
}
