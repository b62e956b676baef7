//! Events by REST over raw connections that are kept alive: a client so cheap that the figure is the gateway's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::sample::{self, Kind, ORG};

/// Connections at once, each with one request under way.
const CONNECTIONS: u64 = 64;

/// How publishing is measured.
#[derive(Clone, Debug)]
pub struct Publishing {
    pub address: SocketAddr,
    pub key: String,
    /// Events in one request: 1, or a batch.
    pub batch: u64,
    pub warm_up: Duration,
    pub span: Duration,
    /// Above every number used so far, so that each id is new.
    pub first_number: u64,
    /// Who hears the events.
    pub kind: Kind,
}

impl Publishing {
    /// Has these events accepted, in batches of 100 one after the other.
    pub async fn fill(&self, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.address).await.context("the gateway does not answer")?;
        let mut answer = Vec::with_capacity(64 << 10);
        for first in numbers.clone().step_by(100) {
            let batch = (numbers.end - first).min(100);
            stream.write_all(&request(&Publishing { batch, ..self.clone() }, first)).await?;
            let body = read_answer(&mut stream, &mut answer).await?;
            ensure!(batch == 1 || all_accepted(body, batch), "not all of a batch was accepted: {}", shown(body));
        }
        Ok(())
    }
}

/// Events accepted a second. Heard by nobody, it is publishing alone that is measured.
pub async fn publish(how: Publishing) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("bench-rest".into());
    let (mut done, result) = tokio::sync::oneshot::channel();
    let thread = thread.spawn(move || {
        let load = async {
            tokio::select! {
                accepted = all(how) => Some(accepted),
                () = done.closed() => None,
            }
        };
        if let Some(accepted) = runtime.block_on(load) {
            // Nobody waits for it any more only when the bench was interrupted.
            let _ = done.send(accepted);
        }
    })?;
    let accepted = result.await.context("the REST load ended without a result")?;
    ensure!(thread.join().is_ok(), "the REST load panicked");
    accepted
}

async fn all(how: Publishing) -> anyhow::Result<f64> {
    let from = Instant::now() + how.warm_up;
    let (how, mut clients) = (Arc::new(how), tokio::task::JoinSet::new());
    for n in 0..CONNECTIONS {
        clients.spawn(connection(Arc::clone(&how), n, from));
    }
    let mut accepted = 0;
    while let Some(client) = clients.join_next().await {
        accepted += client.context("a REST client panicked")??;
    }
    Ok(accepted as f64 / how.span.as_secs_f64())
}

/// One request after the other; the number of events accepted between `from` and the end of the span.
async fn connection(how: Arc<Publishing>, client: u64, from: Instant) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(how.address).await.context("the gateway does not answer")?;
    stream.set_nodelay(true)?;
    let (mut accepted, mut round, mut answer) = (0, 0, Vec::with_capacity(64 << 10));
    let until = from + how.span;
    loop {
        let first = how.first_number + (round * CONNECTIONS + client) * how.batch;
        round += 1;
        stream.write_all(&request(&how, first)).await?;
        let body = read_answer(&mut stream, &mut answer).await?;
        ensure!(how.batch == 1 || all_accepted(body, how.batch), "not all of a batch was accepted: {}", shown(body));
        let now = Instant::now();
        if now >= until {
            return Ok(accepted);
        }
        if now >= from {
            accepted += how.batch;
        }
    }
}

fn request(how: &Publishing, first: u64) -> Vec<u8> {
    let now = Instant::now();
    let event = |number: u64| {
        let payload = String::from_utf8(sample::payload(number, now)).unwrap_or_default();
        let event_type = how.kind.event_type(number);
        format!(
            r#"{{"id":"{number}","eventType":"{event_type}","entityId":"Patient/{}","payload":{payload}}}"#,
            number % 1_000
        )
    };
    let (path, body) = match how.batch {
        1 => ("events", event(first)),
        n => {
            let events: Vec<String> = (first..first + n).map(event).collect();
            ("events/batch", format!(r#"{{"events":[{}]}}"#, events.join(",")))
        }
    };
    let head = format!(
        "POST /api/v1/{path}?orgId={ORG} HTTP/1.1\r\nhost: {}\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        how.address,
        how.key,
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

/// Reads one answer of status 202 and gives its body.
async fn read_answer<'a>(stream: &mut TcpStream, answer: &'a mut Vec<u8>) -> anyhow::Result<&'a [u8]> {
    answer.clear();
    loop {
        ensure!(stream.read_buf(answer).await? > 0, "the gateway hung up");
        let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let length = content_length(answer.get(..head).unwrap_or_default())?;
        if answer.len() >= head + 4 + length {
            if !answer.starts_with(b"HTTP/1.1 202") {
                bail!("an event was not accepted: {}", shown(answer));
            }
            return Ok(answer.get(head + 4..head + 4 + length).unwrap_or_default());
        }
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let text = std::str::from_utf8(head).context("the answer's head is not text")?;
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    value.context("the answer has no content-length")
}

fn all_accepted(body: &[u8], batch: u64) -> bool {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    json.is_some_and(|j| j.get("accepted").and_then(serde_json::Value::as_u64) == Some(batch))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..300).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_api_takes() {
        sample::start_clock();
        let how = Publishing {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            key: "k".into(),
            batch: 3,
            warm_up: Duration::ZERO,
            span: Duration::ZERO,
            first_number: 0,
            kind: Kind::Unheard,
        };
        for batch in [1, 3] {
            let bytes = request(&Publishing { batch, ..how.clone() }, 7);
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(content_length(head.as_bytes()).unwrap(), body.len());
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            let first = if batch == 1 { &json } else { &json["events"][0] };
            assert_eq!((first["id"].as_str(), first["payload"]["n"].as_str()), (Some("7"), Some("0000000007")));
        }
    }
}
