//! From `events` to `deliveries`: which integrations an event is for.

pub mod dedupe;
pub mod index;
