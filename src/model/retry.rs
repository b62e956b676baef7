//! When a failed delivery is tried again: the policy of an integration.

use std::time::Duration;

/// Delays between attempts. `max_attempts` counts the first; the last delay repeats up to it.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// 1-100.
    pub max_attempts: u32,
    pub delays: Delays,
    /// 0.0-0.2: a retry is late by up to this share of its delay, never early.
    pub jitter: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delays {
    List(Vec<Duration>),
    Exponential { base: Duration, factor_percent: u32, cap: Duration },
}

impl Default for RetryPolicy {
    /// 1 s, 5 s, 30 s, then the slow ones after 5 m, 30 m, 2 h: seven attempts.
    fn default() -> Self {
        let delays = [1, 5, 30, 300, 1_800, 7_200].map(Duration::from_secs).to_vec();
        RetryPolicy { max_attempts: 7, delays: Delays::List(delays), jitter: 0.2 }
    }
}
