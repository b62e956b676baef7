//! The engine's threads: named, counted, and waited for with a deadline when the log is closed.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::stream::log::LogError;

/// Counts the threads that run. librdkafka's calls block, some for seconds, and a consumer's end may hang on a broker that is
/// gone: so none of them runs on an async thread and none is waited for without a deadline.
#[derive(Clone, Debug)]
pub(super) struct Threads {
    running: Arc<watch::Sender<usize>>,
}

impl Threads {
    pub(super) fn new() -> Self {
        Threads { running: Arc::new(watch::Sender::new(0)) }
    }

    /// Starts a thread that is counted.
    pub(super) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), LogError> {
        self.running.send_modify(|n| *n += 1);
        let counted = Counted(self.running.clone());
        let spawned = thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || {
            let _counted = counted;
            work();
        });
        spawned.map(|_| ()).map_err(|e| LogError::Unavailable(format!("no thread can be started: {e}")))
    }

    /// Ends `value` on a thread of its own, because its end may block.
    pub(super) fn bury<T: Send + 'static>(&self, value: T) {
        // Where no thread can be had the value went with the closure: it was dropped here, late but done.
        let _ = self.spawn("kafka-close", move || drop(value));
    }

    /// Waits until no thread runs; false where the deadline came first.
    pub(super) async fn ended(&self, deadline: Duration) -> bool {
        let mut running = self.running.subscribe();
        let all = tokio::time::timeout(deadline, running.wait_for(|n| *n == 0)).await;
        matches!(all, Ok(Ok(_)))
    }
}

struct Counted(Arc<watch::Sender<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n = n.saturating_sub(1));
    }
}
