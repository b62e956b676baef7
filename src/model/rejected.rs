//! Records for `rejected`: what could not be understood, as it came, with a word for why.

use bytes::Bytes;

use crate::model::record::{Headers, Output, Received, Record, header, sentence};
use crate::model::topic::Topic;

/// Bytes that a rejected record takes at most, its own headers included: the log's 4 MiB (`max.message.bytes`) less what
/// is said about it and the batch that it travels in.
const ROOM: usize = (4 << 20) - (64 << 10);

/// Why a record was rejected, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Rejection<'a> {
    pub stage: &'static str,
    /// Where the record was read.
    pub topic: Topic,
    /// A stable word: `not_json`, `unknown_org`.
    pub reason: &'static str,
    pub message: &'a str,
}

/// The record as it came, key, value and headers, plus where it was read and why it was rejected, in headers as Kafka
/// Connect gives them to its dead letters (KIP-298).
///
/// What is too large loses headers, the largest first, then the end of its value and key, and its message says so: the
/// record itself is never dropped, for a record that cannot be written would stop its stage.
pub fn rejected(received: &Received, why: Rejection<'_>) -> Output {
    let (mut record, cut) = fitted(&received.record);
    let mut message = sentence(why.message);
    message.push_str(&cut);
    let headers = &mut record.headers;
    headers.set(header::ERRORS_TOPIC, why.topic.name());
    headers.set(header::ERRORS_PARTITION, received.partition.to_string());
    headers.set(header::ERRORS_OFFSET, received.offset.to_string());
    headers.set(header::ERRORS_STAGE, why.stage);
    headers.set(header::ERRORS_CLASS, why.reason);
    headers.set(header::ERRORS_MESSAGE, message);
    headers.set(header::TG_REASON, why.reason);
    Output { topic: Topic::Rejected, partition: None, record }
}

/// The record within `ROOM`, and what is to be said about that: nothing for almost every record.
fn fitted(record: &Record) -> (Record, String) {
    if record.size() <= ROOM {
        return (record.clone(), String::new());
    }
    let mut cut = String::new();
    let mut left = ROOM - Record::default().size();
    let mut shortened = |bytes: &Option<Bytes>, what: &str, cut: &mut String| {
        bytes.as_ref().map(|b| {
            let kept = b.len().min(left);
            left -= kept;
            if kept < b.len() {
                cut.push_str(&format!("; {what} was cut to {kept} of {} bytes to fit the log", b.len()));
            }
            b.slice(..kept)
        })
    };
    let value = shortened(&record.value, "the value", &mut cut);
    let key = shortened(&record.key, "the key", &mut cut);
    let headers = smallest(&record.headers, left);
    if headers.len() < record.headers.len() {
        let gone = record.headers.len() - headers.len();
        cut.push_str(&format!("; {gone} of {} headers were left out to fit the log", record.headers.len()));
    }
    (Record { key, value, headers }, cut)
}

/// As many headers as fit, the smallest first, in their order.
fn smallest(headers: &Headers, room: usize) -> Headers {
    let mut sizes: Vec<(usize, usize)> = headers.iter().map(|(n, v)| n.len() + v.len() + 16).zip(0..).collect();
    sizes.sort_unstable();
    let mut used = 0;
    let mut kept: Vec<bool> = vec![false; sizes.len()];
    for (size, place) in sizes {
        used += size;
        kept[place] = used <= room;
    }
    let mut all = Headers::with_capacity(headers.len());
    for ((name, value), _) in headers.iter().zip(kept).filter(|(_, kept)| *kept) {
        all.push(name.clone(), value.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ids::{Offset, Partition};
    use crate::model::time::Timestamp;

    const WHY: Rejection<'_> =
        Rejection { stage: "match", topic: Topic::Events, reason: "not_json", message: "not JSON: line 1" };

    fn received(record: Record) -> Received {
        Received { partition: Partition(3), offset: Offset(42), timestamp: Timestamp(0), record }
    }

    #[test]
    fn a_rejected_record_keeps_everything_and_says_where_it_was_and_why() {
        let mut record = Record { key: Some("k".into()), value: Some("{".into()), headers: Headers::default() };
        record.headers.push("ce_id", "e1");
        record.headers.push("ce_id", "e2");
        record.headers.push("tg_reason", "an older one");
        let output = rejected(&received(record), WHY);
        assert_eq!((output.topic, output.partition), (Topic::Rejected, None));
        assert_eq!((output.record.key.as_deref(), output.record.value.as_deref()), (Some(&b"k"[..]), Some(&b"{"[..])));
        let told: Vec<(&str, &str)> =
            output.record.headers.iter().map(|(n, v)| (&**n, std::str::from_utf8(v).unwrap())).collect();
        let expected = [
            ("ce_id", "e1"),
            ("ce_id", "e2"),
            ("__connect.errors.topic", "events"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "42"),
            ("__connect.errors.stage", "match"),
            ("__connect.errors.exception.class.name", "not_json"),
            ("__connect.errors.exception.message", "not JSON: line 1"),
            ("tg_reason", "not_json"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_record_too_large_for_the_log_loses_its_largest_headers_and_says_so() {
        let mut record =
            Record { key: Some("k".into()), value: Some(vec![b'v'; 3 << 20].into()), headers: Headers::default() };
        record.headers.push("ce_id", "e1");
        record.headers.push("large", vec![b'x'; 2 << 20]);
        record.headers.push("ce_type", "t");
        let output = rejected(&received(record), WHY);
        assert_eq!(output.record.value.as_ref().map(Bytes::len), Some(3 << 20));
        assert_eq!(output.record.headers.get("large"), None);
        assert_eq!(output.record.headers.text("ce_type"), Some("t"));
        let message = output.record.headers.text(header::ERRORS_MESSAGE).unwrap();
        assert!(message.ends_with("; 1 of 3 headers were left out to fit the log"), "{message}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_record_is_too_large_to_be_rejected(
            key in 0..5usize << 20,
            value in 0..5usize << 20,
            headers in proptest::collection::vec(0..3usize << 20, 0..6),
            message in 0..3_000usize,
        ) {
            let bytes = |n: usize| Bytes::from(vec![b'x'; n]);
            let mut record = Record { key: Some(bytes(key)), value: Some(bytes(value)), headers: Headers::default() };
            for n in headers {
                record.headers.push("h", bytes(n));
            }
            let message = "\u{4e16}".repeat(message);
            let output = rejected(&received(record.clone()), Rejection { message: &message, ..WHY });
            prop_assert!(output.record.size() <= (4 << 20) - (48 << 10), "{} bytes", output.record.size());
            if record.size() <= ROOM {
                prop_assert_eq!((output.record.key, output.record.value), (record.key, record.value));
            }
        }
    }
}
