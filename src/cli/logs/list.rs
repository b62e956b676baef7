//! Deliveries as lines: one each with all columns, or two where a terminal is too narrow for that.

use serde::Deserialize;

use crate::cli::columns::{Colour, Head, Look, or_dash};

/// What is shown of an item of `GET /logs`. Texts as they are in it: whoever shows them makes them printable.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Row {
    pub id: String,
    pub status: String,
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    pub org_id: Option<String>,
    pub entity_id: Option<String>,
    pub integration_id: Option<String>,
    pub integration_name: Option<String>,
    pub error_category: Option<String>,
    pub error_message: Option<String>,
    pub target_url: Option<String>,
    pub http_method: Option<String>,
    pub response_status: Option<u16>,
    pub response_time_ms: Option<f64>,
    pub attempt_count: u32,
    pub next_attempt_at: Option<String>,
    pub correlation_id: Option<String>,
    pub trace_id: Option<String>,
    pub created_at: String,
    pub delivered_at: Option<String>,
}

impl Row {
    /// Why it is as it is, and when it goes on.
    fn note(&self) -> Option<String> {
        let next = self.next_attempt_at.as_ref().map(|at| format!("next at {at}"));
        let error = self.error_message.as_ref().map(|message| match &self.error_category {
            Some(category) if !message.starts_with(category.as_str()) => format!("{category}: {message}"),
            _ => message.clone(),
        });
        match (error, next) {
            (Some(error), Some(next)) => Some(format!("{error}; {next}")),
            (error, next) => error.or(next),
        }
    }
}

/// Characters of a line without the note, where nothing is longer than its column.
const COLUMNS: usize = 167;
/// For a note that says something.
const NOTE: usize = 14;

const CREATED: Head = ("CREATED", 24);
const STATUS: Head = ("STATUS", 9);
const TRY: Head = ("TRY", 3);
const HTTP: Head = ("HTTP", 4);
const TOOK: Head = ("TOOK", 7);
const DELIVERY: Head = ("DELIVERY", 36);
const ONE: [Head; 11] = [
    CREATED,
    STATUS,
    ("EVENT TYPE", 22),
    ("ORG", 6),
    ("INTEGRATION", 20),
    ("ENTITY", 20),
    TRY,
    HTTP,
    TOOK,
    DELIVERY,
    ("NOTE", 0),
];
const FIRST: [Head; 5] = [CREATED, STATUS, ("EVENT TYPE", 0), ("INTEGRATION", 0), ("ENTITY", 0)];
const SECOND: [Head; 6] = [("", 0), DELIVERY, TRY, HTTP, TOOK, ("NOTE", 0)];

/// How deliveries are laid out: one line each, or two where a terminal has no room for all columns.
#[derive(Clone, Copy)]
pub(super) struct Layout(pub Look);

impl Layout {
    fn is_narrow(self) -> bool {
        self.0.width.is_some_and(|width| width < COLUMNS + NOTE)
    }

    pub(super) fn heading(self) -> String {
        if self.is_narrow() { self.0.heading(&FIRST) + &self.0.heading(&SECOND) } else { self.0.heading(&ONE) }
    }

    pub(super) fn lines(self, row: &Row) -> String {
        let created = (row.created_at.as_str().into(), Colour::Dim);
        let status = (row.status.as_str().into(), Colour::of_outcome(&row.status));
        let event_type = (or_dash(row.event_type.as_deref()), Colour::Cyan);
        let integration = (or_dash(row.integration_id.as_deref()), Colour::Plain);
        let tries = (format!("#{}", row.attempt_count).into(), Colour::Plain);
        let answered = if row.response_status.is_some() { Colour::of_outcome(&row.status) } else { Colour::Plain };
        let answer = (or_dash(row.response_status.map(|status| status.to_string())), answered);
        let took = (or_dash(row.response_time_ms.map(|ms| format!("{ms:.0} ms"))), Colour::Plain);
        let id = (row.id.as_str().into(), Colour::Dim);
        let note = (row.note().unwrap_or_default().into(), Colour::Plain);
        if self.is_narrow() {
            let entity = (row.entity_id.as_deref().unwrap_or_default().into(), Colour::Plain);
            let indent = ("".into(), Colour::Plain);
            return self.0.row(&FIRST, [created, status, event_type, integration, entity])
                + &self.0.row(&SECOND, [indent, id, tries, answer, took, note]);
        }
        let (org, entity) =
            ((or_dash(row.org_id.as_deref()), Colour::Plain), (or_dash(row.entity_id.as_deref()), Colour::Plain));
        self.0.row(&ONE, [created, status, event_type, org, integration, entity, tries, answer, took, id, note])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Row {
        serde_json::from_value(json!({
            "id": "01a1ffb3-2102-8879-8232-fe37ac38a16c", "status": "ABANDONED", "eventType": "bill.created", "orgId": "648",
            "integrationId": "bills", "entityId": null, "attemptCount": 3, "responseStatus": 503, "responseTimeMs": 12.4,
            "createdAt": "2026-11-21T08:00:00.250Z", "errorCategory": "HTTP_5XX",
            "errorMessage": "answered 503\u{1b}[2J, which is a long story that no narrow terminal has room for at all"
        }))
        .unwrap()
    }

    #[test]
    fn a_pipe_gets_one_whole_line_and_a_narrow_terminal_two_that_it_does_not_break() {
        let lines = |width| Layout(Look { width, ..Look::PIPE }).lines(&row());
        let piped = lines(None);
        assert_eq!(
            piped.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>(),
            [
                "2026-11-21T08:00:00.250Z",
                "ABANDONED",
                "bill.created",
                "648",
                "bills",
                "-",
                "#3",
                "503",
                "12 ms",
                "01a1ffb3-2102-8879-8232-fe37ac38a16c",
                "HTTP_5XX: answered 503\\u{1b}[2J, which is a long story that no narrow terminal has room for at all"
            ]
        );
        assert_eq!(piped.lines().count(), 1);
        assert_eq!(
            lines(Some(80)),
            "2026-11-21T08:00:00.250Z  ABANDONED  bill.created  bills\n  \
             01a1ffb3-2102-8879-8232-fe37ac38a16c  #3   503   12 ms    HTTP_5XX: answered …\n"
        );
        for width in [40, 80, 120, 180, 200, 240] {
            for line in lines(Some(width)).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
                assert!(!line.contains('\u{1b}'));
            }
        }
        assert_eq!(lines(Some(200)).lines().count(), 1);
    }

    #[test]
    fn a_heading_has_as_many_lines_as_what_stands_below_it_and_a_pipe_gets_none() {
        let heading = |width| Layout(Look { width, headings: true, colours: false }).heading();
        assert!(heading(Some(200)).contains("DELIVERY") && heading(Some(200)).lines().count() == 1);
        let narrow = heading(Some(80));
        assert_eq!((narrow.lines().count(), narrow.find("\n  DELIVERY").is_some()), (2, true), "{narrow}");
        assert_eq!(Layout(Look::PIPE).heading(), "");
    }

    #[test]
    fn what_waits_says_when_it_goes_on() {
        let next = "2026-11-21T09:00:00.000Z".to_owned();
        let waits = |error: Option<&str>| {
            let error_message = error.map(str::to_owned);
            Row { error_message, next_attempt_at: Some(next.clone()), ..Row::default() }.note()
        };
        assert_eq!(waits(None).as_deref(), Some("next at 2026-11-21T09:00:00.000Z"));
        assert_eq!(waits(Some("x")).as_deref(), Some("x; next at 2026-11-21T09:00:00.000Z"));
        assert_eq!(Row::default().note(), None);
    }
}
