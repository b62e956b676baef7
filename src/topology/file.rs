//! Reads a topology file: settings of a topic from its profile, its own entry, or the defaults, in this order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Cleanup, Declared, DeclaredTopic, Stage, Timestamps};
use crate::model::duration::DurationText;
use crate::model::retry::{Delays, RetryPolicy};
use crate::model::suggest::nearest;
use crate::model::topic::Topic;

/// The file that is compiled in.
pub const BUILT_IN: &str = include_str!("../../topologies/gateway.yaml");

/// A record that waits is given up a day before the log would delete it.
pub(super) const MARGIN: Duration = Duration::from_secs(24 * 3_600);

/// What is wrong with a topology file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    #[error("topology file, line {line}: {what}")]
    Syntax { line: u64, what: String },
    #[error("topology file: topic {topic} needs `{key}`")]
    Missing { topic: Topic, key: &'static str },
    #[error("topology file: topic {topic}: {what}")]
    Topic { topic: Topic, what: String },
    #[error("topology file: there is no profile `{name}`{}", known(.profiles))]
    Profile { name: String, profiles: Vec<String> },
}

fn known(profiles: &[String]) -> String {
    if profiles.is_empty() { "; it has none".to_string() } else { format!("; it has: {}", profiles.join(", ")) }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    defaults: Settings,
    topics: BTreeMap<Topic, Settings>,
    stages: Vec<Stage>,
    #[serde(default)]
    retry: RetryPolicy,
    #[serde(default)]
    profiles: BTreeMap<String, BTreeMap<Topic, Settings>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    about: Option<String>,
    partitions: Option<u32>,
    replication: Option<i32>,
    cleanup: Option<Policy>,
    retention: Option<DurationText>,
    no_size_limit: Option<bool>,
    segment: Option<DurationText>,
    max_compaction_lag: Option<DurationText>,
    delete_retention: Option<DurationText>,
    timestamps: Option<Timestamps>,
    max_message_bytes: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Policy {
    Delete,
    Compact,
}

impl Settings {
    fn over(&self, below: &Settings) -> Settings {
        Settings {
            about: self.about.clone().or_else(|| below.about.clone()),
            partitions: self.partitions.or(below.partitions),
            replication: self.replication.or(below.replication),
            cleanup: self.cleanup.or(below.cleanup),
            retention: self.retention.or(below.retention),
            no_size_limit: self.no_size_limit.or(below.no_size_limit),
            segment: self.segment.or(below.segment),
            max_compaction_lag: self.max_compaction_lag.or(below.max_compaction_lag),
            delete_retention: self.delete_retention.or(below.delete_retention),
            timestamps: self.timestamps.or(below.timestamps),
            max_message_bytes: self.max_message_bytes.or(below.max_message_bytes),
        }
    }

    fn declare(self, topic: Topic) -> Result<DeclaredTopic, TopologyError> {
        let missing = |key| TopologyError::Missing { topic, key };
        let wrong = |what: &str| TopologyError::Topic { topic, what: what.to_string() };
        let cleanup = match self.cleanup.ok_or(missing("cleanup"))? {
            Policy::Delete => Cleanup::Delete {
                retention: self.retention.ok_or(missing("retention"))?.0,
                no_size_limit: self.no_size_limit.unwrap_or(false),
            },
            Policy::Compact => Cleanup::Compact {
                segment: self.segment.ok_or(missing("segment"))?.0,
                max_compaction_lag: self.max_compaction_lag.ok_or(missing("maxCompactionLag"))?.0,
                delete_retention: self.delete_retention.ok_or(missing("deleteRetention"))?.0,
            },
        };
        let partitions = self.partitions.ok_or(missing("partitions"))?;
        if !(1..=10_000).contains(&partitions) {
            return Err(wrong("`partitions` must be 1-10000"));
        }
        let replication = self.replication.ok_or(missing("replication"))?;
        if replication != -1 && !(1..=16).contains(&replication) {
            return Err(wrong("`replication` must be 1-16, or -1 for the brokers' default"));
        }
        let max_message_bytes = self.max_message_bytes.ok_or(missing("maxMessageBytes"))?;
        if !(2 << 20..=64 << 20).contains(&max_message_bytes) {
            return Err(wrong("`maxMessageBytes` must be 2097152-67108864: an event has up to 1 MiB, and headers"));
        }
        Ok(DeclaredTopic {
            topic,
            about: self.about.unwrap_or_default(),
            partitions,
            replication,
            cleanup,
            timestamps: self.timestamps.ok_or(missing("timestamps"))?,
            max_message_bytes,
        })
    }
}

pub(super) fn parse(text: &str, profile: Option<&str>) -> Result<Declared, TopologyError> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| syntax(&error))?;
    if file.version != 1 {
        let what = format!("`version` must be 1, not {}: the file is for another release", file.version);
        return Err(TopologyError::Syntax { line: 1, what });
    }
    let overrides = match profile {
        None => &BTreeMap::new(),
        Some(name) => file.profiles.get(name).ok_or_else(|| TopologyError::Profile {
            name: name.to_string(),
            profiles: file.profiles.keys().cloned().collect(),
        })?,
    };
    let none = Settings::default();
    let mut topics = Vec::with_capacity(Topic::ALL.len());
    for topic in Topic::ALL {
        let own = file.topics.get(&topic).ok_or(TopologyError::Missing { topic, key: "an entry under `topics`" })?;
        let settings = overrides.get(&topic).unwrap_or(&none).over(own).over(&file.defaults);
        topics.push(settings.declare(topic)?);
    }
    let topics = topics.try_into().map_err(|_| TopologyError::Syntax { line: 1, what: "topics are missing".into() })?;
    let declared = Declared { topics, stages: file.stages, retry: file.retry };
    holds_together(&declared)?;
    Ok(declared)
}

