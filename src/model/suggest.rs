//! "Did you mean": the known name that a name which is none probably stands for.

/// Likeness from which a name is worth naming: a slip of a finger or two, not another word.
const LIKE: f64 = 0.8;
/// Characters that are looked at: whoever sent the name chose its length.
const MAX: usize = 64;

/// The name most like the one given, if any is like it. Case, `_` and `-` make no difference.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    let likeness = known.into_iter().map(|name| (strsim::jaro_winkler(&given, &plain(name)), name));
    let (like, name) = likeness.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (like > LIKE).then_some(name)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).take(MAX).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not_guessed_at() {
        let known = ["eventType", "targetUrl", "name", "kafka.brokers", "admin_key", "noSizeLimit", "delete"];
        let cases = [
            ("eventtype", Some("eventType")),
            ("event_type", Some("eventType")),
            ("EVENT-TYPE", Some("eventType")),
            ("target_ulr", Some("targetUrl")),
            ("nmae", Some("name")),
            ("kafka.broker", Some("kafka.brokers")),
            ("adminKee", Some("admin_key")),
            ("noSizLimit", Some("noSizeLimit")),
            ("service_port", None),
            ("shrink", None),
            ("", None),
        ];
        for (given, expected) in cases {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest("name", []), None);
        assert_eq!(nearest(&"name".repeat(100_000), known), None);
    }
}
