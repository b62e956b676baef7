//! How many applies there are at once: each holds what it was asked for and its plan, which may be hundreds of megabytes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::ask::{LULL, MOST_BYTES, WITHIN};
use crate::api::error::{ApiError, Code};

/// In one process.
const AT_ONCE: usize = 2;
/// For one of them to end: longer than one that stalls is waited for.
const PATIENCE: Duration = LULL.saturating_add(Duration::from_secs(5));
/// After which it is worth trying again.
const AGAIN: u32 = 10;

#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// A turn is over once what holds memory for it is gone: the plan, and the answer that is made of it.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

impl Default for Turns {
    fn default() -> Self {
        Turns(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Waits for one, before anything is read of the body.
    ///
    /// # Errors
    /// 503 where none comes within 15 s. The body was read to its end, and nothing of it kept: a client that is still sending
    /// hears no answer.
    pub(super) async fn take(&self, request: Request) -> Result<(Request, Turn), ApiError> {
        // It is never closed.
        if let Ok(Ok(turn)) = timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await {
            return Ok((request, Arc::new(turn)));
        }
        let (mut body, mut bytes) = (request.into_body().into_data_stream(), 0);
        let discarded = async {
            while let Some(Ok(piece)) = body.next().await {
                bytes += piece.len();
                if bytes > MOST_BYTES {
                    return;
                }
            }
        };
        // Late or not, the answer is the same.
        let _ = timeout(WITHIN, discarded).await;
        let message = format!("{AT_ONCE} others are applied here, and none of them has ended; try again in a moment");
        Err(ApiError { retry_after: Some(AGAIN), ..ApiError::new(Code::ServiceUnavailable, message) })
    }
}
