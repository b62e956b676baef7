//! The API of a running gateway, as commands ask it, and what people are told where it does not answer as it should.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::stream;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use url::{Host, Url};

use super::exit::Exit;
use super::output::printable;
use crate::config::Config;
use crate::model::items::Items;

/// For one request: the gateway itself answers within seconds, or says 503.
const ANSWER: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// For one with a large body, or a large answer.
const LARGE_ANSWER: Duration = Duration::from_secs(20 * 60);
/// Of an element of a large answer: a step of a plan holds a resource as it was and as it is to be.
const MAX_ITEM: usize = 8 * 1_024 * 1_024;

/// Which gateway a command talks to.
#[derive(Args, Debug)]
pub(super) struct Reach {
    /// Address of the gateway
    #[arg(long, value_name = "URL", env = "TIDEGATE_API", default_value = "http://127.0.0.1:8080")]
    api: String,
}

impl Reach {
    pub fn api(&self, config: &Config) -> Result<Api, Exit> {
        Api::new(&self.api, key(config)?)
    }
}

/// What opens the API.
pub(super) struct Key {
    secret: String,
    /// Where it was found, for people.
    from: String,
}

impl Key {
    #[cfg(test)]
    pub fn of_a_test() -> Key {
        Key { secret: "the key".to_owned(), from: "of the test".to_owned() }
    }
}

/// The key of the configuration, else the one that `tidegate dev` made.
fn key(config: &Config) -> Result<Key, Exit> {
    if let Some(key) = &config.admin_key {
        return Ok(Key { secret: key.clone(), from: "of the configuration (TIDEGATE_ADMIN_KEY)".to_owned() });
    }
    let path = config.data_dir.join("admin.key");
    match fs::read_to_string(&path) {
        Ok(key) if !key.trim().is_empty() => {
            Ok(Key { secret: key.trim().to_owned(), from: format!("in {}", path.display()) })
        }
        _ => Err(Exit::Usage(format!(
            "no API key: set TIDEGATE_ADMIN_KEY to that of the gateway, or run this beside the data folder of `tidegate dev` \
             ({} is not there)",
            path.display()
        ))),
    }
}

/// A gateway's API.
pub(super) struct Api {
    http: Client,
    address: Url,
    key: HeaderValue,
    key_from: String,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// When the gateway asks to be asked again.
    pub again: Option<Duration>,
}

/// An answer of which only the head has come.
pub(super) struct Coming(reqwest::Response);

impl Coming {
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The whole of it.
    pub async fn whole(self) -> Result<Answer, reqwest::Error> {
        let (status, again) = (self.0.status(), retry_after(self.0.headers()));
        Ok(Answer { status, again, body: self.0.bytes().await?.to_vec() })
    }

    /// Shows each element of a list in it as it comes; what is left is the answer without the list.
    pub async fn items(
        mut self,
        list: &'static str,
        mut see: impl FnMut(&[u8]) -> Result<(), Exit>,
    ) -> Result<serde_json::Value, Exit> {
        let broken = |why: &str| Exit::Failed(format!("the gateway's answer is not understood: {why}"));
        let mut items = Items::of(list, MAX_ITEM);
        let mut seen = Ok(());
        while let Some(piece) = self.0.chunk().await.map_err(|error| broken(&cause(&error)))? {
            let fed = items.feed(&piece, |_, item| {
                if seen.is_ok() {
                    seen = see(item);
                }
            });
            fed.map_err(|error| broken(&error.to_string()))?;
            std::mem::replace(&mut seen, Ok(()))?;
        }
        let (rest, _) = items.finish().map_err(|error| broken(&error.to_string()))?;
        serde_json::from_slice(&rest).map_err(|error| broken(&error.to_string()))
    }
}

/// An error in the gateway's own words.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Words {
    pub code: String,
    pub error: String,
    pub details: serde_json::Value,
}

