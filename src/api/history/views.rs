//! Who has seen which payload: a record of the topic `audit` for each view, written before it is shown.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::catalog::audit::{Deed, Entry, Origin};
use crate::history::rows::Delivery;
use crate::model::time::Timestamp;

/// For so long whoever looks again at the same has seen it once: a page that is loaded anew every second fills no log.
const ONE_VIEW: Duration = Duration::from_secs(10 * 60);
/// Views that are remembered; of more the oldest are written again.
const REMEMBERED: usize = 10_000;

/// What was shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Viewed {
    /// `Event`, `Delivery` or `Rejected`.
    pub kind: &'static str,
    pub id: String,
    pub org: Option<String>,
}

impl Viewed {
    pub fn delivery(delivery: &Delivery) -> Viewed {
        Viewed { kind: "Delivery", id: delivery.id.to_string(), org: delivery.about.org.clone() }
    }
}

/// Who looks, from where, at what.
type View = (String, Option<IpAddr>, Viewed);

/// Views of the last minutes, in the memory of one process: one process answers history.
#[derive(Debug, Default)]
pub struct Views(Mutex<HashMap<View, Timestamp>>);

impl Views {
    /// Is it a new view?
    fn begin(&self, by: &Origin, what: &Viewed, now: Timestamp) -> bool {
        let mut views = self.views();
        let view = (by.actor.clone(), by.address, what.clone());
        if views.get(&view).is_some_and(|at| now.since(*at) < ONE_VIEW) {
            return false;
        }
        if views.len() >= REMEMBERED {
            views.retain(|_, at| now.since(*at) < ONE_VIEW);
        }
        if views.len() >= REMEMBERED
            && let Some(oldest) = views.iter().min_by_key(|(_, at)| **at).map(|(view, _)| view.clone())
        {
            views.remove(&oldest);
        }
        views.insert(view, now);
        true
    }

    fn forget(&self, by: &Origin, what: Viewed) {
        self.views().remove(&(by.actor.clone(), by.address, what));
    }

    fn views(&self) -> MutexGuard<'_, HashMap<View, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes down that somebody is about to see a payload.
///
/// # Errors
/// 503 where that cannot be written: then nothing is shown.
pub(super) async fn viewed(state: &ApiState, by: &Origin, what: Viewed) -> Result<(), ApiError> {
    let now = state.credentials.clock.now();
    if !state.views.begin(by, &what, now) {
        return Ok(());
    }
    let entry = Entry {
        at: now,
        origin: by.clone(),
        action: Deed::View,
        kind: what.kind.to_owned(),
        id: what.id.clone(),
        org_id: what.org.clone(),
        version: 0,
        before: None,
        after: None,
    };
    state.log.append(vec![entry.record()]).await.map(drop).map_err(|error| {
        state.views.forget(by, what);
        tracing::warn!(%error, "a view of a payload was not written to the audit, so nothing was shown");
        ApiError::unavailable(
            "payloads are not shown now: each view is written to the audit first, and the log is away; try again in a moment",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_a_million_payloads_grows_no_memory_and_each_is_told() {
        let views = Views::default();
        let by = |actor: &str| Origin { actor: actor.to_owned(), address: None, request_id: None };
        let event = |n: usize| Viewed { kind: "Event", id: n.to_string(), org: None };
        let t0 = Timestamp(1_763_712_930_250);
        for n in 0..REMEMBERED + 500 {
            assert!(views.begin(&by("user:ada"), &event(n), t0.plus(Duration::from_millis(n as u64))));
        }
        assert!(views.views().len() <= REMEMBERED);
        let now = t0.plus(Duration::from_secs(60));
        assert!(!views.begin(&by("user:ada"), &event(REMEMBERED), now), "seen a moment ago");
        assert!(views.begin(&by("user:bob"), &event(REMEMBERED), now), "by somebody else");
        assert!(views.begin(&by("user:ada"), &event(REMEMBERED), now.plus(ONE_VIEW)), "and again, much later");
    }
}
