//! The log port that stages are written against, and what runs them. Nothing here knows a broker.

#[cfg(test)]
pub(crate) mod fake;
pub mod flusher;
pub mod lag;
pub mod log;
pub mod map;
pub mod metadata;
pub mod room;
pub mod stage;
