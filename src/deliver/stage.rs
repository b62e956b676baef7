//! The deliver stage.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::StatusCode;
use http::header::RETRY_AFTER;
use rustc_hash::FxHashMap;

use super::attempts::{Account, Answered, Failure, Kind, Told};
use super::decide::{Answer, Made, RetryAfter, Verdict, decide};
use super::delivery::{Delivery, NotADelivery};
use super::egress::{Egress, EgressAllow, EgressError, Response, SendError};
use super::lock;
use super::metrics::DeliverMetrics;
use super::prepared::{Cache, Prepared};
use super::request;
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::{IntegrationId, Offset};
use crate::model::integration::OutboundIntegration;
use crate::model::record::{Output, Received, header};
use crate::model::rejected::{Rejection, rejected};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::stage::{Admission, Attempted, Ending, Job, Outcome, Standing, Work};

/// The integrations as this process knows them.
pub trait Integrations: Send + Sync + 'static {
    fn get(&self, id: &IntegrationId) -> Option<Arc<OutboundIntegration>>;

    /// Is there a record of it that this process cannot read? Then its absence does not mean that it was deleted.
    fn is_unreadable(&self, id: &IntegrationId) -> bool;

    /// How far the catalog was read: comparable with the `tg_catalog` header.
    fn position(&self) -> Offset;
}

#[derive(Clone, Debug)]
pub struct DeliverConfig {
    pub allow: EgressAllow,
    /// No delivery waits longer, whatever its integration says: the retention of `deliveries` less one day.
    pub longest_wait: Duration,
}

/// Delivers: builds the request, sends it, decides, tells.
pub struct Deliver {
    integrations: Arc<dyn Integrations>,
    clock: Arc<dyn Clock>,
    egress: Egress,
    prepared: Cache,
    awaited: Mutex<Awaited>,
    longest_wait: Duration,
    metrics: DeliverMetrics,
}

/// For how long the rest of a successful answer is awaited, to use its connection again.
const DISCARD_WAIT: Duration = Duration::from_secs(1);
/// For how long an attempt waits for an integration that went missing after it was said to stand.
const MISSING_WAIT: Duration = Duration::from_secs(1);

impl Deliver {
    /// Made after the metrics recorder is installed, and started once the catalog was read to its end.
    pub fn new(
        integrations: Arc<dyn Integrations>,
        clock: Arc<dyn Clock>,
        config: DeliverConfig,
    ) -> Result<Deliver, EgressError> {
        Ok(Deliver {
            integrations,
            clock,
            egress: Egress::new(config.allow)?,
            prepared: Cache::default(),
            awaited: Mutex::default(),
            longest_wait: config.longest_wait,
            metrics: DeliverMetrics::default(),
        })
    }

    async fn deliver(&self, job: Job<'_>, delivery: &Delivery<'_>, prepared: &Prepared) -> Attempted {
        let at = self.clock.now();
        let started = Instant::now();
        let sent = self.send(delivery, prepared).await;
        let took = started.elapsed();
        let now = self.clock.now();
        let (answer, error) = match &sent {
            Ok(response) => (read_answer(response), None),
            Err(error) => (Answer::None(error.category()), Some(error)),
        };
        let integration = &*prepared.integration;
        let made = Made { policy: &integration.retry, attempt: job.attempt, now, jitter: fastrand::f64() };
        let verdict = decide(made, answer);
        let failure = failure_of(verdict, answer, error);
        let answered = match sent {
            Ok(response) => Some(finish(response, verdict, integration.timeout.saturating_sub(took)).await),
            Err(_) => None,
        };
        let (told, status, next_attempt_at) = match verdict {
            Verdict::Delivered => (Told::Delivered, DeliveryStatus::Success, None),
            Verdict::Retry { due, .. } => (Told::Retry, DeliveryStatus::Retrying, Some(due)),
            Verdict::Dead { status, .. } => (Told::Dead, status, None),
        };
        let account = Account {
            delivery,
            integration: Some(integration),
            kind: Kind::Attempt,
            told,
            status,
            attempt: delivery.earlier_attempts.saturating_add(job.attempt),
            at,
            took,
            next_attempt_at,
            failure: failure.as_ref(),
            answer: answered.as_ref(),
        };
        self.count(&account, verdict, now);
        log(&account);
        let mut outputs = vec![account.record()];
        if told == Told::Dead {
            outputs.push(account.dead_letter(Some(job.first_at.unwrap_or(at))));
        }
        Attempted { outcome: outcome(verdict, &account), outputs }
    }

    async fn send(&self, delivery: &Delivery<'_>, prepared: &Prepared) -> Result<Response, SendError> {
        let wire = prepared.route.clone()?;
        self.egress.send(wire, || request::build(prepared, delivery), prepared.integration.timeout).await
    }

