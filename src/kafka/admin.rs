//! Topics on the brokers: what is there, and creating what is missing. Nothing here deletes or alters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::model::topic::Topic;
use crate::topology::{Actual, ActualTopic, Declared, DeclaredTopic};

/// For each request to the brokers.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What went wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("the Kafka properties are not valid: {0}")]
    Properties(KafkaError),
    #[error(
        "no Kafka broker answers at {brokers} ({cause}). Check the address (KAFKA_BROKERS), that the broker runs, and TLS and SASL"
    )]
    Unreachable { brokers: String, cause: KafkaError },
    #[error("the brokers refuse to {action} {topic}: {}", advice(.code))]
    Refused { action: &'static str, topic: String, code: Code },
    #[error("{topic} was created, but the brokers do not show it after {} s; try again, and look at the controller's log", TIMEOUT.as_secs())]
    NotVisible { topic: String },
}

fn advice(code: &Code) -> String {
    match code {
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "not authorised. Grant Describe, DescribeConfigs and Create on the prefix to this user".into()
        }
        Code::InvalidReplicationFactor => {
            "there are fewer brokers than replicas wanted. Add brokers, or lower `replication` in the topology file"
                .into()
        }
        Code::PolicyViolation => {
            "a policy of the brokers forbids it; create it by hand, `tidegate topology describe` says how".into()
        }
        other => format!("{other}"),
    }
}

/// A connection for administration. Cheap to keep, safe to drop.
pub struct Admin {
    client: Arc<AdminClient<DefaultClientContext>>,
    brokers: String,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

struct Listed {
    partitions: u32,
    /// Every partition has a leader.
    usable: bool,
}

impl Admin {
    /// `properties` are librdkafka's, `bootstrap.servers` among them. Connects when it is first used.
    pub fn new(properties: &BTreeMap<String, String>) -> Result<Admin, AdminError> {
        let config: ClientConfig = properties.clone().into_iter().collect();
        let client = config.create().map_err(AdminError::Properties)?;
        let brokers = properties.get("bootstrap.servers").cloned().unwrap_or_default();
        Ok(Admin { client: Arc::new(client), brokers })
    }

    /// The gateway's topics that the brokers have, with the settings in force.
    pub async fn actual(&self, prefix: &str) -> Result<Actual, AdminError> {
        let listed = self.listed().await?;
        let there = |topic: &Topic| listed.contains_key(&topic.full_name(prefix));
        let present: Vec<Topic> = Topic::ALL.into_iter().filter(there).collect();
        let names: Vec<String> = present.iter().map(|topic| topic.full_name(prefix)).collect();
        let mut topics = BTreeMap::new();
        if !names.is_empty() {
            let wanted: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
            let answers =
                self.client.describe_configs(&wanted, &options()).await.map_err(|cause| self.unreachable(cause))?;
            for ((topic, name), answer) in present.into_iter().zip(names).zip(answers) {
                let config =
                    answer.map_err(|code| AdminError::Refused { action: "describe", topic: name.clone(), code })?;
                let partitions = listed.get(&name).map_or(0, |topic| topic.partitions);
                topics.insert(topic, ActualTopic { partitions, config: settings(config) });
            }
        }
        Ok(Actual { prefix: prefix.to_string(), topics })
    }

    /// Creates the declared topics that are missing and waits until each can be used. Returns those that this call created;
    /// another process may have been faster with some.
    pub async fn create_missing(&self, declared: &Declared, prefix: &str) -> Result<Vec<Topic>, AdminError> {
        let there = self.listed().await?;
        let missing: Vec<&DeclaredTopic> =
            declared.topics().iter().filter(|topic| !there.contains_key(&topic.topic.full_name(prefix))).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = missing.iter().map(|topic| topic.topic.full_name(prefix)).collect();
        let configs: Vec<Vec<(&str, String)>> = missing.iter().map(|topic| topic.config()).collect();
        let wanted: Vec<NewTopic<'_>> = missing
            .iter()
            .zip(&names)
            .zip(&configs)
            .map(|((topic, name), config)| new_topic(topic, name, config))
            .collect();
        let answers = self.client.create_topics(&wanted, &options()).await.map_err(|cause| self.unreachable(cause))?;
        let mut created = Vec::new();
        for (topic, answer) in missing.iter().zip(answers) {
            match answer {
                Ok(_) => created.push(topic.topic),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(AdminError::Refused { action: "create", topic: name, code }),
            }
        }
        self.wait_for(&names).await?;
        Ok(created)
    }

    /// A topic is created before every broker knows it; a consumer that asks too early is told that there is none.
    async fn wait_for(&self, names: &[String]) -> Result<(), AdminError> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let there = self.listed().await?;
            match names.iter().find(|name| !there.get(*name).is_some_and(|topic| topic.usable)) {
                None => return Ok(()),
                Some(name) if Instant::now() > deadline => return Err(AdminError::NotVisible { topic: name.clone() }),
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Every topic of the brokers. Asks for all of them: asking for one by name could create it.
    async fn listed(&self) -> Result<BTreeMap<String, Listed>, AdminError> {
        let client = Arc::clone(&self.client);
        let fetched = tokio::task::spawn_blocking(move || client.inner().fetch_metadata(None, TIMEOUT)).await;
        let metadata = match fetched {
            Ok(answer) => answer.map_err(|cause| self.unreachable(cause))?,
            // The task is only cancelled with the runtime; it does not panic.
            Err(_) => return Err(self.unreachable(KafkaError::Canceled)),
        };
        let listed = |topic: &MetadataTopic| Listed {
            partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
            usable: topic.partitions().iter().all(|partition| partition.leader() >= 0),
        };
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_string(), listed(topic))).collect())
    }

    fn unreachable(&self, cause: KafkaError) -> AdminError {
        AdminError::Unreachable { brokers: self.brokers.clone(), cause }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

fn settings(config: ConfigResource) -> BTreeMap<String, String> {
    config.entries.into_iter().filter_map(|entry| entry.value.map(|value| (entry.name, value))).collect()
}

fn new_topic<'a>(topic: &DeclaredTopic, name: &'a str, config: &'a [(&'a str, String)]) -> NewTopic<'a> {
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(topic.replication));
    config.iter().fold(new, |new, (key, value)| new.set(key, value))
}
