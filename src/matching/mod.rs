//! From `events` to `deliveries`: which integrations an event is for.

pub mod dedupe;
pub mod index;
pub mod indexes;
pub mod skipped;
pub mod stage;

pub use stage::Match;
