//! How often one client or one organization may ask: token buckets in the memory of one process. Several processes allow as
//! many times more. What an organization may, the catalog says, else the process says it of all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::api::door::network;
use crate::api::error::{ApiError, Code};
use crate::catalog::{Catalog, Snapshot};
use crate::model::ids::OrgId;
use crate::model::time::{Clock, Timestamp};

/// Who is remembered at once; more share one bucket, so that made-up clients neither grow the memory nor free anybody.
const REMEMBERED: usize = 100_000;

pub const LIMIT: &str = "ratelimit-limit";
pub const REMAINING: &str = "ratelimit-remaining";
pub const RESET: &str = "ratelimit-reset";

/// So many requests or events in so long, all at once or spread; 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub most: u32,
    pub per: Duration,
}

/// What each kind of request may take.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Of one address, without a credential that is valid.
    pub address: Rate,
    /// Of one organization: all but what brings events in.
    pub org: Rate,
    /// Of one organization: events that are brought in.
    pub publish: Rate,
}

impl Rates {
    pub const NONE: Rates = {
        let none = Rate { most: 0, per: Duration::from_secs(1) };
        Rates { address: none, org: none, publish: none }
    };
}

/// Whose bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Address(Option<IpAddr>),
    Org(OrgId),
    Publisher(OrgId),
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

/// What a request takes out of a bucket.
struct Taking {
    much: f64,
    /// What has to be there for it.
    needed: f64,
    /// What has to be there for the whole of the same request, where it comes again.
    again: f64,
}

/// All buckets of a process. One that is full again is forgotten in time.
pub struct Limits {
    rates: Rates,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    strangers: Buckets,
    /// Apart from those of strangers, however many of these there are.
    orgs: Buckets,
}

/// `None`: that of all who are not remembered each.
type Buckets = Mutex<HashMap<Option<Subject>, Bucket>>;

/// How a bucket stands after a request: what the headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    limit: u32,
    remaining: u32,
    /// Seconds until it is full again.
    reset: u32,
    /// Seconds until the next request; `None`: this one may go on.
    wait: Option<u32>,
}

impl Limits {
    pub fn new(rates: Rates, catalog: Arc<Catalog>, clock: Arc<dyn Clock>) -> Limits {
        Limits { rates, catalog, clock, strangers: Mutex::default(), orgs: Mutex::default() }
    }

    /// Counts a request. `None`: nothing limits it.
    pub fn count(&self, subject: Subject) -> Option<Standing> {
        self.take(subject, |bucket, rate| bucket.take(rate, &Taking { much: 1.0, needed: 1.0, again: 1.0 }))
    }

    fn take(&self, subject: Subject, from: impl FnOnce(&mut Bucket, Rate) -> Standing) -> Option<Standing> {
        let (subject, buckets) = match subject {
            Subject::Address(address) => (Subject::Address(address.map(network)), &self.strangers),
            of_an_org => (of_an_org, &self.orgs),
        };
        let snapshot = self.catalog.snapshot();
        let rate = self.rates.of(Some(&subject), &snapshot);
        if rate.most == 0 {
            return None;
        }
        let now = self.clock.now();
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut subject = Some(subject);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&subject) {
            buckets.retain(|subject, bucket| {
                let rate = self.rates.of(subject.as_ref(), &snapshot);
                bucket.filled(rate, now).left < f64::from(rate.most)
            });
            if buckets.len() >= REMEMBERED {
                subject = None;
            }
        }
        let bucket = buckets.entry(subject).or_insert(Bucket { left: f64::from(rate.most), at: now });
        *bucket = bucket.filled(rate, now);
        Some(from(bucket, rate))
    }
}

