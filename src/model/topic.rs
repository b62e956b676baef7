//! The topics of the gateway, by their logical names; an engine puts the prefix in front.

use std::fmt;

/// One of the gateway's topics. Partition counts, retention and cleanup are declared in `topologies/gateway.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    Events,
    Deliveries,
    Retry,
    Dlq,
    Attempts,
    Rejected,
    Timers,
    Catalog,
    Checkpoints,
    Audit,
}

impl Topic {
    pub const ALL: [Topic; 10] = [
        Topic::Events,
        Topic::Deliveries,
        Topic::Retry,
        Topic::Dlq,
        Topic::Attempts,
        Topic::Rejected,
        Topic::Timers,
        Topic::Catalog,
        Topic::Checkpoints,
        Topic::Audit,
    ];

    /// The name without the prefix: `events`.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Events => "events",
            Topic::Deliveries => "deliveries",
            Topic::Retry => "retry",
            Topic::Dlq => "dlq",
            Topic::Attempts => "attempts",
            Topic::Rejected => "rejected",
            Topic::Timers => "timers",
            Topic::Catalog => "catalog",
            Topic::Checkpoints => "checkpoints",
            Topic::Audit => "audit",
        }
    }

    /// The name on the broker: `<prefix>.events`.
    pub fn full_name(self, prefix: &str) -> String {
        format!("{prefix}.{}", self.name())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
