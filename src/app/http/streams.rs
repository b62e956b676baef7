//! The requests of one HTTP/2 connection, which share its socket: whether any is under way, and answers that their client gives
//! no window. One of these is cut off alone, for other clients may be behind the same connection.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// Bytes of an answer that are sent and waited for as one.
const PIECE: usize = 8 * 1_024;

tokio::task_local! {
    /// Of the stream whose request is worked on. HTTP/1 has none.
    static STREAM: Arc<Wait>;
}

/// Runs the streams of one connection, and counts them.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// `None` before the first one, and with HTTP/1.
    under_way: watch::Sender<Option<usize>>,
    taken_within: Duration,
}

impl Streams {
    /// A stream ends whose client takes nothing of its answer for `taken_within`.
    pub(super) fn of(taken_within: Duration) -> Streams {
        Streams { under_way: watch::Sender::default(), taken_within }
    }

    /// Ends once there has been none for so long, after there was one.
    pub(super) async fn idle(&self, long: Duration) {
        let mut under_way = self.under_way.subscribe();
        // Neither fails: the sender is here.
        while under_way.wait_for(|count| *count == Some(0)).await.is_ok() {
            if timeout(long, under_way.changed()).await.is_err() {
                return;
            }
        }
    }

    fn count(&self, by: impl FnOnce(usize) -> usize) {
        self.under_way.send_modify(|count| *count = Some(by(count.unwrap_or(0))));
    }
}

/// One of the connection's is under way until this is dropped.
struct UnderWay(Streams);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.count(|count| count.saturating_sub(1));
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.count(|count| count + 1);
        let (wait, taken_within, under_way) = (Arc::new(Wait::default()), self.taken_within, UnderWay(self.clone()));
        TokioExecutor::new().execute(STREAM.scope(wait.clone(), async move {
            let _under_way = under_way;
            wait.watch(stream, taken_within).await;
        }));
    }
}

/// What a stream waits for its client with.
#[derive(Debug, Default)]
struct Wait(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when a piece of the answer is on its way.
    since: Option<Instant>,
    is_late: bool,
    /// Of the answer that waits for it to be sent.
    waker: Option<Waker>,
}

impl Wait {
    async fn watch(&self, stream: impl Future, within: Duration) {
        let mut stream = pin!(stream);
        loop {
            let until = self.state().since.unwrap_or_else(Instant::now) + within;
            if until <= Instant::now() {
                // A piece of which some is sent lies in the connection's buffers, and goes with an answer that fails. One of which
                // nothing is sent lies in the stream, and goes with it.
                self.state().is_late = true;
                let _ = futures_util::poll!(stream);
                tracing::debug!("an answer was cut off: its client takes nothing of it");
                return;
            }
            tokio::select! {
                _ = &mut stream => return,
                () = sleep_until(until) => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer of which the next piece is there once the one before is sent.
pub(super) struct Answer {
    body: Body,
    /// Of its last frame, what was not asked for.
    rest: Bytes,
    wait: Arc<Wait>,
}

impl Answer {
    pub(super) fn body(body: Body) -> Body {
        match STREAM.try_with(Arc::clone) {
            Ok(wait) if !body.is_end_stream() => Body::new(Answer { body, rest: Bytes::new(), wait }),
            _ => body,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = self.wait.state();
        if state.is_late {
            let late = io::Error::new(io::ErrorKind::TimedOut, "its client takes no answer");
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        if state.since.is_some() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        let data = self.rest.split_to(length);
        self.wait.state().since = Some(Instant::now());
        let piece = Piece { data, wait: self.wait.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    /// Not before its last piece is sent: until then the stream is there to be ended.
    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream() && self.wait.state().since.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// It is dropped once the socket has taken it.
struct Piece {
    data: Bytes,
    wait: Arc<Wait>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut state = self.wait.state();
        state.since = None;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }
}
