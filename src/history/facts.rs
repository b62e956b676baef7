//! What each record tells history: a pure rule from a record to rows.

mod audit;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::rows::{
    About, Attempt, Batch, DeadLetter, EventRow, Fact, Kind, Outcome, Place, Rank, Rejected, Skip, State, Tried,
};
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::event::{EventHeaders, canonical};
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::record::{Headers, Received, header};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::model::trace::trace_id;

/// The steps of one attempt's number and one redrive's. A dead letter says less than the attempt it comes of, and what is put
/// back into `deliveries` comes after both where its record does not say how often that was done.
#[derive(Clone, Copy)]
enum Step {
    Skipped = 0,
    DeadLetter = 1,
    Attempt = 2,
    Queued = 3,
    ExpiredLetter = 4,
    Ended = 5,
}

fn rank((attempts, redrives): (u32, u32), step: Step, offset: Offset) -> Rank {
    Rank { attempts, redrives, step: step as u8, offset: offset.0 }
}

impl Rank {
    /// The attempt, or the end, that a dead letter comes of is a record of the same transaction, and says more.
    pub fn is_of_a_letter(&self) -> bool {
        [Step::DeadLetter as u8, Step::ExpiredLetter as u8].contains(&self.step)
    }
}

impl Batch {
    /// Adds what the record tells.
    pub fn take(&mut self, topic: Topic, received: &Received) {
        *self.records.entry(topic).or_insert(0) += 1;
        let told = match topic {
            Topic::Events => event(received).map(|row| self.events.push(row)),
            Topic::Deliveries => delivery(received).map(|fact| self.facts.learn(fact)),
            Topic::Attempts => self.attempt(received),
            Topic::Dlq => dead_letter(received).map(|(letter, fact)| {
                self.dead.push(letter);
                self.facts.learn(fact);
            }),
            Topic::Rejected => {
                self.rejected.push(rejected(received));
                Some(())
            }
            Topic::Audit => audit::audited(received).map(|row| self.audit.push(row)),
            _ => None,
        };
        self.unreadable += usize::from(told.is_none());
    }

    fn attempt(&mut self, received: &Received) -> Option<()> {
        let told: Told = serde_json::from_slice(received.record.value.as_deref()?).ok()?;
        if told.kind == Kind::Skipped {
            let skip = told.skip(received)?;
            if skip.delivery.is_some() {
                self.facts.learn(told.fact(received)?);
            }
            self.skips.push(skip);
            return Some(());
        }
        let fact = told.fact(received)?;
        self.attempts.push(told.attempt(received)?);
        self.facts.learn(fact);
        Some(())
    }
}

