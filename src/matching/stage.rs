//! The match stage: each event becomes one delivery per integration that hears it, or a record of why it became none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{Counter, counter};

use crate::catalog::{Catalog, Snapshot};
use crate::matching::dedupe::{Seen, Triple};
use crate::matching::indexes::Indexes;
use crate::matching::skipped::{Reason, skipped};
use crate::model::delivery_id::{Part, delivery_id};
use crate::model::event::{EventHeaders, canonical};
use crate::model::ids::{Offset, Partition};
use crate::model::integration::{OutboundIntegration, WhenDisabled};
use crate::model::record::{Headers, Output, Received, Record, header};
use crate::model::rejected::{Rejection, rejected};
use crate::model::topic::Topic;
use crate::stream::log::Log;
use crate::stream::stage::Map;
use crate::telemetry::metrics::{EVENTS_MATCHED, REJECTED};

/// How far back a new owner of a partition looks for events that a producer may repeat.
const MEMORY: Duration = Duration::from_secs(600);

/// How long one wait for the catalog lasts before it is logged and begun again.
const CATALOG_WAIT: Duration = Duration::from_secs(5);

/// The reason in `rejected` for an event of an organization that the catalog does not hold.
pub const UNKNOWN_ORG: &str = "unknown_org";

/// Input `events`; outputs `deliveries`, `attempts` (skips) and `rejected`.
pub struct Match {
    catalog: Arc<Catalog>,
    log: Arc<dyn Log>,
    indexes: Indexes,
    seen: Seen,
    matched: Counter,
}

impl Match {
    pub fn new(catalog: Arc<Catalog>, log: Arc<dyn Log>) -> Match {
        Match { catalog, log, indexes: Indexes::default(), seen: Seen::default(), matched: counter!(EVENTS_MATCHED) }
    }
}

