//! Which partition a key belongs to: murmur2, as Kafka's own producers do, so that what has one key lies where it would lie on
//! Kafka.

use crate::model::ids::Partition;

const SEED: u32 = 0x9747_b28c;
const MIX: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// A record without a key may lie anywhere.
pub(super) fn partition_of(key: Option<&[u8]>, partitions: i32) -> Partition {
    let partitions = partitions.max(1);
    match key {
        Some(key) => Partition((murmur2(key) & 0x7fff_ffff).cast_signed() % partitions),
        None => Partition(fastrand::i32(0..partitions)),
    }
}

fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MIX);
        k ^= k >> SHIFT;
        hash = hash.wrapping_mul(MIX) ^ k.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_where_kafkas_producers_put_them() {
        // From Kafka's own test of its hash.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert!((0..12).contains(&partition_of(None, 12).0));
        assert_eq!(partition_of(Some(b"abc"), 12), Partition(479_470_107 % 12));
    }
}
