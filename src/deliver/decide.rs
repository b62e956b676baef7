//! What an answer means for the delivery: a pure rule, apart from sending.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::retry::RetryPolicy;
use crate::model::time::Timestamp;

/// A receiver's wish to be left alone is honoured for as long as this; a longer one counts as this long.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// The attempt that was made, and the moment of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    pub policy: &'a RetryPolicy,
    /// From 1.
    pub attempt: u32,
    pub now: Timestamp,
    /// 0.0-1.0: where in the span of the policy's jitter the retry falls.
    pub jitter: f64,
}

/// What came of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The head of a response was received, whatever became of its body.
    Status { code: u16, retry_after: Option<RetryAfter> },
    /// No response. `Network` and `Timeout` may pass; anything else is a matter of configuration.
    None(ErrorCategory),
}

/// RFC 9110, section 10.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Seconds(u64),
    At(Timestamp),
}

/// What becomes of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Tried again at `due`, not before. `delay` is the policy's, without jitter and the receiver's wish.
    Retry {
        due: Timestamp,
        delay: Duration,
        category: ErrorCategory,
    },
    /// FAILED where no retry mends it, ABANDONED where none is left.
    Dead {
        status: DeliveryStatus,
        category: ErrorCategory,
    },
}

impl RetryAfter {
    /// Reads the header's value. `None` for what is neither whole seconds nor an HTTP date.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(RetryAfter::Seconds(text.parse().unwrap_or(u64::MAX)));
        }
        let date = httpdate::parse_http_date(text).ok()?;
        Some(RetryAfter::At(timestamp(date)))
    }

    fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            RetryAfter::Seconds(s) => now.plus(Duration::from_secs(s)),
            RetryAfter::At(at) => at,
        }
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::default().plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Delivered, to be tried again, or dead.
pub fn decide(made: Made<'_>, answer: Answer) -> Verdict {
    let (category, retryable) = match judge(answer) {
        None => return Verdict::Delivered,
        Some(failure) => failure,
    };
    if !retryable {
        return Verdict::Dead { status: DeliveryStatus::Failed, category };
    }
    let Some(delay) = made.policy.delay_after(made.attempt) else {
        return Verdict::Dead { status: DeliveryStatus::Abandoned, category };
    };
    let wish = match answer {
        Answer::Status { retry_after: Some(wish), .. } => wish.moment(made.now),
        _ => made.now,
    };
    let due = late(made, delay).max(wish.min(made.now.plus(LONGEST_RETRY_AFTER)));
    Verdict::Retry { due, delay, category }
}

/// The category of a failure and whether a retry may mend it; `None` is success.
fn judge(answer: Answer) -> Option<(ErrorCategory, bool)> {
    let code = match answer {
        Answer::None(category) => {
            return Some((category, matches!(category, ErrorCategory::Network | ErrorCategory::Timeout)));
        }
        Answer::Status { code, .. } => code,
    };
    match code {
        200..=299 => None,
        429 => Some((ErrorCategory::RateLimited, true)),
        300..=399 => Some((ErrorCategory::Http3xx, false)),
        400..=499 => Some((ErrorCategory::Http4xx, matches!(code, 408 | 425))),
        // An invalid status, or 101 without having been asked, counts as 5xx: RFC 9110, section 15.
        _ => Some((ErrorCategory::Http5xx, true)),
    }
}

