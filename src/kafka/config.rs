//! Client configurations: what the engine's rules fix, what they default, and what the user may set.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::model::topic::Topic;
use crate::stream::log::LogError;

/// The largest record that is written or asked for, in bytes. The topics allow the same.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// How long the broker lets a transaction of a stage be open before it aborts it: readers wait behind one that was left open.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Properties that the engine's promises rest on; setting one of them is refused.
const RESERVED: [&str; 15] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "partition.assignment.strategy",
    "partitioner",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Beginnings of properties that only one kind of client knows; the other kind would warn about them.
const CONSUMER_ONLY: [&str; 9] = [
    "session.timeout",
    "heartbeat.",
    "max.poll",
    "fetch.",
    "queued.",
    "check.crcs",
    "max.partition.fetch",
    "coordinator.query",
    "consume.",
];
const PRODUCER_ONLY: [&str; 11] = [
    "linger.ms",
    "queue.buffering",
    "batch.",
    "compression.",
    "message.timeout",
    "delivery.timeout",
    "request.timeout",
    "request.required",
    "message.send",
    "retries",
    "sticky.",
];

/// How to reach Kafka, and under which names.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Bootstrap servers, `host:port,host:port`.
    pub brokers: String,
    /// In front of every topic, group and transactional id.
    pub prefix: String,
    /// A stable name given by the user (`TIDEGATE_INSTANCE`): makes group membership static.
    pub instance: Option<String>,
    /// The name where none is given: host and listen port, so that a restart finds its predecessor's transactions.
    pub default_instance: String,
    /// Any librdkafka property, applied last. Those in `RESERVED` are refused.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("instance", &self.instance_name())
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl KafkaConfig {
    /// A configuration whose instance is named after this host and the port that the process listens on.
    pub fn new(brokers: impl Into<String>, prefix: impl Into<String>, listen_port: u16) -> Self {
        KafkaConfig {
            brokers: brokers.into(),
            prefix: prefix.into(),
            instance: None,
            default_instance: format!("{}-{listen_port}", host_name()),
            properties: BTreeMap::new(),
        }
    }

    pub fn instance_name(&self) -> &str {
        self.instance.as_deref().unwrap_or(&self.default_instance)
    }

    pub(super) fn group(&self, stage: &str) -> String {
        format!("{}.{stage}", self.prefix)
    }

    pub(super) fn transactional_id(&self, stage: &str) -> String {
        format!("{}.{stage}.{}", self.prefix, self.instance_name())
    }

    /// How long the group waits for a sign of life: 30 s for a static member, which is back in 0.1 s after a crash, else
    /// 10 s; `session.timeout.ms` overrides both.
    pub(super) fn session(&self) -> Duration {
        let default = if self.instance.is_some() { 30_000 } else { 10_000 };
        let ms = self.properties.get("session.timeout.ms").and_then(|v| v.parse().ok()).unwrap_or(default);
        Duration::from_millis(ms)
    }

    /// Refuses what would break a promise, before any client is made.
    pub(super) fn check(&self) -> Result<(), LogError> {
        if self.brokers.trim().is_empty() {
            return Err(LogError::Fatal("no Kafka brokers are named; set KAFKA_BROKERS to host:port".into()));
        }
        match self.properties.keys().find(|k| RESERVED.contains(&k.as_str())) {
            Some(key) => Err(LogError::Fatal(format!(
                "kafka.properties.{key} may not be set: the gateway's guarantees rest on its own value; remove it"
            ))),
            None => Ok(()),
        }
    }

    fn client(&self, not_for_it: &[&str], ours: &[(&str, &str)]) -> ClientConfig {
        let mut c = ClientConfig::new();
        c.set_log_level(RDKafkaLogLevel::Warning);
        c.set("bootstrap.servers", &self.brokers)
            .set("client.id", format!("tidegate-{}", self.instance_name()))
            .set("socket.nagle.disable", "true")
            .set("socket.keepalive.enable", "true")
            .set("socket.timeout.ms", "6000")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("statistics.interval.ms", "5000");
        for (key, value) in ours {
            c.set(*key, *value);
        }
        for (key, value) in &self.properties {
            if !not_for_it.iter().any(|p| key.starts_with(p)) {
                c.set(key, value);
            }
        }
        c
    }

    fn producer(&self, ours: &[(&str, &str)]) -> ClientConfig {
        let fixed = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", "8000"),
            // Shorter than a message waits, so that a missing topic is told as what it is.
            ("topic.metadata.propagation.max.ms", "3000"),
            ("request.timeout.ms", "5000"),
            ("queue.buffering.max.kbytes", "65536"),
        ];
        let mut c = self.client(&CONSUMER_ONLY, &[&fixed, ours].concat());
        c.set("message.max.bytes", MAX_MESSAGE_BYTES.to_string());
        c
    }

    /// The plain appender: waits a millisecond for company, so that single records share requests.
    pub(super) fn appender(&self) -> ClientConfig {
        self.producer(&[("linger.ms", "1")])
    }

    /// A transactional producer. A batch is written at once, so it lingers only as long as a batch takes to enqueue.
    pub(super) fn transactional(&self, id: &str, lasts: Duration) -> ClientConfig {
        let timeout = lasts.as_millis().to_string();
        self.producer(&[
            ("transactional.id", id),
            ("transaction.timeout.ms", &timeout),
            // The broker refuses a transaction while the markers of the last are being written; this is the wait until it is
            // asked again.
            ("retry.backoff.ms", "5"),
            ("linger.ms", "1"),
        ])
    }

    fn consumer(&self, ours: &[(&str, &str)]) -> ClientConfig {
        let fixed = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "error"),
            ("fetch.error.backoff.ms", "50"),
        ];
        self.client(&PRODUCER_ONLY, &[&fixed, ours].concat())
    }

    /// A member of a stage's group.
    pub(super) fn member(&self, stage: &str) -> ClientConfig {
        let session = self.session().as_millis();
        let group = self.group(stage);
        let mut c = self.consumer(&[
            ("group.id", &group),
            ("group.protocol", "classic"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", &session.to_string()),
            ("heartbeat.interval.ms", &(session / 5).min(2000).to_string()),
            ("max.poll.interval.ms", "60000"),
            ("queued.min.messages", "2000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.wait.max.ms", "100"),
            ("fetch.max.bytes", "8388608"),
        ]);
        if let Some(instance) = &self.instance {
            c.set("group.instance.id", instance);
        }
        c
    }

    /// An assign-only reader of one partition; its group is a name that librdkafka wants, nothing is committed under it.
    pub(super) fn reader(&self) -> ClientConfig {
        self.consumer(&[
            ("group.id", &self.group("reader")),
            ("enable.partition.eof", "true"),
            // It is polled only while somebody reads: statistics would pile up.
            ("statistics.interval.ms", "0"),
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.wait.max.ms", "50"),
        ])
    }

    /// The reader of many partitions, which nobody waits for: it asks the broker twice a second.
    pub(super) fn follower(&self) -> ClientConfig {
        let mut c = self.reader();
        c.set("queued.max.messages.kbytes", "4096");
        // A little of every partition at once, so that none gets far ahead.
        if !self.properties.contains_key("max.partition.fetch.bytes") {
            c.set("max.partition.fetch.bytes", "262144");
        }
        if !self.properties.contains_key("fetch.wait.max.ms") {
            c.set("fetch.wait.max.ms", "500");
        }
        c
    }

    /// The client that asks for metadata and offsets. Read uncommitted: the end of a log includes open transactions.
    pub(super) fn metadata(&self) -> ClientConfig {
        let mut c = self.consumer(&[]);
        c.set("isolation.level", "read_uncommitted");
        c
    }
}