fn place(received: &Received) -> Place {
    Place { partition: received.partition, offset: received.offset }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn event(received: &Received) -> Option<EventRow> {
    let record = canonical(received).ok()?;
    let headers = EventHeaders::of(&record).ok()?;
    Some(EventRow {
        org: headers.org.to_owned(),
        source: headers.source.to_owned(),
        id: headers.id.as_ref().to_owned(),
        event_type: headers.event_type.to_owned(),
        entity_id: owned(headers.entity_id),
        entity_rid: owned(headers.entity_rid),
        correlation_id: owned(headers.correlation_id),
        causation_id: owned(headers.causation_id),
        namespace: owned(headers.namespace),
        dataschema: owned(headers.dataschema),
        trace_id: headers.traceparent.and_then(trace_id).map(|id| id.simple().to_string()),
        time: headers.time,
        at: received.timestamp,
        place: place(received),
        content_type: headers.content_type.to_owned(),
        payload: Some(record.record.value.clone().unwrap_or_default()),
    })
}

fn about(headers: &Headers, id: DeliveryId) -> About {
    let text = |name: &str| owned(headers.text(name));
    let trace = headers.text(header::TRACEPARENT).and_then(trace_id).unwrap_or(id.0);
    About {
        org: text(header::CE_ORGID),
        event_id: text(header::CE_ID),
        source: text(header::CE_SOURCE),
        event_type: text(header::CE_TYPE),
        entity_id: text(header::CE_SUBJECT),
        entity_rid: text(header::CE_ENTITYRID),
        correlation_id: text(header::CE_CORRELATIONID),
        trace_id: Some(trace.simple().to_string()),
        integration_id: text(header::TG_INTEGRATION),
        action: text(header::TG_ACTION),
        trigger: text(header::TG_TRIGGER),
    }
}

/// Attempts made before, and the error that `tg_error` tells: `HTTP_4XX: ...`.
fn before(headers: &Headers) -> (u32, Option<ErrorCategory>, Option<String>) {
    let attempts = headers.text(header::TG_ATTEMPT).and_then(|n| n.parse().ok()).unwrap_or(0);
    let told = headers.text(header::TG_ERROR);
    let split = told.and_then(|text| text.split_once(": "));
    match split.and_then(|(word, text)| Some((from_word(word)?, text))) {
        Some((category, text)) => (attempts, Some(category), Some(text.to_owned())),
        None => (attempts, None, owned(told)),
    }
}

/// How often it was put back: a number that `deliveries` has, and the dead letter after it.
pub fn redrives(headers: &Headers) -> u32 {
    headers.text(header::TG_REDRIVES).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A record of `deliveries`: it waits for its first attempt, or, put back, for its next.
fn delivery(received: &Received) -> Option<Fact> {
    let headers = &received.record.headers;
    let id = DeliveryId::parse(headers.text(header::TG_DELIVERY)?).ok()?;
    let (attempts, category, error) = before(headers);
    let status = if attempts == 0 { DeliveryStatus::Pending } else { DeliveryStatus::Retrying };
    Some(Fact {
        id,
        about: about(headers, id),
        tried: None,
        state: State {
            status,
            category,
            error,
            response_status: None,
            duration_ms: None,
            attempts,
            next_attempt_at: None,
            delivered_at: None,
        },
        at: received.timestamp,
        rank: rank((attempts, redrives(headers)), Step::Queued, received.offset),
    })
}

fn dead_letter(received: &Received) -> Option<(DeadLetter, Fact)> {
    let mut fact = delivery(received)?;
    let headers = &received.record.headers;
    let status = headers.text(header::TG_STATUS).and_then(from_word);
    fact.state.status = status.unwrap_or(DeliveryStatus::Failed);
    let step = match fact.state.category {
        Some(ErrorCategory::Expired) => Step::ExpiredLetter,
        _ => Step::DeadLetter,
    };
    fact.rank.step = step as u8;
    Some((DeadLetter { delivery: fact.id, place: place(received), at: received.timestamp }, fact))
}

fn rejected(received: &Received) -> Rejected {
    let headers = &received.record.headers;
    let text = |name: &str| headers.text(name).unwrap_or_default().to_owned();
    let number = |name: &str| headers.text(name).and_then(|n| n.parse::<i64>().ok()).unwrap_or(-1);
    let own = headers.iter().filter(|(name, _)| !name.starts_with("__connect.errors.") && *name != header::TG_REASON);
    let own: serde_json::Map<String, serde_json::Value> =
        own.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value).into())).collect();
    Rejected {
        place: place(received),
        at: received.timestamp,
        stage: text(header::ERRORS_STAGE),
        reason: text(header::ERRORS_CLASS),
        message: text(header::ERRORS_MESSAGE),
        topic: text(header::ERRORS_TOPIC),
        from: Place {
            partition: Partition(i32::try_from(number(header::ERRORS_PARTITION)).unwrap_or(-1)),
            offset: Offset(number(header::ERRORS_OFFSET)),
        },
        org: owned(headers.text(header::CE_ORGID)),
        event_id: owned(headers.text(header::CE_ID)),
        event_type: owned(headers.text(header::CE_TYPE)),
        headers: serde_json::Value::Object(own).to_string(),
        value: received.record.value.clone(),
    }
}

