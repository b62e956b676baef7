//! How an organization or a unit of one is reached.

use serde_json::json;

use crate::catalog::fields::{Fields, Text};
use crate::model::org::Contact;

pub fn read(fields: &mut Fields) -> Contact {
    Contact {
        code: fields.text("code", &Text::line(64)),
        email: email(fields),
        phone: fields.text("phone", &Text::line(64)),
        address: fields.text("address", &Text::lines(500)),
        tags: fields
            .list("tags", (50, || Text::line(64).schema()), |tag| Text::line(64).check(tag).map(|()| tag.to_owned()))
            .unwrap_or_default(),
        region: fields.text("region", &Text::line(64)),
        timezone: timezone(fields),
    }
}

pub fn email(fields: &mut Fields) -> Option<String> {
    let email = fields.text("email", &Text::line(254));
    fields.refine("email", || json!({"pattern": r"^[^\s@\u0000-\u001f\u007f-\u009f]+@[^\s\u0000-\u001f\u007f-\u009f]*\.[^\s\u0000-\u001f\u007f-\u009f]*$"}));
    let email = email?;
    let sound = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if !sound || email.contains(char::is_whitespace) {
        fields.wrong("email", "must be an address like `name@example.org`");
    }
    Some(email)
}

fn timezone(fields: &mut Fields) -> Option<String> {
    let zone = fields.text("timezone", &Text::line(64));
    fields.refine("timezone", || json!({"pattern": "^[A-Za-z0-9/_+-]+$"}));
    let zone = zone?;
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-');
    if !zone.bytes().all(ok) {
        fields.wrong("timezone", "must be an IANA name like `Asia/Kolkata`");
    }
    Some(zone)
}
