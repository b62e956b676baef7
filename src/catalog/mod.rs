//! All configuration: records of the compacted `catalog` topic, held in every process as an immutable snapshot.

pub mod change;
pub mod current;
#[cfg(test)]
pub mod fake;
mod fields;
pub mod follow;
pub mod handle;
mod integration;
mod neutral;
mod organization;
pub mod resource;
mod retry;
#[cfg(test)]
pub mod samples;
pub mod shared;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod writer;

pub use follow::Follower;
pub use handle::Catalog;
pub use snapshot::{OrgView, Snapshot};
pub use writer::{WriteError, Writer};
