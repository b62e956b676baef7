//! What the clients say about themselves: one line when the brokers are lost and one when they are back, the last reason for
//! error messages, and librdkafka's own figures.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;

use crate::stream::log::LogError;
use crate::telemetry::metrics::{BROKERS_UP, CONNECTION_ERRORS, QUEUED_MESSAGES, REQUEST_TIMEOUTS};

/// How the brokers were last heard of, over all clients of the process.
#[derive(Debug, Default)]
pub(super) struct Health {
    brokers: String,
    down: AtomicBool,
    reason: Mutex<Option<Reason>>,
}

#[derive(Clone, Debug)]
struct Reason {
    code: Code,
    text: String,
}

impl Health {
    pub(super) fn new(brokers: &str) -> Self {
        Health { brokers: brokers.to_owned(), ..Health::default() }
    }

    /// Something answered. The first answer after a loss is logged.
    pub(super) fn up(&self) {
        if self.down.swap(false, Ordering::Relaxed) {
            tracing::info!(brokers = %self.brokers, "Kafka is back");
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// No broker answers. The first time after a good one is logged.
    pub(super) fn down(&self) {
        if !self.down.swap(true, Ordering::Relaxed) {
            tracing::warn!(brokers = %self.brokers, reason = %self.last_reason(), "Kafka cannot be reached; trying on");
        }
    }

    fn heard(&self, code: Code, text: &str) {
        if let Ok(mut reason) = self.reason.lock() {
            *reason = Some(Reason { code, text: core_of(text) });
        }
    }

    fn last_reason(&self) -> String {
        let reason = self.reason.lock().ok().and_then(|r| r.clone());
        reason.map_or_else(|| "no answer".into(), |r| r.text)
    }

    /// Why nothing answers, with what to do about it.
    pub(super) fn unreachable(&self) -> LogError {
        let reason = self.reason.lock().ok().and_then(|r| r.clone());
        let (brokers, why) = (&self.brokers, self.last_reason());
        match reason.map(|r| r.code) {
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => LogError::Fatal(format!(
                "Kafka at {brokers} refused the login: {why}; check sasl.username, sasl.password and sasl.mechanism in kafka.properties"
            )),
            Some(Code::SSL) => LogError::Fatal(format!(
                "TLS with Kafka at {brokers} failed: {why}; check security.protocol and ssl.ca.location in kafka.properties"
            )),
            _ => LogError::Unavailable(format!(
                "cannot reach Kafka at {brokers}: {why}; is it running, is KAFKA_BROKERS right?"
            )),
        }
    }
}

/// librdkafka says `host:port/bootstrap: Connect to ipv4#... failed: Connection refused (after 0ms in state CONNECT)`.
fn core_of(text: &str) -> String {
    let end = text.find(" (after ").unwrap_or(text.len());
    let text = &text[..end];
    let start = text.rfind("failed: ").map_or(0, |i| i + "failed: ".len());
    text[start..].trim().to_lowercase_first()
}

trait LowercaseFirst {
    fn to_lowercase_first(&self) -> String;
}

impl LowercaseFirst for str {
    fn to_lowercase_first(&self) -> String {
        let mut chars = self.chars();
        let ordinary = self.chars().nth(1).is_some_and(char::is_lowercase);
        match chars.next() {
            Some(first) if ordinary => first.to_lowercase().chain(chars).collect(),
            _ => self.to_owned(),
        }
    }
}

/// An error of a call, in the words of the port. `what` was asked for: `topic tidegate.events`.
pub(super) fn log_error(error: &KafkaError, what: &str, health: &Health) -> LogError {
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            LogError::Fatal(format!("{what} does not exist in Kafka; create it with `tidegate topology create`"))
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => LogError::Fatal(format!(
            "Kafka does not allow this user to use {what} ({error}); it needs Read, Write and Describe on topics, groups and \
             transactional ids that begin with the prefix, and DescribeConfigs on the topics"
        )),
        Some(
            Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::OperationTimedOut
            | Code::Resolve
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::SSL,
        ) => health.unreachable(),
        None if matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)) => LogError::Fatal(
            format!("Kafka's client library refuses the configuration: {error}; check kafka.properties"),
        ),
        _ => LogError::Unavailable(format!("{what}: {error}")),
    }
}

