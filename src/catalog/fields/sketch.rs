//! What an object's fields may hold, as JSON Schema (2020-12): written down while the reader asks for them, so that the schema
//! of a resource is what is read and nothing else.

use serde_json::{Map, Value, json};

/// The fields of an object that were asked for so far.
#[derive(Debug, Default)]
pub struct Sketch {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    /// `(name, alias)`
    aliases: Vec<(&'static str, &'static str)>,
    /// Of several fields.
    rules: Vec<Value>,
}

impl Sketch {
    pub fn put(&mut self, name: &str, schema: Value) {
        self.properties.insert(name.to_owned(), schema);
    }

    pub fn require(&mut self, name: &'static str) {
        self.required.push(name);
    }

    pub fn alias(&mut self, name: &'static str, alias: &'static str) {
        self.aliases.push((name, alias));
    }

    /// Rules that the form of the field alone does not tell.
    pub fn refine(&mut self, name: &str, more: Value) {
        if let (Some(Value::Object(field)), Value::Object(more)) = (self.properties.get_mut(name), more) {
            field.extend(more);
        }
    }

    pub fn rule(&mut self, rule: Value) {
        self.rules.push(rule);
    }

    /// A text alone counts as a list of one.
    pub fn or_one(&mut self, name: &str) {
        if let Some(list) = self.properties.get_mut(name) {
            let one = list.get("items").cloned().unwrap_or_default();
            list["minItems"] = 1.into();
            *list = json!({"anyOf": [one, list.take()]});
        }
    }

    pub fn into_schema(mut self) -> Value {
        for (name, field) in &mut self.properties {
            if !self.required.contains(&name.as_str()) {
                or_null(field);
            }
        }
        for (name, alias) in &self.aliases {
            let mut same = self.properties.get(*name).cloned().unwrap_or_else(|| json!({}));
            same["description"] = format!("Another name of `{name}`.").into();
            same["deprecated"] = true.into();
            self.properties.insert((*alias).to_owned(), same);
        }
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), Value::Object(self.properties));
        if !self.required.is_empty() {
            schema.insert("required".to_owned(), self.required.into());
        }
        schema.insert("additionalProperties".to_owned(), false.into());
        if !self.rules.is_empty() {
            schema.insert("allOf".to_owned(), self.rules.into());
        }
        Value::Object(schema)
    }
}

/// A field that need not be there may be `null` as well.
pub fn or_null(field: &mut Value) {
    let Value::Object(schema) = field else { return };
    match schema.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&"null".into()) => types.push("null".into()),
        Some(one @ Value::String(_)) if one != "null" => *one = json!([one.take(), "null"]),
        _ => {}
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum")
        && !words.contains(&Value::Null)
    {
        words.push(Value::Null);
    }
    if let Some(Value::Array(forms)) = schema.get_mut("anyOf")
        && !forms.contains(&json!({"type": "null"}))
    {
        forms.push(json!({"type": "null"}));
    }
}
