//! `POST /api/v1/events` and `/events/batch`: events by REST, native or CloudEvents.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;

use crate::ingest::accept::{Ingest, Room, SourceKind};
use crate::ingest::error::IngestError;
use crate::ingest::normalise::{self, Request};
use crate::model::ids::EventId;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

/// What a body may have and take.
#[derive(Clone, Copy)]
struct Limits {
    bytes: usize,
    /// From its first byte to its last.
    patience: Duration,
}

/// Twice the largest payload, for its attributes and its escapes.
const ONE: Limits = Limits { bytes: 2 << 20, patience: Duration::from_secs(30) };

const BATCH: Limits = Limits { bytes: 10 << 20, patience: Duration::from_secs(30) };

/// Bytes that are read and thrown away of a body that was refused, so that a client that is still sending gets to read why.
const MAX_DISCARDED: usize = 16 << 20;

/// The routes, from the root.
pub fn router(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .route("/api/v1/events", post(one))
        .route("/api/v1/events/batch", post(batch))
        .layer(DefaultBodyLimit::disable())
        .with_state(ingest)
}

#[derive(Serialize)]
struct Accepted<'a> {
    id: &'a EventId,
    status: &'static str,
}

#[derive(Serialize)]
struct Batch<'a> {
    accepted: usize,
    failed: usize,
    results: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Accepted { index: usize, id: &'a EventId, status: &'static str },
    Rejected { index: usize, status: &'static str, code: &'static str, error: String, details: &'a [Problem] },
}

impl<'a> Item<'a> {
    fn of((index, answer): (usize, &'a Result<EventId, IngestError>)) -> Self {
        match answer {
            Ok(id) => Item::Accepted { index, id, status: "accepted" },
            Err(why) => Item::Rejected {
                index,
                status: "rejected",
                code: why.code(),
                error: why.to_string(),
                details: why.details(),
            },
        }
    }
}

async fn one(State(ingest): State<Arc<Ingest>>, query: RawQuery, headers: HeaderMap, body: Body) -> Response {
    let accepted = async {
        let (body, room) = receive(&ingest, body, ONE).await?;
        let org = org_id(&query);
        let request = Request { headers: &headers, org: org.as_deref(), now: ingest.now() };
        let event = normalise::one(&request, &body)?;
        ingest.accept_one(SourceKind::Rest, event, room).await
    };
    match accepted.await {
        Ok(id) => (StatusCode::ACCEPTED, axum::Json(Accepted { id: &id, status: "accepted" })).into_response(),
        Err(why) => refusal(&why, ingest.now()),
    }
}

async fn batch(State(ingest): State<Arc<Ingest>>, query: RawQuery, headers: HeaderMap, body: Body) -> Response {
    let answers = async {
        let (body, room) = receive(&ingest, body, BATCH).await?;
        let org = org_id(&query);
        let request = Request { headers: &headers, org: org.as_deref(), now: ingest.now() };
        let events = normalise::batch(&request, &body)?;
        ingest.accept_batch(SourceKind::Rest, events, room).await
    };
    match answers.await {
        Ok(answers) => summary(&answers),
        Err(why) => refusal(&why, ingest.now()),
    }
}

fn summary(answers: &[Result<EventId, IngestError>]) -> Response {
    let accepted = answers.iter().filter(|a| a.is_ok()).count();
    let status = if accepted == 0 { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let results = answers.iter().enumerate().map(Item::of).collect();
    (status, axum::Json(Batch { accepted, failed: answers.len() - accepted, results })).into_response()
}

/// The API's error form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    error: String,
    code: &'static str,
    status_code: u16,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    details: &'a [Problem],
}

fn refusal(why: &IngestError, timestamp: Timestamp) -> Response {
    let status_code = why.status();
    let body = Refusal { error: why.to_string(), code: why.code(), status_code, timestamp, details: why.details() };
    let status = StatusCode::from_u16(status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(after) = why.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
    }
    response
}

/// The organisation that the query names.
fn org_id(RawQuery(query): &RawQuery) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.as_deref()?.as_bytes());
    pairs.into_iter().find(|(name, _)| name == "orgId").map(|(_, value)| value.into_owned())
}

/// The body, and the room that it takes until it is answered.
async fn receive(ingest: &Ingest, body: Body, limits: Limits) -> Result<(Bytes, Room), IngestError> {
    let late = |_| IngestError::invalid("", format!("the body did not come within {} s", limits.patience.as_secs()));
    tokio::time::timeout(limits.patience, collect(ingest, body, limits.bytes)).await.map_err(late)?
}

async fn collect(ingest: &Ingest, mut body: Body, limit: usize) -> Result<(Bytes, Room), IngestError> {
    let mut room = ingest.room();
    // Almost every body is one frame, which is passed on as it is.
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| IngestError::invalid("", "the body ended before it was complete"))?;
        let Ok(data) = frame.into_data() else { continue };
        let taken = first.len().max(rest.len());
        let fits = if taken + data.len() > limit {
            Err(IngestError::TooLarge(format!("the body has more than {limit} bytes")))
        } else {
            room.grow(data.len())
        };
        if let Err(why) = fits {
            drop((room, first, rest));
            discard(body).await;
            return Err(why);
        }
        if taken == 0 {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok((if rest.is_empty() { first } else { rest.freeze() }, room))
}

async fn discard(mut body: Body) {
    let mut discarded = 0;
    while discarded < MAX_DISCARDED {
        let Some(Ok(frame)) = body.frame().await else { return };
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

#[cfg(test)]
mod tests;
