//! The HTTP server: every wait on a client has an end, so that neither a slow one nor a silent one keeps the process.

mod crowd;
mod socket;
mod streams;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
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
use streams::{Answer, Streams};

/// A connection that sends no complete head for so long is closed, between requests too. PINGs of HTTP/2 are no requests.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// A connection whose client takes nothing of an answer for so long is closed; of several at once (HTTP/2) such an answer ends.
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
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener), if connections.len() < CONNECTIONS => accepted,
        };
        // One that is too many is closed, before anything is read of it.
        let Some(place) = crowd.admit(peer.0) else { continue };
        let (app, stop) = (app.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            if let Err(why) = connected((stream, peer), app, stop).await {
                tracing::debug!(why, "a connection ended early");
            }
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_WITHIN, all).await.is_err() {
        tracing::warn!("requests that clients did not finish sending were cut off");
    }
    connections.shutdown().await;
    Ok(())
}

/// Serves one connection to its end.
async fn connected((stream, peer): (TcpStream, Peer), app: Router, stop: CancellationToken) -> Result<(), String> {
    // The server's own time for a head begins once it knows which HTTP it is.
    let mut first = [0];
    let spoken = tokio::select! {
        spoken = timeout(HEAD_WITHIN, stream.peek(&mut first)) => spoken,
        () = stop.cancelled() => return Ok(()),
    };
    if !matches!(spoken, Ok(Ok(1..))) {
        return Ok(());
    }
    let has_asked = Arc::new(AtomicBool::new(false));
    let asks = has_asked.clone();
    let served = app.map_request(move |mut request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer);
        request
    });
    let service = TowerToHyperService::new(served.map_response(|answer| answer.map(Answer::body)));
    let streams = Streams::of(TAKEN_WITHIN);
    let mut builder = auto::Builder::new(streams.clone());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_WITHIN / 2);
    let socket = TokioIo::new(Socket::of(stream, TAKEN_WITHIN));
    let mut connection = pin!(builder.serve_connection_with_upgrades(socket, service));
    // It may take one byte for the beginning of either HTTP, and wait for the others.
    let never_asks = async {
        tokio::time::sleep(HEAD_WITHIN).await;
        if has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    const SILENT: &str = "no request came";
    tokio::select! {
        ended = &mut connection => return ended.map_err(|error| error.to_string()),
        () = never_asks => return Err(SILENT.to_owned()),
        () = streams.idle(HEAD_WITHIN) => {}
        () = stop.cancelled() => {}
    }
    // Its client is told, so that no request is lost that is on its way already.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => ended.map_err(|error| error.to_string()),
        () = streams.idle(HEAD_WITHIN) => Err(SILENT.to_owned()),
    }
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
mod tests;
