//! Deliveries as lines: one each with all columns, or two where a terminal is too narrow for that.

use serde::Deserialize;

use crate::cli::columns::{Colour, Line};

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
const COLUMNS: usize = 166;
/// For a note that says something.
const NOTE: usize = 14;

/// How deliveries are laid out.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Of the terminal; `None`: a pipe, which gets one line each, uncut.
    pub width: Option<usize>,
    pub colours: bool,
}

impl Layout {
    pub(super) fn lines(self, row: &Row) -> String {
        if self.width.is_some_and(|width| width < COLUMNS + NOTE) { self.two(row) } else { self.one(row) }
    }

    fn one(self, row: &Row) -> String {
        let mut line = Line::within(self.colours, self.width);
        line.column(Some(&row.created_at), 24, Colour::Dim);
        line.column(Some(&row.status), 9, Colour::of_outcome(&row.status));
        line.column(row.event_type.as_deref(), 22, Colour::Cyan);
        line.column(row.org_id.as_deref(), 6, Colour::Plain);
        line.column(row.integration_id.as_deref(), 20, Colour::Plain);
        line.column(row.entity_id.as_deref(), 20, Colour::Plain);
        numbers(&mut line, row);
        line.column(Some(&row.id), 36, Colour::Dim);
        if let Some(note) = row.note() {
            line.column(Some(&note), 0, Colour::Plain);
        }
        line.finish()
    }

    fn two(self, row: &Row) -> String {
        let mut first = Line::within(self.colours, self.width);
        first.column(Some(&row.created_at), 24, Colour::Dim);
        first.column(Some(&row.status), 9, Colour::of_outcome(&row.status));
        first.column(row.event_type.as_deref(), 0, Colour::Cyan);
        first.column(row.integration_id.as_deref(), 0, Colour::Plain);
        if let Some(entity) = &row.entity_id {
            first.column(Some(entity), 0, Colour::Plain);
        }
        let mut second = Line::within(self.colours, self.width);
        second.column(Some(""), 0, Colour::Plain);
        second.column(Some(&row.id), 36, Colour::Dim);
        numbers(&mut second, row);
        if let Some(note) = row.note() {
            second.column(Some(&note), 0, Colour::Plain);
        }
        first.finish() + &second.finish()
    }
}

/// Attempts, the last answer, and how long it took.
fn numbers(line: &mut Line, row: &Row) {
    line.column(Some(&format!("#{}", row.attempt_count)), 3, Colour::Plain);
    let status = row.response_status.map(|status| status.to_string());
    let colour = if status.is_some() { Colour::of_outcome(&row.status) } else { Colour::Plain };
    line.column(status.as_deref(), 3, colour);
    let took = row.response_time_ms.map(|ms| format!("{ms:.0} ms"));
    line.column(took.as_deref(), 7, Colour::Plain);
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
        let lines = |width| Layout { width, colours: false }.lines(&row());
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
             01a1ffb3-2102-8879-8232-fe37ac38a16c  #3   503  12 ms    HTTP_5XX: answered 5…\n"
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
