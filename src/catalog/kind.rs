//! What resources there are, and how each is named.

use std::fmt;

use crate::model::ids::{IntegrationId, OrgId, ResourceId, Rid};

/// What a resource is. In the order in which resources refer to each other: none refers to one of a later kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Organization,
    OrgUnit,
    User,
    ApiKey,
    OutboundIntegration,
    Lookup,
    EventType,
    FieldSchema,
    Template,
    AlertRule,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Organization,
        Kind::OrgUnit,
        Kind::User,
        Kind::ApiKey,
        Kind::OutboundIntegration,
        Kind::Lookup,
        Kind::EventType,
        Kind::FieldSchema,
        Kind::Template,
        Kind::AlertRule,
    ];

    /// In keys of records and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Organization => "Organization",
            Kind::OrgUnit => "OrgUnit",
            Kind::User => "User",
            Kind::ApiKey => "ApiKey",
            Kind::OutboundIntegration => "OutboundIntegration",
            Kind::Lookup => "Lookup",
            Kind::EventType => "EventType",
            Kind::FieldSchema => "FieldSchema",
            Kind::Template => "Template",
            Kind::AlertRule => "AlertRule",
        }
    }

    /// In messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Kind::Organization => "organization",
            Kind::OrgUnit => "org unit",
            Kind::User => "user",
            Kind::ApiKey => "API key",
            Kind::OutboundIntegration => "integration",
            Kind::Lookup => "lookup",
            Kind::EventType => "event type",
            Kind::FieldSchema => "field schema",
            Kind::Template => "template",
            Kind::AlertRule => "alert rule",
        }
    }

    /// What all of them are for.
    pub const fn purpose(self) -> &'static str {
        match self {
            Kind::Organization => "Tenants.",
            Kind::OrgUnit => "Parts of an organization: wards, shops, regions. They form a tree.",
            Kind::User => "People who log in.",
            Kind::ApiKey => "What programs show instead of a password.",
            Kind::OutboundIntegration => "Which events go where.",
            Kind::Lookup => "What one system calls a thing, and what another does.",
            Kind::EventType => "What payloads of a type of events are like.",
            Kind::FieldSchema => "The fields that payloads of a type have.",
            Kind::Template => "Integrations to begin with.",
            Kind::AlertRule => "When somebody is told, and where.",
        }
    }

    /// Is it written down in files and applied from there? Who may come in is not: passwords and keys are given to people.
    pub const fn is_configuration(self) -> bool {
        !matches!(self, Kind::User | Kind::ApiKey)
    }

    /// The kinds that are, in their order.
    pub fn configuration() -> impl DoubleEndedIterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| kind.is_configuration())
    }

    /// The field that holds its id.
    pub const fn id_field(self) -> &'static str {
        match self {
            Kind::Organization => "orgId",
            Kind::OrgUnit => "rid",
            _ => "id",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which resource: the key of its record, `OutboundIntegration/bills`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub id: ResourceId,
}

impl Key {
    /// `None`: no resource can have that id.
    pub fn of(kind: Kind, id: &str) -> Option<Key> {
        ResourceId::parse(id).ok().map(|id| Key { kind, id })
    }

    /// The key of a record; `None` for kinds and ids that this version does not know.
    pub fn parse(text: &str) -> Option<Key> {
        let (kind, id) = text.split_once('/')?;
        Key::of(Kind::parse(kind)?, id)
    }

    /// In messages: "integration `bills`".
    pub fn told(&self) -> String {
        format!("{} `{}`", self.kind.noun(), self.id)
    }
}

impl From<&OrgId> for Key {
    fn from(id: &OrgId) -> Key {
        Key { kind: Kind::Organization, id: id.into() }
    }
}

impl From<&Rid> for Key {
    fn from(id: &Rid) -> Key {
        Key { kind: Kind::OrgUnit, id: id.into() }
    }
}

impl From<&IntegrationId> for Key {
    fn from(id: &IntegrationId) -> Key {
        Key { kind: Kind::OutboundIntegration, id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}
