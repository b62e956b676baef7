//! The answer to a request, of which only the beginning is ever read.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// An answer whose head was received. Dropping it before its body is read to the end closes the connection (HTTP/2: resets
/// the stream); read to the end, the connection serves the next request.
#[derive(Debug)]
pub struct Response {
    inner: reqwest::Response,
}

/// What was read of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// There was more, or the rest did not come in time.
    pub truncated: bool,
}

/// Of a body more than this is never read.
pub const LIMIT: usize = 64 * 1_024;

impl Response {
    pub(super) fn new(inner: reqwest::Response) -> Self {
        Response { inner }
    }

    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The body's first 64 KiB, as far as they come within `wait`.
    pub async fn read(&mut self, wait: Duration) -> Body {
        let mut body = Body::default();
        let complete = self.each_chunk(wait, |chunk| body.bytes.extend_from_slice(chunk)).await;
        body.truncated = !complete || body.bytes.len() > LIMIT;
        body.bytes.truncate(LIMIT);
        body
    }

    /// Reads what is left of a body that nobody wants, so that the connection can be used again; gives up on a large or slow
    /// one.
    pub async fn discard(mut self, wait: Duration) {
        if self.inner.content_length().is_none_or(|length| length <= LIMIT as u64) {
            self.each_chunk(wait, |_| ()).await;
        }
    }

    /// True where the end was reached within the limits.
    async fn each_chunk(&mut self, wait: Duration, mut take: impl FnMut(&[u8])) -> bool {
        if self.inner.content_length() == Some(0) {
            return true;
        }
        let read = async {
            let mut total = 0;
            while let Some(chunk) = self.inner.chunk().await? {
                take(&chunk);
                total += chunk.len();
                if total > LIMIT {
                    return Ok(false);
                }
            }
            Ok::<bool, reqwest::Error>(true)
        };
        matches!(tokio::time::timeout(wait, read).await, Ok(Ok(true)))
    }
}
