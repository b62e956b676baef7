//! A receiver that answers 200 and shows each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How much of a body is shown.
const SHOWN: usize = 300;

struct Shown {
    count: AtomicU64,
    arrived: watch::Sender<u64>,
}

/// Starts it; it ends with `stop`. Gives its base URL and how many requests have arrived so far.
pub(super) async fn start(address: &str, stop: CancellationToken) -> Result<(String, watch::Receiver<u64>), String> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|e| format!("cannot listen on {address}: {e}; give the receiver another address with --receiver"))?;
    let local: SocketAddr = listener.local_addr().map_err(|e| e.to_string())?;
    let (arrived, seen) = watch::channel(0);
    let state = Arc::new(Shown { count: AtomicU64::new(0), arrived });
    let app = Router::new().fallback(show).with_state(state);
    let server = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
    // Ends with `stop`; what it could fail with has no one to tell but the screen.
    tokio::spawn(async move {
        if let Err(error) = server.await {
            eprintln!("tidegate: the receiver stopped: {error}");
        }
    });
    Ok((format!("http://{local}"), seen))
}

async fn show(
    State(shown): State<Arc<Shown>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> &'static str {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("-").to_owned();
    let body = String::from_utf8_lossy(&body);
    let cut: String = body.chars().take(SHOWN).collect();
    let more = if cut.len() < body.len() { " ..." } else { "" };
    println!("  <- {method} {uri}  {}  event {}  delivery {}", text("ce-type"), text("ce-id"), text("idempotency-key"));
    println!("     {cut}{more}");
    let count = shown.count.fetch_add(1, Ordering::Relaxed) + 1;
    shown.arrived.send_replace(count);
    "ok"
}
