//! The fields that payloads of an event type have: what an editor of mappings offers.

use serde::Serialize;
use serde_json::{Value, json};

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::head::{Head, about, headed};
use crate::catalog::kinds::typed;
use crate::catalog::resource::Spec;
use crate::model::ids;

const TYPES: &[(&str, &str)] = &[
    ("string", "string"),
    ("number", "number"),
    ("boolean", "boolean"),
    ("object", "object"),
    ("array", "array"),
    ("null", "null"),
];

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// `patient.address[0].city`
    pub path: String,
    pub types: Vec<&'static str>,
    pub samples: Vec<Value>,
}

/// The fields of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSchema {
    pub head: Head,
    pub event_type: ids::EventType,
    pub fields: Vec<Field>,
}

impl Spec for FieldSchema {
    const KIND: Kind = Kind::FieldSchema;
    const ABOUT: &'static [(&'static str, &'static str)] = about![
        ("eventType", "The type whose payloads have these fields; an organization has one of each."),
        ("fields", "The fields."),
        ("fields[].path", "Where the field is: names and `[n]`, parted by dots."),
        ("fields[].types", "Of which JSON types its values are."),
        ("fields[].samples", "Values as they may come."),
    ];
    const EXAMPLE: &'static str = r#"{"id": "patient-fields", "orgId": "648", "eventType": "patient.created",
        "fields": [{"path": "id", "types": ["number"], "samples": [7]}]}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.require("eventType");
        let head = Head::read(fields);
        let event_type = fields.id("eventType", ids::EventType::parse);
        Some(FieldSchema {
            fields: fields.objects("fields", 1_000, field).unwrap_or_default(),
            event_type: event_type?,
            head: head?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form { head: &self.head, event_type: &self.event_type, fields: &self.fields }
    }

    headed!();

    fn title(&self) -> &str {
        self.event_type.as_str()
    }

    fn unique(&self) -> Option<(&'static str, String)> {
        Some(("eventType", typed(&self.head.org_id, self.event_type.as_str())))
    }
}

fn field(fields: &mut Fields) -> Option<Field> {
    fields.require("path");
    let path = fields.text("path", &Text::line(512));
    let types = fields.choices("types", TYPES).unwrap_or_default();
    let samples = fields.value("samples");
    fields.refine("samples", || json!({"type": "array", "items": {}, "maxItems": 10}));
    let samples = match samples {
        None => Vec::new(),
        Some(Value::Array(samples)) if samples.len() <= 10 => samples,
        Some(_) => {
            fields.wrong("samples", "must be a list of at most 10 values");
            return None;
        }
    };
    Some(Field { path: path?, types, samples })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(flatten)]
    head: &'a Head,
    event_type: &'a ids::EventType,
    fields: &'a [Field],
}
