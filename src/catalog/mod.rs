//! All configuration: records of the compacted `catalog` topic, held in every process as an immutable snapshot.

pub mod current;
mod fields;
pub mod handle;
mod integration;
mod neutral;
mod organization;
pub mod resource;
#[cfg(test)]
pub mod samples;
pub mod shared;
pub mod snapshot;

pub use handle::Catalog;
pub use snapshot::{OrgView, Snapshot};
