//! Who has seen which payload: a record of the topic `audit` for each view, written before it is shown.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::catalog::audit::{Deed, Entry, Origin};
use crate::history::rows::{Delivery, EventRow};
use crate::model::time::Timestamp;

/// For so long whoever looks again at the same has seen it once: a page that is loaded anew every second fills no log.
const ONE_VIEW: Duration = Duration::from_secs(10 * 60);
/// Views that are remembered; of more the oldest are written again.
const REMEMBERED: usize = 10_000;

/// What was shown, or put back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Viewed {
    /// `Event`, `Delivery` or `Rejected`.
    pub kind: &'static str,
    pub id: String,
    pub org: Option<String>,
    /// Of an event, whose id may be that of another source's too.
    pub source: Option<String>,
}

impl Viewed {
    pub fn delivery(delivery: &Delivery) -> Viewed {
        Viewed { kind: "Delivery", id: delivery.id.to_string(), org: delivery.about.org.clone(), source: None }
    }

    pub fn event(event: &EventRow) -> Viewed {
        let (org, source) = (Some(event.org.clone()), Some(event.source.clone()));
        Viewed { kind: "Event", id: event.id.clone(), org, source }
    }

    /// What was done with it.
    pub fn entry(&self, action: Deed, (by, at): (&Origin, Timestamp)) -> Entry {
        let (kind, id, org_id) = (self.kind.to_owned(), self.id.clone(), self.org.clone());
        Entry { at, origin: by.clone(), action, kind, id, org_id, version: 0, before: None, after: None }
    }
}

/// Who looks, from where, at what.
type View = (String, Option<IpAddr>, Viewed);

/// Views of the last minutes, in the memory of one process: one process answers history.
#[derive(Debug, Default)]
pub struct Views(Mutex<HashMap<View, Timestamp>>);

impl Views {
    /// Was it written a while ago?
    fn holds(&self, by: &Origin, what: &Viewed, now: Timestamp) -> bool {
        self.views().get(&view(by, what)).is_some_and(|at| now.since(*at) < ONE_VIEW)
    }

    /// Once it is written: who gives up meanwhile has seen nothing, and is written down the next time.
    fn remember(&self, by: &Origin, what: &Viewed, now: Timestamp) {
        let mut views = self.views();
        if views.len() >= REMEMBERED {
            views.retain(|_, at| now.since(*at) < ONE_VIEW);
        }
        if views.len() >= REMEMBERED
            && let Some(oldest) = views.iter().min_by_key(|(_, at)| **at).map(|(view, _)| view.clone())
        {
            views.remove(&oldest);
        }
        views.insert(view(by, what), now);
    }

    fn views(&self) -> MutexGuard<'_, HashMap<View, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn view(by: &Origin, what: &Viewed) -> View {
    (by.actor.clone(), by.address, what.clone())
}

/// Writes down that somebody is about to see a payload.
///
/// # Errors
/// 503 where that cannot be written: then nothing is shown.
pub(super) async fn viewed(state: &ApiState, by: &Origin, what: Viewed) -> Result<(), ApiError> {
    let now = state.credentials.clock.now();
    if state.views.holds(by, &what, now) {
        return Ok(());
    }
    state.log.append(vec![what.entry(Deed::View, (by, now)).record()]).await.map_err(|error| {
        tracing::warn!(%error, "a view of a payload was not written to the audit, so nothing was shown");
        ApiError::unavailable(
            "payloads are not shown now: each view is written to the audit first, and the log is away; try again in a moment",
        )
    })?;
    state.views.remember(by, &what, now);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_a_million_payloads_grows_no_memory_and_each_is_told() {
        let views = Views::default();
        let by = |actor: &str| Origin { actor: actor.to_owned(), address: None, request_id: None };
        let event = |n: usize| Viewed { kind: "Event", id: n.to_string(), org: None, source: None };
        let t0 = Timestamp(1_763_712_930_250);
        for n in 0..REMEMBERED + 500 {
            let now = t0.plus(Duration::from_millis(n as u64));
            assert!(!views.holds(&by("user:ada"), &event(n), now));
            views.remember(&by("user:ada"), &event(n), now);
        }
        assert!(views.views().len() <= REMEMBERED);
        let now = t0.plus(Duration::from_secs(60));
        assert!(views.holds(&by("user:ada"), &event(REMEMBERED), now), "seen a moment ago");
        assert!(!views.holds(&by("user:bob"), &event(REMEMBERED), now), "by somebody else");
        assert!(!views.holds(&by("user:ada"), &event(REMEMBERED), now.plus(ONE_VIEW)), "and again, much later");
    }
}
