//! A receiver that shows each request and answers 200; under `/flaky` only the third time.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli::output::{printable, say};

/// How much of a body is shown.
const SHOWN: usize = 300;

/// Where each delivery is refused at first.
const FLAKY: &str = "/flaky";
/// So often.
const REFUSALS: u8 = 2;
/// Deliveries that are remembered, so that memory has a bound; one more, and all are refused anew.
const REMEMBERED: usize = 10_000;

/// The receiver that runs: what has arrived, and its task, which ends with it.
pub(super) struct Shown {
    address: SocketAddr,
    arrived: watch::Receiver<u64>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Counter {
    arrived: watch::Sender<u64>,
    /// How often each delivery was refused.
    refused: Mutex<HashMap<String, u8>>,
}

impl Counter {
    fn answer_to(&self, delivery: &str) -> (StatusCode, &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REMEMBERED {
            refused.clear();
        }
        let times = refused.entry(delivery.to_owned()).or_default();
        if *times >= REFUSALS {
            refused.remove(delivery);
            return (StatusCode::OK, "ok");
        }
        *times += 1;
        (StatusCode::SERVICE_UNAVAILABLE, "not yet; it will be sent again")
    }
}

impl Shown {
    /// Starts it, until `stop`.
    pub async fn start(address: &str, stop: CancellationToken) -> Result<Shown, String> {
        let listener = TcpListener::bind(address).await.map_err(|e| {
            format!(
                "cannot listen on {address}: {e}; give the receiver another address, such as --receiver 127.0.0.1:8098"
            )
        })?;
        let address = reached(listener.local_addr().map_err(|e| e.to_string())?);
        let counter = Arc::new(Counter::default());
        let arrived = counter.arrived.subscribe();
        let app = Router::new().fallback(show).with_state(counter);
        let server = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the receiver stopped");
            }
        });
        Ok(Shown { address, arrived, _server: task })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address as a network of one.
    pub fn network(&self) -> String {
        IpNet::from(self.address.ip()).to_string()
    }

    /// Waits for the first request that was answered 200; false if none has come within `wait`.
    pub async fn first(&mut self, wait: Duration) -> bool {
        timeout(wait, self.arrived.wait_for(|n| *n > 0)).await.is_ok_and(|seen| seen.is_ok())
    }
}

/// Where one that listens on this address is reached: on every network it is on the loopback too.
fn reached(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn show(
    State(shown): State<Arc<Counter>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let text = |name: &str| printable(headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("-"));
    let body = String::from_utf8_lossy(&body);
    let cut: String = body.chars().take(SHOWN).collect();
    let more = if cut.len() < body.len() { " ..." } else { "" };
    let cut = printable(&cut);
    let delivery = text("idempotency-key");
    let answer = if uri.path() == FLAKY { shown.answer_to(&delivery) } else { (StatusCode::OK, "ok") };
    let refused =
        if answer.0.is_success() { String::new() } else { format!("  -> {}: {}", answer.0.as_u16(), answer.1) };
    let (event_type, event) = (text("ce-type"), text("ce-id"));
    say(&format!("  <- {method} {uri}  {event_type}  event {event}  delivery {delivery}{refused}\n     {cut}{more}"));
    if answer.0.is_success() {
        shown.arrived.send_modify(|n| *n += 1);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_on_every_network_is_named_by_an_address_that_can_be_sent_to() {
        for (bound, reachable) in [
            ("0.0.0.0:8099", "127.0.0.1:8099"),
            ("[::]:8099", "[::1]:8099"),
            ("10.1.2.3:8099", "10.1.2.3:8099"),
            ("127.0.0.1:8099", "127.0.0.1:8099"),
        ] {
            assert_eq!(reached(bound.parse().unwrap()).to_string(), reachable);
        }
    }
}
