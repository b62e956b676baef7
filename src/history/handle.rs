//! The store as the rest of the process finds it: there, or away and why.

use std::sync::{Arc, Mutex, PoisonError};

use super::store::{Store, StoreError};

/// Where the API asks for the store that the stage has opened.
pub struct History(Mutex<Result<Arc<dyn Store>, StoreError>>);

impl History {
    /// For a process that does not project.
    pub fn elsewhere() -> History {
        History::away(
            "history is kept by the process that has the role `project`, which this one has not: ask that process",
        )
    }

    pub fn away(why: &str) -> History {
        History(Mutex::new(Err(StoreError(why.to_owned()))))
    }

    pub fn of(store: Arc<dyn Store>) -> History {
        History(Mutex::new(Ok(store)))
    }

    pub fn set(&self, state: Result<Arc<dyn Store>, StoreError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Never blocks.
    pub fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
