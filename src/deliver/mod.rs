//! The deliver stage: a delivery becomes a request, its answer an outcome, and both are told in `attempts`.

pub mod attempts;
pub mod decide;
mod delivery;
pub mod egress;
mod metrics;
mod prepared;
pub mod request;
pub mod stage;
#[cfg(test)]
mod testing;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic elsewhere leaves none of these maps half-changed, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
