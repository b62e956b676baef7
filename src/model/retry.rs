//! When a failed delivery is tried again: the policy of an integration, and its JSON.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::duration::DurationText;
use crate::model::number::shortest;

/// Delays between attempts. `max_attempts` counts the first; the last delay repeats up to it.
///
/// In JSON `{"maxAttempts":7,"delays":["1s","5s"],"jitter":0.2}` or
/// `{"maxAttempts":4,"baseMs":1000,"factor":2,"capMs":5000}`; what is left out is as in the default policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RetryJson", into = "RetryJson")]
pub struct RetryPolicy {
    /// 1-100.
    pub max_attempts: u32,
    pub delays: Delays,
    /// 0.0-0.2: a retry is late by up to this share of its delay, never early.
    pub jitter: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delays {
    /// 1-100 delays.
    List(Vec<Duration>),
    /// `base`, then each time `factor_percent` of the one before, at most `cap`.
    Exponential { base: Duration, factor_percent: u32, cap: Duration },
}

impl Default for RetryPolicy {
    /// 1 s, 5 s, 30 s, then the slow ones after 5 m, 30 m, 2 h: seven attempts.
    fn default() -> Self {
        let delays = [1, 5, 30, 300, 1_800, 7_200].map(Duration::from_secs).to_vec();
        RetryPolicy { max_attempts: 7, delays: Delays::List(delays), jitter: 0.2 }
    }
}

impl RetryPolicy {
    /// How long to wait after this attempt (from 1) has failed, without jitter; `None`: it was the last.
    pub fn delay_after(&self, attempt: u32) -> Option<Duration> {
        (attempt < self.max_attempts).then(|| self.delays.after(attempt))
    }
}

impl Delays {
    fn after(&self, attempt: u32) -> Duration {
        let earlier = attempt.saturating_sub(1);
        match self {
            Delays::List(list) => list.get(earlier as usize).or(list.last()).copied().unwrap_or_default(),
            Delays::Exponential { base, factor_percent, cap } => {
                let factor = (f64::from(*factor_percent) / 100.0).powi(i32::try_from(earlier).unwrap_or(i32::MAX));
                Duration::try_from_secs_f64(base.as_secs_f64() * factor).map_or(*cap, |delay| delay.min(*cap))
            }
        }
    }
}

/// Attempts that a policy may have, the first included.
pub const ATTEMPTS: RangeInclusive<u32> = 1..=100;
pub const FACTOR: RangeInclusive<f64> = 1.0..=100.0;
pub const JITTER: RangeInclusive<f64> = 0.0..=0.2;
/// A record is kept for seven days and must be dealt with one day before; no delay may be longer than what is left.
pub const LONGEST: Duration = Duration::from_secs(6 * 86_400);

/// Why a retry policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {}", self.field(), self.rule())]
pub enum RetryError {
    MaxAttempts,
    DelayCount,
    Delay(usize),
    TwoKinds,
    NoBase,
    Base,
    Factor,
    Cap,
    Jitter,
}

impl RetryError {
    /// Where it is: `delays[1]`.
    pub fn field(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            RetryError::MaxAttempts => "maxAttempts",
            RetryError::DelayCount | RetryError::TwoKinds => "delays",
            RetryError::Delay(at) => return Cow::Owned(format!("delays[{at}]")),
            RetryError::NoBase | RetryError::Base => "baseMs",
            RetryError::Factor => "factor",
            RetryError::Cap => "capMs",
            RetryError::Jitter => "jitter",
        })
    }

    /// Reads on after the field.
    pub const fn rule(&self) -> &'static str {
        match self {
            RetryError::MaxAttempts => "must be 1-100; it counts the first attempt",
            RetryError::DelayCount => "must have 1-100 entries",
            RetryError::Delay(_) => "must be between `1ms` and `6d`",
            RetryError::TwoKinds => "cannot stand beside `baseMs`, `factor` and `capMs`: give one kind, not both",
            RetryError::NoBase => "is needed with `factor` or `capMs`",
            RetryError::Base => "must be 1-518400000 (6 days)",
            RetryError::Factor => "must be 1-100",
            RetryError::Cap => "must be `baseMs`-518400000 (6 days)",
            RetryError::Jitter => "must be 0.0-0.2",
        }
    }
}

