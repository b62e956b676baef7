use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::model::event::{Attributes, Extensions};
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Received, header};
use crate::model::time::ManualClock;
use crate::model::trace::is_traceparent;
use crate::stream::log::{Follower, From, Member, Membership, PartitionReader, Seat};

/// A log that takes appends, or answers with an error; it has nothing to read.
#[derive(Default)]
pub(crate) struct Appends {
    pub(crate) written: Mutex<Vec<Vec<Output>>>,
    pub(crate) fails: Mutex<Option<LogError>>,
}

fn nothing<T>() -> Result<T, LogError> {
    Err(LogError::Fatal("this log is for writing".to_owned()))
}

#[async_trait]
impl Log for Appends {
    async fn append(&self, outputs: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        let places = outputs.iter().map(|_| (Partition(0), Offset(0))).collect();
        self.written.lock().unwrap().push(outputs);
        Ok(places)
    }

    async fn join(&self, _: Membership) -> Result<Member, LogError> {
        nothing()
    }

    async fn read(&self, _: Topic, _: Partition, _: From) -> Result<Box<dyn PartitionReader>, LogError> {
        nothing()
    }

    async fn follow(&self, _: Vec<(Topic, Partition, Offset)>) -> Result<Box<dyn Follower>, LogError> {
        nothing()
    }

    async fn end(&self, _: Topic, _: Partition) -> Result<Offset, LogError> {
        nothing()
    }

    async fn load(&self, _: Topic, _: Partition) -> Result<Vec<Received>, LogError> {
        nothing()
    }

    async fn seat(&self, _: &'static str, _: Duration) -> Result<Box<dyn Seat>, LogError> {
        nothing()
    }

    async fn partitions(&self, _: Topic) -> Result<i32, LogError> {
        nothing()
    }

    async fn ping(&self) -> Result<(), LogError> {
        nothing()
    }
}

/// Knows the organization 648, and the late one once it has caught up with the catalog.
#[derive(Default)]
struct Orgs {
    away: bool,
    late: AtomicBool,
}

#[async_trait]
impl KnownOrgs for Orgs {
    fn knows(&self, org: &OrgId) -> bool {
        org.as_str() == "648" || (org.as_str() == "late" && self.late.load(Ordering::Relaxed))
    }

    fn position(&self) -> Offset {
        Offset(17)
    }

    async fn catch_up(&self) -> bool {
        self.late.store(!self.away, Ordering::Relaxed);
        !self.away
    }
}

pub(crate) fn ingest(log: &Arc<Appends>, budget: usize) -> Arc<Ingest> {
    let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_000_250)));
    Arc::new(Ingest::new(log.clone(), Arc::new(Orgs::default()), clock, budget))
}

fn event(org: &str, id: &str) -> Event {
    let attributes = Attributes {
        specversion: Some("1.0"),
        event_type: Some("patient.created"),
        orgid: Some(org),
        source: Some("/his"),
        id: Some(id),
        ..Attributes::default()
    };
    let headers = attributes.check(String::new, || Timestamp(0)).unwrap();
    headers.into_event(Extensions::default(), "{}".into()).unwrap()
}

#[tokio::test]
async fn a_batch_is_written_once_and_answered_in_order() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 1_000);
    let events = vec![
        Ok(event("648", "a")),
        Err(IngestError::invalid("eventType", "is required")),
        Ok(event("nobody", "b")),
        Ok(event("648", "c")),
    ];
    let answers = ingest.accept_batch(SourceKind::Rest, events, ingest.room()).await.unwrap();
    let told: Vec<String> =
        answers.into_iter().map(|a| a.map_or_else(|e| e.to_string(), |id| id.to_string())).collect();
    assert_eq!(
        told,
        ["a", "`eventType` is required", "`orgId` names organization `nobody`, which does not exist", "c"]
    );
    let written = log.written.lock().unwrap();
    assert_eq!(written.len(), 1);
    let ids: Vec<_> = written[0].iter().map(|o| o.record.headers.text(header::CE_ID).unwrap()).collect();
    assert_eq!(ids, ["a", "c"]);
    assert!(written[0].iter().all(|o| o.topic == Topic::Events && o.partition.is_none()));
}

