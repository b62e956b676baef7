//! `POST /api/v1/events` and `/events/batch`: events by REST, native or CloudEvents.

pub(super) mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::door::{Access, Answer, Door, Param, answered, form, post as route};
use crate::api::error::{ApiError, Code};
use crate::api::limits::Meter;
use crate::api::params::Params;
use crate::api::spec::has;
use crate::ingest::accept::{Ingest, Room, SourceKind};
use crate::ingest::error::IngestError;
use crate::ingest::normalise::{self, MAX_BATCH, Request};
use crate::model::ids::{EventId, OrgId};
use crate::model::problem::Problem;
use schema::{cloud_example, example};

const CLOUD_EVENT: &str = "application/cloudevents+json";
const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";

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

/// The routes of the role `ingest`.
pub fn routes(door: &mut Door, ingest: &Arc<Ingest>) {
    let org = || Param::org("The organization that the events are of; else each says so itself.");
    let single = route("/api/v1/events", Access::Publish)
        .says("Events", "Takes one event, native or a CloudEvent; 202 once it is durable.")
        .params([org()])
        .body(form("NewEvent"))
        .example(example())
        .or_body(CLOUD_EVENT, form("CloudEvent"), cloud_example())
        .answers(Answer::json(202, "It is durable.", form("Accepted")));
    door.add(single, one, Arc::clone(ingest));
    let many = route("/api/v1/events/batch", Access::Publish)
        .says("Events", "Takes up to 1,000 events, answered one by one. It counts as many as it holds: 429 where those are too many, and then none of \
             them was taken.")
        .params([org()])
        .body(json!({"oneOf": [batch_of("NewEvent"), form("NewBatch")]}))
        .example(json!({"events": [example(), example()]}))
        .or_body(CLOUD_EVENTS, batch_of("CloudEvent"), json!([cloud_example()]))
        .answers(Answer::json(202, "Those that are accepted are durable.", form("Batch")))
        .answers(Answer::json(400, "None was accepted.", json!({"anyOf": [form("Batch"), form("Error")]})));
    door.add(many, batch, Arc::clone(ingest));
}

fn batch_of(name: &str) -> Value {
    json!({"type": "array", "items": form(name), "minItems": 1, "maxItems": MAX_BATCH})
}

pub(super) fn schemas(all: &mut SchemaGenerator) {
    has::<Accepted>(all);
    has::<Batch>(all);
}

/// An event that is durable.
#[derive(Serialize, JsonSchema)]
struct Accepted<'a> {
    /// Its id.
    #[schemars(with = "String")]
    id: &'a EventId,
    /// `accepted`
    status: &'static str,
}

/// What became of each event of a batch.
#[derive(Serialize, JsonSchema)]
struct Batch<'a> {
    /// How many are durable.
    accepted: usize,
    /// How many are not.
    failed: usize,
    /// Each, by its place.
    results: Vec<Item<'a>>,
}

/// What became of one event.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Item<'a> {
    /// It is durable.
    Accepted {
        /// Its place, from 0.
        index: usize,
        /// Its id.
        #[schemars(with = "String")]
        id: &'a EventId,
        /// `accepted`
        status: &'static str,
    },
    /// It is not.
    Rejected {
        /// Its place, from 0.
        index: usize,
        /// `rejected`
        status: &'static str,
        /// What is wrong, for programs.
        code: Code,
        /// What is wrong, for people.
        error: String,
        /// Each thing that is wrong.
        details: Vec<Problem>,
    },
}

impl<'a> Item<'a> {
    fn of((index, answer): (usize, &'a Result<EventId, IngestError>)) -> Self {
        match answer {
            Ok(id) => Item::Accepted { index, id, status: "accepted" },
            Err(why) => {
                let ApiError { code, message: error, details, .. } = why.clone().into();
                Item::Rejected { index, status: "rejected", code, error, details }
            }
        }
    }
}

async fn one(
    State(ingest): State<Arc<Ingest>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let org = org_id(params)?;
    let (body, room) = receive(&ingest, body, ONE).await?;
    let event = normalise::one(&request(&ingest, &headers, org.as_ref()), &body)?;
    let id = ingest.accept_one(SourceKind::Rest, event, room).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { id: &id, status: "accepted" })).into_response())
}

async fn batch(
    State(ingest): State<Arc<Ingest>>,
    (params, meter): (Params, Meter),
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let org = org_id(params)?;
    let (body, room) = receive(&ingest, body, BATCH).await?;
    let events = normalise::batch(&request(&ingest, &headers, org.as_ref()), &body)?;
    // Before anything is accepted: a batch that is refused can be sent again as it is.
    let standing = meter.count_more(events.len().saturating_sub(1));
    if let Some(Err(refused)) = standing.map(|standing| standing.check("events of this organization")) {
        return Ok(answered(refused.into_response(), standing));
    }
    let answers = ingest.accept_batch(SourceKind::Rest, events, room).await?;
    let accepted = answers.iter().filter(|a| a.is_ok()).count();
    let status = if accepted == 0 { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let results = answers.iter().enumerate().map(Item::of).collect();
    let answer = (status, Json(Batch { accepted, failed: answers.len() - accepted, results })).into_response();
    Ok(answered(answer, standing))
}

/// The organization that the query names, where it names one.
fn org_id(mut params: Params) -> Result<Option<OrgId>, ApiError> {
    let org = params.org();
    params.finish()?;
    Ok(org)
}

fn request<'a>(ingest: &Ingest, headers: &'a HeaderMap, org: Option<&'a OrgId>) -> Request<'a> {
    Request { headers, org: org.map(OrgId::as_str), now: ingest.now() }
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
