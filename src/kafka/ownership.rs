//! Which partitions are this member's, and whether it may be sure of that. A few atomics for the question that is asked before
//! every request; nothing here knows Kafka.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;

use crate::model::ids::Partition;
use crate::stream::log::Epoch;

/// A moment on two clocks, in milliseconds. The monotonic one stands still while a machine is suspended, the wall clock does
/// not; the group's coordinator goes by neither, so the longer gap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    monotonic: u64,
    wall: u64,
}

impl Moment {
    fn gap_since(self, monotonic: u64, wall: u64) -> Duration {
        Duration::from_millis(self.monotonic.saturating_sub(monotonic).max(self.wall.saturating_sub(wall)))
    }
}

/// The assignment epochs of a member and its last sign of life.
#[derive(Debug)]
pub(super) struct Ownership {
    base: Instant,
    /// A member that has not polled for this long cannot be sure of its partitions: half the session.
    limit: Duration,
    slots: RwLock<FxHashMap<Partition, Epoch>>,
    next: AtomicU64,
    /// Epochs below are void for good.
    floor: AtomicU64,
    monotonic: AtomicU64,
    wall: AtomicU64,
    can_commit: AtomicBool,
    stopped: AtomicBool,
    failed: AtomicBool,
}

impl Ownership {
    pub(super) fn new(limit: Duration) -> Self {
        let own = Ownership {
            base: Instant::now(),
            limit,
            slots: RwLock::default(),
            next: AtomicU64::new(1),
            floor: AtomicU64::new(0),
            monotonic: AtomicU64::new(0),
            wall: AtomicU64::new(0),
            can_commit: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        };
        own.touch();
        own
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a gap of the machine's own clock tells of a suspension; no rule of the product goes by it"
    )]
    fn now(&self) -> Moment {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { monotonic: millis(self.base.elapsed()), wall: millis(wall) }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// A sign of life, by the thread that polls. Too long after the last one every epoch is void.
    pub(super) fn touch(&self) {
        self.touch_at(self.now());
    }

    fn touch_at(&self, now: Moment) {
        if self.wall.load(Ordering::SeqCst) != 0 {
            self.fresh_at(now);
        }
        self.monotonic.store(now.monotonic, Ordering::SeqCst);
        self.wall.store(now.wall, Ordering::SeqCst);
    }

    fn fresh_at(&self, now: Moment) -> bool {
        let gap = now.gap_since(self.monotonic.load(Ordering::SeqCst), self.wall.load(Ordering::SeqCst));
        if gap > self.limit {
            self.void_all();
        }
        gap <= self.limit
    }

    /// A new epoch for a partition that was assigned.
    pub(super) fn grant(&self, partition: Partition) -> Epoch {
        let epoch = Epoch(self.next.fetch_add(1, Ordering::SeqCst));
        if let Ok(mut slots) = self.slots.write() {
            slots.insert(partition, epoch);
        }
        epoch
    }

    /// The partition's epoch is void from here on.
    pub(super) fn revoke(&self, partition: Partition, epoch: Epoch) {
        if let Ok(mut slots) = self.slots.write()
            && slots.get(&partition) == Some(&epoch)
        {
            slots.remove(&partition);
        }
    }

    /// Every epoch given so far is void, whatever is found out later.
    pub(super) fn void_all(&self) {
        self.floor.fetch_max(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Does the epoch still stand, as far as the group has told?
    pub(super) fn holds(&self, partition: Partition, epoch: Epoch) -> bool {
        let current = self.slots.read().is_ok_and(|s| s.get(&partition) == Some(&epoch));
        current && epoch.0 >= self.floor.load(Ordering::SeqCst)
    }

    /// Does the epoch stand, and is this member sure of itself?
    pub(super) fn may_act(&self, partition: Partition, epoch: Epoch) -> bool {
        self.may_act_at(partition, epoch, self.now())
    }

    fn may_act_at(&self, partition: Partition, epoch: Epoch, now: Moment) -> bool {
        self.fresh_at(now) && self.holds(partition, epoch)
    }

    /// What a predecessor of the same name left open is settled, and flushes are taken.
    pub(super) fn set_can_commit(&self) {
        self.can_commit.store(true, Ordering::SeqCst);
    }

    pub(super) fn can_commit(&self) -> bool {
        self.can_commit.load(Ordering::SeqCst)
    }

    /// The member is being left; its threads end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// The membership has failed for good: its threads end, whoever still holds a handle.
    pub(super) fn fail(&self) {
        self.void_all();
        self.failed.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(3);

    fn at(own: &Ownership, monotonic: u64, wall: u64) -> Moment {
        let now = own.now();
        Moment { monotonic: now.monotonic + monotonic, wall: now.wall + wall }
    }

    #[test]
    fn an_epoch_of_an_earlier_assignment_is_void_after_the_partition_came_back() {
        let own = Ownership::new(Duration::from_secs(5));
        let first = own.grant(P);
        own.revoke(P, first);
        let second = own.grant(P);
        assert!(!own.may_act(P, first));
        assert!(own.may_act(P, second));
        own.revoke(P, first);
        assert!(own.may_act(P, second), "a late revoke of an old epoch touches the new one");
    }

    #[test]
    fn a_stall_voids_every_epoch_for_good_whoever_notices_it() {
        for noticed_by_poll in [true, false] {
            let own = Ownership::new(Duration::from_secs(5));
            let epoch = own.grant(P);
            let late = at(&own, 5_500, 5_500);
            if noticed_by_poll {
                own.touch_at(late);
            } else {
                assert!(!own.may_act_at(P, epoch, late));
                own.touch_at(at(&own, 0, 0));
            }
            assert!(!own.holds(P, epoch), "it was alive again and acted");
            assert!(own.holds(P, own.grant(P)));
        }
    }

    #[test]
    fn a_suspended_machine_counts_as_a_stall_although_the_monotonic_clock_stood_still() {
        let own = Ownership::new(Duration::from_secs(5));
        let epoch = own.grant(P);
        assert!(!own.may_act_at(P, epoch, at(&own, 0, 60_000)));
    }
}
