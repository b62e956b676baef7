//! The JSON form of an organisation, and its rules.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalog::fields::{Fields, Text};
use crate::model::ids::OrgId;
use crate::model::org::Organization;
use crate::model::time::Timestamp;

/// Reads every field; `None` where a required one is missing or wrong.
pub fn read(fields: &mut Fields) -> Option<Organization> {
    fields.alias("orgId", "tenantId");
    fields.require("orgId");
    fields.require("name");
    let org_id = fields.id("orgId", OrgId::parse);
    let name = fields.text("name", &Text::line(200));
    Some(Organization {
        name: name.unwrap_or_default(),
        description: fields.text("description", &Text::lines(2_000)).unwrap_or_default(),
        labels: fields.labels(),
        code: fields.text("code", &Text::line(64)),
        email: email(fields),
        phone: fields.text("phone", &Text::line(64)),
        address: fields.text("address", &Text::lines(500)),
        tags: fields.list("tags", 50, |tag| Text::line(64).check(tag).map(|()| tag.to_owned())).unwrap_or_default(),
        region: fields.text("region", &Text::line(64)),
        timezone: timezone(fields),
        version: fields.number("version", 0..=u64::MAX).unwrap_or(0),
        created_at: fields.time("createdAt").unwrap_or_default(),
        updated_at: fields.time("updatedAt").unwrap_or_default(),
        // Last: what is not read would be taken for unknown.
        org_id: org_id?,
    })
}

fn email(fields: &mut Fields) -> Option<String> {
    let email = fields.text("email", &Text::line(254))?;
    let sound = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if !sound || email.contains(char::is_whitespace) {
        fields.wrong("email", "must be an address like `name@example.org`");
    }
    Some(email)
}

fn timezone(fields: &mut Fields) -> Option<String> {
    let zone = fields.text("timezone", &Text::line(64))?;
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-');
    if !zone.bytes().all(ok) {
        fields.wrong("timezone", "must be an IANA name like `Asia/Kolkata`");
    }
    Some(zone)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    org_id: &'a str,
    name: &'a str,
    description: &'a str,
    labels: &'a BTreeMap<String, String>,
    code: Option<&'a str>,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    address: Option<&'a str>,
    tags: &'a [String],
    region: Option<&'a str>,
    timezone: Option<&'a str>,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// The JSON form.
pub fn form(org: &Organization) -> impl Serialize {
    Form {
        org_id: org.org_id.as_str(),
        name: &org.name,
        description: &org.description,
        labels: &org.labels,
        code: org.code.as_deref(),
        email: org.email.as_deref(),
        phone: org.phone.as_deref(),
        address: org.address.as_deref(),
        tags: &org.tags,
        region: org.region.as_deref(),
        timezone: org.timezone.as_deref(),
        version: org.version,
        created_at: org.created_at,
        updated_at: org.updated_at,
    }
}
