//! The HTTP server: every wait on a client has an end, so that neither a slow one nor a silent one keeps the process.

mod crowd;
mod socket;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ipnet::Ipv4Net;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::api::{Peer, Proxies};
use crowd::Crowd;
use socket::Socket;

/// A connection that sends no complete head for so long is closed, between requests too.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// A connection whose client takes nothing of an answer for so long is closed.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// Connections at once; more wait to be taken.
const CONNECTIONS: usize = 4_096;
/// Of one address.
const OF_ADDRESS: usize = CONNECTIONS / 8;
/// Requests under way when the process is asked to end are finished within this time.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);
/// The pause after a connection could not be taken, for want of file descriptors as a rule.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stop`, then finishes what is under way. Trusted proxies, and whoever is on this machine, hold as many connections
/// as they like.
pub(super) async fn serve(
    listener: TcpListener,
    (app, trusted): (Router, Arc<Proxies>),
    stop: CancellationToken,
) -> io::Result<()> {
    let own = [Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).into(), IpAddr::from(Ipv6Addr::LOCALHOST).into()];
    let uncounted = own.into_iter().chain(trusted.0.iter().copied()).collect();
    serve_crowd(listener, (app, Crowd::of(OF_ADDRESS, Proxies(uncounted))), stop).await
}

async fn serve_crowd(
    listener: TcpListener,
    (app, mut crowd): (Router, Crowd),
    stop: CancellationToken,
) -> io::Result<()> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_WITHIN / 2);
    let drain = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener), if connections.len() < CONNECTIONS => accepted,
        };
        // One that is too many is closed, before anything is read of it.
        let Some(place) = crowd.admit(peer.0) else { continue };
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = has_asked.clone();
        let served = app.clone().map_request(move |mut request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer);
            request
        });
        let service = TowerToHyperService::new(served);
        let (builder, watcher, stop) = (builder.clone(), drain.watcher(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            // The server's own time for a head begins once it knows which HTTP it is.
            let mut first = [0];
            let spoken = tokio::select! {
                spoken = timeout(HEAD_WITHIN, stream.peek(&mut first)) => spoken,
                () = stop.cancelled() => return,
            };
            if !matches!(spoken, Ok(Ok(1..))) {
                return;
            }
            let socket = TokioIo::new(Socket::of(stream, TAKEN_WITHIN));
            let connection = builder.serve_connection_with_upgrades(socket, service).into_owned();
            // It may take one byte for the beginning of either HTTP, and wait for the others.
            let never_asks = async {
                tokio::time::sleep(HEAD_WITHIN).await;
                if has_asked.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            };
            let ended = tokio::select! {
                ended = watcher.watch(connection) => ended.map_err(|error| error.to_string()),
                () = never_asks => Err("no request came".to_owned()),
            };
            if let Err(why) = ended {
                tracing::debug!(why, "a connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(DRAIN_WITHIN, drain.shutdown()).await.is_err() {
        tracing::warn!("requests that clients did not finish sending were cut off");
    }
    connections.shutdown().await;
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // An answer is one write: waiting to send it with the next would only delay it.
                let _ = stream.set_nodelay(true);
                return (stream, Peer(address.ip()));
            }
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, advance};

    use super::*;

    type Started = (SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>);

    async fn started(app: Router) -> Started {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, (app, Arc::default()), stop.clone()));
        (address, stop, server)
    }

    /// A connection with a whole request on its way.
    async fn asked(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        client
    }

    /// The same once its answer has begun: connections before it have been taken too.
    async fn answered(address: SocketAddr) -> TcpStream {
        let mut client = asked(address).await;
        client.read_u8().await.unwrap();
        client
    }

    #[tokio::test]
    async fn half_a_request_does_not_keep_the_process() {
        let (address, stop, server) = started(Router::new()).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let _served = answered(address).await;
        tokio::time::pause();
        let began = Instant::now();
        stop.cancel();
        server.await.unwrap().unwrap();
        assert!(began.elapsed() <= DRAIN_WITHIN + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_before_the_end() {
        let (entered, mut is_entered) = tokio::sync::mpsc::channel(1);
        let release = CancellationToken::new();
        let gate = release.clone();
        let answer = move || async move {
            entered.send(()).await.unwrap();
            gate.cancelled().await;
            "done"
        };
        let (address, stop, server) = started(Router::new().route("/", get(answer))).await;
        let mut client = asked(address).await;
        is_entered.recv().await.unwrap();
        stop.cancel();
        release.cancel();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("done"), "{text}");
        server.await.unwrap().unwrap();
    }

    /// An answer without an end, and what is cancelled once nobody is sent it any more.
    fn endless() -> (Router, CancellationToken) {
        let ended = CancellationToken::new();
        let guard = Arc::new(std::sync::Mutex::new(Some(ended.clone().drop_guard())));
        let answer = move || async move {
            let guard = guard.lock().unwrap().take();
            let pieces = futures_util::stream::repeat_with(move || {
                let _ = &guard;
                Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 32 * 1_024]))
            });
            Body::from_stream(pieces)
        };
        (Router::new().route("/", get(answer)), ended)
    }

    /// Time passes at once, and only here: while sockets are waited for it must not run ahead of them.
    async fn pass(time: Duration) {
        tokio::time::pause();
        advance(time).await;
        tokio::time::resume();
    }

    const STEP: Duration = Duration::from_secs(TAKEN_WITHIN.as_secs() / 6);

    #[tokio::test]
    async fn an_answer_that_its_client_does_not_read_is_held_for_a_while_and_not_for_ever() {
        let (app, ended) = endless();
        let (address, stop, server) = started(app).await;
        let _client = answered(address).await;
        let began = Instant::now();
        while !ended.is_cancelled() {
            assert!(began.elapsed() <= TAKEN_WITHIN * 3, "it is held for ever");
            pass(STEP).await;
            // The server has seen that it is later.
            answered(address).await;
        }
        assert!(began.elapsed() >= TAKEN_WITHIN, "{:?}", began.elapsed());
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_takes_a_large_answer_slowly_and_a_handler_that_takes_its_time_are_waited_for() {
        const LARGE: usize = 48 << 20;
        let release = CancellationToken::new();
        let gate = release.clone();
        let answer = move || async move {
            gate.cancelled().await;
            vec![b'x'; LARGE]
        };
        let (address, stop, server) = started(Router::new().route("/", get(answer))).await;
        let mut client = asked(address).await;
        for _ in 0..4 {
            pass(TAKEN_WITHIN).await;
            drop(TcpStream::connect(address).await.unwrap());
        }
        release.cancel();
        let (mut taken, mut piece) = (0, vec![0; 4 << 20]);
        while taken < LARGE {
            let length = piece.len().min(LARGE - taken);
            client.read_exact(&mut piece[..length]).await.expect("it was cut off");
            taken += length;
            pass(STEP).await;
        }
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn connections_of_one_address_beyond_its_share_are_closed_and_the_next_ones_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let crowd = Crowd::of(2, Proxies::default());
        let server = tokio::spawn(serve_crowd(listener, (Router::new(), crowd), stop.clone()));
        let held = [answered(address).await, answered(address).await];
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(matches!(third.read_u8().await, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof));
        drop(held);
        let mut taken = 0;
        while taken == 0 {
            // Until the server has seen that the others are gone.
            let mut next = TcpStream::connect(address).await.unwrap();
            let _ = next.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            taken = next.read_u8().await.map_or(0, usize::from);
        }
        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_without_a_head_is_closed() {
        let (address, stop, server) = started(Router::new()).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nx-slow: ").await.unwrap();
        // Both HTTPs begin so.
        let mut either = TcpStream::connect(address).await.unwrap();
        either.write_all(b"P").await.unwrap();
        let mut almost = TcpStream::connect(address).await.unwrap();
        almost.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let _later = answered(address).await;
        tokio::time::pause();
        advance(HEAD_WITHIN).await;
        tokio::time::resume();
        let mut rest = Vec::new();
        for client in [&mut silent, &mut slow, &mut either, &mut almost] {
            client.read_to_end(&mut rest).await.unwrap();
        }
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
