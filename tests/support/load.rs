//! A client that publishes steadily and never gives an event up: what is not answered is sent again under the same id.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::api::{Api, event};

/// A load ends by itself after so long, whatever its test forgot.
const LONGEST: Duration = Duration::from_secs(300);

/// Batches a second.
const BATCHES: u64 = 20;

pub struct Load {
    accepted: Arc<Mutex<Accepted>>,
    count: watch::Receiver<usize>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What was accepted.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    /// Every event that was answered 202.
    pub ids: Vec<String>,
    /// Those whose first try was not answered: they may be in the log more than once.
    pub unsure: Vec<String>,
}

impl Load {
    /// `per_second` events of a type, in twenty batches a second, to these gateways in turn.
    pub fn start(gateways: &[Api], label: &str, event_type: &'static str, per_second: u64) -> Load {
        let (counted, count) = watch::channel(0);
        let (accepted, stop) = (Arc::<Mutex<Accepted>>::default(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let batch = usize::try_from(per_second / BATCHES).expect("small").max(1);
        let made = Maker { label: label.to_owned(), event_type, batch };
        tasks.spawn(run(gateways.to_vec(), made, (accepted.clone(), counted), stop.clone()));
        Load { accepted, count, stop, tasks }
    }

    /// How many are accepted by now.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until so many more are accepted than now.
    pub async fn more(&mut self, events: usize, within: Duration) {
        let goal = self.count() + events;
        let reached = timeout(within, self.count.wait_for(|n| *n >= goal)).await.is_ok_and(|n| n.is_ok());
        assert!(reached, "{events} more events accepted: not within {within:?}; {} in all", self.count());
    }

    /// Stops; the batch under way is brought to its end first.
    pub async fn finish(mut self) -> Accepted {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("the load does not break");
        }
        self.accepted.lock().unwrap().clone()
    }
}

struct Maker {
    label: String,
    event_type: &'static str,
    batch: usize,
}

async fn run(
    gateways: Vec<Api>,
    made: Maker,
    (accepted, counted): (Arc<Mutex<Accepted>>, watch::Sender<usize>),
    stop: CancellationToken,
) {
    let end = Instant::now() + LONGEST;
    let mut tick = interval(Duration::from_millis(1_000 / BATCHES));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = 0;
    while !stop.is_cancelled() && Instant::now() < end {
        let ids: Vec<String> = (next..next + made.batch).map(|n| format!("{}-{n:06}", made.label)).collect();
        next += made.batch;
        let batch: Vec<_> = ids.iter().map(|id| event(id, made.event_type)).collect();
        let mut tries = 0;
        loop {
            tick.tick().await;
            if gateways[tries % gateways.len()].try_publish(&batch).await {
                break;
            }
            tries += 1;
            assert!(Instant::now() < end, "a batch was not accepted until the load's end");
        }
        let mut accepted = accepted.lock().unwrap();
        if tries > 0 {
            accepted.unsure.extend(ids.iter().cloned());
        }
        accepted.ids.extend(ids);
        counted.send_replace(accepted.ids.len());
    }
}
