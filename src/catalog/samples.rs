//! Resources for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::catalog::kinds::OrgUnit;
use crate::model::ids::{IntegrationId, OrgId, Rid};
use crate::model::integration::{OutboundIntegration, Scope, WhenDisabled};
use crate::model::org::{Contact, OrgLimits, Organization};
use crate::model::pattern::EventPattern;
use crate::model::retry::RetryPolicy;

pub fn organization(id: &str) -> Organization {
    Organization {
        org_id: OrgId::parse(id).unwrap(),
        name: format!("Clinic {id}"),
        description: String::new(),
        labels: BTreeMap::new(),
        contact: Contact::default(),
        limits: OrgLimits::default(),
    }
}

pub fn unit(org: &str, rid: &str, parent: Option<&str>) -> OrgUnit {
    OrgUnit {
        rid: Rid::parse(rid).unwrap(),
        org_id: OrgId::parse(org).unwrap(),
        parent: parent.map(|parent| Rid::parse(parent).unwrap()),
        name: rid.to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        contact: Contact::default(),
    }
}

/// Every event of the organization, to a receiver on loopback.
pub fn integration(org: &str, id: &str) -> OutboundIntegration {
    OutboundIntegration {
        id: IntegrationId::parse(id).unwrap(),
        org_id: OrgId::parse(org).unwrap(),
        name: id.to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        event_types: vec![EventPattern::parse("*").unwrap()],
        org_unit: None,
        scope: Scope::default(),
        excluded_entity_rids: Vec::new(),
        is_active: true,
        when_disabled: WhenDisabled::default(),
        target_url: "http://127.0.0.1:9/hook".parse().unwrap(),
        method: http::Method::POST,
        timeout: Duration::from_secs(30),
        headers: Vec::new(),
        event_headers: true,
        retry: RetryPolicy::default(),
        delivery_ttl: Duration::from_secs(168 * 3_600),
        max_in_flight: 64,
        version: 0,
    }
}
