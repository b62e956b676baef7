//! The server under the receiver: HTTP/1.1 on hyper, with a socket that can be reset.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate::model::time::{Clock as _, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::log::{Seen, hash};
use super::{Answer, Shared, Then};

type Body = BoxBody<Bytes, Infallible>;

/// The request is not answered: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("told to end the connection")]
struct Ended;

pub async fn listen(tasks: &mut JoinSet<()>, shared: Arc<Shared>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
    let address = listener.local_addr().expect("a bound socket has an address");
    tasks.spawn(accept(listener, shared));
    address
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let reset = Arc::new(AtomicBool::new(false));
    let socket = Socket { stream, reset: Arc::clone(&reset) };
    let service = service_fn(move |request| answer(request, Arc::clone(&shared), Arc::clone(&reset)));
    // A client that goes away in the middle is part of many tests.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    reset: Arc<AtomicBool>,
) -> Result<Response<Body>, Ended> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Ended)?.to_bytes();
    let text =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_string();
    let answer = shared.next(head.uri.path());
    let seen = Seen {
        at: SystemClock.now(),
        path: head.uri.path().to_string(),
        delivery: text("idempotency-key"),
        event: text("ce-id"),
        method: head.method,
        headers: head.headers,
        body_hash: hash(&body),
        body_bytes: body.len(),
        then: answer.then,
        answered: None,
    };
    let mut number = 0;
    shared.log.send_modify(|log| number = log.arrived(seen));
    if !answer.after.is_zero() {
        // Nothing ever comes: this is the delay, and it ends with the connection.
        let _ = tokio::time::timeout(answer.after, std::future::pending::<()>()).await;
    }
    let body = match answer.then {
        Then::Hang => return std::future::pending().await,
        Then::Reset => {
            reset.store(true, Ordering::SeqCst);
            return Err(Ended);
        }
        Then::Endless => endless(),
        Then::Status(status) => Full::new(Bytes::from(format!("status {status}\n"))).boxed(),
    };
    shared.log.send_modify(|log| log.answered(number, SystemClock.now()));
    Ok(respond(&answer, body))
}

fn respond(answer: &Answer, body: Body) -> Response<Body> {
    let status = match answer.then {
        Then::Status(status) => status,
        Then::Hang | Then::Reset | Then::Endless => 200,
    };
    let mut response = Response::builder().status(status);
    if let Some(value) = &answer.retry_after {
        response = response.header("retry-after", value);
    }
    response.body(body).expect("a test gives a valid status and header")
}

fn endless() -> Body {
    let chunk = Bytes::from(vec![b'x'; 16 << 10]);
    StreamBody::new(stream::repeat_with(move || Ok(Frame::data(chunk.clone())))).boxed()
}

/// A connection that is reset when it is dropped, if it was told so: no linger, so the system sends RST in place of FIN.
struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// A shutdown would send FIN before the reset.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
