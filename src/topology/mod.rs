//! What the gateway is made of: its topics, the stages between them, and defaults. Declared in
//! `topologies/gateway.yaml`, compared with the brokers by pure rules, and drawn for people.

mod check;
mod describe;
mod file;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::retry::RetryPolicy;
use crate::model::topic::Topic;

pub use check::{Actual, ActualTopic, Difference, Finding, check, report};
pub use describe::{Site, mermaid, text};
pub use file::{BUILT_IN, TopologyError};

/// A topology that holds together: every topic is declared, `retry` has the partitions of `deliveries`, and what waits for
/// the longest delay is not deleted meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// In the order of `Topic::ALL`.
    topics: [DeclaredTopic; Topic::ALL.len()],
    pub stages: Vec<Stage>,
    /// For integrations that do not say otherwise.
    pub retry: RetryPolicy,
}

impl Declared {
    /// The compiled-in file; `profile` as in [`Declared::parse`].
    pub fn built_in(profile: Option<&str>) -> Result<Declared, TopologyError> {
        Declared::parse(BUILT_IN, profile)
    }

    /// Reads a topology file. A profile replaces some settings of some topics; an unknown one is an error.
    pub fn parse(text: &str, profile: Option<&str>) -> Result<Declared, TopologyError> {
        file::parse(text, profile)
    }

    pub fn topics(&self) -> &[DeclaredTopic] {
        &self.topics
    }

    pub fn topic(&self, topic: Topic) -> &DeclaredTopic {
        &self.topics[topic as usize]
    }

    /// The same with as many partitions as a log that is there has.
    pub fn with_partitions(mut self, there: &BTreeMap<Topic, u32>) -> Declared {
        for topic in &mut self.topics {
            topic.partitions = there.get(&topic.topic).copied().unwrap_or(topic.partitions);
        }
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTopic {
    pub topic: Topic,
    pub about: String,
    /// 1-10,000.
    pub partitions: u32,
    /// -1: the brokers' `default.replication.factor`.
    pub replication: i32,
    pub cleanup: Cleanup,
    pub timestamps: Timestamps,
    pub max_message_bytes: u32,
}

/// How old records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    Delete {
        retention: Duration,
        /// Whether the brokers' limit in bytes, if they have one, is lifted.
        no_size_limit: bool,
    },
    /// The last record of each key stays.
    Compact { segment: Duration, max_compaction_lag: Duration, delete_retention: Duration },
}

impl Cleanup {
    /// The value of `cleanup.policy`.
    pub const fn policy(self) -> &'static str {
        match self {
            Cleanup::Delete { .. } => "delete",
            Cleanup::Compact { .. } => "compact",
        }
    }
}

/// `message.timestamp.type`, spelled as Kafka does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Timestamps {
    CreateTime,
    LogAppendTime,
}

impl Timestamps {
    pub const fn name(self) -> &'static str {
        match self {
            Timestamps::CreateTime => "CreateTime",
            Timestamps::LogAppendTime => "LogAppendTime",
        }
    }
}

impl DeclaredTopic {
    /// The topic's settings under Kafka's names, for the request that creates it.
    pub fn config(&self) -> Vec<(&'static str, String)> {
        let mut config = vec![
            ("cleanup.policy", self.cleanup.policy().to_string()),
            ("message.timestamp.type", self.timestamps.name().to_string()),
            ("max.message.bytes", self.max_message_bytes.to_string()),
        ];
        let millis = |d: Duration| d.as_millis().to_string();
        match self.cleanup {
            Cleanup::Delete { retention, no_size_limit } => {
                config.push(("retention.ms", millis(retention)));
                if no_size_limit {
                    config.push(("retention.bytes", "-1".to_string()));
                }
            }
            Cleanup::Compact { segment, max_compaction_lag, delete_retention } => {
                config.push(("segment.ms", millis(segment)));
                config.push(("max.compaction.lag.ms", millis(max_compaction_lag)));
                config.push(("delete.retention.ms", millis(delete_retention)));
            }
        }
        config
    }
}

/// A part of the process that stands between topics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    pub name: String,
    /// The role that a process needs to run it.
    pub role: String,
    /// Its consumer group, without the prefix.
    #[serde(default)]
    pub group: Option<String>,
    /// Topics that it consumes, or names of what lies outside (`REST`).
    pub from: Vec<End>,
    /// Compacted topics that it reads whole and then follows.
    #[serde(default)]
    pub tables: Vec<Topic>,
    #[serde(default)]
    pub writes: Vec<Topic>,
    /// What lies outside and gets its results.
    #[serde(default)]
    pub to: Vec<String>,
}

/// Where a stage's input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum End {
    Topic(Topic),
    Outside(String),
}

impl From<String> for End {
    fn from(name: String) -> Self {
        match Topic::ALL.into_iter().find(|topic| topic.name() == name) {
            Some(topic) => End::Topic(topic),
            None => End::Outside(name),
        }
    }
}

#[cfg(test)]
mod tests;