#[tokio::test]
async fn an_event_is_not_matched_by_an_older_catalog_than_it_was_accepted_with() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 1_000);
    ingest.accept_one(SourceKind::Rest, event("648", "a"), ingest.room()).await.unwrap();
    let written = log.written.lock().unwrap();
    assert_eq!(written[0][0].record.headers.text(header::TG_CATALOG), Some("17"));
}

#[tokio::test]
async fn a_batch_without_one_good_event_writes_nothing() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 1_000);
    let answers = ingest.accept_batch(SourceKind::Rest, vec![Ok(event("nobody", "a"))], ingest.room()).await.unwrap();
    assert!(answers[0].is_err());
    assert!(log.written.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_organization_is_not_unknown_before_the_catalog_was_read() {
    let log = Arc::new(Appends::default());
    let fresh = ingest(&log, 1_000);
    assert!(fresh.accept_one(SourceKind::Rest, event("late", "a"), fresh.room()).await.is_ok());
    let fresh = ingest(&log, 1_000);
    let answers = fresh.accept_batch(SourceKind::Rest, vec![Ok(event("late", "a"))], fresh.room()).await.unwrap();
    assert!(answers[0].is_ok());
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let away = Ingest::new(log.clone(), Arc::new(Orgs { away: true, ..Orgs::default() }), clock, 1_000);
    let refused = away.accept_one(SourceKind::Rest, event("late", "a"), away.room()).await.unwrap_err();
    assert_eq!(refused, IngestError::Unavailable, "not a client's mistake");
    assert!(away.accept_one(SourceKind::Rest, event("648", "a"), away.room()).await.is_ok());
}

#[tokio::test]
async fn nothing_is_accepted_that_the_log_did_not_take() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 1_000);
    let cases = [
        (LogError::Unavailable("no broker".into()), Some(5), "nothing was accepted"),
        (LogError::UnknownOutcome("timed out".into()), Some(5), "send it again with the id e1"),
        (LogError::TooLarge { topic: Topic::Events, bytes: 9 }, None, "larger than the log takes"),
        (LogError::Fatal("no topic".into()), None, "operator"),
    ];
    for (cause, retry_after, message) in cases {
        *log.fails.lock().unwrap() = Some(cause.clone());
        let refused = ingest.accept_one(SourceKind::Rest, event("648", "e1"), ingest.room()).await.unwrap_err();
        assert_eq!(refused.retry_after().map(|d| d.as_secs()), retry_after);
        assert!(refused.to_string().contains(message), "{refused}");
        let batch = vec![Ok(event("648", "e1"))];
        assert!(ingest.accept_batch(SourceKind::Rest, batch, ingest.room()).await.is_err());
    }
    *log.fails.lock().unwrap() = None;
    assert!(ingest.accept_one(SourceKind::Rest, event("648", "e1"), ingest.room()).await.is_ok());
}

#[tokio::test]
async fn an_event_keeps_its_trace_and_else_begins_one() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 1_000);
    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = Event { traceparent: Label::parse(given).ok(), ..event("648", "a") };
    for event in [traced, event("648", "b")] {
        ingest.accept_one(SourceKind::Rest, event, ingest.room()).await.unwrap();
    }
    let written = log.written.lock().unwrap();
    let trace = |n: usize| written[n][0].record.headers.text(header::TRACEPARENT).unwrap();
    assert_eq!(trace(0), given);
    assert!(is_traceparent(trace(1)), "{}", trace(1));
}

#[tokio::test]
async fn attributes_that_its_readers_would_refuse_are_refused_here() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 1_000);
    let mut large = event("648", "a");
    large.extensions.set("note", &"x".repeat(MAX_HEADERS)).unwrap();
    let refused = ingest.accept_one(SourceKind::Rest, large, ingest.room()).await.unwrap_err();
    assert!(matches!(refused, IngestError::TooLarge(_)), "{refused}");
}

#[test]
fn what_waits_for_the_log_is_bounded_in_bytes() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 1_000);
    let (mut first, mut second) = (ingest.room(), ingest.room());
    first.grow(600).unwrap();
    first.grow(300).unwrap();
    assert_eq!(second.grow(101), Err(IngestError::Busy));
    second.grow(100).unwrap();
    drop(first);
    second.grow(900).unwrap();
    assert_eq!(ingest.room().grow(usize::MAX), Err(IngestError::Busy));
}
