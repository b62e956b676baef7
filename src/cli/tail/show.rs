//! A record as a line: columns and colours for people, JSON for programs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::ValueEnum;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::facts::Facts;
use crate::cli::columns::{Cell, Colour, Head, Line, Look, or_dash};
use crate::cli::output::harmless;
use crate::model::record::Received;
use crate::model::topic::Topic;

/// Characters of a payload in a wide line.
const PAYLOAD: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns
    Text,
    /// One JSON object a line
    Json,
    /// Columns with place, ids and payload
    Wide,
}

/// How lines are written.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub format: Format,
    pub look: Look,
}

/// A fact that has a column.
#[derive(Clone, Copy)]
enum Column {
    Outcome,
    Reason,
    EventType,
    Org,
    Integration,
    Entity,
    Attempt,
    Answer,
    Event,
    Delivery,
}
use Column::{Answer, Attempt, Delivery, Entity, Event, EventType, Integration, Org, Outcome, Reason};

/// What is shown of a record of each topic, behind its time.
const fn columns(topic: Topic) -> &'static [Column] {
    match topic {
        Topic::Events => &[EventType, Org, Entity, Event],
        Topic::Deliveries => &[EventType, Org, Integration, Entity, Delivery],
        Topic::Rejected => &[Reason, EventType, Org],
        Topic::Retry => &[Reason, Entity, Attempt, Answer],
        Topic::Dlq => &[Outcome, EventType, Org, Integration, Attempt, Answer, Delivery],
        _ => &[Outcome, EventType, Org, Integration, Attempt, Answer],
    }
}

const TIME: Head = ("TIME", 24);
const NOTE: Head = ("NOTE", 0);

impl Column {
    const fn head(self) -> Head {
        match self {
            Outcome => ("OUTCOME", 10),
            Reason => ("REASON", 10),
            EventType => ("EVENT TYPE", 22),
            Org => ("ORG", 6),
            Integration => ("INTEGRATION", 20),
            Entity => ("ENTITY", 20),
            Attempt => ("TRY", 3),
            Answer => ("HTTP", 4),
            Event => ("EVENT", 36),
            Delivery => ("DELIVERY", 36),
        }
    }

    fn cell(self, facts: &Facts) -> Cell<'_> {
        let of_outcome = facts.outcome.as_deref().map_or(Colour::Plain, Colour::of_outcome);
        match self {
            Outcome | Reason => (or_dash(facts.outcome.as_deref()), of_outcome),
            EventType => (or_dash(facts.event_type.as_deref()), Colour::Cyan),
            Org => (or_dash(facts.org.as_deref()), Colour::Plain),
            Integration => (or_dash(facts.integration.as_deref()), Colour::Plain),
            Entity => (or_dash(facts.entity.as_deref()), Colour::Plain),
            Attempt => (or_dash(facts.attempt.as_ref().map(|n| format!("#{n}"))), Colour::Plain),
            Answer => (or_dash(facts.http_status.map(|n| n.to_string())), of_outcome),
            Event => (or_dash(facts.event.as_deref()), Colour::Dim),
            Delivery => (or_dash(facts.delivery.as_deref()), Colour::Dim),
        }
    }
}

impl Style {
    /// The line about a record, its end included.
    pub(super) fn line(self, topic: Topic, received: &Received, facts: &Facts) -> String {
        match self.format {
            Format::Json => json_line(topic, received),
            Format::Text | Format::Wide => self.columns(topic, received, facts),
        }
    }

    /// The line above them, for people.
    pub(super) fn heading(self, topic: Topic) -> String {
        let between = columns(topic).iter().map(|column| column.head());
        match self.format {
            Format::Json => String::new(),
            Format::Text | Format::Wide => {
                self.look.heading(&[TIME].into_iter().chain(between).chain([NOTE]).collect::<Vec<_>>())
            }
        }
    }

    fn columns(self, topic: Topic, received: &Received, facts: &Facts) -> String {
        let mut line = self.look.line();
        line.column(Some(&received.timestamp.to_string()), TIME.1, Colour::Dim);
        for column in columns(topic) {
            let ((_, width), (text, colour)) = (column.head(), column.cell(facts));
            line.column(Some(&text), width, colour);
        }
        for more in [&facts.note, &facts.error].into_iter().flatten() {
            line.column(Some(more), 0, Colour::Plain);
        }
        if self.format == Format::Wide {
            wide(&mut line, topic, (received, facts));
        }
        line.finish()
    }
}

fn wide(line: &mut Line, topic: Topic, (received, facts): (&Received, &Facts)) {
    let place = format!("{topic}-{}@{}", received.partition, received.offset);
    line.column(Some(&place), 18, Colour::Dim);
    let more = [("event", &facts.event), ("delivery", &facts.delivery), ("status", &facts.status)];
    for (name, value) in more {
        if let Some(value) = value {
            line.column(Some(&format!("{name}={value}")), 0, Colour::Dim);
        }
    }
    if let Some(value) = &received.record.value {
        let text = String::from_utf8_lossy(value);
        let mut cut: String = text.chars().take(PAYLOAD).collect();
        if cut.len() < text.len() {
            cut.push('…');
        }
        line.column(Some(&cut), 0, Colour::Plain);
    }
}

