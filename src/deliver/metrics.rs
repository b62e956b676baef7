//! What the stage counts. Labels are bounded: words of the API, seven spans, a thousand integrations.

use std::sync::Mutex;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use rustc_hash::FxHashSet;

use super::lock;
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::IntegrationId;
use crate::telemetry::metrics::{
    ATTEMPT_SECONDS, DEAD_LETTERS, DELIVERIES, EVENT_TO_DELIVERY_SECONDS, INTEGRATION_FAILURES, RETRIES,
};

/// Handles to what every attempt touches; the rest is looked up when it happens. Made after the recorder is installed, else
/// they count nothing.
pub struct DeliverMetrics {
    delivered: Counter,
    attempt: Histogram,
    event_to_delivery: Histogram,
    failing: Mutex<FxHashSet<IntegrationId>>,
}

const INTEGRATIONS: usize = 1_000;

impl Default for DeliverMetrics {
    fn default() -> Self {
        DeliverMetrics {
            delivered: counter!(DELIVERIES, "status" => "SUCCESS", "error_category" => ""),
            attempt: histogram!(ATTEMPT_SECONDS),
            event_to_delivery: histogram!(EVENT_TO_DELIVERY_SECONDS),
            failing: Mutex::default(),
        }
    }
}

impl DeliverMetrics {
    pub fn attempted(&self, took: Duration) {
        self.attempt.record(took.as_secs_f64());
    }

    /// `age`: from the log's timestamp of the delivery to the answer, for deliveries that an event caused. Not from the
    /// event's time, which is of its producer's clock.
    pub fn delivered(&self, age: Option<Duration>) {
        self.delivered.increment(1);
        if let Some(age) = age {
            self.event_to_delivery.record(age.as_secs_f64());
        }
    }

    pub fn retried(&self, delay: Duration) {
        counter!(RETRIES, "delay" => span(delay)).increment(1);
    }

    /// The end of a delivery that did not succeed.
    pub fn ended(&self, status: DeliveryStatus, category: Option<ErrorCategory>) {
        let category = category.map_or("", ErrorCategory::as_str);
        counter!(DELIVERIES, "status" => status.as_str(), "error_category" => category).increment(1);
        if matches!(status, DeliveryStatus::Failed | DeliveryStatus::Abandoned) {
            counter!(DEAD_LETTERS).increment(1);
        }
    }

    /// A failed attempt, counted by name for the first thousand integrations that fail, as `other` past them.
    pub fn failed(&self, integration: &IntegrationId) {
        let mut failing = lock(&self.failing);
        let named =
            failing.contains(integration) || (failing.len() < INTEGRATIONS && failing.insert(integration.clone()));
        drop(failing);
        let name = if named { integration.to_string() } else { "other".to_owned() };
        counter!(INTEGRATION_FAILURES, "integration" => name).increment(1);
    }
}

/// The shortest of the default delays that the policy's fits in.
fn span(delay: Duration) -> &'static str {
    let spans = [(1, "1s"), (5, "5s"), (30, "30s"), (300, "5m"), (1_800, "30m"), (7_200, "2h")];
    spans.iter().find(|(secs, _)| delay <= Duration::from_secs(*secs)).map_or("longer", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_failing_integrations_do_not_become_a_million_series() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let metrics = DeliverMetrics::default();
            for n in 0..INTEGRATIONS + 500 {
                metrics.failed(&IntegrationId::parse(&format!("i{n}")).unwrap());
            }
            metrics.failed(&IntegrationId::parse("i0").unwrap());
        });
        let text = handle.render();
        let series = text.lines().filter(|l| l.starts_with("tidegate_integration_failures_total{")).count();
        assert_eq!(series, INTEGRATIONS + 1);
        assert!(text.contains(r#"{integration="other"} 500"#) && text.contains(r#"{integration="i0"} 2"#));
    }

    #[test]
    fn a_delay_is_counted_under_the_span_it_fits_in() {
        for (ms, name) in [(1, "1s"), (1_000, "1s"), (1_001, "5s"), (7_200_000, "2h"), (7_200_001, "longer")] {
            assert_eq!(span(Duration::from_millis(ms)), name);
        }
    }
}
