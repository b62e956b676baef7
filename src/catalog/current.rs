//! Knowing what is not there: an absence in the snapshot means something only once the snapshot has caught up.

use std::time::Duration;

use crate::catalog::Catalog;
use crate::model::ids::Partition;
use crate::model::topic::Topic;
use crate::stream::log::{Log, LogError};

impl Catalog {
    /// Waits until the snapshot holds everything that was written to the catalog before this call, a few milliseconds as a
    /// rule. An organization that is unknown afterwards did not exist when the record that names it was read.
    ///
    /// `Unavailable` when the log does not answer, or the snapshot does not get there `within` the time given.
    pub async fn catch_up(&self, log: &dyn Log, within: Duration) -> Result<(), LogError> {
        let end = log.end(Topic::Catalog, Partition(0)).await?;
        if self.reached(end, within).await {
            Ok(())
        } else {
            Err(LogError::Unavailable(format!("the catalog was not read up to offset {end} within {within:?}")))
        }
    }
}
