//! W3C Trace Context: the one reading of a `traceparent`.

use uuid::Uuid;

/// Bytes of a `traceparent`: versions to come may be longer than 00, not endless.
const MAX: usize = 256;

/// The trace id of a `traceparent` (Trace Context, section 3.2), where it is a valid one: version, trace id, parent id and
/// flags in lower-case hexadecimal, ids not all zero; behind them nothing in version 00, more fields in a later one.
pub fn trace_id(traceparent: &str) -> Option<Uuid> {
    if traceparent.len() > MAX || traceparent.chars().any(char::is_control) {
        return None;
    }
    let mut parts = traceparent.split('-');
    let mut part = |len: usize| {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        parts.next().filter(|part| part.len() == len && part.bytes().all(hex))
    };
    let (version, trace, parent) = (part(2)?, part(32)?, part(16)?);
    part(2)?;
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    let set = |hex: &str| hex.bytes().any(|b| b != b'0');
    (known && set(trace) && set(parent)).then(|| Uuid::try_parse(trace).ok()).flatten()
}

/// Whether the text is a valid `traceparent`.
pub fn is_traceparent(text: &str) -> bool {
    trace_id(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_over_only_where_it_is_valid() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        for text in [good, later] {
            let id = trace_id(text).map(|id| id.simple().to_string());
            assert_eq!(id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"), "{text}");
        }
        let long = format!("{later}{}", "x".repeat(MAX));
        let bad = [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more\r\n",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &long,
        ];
        for text in bad {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }
}
