//! A declared type of events: what its payload is like.

use serde::Serialize;
use serde_json::{Value, json};

use crate::catalog::fields::Fields;
use crate::catalog::kind::Kind;
use crate::catalog::kinds::head::{Head, about, headed};
use crate::catalog::kinds::typed;
use crate::catalog::kinds::word;
use crate::catalog::resource::Spec;
use crate::model::ids;

/// What becomes of an event whose payload is not as declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    Off,
    #[default]
    Warn,
    Reject,
}

const VALIDATIONS: &[(&str, Validation)] =
    &[("OFF", Validation::Off), ("WARN", Validation::Warn), ("REJECT", Validation::Reject)];

/// What an organization says of one type of its events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventType {
    pub head: Head,
    pub event_type: ids::EventType,
    /// A JSON Schema.
    pub schema: Option<Value>,
    pub validation: Validation,
    pub sample: Option<Value>,
}

impl Spec for EventType {
    const KIND: Kind = Kind::EventType;
    const ABOUT: &'static [(&'static str, &'static str)] = about![
        ("eventType", "The type; an organization declares each once."),
        ("schema", "A JSON Schema (2020-12 or draft-07) of the payload."),
        ("validation", "What becomes of an event whose payload is not as the schema says."),
        ("sample", "A payload as it may come."),
    ];
    const EXAMPLE: &'static str = r#"{"id": "patient-created", "orgId": "648", "eventType": "patient.created",
        "schema": {"type": "object", "required": ["id"]}, "sample": {"id": 7, "name": "Ada Example"}}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.require("eventType");
        let head = Head::read(fields);
        let event_type = fields.id("eventType", ids::EventType::parse);
        let schema = fields.value("schema");
        fields.refine("schema", || json!({"type": ["object", "boolean"]}));
        if schema.as_ref().is_some_and(|schema| !schema.is_object() && !schema.is_boolean()) {
            fields.wrong("schema", "must be a JSON Schema: an object, or true or false");
        }
        Some(EventType {
            schema,
            validation: fields.choice("validation", VALIDATIONS).unwrap_or_default(),
            sample: fields.value("sample"),
            event_type: event_type?,
            head: head?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form {
            head: &self.head,
            event_type: &self.event_type,
            schema: self.schema.as_ref(),
            validation: word(VALIDATIONS, &self.validation),
            sample: self.sample.as_ref(),
        }
    }

    headed!();

    fn title(&self) -> &str {
        self.event_type.as_str()
    }

    fn unique(&self) -> Option<(&'static str, String)> {
        Some(("eventType", typed(&self.head.org_id, self.event_type.as_str())))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(flatten)]
    head: &'a Head,
    event_type: &'a ids::EventType,
    schema: Option<&'a Value>,
    validation: &'static str,
    sample: Option<&'a Value>,
}
