//! An organisation: a tenant, whose events, integrations and history are its own.

use std::collections::BTreeMap;

use crate::model::ids::OrgId;
use crate::model::time::Timestamp;

/// A tenant. Holding one means that it was validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Organization {
    pub org_id: OrgId,
    /// 1-200 characters.
    pub name: String,
    pub description: String,
    pub labels: BTreeMap<String, String>,
    pub code: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub address: Option<String>,
    pub tags: Vec<String>,
    pub region: Option<String>,
    /// By its IANA name: `Asia/Kolkata`.
    pub timezone: Option<String>,
    /// The catalog's version of it, from 1: its ETag.
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