fn json_line(topic: Topic, received: &Received) -> String {
    #[derive(serde::Serialize)]
    struct Shown<'a> {
        topic: Topic,
        partition: i32,
        offset: i64,
        time: String,
        key: Value,
        headers: Map<String, Value>,
        value: &'a RawValue,
    }
    let record = &received.record;
    // The last of a name counts, as everywhere.
    let headers = record.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let value = record.value.as_ref().map_or_else(|| RawValue::NULL.to_owned(), value);
    let shown = Shown {
        topic,
        partition: received.partition.0,
        offset: received.offset.0,
        time: received.timestamp.to_string(),
        key: record.key.as_ref().map_or(Value::Null, text),
        headers,
        value: &value,
    };
    // Texts, numbers and JSON always have a JSON form.
    harmless(&serde_json::to_string(&shown).unwrap_or_default()) + "\n"
}

/// JSON as it came, so that no number changes.
fn value(bytes: &Bytes) -> Box<RawValue> {
    let whole = serde_json::from_slice::<&RawValue>(bytes).ok().map(ToOwned::to_owned);
    whole.or_else(|| serde_json::value::to_raw_value(&text(bytes)).ok()).unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// Bytes that are no text stand in base64, under a name that says so.
fn text(bytes: &Bytes) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!({"base64": STANDARD.encode(bytes)}), |text| json!(text))
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{attempt, received};
    use super::*;

    fn line(format: Format, colours: bool, (topic, record): (Topic, &Received)) -> String {
        Style { format, look: Look { colours, ..Look::PIPE } }.line(topic, record, &Facts::of(topic, record))
    }

    #[test]
    fn an_attempt_is_one_line_of_columns_and_a_pipe_gets_no_colours() {
        let shown = line(Format::Text, false, (Topic::Attempts, &attempt()));
        assert_eq!(
            shown,
            "2025-11-21T08:00:00.250Z  RETRY       bill.created            648     bills                 #2   503   12 ms  \
             HTTP_ERROR: 503\n"
        );
        let coloured = line(Format::Text, true, (Topic::Attempts, &attempt()));
        assert!(coloured.contains("\x1b[33mRETRY\x1b[0m     "), "{coloured:?}");
        let wide = line(Format::Wide, false, (Topic::Attempts, &attempt()));
        assert!(wide.contains("attempts-2@7") && wide.contains("event=e1") && wide.contains("\"responseStatus\""));
    }

    #[test]
    fn each_heading_stands_above_what_it_names() {
        let look = Look { headings: true, ..Look::PIPE };
        let style = |format| Style { format, look };
        let (head, row) =
            (style(Format::Text).heading(Topic::Attempts), line(Format::Text, false, (Topic::Attempts, &attempt())));
        for (name, value) in [
            ("OUTCOME", "RETRY"),
            ("EVENT TYPE", "bill.created"),
            ("ORG", "648"),
            ("TRY", "#2"),
            ("HTTP", "503"),
            ("NOTE", "12 ms"),
        ] {
            assert_eq!(head.find(name), row.find(value), "{name}\n{head}{row}");
        }
        assert_eq!(style(Format::Json).heading(Topic::Attempts), "");
    }

    #[test]
    fn nothing_in_a_record_reaches_the_terminal_as_a_command() {
        let bad = "\u{1b}[2J\n\u{9b}31m\u{7f}";
        let value = "{\"x\":\"\u{9b}31m\u{7f}\",\n\"n\":12345678901234567890.50}";
        let headers = [("ce_type", bad), ("ce_id", bad), ("tg_error", bad), ("ce_subject", bad)];
        for topic in [Topic::Events, Topic::Deliveries, Topic::Attempts, Topic::Dlq, Topic::Rejected, Topic::Retry] {
            for format in [Format::Text, Format::Wide, Format::Json] {
                let shown = line(format, false, (topic, &received(bad, Some(value), &headers)));
                let end = shown.strip_suffix('\n').unwrap();
                assert!(!end.contains(char::is_control), "{topic} {format:?}: {shown:?}");
            }
        }
    }

    #[test]
    fn a_program_gets_the_record_as_it_is() {
        let record = received("k", Some(r#"{"n":12345678901234567890.50}"#), &[("ce_id", "e1")]);
        assert_eq!(
            line(Format::Json, true, (Topic::Events, &record)),
            "{\"topic\":\"events\",\"partition\":2,\"offset\":7,\"time\":\"2025-11-21T08:00:00.250Z\",\"key\":\"k\",\
             \"headers\":{\"ce_id\":\"e1\"},\"value\":{\"n\":12345678901234567890.50}}\n"
        );
        let value = |text: Option<&[u8]>| {
            let mut record = received("k", None, &[]);
            record.record.value = text.map(Bytes::copy_from_slice);
            let shown: Value = serde_json::from_str(&line(Format::Json, false, (Topic::Retry, &record))).unwrap();
            shown["value"].clone()
        };
        assert_eq!(value(None), Value::Null);
        assert_eq!(value(Some(b"MSH|^~")), json!("MSH|^~"));
        assert_eq!(value(Some(b"\xff\xfe")), json!({"base64": "//4="}));
        assert_eq!(value(Some(b"{\r\n\"a\":\t1}")), json!({"a": 1}));
    }
}
