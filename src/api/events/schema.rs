//! Events as they are sent; `ingest::normalise` reads them.

use serde_json::{Map, Value, json};

use crate::catalog::fields::{EVENT_TYPE, IDENTIFIER};
use crate::ingest::normalise::MAX_BATCH;

/// With its padding (RFC 4648, 4).
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

pub fn schemas() -> Map<String, Value> {
    let forms = [("NewEvent", new_event()), ("NewBatch", new_batch()), ("CloudEvent", cloud_event())];
    forms.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

pub fn example() -> Value {
    json!({"eventType": "patient.created", "orgId": "648", "entityId": "Patient/7", "payload": {"id": 7, "name": "Ada Example"}})
}

pub fn cloud_example() -> Value {
    json!({"specversion": "1.0", "id": "e-7", "type": "patient.created", "source": "clinic", "orgid": "648",
        "subject": "Patient/7", "data": {"id": 7, "name": "Ada Example"}})
}

/// Up to so many characters without control characters.
fn text(longest: usize) -> Value {
    json!({"type": ["string", "null"], "minLength": 1, "maxLength": longest, "pattern": TEXT})
}

/// The same, or a whole number, which is its digits.
fn text_or_number(longest: usize) -> Value {
    let mut schema = text(longest);
    schema["type"] = json!(["string", "integer", "null"]);
    bounded(schema)
}

fn identifier() -> Value {
    bounded(json!({"type": ["string", "integer", "null"], "pattern": IDENTIFIER}))
}

/// Whole numbers have 64 bits.
fn bounded(mut schema: Value) -> Value {
    schema["minimum"] = i64::MIN.into();
    schema["maximum"] = i64::MAX.into();
    schema
}

fn object(fields: Vec<(&str, Value, &str)>, required: &[&str]) -> Value {
    let mut properties = Map::new();
    for (name, mut schema, about) in fields {
        schema["description"] = about.into();
        properties.insert(name.to_owned(), schema);
    }
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

fn new_event() -> Value {
    let fields = vec![
        ("id", text_or_number(256), "Its id; a repeat of one is the same event. A UUID where none is given."),
        ("eventType", json!({"type": "string", "pattern": EVENT_TYPE}), "What happened: `patient.created`."),
        ("orgId", identifier(), "Whose it is, where neither the key nor the URL says."),
        ("entityId", text_or_number(256), "What it is about: `Patient/7`."),
        ("entityRid", identifier(), "The org unit that it is of."),
        ("source", text(256), "Where it comes from."),
        (
            "time",
            json!({"type": ["string", "null"], "format": "date-time"}),
            "When it happened; now where it is not said.",
        ),
        ("correlationId", text_or_number(2_048), "What ties it to others."),
        ("causationId", text_or_number(2_048), "The event that caused it."),
        ("namespace", text(2_048), "What its type belongs to, for whoever reads it."),
        ("dataschema", text(2_048), "Where the schema of its payload is."),
        ("contentType", text(2_048), "What its payload is, where it is not JSON: then the payload is a text."),
        ("payload", json!({}), "What receivers are sent: any JSON, of 1 MiB at most."),
    ];
    let mut schema = object(fields, &["eventType", "payload"]);
    schema["examples"] = json!([example()]);
    schema
}

fn new_batch() -> Value {
    let events = json!({"type": "array", "items": {"$ref": "#/components/schemas/NewEvent"}, "minItems": 1, "maxItems": MAX_BATCH});
    object(vec![("events", events, "Up to 1,000.")], &["events"])
}

/// CloudEvents 1.0, JSON format.
fn cloud_event() -> Value {
    let must = |longest: usize| json!({"type": "string", "minLength": 1, "maxLength": longest, "pattern": TEXT});
    let mut id = text_or_number(256);
    id["type"] = json!(["string", "integer"]);
    let fields = vec![
        ("specversion", json!({"const": "1.0"}), "The version of CloudEvents."),
        ("id", id, "Its id; a repeat of one is the same event."),
        ("type", json!({"type": "string", "pattern": EVENT_TYPE}), "What happened: `patient.created`."),
        ("source", must(256), "Where it comes from."),
        ("orgid", identifier(), "Whose it is, where neither the key nor the URL says."),
        ("subject", text_or_number(256), "What it is about: `Patient/7`."),
        ("entityrid", identifier(), "The org unit that it is of."),
        (
            "time",
            json!({"type": ["string", "null"], "format": "date-time"}),
            "When it happened; now where it is not said.",
        ),
        ("correlationid", text_or_number(2_048), "What ties it to others."),
        ("causationid", text_or_number(2_048), "The event that caused it."),
        ("namespace", text(2_048), "What its type belongs to, for whoever reads it."),
        ("dataschema", text(2_048), "Where the schema of its payload is."),
        ("datacontenttype", text(2_048), "What its payload is, where it is not JSON."),
        ("data", json!({}), "What receivers are sent: any JSON, of 1 MiB at most."),
        (
            "data_base64",
            json!({"type": ["string", "null"], "contentEncoding": "base64", "pattern": BASE64}),
            "The same as bytes; in place of `data`. They are taken as JSON unless `datacontenttype` says other.",
        ),
    ];
    let mut schema = object(fields, &["specversion", "id", "type", "source"]);
    schema["propertyNames"] = json!({"pattern": "^([a-z0-9]{1,20}|data_base64)$"});
    schema["additionalProperties"] = bounded(json!({"type": ["string", "integer", "boolean", "null"],
        "pattern": TEXT, "description": "An extension: it is passed on."}));
    schema["if"] = json!({"properties": {"data_base64": {"type": "string"}}, "required": ["data_base64"]});
    schema["then"] = json!({"not": {"required": ["data"]}});
    schema["examples"] = json!([cloud_example()]);
    schema
}
