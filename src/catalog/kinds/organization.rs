//! An organisation: a tenant.

use serde::Serialize;

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::{contact, head};
use crate::catalog::resource::{Labels, Reference, Spec};
use crate::model::ids::{OrgId, ResourceId};
use crate::model::org::{Contact, Organization};

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

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
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
}