    fn count(&self, account: &Account<'_>, verdict: Verdict, now: Timestamp) {
        self.metrics.attempted(account.took);
        let delivery = account.delivery;
        match verdict {
            Verdict::Delivered => {
                let of_event = matches!(delivery.text(header::TG_TRIGGER), None | Some("EVENT"));
                self.metrics.delivered(of_event.then(|| now.since(delivery.received.timestamp)));
                return;
            }
            Verdict::Retry { delay, .. } => self.metrics.retried(delay),
            Verdict::Dead { status, category } => self.metrics.ended(status, Some(category)),
        }
        self.metrics.failed(&delivery.integration);
    }

    /// The integration was there when its standing was asked for, and no longer is.
    fn missing(&self, job: Job<'_>, id: &IntegrationId) -> Attempted {
        if self.standing(id) == Standing::Deleted {
            return self.cancelled(job);
        }
        let due = self.clock.now().plus(MISSING_WAIT);
        let error = format!("the integration `{id}` is not known here yet");
        Attempted { outcome: Outcome::Retry { due, error, status: None }, outputs: Vec::new() }
    }

    /// Its integration is deleted, so this attempt is none.
    fn cancelled(&self, job: Job<'_>) -> Attempted {
        let before = Job { attempt: job.attempt.saturating_sub(1), ..job };
        Attempted { outcome: Outcome::Dead, outputs: self.end(before, Ending::Cancelled) }
    }
}

/// Another organization may have an integration under an id that was deleted: what was for the former is not for that one.
fn is_for(integration: &OutboundIntegration, delivery: &Delivery<'_>) -> bool {
    delivery.text(header::CE_ORGID).is_none_or(|org| org == integration.org_id.as_str())
}

#[async_trait]
impl Work for Deliver {
    fn admit(&self, record: &Received) -> Admission {
        let delivery = match Delivery::read(record) {
            Ok(delivery) => delivery,
            Err(why) => return Admission::Refuse(vec![refused(record, &why)]),
        };
        let known = self.integrations.get(&delivery.integration);
        if let (None, Some(needed)) = (&known, delivery.catalog) {
            lock(&self.awaited).remember(&delivery.integration, needed, self.integrations.position());
        }
        let ttl = known.map_or(self.longest_wait, |i| i.delivery_ttl.min(self.longest_wait));
        Admission::Take { integration: delivery.integration, expires: record.timestamp.plus(ttl) }
    }

    fn standing(&self, integration: &IntegrationId) -> Standing {
        // Before the lookup: what is then missing was missing at this position or a later one.
        let position = self.integrations.position();
        match self.integrations.get(integration) {
            Some(i) if i.is_active => Standing::Active { max_in_flight: i.max_in_flight },
            Some(_) => Standing::Disabled,
            None if lock(&self.awaited).needs(integration) > position => Standing::Unknown,
            None if self.integrations.is_unreadable(integration) => Standing::Unknown,
            None => Standing::Deleted,
        }
    }

    async fn attempt(&self, job: Job<'_>) -> Attempted {
        let delivery = match Delivery::read(job.record) {
            Ok(delivery) => delivery,
            Err(why) => return Attempted { outcome: Outcome::Dead, outputs: vec![refused(job.record, &why)] },
        };
        let Some(integration) = self.integrations.get(&delivery.integration) else {
            return self.missing(job, &delivery.integration);
        };
        if !is_for(&integration, &delivery) {
            return self.cancelled(job);
        }
        let prepared = self.prepared.get(&integration, &self.egress);
        self.deliver(job, &delivery, &prepared).await
    }

    fn end(&self, job: Job<'_>, how: Ending) -> Vec<Output> {
        let delivery = match Delivery::read(job.record) {
            Ok(delivery) => delivery,
            Err(why) => return vec![refused(job.record, &why)],
        };
        let integration = self.integrations.get(&delivery.integration).filter(|one| is_for(one, &delivery));
        let (kind, told, status, failure) = match how {
            Ending::Expired => (Kind::Expired, Told::Dead, DeliveryStatus::Abandoned, Some(expired())),
            Ending::Cancelled => (Kind::Cancelled, Told::Skipped, DeliveryStatus::Cancelled, None),
        };
        let account = Account {
            delivery: &delivery,
            integration: integration.as_deref(),
            kind,
            told,
            status,
            attempt: delivery.earlier_attempts.saturating_add(job.attempt),
            at: self.clock.now(),
            took: Duration::ZERO,
            next_attempt_at: None,
            failure: failure.as_ref(),
            answer: None,
        };
        self.metrics.ended(status, failure.as_ref().map(|f| f.category));
        log(&account);
        let mut outputs = vec![account.record()];
        if how == Ending::Expired {
            outputs.push(account.dead_letter(job.first_at));
        }
        outputs
    }
}

