//! The account: every event that was accepted against every request that the receiver saw.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::time::Duration;

use super::receiver::{Log, Seen};

/// Events that were accepted, each owed to every one of some paths.
#[derive(Debug)]
pub struct Ledger {
    paths: Vec<String>,
    accepted: BTreeSet<String>,
}

/// What the comparison found. Empty lists are what a test wants; repeats it wants bounded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// (event, path) without a 2xx.
    pub lost: Vec<(String, String)>,
    /// Requests after the one that was answered 2xx, under the same delivery id.
    pub repeated: usize,
    /// (event, path) that came under several delivery ids.
    pub several_ids: Vec<(String, String)>,
    /// (event, path) whose body was not the same each time.
    pub several_bodies: Vec<(String, String)>,
}

impl Ledger {
    pub fn new(paths: &[&str]) -> Ledger {
        Ledger { paths: paths.iter().map(ToString::to_string).collect(), accepted: BTreeSet::new() }
    }

    pub fn accepted(&mut self, ids: impl IntoIterator<Item = String>) {
        self.accepted.extend(ids);
    }

    pub fn len(&self) -> usize {
        self.accepted.len()
    }

    /// Has everything arrived? For `Receiver::wait_for`: looks only at counts until they suffice.
    pub fn is_settled(&self, log: &Log) -> bool {
        let enough = self.paths.iter().all(|path| log.delivered(path) >= self.accepted.len());
        enough && self.lost(log).next().is_none()
    }

    fn lost<'a>(&'a self, log: &'a Log) -> impl Iterator<Item = (String, String)> + 'a {
        let owed = self.accepted.iter().flat_map(|event| self.paths.iter().map(move |path| (event, path)));
        owed.filter(|(event, path)| !log.has(event, path)).map(|(event, path)| (event.clone(), path.clone()))
    }

    pub fn account(&self, log: &Log) -> Account {
        let mut account = Account { lost: self.lost(log).collect(), ..Account::default() };
        let mut groups: BTreeMap<(&str, &str), Vec<&Seen>> = BTreeMap::new();
        for seen in log.all().iter().filter(|seen| self.paths.contains(&seen.path)) {
            groups.entry((&seen.event, &seen.path)).or_default().push(seen);
        }
        for ((event, path), requests) in groups {
            let named = || (event.to_string(), path.to_string());
            let first = requests.iter().position(|seen| seen.delivered());
            account.repeated += first.map_or(0, |first| requests.len() - first - 1);
            if requests.iter().map(|seen| &seen.delivery).collect::<HashSet<_>>().len() > 1 {
                account.several_ids.push(named());
            }
            if requests.iter().map(|seen| seen.body_hash).collect::<HashSet<_>>().len() > 1 {
                account.several_bodies.push(named());
            }
        }
        account
    }
}

/// Attempts of a delivery to `path` that came sooner after the answer before than `delay(attempt)` allows, where `attempt`
/// (from 1) is the one that failed. Not for runs with a kill: an attempt that was not committed is rightly made again at once.
pub fn early(log: &Log, path: &str, delay: impl Fn(usize) -> Duration) -> Vec<String> {
    let mut found = Vec::new();
    for delivery in log.deliveries() {
        let attempts: Vec<&Seen> = log.attempts(delivery).filter(|seen| seen.path == path).collect();
        for (number, pair) in attempts.windows(2).enumerate() {
            let ended = pair[0].answered.unwrap_or(pair[0].at);
            let waited = pair[1].at.since(ended);
            let asked = delay(number + 1);
            if waited < asked {
                found.push(format!(
                    "delivery {delivery}, attempt {}: after {waited:?} in place of {asked:?}",
                    number + 2
                ));
            }
        }
    }
    found
}

impl Account {
    /// Fails the test unless all arrived, under one id each, and at most `repeats` came again.
    pub fn hold(&self, repeats: usize) {
        let clean = self.lost.is_empty() && self.several_ids.is_empty() && self.several_bodies.is_empty();
        assert!(clean && self.repeated <= repeats, "{self} (repeats allowed: {repeats})");
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = |list: &[(String, String)]| {
            let shown: Vec<String> = list.iter().take(5).map(|(event, path)| format!("{event} at {path}")).collect();
            format!("{} [{}]", list.len(), shown.join(", "))
        };
        write!(
            f,
            "lost {}; repeated {}; under several ids {}; with several bodies {}",
            few(&self.lost),
            self.repeated,
            few(&self.several_ids),
            few(&self.several_bodies)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::receiver::{Answer, Receiver};
    use super::*;

    async fn post(receiver: &Receiver, path: &str, (event, delivery): (&str, &str), body: &'static str) {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(receiver.url(path)).header("ce-id", event).header("idempotency-key", delivery);
        request.body(body).send().await.expect("an answer");
    }

    #[tokio::test]
    async fn what_is_lost_repeated_or_changed_is_told_apart() {
        let receiver = Receiver::start().await;
        receiver.on("/a", [Answer::status(500), Answer::status(200)]);
        let mut ledger = Ledger::new(&["/a", "/b"]);
        ledger.accepted(["e1", "e2", "e3"].map(String::from));
        assert_eq!(ledger.len(), 3);
        for (event, delivery, body) in
            [("e1", "d1", "x"), ("e1", "d1", "x"), ("e1", "d1", "x"), ("e2", "d2", "x"), ("e2", "d9", "y")]
        {
            post(&receiver, "/a", (event, delivery), body).await;
        }
        for (event, delivery) in [("e1", "b1"), ("e2", "b2"), ("e3", "b3")] {
            post(&receiver, "/b", (event, delivery), "x").await;
        }
        let pair = |event: &str| (event.to_string(), "/a".to_string());
        let expected = Account {
            lost: vec![pair("e3")],
            repeated: 2,
            several_ids: vec![pair("e2")],
            several_bodies: vec![pair("e2")],
        };
        assert_eq!(receiver.log(|log| ledger.account(log)), expected);
        assert!(!receiver.log(|log| ledger.is_settled(log)));
        post(&receiver, "/a", ("e3", "d3"), "x").await;
        assert!(receiver.log(|log| ledger.is_settled(log)));
        let clean = Account { repeated: 2, ..Account::default() };
        clean.hold(2);
        assert!(std::panic::catch_unwind(|| clean.hold(1)).is_err());
        assert!(std::panic::catch_unwind(|| expected.hold(9)).is_err());
    }

    #[tokio::test]
    async fn an_attempt_before_its_time_is_noticed() {
        let receiver = Receiver::start().await;
        receiver.on("/a", [Answer::status(500)]);
        post(&receiver, "/a", ("e1", "d1"), "x").await;
        post(&receiver, "/a", ("e1", "d1"), "x").await;
        receiver.log(|log| {
            assert_eq!(early(log, "/a", |_| Duration::ZERO), Vec::<String>::new());
            assert_eq!(early(log, "/a", |_| Duration::from_secs(3_600)).len(), 1);
            assert_eq!(early(log, "/b", |_| Duration::from_secs(3_600)), Vec::<String>::new());
        });
    }
}
