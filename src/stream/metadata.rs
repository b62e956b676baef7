//! The metadata of a committed offset: `1;<W>;<n>;<bitmap>`, readable with Kafka's own tools.
//!
//! W is the low watermark, equal to the committed offset; n the number of the flush, one more than the last one of the
//! partition, across its owners; the bitmap has one bit an offset from W on, set where that offset is done, cut at its
//! last set bit, base64url without padding.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::ids::Offset;
use crate::stream::log::Committed;

/// The broker takes 4,096 UTF-16 characters (`offset.metadata.max.bytes`); one more aborts the transaction.
pub const MAX_CHARS: usize = 4_000;

/// How far above W a bit may lie, so that the longest bitmap and two 19-digit numbers fit `MAX_CHARS`.
pub const MAX_WINDOW: i64 = 16_384;

/// What a partition's owner has committed: everything below `watermark` is done or covered by a lane, and so is `done`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub watermark: Offset,
    pub flush: u64,
    /// Done offsets at or above the watermark, ascending, all within `MAX_WINDOW` of it.
    pub done: Vec<Offset>,
}

impl Progress {
    /// The text for the commit. Offsets outside `watermark..watermark + MAX_WINDOW` are left out: repeating them is safe.
    pub fn encode(&self) -> String {
        let inside = |o: &&Offset| (0..MAX_WINDOW).contains(&(o.0 - self.watermark.0));
        let bit = |o: &Offset| usize::try_from(o.0 - self.watermark.0).unwrap_or(0);
        let mut bytes = vec![0u8; self.done.iter().filter(inside).map(|o| bit(o) / 8 + 1).max().unwrap_or(0)];
        for o in self.done.iter().filter(inside) {
            bytes[bit(o) / 8] |= 1 << (bit(o) % 8);
        }
        format!("1;{};{};{}", self.watermark, self.flush, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a commit says. Metadata of another version, damaged, or with another W than the offset is ignored: its records are
    /// repeated, none is lost.
    pub fn decode(committed: Option<&Committed>) -> Progress {
        let Some(committed) = committed else { return Progress::default() };
        let plain = Progress { watermark: committed.offset, ..Progress::default() };
        Self::parse(&committed.metadata).filter(|p| p.watermark == committed.offset).unwrap_or(plain)
    }

    fn parse(text: &str) -> Option<Progress> {
        let mut parts = text.splitn(4, ';');
        if parts.next()? != "1" || text.len() > MAX_CHARS {
            return None;
        }
        let watermark = Offset(parts.next()?.parse().ok()?);
        let flush = parts.next()?.parse().ok()?;
        let bytes = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let set = bytes.iter().enumerate().flat_map(|(i, byte)| {
            (0..8).filter(move |b| byte & (1 << b) != 0).map(move |b| i64::try_from(i * 8 + b).unwrap_or(i64::MAX))
        });
        Some(Progress { watermark, flush, done: set.map(|b| Offset(watermark.0 + b)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn done_offsets_survive_the_metadata(
            w in 0..i64::MAX / 2,
            flush in any::<u64>(),
            bits in proptest::collection::btree_set(0..MAX_WINDOW, 0..300),
        ) {
            let progress = Progress { watermark: Offset(w), flush, done: bits.iter().map(|b| Offset(w + b)).collect() };
            let text = progress.encode();
            prop_assert!(text.len() <= MAX_CHARS, "{} characters", text.len());
            let committed = Committed { offset: Offset(w), metadata: text };
            prop_assert_eq!(Progress::decode(Some(&committed)), progress);
        }

        #[test]
        fn damaged_metadata_repeats_records_and_loses_none(text in ".{0,80}", offset in 0..1_000_000i64) {
            let committed = Committed { offset: Offset(offset), metadata: text };
            let read = Progress::decode(Some(&committed));
            prop_assert_eq!(read.watermark, Offset(offset));
        }
    }

    #[test]
    fn metadata_of_an_unknown_version_or_another_watermark_is_ignored() {
        for text in ["2;5;1;AQ", "1;4;1;AQ", "1;5;x;AQ", "1;5;1;!!", "", "1;5;1"] {
            let committed = Committed { offset: Offset(5), metadata: text.into() };
            let expected = Progress { watermark: Offset(5), ..Progress::default() };
            assert_eq!(Progress::decode(Some(&committed)), expected, "{text}");
        }
    }

    #[test]
    fn the_longest_bitmap_fits_the_broker() {
        let w = i64::MAX - MAX_WINDOW;
        let progress =
            Progress { watermark: Offset(w), flush: u64::MAX, done: (0..MAX_WINDOW).map(|b| Offset(w + b)).collect() };
        assert!(progress.encode().len() <= MAX_CHARS);
    }
}
