//! A socket whose client takes what it is sent: one that takes nothing for too long is closed, as a slow one is not.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

pub(super) struct Socket<S> {
    stream: S,
    within: Duration,
    /// While nothing is taken.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Socket<S> {
    /// A write of which nothing is taken for `within` fails.
    pub(super) fn of(stream: S, within: Duration) -> Socket<S> {
        Socket { stream, within, until: None }
    }

    fn taken<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(self.within)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "its client takes no answer")))
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
        self.taken(cx, written)
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
        self.taken(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, advance};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_let_go_and_one_that_takes_a_little_now_and_then_is_not() {
        let (server, mut client) = duplex(8);
        let mut socket = Socket::of(server, WITHIN);
        let began = Instant::now();
        let sent = tokio::spawn(async move { (socket.write_all(&[7; 64]).await, socket) });
        for _ in 0..7 {
            advance(WITHIN - Duration::from_secs(1)).await;
            client.read_exact(&mut [0; 8]).await.unwrap();
        }
        let (written, mut socket) = sent.await.unwrap();
        written.unwrap();
        assert!(began.elapsed() > WITHIN * 6);
        // The last eight bytes lie there: nothing more fits.
        let began = Instant::now();
        let refused = socket.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!((refused.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, WITHIN.as_secs()));
    }
}
