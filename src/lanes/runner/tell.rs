//! What a partition's actor tells: entries for `retry`, gauges, losses.

use bytes::Bytes;

use crate::lanes::{About, Entry, LaneName, Lanes, Reason};
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::record::{Headers, Output, Received, Record, header, sentence};
use crate::model::topic::Topic;
use crate::stream::log::LogError;
use crate::stream::metadata::MAX_WINDOW;
use crate::telemetry::metrics::{IN_FLIGHT, LANES, LOG_SKIPPED, REJECTED, WINDOW_FILL};

/// The record of a lane in `retry`, in the partition it is about; without an entry the tombstone that ends it.
///
/// # Errors
/// `Fatal` where the entry has no JSON form: as a tombstone it would give up what the lane covers.
pub(super) fn entry(partition: Partition, name: &LaneName, entry: Option<&Entry>) -> Result<Output, LogError> {
    let why = |error| LogError::Fatal(format!("the entry of lane `{name}` cannot be written: {error}"));
    let value = entry.map(Entry::encode).transpose().map_err(why)?;
    let mut headers = Headers::with_capacity(6);
    headers.push(header::TG_INTEGRATION, Bytes::copy_from_slice(name.integration().as_str().as_bytes()));
    if let Some(entry) = entry {
        story(&mut headers, entry);
    }
    let record = Record { key: Some(name.to_string().into()), value: value.map(Bytes::from), headers };
    Ok(Output { topic: Topic::Retry, partition: Some(partition), record })
}

/// The headers tell the story to whoever reads the topic with a Kafka tool.
fn story(headers: &mut Headers, entry: &Entry) {
    let About { error, status: _, first_at, delivery } = &entry.about;
    headers.push(header::TG_REASON, entry.reason.as_str());
    if let Some(delivery) = delivery {
        headers.push(header::TG_DELIVERY, delivery.to_string());
    }
    if entry.attempt > 0 {
        headers.push(header::TG_ATTEMPT, entry.attempt.to_string());
    }
    if let Some(error) = error {
        headers.push(header::TG_ERROR, sentence(error));
    }
    if let Some(first_at) = first_at {
        headers.push(header::TG_FIRST_AT, first_at.to_string());
    }
}

pub(super) fn delivery(record: &Received) -> Option<DeliveryId> {
    record.record.headers.text(header::TG_DELIVERY).and_then(|text| DeliveryId::parse(text).ok())
}

/// Counts what is put out of the way. The reasons are words of the gateway's own.
pub(super) fn count_rejected(outputs: &[Output]) {
    for output in outputs.iter().filter(|output| output.topic == Topic::Rejected) {
        let reason = output.record.headers.text(header::TG_REASON).unwrap_or_default().to_owned();
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
        metrics::gauge!(LANES, "reason" => reason.as_str(), "partition" => label.clone()).set(count as f64);
    }
    let fill = gauges.window as f64 / MAX_WINDOW as f64;
    metrics::gauge!(WINDOW_FILL, "topic" => Topic::Deliveries.name(), "partition" => label.clone()).set(fill);
    metrics::gauge!(IN_FLIGHT, "partition" => label).set(gauges.in_flight as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::MAX_SENTENCE;
    use crate::model::time::Timestamp;

    const DELIVERY: &str = "0197a0b2-3c4d-8e5f-8a6b-7c8d9e0f1a2b";

    fn told(name: &str, what: Option<&Entry>) -> (Vec<(String, String)>, bool) {
        let output = entry(Partition(2), &LaneName::parse(name).unwrap(), what).unwrap();
        assert_eq!((output.topic, output.partition), (Topic::Retry, Some(Partition(2))));
        assert_eq!(output.record.key.as_deref(), Some(name.as_bytes()));
        let text = |v: &Bytes| String::from_utf8(v.to_vec()).unwrap();
        let headers = output.record.headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
        (headers, output.record.value.is_none())
    }

    #[test]
    fn a_reader_of_the_table_does_not_need_to_open_its_values() {
        let about = About {
            error: Some("é".repeat(100_000)),
            status: Some(503),
            first_at: Timestamp::parse("2026-09-21T14:13:19.000Z"),
            delivery: DeliveryId::parse(DELIVERY).ok(),
        };
        let busy = Entry {
            from: Offset(5),
            due: Timestamp::default(),
            attempt: 0,
            reason: Reason::Busy,
            about: About::default(),
            expires: None,
            done: vec![Offset(7)],
        };
        let retry = Entry { attempt: 2, reason: Reason::Retry, about, ..busy.clone() };
        let error = "é".repeat(MAX_SENTENCE);
        let of_retry = [
            ("tg_integration", "bills"),
            ("tg_reason", "RETRY"),
            ("tg_delivery", DELIVERY),
            ("tg_attempt", "2"),
            ("tg_error", &error),
            ("tg_first_at", "2026-09-21T14:13:19.000Z"),
        ];
        let cases = [
            ("bills@5", Some(&retry), &of_retry[..]),
            ("bills", Some(&busy), &[("tg_integration", "bills"), ("tg_reason", "BUSY")]),
            ("bills/k", None, &[("tg_integration", "bills")]),
        ];
        for (name, what, expected) in cases {
            let (headers, is_tombstone) = told(name, what);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(headers, expected, "{name}");
            assert_eq!(is_tombstone, what.is_none(), "{name}");
        }
    }

    #[test]
    fn what_is_rejected_does_not_go_uncounted() {
        let output = |topic, reason: &'static str| {
            let mut record = Record::default();
            record.headers.push(header::TG_REASON, reason);
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
