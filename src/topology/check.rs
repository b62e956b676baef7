//! What the brokers have against what is declared. Pure: `kafka::admin` reads, this judges.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::file::{MARGIN, longest_delay};
use super::{Cleanup, Declared, DeclaredTopic};
use crate::model::duration::DurationText;
use crate::model::topic::Topic;

/// The gateway's topics as the brokers have them; a missing one is not in the map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    pub prefix: String,
    pub topics: BTreeMap<Topic, ActualTopic>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActualTopic {
    pub partitions: u32,
    /// Settings in force under Kafka's names, the brokers' defaults included.
    pub config: BTreeMap<String, String>,
}

impl ActualTopic {
    fn setting(&self, name: &str) -> &str {
        self.config.get(name).map_or("", String::as_str)
    }

    /// A time in milliseconds; -1, Kafka's "for ever", is the longest there is.
    fn duration(&self, name: &str) -> Option<Duration> {
        match self.setting(name).parse::<i64>() {
            Ok(ms) => Some(u64::try_from(ms).map_or(Duration::MAX, Duration::from_millis)),
            Err(_) => None,
        }
    }
}

/// One difference. Its text says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub topic: Topic,
    /// The name on the brokers, with the prefix.
    pub name: String,
    pub difference: Difference,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    Missing,
    Partitions {
        declared: u32,
        actual: u32,
    },
    /// What waits for the longest delay would be deleted before it is due.
    TooShortForRetries {
        retention: Duration,
        needed: Duration,
    },
    KeptForLess {
        declared: Duration,
        actual: Duration,
    },
    /// A limit in bytes may delete records before their time.
    SizeLimit {
        bytes: String,
    },
    MessageLimit {
        declared: u32,
        actual: u32,
    },
    Cleanup {
        declared: &'static str,
        actual: String,
    },
    Timestamps {
        declared: &'static str,
        actual: String,
    },
    /// Another setting of a compacted topic.
    Setting {
        setting: &'static str,
        declared: String,
        actual: String,
    },
}

impl Difference {
    /// Whether the gateway must not run with it. The rest it can live with.
    pub fn is_fatal(&self) -> bool {
        match self {
            Difference::Missing
            | Difference::Partitions { .. }
            | Difference::TooShortForRetries { .. }
            | Difference::MessageLimit { .. }
            | Difference::Cleanup { .. } => true,
            Difference::KeptForLess { .. }
            | Difference::SizeLimit { .. }
            | Difference::Timestamps { .. }
            | Difference::Setting { .. } => false,
        }
    }
}

/// Everything that differs and matters, in the order of the topics. Settings that nobody declared are not judged.
pub fn check(declared: &Declared, actual: &Actual) -> Vec<Finding> {
    let mut findings = Vec::new();
    for topic in declared.topics() {
        let name = topic.topic.full_name(&actual.prefix);
        let differences = match actual.topics.get(&topic.topic) {
            None => vec![Difference::Missing],
            Some(there) => differences(topic, there, longest_delay(&declared.retry) + MARGIN),
        };
        findings.extend(differences.into_iter().map(|difference| Finding {
            topic: topic.topic,
            name: name.clone(),
            difference,
        }));
    }
    findings
}

fn differences(declared: &DeclaredTopic, actual: &ActualTopic, waits: Duration) -> Vec<Difference> {
    let mut differences = Vec::new();
    if declared.partitions != actual.partitions {
        differences.push(Difference::Partitions { declared: declared.partitions, actual: actual.partitions });
    }
    let limit = actual.setting("max.message.bytes").parse().unwrap_or(0);
    if limit < declared.max_message_bytes {
        differences.push(Difference::MessageLimit { declared: declared.max_message_bytes, actual: limit });
    }
    let policy = actual.setting("cleanup.policy");
    if policy != declared.cleanup.policy() {
        differences.push(Difference::Cleanup { declared: declared.cleanup.policy(), actual: policy.to_string() });
    } else {
        differences.extend(cleanup_differences(declared, actual, waits));
    }
    let timestamps = actual.setting("message.timestamp.type");
    if timestamps != declared.timestamps.name() {
        differences
            .push(Difference::Timestamps { declared: declared.timestamps.name(), actual: timestamps.to_string() });
    }
    differences
}