impl Answer {
    pub fn words(&self) -> Words {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Is it a gateway that does not know this id, rather than something else that does not know the route?
    pub fn is_unknown(&self, id: &str) -> bool {
        self.status == StatusCode::NOT_FOUND && self.words().error.contains(id)
    }

    /// The gateway's words behind a colon, where it has any.
    pub fn said(&self) -> String {
        let Words { error, .. } = self.words();
        if error.is_empty() { String::new() } else { format!(": {}", printable(&error)) }
    }
}

impl Api {
    pub fn new(address: &str, key: Key) -> Result<Api, Exit> {
        let wrong = |why: &str| {
            Exit::usage(format!("--api `{address}` {why}; it is the gateway's address, such as http://127.0.0.1:8080"))
        };
        let url = Url::parse(address).map_err(|e| wrong(&format!("is no URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong("must begin with http:// or https://"));
        }
        let Key { secret, from } = key;
        let mut key = HeaderValue::from_str(&secret)
            .map_err(|_| Exit::usage(format!("the API key {from} has characters that no key of a gateway has")))?;
        key.set_sensitive(true);
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        let client = if is_loopback(&url) { client.no_proxy() } else { client };
        Ok(Api { http: client.build().map_err(Exit::failed)?, address: url, key, key_from: from })
    }

    /// Of a route below `/api/v1`, by its parts.
    pub fn url(&self, route: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.address.clone();
        // An address with a host has segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(route);
        }
        url.set_query(None);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Asks once. An error means that there was no answer.
    pub async fn send(&self, method: Method, url: Url, body: Option<Bytes>) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, url).header("X-API-Key", &self.key);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let answer = request.send().await?;
        let (status, again) = (answer.status(), retry_after(answer.headers()));
        Ok(Answer { status, again, body: answer.bytes().await?.to_vec() })
    }

    /// The same with a body that is made while it is sent, piece by piece, for an answer that may be large and take its time.
    pub async fn upload(
        &self,
        url: Url,
        pieces: impl Iterator<Item = Bytes> + Send + 'static,
    ) -> Result<Coming, reqwest::Error> {
        let pieces = stream::iter(pieces.map(Ok::<_, std::convert::Infallible>));
        let request = self.http.post(url).header("X-API-Key", &self.key).header(CONTENT_TYPE, "application/json");
        let answer = request.timeout(LARGE_ANSWER).body(reqwest::Body::wrap_stream(pieces)).send().await?;
        Ok(Coming(answer))
    }

    /// Asks for what may be large.
    pub async fn download(&self, url: Url) -> Result<Coming, Exit> {
        let request = self.http.get(url).header("X-API-Key", &self.key).timeout(LARGE_ANSWER);
        request.send().await.map(Coming).map_err(|error| self.unreachable(&cause(&error)))
    }

    /// An answer with 200 that is a gateway's: something else may answer there, and well.
    pub fn of_a_gateway(&self, coming: Coming) -> Result<Coming, Exit> {
        let is_json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
        if coming.0.headers().get(CONTENT_TYPE).is_some_and(is_json) {
            return Ok(coming);
        }
        Err(Exit::Usage(format!(
            "what answers at {} is no gateway: it answered {} and no JSON; name another address with --api or TIDEGATE_API",
            self.address,
            coming.status()
        )))
    }

    /// Whatever is answered; silence ends the command.
    pub async fn ask(&self, url: Url) -> Result<Answer, Exit> {
        self.send(Method::GET, url, None).await.map_err(|error| self.unreachable(&cause(&error)))
    }

    /// The body of a 200; anything else ends the command.
    pub fn taken(&self, answer: Answer) -> Result<Vec<u8>, Exit> {
        if answer.status == StatusCode::OK { Ok(answer.body) } else { Err(self.refusal(&answer, "api")) }
    }

    /// Why an answer that is none to what was asked ends the command. `role`: of the gateways that have the route.
    pub fn refusal(&self, answer: &Answer, role: &str) -> Exit {
        let (api, status, said) = (&self.address, answer.status, answer.said());
        match status.as_u16() {
            400 => Exit::Usage(format!("the gateway does not take this{}", said_of_fields(answer))),
            401 => Exit::Usage(format!(
                "the gateway at {api} does not take the key {}{said}; TIDEGATE_ADMIN_KEY must be the one that it was started with, or \
                 a key that was made in it",
                self.key_from
            )),
            403 => Exit::Usage(format!("the key {} may not do this{said}", self.key_from)),
            404 | 405 => Exit::Usage(format!(
                "what answers at {api} does not know this route ({status}{said}): is it a gateway, and one with the role `{role}`?"
            )),
            409 => Exit::Failed(format!("nothing was done{}", said_of_fields(answer))),
            // 502 and 504 come from what stands before the gateway.
            429 | 502..=504 => {
                Exit::Unreachable(format!("the gateway at {api} cannot answer now ({status}{said}); try again later"))
            }
            _ => Exit::Failed(format!("the gateway at {api} answered {status}{said}")),
        }
    }

    pub fn unreachable(&self, why: &str) -> Exit {
        Exit::Unreachable(format!(
            "no gateway answers at {} ({why}); start one (`tidegate dev`, `tidegate serve`), or name another address with --api \
             or TIDEGATE_API",
            self.address
        ))
    }

