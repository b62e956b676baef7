//! All configuration: records of the compacted `catalog` topic, held in every process as an immutable snapshot.

pub mod current;
pub mod handle;
#[cfg(test)]
pub mod samples;
pub mod shared;
pub mod snapshot;

pub use handle::Catalog;
pub use snapshot::{OrgView, Snapshot};
