//! Events to the API of a gateway, tried again for as long as it asks to be asked again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lines::{Item, Refused};
use crate::cli::client::{Answer, Api, Words, cause};
use crate::cli::exit::Exit;
use crate::cli::output::printable;

/// Between tries where the gateway names no time; doubled each time.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(10);
/// The longest that a gateway is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A gateway that takes events.
pub(super) struct Gateway {
    api: Api,
    org: Option<String>,
    /// For how long one request is tried again.
    patience: Duration,
    stop: CancellationToken,
    /// Whether it has answered at all: before that, nobody waits for it.
    reached: AtomicBool,
    /// Whether somebody was told that it is away.
    away: AtomicBool,
    /// Called when an outage begins, with the reason.
    told: Box<dyn Fn(&str) + Send + Sync>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub accepted: u64,
    pub refused: Vec<Refused>,
}

/// Why publishing ends here.
#[derive(Debug)]
pub(super) enum Stop {
    /// Asked to; what was under way may have been accepted or not.
    Interrupted,
    Failed(Exit),
}

/// The answer to a batch.
#[derive(Deserialize)]
struct Results {
    results: Vec<ItemResult>,
}

#[derive(Deserialize)]
struct ItemResult {
    status: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    details: serde_json::Value,
}

impl Gateway {
    pub(super) fn new(
        (api, org): (Api, Option<&str>),
        patience: Duration,
        stop: CancellationToken,
        told: impl Fn(&str) + Send + Sync + 'static,
    ) -> Gateway {
        Gateway {
            api,
            org: org.map(str::to_owned),
            patience,
            stop,
            reached: AtomicBool::new(false),
            away: AtomicBool::new(false),
            told: Box::new(told),
        }
    }

    /// Publishes one event; `Err` of the inner result: it was refused.
    pub(super) async fn one(&self, json: String) -> Result<Result<(), Refused>, Stop> {
        let answer = self.post(&["events"], json).await?;
        if answer.status.is_success() {
            return Ok(Ok(()));
        }
        Ok(Err(self.refused(0, &answer)?))
    }

    /// Publishes a batch and says of each line what became of it. A batch that is refused as a whole is halved until the lines
    /// are found that it is refused for.
    pub(super) async fn batch(&self, items: &[Item]) -> Result<Answered, Stop> {
        let mut answered = Answered::default();
        let mut parts = vec![items];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            let answer = self.post(&["events", "batch"], body_of(part)).await?;
            match serde_json::from_slice::<Results>(&answer.body) {
                Ok(Results { results }) if results.len() == part.len() => {
                    for (item, result) in part.iter().zip(results) {
                        match result.status.as_str() {
                            "accepted" => answered.accepted += 1,
                            _ => answered.refused.push(Refused {
                                line: item.line,
                                code: result.code,
                                error: result.error,
                                details: result.details,
                            }),
                        }
                    }
                }
                _ if answer.status.is_success() => return Err(self.strange(&answer)),
                _ if part.len() > 1 && is_about_events(answer.status) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                _ => answered.refused.push(self.refused(part[0].line, &answer)?),
            }
        }
        Ok(answered)
    }

    /// An event that was refused with these words, or the end where they are not about the event.
    fn refused(&self, line: u64, answer: &Answer) -> Result<Refused, Stop> {
        if !is_about_events(answer.status) {
            return Err(self.strange(answer));
        }
        let Words { code, error, details } = answer.words();
        let error = if error.is_empty() { format!("answered {}", answer.status) } else { error };
        Ok(Refused { line, code, error, details })
    }

    fn strange(&self, answer: &Answer) -> Stop {
        Stop::Failed(self.api.refusal(answer, "ingest"))
    }

    /// The answer to one request, once it is one.
    async fn post(&self, route: &[&str], body: String) -> Result<Answer, Stop> {
        let body = Bytes::from(body);
        let org: Vec<_> = self.org.iter().map(|org| ("orgId", org.clone())).collect();
        let url = self.api.url(route, &org);
        let deadline = Instant::now() + self.patience;
        let mut pause = *PAUSES.start();
        loop {
            let (why, wait) = match self.api.send(Method::POST, url.clone(), Some(body.clone())).await {
                // 502 and 504 come from what stands before the gateway.
                Ok(answer) if matches!(answer.status.as_u16(), 429 | 502..=504) => {
                    (format!("it answered {}{}", answer.status, answer.said()), answer.again)
                }
                Ok(answer) => {
                    self.reached.store(true, Ordering::Relaxed);
                    self.away.store(false, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) if !self.reached.load(Ordering::Relaxed) && error.is_connect() => {
                    return Err(Stop::Failed(self.unreachable(&cause(&error))));
                }
                Err(error) if error.is_builder() => return Err(Stop::Failed(Exit::failed(cause(&error)))),
                Err(error) => (cause(&error), None),
            };
            let wait = wait.unwrap_or(pause).min(LONGEST_WAIT);
            pause = (pause * 2).min(*PAUSES.end());
            if Instant::now() + wait > deadline {
                return Err(Stop::Failed(self.unreachable(&why)));
            }
            if !self.away.swap(true, Ordering::Relaxed) {
                (self.told)(&printable(&why));
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Err(Stop::Interrupted),
            }
        }
    }

    fn unreachable(&self, why: &str) -> Exit {
        match self.reached.load(Ordering::Relaxed) {
            false => self.api.unreachable(why),
            true => self.api.gone(self.patience, why),
        }
    }
}

/// Is it the events that are wrong, and not who sends them or what answers?
fn is_about_events(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 413 | 415 | 422)
}

fn body_of(items: &[Item]) -> String {
    let mut body = String::with_capacity(items.iter().map(|item| item.json.len() + 1).sum::<usize>() + 2);
    for (at, item) in items.iter().enumerate() {
        body.push(if at == 0 { '[' } else { ',' });
        body.push_str(&item.json);
    }
    body.push(']');
    body
}
