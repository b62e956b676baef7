//! Moments as people type them.

use std::time::Duration;

use chrono::NaiveDate;

use crate::model::duration::DurationText;
use crate::model::time::Timestamp;

/// A time, a day of UTC, or so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    At(Timestamp),
    Day(NaiveDate),
    Ago(Duration),
}

pub(super) const FORMS: &str =
    "a time such as 2026-11-20T08:15:30Z, a day such as 2026-11-20, or a duration such as 10m or 2h";

impl Moment {
    /// What else it may be is the caller's to say.
    pub fn find(text: &str) -> Option<Moment> {
        let ago = text.trim_start_matches('-').parse().map(|DurationText(ago)| Moment::Ago(ago)).ok();
        let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Moment::Day);
        ago.or_else(|| Timestamp::parse(text).map(Moment::At)).or_else(day)
    }

    pub fn parse(text: &str) -> Result<Moment, String> {
        Moment::find(text).ok_or_else(|| format!("must be {FORMS}"))
    }

    /// Where it begins.
    pub fn start(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(time) => time,
            Moment::Day(day) => Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()),
            Moment::Ago(ago) => {
                Timestamp(now.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)).max(0))
            }
        }
    }

    /// For the API, to which a day is all of it.
    pub fn text(self, now: Timestamp) -> String {
        match self {
            Moment::Day(day) => day.to_string(),
            moment => moment.start(now).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_people_type_it_and_a_day_stays_a_whole_day() {
        let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let cases = [
            ("10m", Some("2026-11-20T07:50:00.000Z")),
            ("-1h", Some("2026-11-20T07:00:00.000Z")),
            ("2026-11-20T09:00:00+01:00", Some("2026-11-20T08:00:00.000Z")),
            ("2026-11-19", Some("2026-11-19")),
            ("100000000d", Some("1970-01-01T00:00:00.000Z")),
            ("yesterday", None),
            ("10", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let read = Moment::find(text).map(|moment| moment.text(now));
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        assert_eq!(Moment::parse("2026-11-20").unwrap().start(now).to_string(), "2026-11-20T00:00:00.000Z");
    }
}
