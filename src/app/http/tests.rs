mod http2;

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
