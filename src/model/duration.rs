//! Durations as people write them in resources and files: `"500ms"`, `"30s"`, `"1h30m"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in whole milliseconds whose text is numbers with units `d h m s ms`, the larger unit first, each at most
/// once. Printed in the largest single unit that tells it exactly, so `"60s"` comes back as `"1m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationText(pub Duration);

/// Reads as the end of "`delays[0]` ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as `500ms`, `30s`, `5m`, `2h` or `1h30m`")]
pub struct DurationError;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for DurationText {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text;
        let mut units = &UNITS[..];
        let mut total: u64 = 0;
        while !rest.is_empty() || units.len() == UNITS.len() {
            let (number, tail) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
            let (unit, tail) = tail.split_at(tail.bytes().take_while(u8::is_ascii_alphabetic).count());
            let at = units.iter().position(|(name, _)| *name == unit).ok_or(DurationError)?;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(units[at].1));
            total = part.and_then(|ms| total.checked_add(ms)).ok_or(DurationError)?;
            units = &units[at + 1..];
            rest = tail;
        }
        Ok(DurationText(Duration::from_millis(total)))
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let exact = UNITS.iter().find(|(_, size)| ms > 0 && ms.is_multiple_of(u128::from(*size)));
        let (unit, size) = exact.copied().unwrap_or(("ms", 1));
        write!(f, "{}{unit}", ms / u128::from(size))
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|e| serde::de::Error::custom(format!("`{text}` {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_read_as_people_write_it() {
        let cases = [
            ("0ms", 0),
            ("500ms", 500),
            ("1s", 1_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("6d", 518_400_000),
            ("1h30m", 5_400_000),
            ("1m1ms", 60_001),
        ];
        for (text, ms) in cases {
            assert_eq!(text.parse(), Ok(DurationText(Duration::from_millis(ms))), "{text}");
        }
    }

    #[test]
    fn a_text_that_could_mean_two_things_is_refused() {
        let bad = ["", "5", "s", "-1s", "1.5s", "1 s", "1S", "30m1h", "1s1s", "1s5", "1w", "99999999999999999999ms"];
        for text in bad.iter().chain(&["213503982335d"]) {
            assert_eq!(text.parse::<DurationText>(), Err(DurationError), "{text}");
        }
    }

    #[test]
    fn a_duration_is_printed_in_its_largest_exact_unit() {
        for (ms, text) in [(0, "0ms"), (1_500, "1500ms"), (60_000, "1m"), (90_000, "90s"), (86_400_000, "1d")] {
            assert_eq!(DurationText(Duration::from_millis(ms)).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_printed_duration_is_read_back_as_itself(ms in any::<u64>()) {
            let duration = DurationText(Duration::from_millis(ms));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
