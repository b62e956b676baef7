//! Who holds how many connections: no address holds so many that none are left for the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::Proxies;
use crate::api::door::network;
use crate::telemetry::metrics::CONNECTIONS_REFUSED;

/// How often what is refused is logged; the metric counts all of it.
const TOLD_EVERY: Duration = Duration::from_secs(60);

type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The connections of each address. Behind a trusted proxy are many clients: its own are not counted.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    trusted: Proxies,
    counts: Counts,
    told: Option<Instant>,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<(IpAddr, Counts)>);

impl Crowd {
    /// Each address may hold `most` connections.
    pub(super) fn of(most: usize, trusted: Proxies) -> Crowd {
        Crowd { most, trusted, counts: Arc::default(), told: None }
    }

    /// `None`: the address holds as many as it may.
    pub(super) fn admit(&mut self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        if self.trusted.trusts(peer) {
            return Some(Place(None));
        }
        let one = network(peer);
        let is_admitted = {
            let mut counts = locked(&self.counts);
            let count = counts.entry(one).or_default();
            let fits = *count < self.most;
            *count += usize::from(fits);
            fits
        };
        if is_admitted {
            return Some(Place(Some((one, Arc::clone(&self.counts)))));
        }
        metrics::counter!(CONNECTIONS_REFUSED).increment(1);
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.told = Some(Instant::now());
            let most = self.most;
            tracing::warn!(%peer, most, "connections are closed: the address holds as many as one may; a proxy is named in TIDEGATE_TRUSTED_PROXIES");
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((peer, counts)) = &self.0 else { return };
        let mut counts = locked(counts);
        let left = counts.get_mut(peer).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        // Only those that are there are remembered.
        if left == Some(0) {
            counts.remove(peer);
        }
    }
}

fn locked(counts: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_connections_for_the_others() {
        let trusted = Proxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut crowd = Crowd::of(3, trusted);
        let mut come = |from: &str| crowd.admit(from.parse().unwrap());
        let held: Vec<Place> = (0..3).map(|_| come("198.51.100.7").unwrap()).collect();
        assert!(come("198.51.100.7").is_none() && come("::ffff:198.51.100.7").is_none());
        let _other = come("198.51.100.8").unwrap();
        // In IPv6 everybody has a whole network of addresses.
        let _many = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|from| come(from).unwrap());
        assert!(come("2001:db8::4").is_none());
        let _behind: Vec<Place> =
            ["10.0.0.1", "10.2.0.1"].iter().cycle().take(30).map(|from| come(from).unwrap()).collect();
        drop(held);
        let _again: Vec<Place> = (0..3).map(|_| come("198.51.100.7").unwrap()).collect();
        assert!(come("198.51.100.7").is_none());
    }

    #[test]
    fn addresses_that_have_left_take_no_memory() {
        let mut crowd = Crowd::of(3, Proxies::default());
        for n in 0..1_000_u32 {
            let from = IpAddr::from((n + (11 << 24)).to_be_bytes());
            drop((crowd.admit(from), crowd.admit(from)));
        }
        assert!(locked(&crowd.counts).is_empty());
    }
}
