//! Whether a caller may still do what they came for once their body is there: it may have taken minutes, and they may have been
//! put out meanwhile.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use tokio::time::Instant;

use crate::api::door::access::Principal;
use crate::api::door::caller::{API_KEY, Credentials};
use crate::api::error::{ApiError, Code};

/// Of a body that is there sooner its caller might have been faster still.
const SOON: Duration = Duration::from_secs(1);

/// Why the caller is trusted no more; set before the handler has seen the end of the body.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Arc<Mutex<Option<ApiError>>>);

impl Lost {
    /// Has an eye on the body of the request, if it has one.
    pub(super) fn watching(request: Request, was: &Principal) -> (Request, Lost) {
        let lost = Lost::default();
        let Some(credentials) = request.extensions().get::<Credentials>().cloned() else { return (request, lost) };
        if request.body().is_end_stream() {
            return (request, lost);
        }
        let mut headers = HeaderMap::new();
        for name in [header::HeaderName::from_static(API_KEY), header::AUTHORIZATION] {
            if let Some(value) = request.headers().get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let (parts, body) = request.into_parts();
        let trust = Trust { credentials, headers, was: was.clone() };
        let body = Watched { body, since: Instant::now(), trust, lost: lost.clone() };
        (Request::from_parts(parts, Body::new(body)), lost)
    }

    pub(super) fn take(&self) -> Option<ApiError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Who it was, and by what.
struct Trust {
    credentials: Credentials,
    headers: HeaderMap,
    was: Principal,
}

impl Trust {
    fn check(&self) -> Result<(), ApiError> {
        match self.credentials.principal(&self.headers)? == self.was {
            true => Ok(()),
            false => Err(ApiError::new(
                Code::Forbidden,
                "what this credential may do has changed since the request began; send it again",
            )),
        }
    }
}

/// A body that ends in an error, instead of well, where its caller was put out while it came.
struct Watched {
    body: Body,
    since: Instant,
    trust: Trust,
    lost: Lost,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Whoever reads by the length asks for nothing behind the last piece.
        let is_last = frame.is_none() || self.body.is_end_stream();
        if is_last
            && self.since.elapsed() >= SOON
            && let Err(why) = self.trust.check()
        {
            *self.lost.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            return Poll::Ready(Some(Err(axum::Error::new("the caller was put out"))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