/// The policy as it is written, its rules not checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delays: Option<Vec<DurationText>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<serde_json::Number>,
}

impl TryFrom<RetryJson> for RetryPolicy {
    type Error = RetryError;

    fn try_from(json: RetryJson) -> Result<Self, RetryError> {
        let default = RetryPolicy::default();
        let max_attempts = json.max_attempts.unwrap_or(default.max_attempts);
        if !ATTEMPTS.contains(&max_attempts) {
            return Err(RetryError::MaxAttempts);
        }
        let jitter =
            json.jitter.as_ref().map_or(Some(default.jitter), serde_json::Number::as_f64).ok_or(RetryError::Jitter)?;
        if !JITTER.contains(&jitter) {
            return Err(RetryError::Jitter);
        }
        let exponential = json.base_ms.is_some() || json.factor.is_some() || json.cap_ms.is_some();
        let delays = match json.delays {
            Some(_) if exponential => return Err(RetryError::TwoKinds),
            Some(list) => list_of(list)?,
            None if exponential => exponential_of(&json)?,
            None => default.delays,
        };
        Ok(RetryPolicy { max_attempts, delays, jitter })
    }
}

fn list_of(list: Vec<DurationText>) -> Result<Delays, RetryError> {
    if !(1..=100).contains(&list.len()) {
        return Err(RetryError::DelayCount);
    }
    match list.iter().position(|delay| delay.0.is_zero() || delay.0 > LONGEST) {
        Some(bad) => Err(RetryError::Delay(bad)),
        None => Ok(Delays::List(list.into_iter().map(|delay| delay.0).collect())),
    }
}

fn exponential_of(json: &RetryJson) -> Result<Delays, RetryError> {
    let base = Duration::from_millis(json.base_ms.ok_or(RetryError::NoBase)?);
    if base.is_zero() || base > LONGEST {
        return Err(RetryError::Base);
    }
    let factor = json.factor.as_ref().map_or(Some(2.0), serde_json::Number::as_f64).ok_or(RetryError::Factor)?;
    if !FACTOR.contains(&factor) {
        return Err(RetryError::Factor);
    }
    let cap = json.cap_ms.map_or(LONGEST, Duration::from_millis);
    if cap < base || cap > LONGEST {
        return Err(RetryError::Cap);
    }
    // Within 100-10,000, as was just checked.
    let factor_percent = (factor * 100.0).round() as u32;
    Ok(Delays::Exponential { base, factor_percent, cap })
}

