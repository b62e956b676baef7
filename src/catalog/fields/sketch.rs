//! What an object's fields may hold, as JSON Schema (2020-12): written down while the reader asks for them, so that the schema
//! of a resource is what is read and nothing else.

use serde_json::{Map, Value, json};

/// The fields of an object that were asked for so far.
#[derive(Debug, Default)]
pub struct Sketch {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

impl Sketch {
    pub fn put(&mut self, name: &str, schema: Value) {
        self.properties.insert(name.to_owned(), schema);
    }

    pub fn require(&mut self, name: &'static str) {
        self.required.push(name);
    }

    pub fn alias(&mut self, name: &str, alias: &str) {
        let about = format!("Another name of `{name}`.");
        self.put(alias, json!({"description": about, "deprecated": true}));
    }

    /// A text alone counts as a list of one.
    pub fn or_one(&mut self, name: &str) {
        if let Some(list) = self.properties.get_mut(name) {
            let one = list.get("items").cloned().unwrap_or_default();
            *list = json!({"anyOf": [one, list.take()]});
        }
    }

    pub fn into_schema(self) -> Value {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), Value::Object(self.properties));
        if !self.required.is_empty() {
            schema.insert("required".to_owned(), self.required.into());
        }
        schema.insert("additionalProperties".to_owned(), false.into());
        Value::Object(schema)
    }
}
