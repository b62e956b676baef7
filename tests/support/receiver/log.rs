//! Every request that a receiver got, in the order of arrival.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use http::{HeaderMap, Method};
use sha2::{Digest as _, Sha256};
use tidegate::model::time::Timestamp;

use super::Then;

#[derive(Clone, Debug)]
pub struct Seen {
    /// When the request was there as a whole, on the clock that the gateway goes by too.
    pub at: Timestamp,
    pub method: Method,
    pub path: String,
    /// The `Idempotency-Key`; empty where there was none.
    pub delivery: String,
    /// The `ce-id`; empty where there was none.
    pub event: String,
    pub headers: HeaderMap,
    /// SHA-256.
    pub body_hash: [u8; 32],
    pub body_bytes: usize,
    /// How it was answered.
    pub then: Then,
    /// When the answer was given, where it was one.
    pub answered: Option<Timestamp>,
}

impl Seen {
    pub fn delivered(&self) -> bool {
        matches!(self.then, Then::Status(200..=299) | Then::Endless)
    }

    pub fn body_is(&self, body: &[u8]) -> bool {
        self.body_hash == hash(body)
    }
}

pub fn hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

#[derive(Debug, Default)]
pub struct Log {
    all: Vec<Seen>,
    by_path: BTreeMap<String, usize>,
    by_delivery: HashMap<String, Vec<usize>>,
    /// Distinct (event, path) that were answered 2xx.
    delivered: HashMap<String, Vec<String>>,
    deliveries_done: BTreeMap<String, usize>,
}

impl Log {
    pub fn all(&self) -> &[Seen] {
        &self.all
    }

    /// Requests to this path, repeats included.
    pub fn requests(&self, path: &str) -> usize {
        self.by_path.get(path).copied().unwrap_or(0)
    }

    /// Distinct events that this path has answered 2xx.
    pub fn delivered(&self, path: &str) -> usize {
        self.deliveries_done.get(path).copied().unwrap_or(0)
    }

    /// Has this event been answered 2xx at this path?
    pub fn has(&self, event: &str, path: &str) -> bool {
        self.delivered.get(event).is_some_and(|paths| paths.iter().any(|each| each == path))
    }

    /// The attempts of one delivery, in order.
    pub fn attempts(&self, delivery: &str) -> impl Iterator<Item = &Seen> {
        self.by_delivery.get(delivery).into_iter().flatten().map(|at| &self.all[*at])
    }

    pub fn deliveries(&self) -> impl Iterator<Item = &str> {
        self.by_delivery.keys().map(String::as_str)
    }

    /// Its number, for `answered`.
    pub(super) fn arrived(&mut self, seen: Seen) -> usize {
        let at = self.all.len();
        *self.by_path.entry(seen.path.clone()).or_default() += 1;
        if !seen.delivery.is_empty() {
            self.by_delivery.entry(seen.delivery.clone()).or_default().push(at);
        }
        self.all.push(seen);
        at
    }

    pub(super) fn answered(&mut self, number: usize, now: Timestamp) {
        let seen = &mut self.all[number];
        seen.answered = Some(now);
        let (event, path) = (seen.event.clone(), seen.path.clone());
        if seen.delivered() && !event.is_empty() && !self.has(&event, &path) {
            self.delivered.entry(event).or_default().push(path.clone());
            *self.deliveries_done.entry(path).or_default() += 1;
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests", self.all.len())?;
        for (path, requests) in &self.by_path {
            write!(f, "; {path}: {requests} requests, {} events delivered", self.delivered(path))?;
        }
        Ok(())
    }
}
