//! Who may act for the partitions of a stage.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::ids::Partition;
use crate::stream::log::Epoch;

/// The epoch under which each partition of a stage is owned; epochs of one stage are never given twice. All members of the
/// process share it, and the writer asks it: what is not owned any more is not written.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<Partition, Epoch>,
    epochs: u64,
}

impl Owners {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn grant(&self, partition: Partition) -> Epoch {
        let mut state = self.state();
        state.epochs += 1;
        let epoch = Epoch(state.epochs);
        state.owned.insert(partition, epoch);
        epoch
    }

    /// The epoch is void from here on.
    pub(super) fn revoke(&self, partition: Partition, epoch: Epoch) {
        let mut state = self.state();
        if state.owned.get(&partition) == Some(&epoch) {
            state.owned.remove(&partition);
        }
    }

    pub(super) fn holds(&self, partition: Partition, epoch: Epoch) -> bool {
        self.state().owned.get(&partition) == Some(&epoch)
    }
}