fn refused(record: &Received, why: &NotADelivery) -> Output {
    tracing::warn!(partition = record.partition.0, offset = record.offset.0, %why, "a record is no delivery");
    let message = why.to_string();
    let why = Rejection { stage: "deliver", topic: Topic::Deliveries, reason: why.reason(), message: &message };
    rejected(record, why)
}

fn expired() -> Failure {
    let message =
        "it waited for longer than `deliveryTtlHours` of its integration, or than the log keeps it".to_owned();
    Failure { category: ErrorCategory::Expired, message }
}

fn read_answer(response: &Response) -> Answer {
    let text = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    Answer::Status { code: response.status().as_u16(), retry_after: text.and_then(RetryAfter::parse) }
}

/// Takes of the body what is of use: that of a failure is told, that of a success only frees its connection.
async fn finish(mut response: Response, verdict: Verdict, left: Duration) -> Answered {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = if verdict == Verdict::Delivered {
        response.discard(left.min(DISCARD_WAIT)).await;
        None
    } else {
        Some(response.read(left).await)
    };
    Answered { status, headers, body }
}

fn failure_of(verdict: Verdict, answer: Answer, error: Option<&SendError>) -> Option<Failure> {
    let category = match verdict {
        Verdict::Delivered => return None,
        Verdict::Retry { category, .. } | Verdict::Dead { category, .. } => category,
    };
    let message = match (error, answer) {
        (Some(error), _) => error.to_string(),
        (None, Answer::Status { code, .. }) => {
            let reason = StatusCode::from_u16(code).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
            let hint = if (300..400).contains(&code) {
                ": redirects are not followed, set the target to where it leads"
            } else {
                ""
            };
            format!("the receiver answered {}{hint}", format!("{code} {reason}").trim_end())
        }
        (None, Answer::None(_)) => "no answer".to_owned(),
    };
    Some(Failure { category, message })
}

fn outcome(verdict: Verdict, account: &Account<'_>) -> Outcome {
    match verdict {
        Verdict::Delivered => Outcome::Delivered,
        Verdict::Dead { status: DeliveryStatus::Abandoned, .. } => Outcome::Abandoned,
        Verdict::Dead { .. } => Outcome::Dead,
        Verdict::Retry { due, .. } => Outcome::Retry {
            due,
            error: account.failure.map(|f| format!("{}: {}", f.category, f.message)).unwrap_or_default(),
            status: account.answer.map(|a| a.status),
        },
    }
}

/// The wide line of an attempt, or of an end without one. Neither payloads nor secrets: names, numbers and the error.
fn log(account: &Account<'_>) {
    let delivery = account.delivery;
    let org = delivery.text(header::CE_ORGID).unwrap_or_default();
    let event = delivery.text(header::CE_ID).unwrap_or_default();
    let event_type = delivery.text(header::CE_TYPE).unwrap_or_default();
    let correlation = delivery.text(header::CE_CORRELATIONID).unwrap_or_default();
    tracing::info!(
        org,
        integration = delivery.integration.as_str(),
        delivery = %delivery.id,
        event,
        event_type,
        correlation,
        trace = %delivery.trace_id().simple(),
        attempt = account.attempt,
        outcome = account.told.as_str(),
        status = account.status.as_str(),
        response = account.answer.map(|a| a.status),
        category = account.failure.map(|f| f.category.as_str()),
        error = account.failure.map(|f| f.message.as_str()),
        ms = account.took.as_secs_f64() * 1_000.0,
        next = account.next_attempt_at.map(tracing::field::display),
        partition = delivery.received.partition.0,
        offset = delivery.received.offset.0,
        "attempt"
    );
}

/// The catalog position at which an integration that is not known here was matched elsewhere.
#[derive(Debug, Default)]
struct Awaited {
    by_id: FxHashMap<IntegrationId, Offset>,
    /// The highest of those that found no room: the integrations not in `by_id` are awaited up to here.
    rest: Offset,
}

const AWAITED: usize = 1_024;

impl Awaited {
    fn remember(&mut self, id: &IntegrationId, needed: Offset, position: Offset) {
        if needed <= position {
            return;
        }
        if let Some(known) = self.by_id.get_mut(id) {
            *known = needed.max(*known);
            return;
        }
        if self.by_id.len() >= AWAITED {
            self.by_id.retain(|_, needed| *needed > position);
        }
        if self.by_id.len() < AWAITED {
            self.by_id.insert(id.clone(), needed);
        } else {
            self.rest = needed.max(self.rest);
        }
    }

    fn needs(&self, id: &IntegrationId) -> Offset {
        self.by_id.get(id).copied().unwrap_or_default().max(self.rest)
    }
}

#[cfg(test)]
mod tests;
