//! The JSON form of a retry policy, read field by field so that what is wrong is told of its field.

use serde_json::{Value, json};

use crate::catalog::fields::Fields;
use crate::model::duration::DurationText;
use crate::model::retry::{ATTEMPTS, FACTOR, JITTER, LONGEST, RetryJson, RetryPolicy};

/// Fields by which delays are told: those of one way stand beside none of the other.
pub const RETRY_DELAYS: [&str; 4] = ["delays", "baseMs", "factor", "capMs"];

pub fn read(fields: &mut Fields) -> Option<RetryPolicy> {
    fields.object("retry", |fields| {
        let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
        let attempts = u64::from(*ATTEMPTS.start())..=u64::from(*ATTEMPTS.end());
        let written = RetryJson {
            max_attempts: fields.number("maxAttempts", attempts).and_then(|n| u32::try_from(n).ok()),
            delays: fields.list("delays", (100, duration), str::parse::<DurationText>),
            base_ms: fields.number("baseMs", 1..=longest),
            factor: fields.decimal("factor", FACTOR).and_then(serde_json::Number::from_f64),
            cap_ms: fields.number("capMs", 1..=longest),
            jitter: fields.decimal("jitter", JITTER).and_then(serde_json::Number::from_f64),
        };
        // A field that could not be read is absent here, and what depends on it would be told too.
        if fields.is_wrong() {
            return None;
        }
        RetryPolicy::try_from(written).map_err(|error| fields.wrong(error.field(), error.rule())).ok()
    })
}

/// `1h30m`: each unit once, the larger first.
fn duration() -> Value {
    json!({"type": "string", "pattern": "^(?=.)([0-9]{1,4}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?([0-9]{1,9}ms)?$"})
}
