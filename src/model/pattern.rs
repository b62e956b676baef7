//! Event type patterns: exact, `*`, and `*` as one or more segments (`appointment.*`, `*.created`, `omninode.agent.*`).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::ids::EventType;

/// A pattern over event types. Case-sensitive; segments are separated by `.`; `*` stands for one or more whole segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventPattern(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an event type, `*`, or segments joined by `.` in which `*` stands alone, as in `appointment.*`")]
pub struct PatternError;

impl EventPattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let plain = text.replace('*', "x");
        let stars_alone = text.split('.').all(|segment| segment == "*" || !segment.contains('*'));
        if stars_alone && EventType::parse(&plain).is_ok() {
            Ok(EventPattern(text.to_owned()))
        } else {
            Err(PatternError)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The event type it names, where it has no `*`.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }

    /// Takes time by the product of both segment counts at most, whatever a tenant and a producer choose.
    pub fn matches(&self, event_type: &str) -> bool {
        if self.0 == "*" {
            return true;
        }
        if !self.0.contains('*') {
            return self.0 == event_type;
        }
        let (mut pattern, mut segments) = (self.0.split('.'), event_type.split('.'));
        // Only the last star is ever widened: what an earlier one could gain, a later one can too.
        let mut last_star = None;
        loop {
            let fits = match (pattern.next(), segments.next()) {
                (None, None) => return true,
                (Some(_), None) => return false,
                (Some("*"), Some(_)) => {
                    last_star = Some((pattern.clone(), segments.clone()));
                    true
                }
                (Some(p), Some(s)) => p == s,
                (None, Some(_)) => false,
            };
            if fits {
                continue;
            }
            let Some((after_star, mut rest)) = last_star.take() else { return false };
            if rest.next().is_none() {
                return false;
            }
            (pattern, segments) = (after_star.clone(), rest.clone());
            last_star = Some((after_star, rest));
        }
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for EventPattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EventPattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        EventPattern::parse(&text).map_err(|e| serde::de::Error::custom(format!("`{text}` {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_types_and_no_other() {
        let cases = [
            ("patient.created", "patient.created", true),
            ("patient.created", "Patient.created", false),
            ("patient.created", "patient.created.late", false),
            ("*", "anything:at-all", true),
            ("appointment.*", "appointment.booked", true),
            ("appointment.*", "appointment.booked.online", true),
            ("appointment.*", "appointment", false),
            ("appointment.*", "appointments.booked", false),
            ("*.created", "patient.created", true),
            ("*.created", "a.b.created", true),
            ("*.created", "created", false),
            ("a.*.z", "a.b.c.z", true),
            ("a.*.z", "a.z", false),
            ("*.*", "a", false),
            ("*.*", "a.b.c", true),
            ("a.*.b.*.c", "a.x.b.y.b.z.c", true),
            ("a.*.b.*.c", "a.b.b.c", false),
        ];
        for (pattern, event_type, expected) in cases {
            let parsed = EventPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(event_type), expected, "{pattern} against {event_type}");
        }
    }

    #[test]
    fn a_pattern_with_a_star_inside_a_segment_is_refused() {
        for bad in ["", "appoint*", "a.b*", "a b", "**"] {
            assert_eq!(EventPattern::parse(bad), Err(PatternError), "{bad}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_cannot_stall_the_match_stage() {
        let pattern = EventPattern::parse(&format!("{}x", "*.".repeat(60))).unwrap();
        assert!(!pattern.matches(&format!("a{}", ".a".repeat(126))));
    }

    /// The definition, tried in every way.
    fn by_definition(pattern: &[&str], segments: &[&str]) -> bool {
        match (pattern.split_first(), segments.split_first()) {
            (None, None) => true,
            (Some((&"*", rest)), Some((_, tail))) => by_definition(rest, tail) || by_definition(pattern, tail),
            (Some((p, rest)), Some((s, tail))) => p == s && by_definition(rest, tail),
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn matching_keeps_to_its_definition(pattern in "[ab*](\\.[ab*]){0,5}", event_type in "[ab](\\.[ab]){0,7}") {
            let expected = by_definition(
                &pattern.split('.').collect::<Vec<_>>(),
                &event_type.split('.').collect::<Vec<_>>(),
            );
            proptest::prop_assert_eq!(EventPattern::parse(&pattern).unwrap().matches(&event_type), expected);
        }
    }
}
