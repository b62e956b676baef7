//! Records as rows: where they stand in the table, and their headers as one column.

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::model::ids::{Offset, Partition};
use crate::model::record::{Headers, Received, Record, header};
use crate::model::time::Timestamp;

/// Bits of a row's id that hold the offset: a million records a second for twelve days, or a thousand for 34 years.
const OFFSET_BITS: u32 = 40;
/// Bits that hold the partition; above them is the number of the topic.
const PARTITION_BITS: u32 = 15;

/// One partition of one topic, as the first of its row ids. Rows of a partition lie together in the order of their offsets, so
/// that reading it is one scan and appending to it touches one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Base(i64);

impl Base {
    /// `topic`: the number that the file gave to the topic, below 256.
    pub(super) fn of(topic: u8, partition: Partition) -> Base {
        let partition = i64::from(partition.0) & ((1 << PARTITION_BITS) - 1);
        Base((i64::from(topic) << (OFFSET_BITS + PARTITION_BITS)) | (partition << OFFSET_BITS))
    }

    pub(super) fn row(self, offset: Offset) -> i64 {
        self.0 + offset.0.clamp(0, (1 << OFFSET_BITS) - 1)
    }

    pub(super) fn offset(self, row: i64) -> Offset {
        Offset(row - self.0)
    }

    /// Behind the last row that the partition can have.
    pub(super) fn limit(self) -> i64 {
        self.0 + (1 << OFFSET_BITS)
    }
}

/// The record in columns `id, at, key, headers, value`.
pub(super) fn received(row: &SqliteRow, base: Base, partition: Partition) -> Result<Received, sqlx::Error> {
    let bytes = |column: usize| row.try_get::<Option<&[u8]>, _>(column).map(|b| b.map(Bytes::copy_from_slice));
    let headers = bytes(3)?.unwrap_or_default();
    Ok(Received {
        partition,
        offset: base.offset(row.try_get(0)?),
        timestamp: Timestamp(row.try_get(1)?),
        record: Record {
            key: bytes(2)?,
            value: bytes(4)?,
            headers: read_headers(headers).ok_or_else(|| sqlx::Error::Decode("the headers are cut off".into()))?,
        },
    })
}

/// Each header as the length of its name, the name, the length of its value, the value; lengths in 4 bytes, little-endian.
pub(super) fn write_headers(headers: &Headers) -> Vec<u8> {
    let mut out = Vec::with_capacity(headers.size());
    for (name, value) in headers.iter() {
        for part in [name.as_bytes(), value] {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(part);
        }
    }
    out
}

fn read_headers(mut rest: Bytes) -> Option<Headers> {
    let mut headers = Headers::default();
    while !rest.is_empty() {
        let name = part(&mut rest)?;
        let value = part(&mut rest)?;
        headers.push(header::intern(std::str::from_utf8(&name).ok()?), value);
    }
    Some(headers)
}

fn part(rest: &mut Bytes) -> Option<Bytes> {
    let (len, _) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    if rest.len() - 4 < len {
        return None;
    }
    drop(rest.split_to(4));
    Some(rest.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_different_partitions_never_meet() {
        let bases: Vec<Base> = (0..3).flat_map(|topic| [0, 1, 9_999].map(|p| Base::of(topic, Partition(p)))).collect();
        for pair in bases.windows(2) {
            assert!(pair[0].limit() <= pair[1].row(Offset(0)), "{pair:?}");
        }
        assert!(Base::of(255, Partition(9_999)).limit() > 0);
        assert_eq!(bases[4].offset(bases[4].row(Offset(77))), Offset(77));
    }

    #[test]
    fn headers_come_back_and_a_cut_is_noticed() {
        let mut headers = Headers::default();
        headers.push("ce_id", Bytes::from_static(b"1"));
        headers.push("own", Bytes::from_static(b""));
        headers.push("ce_id", Bytes::from_static(&[0, 255]));
        let written = write_headers(&headers);
        assert_eq!(read_headers(written.clone().into()), Some(headers));
        assert_eq!(read_headers(Bytes::new()), Some(Headers::default()));
        for cut in 1..written.len() {
            let read = read_headers(Bytes::from(written[..cut].to_vec()));
            assert!(read.is_none_or(|h| h.len() < 3), "a cut at {cut} looks whole");
        }
    }
}
