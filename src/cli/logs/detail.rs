//! One delivery whole.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::list::Row;
use crate::cli::columns::{Colour, Line};
use crate::cli::output::printable;

/// Characters of a payload or of an answer's body; `-o json` has all of it.
const BODY: usize = 4_000;

/// What `GET /logs/{id}` says beyond an item of the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    original_payload: Option<Box<RawValue>>,
    response_headers: Option<Map<String, Value>>,
    response_body: Option<String>,
    response_body_truncated: Option<bool>,
    curl_command: Option<String>,
    attempts: Vec<Tried>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    attempt: u32,
    started_at: String,
    duration_ms: f64,
    outcome: String,
    response_status: Option<u16>,
    error_category: Option<String>,
    error_message: Option<String>,
    next_attempt_at: Option<String>,
}

/// Everything that a person asks about it, the end included.
pub(super) fn text((row, detail): (&Row, &Detail), colours: bool) -> String {
    let mut shown = Shown { text: String::new(), colours };
    shown.facts(row);
    shown.attempts(&detail.attempts);
    shown.answer(row, detail);
    if let Some(payload) = &detail.original_payload {
        shown.heading("Payload");
        shown.block(&cut(payload.get()));
    }
    if let Some(curl) = &detail.curl_command {
        shown.heading("The request, for a shell");
        shown.command(curl);
    }
    if matches!(row.status.as_str(), "FAILED" | "ABANDONED") {
        shown.heading("To deliver it all the same, once its receiver is mended");
        shown.block(&format!("tidegate redrive {}", row.id));
    }
    shown.text
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(BODY).collect();
    if cut.len() < text.len() {
        cut.push_str("\n… (-o json has all of it)");
    }
    cut
}

struct Shown {
    text: String,
    colours: bool,
}

impl Shown {
    fn line(&mut self, columns: &[(&str, usize, Colour)]) {
        let mut line = Line::new(self.colours);
        columns.iter().for_each(|(text, width, colour)| line.column(Some(text), *width, *colour));
        self.text += &line.finish();
    }

    fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.line(&[(text, 0, Colour::Bold)]);
    }

    /// As it is, for it may be what somebody wants to copy, and indented.
    fn block(&mut self, text: &str) {
        for line in printable(text).lines() {
            self.text += &format!("  {line}\n");
        }
    }

    /// One of several lines is not indented: that would become part of what it sends.
    fn command(&mut self, text: &str) {
        let shown = printable(text);
        match shown.contains('\n') {
            true => self.text += &format!("{shown}\n"),
            false => self.block(text),
        }
        if shown != text {
            self.block("(not all of it can be shown on a terminal: -o json has it as it is, in `curlCommand`)");
        }
    }

    fn facts(&mut self, row: &Row) {
        self.line(&[
            (&row.status, 0, Colour::of_outcome(&row.status)),
            (&format!("delivery {}", row.id), 0, Colour::Bold),
        ]);
        let both = |first: &Option<String>, second: &Option<String>| match (first, second) {
            (Some(first), Some(second)) => Some(format!("{first}  {second}")),
            (first, second) => first.clone().or(second.clone()),
        };
        let facts = [
            ("event", both(&row.event_type, &row.event_id)),
            ("about", row.entity_id.clone()),
            ("organization", row.org_id.clone()),
            ("integration", both(&row.integration_id, &row.integration_name)),
            ("target", both(&row.http_method, &row.target_url)),
            ("correlation", row.correlation_id.clone()),
            ("trace", row.trace_id.clone()),
            ("created", Some(row.created_at.clone())),
            ("delivered", row.delivered_at.clone()),
            ("next attempt", row.next_attempt_at.clone()),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                self.line(&[("", 0, Colour::Plain), (name, 12, Colour::Dim), (&value, 0, Colour::Plain)]);
            }
        }
        if let Some(error) = &row.error_message {
            let category = row.error_category.as_deref().unwrap_or_default();
            let name = ("error", 12, Colour::Dim);
            self.line(&[("", 0, Colour::Plain), name, (category, 0, Colour::Red), (error, 0, Colour::Plain)]);
        }
    }

    fn attempts(&mut self, attempts: &[Tried]) {
        self.heading("Attempts");
        if attempts.is_empty() {
            self.block("none, or history keeps them no longer");
        }
        for tried in attempts {
            let mut line = Line::new(self.colours);
            line.column(Some(""), 0, Colour::Plain);
            line.column(Some(&format!("#{}", tried.attempt)), 3, Colour::Plain);
            line.column(Some(&tried.started_at), 24, Colour::Dim);
            line.column(Some(&tried.outcome), 9, Colour::of_outcome(&tried.outcome));
            line.column(tried.response_status.map(|s| s.to_string()).as_deref(), 3, Colour::Plain);
            line.column(Some(&format!("{:.0} ms", tried.duration_ms)), 7, Colour::Plain);
            if let Some(error) = tried.error_message.as_ref().or(tried.error_category.as_ref()) {
                line.column(Some(error), 0, Colour::Plain);
            }
            if let Some(next) = &tried.next_attempt_at {
                line.column(Some(&format!("next at {next}")), 0, Colour::Dim);
            }
            self.text += &line.finish();
        }
    }

    /// The last one, of whichever attempt.
    fn answer(&mut self, row: &Row, detail: &Detail) {
        let Some(status) = row.response_status else { return };
        self.heading(&format!("Last answer: {status}"));
        for (name, value) in detail.response_headers.iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.line(&[("", 0, Colour::Plain), (&format!("{name}: {value}"), 0, Colour::Dim)]);
        }
        if let Some(body) = &detail.response_body {
            self.block(&cut(body));
            if detail.response_body_truncated == Some(true) {
                self.block("… (it was longer; no more is kept)");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(colours: bool) -> String {
        let bad = "\u{1b}[2J\n\u{9b}31m";
        let answer = json!({
            "id": "d1", "status": "ABANDONED", "eventType": "bill.created", "eventId": "e1", "orgId": "648",
            "integrationId": "bills", "integrationName": bad, "httpMethod": "POST", "targetUrl": "http://127.0.0.1:9/bills",
            "attemptCount": 1, "responseStatus": 503, "createdAt": "2026-11-21T08:00:00.000Z", "errorCategory": "HTTP_5XX",
            "errorMessage": "the receiver answered 503", "originalPayload": {"n": 1},
            "responseHeaders": {"content-type": bad}, "responseBody": format!("{bad}{}", "x".repeat(5_000)),
            "responseBodyTruncated": true, "curlCommand": "curl -X POST 'http://127.0.0.1:9/bills'",
            "attempts": [{"attempt": 1, "startedAt": "2026-11-21T08:00:01.000Z", "durationMs": 12.4, "outcome": "DEAD",
                          "responseStatus": 503, "errorMessage": "the receiver answered 503"}]
        })
        .to_string();
        text((&serde_json::from_str(&answer).unwrap(), &serde_json::from_str(&answer).unwrap()), colours)
    }

    #[test]
    fn a_command_is_shown_as_it_is_to_be_copied() {
        let shown = |text: &str| {
            let mut shown = Shown { text: String::new(), colours: false };
            shown.command(text);
            shown.text
        };
        assert_eq!(shown("curl 'a'"), "  curl 'a'\n");
        assert_eq!(shown("curl --data-raw 'a\n b'"), "curl --data-raw 'a\n b'\n");
        assert!(shown("curl 'a\u{1b}'").contains("-o json has it as it is"));
    }

    #[test]
    fn a_delivery_is_shown_with_all_that_is_asked_about_it_and_does_nothing_to_the_terminal() {
        let shown = shown(false);
        for said in [
            "ABANDONED  delivery d1\n",
            "  event         bill.created  e1\n",
            "  integration   bills  \\u{1b}[2J\\n\\u{9b}31m\n",
            "  target        POST  http://127.0.0.1:9/bills\n",
            "  error         HTTP_5XX  the receiver answered 503\n",
            "  #1   2026-11-21T08:00:01.000Z  DEAD       503  12 ms    the receiver answered 503\n",
            "Last answer: 503\n",
            "… (-o json has all of it)",
            "no more is kept",
            "  {\"n\":1}\n",
            "  curl -X POST 'http://127.0.0.1:9/bills'\n",
            "  tidegate redrive d1\n",
        ] {
            assert!(shown.contains(said), "{said:?} is not in\n{shown}");
        }
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert!(super::tests::shown(true).contains("\x1b[31mABANDONED\x1b[0m"));
    }
}