/// What a kind of client does with librdkafka's statistics, beyond its health.
pub(super) trait Hooks: Send + Sync + 'static {
    fn statistics(&self, _statistics: &Statistics) {}
}

/// A client that has nothing of its own to do.
#[derive(Debug)]
pub(super) struct Plain;

impl Hooks for Plain {}

impl ConsumerContext for Context<Plain> {}

/// The context of every client: speaks through `tracing` and the shared health, and carries what its kind needs.
pub(super) struct Context<H> {
    client: String,
    health: std::sync::Arc<Health>,
    pub(super) hooks: H,
}

impl<H: Hooks> Context<H> {
    pub(super) fn new(client: impl Into<String>, health: &std::sync::Arc<Health>, hooks: H) -> Self {
        Context { client: client.into(), health: health.clone(), hooks }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }
}

impl<H: Hooks> ClientContext for Context<H> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Warning};
        match level {
            // Losses of connections are told by `Health`, once.
            _ if matches!(facility, "FAIL" | "ERROR") => tracing::debug!(client = %self.client, facility, text),
            // A coordinator that is being loaded, a leader that is not elected yet: it tries again by itself.
            Warning if matches!(facility, "GETPID" | "METADATAUPDATE") => {
                tracing::debug!(client = %self.client, facility, text);
            }
            Emerg | Alert | Critical | Error => tracing::error!(client = %self.client, facility, text),
            Warning => tracing::warn!(client = %self.client, facility, text),
            _ => tracing::debug!(client = %self.client, facility, text),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(Code::PartitionEOF) | None => {}
            Some(Code::AllBrokersDown) => self.health.down(),
            Some(code) => {
                tracing::debug!(client = %self.client, ?code, reason, "librdkafka");
                self.health.heard(code, reason);
            }
        }
    }

    fn stats(&self, s: Statistics) {
        let client = self.client.clone();
        let up = s.brokers.values().filter(|b| b.state == "UP" && b.nodeid >= 0).count();
        metrics::gauge!(BROKERS_UP, "client" => client.clone()).set(up as f64);
        metrics::gauge!(QUEUED_MESSAGES, "client" => client.clone()).set(s.msg_cnt as f64);
        let timeouts = s.brokers.values().map(|b| b.req_timeouts).sum();
        metrics::counter!(REQUEST_TIMEOUTS, "client" => client.clone()).absolute(timeouts);
        let errors = s.brokers.values().map(|b| b.txerrs + b.rxerrs).sum();
        metrics::counter!(CONNECTION_ERRORS, "client" => client).absolute(errors);
        if up > 0 {
            self.health.up();
        }
        self.hooks.statistics(&s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_keeps_the_reason_and_drops_librdkafkas_bookkeeping() {
        let said = "localhost:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)";
        assert_eq!(core_of(said), "connection refused");
        assert_eq!(core_of("SSL handshake went wrong"), "SSL handshake went wrong");
    }

    #[test]
    fn a_broker_that_is_not_there_is_told_with_what_to_do() {
        let health = Health::new("localhost:9092");
        health.heard(
            Code::BrokerTransportFailure,
            "x: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
        );
        assert_eq!(
            health.unreachable().to_string(),
            "the log is not available: cannot reach Kafka at localhost:9092: connection refused; is it running, is KAFKA_BROKERS right?"
        );
        health.heard(Code::SSL, "x: SSL handshake failed: certificate verify failed");
        assert!(matches!(health.unreachable(), LogError::Fatal(m) if m.contains("ssl.ca.location")));
    }
}
