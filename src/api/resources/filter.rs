//! Which resources of a collection a list shows.

use crate::api::door::Param;
use crate::api::listing::Listing;
use crate::api::params::Params;
use crate::catalog::kind::Kind;
use crate::catalog::resource::{Body, Resource};
use crate::model::ids::OrgId;

/// The filters of a list, as its parameters ask for them.
#[derive(Debug)]
pub struct Filter {
    org: Option<OrgId>,
    active: Option<bool>,
    /// The value of the one field that is a filter of its kind alone.
    own: Option<String>,
}

impl Filter {
    pub fn of(kind: Kind, params: &mut Params) -> Filter {
        Filter {
            org: (kind != Kind::Organization).then(|| params.org()).flatten(),
            active: kind.can_be_disabled().then(|| params.flag("isActive")).flatten(),
            own: own_field(kind).and_then(|field| params.text(field)),
        }
    }

    pub fn takes(&self, resource: &Resource, listing: &Listing) -> bool {
        self.org.as_ref().is_none_or(|org| resource.org() == Some(org))
            && self.active.is_none_or(|active| resource.active() == Some(active))
            && self.own.as_deref().is_none_or(|value| has(resource, value))
            && listing.takes(resource.title(), resource.labels())
    }
}

/// The parameters that `Filter` reads.
pub fn params(kind: Kind) -> Vec<Param> {
    let org = (kind != Kind::Organization).then(|| Param::org("Those of this organization."));
    let active =
        kind.can_be_disabled().then(|| Param::flag("isActive", "Those that are enabled, or those that are not."));
    let own = own_field(kind).map(|name| Param::text(name, "Those with exactly this value."));
    org.into_iter().chain(active).chain(own).collect()
}

fn own_field(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::OutboundIntegration | Kind::EventType | Kind::FieldSchema => Some("eventType"),
        Kind::OrgUnit => Some("parentRid"),
        Kind::User => Some("role"),
        Kind::Lookup => Some("type"),
        Kind::Template => Some("category"),
        Kind::Organization | Kind::ApiKey | Kind::AlertRule => None,
    }
}

fn has(resource: &Resource, value: &str) -> bool {
    match &resource.body {
        Body::OutboundIntegration(one) => one.event_types.iter().any(|pattern| pattern.as_str() == value),
        Body::EventType(one) => one.event_type.as_str() == value,
        Body::FieldSchema(one) => one.event_type.as_str() == value,
        Body::OrgUnit(unit) => unit.parent.as_ref().is_some_and(|parent| parent.as_str() == value),
        Body::User(user) => user.role.as_str() == value,
        Body::Lookup(row) => row.table == value,
        Body::Template(one) => one.category.as_deref() == Some(value),
        Body::Organization(_) | Body::ApiKey(_) | Body::AlertRule(_) => true,
    }
}
