//! Names to addresses that may be reached: what was checked here is what the connection is made to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustc_hash::FxHashMap;

use super::address::{EgressAllow, public};
use super::{Refused, Wire};
use crate::deliver::lock;

/// Looks names up and keeps the addresses that the guard lets through.
pub(super) struct GuardedResolver {
    pub allow: Arc<EgressAllow>,
    pub wire: Wire,
    pub lookups: Arc<Lookups>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow, wire) = (self.allow.clone(), self.wire);
        let lookup = self.lookups.find(name.as_str(), system);
        Box::pin(async move {
            let found = lookup.await.map_err(LookupFailed)?;
            let host = name.as_str();
            let named = allow.host(host);
            let passes = |a: &SocketAddr| named || allow.address(a.ip()) || (wire == Wire::Tls && public(a.ip()));
            let kept: Vec<SocketAddr> = found.iter().copied().filter(passes).collect();
            if kept.is_empty() {
                let all_public = !found.is_empty() && found.iter().all(|a| public(a.ip()));
                return Err(if all_public {
                    Refused::Plain(host.to_owned())
                } else {
                    Refused::NotPublic(host.to_owned())
                }
                .into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the host name could not be resolved: {0}")]
pub(super) struct LookupFailed(pub Arc<io::Error>);

type Found = Result<Arc<[SocketAddr]>, Arc<io::Error>>;
type Lookup = BoxFuture<'static, Found>;

/// One lookup at a time for each name. The system's resolver occupies a thread for as long as a dead name server lets it
/// wait; without this, one such name would take them all from the others.
#[derive(Default)]
pub(super) struct Lookups(std::sync::Mutex<FxHashMap<String, WeakShared<Lookup>>>);

/// Entries of lookups that have ended are swept when there are this many.
const SWEEP_AT: usize = 1_024;

/// The system's resolver, on a thread that may block.
fn system(host: String) -> Lookup {
    Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), 0)).await.map_err(Arc::new)?.collect()) })
}

impl Lookups {
    /// The lookup of this name that runs, else a new one.
    fn find(&self, host: &str, look_up: impl FnOnce(String) -> Lookup) -> Shared<Lookup> {
        let mut running = lock(&self.0);
        if let Some(lookup) = running.get(host).and_then(WeakShared::upgrade) {
            return lookup;
        }
        if running.len() >= SWEEP_AT {
            running.retain(|_, lookup| lookup.upgrade().is_some());
        }
        let lookup = look_up(host.to_owned()).shared();
        if let Some(weak) = lookup.downgrade() {
            running.insert(host.to_owned(), weak);
        }
        lookup
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookups")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_dead_name_server_takes_one_thread_for_a_name_however_many_ask() {
        let lookups = Lookups::default();
        let first = lookups.find("dead.example", |_| pending().boxed());
        let asked = (0..100).map(|_| lookups.find("dead.example", |_| panic!("looked up twice")));
        let asked: Vec<_> = asked.collect();
        assert_eq!((asked.len(), lock(&lookups.0).len()), (100, 1));
        drop((first, asked));

        let found: Arc<[SocketAddr]> = Arc::from(["192.0.2.1:0".parse().unwrap()]);
        let again = found.clone();
        let lookup = lookups.find("dead.example", |_| async { Ok(again) }.boxed());
        assert_eq!(lookup.await.unwrap(), found);
    }

    #[test]
    fn names_that_were_looked_up_are_not_kept_for_ever() {
        let lookups = Lookups::default();
        for n in 0..10 * SWEEP_AT {
            drop(lookups.find(&format!("h{n}.example"), |_| pending().boxed()));
        }
        assert!(lock(&lookups.0).len() <= SWEEP_AT);
    }
}