impl Rates {
    /// `None`: that of all who are not remembered each.
    fn of(&self, subject: Option<&Subject>, snapshot: &Snapshot) -> Rate {
        let own = |org: &OrgId| snapshot.organization(org).map(|org| org.limits).unwrap_or_default();
        let with = |rate: Rate, most: Option<u32>, per| most.map_or(rate, |most| Rate { most, per });
        match subject {
            Some(Subject::Org(org)) => with(self.org, own(org).requests_per_minute, Duration::from_secs(60)),
            Some(Subject::Publisher(org)) => with(self.publish, own(org).events_per_second, Duration::from_secs(1)),
            Some(Subject::Address(_)) | None => self.address,
        }
    }
}

/// By which a request is counted, among its extensions. Without: nothing limits it.
#[derive(Clone, Default)]
pub struct Meter(Option<(Arc<Limits>, Subject)>);

impl Meter {
    pub fn of(limits: Option<Arc<Limits>>, subject: Option<Subject>) -> Meter {
        Meter(limits.zip(subject))
    }

    /// Counts the request.
    pub fn count(&self) -> Option<Standing> {
        let (limits, subject) = self.0.as_ref()?;
        limits.count(subject.clone())
    }

    /// Counts `n` things more that a request brings, which was counted as one: all of them, or none where there is no room for
    /// them. More than there ever is room for goes when all the room is there; what follows waits for as long as that takes.
    pub fn count_more(&self, n: usize) -> Option<Standing> {
        let (limits, subject) = self.0.as_ref()?;
        let n = f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        limits.take(subject.clone(), |bucket, rate| {
            let needed = n.min(f64::from(rate.most) - 1.0);
            bucket.take(rate, &Taking { much: n, needed, again: needed + 1.0 })
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Meter {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

impl Rate {
    fn per_second(self) -> f64 {
        f64::from(self.most) / self.per.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Bucket {
    fn filled(self, rate: Rate, now: Timestamp) -> Bucket {
        let more = now.since(self.at).as_secs_f64() * rate.per_second();
        // A clock that was set back fills nothing, and goes on from where it is.
        Bucket { left: (self.left + more).min(f64::from(rate.most)), at: now }
    }

    fn take(&mut self, rate: Rate, taking: &Taking) -> Standing {
        let may = self.left >= taking.needed;
        if may {
            self.left -= taking.much;
        }
        let seconds = |requests: f64| (requests / rate.per_second()).ceil().max(1.0) as u32;
        Standing {
            limit: rate.most,
            remaining: self.left as u32,
            reset: seconds(f64::from(rate.most) - self.left),
            wait: (!may).then(|| seconds(taking.again - self.left)),
        }
    }
}

impl Standing {
    /// # Errors
    /// 429, saying when to come back; `what` there is too much of.
    pub fn check(&self, what: &str) -> Result<(), ApiError> {
        let Some(wait) = self.wait else { return Ok(()) };
        let message = format!("too many {what}; come back in {wait} s");
        Err(ApiError { retry_after: Some(wait), ..ApiError::new(Code::RateLimited, message) })
    }

    /// The headers of the answer, unless whoever counted last has told already.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if headers.contains_key(LIMIT) {
            return;
        }
        for (name, value) in [(LIMIT, self.limit), (REMAINING, self.remaining), (RESET, self.reset)] {
            headers.insert(name, value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::samples;
    use crate::model::time::ManualClock;

    fn limits(most: u32) -> (Limits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_930_250)));
        let rate = Rate { most, per: Duration::from_secs(60) };
        (Limits::new(Rates { address: rate, ..Rates::NONE }, Arc::default(), clock.clone()), clock)
    }

    /// Of an organization that may bring so many events in a second, where all may bring four.
    fn meter(own: Option<u32>) -> (Meter, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_930_250)));
        let mut snapshot = Snapshot::default();
        let mut org = samples::organization("648");
        org.limits.events_per_second = own;
        snapshot.put(org);
        let publish = Rate { most: 4, per: Duration::from_secs(1) };
        let rates = Rates { publish, ..Rates::NONE };
        let limits = Limits::new(rates, Arc::new(Catalog::with(snapshot)), clock.clone());
        (Meter::of(Some(Arc::new(limits)), Some(Subject::Publisher(OrgId::parse("648").unwrap()))), clock)
    }

    /// A request with so many events: what is left, and how long the next has to wait where it is refused.
    fn batch(meter: &Meter, events: usize) -> (u32, Option<u32>) {
        let first = meter.count().unwrap();
        let standing = if first.wait.is_some() { first } else { meter.count_more(events - 1).unwrap() };
        (standing.remaining, standing.wait)
    }

    #[test]
    fn what_an_organization_may_is_what_the_catalog_says_of_it() {
        assert_eq!(meter(None).0.count().unwrap().limit, 4);
        assert_eq!(meter(Some(7)).0.count().unwrap().limit, 7);
        assert_eq!(meter(Some(0)).0.count(), None, "no limit");
        assert_eq!(Meter::default().count(), None);
    }

    #[test]
    fn a_batch_counts_as_many_events_as_it_holds() {
        let (meter, clock) = meter(Some(10));
        assert_eq!(batch(&meter, 6), (4, None));
        assert_eq!(batch(&meter, 5), (3, Some(1)), "refused as a whole: the request alone was counted");
        assert_eq!(batch(&meter, 3), (0, None));
        clock.advance(Duration::from_secs(1));
        assert_eq!(batch(&meter, 10), (0, None));
    }

    #[test]
    fn a_batch_larger_than_the_limit_goes_through_and_those_after_it_wait_for_it() {
        let (meter, clock) = meter(Some(10));
        assert_eq!(batch(&meter, 1), (9, None));
        assert_eq!(batch(&meter, 45), (8, Some(1)), "not while there is less than all the room");
        clock.advance(Duration::from_secs(1));
        assert_eq!(batch(&meter, 45), (0, None));
        assert_eq!(batch(&meter, 1), (0, Some(4)));
        clock.advance(Duration::from_millis(3_500));
        assert_eq!(batch(&meter, 1).1, Some(1));
        clock.advance(Duration::from_millis(200));
        assert_eq!(batch(&meter, 1).1, None);
    }

    fn address(n: u32) -> Subject {
        Subject::Address(Some(IpAddr::from(n.to_be_bytes())))
    }

    #[test]
    fn who_asks_too_often_waits_and_nobody_else_does() {
        let (limits, clock) = limits(60);
        for n in (0..60).rev() {
            let standing = limits.count(address(1)).unwrap();
            assert_eq!((standing.limit, standing.remaining, standing.wait), (60, n, None));
            assert_eq!(standing.reset, 60 - n);
        }
        let refused = limits.count(address(1)).unwrap();
        assert_eq!((refused.remaining, refused.reset, refused.wait), (0, 60, Some(1)));
        assert_eq!(limits.count(address(2)).unwrap().wait, None);
        clock.advance(Duration::from_millis(999));
        assert!(limits.count(address(1)).unwrap().wait.is_some());
        clock.advance(Duration::from_millis(2));
        assert_eq!(limits.count(address(1)).unwrap().wait, None);
        assert!(limits.count(address(1)).unwrap().wait.is_some());
        assert_eq!(limits.count(Subject::Org(OrgId::parse("648").unwrap())), None, "what has no limit has none");
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_memory_and_frees_nobody() {
        let (limits, clock) = limits(2);
        for _ in 0..3 {
            limits.count(address(1));
        }
        for n in 10..10 + REMEMBERED as u32 {
            limits.count(address(n));
        }
        assert!(limits.count(address(1)).unwrap().wait.is_some());
        assert!(limits.strangers.lock().unwrap().len() <= REMEMBERED + 1);
        // Nobody who is known is one of them.
        let rates = Rates { org: Rate { most: 7, per: Duration::from_secs(60) }, ..limits.rates };
        let limits = Limits { rates, ..limits };
        assert_eq!(limits.count(Subject::Org(OrgId::parse("648").unwrap())).unwrap().remaining, 6);
        clock.advance(Duration::from_secs(61));
        assert_eq!(limits.count(address(4_000_000)).unwrap().wait, None);
        assert!(limits.strangers.lock().unwrap().len() < 10, "what is full again is forgotten");
    }
}