/// The policy's due time: late by its share of jitter, rounded up to the millisecond, never early.
fn late(made: Made<'_>, delay: Duration) -> Timestamp {
    let share = if made.jitter.is_finite() { made.jitter.clamp(0.0, 1.0) } else { 0.0 };
    let extra = delay.mul_f64(made.policy.jitter.clamp(0.0, 1.0) * share);
    let nanos = delay.saturating_add(extra).as_nanos();
    let millis = u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX);
    made.now.plus(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::retry::Delays;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn status(code: u16) -> Answer {
        Answer::Status { code, retry_after: None }
    }

    fn decided(attempt: u32, answer: Answer) -> Verdict {
        decide(Made { policy: &RetryPolicy::default(), attempt, now: NOW, jitter: 0.0 }, answer)
    }

    #[test]
    fn an_answer_means_what_it_says() {
        use DeliveryStatus::{Abandoned, Failed};
        use ErrorCategory::{Blocked, Http3xx, Http4xx, Http5xx, Network, RateLimited, Timeout, Transform};
        let retry = |secs, category| Verdict::Retry {
            due: NOW.plus(Duration::from_secs(secs)),
            delay: Duration::from_secs(secs),
            category,
        };
        let dead = |status, category| Verdict::Dead { status, category };
        let cases = [
            (1, status(200), Verdict::Delivered),
            (7, status(299), Verdict::Delivered),
            (1, status(301), dead(Failed, Http3xx)),
            (1, status(304), dead(Failed, Http3xx)),
            (1, status(400), dead(Failed, Http4xx)),
            (7, status(404), dead(Failed, Http4xx)),
            (1, status(408), retry(1, Http4xx)),
            (2, status(425), retry(5, Http4xx)),
            (3, status(429), retry(30, RateLimited)),
            (4, status(500), retry(300, Http5xx)),
            (5, status(503), retry(1_800, Http5xx)),
            (6, status(599), retry(7_200, Http5xx)),
            (7, status(500), dead(Abandoned, Http5xx)),
            (8, status(429), dead(Abandoned, RateLimited)),
            (1, status(101), retry(1, Http5xx)),
            (1, status(999), retry(1, Http5xx)),
            (1, Answer::None(Network), retry(1, Network)),
            (7, Answer::None(Network), dead(Abandoned, Network)),
            (1, Answer::None(Timeout), retry(1, Timeout)),
            (1, Answer::None(Blocked), dead(Failed, Blocked)),
            (1, Answer::None(Transform), dead(Failed, Transform)),
        ];
        for (attempt, answer, expected) in cases {
            assert_eq!(decided(attempt, answer), expected, "attempt {attempt}, {answer:?}");
        }
    }

    #[test]
    fn a_retry_waits_for_as_long_as_the_receiver_asked() {
        // Attempt 2: 5 s by the policy.
        let cases = [
            ("0", 5),
            ("3", 5),
            ("120", 120),
            (" 120 ", 120),
            ("86400", 86_400),
            ("86401", 86_400),
            ("99999999999999999999999", 86_400),
            ("-5", 5),
            ("1.5", 5),
            ("soon", 5),
            ("", 5),
            ("Mon, 21 Sep 2026 14:14:20 GMT", 60),
            ("Mon, 21 Sep 2026 14:13:00 GMT", 5),
            ("Fri, 25 Sep 2026 14:13:20 GMT", 86_400),
        ];
        for (text, secs) in cases {
            let answer = Answer::Status { code: 503, retry_after: RetryAfter::parse(text) };
            let Verdict::Retry { due, .. } = decided(2, answer) else { panic!("{text}") };
            assert_eq!(due.since(NOW).as_secs(), secs, "{text}");
        }
    }

    fn policies() -> impl Strategy<Value = RetryPolicy> {
        let list = prop::collection::vec(1..=518_400_000_u64, 1..10)
            .prop_map(|ms| Delays::List(ms.into_iter().map(Duration::from_millis).collect()));
        let exponential = (1..100_000_u64, 100..1_000_u32).prop_map(|(base, factor_percent)| Delays::Exponential {
            base: Duration::from_millis(base),
            factor_percent,
            cap: Duration::from_secs(86_400),
        });
        (2..=100_u32, prop_oneof![list, exponential], 0.0..=0.2_f64)
            .prop_map(|(max_attempts, delays, jitter)| RetryPolicy { max_attempts, delays, jitter })
    }

    fn due(made: Made<'_>, answer: Answer) -> Option<Timestamp> {
        match decide(made, answer) {
            Verdict::Retry { due, .. } => Some(due),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn a_retry_is_never_early_and_at_most_a_fifth_late(
            policy in policies(),
            attempt in 1..99_u32,
            jitter in prop_oneof![Just(0.0), 0.0..=1.0],
        ) {
            let made = Made { policy: &policy, attempt, now: NOW, jitter };
            if let Some(delay) = policy.delay_after(attempt) {
                let waits = due(made, status(500)).unwrap().since(NOW);
                prop_assert!(waits >= delay, "{waits:?} of {delay:?}");
                prop_assert!(waits <= delay.mul_f64(1.2) + Duration::from_millis(1), "{waits:?} of {delay:?}");
            } else {
                prop_assert_eq!(due(made, status(500)), None);
            }
        }

        #[test]
        fn a_larger_wish_or_jitter_is_never_sooner(policy in policies(), wish in 0..200_000_u64, jitter in 0.0..=1.0) {
            let at = |jitter, wish| {
                let retry_after = Some(RetryAfter::Seconds(wish));
                due(Made { policy: &policy, attempt: 1, now: NOW, jitter }, Answer::Status { code: 503, retry_after })
            };
            prop_assert!(at(jitter, wish) >= at(jitter / 2.0, wish));
            prop_assert!(at(jitter, wish) >= at(jitter, wish / 2));
            prop_assert!(at(jitter, wish) >= Some(NOW.plus(Duration::from_secs(wish.min(86_400)))));
        }
    }
}
