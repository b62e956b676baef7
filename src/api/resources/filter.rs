//! Which resources of a collection a list shows.

use crate::api::door::Param;
use crate::api::listing::Listing;
use crate::api::params::Params;
use crate::catalog::kind::Kind;
use crate::catalog::kinds::Role;
use crate::catalog::resource::{Body, Resource};
use crate::model::ids::OrgId;

/// The filters of a list, as its parameters ask for them.
#[derive(Debug)]
pub struct Filter {
    org: Option<OrgId>,
    active: Option<bool>,
    /// Values of the fields that are filters of its kind alone.
    own: Vec<(&'static str, String)>,
}

impl Filter {
    pub fn of(kind: Kind, params: &mut Params) -> Filter {
        Filter {
            org: (kind != Kind::Organization).then(|| params.org()).flatten(),
            active: kind.can_be_disabled().then(|| params.flag("isActive")).flatten(),
            own: own(kind).iter().filter_map(|field| Some((field.name, field.value(params)?))).collect(),
        }
    }

    pub fn takes(&self, resource: &Resource, listing: &Listing) -> bool {
        self.org.as_ref().is_none_or(|org| resource.org() == Some(org))
            && self.active.is_none_or(|active| resource.active() == Some(active))
            && self.own.iter().all(|(name, value)| has(resource, name, value))
            && listing.takes(resource)
    }
}

/// The parameters that `Filter` reads.
pub fn params(kind: Kind) -> Vec<Param> {
    let org = (kind != Kind::Organization).then(|| Param::org("Those of this organization."));
    let active =
        kind.can_be_disabled().then(|| Param::flag("isActive", "Those that are enabled, or those that are not."));
    org.into_iter().chain(active).chain(own(kind).iter().map(Own::param)).collect()
}

/// A field that is a filter of its kind alone.
struct Own {
    name: &'static str,
    /// Nothing else is a value of it.
    words: Option<&'static str>,
}

const fn any(name: &'static str) -> Own {
    Own { name, words: None }
}

impl Own {
    fn param(&self) -> Param {
        match self.words {
            Some(words) => Param::one_of(self.name, "Those with this value.", words),
            None => Param::text(self.name, "Those with exactly this value."),
        }
    }

    fn value(&self, params: &mut Params) -> Option<String> {
        params.parsed(self.name, |text| match self.words {
            Some(words) if !words.split(", ").any(|word| word == text) => Err(format!("must be one of {words}")),
            _ => Ok(text.to_owned()),
        })
    }
}

fn own(kind: Kind) -> &'static [Own] {
    match kind {
        Kind::OutboundIntegration => const { &[any("eventType"), any("orgUnitRid")] },
        Kind::EventType | Kind::FieldSchema => const { &[any("eventType")] },
        Kind::OrgUnit => const { &[any("parentRid")] },
        Kind::User => const { &[any("email"), Own { name: "role", words: Some(Role::WORDS) }] },
        Kind::Lookup => const { &[any("type"), any("orgUnitRid")] },
        Kind::Template => const { &[any("category")] },
        Kind::Organization | Kind::ApiKey | Kind::AlertRule => &[],
    }
}

fn has(resource: &Resource, name: &str, value: &str) -> bool {
    match (&resource.body, name) {
        (Body::OutboundIntegration(one), "eventType") => {
            one.event_types.iter().any(|pattern| pattern.as_str() == value)
        }
        (Body::OutboundIntegration(one), "orgUnitRid") => {
            one.org_unit.as_ref().is_some_and(|unit| unit.as_str() == value)
        }
        (Body::EventType(one), "eventType") => one.event_type.as_str() == value,
        (Body::FieldSchema(one), "eventType") => one.event_type.as_str() == value,
        (Body::OrgUnit(unit), "parentRid") => unit.parent.as_ref().is_some_and(|parent| parent.as_str() == value),
        (Body::User(user), "email") => user.email == value.to_lowercase(),
        (Body::User(user), "role") => user.role.as_str() == value,
        (Body::Lookup(row), "type") => row.table == value,
        (Body::Lookup(row), "orgUnitRid") => row.unit.as_ref().is_some_and(|unit| unit.as_str() == value),
        (Body::Template(one), "category") => one.category.as_deref() == Some(value),
        // No other field is a filter.
        _ => false,
    }
}
