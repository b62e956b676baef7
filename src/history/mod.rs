//! What happened, to be asked for: events, deliveries, attempts, what was skipped, rejected or died. Everything is in the topics;
//! the store holds what people query, and is made again from them. No delivery ever waits for it.
//!
//! * `facts` turns a record into `rows`, `project` follows the topics and writes them, `standing` is what facts about one
//!   delivery come to, `store` is what a store can do, `sqlite` does it in one file, `handle` is where the API finds it.
//! * `redrive` puts dead letters back, by what history knows of them.

pub mod facts;
pub mod handle;
pub mod project;
pub mod redrive;
pub mod rows;
pub mod sqlite;
pub mod standing;
pub mod store;
#[cfg(test)]
mod tests;

pub use handle::History;

/// The part of `/health` that tells of it.
pub const PART: &str = "history";