impl From<RetryPolicy> for RetryJson {
    fn from(policy: RetryPolicy) -> Self {
        let common = RetryJson {
            max_attempts: Some(policy.max_attempts),
            jitter: shortest(policy.jitter),
            ..RetryJson::default()
        };
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        match policy.delays {
            Delays::List(list) => RetryJson { delays: Some(list.into_iter().map(DurationText).collect()), ..common },
            Delays::Exponential { base, factor_percent, cap } => {
                let whole = factor_percent.is_multiple_of(100);
                let factor = if whole {
                    Some((factor_percent / 100).into())
                } else {
                    serde_json::Number::from_f64(f64::from(factor_percent) / 100.0)
                };
                RetryJson { base_ms: Some(millis(base)), factor, cap_ms: Some(millis(cap)), ..common }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delays(json: &str) -> Vec<u128> {
        let policy: RetryPolicy = serde_json::from_str(json).unwrap();
        (1..).map_while(|attempt| policy.delay_after(attempt)).map(|d| d.as_millis()).collect()
    }

    #[test]
    fn a_policy_waits_as_it_says() {
        let cases: [(&str, &[u128]); 6] = [
            ("{}", &[1_000, 5_000, 30_000, 300_000, 1_800_000, 7_200_000]),
            (r#"{"maxAttempts":1}"#, &[]),
            (r#"{"maxAttempts":5,"delays":["1s","2s"]}"#, &[1_000, 2_000, 2_000, 2_000]),
            (r#"{"maxAttempts":4,"baseMs":1000,"factor":2,"capMs":5000}"#, &[1_000, 2_000, 4_000]),
            (r#"{"maxAttempts":6,"baseMs":1000,"factor":2,"capMs":5000}"#, &[1_000, 2_000, 4_000, 5_000, 5_000]),
            (r#"{"maxAttempts":4,"baseMs":1000,"factor":1.5}"#, &[1_000, 1_500, 2_250]),
        ];
        for (json, expected) in cases {
            assert_eq!(delays(json), expected, "{json}");
        }
    }

    #[test]
    fn a_bad_policy_is_refused_and_the_field_named() {
        let cases = [
            (r#"{"maxAttempts":0}"#, "`maxAttempts` must be 1-100"),
            (r#"{"maxAttempts":101}"#, "`maxAttempts` must be 1-100"),
            (r#"{"delays":[]}"#, "`delays` must have 1-100 entries"),
            (r#"{"delays":["1s","0ms"]}"#, "`delays[1]` must be between"),
            (r#"{"delays":["7d"]}"#, "`delays[0]` must be between"),
            (r#"{"delays":["soon"]}"#, "`soon` must be a duration"),
            (r#"{"delays":["1s"],"baseMs":1}"#, "not both"),
            (r#"{"factor":2}"#, "`baseMs` is needed"),
            (r#"{"baseMs":0}"#, "`baseMs` must be"),
            (r#"{"baseMs":1000,"factor":0.5}"#, "`factor` must be"),
            (r#"{"baseMs":1000,"capMs":500}"#, "`capMs` must be"),
            (r#"{"jitter":0.5}"#, "`jitter` must be"),
            (r#"{"maxAttemps":3}"#, "unknown field `maxAttemps`"),
        ];
        for (json, expected) in cases {
            let error = serde_json::from_str::<RetryPolicy>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn a_policy_is_written_as_it_is_documented() {
        let text = r#"{"maxAttempts":4,"baseMs":1000,"factor":2,"capMs":5000,"jitter":0.2}"#;
        let policy: RetryPolicy = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
        let default = r#"{"maxAttempts":7,"delays":["1s","5s","30s","5m","30m","2h"],"jitter":0.2}"#;
        assert_eq!(serde_json::to_string(&RetryPolicy::default()).unwrap(), default);
    }

    fn policies() -> impl Strategy<Value = RetryPolicy> {
        let list = prop::collection::vec(1..=518_400_000_u64, 1..20)
            .prop_map(|ms| Delays::List(ms.into_iter().map(Duration::from_millis).collect()));
        let exponential =
            (1..=518_400_000_u64, 100..=10_000_u32, 0..=518_400_000_u64).prop_map(|(base, factor, more)| {
                let base = Duration::from_millis(base);
                Delays::Exponential {
                    base,
                    factor_percent: factor,
                    cap: (base + Duration::from_millis(more)).min(LONGEST),
                }
            });
        (1..=100_u32, prop_oneof![list, exponential], 0..=20_u8).prop_map(|(max_attempts, delays, percent)| {
            RetryPolicy { max_attempts, delays, jitter: f64::from(percent) / 100.0 }
        })
    }

    proptest! {
        #[test]
        fn a_policy_is_read_back_as_it_was(policy in policies()) {
            let json = serde_json::to_string(&policy).unwrap();
            prop_assert_eq!(serde_json::from_str::<RetryPolicy>(&json).unwrap(), policy);
        }

        #[test]
        fn the_last_delay_repeats_and_the_attempts_end(policy in policies()) {
            let all: Vec<_> = (1..=200).map(|attempt| policy.delay_after(attempt)).collect();
            prop_assert_eq!(all.iter().flatten().count(), policy.max_attempts as usize - 1);
            match &policy.delays {
                Delays::List(list) => {
                    for delay in all.iter().flatten().skip(list.len()) {
                        prop_assert_eq!(Some(delay), list.last());
                    }
                }
                Delays::Exponential { base, cap, .. } => {
                    let given: Vec<_> = all.iter().flatten().collect();
                    prop_assert!(given.is_sorted() && given.iter().all(|d| *d >= base && *d <= cap));
                }
            }
        }
    }
}
