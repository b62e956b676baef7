//! An organization: a tenant.

use serde::Serialize;

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::{contact, head};
use crate::catalog::resource::{Labels, Reference, Spec};
use crate::model::ids::{OrgId, ResourceId};
use crate::model::org::{Contact, OrgLimits, Organization};

/// More than a process takes.
const MOST: u64 = 1_000_000;

impl Spec for Organization {
    const KIND: Kind = Kind::Organization;
    const ABOUT: &'static [(&'static str, &'static str)] = &[
        ("orgId", "Its id: events, integrations and users name it."),
        ("name", "What people call it."),
        ("description", "What it is for, in words for people."),
        ("labels", "Names and values by which lists are filtered."),
        ("code", "A short name of its own, such as the one in a billing system."),
        ("email", "Where it is reached."),
        ("phone", "Where it is reached."),
        ("address", "Where it is."),
        ("tags", "Words by which it is found."),
        ("region", "Where its data belongs."),
        ("timezone", "Its IANA time zone."),
        (
            "rateLimits",
            "How often its users and keys may ask, all together; what is left out is as the gateway has it for all.",
        ),
        ("rateLimits.requestsPerMinute", "Requests, but those that bring events in. 0: as many as they like."),
        (
            "rateLimits.eventsPerSecond",
            "Events that they bring in; a batch counts as many as it holds. 0: as many as they like.",
        ),
    ];
    const EXAMPLE: &'static str = r#"{"orgId": "648", "name": "City Clinic", "code": "CC", "email": "desk@clinic.example",
        "timezone": "Asia/Kolkata", "tags": ["north"]}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.alias("orgId", "tenantId");
        fields.require("orgId");
        fields.require("name");
        let org_id = fields.id("orgId", OrgId::parse);
        Some(Organization {
            name: fields.text("name", &Text::line(200)).unwrap_or_default(),
            description: head::description(fields),
            labels: fields.labels(),
            contact: contact::read(fields),
            limits: limits(fields),
            // Last: what is not read would be taken for unknown.
            org_id: org_id?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form {
            org_id: &self.org_id,
            name: &self.name,
            description: &self.description,
            labels: &self.labels,
            contact: &self.contact,
            rate_limits: Some(&self.limits).filter(|limits| **limits != OrgLimits::default()),
        }
    }

    fn id(&self) -> ResourceId {
        (&self.org_id).into()
    }

    fn org(&self) -> Option<&OrgId> {
        Some(&self.org_id)
    }

    fn title(&self) -> &str {
        &self.name
    }

    fn names(&self) -> Vec<&str> {
        [Some(self.name.as_str()), self.contact.code.as_deref()].into_iter().flatten().collect()
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

fn limits(fields: &mut Fields) -> OrgLimits {
    let number = |fields: &mut Fields, name| fields.number(name, 0..=MOST).and_then(|n| u32::try_from(n).ok());
    let read = fields.object("rateLimits", |fields| {
        Some(OrgLimits {
            requests_per_minute: number(fields, "requestsPerMinute"),
            events_per_second: number(fields, "eventsPerSecond"),
        })
    });
    read.unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    org_id: &'a OrgId,
    name: &'a str,
    description: &'a str,
    labels: &'a Labels,
    #[serde(flatten)]
    contact: &'a Contact,
    rate_limits: Option<&'a OrgLimits>,
}