#[async_trait]
impl Map for Match {
    /// Holds events back while the snapshot may be older than they are: an organization that it does not know, or an event
    /// that was accepted with a newer one. Whatever a producer writes into a header, the wait is for what the catalog
    /// holds now, so it ends.
    async fn prepare(&mut self, records: &[Received]) {
        self.catalog.loaded().await;
        let snapshot = self.catalog.snapshot();
        if !records.iter().any(|record| may_be_newer(&snapshot, record)) {
            return;
        }
        while let Err(error) = self.catalog.catch_up(&*self.log, CATALOG_WAIT).await {
            tracing::warn!(%error, "events wait, because the catalog cannot be read to its end");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    fn map(&mut self, received: &Received, out: &mut Vec<Output>) {
        match canonical(received) {
            Ok(event) => self.event(received, &event, out),
            Err(why) => out.push(refused(received, why.reason(), &why.to_string())),
        }
    }

    fn memory(&self) -> Duration {
        MEMORY
    }

    fn recall(&mut self, received: &Received) {
        let Ok(event) = canonical(received) else { return };
        let Ok(headers) = EventHeaders::of(&event) else { return };
        // What came before its organization was rejected, and may be submitted again.
        let snapshot = self.catalog.snapshot();
        let known = snapshot.orgs().get(headers.org).filter(|view| view.organization().is_some());
        if known.is_some_and(|view| view.created_at() <= received.timestamp) {
            self.seen.first(received.partition, triple(&headers), received.timestamp);
        }
    }

    fn forget(&mut self, partition: Partition) {
        self.seen.forget(partition);
    }
}

impl Match {
    fn event(&mut self, received: &Received, event: &Received, out: &mut Vec<Output>) {
        let headers = match EventHeaders::of(event) {
            Ok(headers) => headers,
            Err(why) => return out.push(refused(received, why.reason(), &why.to_string())),
        };
        let snapshot = self.catalog.snapshot();
        let Some(index) = self.indexes.of(&snapshot, headers.org) else {
            let why =
                format!("the organization `{}` does not exist; create it, then submit the event again", headers.org);
            return out.push(refused(received, UNKNOWN_ORG, &why));
        };
        if !self.seen.first(received.partition, triple(&headers), received.timestamp) {
            return out.push(skipped(&headers, received.timestamp, Reason::Duplicate));
        }
        let mut found = Vec::new();
        index.find(headers.event_type, headers.entity_rid, &mut found);
        if found.is_empty() {
            return out.push(skipped(&headers, received.timestamp, Reason::NoMatch));
        }
        self.matched.increment(1);
        let delivery = Delivery::of(event, &headers, snapshot.position());
        for integration in found {
            out.push(if integration.is_active || integration.when_disabled == WhenDisabled::Wait {
                delivery.to(integration)
            } else {
                skipped(&headers, received.timestamp, Reason::Inactive(&integration.id))
            });
        }
    }
}

fn refused(received: &Received, reason: &'static str, message: &str) -> Output {
    counter!(REJECTED, "stage" => "match", "reason" => reason).increment(1);
    rejected(received, Rejection { stage: "match", topic: Topic::Events, reason, message })
}

fn triple<'a>(headers: &'a EventHeaders<'_>) -> Triple<'a> {
    Triple { org: headers.org, source: headers.source, id: &headers.id }
}

/// Could the catalog hold something that this event needs and the snapshot does not have?
fn may_be_newer(snapshot: &Snapshot, record: &Received) -> bool {
    let headers = &record.record.headers;
    let accepted_at = headers.text(header::TG_CATALOG).and_then(|text| text.parse().ok()).map(Offset);
    if accepted_at.is_some_and(|position| position > snapshot.position()) {
        return true;
    }
    let known = |org: &str| snapshot.orgs().get(org).is_some_and(|view| view.organization().is_some());
    match headers.text(header::CE_ORGID) {
        Some(org) => !known(org),
        // In structured mode the organization is in the body.
        None => canonical(record).is_ok_and(|e| e.record.headers.text(header::CE_ORGID).is_some_and(|org| !known(org))),
    }
}

/// What the deliveries of one event share.
struct Delivery<'a> {
    event: &'a EventHeaders<'a>,
    payload: Option<Bytes>,
    headers: Headers,
    catalog: Bytes,
}

impl<'a> Delivery<'a> {
    fn of(received: &Received, event: &'a EventHeaders<'a>, catalog: Offset) -> Delivery<'a> {
        let record = &received.record;
        let mut headers = Headers::with_capacity(record.headers.len() + 1);
        for (name, value) in record.headers.iter().filter(|(name, _)| is_kept(name)) {
            headers.push(name.clone(), value.clone());
        }
        if headers.get(header::CONTENT_TYPE).is_none() {
            headers.push(header::CONTENT_TYPE, Bytes::copy_from_slice(event.content_type.as_bytes()));
        }
        Delivery { event, payload: record.value.clone(), headers, catalog: Bytes::from(catalog.to_string()) }
    }

    fn to(&self, integration: &OutboundIntegration) -> Output {
        let key = Bytes::copy_from_slice(integration.id.as_str().as_bytes());
        let mut headers = Headers::with_capacity(self.headers.len() + 4);
        for (name, value) in self.headers.iter() {
            headers.push(name.clone(), value.clone());
        }
        headers.push(header::TG_DELIVERY, delivery_id(self.event, &integration.id, Part::default()).to_string());
        headers.push(header::TG_INTEGRATION, key.clone());
        headers.push(header::TG_CATALOG, self.catalog.clone());
        headers.push(header::TG_TRIGGER, "EVENT");
        let record = Record { key: Some(key), value: self.payload.clone(), headers };
        Output { topic: Topic::Deliveries, partition: None, record }
    }
}

/// Headers of an event that its deliveries keep: its attributes and its trace. Not the gateway's own, which only the
/// gateway says, and not a producer's private ones.
fn is_kept(name: &str) -> bool {
    name.starts_with("ce_") || matches!(name, header::CONTENT_TYPE | header::TRACEPARENT | header::TRACESTATE)
}

#[cfg(test)]
mod tests;
