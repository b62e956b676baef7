//! How often one client or one organisation may ask: token buckets in the memory of one process. Several processes allow as
//! many times more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;

use crate::api::door::network;
use crate::api::error::{ApiError, Code};
use crate::model::ids::OrgId;
use crate::model::time::{Clock, Timestamp};

/// Who is remembered at once; more share one bucket, so that made-up clients neither grow the memory nor free anybody.
const REMEMBERED: usize = 100_000;

pub const LIMIT: &str = "ratelimit-limit";
pub const REMAINING: &str = "ratelimit-remaining";
pub const RESET: &str = "ratelimit-reset";

/// So many requests in so long, all at once or spread; 0: no limit.
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
    /// Of one organisation: all but what brings events in.
    pub org: Rate,
    /// Of one organisation: bringing events in.
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

/// All buckets of a process. One that is full again is forgotten in time.
pub struct Limits {
    rates: Rates,
    clock: Arc<dyn Clock>,
    buckets: Mutex<HashMap<Option<Subject>, Bucket>>,
}

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
    pub fn new(rates: Rates, clock: Arc<dyn Clock>) -> Limits {
        Limits { rates, clock, buckets: Mutex::default() }
    }

    /// Counts a request. `None`: nothing limits it.
    pub fn count(&self, subject: Subject) -> Option<Standing> {
        let (rate, subject) = match subject {
            Subject::Address(address) => (self.rates.address, Subject::Address(address.map(network))),
            Subject::Org(_) => (self.rates.org, subject),
            Subject::Publisher(_) => (self.rates.publish, subject),
        };
        if rate.most == 0 {
            return None;
        }
        let now = self.clock.now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut subject = Some(subject);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&subject) {
            buckets.retain(|subject, bucket| {
                let rate = match subject {
                    Some(Subject::Org(_)) => self.rates.org,
                    Some(Subject::Publisher(_)) => self.rates.publish,
                    Some(Subject::Address(_)) | None => self.rates.address,
                };
                bucket.filled(rate, now).left < f64::from(rate.most)
            });
            if buckets.len() >= REMEMBERED {
                subject = None;
            }
        }
        let bucket = buckets.entry(subject).or_insert(Bucket { left: f64::from(rate.most), at: now });
        *bucket = bucket.filled(rate, now);
        Some(bucket.take(rate))
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

    fn take(&mut self, rate: Rate) -> Standing {
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        let seconds = |requests: f64| (requests / rate.per_second()).ceil().max(1.0) as u32;
        Standing {
            limit: rate.most,
            remaining: self.left as u32,
            reset: seconds(f64::from(rate.most) - self.left),
            wait: (!may).then(|| seconds(1.0 - self.left)),
        }
    }
}

impl Standing {
    /// # Errors
    /// 429, saying when to come back.
    pub fn check(&self, whose: &str) -> Result<(), ApiError> {
        let Some(wait) = self.wait else { return Ok(()) };
        let message = format!("too many requests {whose}; come back in {wait} s");
        Err(ApiError { retry_after: Some(wait), ..ApiError::new(Code::RateLimited, message) })
    }

    /// The headers of the answer.
    pub fn tell(&self, headers: &mut HeaderMap) {
        for (name, value) in [(LIMIT, self.limit), (REMAINING, self.remaining), (RESET, self.reset)] {
            headers.insert(name, value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::ManualClock;

    fn limits(most: u32) -> (Limits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_930_250)));
        let rate = Rate { most, per: Duration::from_secs(60) };
        (Limits::new(Rates { address: rate, ..Rates::NONE }, clock.clone()), clock)
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
        assert!(limits.buckets.lock().unwrap().len() <= REMEMBERED + 1);
        clock.advance(Duration::from_secs(61));
        assert_eq!(limits.count(address(4_000_000)).unwrap().wait, None);
        assert!(limits.buckets.lock().unwrap().len() < 10, "what is full again is forgotten");
    }
}
