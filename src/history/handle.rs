//! The store as the rest of the process finds it: there, or away and why; and how far it has read the topics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::store::{Store, StoreError};
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;

/// The next offset of each partition that is to be projected: what lies below is in the store, or gone from the log.
pub type Positions = BTreeMap<(Topic, Partition), Offset>;

/// Where the API asks for the store that the stage has opened.
pub struct History {
    store: Mutex<Result<Arc<dyn Store>, StoreError>>,
    positions: watch::Sender<Positions>,
}

impl History {
    /// For a process that does not project.
    pub fn elsewhere() -> History {
        History::away(
            "history is kept by the process that has the role `project`, which this one has not: ask that process",
        )
    }

    pub fn away(why: &str) -> History {
        History { store: Mutex::new(Err(StoreError::Away(why.to_owned()))), positions: watch::Sender::default() }
    }

    pub fn set(&self, state: Result<Arc<dyn Store>, StoreError>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Never blocks.
    pub fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store holds all below these.
    pub fn reached(&self, positions: impl IntoIterator<Item = ((Topic, Partition), Offset)>) {
        self.positions.send_modify(|known| known.extend(positions));
    }

    /// How far it is, and whenever it has gone on.
    pub fn positions(&self) -> watch::Receiver<Positions> {
        self.positions.subscribe()
    }
}
