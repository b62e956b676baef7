//! Receivers on loopback that answer well or badly, and the records and integrations to try them with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::lock;
use crate::model::ids::{IntegrationId, Offset, OrgId, Partition};
use crate::model::integration::{OutboundIntegration, Scope, WhenDisabled};
use crate::model::pattern::EventPattern;
use crate::model::record::{Received, Record};
use crate::model::retry::RetryPolicy;
use crate::model::time::Timestamp;

/// What a receiver does once it has read a request.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// Writes this before anything is asked of it.
    Greets(&'static str),
    /// Writes this and keeps the connection.
    Answers(&'static str),
    /// Writes this and is silent from then on.
    Stops(&'static str),
    Resets,
    /// Writes the first text once, the second for as long as anybody reads.
    Endless(&'static str, &'static str),
    /// Writes the first text, the second once `go` is notified, and keeps the connection.
    Halves(&'static str, &'static str),
}

pub const OK: Does = Does::Answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

/// A receiver; it ends when it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<String>>>,
    pub go: Arc<Notify>,
    /// Hears of each connection that the client gave up, and how often its endless text was written.
    pub closed: mpsc::Receiver<usize>,
    _serving: tokio::task::JoinSet<()>,
}

impl Receiver {
    pub async fn that(does: Does) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (told, closed) = mpsc::channel(1_000);
        let (count, seen, go) = (connections.clone(), requests.clone(), Arc::new(Notify::new()));
        let gone = go.clone();
        let mut accepting = tokio::task::JoinSet::new();
        accepting.spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (seen, told, go) = (seen.clone(), told.clone(), gone.clone());
                serving.spawn(async move {
                    let written = serve(stream, does, &seen, &go).await;
                    let _ = told.send(written).await;
                });
            }
        });
        Receiver { address, connections, requests, go, closed, _serving: accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?a=1", self.address)
    }

    /// The only request that came: its head and body as they were sent.
    pub fn request(&self) -> String {
        let requests = lock(&self.requests);
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

async fn serve(mut stream: TcpStream, does: Does, seen: &Mutex<Vec<String>>, go: &Notify) -> usize {
    if let Does::Greets(text) = does {
        stream.write_all(text.as_bytes()).await.unwrap();
    }
    let mut read = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut read).await {
        lock(seen).push(request);
        match does {
            Does::Greets(_) => {}
            Does::Answers(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Does::Halves(first, second) => {
                stream.write_all(first.as_bytes()).await.unwrap();
                go.notified().await;
                if stream.write_all(second.as_bytes()).await.is_err() {
                    return 0;
                }
            }
            Does::Stops(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                // Until the client closes.
                let _ = stream.read(&mut [0; 16]).await;
                return 0;
            }
            Does::Resets => {
                stream.set_zero_linger().unwrap();
                return 0;
            }
            Does::Endless(first, again) => {
                stream.write_all(first.as_bytes()).await.unwrap();
                let mut written = 0;
                while stream.write_all(again.as_bytes()).await.is_ok() {
                    written += 1;
                }
                return written;
            }
        }
    }
    0
}

async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = |line: &str| line.strip_prefix("content-length: ").and_then(|l| l.parse::<usize>().ok());
            let end = head + 4 + text.lines().find_map(length).unwrap_or(0);
            if read.len() >= end {
                read.drain(..end);
                return Some(text[..end].to_owned());
            }
        }
        let mut more = [0; 8_192];
        match stream.read(&mut more).await {
            Ok(n) if n > 0 => read.extend_from_slice(&more[..n]),
            _ => return None,
        }
    }
}

pub const DELIVERY: &str = "0197a0b2-3c4d-8e5f-8a6b-7c8d9e0f1a2b";
pub const NOW: Timestamp = Timestamp(1_790_000_000_000);

pub fn integration(target: &str) -> OutboundIntegration {
    OutboundIntegration {
        id: IntegrationId::parse("bills").unwrap(),
        org_id: OrgId::parse("648").unwrap(),
        name: "Bills".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        event_types: vec![EventPattern::parse("bill.*").unwrap()],
        org_unit: None,
        scope: Scope::default(),
        excluded_entity_rids: Vec::new(),
        is_active: true,
        when_disabled: WhenDisabled::default(),
        target_url: target.parse().unwrap(),
        method: http::Method::POST,
        timeout: Duration::from_secs(20),
        headers: Vec::new(),
        event_headers: true,
        retry: RetryPolicy { jitter: 0.0, ..RetryPolicy::default() },
        delivery_ttl: Duration::from_secs(168 * 3_600),
        max_in_flight: 64,
        version: 1,
    }
}

/// A delivery as the match stage writes it.
pub fn delivery() -> Received {
    let mut record = Record { key: Some("bills".into()), value: Some(r#"{"amount":101}"#.into()), ..Record::default() };
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e-1"),
        ("ce_type", "bill.created"),
        ("ce_source", "/his"),
        ("ce_time", "2026-09-21T14:13:19.000Z"),
        ("ce_subject", "Patient/7 é"),
        ("ce_orgid", "648"),
        ("ce_correlationid", "c 1"),
        ("content-type", "application/json"),
        ("tg_delivery", DELIVERY),
        ("tg_integration", "bills"),
        ("tg_catalog", "40"),
        ("tg_trigger", "EVENT"),
    ];
    for (name, value) in headers {
        record.headers.push(name, value);
    }
    Received { partition: Partition(3), offset: Offset(17), timestamp: NOW, record }
}
