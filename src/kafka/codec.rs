//! librdkafka's messages to records and back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

use crate::model::ids::{Offset, Partition};
use crate::model::record::{Headers, Received, Record, header};
use crate::model::time::Timestamp;

/// Copies a message out of librdkafka's buffers: into one allocation that key, value and headers share.
pub(super) fn received(message: &BorrowedMessage<'_>) -> Received {
    Received {
        partition: Partition(message.partition()),
        offset: Offset(message.offset()),
        timestamp: Timestamp(message.timestamp().to_millis().unwrap_or(0)),
        record: record(message.key(), message.payload(), message.headers()),
    }
}

/// The headers as they lie in the message. One whose name is not UTF-8 is left out: rdkafka panics on it, and no producer may
/// stop a stage.
fn readable(headers: &BorrowedHeaders) -> Vec<Header<'_, &[u8]>> {
    let at = |i| catch_unwind(AssertUnwindSafe(|| headers.try_get(i))).ok().flatten();
    (0..headers.count()).filter_map(at).collect()
}

fn record(key: Option<&[u8]>, value: Option<&[u8]>, found: Option<&BorrowedHeaders>) -> Record {
    let found = found.map(readable).unwrap_or_default();
    let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let total = len(key) + len(value) + found.iter().map(|h| len(h.value)).sum::<usize>();
    let mut buffer = BytesMut::with_capacity(total);
    let parts = [key, value].into_iter().chain(found.iter().map(|h| h.value));
    parts.flatten().for_each(|part| buffer.extend_from_slice(part));

    let mut rest = buffer.freeze();
    let mut take = |part: Option<&[u8]>| part.map(|p| rest.split_to(p.len()));
    let (key, value) = (take(key), take(value));
    let mut headers = Headers::with_capacity(found.len());
    for h in &found {
        headers.push(header::intern(h.key), take(h.value).unwrap_or_else(Bytes::new));
    }
    Record { key, value, headers }
}

/// A record as librdkafka takes it; it copies the bytes when it is sent.
pub(super) fn outgoing<'a, O: IntoOpaque>(
    topic: &'a str,
    partition: Option<Partition>,
    record: &'a Record,
    opaque: O,
) -> BaseRecord<'a, [u8], [u8], O> {
    let mut out = BaseRecord::with_opaque_to(topic, opaque);
    out.partition = partition.map(|p| p.0);
    out.key = record.key.as_deref();
    out.payload = record.value.as_deref();
    if !record.headers.is_empty() {
        let list = OwnedHeaders::new_with_capacity(record.headers.len());
        out.headers =
            Some(record.headers.iter().fold(list, |list, (name, value)| {
                list.insert(Header { key: name.as_ref(), value: Some(value.as_ref()) })
            }));
    }
    out
}