/// The topics' names on the broker.
#[derive(Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Names(Topic::ALL.iter().map(|t| t.full_name(prefix)).collect())
    }

    pub(super) fn of(&self, topic: Topic) -> &str {
        self.0.get(topic as usize).map_or("", String::as_str)
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|n| n.trim().to_owned())
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| "localhost".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> KafkaConfig {
        let mut c = KafkaConfig::new("localhost:9092", "tidegate", 8080);
        c.properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        c
    }

    #[test]
    fn a_property_that_breaks_a_promise_is_refused_by_name() {
        for key in RESERVED {
            let said = config(&[(key, "x")]).check().map_err(|e| e.to_string()).unwrap_err();
            assert!(said.contains(key), "{said}");
        }
        assert!(config(&[("security.protocol", "ssl"), ("linger.ms", "20")]).check().is_ok());
    }

    #[test]
    fn a_property_reaches_the_clients_that_know_it() {
        let c = config(&[("fetch.wait.max.ms", "7"), ("linger.ms", "20"), ("sasl.username", "me")]);
        assert_eq!(c.member("match").get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(c.member("match").get("linger.ms"), None);
        assert_eq!(c.transactional("t", TRANSACTION_TIMEOUT).get("linger.ms"), Some("20"));
        assert_eq!(c.appender().get("fetch.wait.max.ms"), None);
        assert!([c.member("m"), c.appender(), c.reader()].iter().all(|c| c.get("sasl.username") == Some("me")));
    }

    #[test]
    fn every_configuration_is_one_that_librdkafka_takes() {
        let c = config(&[]);
        for one in [
            c.member("match"),
            c.reader(),
            c.follower(),
            c.metadata(),
            c.appender(),
            c.transactional("t", TRANSACTION_TIMEOUT),
        ] {
            assert!(one.create_native_config().is_ok(), "{one:?}");
        }
    }

    #[test]
    fn a_static_member_has_the_longer_session_and_the_users_setting_wins() {
        let mut c = config(&[]);
        assert_eq!(c.session(), Duration::from_secs(10));
        c.instance = Some("a".into());
        assert_eq!(c.session(), Duration::from_secs(30));
        assert_eq!(c.member("match").get("group.instance.id"), Some("a"));
        c.properties.insert("session.timeout.ms".into(), "6000".into());
        assert_eq!(c.session(), Duration::from_secs(6));
    }

    #[test]
    fn every_topic_keeps_its_own_name_on_the_broker() {
        let names = Names::new("p");
        assert!(Topic::ALL.iter().all(|t| names.of(*t) == t.full_name("p")));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let c = config(&[("sasl.password", "hunter2")]);
        assert!(!format!("{c:?}").contains("hunter2"));
    }
}
