//! All configuration: records of the compacted `catalog` topic, held in every process as an immutable snapshot.

pub mod apply;
pub mod audit;
pub mod change;
pub mod current;
pub mod diff;
#[cfg(test)]
pub mod fake;
pub mod fields;
pub mod follow;
pub mod handle;
pub mod keep;
pub mod kind;
pub mod kinds;
pub mod merge;
pub mod reseal;
pub mod resource;
#[cfg(test)]
pub mod samples;
pub mod schema;
pub mod seal;
pub mod shared;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod writer;

pub use fields::Secret;
pub use follow::Follower;
pub use handle::Catalog;
pub use kind::{Key, Kind};
pub use resource::Resource;
pub use snapshot::{OrgView, Snapshot};
pub use writer::{WriteError, Writer};
