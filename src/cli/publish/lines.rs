//! JSON lines as batches: read one after the other, so that a million of them take no more memory than a thousand.

use std::io::{self, BufRead as _, BufReader, Read};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::model::problem::not_json;
use crate::model::time::Timestamp;

/// What a batch and a line may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Lines of a batch; the gateway takes 1,000 events.
    pub lines: usize,
    /// Bytes at which a batch is full. With one line more it must stay below the gateway's 10 MiB.
    pub bytes: usize,
    /// Bytes of a line.
    pub line: usize,
    /// A batch does not wait for input that is not there yet: for a pipe into which somebody writes now and then.
    pub eager: bool,
}

impl Limits {
    pub(super) const FILE: Limits = Limits { lines: 1_000, bytes: 2 << 20, line: 4 << 20, eager: false };
    pub(super) const PIPE: Limits = Limits { eager: true, ..Limits::FILE };
}

/// How far the input was read: behind so many bytes and lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub bytes: u64,
    pub lines: u64,
}

/// One event, as the gateway is to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Counted from 1.
    pub line: u64,
    pub json: String,
}

/// A line that was not accepted, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Refused {
    pub line: u64,
    pub code: String,
    pub error: String,
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

impl Refused {
    /// What need not be sent to know that it is no event.
    fn here(line: u64, error: String) -> Refused {
        Refused { line, code: "NOT_AN_EVENT".to_owned(), error, details: serde_json::Value::Null }
    }
}

/// Lines that follow each other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub items: Vec<Item>,
    pub refused: Vec<Refused>,
    /// Behind its last line.
    pub end: Place,
}

/// One publication of an input. Its events without an id get one that only the run and the line decide, so that what is sent
/// twice is one event. The id is a UUIDv7 of the run's begin, and so the ids of deliveries do not depend on the moment at which
/// the gateway got the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub id: Uuid,
    pub began: Timestamp,
}

impl Run {
    pub(super) fn event_id(&self, line: u64) -> Uuid {
        let drawn = Uuid::new_v5(&self.id, line.to_string().as_bytes()).into_bytes();
        let mut rest = [0; 10];
        rest.copy_from_slice(&drawn[6..]);
        let millis = u64::try_from(self.began.as_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
    }
}

/// The batches of an input.
pub(super) struct Batches {
    input: BufReader<Box<dyn Read + Send>>,
    run: Run,
    limits: Limits,
    at: Place,
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Batches {
    /// Goes on at `at`, where `input` stands.
    pub(super) fn new(input: Box<dyn Read + Send>, run: Run, (limits, at): (Limits, Place)) -> Batches {
        Batches { input: BufReader::with_capacity(256 << 10, input), run, limits, at }
    }

    /// The next batch; `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<Batch>> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.items.len() + batch.refused.len() < self.limits.lines && bytes < self.limits.bytes {
            let Some(line) = self.line()? else { break };
            let number = self.at.lines;
            let taken = match line {
                Line::TooLong => Err(format!("the line has more than {} bytes", self.limits.line)),
                Line::Whole(line) => event(&line, || self.run.event_id(number)),
            };
            match taken {
                Ok(Some(json)) => {
                    bytes += json.len();
                    batch.items.push(Item { line: number, json });
                }
                Ok(None) => {}
                Err(why) => batch.refused.push(Refused::here(number, why)),
            }
            if self.limits.eager && !batch.items.is_empty() && self.input.buffer().is_empty() {
                break;
            }
        }
        let begun = batch.items.len() + batch.refused.len() > 0;
        batch.end = self.at;
        Ok(begun.then_some(batch))
    }

    /// How far it was read, blank lines at the end included.
    pub(super) fn at(&self) -> Place {
        self.at
    }

    /// The next line without its end; what is too long is read and not kept.
    fn line(&mut self) -> io::Result<Option<Line>> {
        let (mut line, mut read, mut too_long) = (Vec::new(), 0_u64, false);
        loop {
            let there = match self.input.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                there => there?,
            };
            if there.is_empty() && read == 0 {
                return Ok(None);
            }
            let newline = there.iter().position(|b| *b == b'\n');
            let part = &there[..newline.unwrap_or(there.len())];
            too_long |= line.len() + part.len() > self.limits.line;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(newline.is_some());
            let ended = newline.is_some() || there.is_empty();
            self.input.consume(used);
            read += used as u64;
            if ended {
                self.at = Place { bytes: self.at.bytes + read, lines: self.at.lines + 1 };
                return Ok(Some(if too_long { Line::TooLong } else { Line::Whole(line) }));
            }
        }
    }
}

/// What is looked at here; everything else is the gateway's to judge.
#[derive(Deserialize)]
struct Head {
    id: Option<IgnoredAny>,
}

