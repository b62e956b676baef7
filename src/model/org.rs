//! An organization: a tenant, whose events, integrations and history are its own.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::ids::OrgId;

/// A tenant. Holding one means that it was validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Organization {
    pub org_id: OrgId,
    /// 1-200 characters.
    pub name: String,
    pub description: String,
    pub labels: BTreeMap<String, String>,
    pub contact: Contact,
    pub limits: OrgLimits,
}

/// How often an organization may ask, where that is not what the process says of all. 0: as often as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrgLimits {
    /// All but what brings events in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
}

/// How an organization, or a unit of one, is reached and found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Contact {
    pub code: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub address: Option<String>,
    pub tags: Vec<String>,
    pub region: Option<String>,
    /// By its IANA name: `Asia/Kolkata`.
    pub timezone: Option<String>,
}
