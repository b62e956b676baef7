//! What a member is told, in its order, but for what cannot wait until a stage is ready.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::ids::Partition;
use crate::stream::log::{Epoch, LogError, Signal};

pub(super) struct Inbox {
    signals: mpsc::Receiver<Signal>,
    /// Received before its turn. Bounded as `signals` is: its records have not given their room back.
    early: VecDeque<Signal>,
    stop: CancellationToken,
}

impl Inbox {
    pub fn new(signals: mpsc::Receiver<Signal>, stop: CancellationToken) -> Self {
        Inbox { signals, early: VecDeque::new(), stop }
    }

    pub fn is_empty(&self) -> bool {
        self.early.is_empty() && self.signals.is_empty()
    }

    pub async fn next(&mut self) -> Signal {
        match self.early.pop_front() {
            Some(signal) => signal,
            None => self.signals.recv().await.unwrap_or_else(ended),
        }
    }

    /// Returns when something has come that does not wait until a stage is ready: partitions that go, or the end. It is the
    /// next signal then; what was told of its partitions before finds them gone.
    pub async fn urgent(&mut self) {
        loop {
            let signal = tokio::select! {
                signal = self.signals.recv() => signal.unwrap_or_else(ended),
                () = self.stop.cancelled() => return,
            };
            match signal {
                Signal::Assigned(_) | Signal::Records { .. } | Signal::Skipped { .. } => self.early.push_back(signal),
                Signal::Revoked { .. } | Signal::Lost { .. } | Signal::Failed(_) => {
                    return self.early.push_front(signal);
                }
            }
        }
    }

    /// To be dealt with again, after what was urgent.
    pub fn postpone(&mut self, signal: Signal) {
        let urgent = |s: &Signal| matches!(s, Signal::Revoked { .. } | Signal::Lost { .. } | Signal::Failed(_));
        let at = usize::from(self.early.front().is_some_and(urgent));
        self.early.insert(at, signal);
    }

    /// Assignments that have not had their turn and are gone.
    pub fn forget(&mut self, partitions: &[(Partition, Epoch)]) {
        for signal in &mut self.early {
            if let Signal::Assigned(assignments) = signal {
                assignments.retain(|a| !partitions.contains(&(a.partition, a.epoch)));
            }
        }
    }
}

fn ended() -> Signal {
    Signal::Failed(LogError::Unavailable("the group membership ended".into()))
}