fn holds_together(declared: &Declared) -> Result<(), TopologyError> {
    let wrong = |topic: Topic, what: String| Err(TopologyError::Topic { topic, what });
    let deliveries = declared.topic(Topic::Deliveries);
    let retry = declared.topic(Topic::Retry);
    if retry.partitions != deliveries.partitions {
        let what = format!(
            "`partitions` must be {}, those of deliveries: partition n holds what waits in n",
            deliveries.partitions
        );
        return wrong(Topic::Retry, what);
    }
    for compacted in [Topic::Retry, Topic::Timers, Topic::Catalog, Topic::Checkpoints] {
        if matches!(declared.topic(compacted).cleanup, Cleanup::Delete { .. }) {
            return wrong(compacted, "`cleanup` must be compact: the last record of each key is state".into());
        }
    }
    if declared.topic(Topic::Catalog).partitions != 1 {
        return wrong(Topic::Catalog, "`partitions` must be 1: writes to it have one order".into());
    }
    let needed = longest_delay(&declared.retry) + MARGIN;
    if let Cleanup::Delete { retention, .. } = deliveries.cleanup
        && retention < needed
    {
        let what = format!("`retention` must be {} at least: the longest retry delay and a day", DurationText(needed));
        return wrong(Topic::Deliveries, what);
    }
    Ok(())
}

/// The longest time that a delivery of this policy waits for its next attempt, jitter included.
pub(super) fn longest_delay(policy: &RetryPolicy) -> Duration {
    let longest = match &policy.delays {
        Delays::List(list) => list.iter().max().copied().unwrap_or_default(),
        Delays::Exponential { cap, .. } => *cap,
    };
    longest.mul_f64(1.0 + policy.jitter)
}

/// The parser's error in our words: where, what, and the key that was probably meant.
fn syntax(error: &serde_saphyr::Error) -> TopologyError {
    use serde_saphyr::Error;
    let error = error.without_snippet();
    let line = error.location().map_or(1, |at| at.line());
    let what = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("`{field}` is not a key here{}", hint(field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is not known here{}", hint(variant, expected))
        }
        other => other.to_string(),
    };
    TopologyError::Syntax { line, what }
}

fn hint(given: &str, known: &[&'static str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => format!("; known: {}", known.join(", ")),
    }
}
