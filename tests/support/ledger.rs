//! The account: every accepted event against what a receiver saw.

use std::collections::{BTreeMap, HashSet};

use super::receiver::{Log, Seen};

/// What a receiver is owed at one path.
pub struct Ledger<'a> {
    pub path: &'a str,
    pub accepted: &'a [String],
}

/// A delivery that came more than once.
#[derive(Debug)]
pub struct Repeat<'a> {
    pub event: &'a str,
    /// In the order of arrival; two or more.
    pub seen: Vec<&'a Seen>,
}

impl Ledger<'_> {
    /// Fails if an event is lost, was never published, has more than one delivery id or more than one body. Gives what came
    /// more than once.
    pub fn settle<'a>(&self, log: &'a Log) -> Vec<Repeat<'a>> {
        let path = self.path;
        let mut seen: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
        for request in log.of(path) {
            seen.entry(&request.event).or_default().push(request);
        }
        let lost: Vec<&String> = self.accepted.iter().filter(|id| !seen.contains_key(id.as_str())).collect();
        assert!(lost.is_empty(), "{path}: {} of {} lost: {:?}", lost.len(), self.accepted.len(), first(&lost));
        let accepted: HashSet<&str> = self.accepted.iter().map(String::as_str).collect();
        let strange: Vec<&&str> = seen.keys().filter(|event| !accepted.contains(**event)).collect();
        assert!(strange.is_empty(), "{path}: never published: {:?}", first(&strange));
        let mut deliveries = HashSet::new();
        for (event, requests) in &seen {
            let (delivery, body) = (&requests[0].delivery, &requests[0].body);
            assert!(!delivery.is_empty(), "{path}: {event} came without a delivery id");
            assert!(deliveries.insert(delivery), "{path}: two events share the delivery {delivery}");
            let same = requests.iter().all(|r| r.delivery == *delivery && r.body == *body);
            assert!(same, "{path}: {event} came as different deliveries: {requests:?}");
        }
        let repeated = seen.into_iter().filter(|(_, requests)| requests.len() > 1);
        repeated.map(|(event, seen)| Repeat { event, seen }).collect()
    }

    /// The same, and nothing came more than once.
    pub fn settle_once(&self, log: &Log) {
        let repeats = self.settle(log);
        assert!(repeats.is_empty(), "{}: {} came more than once: {:?}", self.path, repeats.len(), first(&repeats));
    }

    /// The same, and at most `bound` requests were too many. Gives their number.
    pub fn settle_within(&self, log: &Log, bound: usize) -> usize {
        let repeats = self.settle(log);
        let surplus: usize = repeats.iter().map(|r| r.seen.len() - 1).sum();
        assert!(surplus <= bound, "{}: {surplus} repeats, but the failures explain {bound} at most", self.path);
        surplus
    }
}

/// Enough of a list to see what kind of thing is in it.
fn first<T>(list: &[T]) -> &[T] {
    &list[..list.len().min(3)]
}
