//! What a partition of `retry` says when it is taken over, and what is done about records there that say nothing.

use super::tell;
use crate::lanes::{About, Entry, LaneName, Reason};
use crate::model::ids::Offset;
use crate::model::record::{Headers, Output, Received, Record};
use crate::model::rejected::{Rejection, rejected};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::stream::log::LogError;

/// The lanes of a partition, and outputs for its first flush.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub entries: Vec<(LaneName, Entry)>,
    pub outputs: Vec<Output>,
}

impl Table {
    /// A record that names no lane covers nothing: it goes to `rejected` and is deleted here. So does the entry of one delivery
    /// that cannot be understood; if the low watermark has passed that delivery, a new entry tries it now: early perhaps, but
    /// not lost. From `watermark` on, a delivery needs no entry to be sent.
    ///
    /// # Errors
    /// `Fatal` where the entry of a wider lane cannot be understood: what it covers would be lost, or all of it repeated.
    pub fn read(records: &[Received], watermark: Offset) -> Result<Table, LogError> {
        let mut table = Table::default();
        for record in records {
            table.add(record, watermark)?;
        }
        Ok(table)
    }

    fn add(&mut self, record: &Received, watermark: Offset) -> Result<(), LogError> {
        let (Some(key), Some(value)) = (&record.record.key, &record.record.value) else { return Ok(()) };
        let named = std::str::from_utf8(key).map_err(|_| "the key is not UTF-8".to_owned());
        let lane = match named.and_then(|name| LaneName::parse(name).map_err(|e| e.to_string())) {
            Ok(lane) => lane,
            Err(why) => {
                self.reject(record, "not_a_lane", &why);
                self.outputs.push(tombstone(record));
                return Ok(());
            }
        };
        match (Entry::decode(value), &lane) {
            (Ok(entry), _) => self.entries.push((lane, entry)),
            (Err(why), LaneName::Single(_, offset)) => {
                self.reject(record, "not_an_entry", &why.to_string());
                if *offset >= watermark {
                    self.outputs.push(tombstone(record));
                    return Ok(());
                }
                let entry = Entry {
                    from: *offset,
                    due: Timestamp::default(),
                    attempt: 0,
                    reason: Reason::Busy,
                    about: About::default(),
                    expires: None,
                    done: Vec::new(),
                };
                // A crash finds this one or the damaged one, never none.
                self.outputs.push(tell::entry(record.partition, &lane, Some(&entry))?);
                self.entries.push((lane, entry));
            }
            (Err(why), _) => {
                return Err(LogError::Fatal(format!(
                    "retry-{} offset {}, key `{lane}`: {why}. Deliveries of this partition wait; produce the entry that was \
                     there before, or a tombstone for its key, which gives up what the lane covers",
                    record.partition, record.offset
                )));
            }
        }
        Ok(())
    }

    fn reject(&mut self, record: &Received, reason: &'static str, message: &str) {
        tracing::warn!(
            partition = record.partition.0,
            offset = record.offset.0,
            message,
            "not a record of the retry table"
        );
        self.outputs.push(rejected(record, Rejection { stage: "deliver", topic: Topic::Retry, reason, message }));
    }
}

/// Where the record came from, or its key would live on in a partition that nobody else tidies.
fn tombstone(record: &Received) -> Output {
    let record =
        (record.partition, Record { key: record.record.key.clone(), value: None, headers: Headers::default() });
    Output { topic: Topic::Retry, partition: Some(record.0), record: record.1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Partition;

    fn record(key: &'static [u8], value: &'static [u8]) -> Received {
        let record = Record { key: Some(key.into()), value: Some(value.into()), headers: Headers::default() };
        Received { partition: Partition(2), offset: Offset(7), timestamp: Timestamp::default(), record }
    }

    #[test]
    fn a_stranger_in_the_table_is_put_out_and_the_lanes_beside_it_stay() {
        let lane = record(b"bills@5", br#"{"from":5,"attempt":2,"reason":"RETRY"}"#);
        let strangers = [record(b"\xff\x00", b"x"), record(b"a@none", b"{}"), record(b"", b"")];
        let table = Table::read(&[&[lane][..], &strangers].concat(), Offset(9)).unwrap();
        let names: Vec<String> = table.entries.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["bills@5"]);
        let (gone, told): (Vec<_>, Vec<_>) = table.outputs.iter().partition(|o| o.topic == Topic::Retry);
        assert_eq!((gone.len(), told.len()), (3, 3));
        for (stranger, (gone, told)) in strangers.iter().zip(gone.into_iter().zip(told)) {
            assert_eq!(
                (gone.partition, &gone.record.key, &gone.record.value),
                (Some(Partition(2)), &stranger.record.key, &None)
            );
            assert_eq!((told.topic, &told.record.value), (Topic::Rejected, &stranger.record.value));
            assert_eq!(told.record.headers.text("tg_reason"), Some("not_a_lane"));
        }
    }

    #[test]
    fn a_delivery_whose_entry_is_damaged_is_tried_again() {
        let damaged = [record(b"bills@5", b"{\"from\":\"x\"}")];
        let below = Table::read(&damaged, Offset(6)).unwrap();
        let (name, entry) = &below.entries[0];
        assert_eq!((name.to_string().as_str(), entry.from, entry.attempt), ("bills@5", Offset(5), 0));
        let above = Table::read(&damaged, Offset(5)).unwrap();
        assert!(above.entries.is_empty(), "it is read again in any case: {:?}", above.entries);
        for (table, written) in [(below, true), (above, false)] {
            assert_eq!(table.outputs[0].record.headers.text("tg_reason"), Some("not_an_entry"));
            assert_eq!(table.outputs[1].record.key.as_deref(), Some(&b"bills@5"[..]));
            assert_eq!((table.outputs.len(), table.outputs[1].record.value.is_some()), (2, written));
        }
    }

    #[test]
    fn a_damaged_entry_that_covers_more_stops_the_partition() {
        for key in [&b"bills"[..], b"bills/Patient/7"] {
            let error = Table::read(&[record(key, b"{")], Offset(9)).unwrap_err();
            assert!(error.to_string().contains("retry-2 offset 7"), "{error}");
        }
    }
}
