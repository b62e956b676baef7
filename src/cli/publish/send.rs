//! Events to the API of a gateway, tried again for as long as it asks to be asked again.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::lines::{Item, Refused};
use crate::cli::exit::Exit;
use crate::cli::output::printable;

/// For one request: the gateway itself answers within seconds, or says 503.
const ANSWER: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// Between tries where the gateway names no time; doubled each time.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(10);
/// The longest that a gateway is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A gateway's API.
pub(super) struct Gateway {
    http: Client,
    api: Url,
    org: Option<String>,
    key: String,
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

/// How a gateway is reached.
pub(super) struct Address<'a> {
    pub api: &'a str,
    pub org: Option<&'a str>,
    pub key: String,
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

/// Any other answer that the gateway gives with words.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Words {
    code: String,
    error: String,
    details: serde_json::Value,
}

impl Gateway {
    pub(super) fn new(
        address: Address<'_>,
        patience: Duration,
        stop: CancellationToken,
        told: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Gateway, Exit> {
        let wrong = |why: &str| {
            Exit::usage(format!(
                "--api `{}` {why}; it is the gateway's address, such as http://127.0.0.1:8080",
                address.api
            ))
        };
        let api = Url::parse(address.api).map_err(|e| wrong(&format!("is no URL: {e}")))?;
        if !matches!(api.scheme(), "http" | "https") || api.host().is_none() {
            return Err(wrong("must begin with http:// or https://"));
        }
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        let client = if is_loopback(&api) { client.no_proxy() } else { client };
        Ok(Gateway {
            http: client.build().map_err(Exit::failed)?,
            api,
            org: address.org.map(str::to_owned),
            key: address.key,
            patience,
            stop,
            reached: AtomicBool::new(false),
            away: AtomicBool::new(false),
            told: Box::new(told),
        })
    }

    /// Publishes one event; `Err` of the inner result: it was refused.
    pub(super) async fn one(&self, json: String) -> Result<Result<(), Refused>, Stop> {
        let (status, body) = self.post("events", json).await?;
        if status.is_success() {
            return Ok(Ok(()));
        }
        Ok(Err(self.refused(0, status, &body)?))
    }

    /// Publishes a batch and says of each line what became of it. A batch that is refused as a whole is halved until the lines
    /// are found that it is refused for.
    pub(super) async fn batch(&self, items: &[Item]) -> Result<Answered, Stop> {
        let mut answered = Answered::default();
        let mut parts = vec![items];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            let (status, body) = self.post("events/batch", body_of(part)).await?;
            match serde_json::from_slice::<Results>(&body) {
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
                _ if status.is_success() => return Err(self.strange(status, &body)),
                _ if part.len() > 1 && is_about_events(status) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                _ => answered.refused.push(self.refused(part[0].line, status, &body)?),
            }
        }
        Ok(answered)
    }

    /// An event that was refused with these words, or the end where they are not about the event.
    fn refused(&self, line: u64, status: StatusCode, body: &[u8]) -> Result<Refused, Stop> {
        if !is_about_events(status) {
            return Err(self.strange(status, body));
        }
        let Words { code, error, details } = serde_json::from_slice(body).unwrap_or_default();
        let error = if error.is_empty() { format!("answered {status}") } else { error };
        Ok(Refused { line, code, error, details })
    }

    fn strange(&self, status: StatusCode, body: &[u8]) -> Stop {
        let words: Words = serde_json::from_slice(body).unwrap_or_default();
        let said = if words.error.is_empty() { String::new() } else { format!(": {}", printable(&words.error)) };
        let api = &self.api;
        Stop::Failed(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Usage(format!(
                "the gateway at {api} does not take the key{said}; TIDEGATE_ADMIN_KEY must be the one that it was started with"
            )),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Exit::Usage(format!(
                "what answers at {api} takes no events ({status}{said}): is it a gateway, and one with the role `ingest`?"
            )),
            _ => Exit::Failed(format!("the gateway at {api} answered {status}{said}")),
        })
    }

    /// The answer to one request, once it is one.
    async fn post(&self, route: &str, body: String) -> Result<(StatusCode, Vec<u8>), Stop> {
        let body = bytes::Bytes::from(body);
        let deadline = Instant::now() + self.patience;
        let mut pause = *PAUSES.start();
        loop {
            let (why, wait) = match self.once(route, body.clone()).await {
                Ok(Answer::Is(status, body)) => {
                    self.reached.store(true, Ordering::Relaxed);
                    self.away.store(false, Ordering::Relaxed);
                    return Ok((status, body));
                }
                Ok(Answer::Later(why, wait)) => (why, wait),
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

    async fn once(&self, route: &str, body: bytes::Bytes) -> Result<Answer, reqwest::Error> {
        let mut url = self.api.clone();
        url.set_path(&format!("{}/api/v1/{route}", self.api.path().trim_end_matches('/')));
        if let Some(org) = &self.org {
            url.query_pairs_mut().append_pair("orgId", org);
        }
        let request = self.http.post(url).header(CONTENT_TYPE, "application/json").header("X-API-Key", &self.key);
        let answer = request.body(body).send().await?;
        let (status, wait) = (answer.status(), retry_after(answer.headers()));
        let body = answer.bytes().await?.to_vec();
        Ok(match status.as_u16() {
            // 502 and 504 come from what stands before the gateway.
            429 | 502..=504 => {
                let words: Words = serde_json::from_slice(&body).unwrap_or_default();
                let said = if words.error.is_empty() { String::new() } else { format!(": {}", words.error) };
                Answer::Later(format!("it answered {status}{said}"), wait)
            }
            _ => Answer::Is(status, body),
        })
    }

    fn unreachable(&self, why: &str) -> Exit {
        let api = &self.api;
        Exit::Unreachable(match self.reached.load(Ordering::Relaxed) {
            false => format!(
                "no gateway answers at {api} ({why}); start one (`tidegate dev`, `tidegate serve`), or name another address with \
                 --api or TIDEGATE_API"
            ),
            true => format!(
                "the gateway at {api} has taken nothing for {} ({why})",
                crate::model::duration::DurationText(self.patience)
            ),
        })
    }
}

enum Answer {
    Is(StatusCode, Vec<u8>),
    /// Why not now, and when it asks to be asked again.
    Later(String, Option<Duration>),
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

/// In seconds, which is the form that the gateway gives it; a date would need the clock of the other side.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost reason: reqwest's own words name the URL and little else.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.is_timeout() { format!("no answer in time: {innermost}") } else { innermost.to_string() }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
