//! What a partition's actor tells: entries for `retry`, gauges, losses.

use bytes::Bytes;

use crate::lanes::{Entry, LaneName, Lanes, Reason};
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::record::{Headers, Output, Received, Record, header};
use crate::model::topic::Topic;
use crate::stream::metadata::MAX_WINDOW;
use crate::telemetry::metrics::{IN_FLIGHT, LANES, LOG_SKIPPED, REJECTED, WINDOW_FILL};

/// The record of a lane in `retry`, in the partition it is about; without an entry the tombstone that ends it.
pub(super) fn entry(partition: Partition, name: &LaneName, entry: Option<&Entry>) -> Output {
    let value = entry.and_then(|entry| match entry.encode() {
        Ok(value) => Some(Bytes::from(value)),
        Err(error) => {
            // Numbers, texts and times always have a JSON form.
            tracing::error!(%name, %error, "a lane has no JSON form");
            None
        }
    });
    let mut headers = Headers::with_capacity(1);
    headers.push(header::TG_INTEGRATION, Bytes::copy_from_slice(name.integration().as_str().as_bytes()));
    let record = Record { key: Some(name.to_string().into()), value, headers };
    Output { topic: Topic::Retry, partition: Some(partition), record }
}

pub(super) fn delivery(record: &Received) -> Option<DeliveryId> {
    record.record.headers.text(header::TG_DELIVERY).and_then(|text| DeliveryId::parse(text).ok())
}

/// Counts what is put out of the way. The reasons are words of the gateway's own.
pub(super) fn count_rejected(outputs: &[Output]) {
    for output in outputs.iter().filter(|output| output.topic == Topic::Rejected) {
        let reason = output.record.headers.text(header::REJECT_REASON).unwrap_or_default().to_owned();
        metrics::counter!(REJECTED, "stage" => "deliver", "reason" => reason).increment(1);
    }
}

/// A record that waited longer than the log keeps it.
pub(super) fn lost(partition: Partition, offset: Offset) {
    metrics::counter!(LOG_SKIPPED, "topic" => Topic::Deliveries.name()).increment(1);
    tracing::error!(
        partition = partition.0,
        offset = offset.0,
        "a delivery was deleted by retention while it waited: raise the retention of the deliveries topic"
    );
}

pub(super) fn gauges(partition: Partition, lanes: &Lanes) {
    let gauges = lanes.gauges();
    let label = partition.to_string();
    for reason in Reason::ALL {
        let count = gauges.lanes.get(&reason).copied().unwrap_or(0);
        metrics::gauge!(LANES, "reason" => label_of(reason), "partition" => label.clone()).set(count as f64);
    }
    let fill = gauges.window as f64 / MAX_WINDOW as f64;
    metrics::gauge!(WINDOW_FILL, "topic" => Topic::Deliveries.name(), "partition" => label.clone()).set(fill);
    metrics::gauge!(IN_FLIGHT, "partition" => label).set(gauges.in_flight as f64);
}

fn label_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Retry => "RETRY",
        Reason::Order => "ORDER",
        Reason::Busy => "BUSY",
        Reason::Disabled => "DISABLED",
        Reason::Breaker => "BREAKER",
        Reason::RateLimited => "RATE_LIMITED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rejected_does_not_go_uncounted() {
        let output = |topic, reason: &'static str| {
            let mut record = Record::default();
            record.headers.push(header::REJECT_REASON, reason);
            Output { topic, partition: None, record }
        };
        let outputs = [
            output(Topic::Rejected, "foreign_key"),
            output(Topic::Rejected, "not_a_lane"),
            output(Topic::Rejected, "foreign_key"),
            output(Topic::Attempts, "inactive"),
        ];
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || count_rejected(&outputs));
        let text = handle.render();
        let counted: Vec<&str> = text.lines().filter(|line| line.starts_with(REJECTED)).collect();
        assert_eq!(counted.len(), 2, "{text}");
        for (reason, count) in [("foreign_key", 2), ("not_a_lane", 1)] {
            let end = format!("reason=\"{reason}\"}} {count}");
            assert!(counted.iter().any(|line| line.contains("stage=\"deliver\"") && line.ends_with(&end)), "{text}");
        }
    }
}