    /// That it had answered before, and then nothing came of anything for so long.
    pub fn gone(&self, patience: Duration, why: &str) -> Exit {
        let patience = crate::model::duration::DurationText(patience);
        Exit::Unreachable(format!("the gateway at {} has taken nothing for {patience} ({why})", self.address))
    }
}

/// Parameters of the API and the flags that they come from.
const FLAGS: &[(&str, &str)] = &[
    ("orgId", "--org"),
    ("integrationId", "--integration"),
    ("eventType", "--type"),
    ("errorCategory", "--category"),
    ("eventId", "--event"),
    ("entityId", "--entity"),
    ("correlationId", "--correlation"),
    ("startDate", "--from"),
    ("endDate", "--to"),
    ("search", "--search"),
    ("status", "--status"),
    ("limit", "--limit"),
    ("email", "EMAIL"),
    ("role", "--role"),
    ("name", "--name"),
    ("scopes", "--scope"),
    ("expiresAt", "--expires"),
    ("password", "the password"),
];

/// What is wrong, by the flags that people typed.
fn said_of_fields(answer: &Answer) -> String {
    let words = answer.words();
    let told = words.details.as_array().into_iter().flatten().filter_map(|problem| {
        let (path, message) = (problem["path"].as_str()?, problem["message"].as_str()?);
        let flag = FLAGS.iter().find(|(parameter, _)| *parameter == path).map_or(path, |(_, flag)| flag);
        Some(printable(&format!("{flag} {message}")))
    });
    let all: Vec<String> = told.collect();
    if all.is_empty() { answer.said() } else { format!(": {}", all.join("; ")) }
}

/// In seconds, which is the form that the gateway gives it; a date would need the clock of the other side.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost reason: reqwest's own words name the URL and little else.
pub(super) fn cause(error: &reqwest::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Exit {
        let api = Api::new("http://127.0.0.1:1", Key::of_a_test()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        api.refusal(&Answer { status, body: body.into(), again: None }, "api")
    }

    #[test]
    fn an_answer_that_is_none_is_told_with_what_to_do_and_its_own_exit_code() {
        let problem =
            r#"{"error":"x","details":[{"path":"orgId","message":"must be short"},{"path":"y","message":"z"}]}"#;
        let cases = [
            (400, problem, 2, "--org must be short; y z"),
            (400, r#"{"error":"no"}"#, 2, "does not take this: no"),
            (401, r#"{"error":"who?"}"#, 2, "does not take the key of the test: who?; TIDEGATE_ADMIN_KEY"),
            (403, r#"{"error":"it needs `read`"}"#, 2, "the key of the test may not do this: it needs `read`"),
            (404, "<html>", 2, "is it a gateway, and one with the role `api`"),
            (503, r#"{"error":"history is away"}"#, 3, "cannot answer now (503 Service Unavailable: history is away)"),
            (500, r#"{"error":"\u001b[2J"}"#, 1, "\\u{1b}[2J"),
        ];
        for (status, body, code, said) in cases {
            let exit = refused(status, body);
            let is = match &exit {
                Exit::Failed(_) => 1,
                Exit::Usage(_) => 2,
                Exit::Unreachable(_) => 3,
            };
            assert_eq!(is, code, "{status}: {exit}");
            assert!(exit.to_string().contains(said), "{status}: {exit}");
        }
    }

    #[test]
    fn what_answers_well_and_is_no_gateway_is_told_as_that() {
        let api = Api::new("http://127.0.0.1:1", Key::of_a_test()).unwrap();
        let answer = |kind: &str| {
            let answer = http::Response::builder().header(CONTENT_TYPE, kind).body("<html>");
            Coming(reqwest::Response::from(answer.unwrap()))
        };
        let told = api.of_a_gateway(answer("text/html")).err().map(|exit| exit.to_string()).unwrap_or_default();
        assert!(told.contains("http://127.0.0.1:1/ is no gateway: it answered 200 OK and no JSON"), "{told}");
        assert!(api.of_a_gateway(answer("application/json; charset=utf-8")).is_ok());
    }

    #[test]
    fn an_id_cannot_become_another_route() {
        let api = Api::new("http://127.0.0.1:1/behind/a/proxy/", Key::of_a_test()).unwrap();
        let url = |id: &str| api.url(&["dlq", id, "retry"], &[]).to_string();
        assert_eq!(url("d1"), "http://127.0.0.1:1/behind/a/proxy/api/v1/dlq/d1/retry");
        assert_eq!(url("a/b?c"), "http://127.0.0.1:1/behind/a/proxy/api/v1/dlq/a%2Fb%3Fc/retry");
    }
}
