//! Fields of an integration whose features this version does not have. Their neutral values are taken, every other is
//! refused: configuration is never silently ignored.

use serde_json::{Map, Value, json};

use crate::catalog::fields::Fields;

/// What a field may hold as long as its feature does not exist. Absent, `null`, `{}`, `[]` and `""` are always neutral.
#[derive(Clone, Copy)]
enum Neutral {
    Empty,
    Word(&'static str),
    False,
    One,
    /// An object in which this member says that it is off; the other members are then of no meaning.
    Off(&'static str, Switch),
    /// An object whose members, where given, are empty lists, empty texts or null.
    Hollow,
}

#[derive(Clone, Copy)]
enum Switch {
    False,
    Word(&'static str),
}

const NEUTRAL: &[(&str, Neutral)] = &[
    ("direction", Neutral::Word("OUTBOUND")),
    ("destination", Neutral::Off("type", Switch::Word("HTTP"))),
    ("filter", Neutral::Empty),
    ("transformationMode", Neutral::Word("NONE")),
    ("transformation", Neutral::Hollow),
    ("fieldMappings", Neutral::Hollow),
    ("transformScript", Neutral::Empty),
    ("lookups", Neutral::Empty),
    ("actions", Neutral::Empty),
    ("outgoingAuthType", Neutral::Word("NONE")),
    ("outgoingAuthConfig", Neutral::Empty),
    ("enableSigning", Neutral::False),
    ("ordering", Neutral::Word("NONE")),
    ("orderingKey", Neutral::Empty),
    ("rateLimits", Neutral::Off("enabled", Switch::False)),
    ("breaker", Neutral::Off("mode", Switch::Word("off"))),
    ("deliveryMode", Neutral::Word("IMMEDIATE")),
    ("schedulingConfig", Neutral::Empty),
    ("cancelOn", Neutral::Empty),
    ("dedupe", Neutral::Empty),
    ("maxEventAgeDays", Neutral::Empty),
    ("bodyFormat", Neutral::Word("JSON")),
    ("successWhen", Neutral::Empty),
    ("shards", Neutral::One),
];

/// Takes the fields out and tells of those that ask for something.
pub fn read(fields: &mut Fields) {
    fields.alias("deliveryMode", "schedulingMode");
    for (name, neutral) in NEUTRAL {
        let Some(value) = fields.neutral(name, schema(*neutral)) else { continue };
        if let Some(wrong) = wrong(&value, *neutral) {
            fields.wrong(*name, wrong);
        }
    }
}

/// The same of an object that is kept for an integration to come, at `path`: most secrets of one are in such fields, and none of
/// them would be sealed there.
pub fn kept(fields: &mut Fields, path: &str, integration: &Map<String, Value>) {
    for (name, neutral) in NEUTRAL {
        if let Some(wrong) = integration.get(*name).and_then(|value| wrong(value, *neutral)) {
            fields.wrong(format!("{path}.{name}"), wrong);
        }
    }
}

fn wrong(value: &Value, neutral: Neutral) -> Option<String> {
    let wrong = || format!("asks for what this version does not have yet; {}", remedy(neutral));
    (!is_neutral(value, neutral)).then(wrong)
}

fn is_neutral(value: &Value, neutral: Neutral) -> bool {
    let said = match neutral {
        Neutral::Empty => false,
        Neutral::Word(word) => value.as_str() == Some(word),
        Neutral::False => value.as_bool() == Some(false),
        Neutral::One => value.as_u64() == Some(1),
        Neutral::Off(member, Switch::False) => value.get(member).and_then(Value::as_bool) == Some(false),
        Neutral::Off(member, Switch::Word(word)) => value.get(member).and_then(Value::as_str) == Some(word),
        Neutral::Hollow => value.as_object().is_some_and(|object| object.values().all(is_empty)),
    };
    said || is_empty(value)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn schema(neutral: Neutral) -> Value {
    let empty = || json!({"enum": [null, "", {}, []]});
    let off = |member: &str, word: Value| {
        let members = json!({member: {"const": word, "description": "That it is off."}});
        json!({"anyOf": [empty(), {"type": "object", "required": [member], "properties": members}]})
    };
    let mut schema = match neutral {
        Neutral::Word(word) => json!({"enum": [word, null, "", {}, []]}),
        Neutral::False => json!({"enum": [false, null, "", {}, []]}),
        Neutral::One => json!({"enum": [1, null, "", {}, []]}),
        Neutral::Empty => empty(),
        Neutral::Off(member, Switch::False) => off(member, false.into()),
        Neutral::Off(member, Switch::Word(word)) => off(member, word.into()),
        Neutral::Hollow => json!({"anyOf": [empty(), {"type": "object", "additionalProperties": empty()}]}),
    };
    schema["description"] = "Not in this version yet: only what asks for nothing is taken.".into();
    schema
}

fn remedy(neutral: Neutral) -> String {
    match neutral {
        Neutral::Word(word) => format!("leave it out or say `{word}`"),
        Neutral::False => "leave it out or say false".to_owned(),
        Neutral::One => "leave it out or say 1".to_owned(),
        Neutral::Empty | Neutral::Off(..) | Neutral::Hollow => "leave it out".to_owned(),
    }
}