/// The event of a line with an id, `None` for a blank line. Nothing that is not JSON leaves this place: in a batch it would
/// spoil its neighbours.
fn event(line: &[u8], id: impl FnOnce() -> Uuid) -> Result<Option<String>, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("the line is not UTF-8: {e}"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str::<&RawValue>(text).map_err(|e| format!("the line {}", not_json(&e)))?;
    let Some(members) = text.strip_prefix('{') else {
        return Err("the line is no JSON object; an event is one: {\"eventType\": ..., \"payload\": ...}".to_owned());
    };
    // One with two ids is refused by the gateway, in its own words.
    let named = serde_json::from_str::<Head>(text).map_or(true, |head| head.id.is_some());
    Ok(Some(match named {
        true => text.to_owned(),
        false if members.trim_start().starts_with('}') => format!("{{\"id\":\"{}\"}}", id()),
        false => format!("{{\"id\":\"{}\",{members}", id()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { id: Uuid::from_u128(7), began: Timestamp(1_763_712_000_250) };

    fn batches(text: &[u8], limits: Limits) -> Vec<Batch> {
        let mut batches = Batches::new(Box::new(io::Cursor::new(text.to_vec())), RUN, (limits, Place::default()));
        std::iter::from_fn(|| batches.next().unwrap()).collect()
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let id = || Uuid::from_u128(1);
        let made = "\"id\":\"00000000-0000-0000-0000-000000000001\"";
        type Read<'a> = Result<Option<String>, &'a str>;
        let cases: [(&[u8], Read<'_>); 14] = [
            (b"", Ok(None)),
            (b" \t\r", Ok(None)),
            (br#"{"id":"e1","x":1}"#, Ok(Some(r#"{"id":"e1","x":1}"#.into()))),
            (br#"{"id":7}"#, Ok(Some(r#"{"id":7}"#.into()))),
            (b"{\"x\":1}\r", Ok(Some(format!("{{{made},\"x\":1}}")))),
            (br#"{"payload":{"id":"inner"}}"#, Ok(Some(format!("{{{made},\"payload\":{{\"id\":\"inner\"}}}}")))),
            (br#"{"id":null,"x":1}"#, Ok(Some(format!("{{{made},\"id\":null,\"x\":1}}")))),
            (br#"{ }"#, Ok(Some(format!("{{{made}}}")))),
            (br#"{"id":1,"id":2}"#, Ok(Some(r#"{"id":1,"id":2}"#.into()))),
            ("\u{feff}{\"id\":1}".as_bytes(), Ok(Some(r#"{"id":1}"#.into()))),
            (br#"{"x":1"#, Err("not JSON")),
            (br#"{"x":1} {"x":2}"#, Err("not JSON")),
            (br#"[{"x":1}]"#, Err("no JSON object")),
            (b"{\"x\":\"\xff\"}", Err("not UTF-8")),
        ];
        for (line, expected) in cases {
            let shown = String::from_utf8_lossy(line).into_owned();
            match (event(line, id), expected) {
                (Err(why), Err(part)) => assert!(why.contains(part), "{shown}: {why}"),
                (read, expected) => assert_eq!(read, expected.map_err(str::to_owned), "{shown}"),
            }
        }
    }

    #[test]
    fn no_batch_is_larger_than_the_gateway_takes_and_no_line_is_left_out() {
        let text: String = (0..25).map(|n| format!("{{\"id\":\"{n:02}\"}}\n")).collect();
        let sizes = |limits| -> Vec<usize> { batches(text.as_bytes(), limits).iter().map(|b| b.items.len()).collect() };
        assert_eq!(sizes(Limits { lines: 10, ..Limits::FILE }), [10, 10, 5]);
        // 11 bytes a line: the second fills it.
        assert_eq!(sizes(Limits { bytes: 12, ..Limits::FILE }), [[2; 12].as_slice(), &[1]].concat());
        assert_eq!(sizes(Limits::FILE), [25]);
        const { assert!(Limits::FILE.bytes + Limits::FILE.line < (10 << 20) - 1_000 * 64) };
    }

    #[test]
    fn places_and_numbers_hold_over_blank_wrong_and_endless_lines() {
        let long = "x".repeat(50);
        let text = format!("{{\"id\":1}}\n\nno\n\"{long}\"\r\n{{\"id\":5}}\n\n{{\"id\":7}}");
        let read = batches(text.as_bytes(), Limits { lines: 2, line: 40, ..Limits::FILE });
        let seen: Vec<(Vec<u64>, Vec<u64>, u64)> = read
            .iter()
            .map(|b| {
                let refused = b.refused.iter().map(|r| r.line).collect();
                (b.items.iter().map(|i| i.line).collect(), refused, b.end.lines)
            })
            .collect();
        assert_eq!(seen, [(vec![1], vec![3], 3), (vec![5], vec![4], 5), (vec![7], vec![], 7)]);
        assert_eq!(read.last().unwrap().end.bytes, text.len() as u64);
        let at = read[0].end;
        let rest = Box::new(io::Cursor::new(text.as_bytes()[usize::try_from(at.bytes).unwrap()..].to_vec()));
        let mut again = Batches::new(rest, RUN, (Limits::FILE, at));
        assert_eq!(again.next().unwrap().unwrap().items[0].line, 5);
    }

    #[test]
    fn an_id_is_the_same_for_the_same_line_of_a_run_and_no_other() {
        let other = Run { id: Uuid::from_u128(8), ..RUN };
        let id = RUN.event_id(3);
        assert_eq!(id, RUN.event_id(3));
        assert!(id != RUN.event_id(4) && id != other.event_id(3));
        // The gateway takes the time of a delivery's id from it.
        assert_eq!(id.get_version(), Some(uuid::Version::SortRand));
        assert_eq!(id.to_string()[..13], Uuid::from_u128(1_763_712_000_250 << 80).to_string()[..13]);
    }

    #[test]
    fn a_line_on_a_pipe_is_not_kept_waiting_for_the_next() {
        struct Slow(Vec<&'static [u8]>);
        impl Read for Slow {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let Some(part) = self.0.pop() else { return Ok(0) };
                buf[..part.len()].copy_from_slice(part);
                Ok(part.len())
            }
        }
        let parts: Vec<&[u8]> = vec![b"{\"id\":4}\n", b":3}\n", b"{\"id\":1}\n{\"id\":2}\n{\"id\""];
        let mut batches = Batches::new(Box::new(Slow(parts)), RUN, (Limits::PIPE, Place::default()));
        let sizes: Vec<usize> = std::iter::from_fn(|| batches.next().unwrap()).map(|b| b.items.len()).collect();
        assert_eq!(sizes, [3, 1]);
    }
}
