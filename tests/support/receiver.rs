//! An HTTP server on loopback whose behaviour can be changed for each path while it runs, and that remembers every request.

mod log;
mod server;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use log::{Log, Seen};

/// What to do with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub then: Then,
    pub after: Duration,
    /// The value of a `Retry-After` header: seconds or a date.
    pub retry_after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// This status and a short body.
    Status(u16),
    /// Nothing, until the client gives up.
    Hang,
    /// A TCP reset in place of an answer.
    Reset,
    /// 200, then a body that does not end.
    Endless,
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer { then: Then::Status(status), after: Duration::ZERO, retry_after: None }
    }

    pub fn hang() -> Answer {
        Answer { then: Then::Hang, ..Answer::status(200) }
    }

    pub fn reset() -> Answer {
        Answer { then: Then::Reset, ..Answer::status(200) }
    }

    pub fn endless() -> Answer {
        Answer { then: Then::Endless, ..Answer::status(200) }
    }

    pub fn after(self, after: Duration) -> Answer {
        Answer { after, ..self }
    }

    pub fn retry_after(self, value: &str) -> Answer {
        Answer { retry_after: Some(value.to_string()), ..self }
    }
}

/// Answers 200 to every path that was not told otherwise. Ends with everything it holds open when dropped.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    /// Ends the connections when it is dropped.
    _tasks: JoinSet<()>,
}

struct Shared {
    /// For each path the answers to give, in turn; the last one stays.
    scripts: Mutex<HashMap<String, Vec<Answer>>>,
    log: watch::Sender<Log>,
}

impl Receiver {
    pub async fn start() -> Receiver {
        let (log, _) = watch::channel(Log::default());
        let shared = Arc::new(Shared { scripts: Mutex::default(), log });
        let mut tasks = JoinSet::new();
        let address = server::listen(&mut tasks, Arc::clone(&shared)).await;
        Receiver { address, shared, _tasks: tasks }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on this path answers so: one answer a request in this order, the last one for all that follow.
    pub fn on(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers: Vec<Answer> = answers.into_iter().collect();
        assert!(!answers.is_empty(), "{path}: at least one answer");
        self.shared.scripts.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_string(), answers);
    }

    /// What it has seen so far.
    pub fn log<T>(&self, read: impl FnOnce(&Log) -> T) -> T {
        read(&self.shared.log.borrow())
    }

    /// Returns as soon as the log is as asked; fails the test with `what` when that takes longer than `within`. The condition
    /// is asked after every request: counts and lookups are cheap, walks over all requests are not.
    pub async fn wait_for(&self, what: &str, within: Duration, is_so: impl FnMut(&Log) -> bool) {
        let mut log = self.shared.log.subscribe();
        let mut is_so = is_so;
        if tokio::time::timeout(within, log.wait_for(|log| is_so(log))).await.is_err() {
            let seen = self.log(ToString::to_string);
            panic!("waited {within:?} for {what}; the receiver has seen {seen}");
        }
    }
}

impl Shared {
    /// The answer to the next request to this path.
    fn next(&self, path: &str) -> Answer {
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        match scripts.get_mut(path) {
            None => Answer::status(200),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        }
    }
}
