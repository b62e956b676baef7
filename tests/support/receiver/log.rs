//! What a receiver has seen.

use std::collections::HashMap;
use std::ops::Index;

use sha2::{Digest as _, Sha256};
use tidegate::model::time::Timestamp;
use tokio::time::Instant;

use super::http::Request;
use crate::support::now;

/// A request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    /// The same moment on the clock that the gateway goes by too.
    pub wall: Timestamp,
    pub method: String,
    pub path: String,
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// `idempotency-key`.
    pub delivery: String,
    /// `ce-id`; empty where the integration leaves event headers out.
    pub event: String,
    /// SHA-256 of the body.
    pub body: [u8; 32],
    /// The process that sent it, where the test asked for it.
    pub process: Option<u32>,
    /// How often this delivery has come to this path, this time included.
    pub nth: usize,
    /// When the answer had left.
    pub answered: Option<Instant>,
}

impl Seen {
    pub fn of(request: Request, process: Option<u32>) -> Seen {
        let Request { method, path, headers, body } = request;
        let value = |name: &str| headers.iter().find(|(n, _)| &**n == name).map_or("", |(_, v)| v).to_owned();
        let (delivery, event) = (value("idempotency-key"), value("ce-id"));
        let (at, wall, body) = (Instant::now(), now(), hash(&body));
        Seen { at, wall, method, path, headers, delivery, event, body, process, nth: 1, answered: None }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| &**n == name).map(|(_, v)| &**v)
    }
}

pub fn hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Every request, in the order of arrival.
#[derive(Default)]
pub struct Log {
    all: Vec<Seen>,
    paths: HashMap<String, Path>,
}

#[derive(Default)]
struct Path {
    requests: Vec<usize>,
    answered: usize,
    by_event: HashMap<String, usize>,
    by_delivery: HashMap<String, usize>,
}

impl Log {
    pub(super) fn add(&mut self, mut seen: Seen) -> usize {
        let index = self.all.len();
        let path = self.paths.entry(seen.path.clone()).or_default();
        path.requests.push(index);
        *path.by_event.entry(seen.event.clone()).or_default() += 1;
        let nth = path.by_delivery.entry(seen.delivery.clone()).or_default();
        *nth += 1;
        seen.nth = *nth;
        self.all.push(seen);
        index
    }

    pub(super) fn answered(&mut self, index: usize) {
        let seen = &mut self.all[index];
        seen.answered = Some(Instant::now());
        if let Some(path) = self.paths.get_mut(&seen.path) {
            path.answered += 1;
        }
    }

    /// Requests at `path`, repeats included.
    pub fn requests(&self, path: &str) -> usize {
        self.paths.get(path).map_or(0, |p| p.requests.len())
    }

    /// Answers that have left from `path`.
    pub fn answers(&self, path: &str) -> usize {
        self.paths.get(path).map_or(0, |p| p.answered)
    }

    /// Different events at `path`.
    pub fn events(&self, path: &str) -> usize {
        self.paths.get(path).map_or(0, |p| p.by_event.len())
    }

    /// Has `path` seen this event?
    pub fn has(&self, path: &str, event: &str) -> bool {
        self.paths.get(path).is_some_and(|p| p.by_event.contains_key(event))
    }

    /// The requests at `path`.
    pub fn of<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a Seen> {
        self.paths.get(path).into_iter().flat_map(|p| &p.requests).map(|&index| &self.all[index])
    }

    pub fn all(&self) -> &[Seen] {
        &self.all
    }

    pub fn summary(&self) -> String {
        let told = |(path, p): (&String, &Path)| {
            format!("{path}: {} requests, {} answered, {} events", p.requests.len(), p.answered, p.by_event.len())
        };
        let mut paths: Vec<String> = self.paths.iter().map(told).collect();
        paths.sort();
        if paths.is_empty() { "no request".into() } else { paths.join("; ") }
    }
}

impl Index<usize> for Log {
    type Output = Seen;

    fn index(&self, index: usize) -> &Seen {
        &self.all[index]
    }
}