/// The value of an `attempts` record, whichever stage wrote it. What a later version adds is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    kind: Kind,
    delivery_id: Option<DeliveryId>,
    event_id: Option<String>,
    event_type: Option<String>,
    org_id: Option<String>,
    source: Option<String>,
    entity_id: Option<String>,
    entity_rid: Option<String>,
    correlation_id: Option<String>,
    trace_id: Option<String>,
    integration_id: Option<String>,
    integration_name: Option<String>,
    target_url: Option<String>,
    http_method: Option<String>,
    action: Option<String>,
    trigger: Option<String>,
    #[serde(default)]
    attempt: u32,
    #[serde(default)]
    redrives: u32,
    max_attempts: Option<u32>,
    outcome: Outcome,
    status: DeliveryStatus,
    started_at: Timestamp,
    #[serde(default)]
    duration_ms: f64,
    next_attempt_at: Option<Timestamp>,
    error_category: Option<ErrorCategory>,
    error_message: Option<String>,
    reason: Option<String>,
    response_status: Option<u16>,
    #[serde(borrow)]
    response_headers: Option<&'a RawValue>,
    response_body: Option<String>,
    response_body_encoding: Option<String>,
    response_body_truncated: Option<bool>,
}

impl Told<'_> {
    fn fact(&self, received: &Received) -> Option<Fact> {
        let ended = self.started_at.plus(std::time::Duration::from_secs_f64((self.duration_ms / 1e3).clamp(0.0, 1e6)));
        let step = match self.kind {
            Kind::Skipped => Step::Skipped,
            Kind::Attempt => Step::Attempt,
            Kind::Cancelled | Kind::Expired => Step::Ended,
        };
        let about = About {
            org: self.org_id.clone(),
            event_id: self.event_id.clone(),
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            entity_id: self.entity_id.clone(),
            entity_rid: self.entity_rid.clone(),
            correlation_id: self.correlation_id.clone(),
            trace_id: self.trace_id.clone(),
            integration_id: self.integration_id.clone(),
            action: self.action.clone(),
            trigger: self.trigger.clone(),
        };
        let tried = Tried {
            integration_name: self.integration_name.clone(),
            target_url: self.target_url.clone(),
            http_method: self.http_method.clone(),
            max_attempts: self.max_attempts,
        };
        let state = State {
            status: self.status,
            category: self.error_category,
            error: self.error_message.clone().or_else(|| self.reason.clone()),
            response_status: self.response_status,
            duration_ms: (self.kind == Kind::Attempt).then_some(self.duration_ms),
            attempts: self.attempt,
            next_attempt_at: self.next_attempt_at,
            delivered_at: (self.outcome == Outcome::Delivered).then_some(ended),
        };
        let (id, at) = (self.delivery_id?, received.timestamp);
        let rank = rank((self.attempt, self.redrives), step, received.offset);
        Some(Fact { id, about, tried: Some(tried), state, at, rank })
    }

    fn attempt(self, received: &Received) -> Option<Attempt> {
        Some(Attempt {
            delivery: self.delivery_id?,
            place: place(received),
            at: received.timestamp,
            kind: self.kind,
            attempt: self.attempt,
            outcome: self.outcome,
            status: self.status,
            started_at: self.started_at,
            duration_ms: self.duration_ms,
            next_attempt_at: self.next_attempt_at,
            category: self.error_category,
            error: self.error_message,
            response_status: self.response_status,
            response_headers: self.response_headers.map(|raw| raw.get().to_owned()),
            response_body: self.response_body,
            response_encoding: self.response_body_encoding,
            response_truncated: self.response_body_truncated,
        })
    }

    fn skip(&self, received: &Received) -> Option<Skip> {
        Some(Skip {
            place: place(received),
            at: received.timestamp,
            org: self.org_id.clone()?,
            source: self.source.clone()?,
            event_id: self.event_id.clone()?,
            integration_id: self.integration_id.clone(),
            delivery: self.delivery_id,
            reason: self.reason.clone()?,
        })
    }
}

/// A word of the API as what it names: `ABANDONED`, `HTTP_5XX`.
pub fn from_word<T: serde::de::DeserializeOwned>(word: &str) -> Option<T> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word)).ok()
}

#[cfg(test)]
mod tests;
