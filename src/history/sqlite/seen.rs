//! What was written lately and is needed again, so that it is not read back. What a transaction that did not come to its end put
//! here must be forgotten.

use std::collections::HashMap;

use super::kinds::Kinds;
use crate::history::standing::Standing;
use crate::model::delivery::DeliveryStatus;
use crate::model::ids::DeliveryId;

/// Deliveries that are kept in memory, of about 1 KiB each; with more, those of the records at hand are read.
const REMEMBERED: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) kinds: Kinds,
    /// More will be told of them: as they stand in their rows.
    unfinished: HashMap<DeliveryId, Standing>,
}

impl Seen {
    pub(super) fn take(&mut self, id: DeliveryId) -> Option<Standing> {
        self.unfinished.remove(&id)
    }

    /// Of what is at its end little more is heard.
    pub(super) fn keep(&mut self, id: DeliveryId, standing: &Standing) {
        if !matches!(standing.state.status, DeliveryStatus::Pending | DeliveryStatus::Retrying) {
            return;
        }
        if self.unfinished.len() >= REMEMBERED {
            self.unfinished.clear();
        }
        self.unfinished.insert(id, standing.clone());
    }

    pub(super) fn forget(&mut self) {
        self.kinds.forget();
        self.unfinished.clear();
    }
}