fn cleanup_differences(declared: &DeclaredTopic, actual: &ActualTopic, waits: Duration) -> Vec<Difference> {
    let mut differences = Vec::new();
    match declared.cleanup {
        Cleanup::Delete { retention, no_size_limit } => {
            let kept = actual.duration("retention.ms").unwrap_or_default();
            if declared.topic == Topic::Deliveries && kept < waits {
                differences.push(Difference::TooShortForRetries { retention: kept, needed: waits });
            } else if kept < retention {
                differences.push(Difference::KeptForLess { declared: retention, actual: kept });
            }
            if no_size_limit && actual.setting("retention.bytes") != "-1" {
                differences.push(Difference::SizeLimit { bytes: actual.setting("retention.bytes").to_string() });
            }
        }
        Cleanup::Compact { segment, max_compaction_lag, delete_retention } => {
            let mut differs = |setting, declared: Duration, bad: bool| {
                if bad {
                    let actual = actual.setting(setting).to_string();
                    differences.push(Difference::Setting {
                        setting,
                        declared: declared.as_millis().to_string(),
                        actual,
                    });
                }
            };
            // Longer segments and lags only make loading slower; a shorter life of tombstones hides deletions from readers.
            let at_most = |name, most: Duration| actual.duration(name).is_none_or(|there| there > most);
            differs("segment.ms", segment, at_most("segment.ms", segment));
            differs("max.compaction.lag.ms", max_compaction_lag, at_most("max.compaction.lag.ms", max_compaction_lag));
            let kept = actual.duration("delete.retention.ms").unwrap_or_default();
            differs("delete.retention.ms", delete_retention, kept < delete_retention);
        }
    }
    differences
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.difference {
            Difference::Missing => write!(f, "{name} is missing; `tidegate topology create` or `serve` makes it"),
            Difference::Partitions { declared, actual } => {
                write!(f, "{name} has {actual} partitions, {declared} are declared. ")?;
                let or = match kept_by(self.topic) {
                    Keys::Order => return f.write_str("It must have one: write it anew, as is told at the end"),
                    Keys::Partition => "or drain first and then change the topic, as is told at the end",
                    Keys::None => "or alter the topic; nothing depends on which partition a record is in",
                };
                write!(f, "Either declare {actual} in a topology file of your own (--topology FILE), {or}")
            }
            Difference::TooShortForRetries { retention, needed } => {
                write!(
                    f,
                    "{name} keeps records for {}: shorter than the longest retry delay and a day, so what waits would be deleted. ",
                    span(*retention)
                )?;
                alter(f, name, "retention.ms", &needed.as_millis())
            }
            Difference::KeptForLess { declared, actual } => {
                write!(f, "{name} keeps records for {}, {} is declared. ", span(*actual), span(*declared))?;
                alter(f, name, "retention.ms", &declared.as_millis())
            }
            Difference::SizeLimit { bytes } => {
                write!(f, "{name} is limited to {bytes} bytes a partition: a backlog beyond it would be deleted. ")?;
                alter(f, name, "retention.bytes", &-1)
            }
            Difference::MessageLimit { declared, actual } => {
                write!(
                    f,
                    "{name} takes messages of up to {actual} bytes, {declared} are needed, or large events fail. "
                )?;
                alter(f, name, "max.message.bytes", declared)
            }
            Difference::Cleanup { declared, actual } => {
                write!(f, "{name} has cleanup.policy {actual}, not {declared}: ")?;
                f.write_str(match *declared {
                    "compact" => "state that is still in force would be deleted. ",
                    _ => "records with one key would be thinned out. ",
                })?;
                alter(f, name, "cleanup.policy", declared)
            }
            Difference::Timestamps { declared, actual } => {
                write!(
                    f,
                    "{name} has message.timestamp.type {actual}: a client's clock decides when records are deleted. "
                )?;
                alter(f, name, "message.timestamp.type", declared)
            }
            Difference::Setting { setting, declared, actual } => {
                write!(f, "{name} has {setting} {actual}, {declared} is declared. ")?;
                alter(f, name, setting, declared)
            }
        }
    }
}

/// What rests on the number of a topic's partitions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// One order of all records.
    Order,
    /// Where the records of a key are, and what waits.
    Partition,
    None,
}

const fn kept_by(topic: Topic) -> Keys {
    match topic {
        Topic::Catalog => Keys::Order,
        Topic::Audit | Topic::Rejected | Topic::Dlq | Topic::Attempts => Keys::None,
        _ => Keys::Partition,
    }
}

/// Everything that was found, a line each, then the advice that is the same for several of them, once.
pub fn report(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let advised = |keys: Keys| {
        let partitions = |f: &&Finding| matches!(f.difference, Difference::Partitions { .. });
        findings.iter().filter(partitions).any(|f| kept_by(f.topic) == keys)
    };
    let mut report = lines.join("\n");
    for (keys, advice) in [(Keys::Partition, DRAIN), (Keys::Order, WRITE_ANEW)] {
        if advised(keys) {
            report.push_str("\n\n");
            report.push_str(advice);
        }
    }
    report
}

const DRAIN: &str = "To change the partitions of a topic, drain first: with another number the same key goes to another partition, so order is \
    lost, and what waits is kept for each partition, so it would not be found. Stop the roles that write to it, wait until the groups \
    have no lag and retry holds nothing (kafka-consumer-groups; kcat -C -e -t <prefix>.retry shows no key whose last value is not empty), \
    stop all processes, delete the topic, create it with the new number, start again. `tidegate topology check` tells all that differs.";

const WRITE_ANEW: &str = "To write the catalog anew, for its writes need one order: keep a copy of it (kcat -C -e -K ' ' -t ...), delete the \
    topic, create it, write the copy back in its order.";

fn alter(f: &mut fmt::Formatter<'_>, topic: &str, setting: &str, value: &dyn fmt::Display) -> fmt::Result {
    write!(
        f,
        "Change it: kafka-configs --bootstrap-server ... --alter --entity-type topics --entity-name {topic} --add-config {setting}={value}"
    )
}

fn span(d: Duration) -> String {
    if d == Duration::MAX { "ever".to_string() } else { DurationText(d).to_string() }
}
