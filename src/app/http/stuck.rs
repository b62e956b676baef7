//! Answers that their client does not take: a connection on which nothing moved for too long because of the client ends, whatever
//! the HTTP that it speaks. HTTP/1 stops at the socket, HTTP/2 at the window that the client gives each answer.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Bytes that are waited for as one: a large answer that is taken slowly is not one that is not taken.
const PIECE: usize = 64 * 1_024;

/// What waits for the client of one connection, and since when.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    /// Of the socket.
    socket: Option<Instant>,
    /// Of answers, in the order in which they began: the first waits the longest.
    answers: BTreeMap<u64, Instant>,
    next: u64,
}

impl Waits {
    /// Ends once something has waited so long.
    pub(super) async fn too_long(&self, longest: Duration) {
        loop {
            // What begins to wait meanwhile is seen the next time.
            let until = self.longest().unwrap_or_else(Instant::now) + longest;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn longest(&self) -> Option<Instant> {
        let all = self.all();
        all.socket.into_iter().chain(all.answers.values().next().copied()).min()
    }

    fn begin(&self) -> Wait {
        let mut all = self.all();
        let number = all.next;
        all.next += 1;
        all.answers.insert(number, Instant::now());
        Wait { number, of: self.clone() }
    }

    fn socket(&self, is_stuck: bool) {
        let mut all = self.all();
        match (is_stuck, all.socket) {
            (true, None) => all.socket = Some(Instant::now()),
            (false, Some(_)) => all.socket = None,
            _ => {}
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something waits until this is dropped.
#[derive(Debug)]
struct Wait {
    number: u64,
    of: Waits,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.of.all().answers.remove(&self.number);
    }
}

/// A body that tells when it waits for the client: while nobody asks for its next piece, and while a piece is not sent yet. That
/// its own next piece is not there is no fault of the client's.
pub(super) struct Watched {
    body: Body,
    /// Of its last frame, what was not asked for.
    rest: Bytes,
    waits: Waits,
    unasked: Option<Wait>,
}

impl Watched {
    pub(super) fn body(body: Body, waits: &Waits) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Watched { body, rest: Bytes::new(), waits: waits.clone(), unasked: Some(waits.begin()) })
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.unasked = None;
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = Piece { data: self.rest.split_to(length), _unsent: self.waits.begin() };
        self.unasked = Some(self.waits.begin());
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
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

struct Piece {
    data: Bytes,
    _unsent: Wait,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// A socket that tells when it takes nothing.
pub(super) struct Socket<S> {
    pub stream: S,
    pub waits: Waits,
}

impl<S> Socket<S> {
    fn told<T>(&self, written: Poll<T>) -> Poll<T> {
        self.waits.socket(written.is_pending());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.told(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.told(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_watched_body_says_the_same_in_small_pieces_and_waits_for_nobody_afterwards() {
        let waits = Waits::default();
        for length in [0, 1, PIECE, 3 * PIECE + 7] {
            let whole: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut body = Watched::body(Body::from(whole.clone()), &waits);
            let mut taken = Vec::new();
            while !body.is_end_stream() {
                assert_eq!(body.size_hint().exact(), Some((length - taken.len()) as u64));
                assert!(waits.longest().is_some(), "it is not asked for");
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE);
                taken.extend_from_slice(&piece);
            }
            assert_eq!(taken, whole);
            drop(body);
            assert!(waits.longest().is_none());
        }
    }

    #[tokio::test]
    async fn a_piece_waits_until_it_is_sent_and_a_handler_for_itself_alone() {
        let waits = Waits::default();
        let (more, rest) = tokio::sync::mpsc::channel::<Result<Bytes, io::Error>>(1);
        let rest = futures_util::stream::unfold(rest, |mut rest| async move { Some((rest.recv().await?, rest)) });
        let mut body = Watched::body(Body::from_stream(rest), &waits);
        more.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
        let piece = body.frame().await;
        {
            let mut next = std::pin::pin!(body.frame());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
            assert!(waits.longest().is_some(), "the first piece is not sent");
            drop(piece);
            assert!(waits.longest().is_none(), "only the handler is waited for");
            more.send(Ok(Bytes::from_static(b"second"))).await.unwrap();
            assert!(next.await.is_some());
        }
        assert!(waits.longest().is_some());
    }
}
