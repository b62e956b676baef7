//! What most kinds begin with.

use serde::Serialize;

use crate::catalog::fields::{Fields, Text};
use crate::catalog::resource::Labels;
use crate::model::ids::{OrgId, ResourceId};

/// Id, owner, description and labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub id: ResourceId,
    pub org_id: OrgId,
    pub description: String,
    pub labels: Labels,
}

/// `Head::ABOUT` and what else a kind has.
macro_rules! about {
    ($(($path:literal, $text:literal)),* $(,)?) => {
        &[
            ("id", "Its id, unique over all organizations; a UUID where none is given."),
            ("orgId", "The organization that it belongs to. It cannot be changed."),
            ("description", "What it is for, in words for people."),
            ("labels", "Names and values by which lists are filtered."),
            $(($path, $text)),*
        ]
    };
}
pub(super) use about;

/// What a `Spec` with a `Head` answers by it.
macro_rules! headed {
    () => {
        fn id(&self) -> crate::model::ids::ResourceId {
            self.head.id.clone()
        }

        fn org(&self) -> Option<&crate::model::ids::OrgId> {
            Some(&self.head.org_id)
        }

        fn labels(&self) -> &crate::catalog::resource::Labels {
            &self.head.labels
        }
    };
}
pub(super) use headed;

impl Head {
    pub fn read(fields: &mut Fields) -> Option<Head> {
        fields.alias("orgId", "tenantId");
        fields.require("id");
        fields.require("orgId");
        let (id, org_id) = (fields.id("id", ResourceId::parse), fields.id("orgId", OrgId::parse));
        let description = description(fields);
        let labels = fields.labels();
        Some(Head { id: id?, org_id: org_id?, description, labels })
    }
}

pub fn description(fields: &mut Fields) -> String {
    fields.text("description", &Text::lines(2_000)).unwrap_or_default()
}
