//! The events that are sent, and what their payload tells the receiver: a number and the moment they were due.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Bytes of a payload.
pub const PAYLOAD: usize = 1_024;

/// The organization that all events are of.
pub const ORG: &str = "bench";

/// How many integrations listen to a type of their own: `bench.event.0` to `bench.event.15`.
pub const INTEGRATIONS: u64 = 16;

/// How many listen to `bench.fan`.
pub const FAN: u64 = 10;

/// All moments of a run are measured from here, on one clock in one process.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

const NUMBER: std::ops::Range<usize> = 6..16;
const DUE: std::ops::Range<usize> = 25..45;

/// `{"n":"0000000042","due":"00000000001234567890","filler":"..."}`: fixed places, so that reading it costs nothing.
pub fn payload(number: u64, due: Instant) -> Vec<u8> {
    let nanos = due.saturating_duration_since(*EPOCH).as_nanos();
    let mut text = format!("{{\"n\":\"{number:010}\",\"due\":\"{nanos:020}\",\"filler\":\"").into_bytes();
    text.resize(PAYLOAD - 2, b'x');
    text.extend_from_slice(b"\"}");
    text
}

/// Number and due time of a payload; `None` for one that is not of this run.
pub fn read(payload: &[u8]) -> Option<(u64, Instant)> {
    let number = |at: std::ops::Range<usize>| std::str::from_utf8(payload.get(at)?).ok()?.parse().ok();
    Some((number(NUMBER)?, *EPOCH + Duration::from_nanos(number(DUE)?)))
}

/// Must be called before the first payload is made.
pub fn start_clock() {
    LazyLock::force(&EPOCH);
}

/// Which events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each to one of the integrations, in turn.
    Spread,
    /// Each to ten.
    Fan,
    /// To nobody.
    Unheard,
}

impl Kind {
    pub fn event_type(self, number: u64) -> String {
        match self {
            Kind::Spread => format!("bench.event.{}", number % INTEGRATIONS),
            Kind::Fan => "bench.fan".to_owned(),
            Kind::Unheard => "bench.unheard".to_owned(),
        }
    }

    /// Deliveries of one event.
    pub fn copies(self) -> u64 {
        match self {
            Kind::Spread => 1,
            Kind::Fan => FAN,
            Kind::Unheard => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_reads_what_the_sender_wrote() {
        start_clock();
        let due = Instant::now() + Duration::from_millis(7);
        let payload = payload(4_294_967_297, due);
        assert_eq!(payload.len(), PAYLOAD);
        assert_eq!(read(&payload), Some((4_294_967_297, due)));
        assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
        assert_eq!(read(b"{}"), None);
    }
}
