//! The coordinator: a task for each stage that shares its partitions among the members of this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::owners::Owners;
use super::request::Requests;
use super::store::Store;
use crate::model::ids::Partition;
use crate::model::topic::Topic;
use crate::stream::lag::Lag;
use crate::stream::log::{Assignment, Committed, Drained, Epoch, LogError};

/// How long a stage may take to drain partitions before their epochs are void.
const DRAIN: Duration = Duration::from_secs(5);
/// Before a look at the file that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the lag is told.
const LAG_EVERY: Duration = Duration::from_secs(5);

/// Joins and leaves that may wait.
pub(super) const EVENTS: usize = 64;
/// Orders that may wait for a member.
pub(super) const ORDERS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(pub(super) u64);

pub(super) enum Event {
    Join(MemberId, mpsc::Sender<Order>),
    Leave(MemberId),
}

/// What a member is told to do.
pub(super) enum Order {
    Assign(Vec<Assignment>),
    /// To be drained until then.
    Revoke {
        partitions: Vec<(Partition, Epoch)>,
        until: Instant,
        drained: Drained,
    },
    /// It will not work: the stage must stop.
    Fail(LogError),
}

/// One stage's group.
pub(super) struct Group {
    pub(super) stage: &'static str,
    pub(super) topic: Topic,
    pub(super) store: Arc<Store>,
    pub(super) requests: Requests,
    pub(super) owners: Arc<Owners>,
    pub(super) lag: Arc<Lag>,
    pub(super) members: BTreeMap<MemberId, mpsc::Sender<Order>>,
    pub(super) held: BTreeMap<Partition, (MemberId, Epoch)>,
}

impl Group {
    /// Until the log and every member are gone, or `stop`.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LAG_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                _ = tick.tick() => {
                    self.tell_lag();
                    continue;
                }
            }
            while let Ok(event) = events.try_recv() {
                self.take(event);
            }
            let mut balanced = Some(false);
            while balanced == Some(false) {
                balanced = stop.run_until_cancelled(self.rebalance()).await;
            }
            if balanced.is_none() {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Join(member, orders) => drop(self.members.insert(member, orders)),
            Event::Leave(member) => {
                self.members.remove(&member);
                let gone: Vec<_> = self.held.iter().filter(|(_, (m, _))| *m == member).map(|(p, h)| (*p, *h)).collect();
                for (partition, (_, epoch)) in gone {
                    self.give_up(partition, epoch);
                }
            }
        }
    }

    fn give_up(&mut self, partition: Partition, epoch: Epoch) {
        self.owners.revoke(partition, epoch);
        self.held.remove(&partition);
        self.lag.forget(partition);
    }

    /// Takes what one has too much of, then gives what nobody has. False where a member was put out, whose share is to be given
    /// to others.
    async fn rebalance(&mut self) -> bool {
        let Ok(partitions) = self.store.spans.partitions(self.topic) else { return true };
        let members: Vec<MemberId> = self.members.keys().copied().collect();
        let held = self.held.iter().map(|(p, (m, _))| (*p, *m)).collect();
        let plan = shares(partitions, &members, &held);
        let moving: Vec<_> =
            self.held.iter().filter(|(p, (m, _))| plan.get(p) != Some(m)).map(|(p, h)| (*p, *h)).collect();
        let mut deaf = self.revoke(&moving).await;
        let free: Vec<_> = plan.into_iter().filter(|(p, _)| !self.held.contains_key(p)).collect();
        if !free.is_empty() {
            deaf.extend(self.assign(free).await);
        }
        let all_heard = deaf.is_empty();
        for member in deaf {
            // It has left, or hangs. Without its orders it would not know what it has: it is told that it is out, and joins again.
            tracing::error!(stage = self.stage, "a member of the stage takes no orders; its partitions go to others");
            self.take(Event::Leave(member));
        }
        all_heard
    }

    /// Gives back who took no word of it.
    async fn revoke(&mut self, moving: &[(Partition, (MemberId, Epoch))]) -> Vec<MemberId> {
        let mut losers: BTreeMap<MemberId, Vec<(Partition, Epoch)>> = BTreeMap::new();
        for (partition, (member, epoch)) in moving {
            losers.entry(*member).or_default().push((*partition, *epoch));
        }
        let until = Instant::now() + DRAIN;
        let drains = losers.into_iter().filter_map(|(member, partitions)| {
            let orders = self.members.get(&member)?.clone();
            Some(async move {
                let (drained, done) = Drained::new();
                let order = Order::Revoke { partitions, until, drained };
                let heard = timeout_at(until, orders.send(order)).await.is_ok_and(|sent| sent.is_ok());
                if heard {
                    // Either way it is over: drained, or out of time.
                    let _ = timeout_at(until, done).await;
                }
                (!heard).then_some(member)
            })
        });
        let deaf = join_all(drains).await.into_iter().flatten().collect();
        for (partition, (_, epoch)) in moving {
            self.give_up(*partition, *epoch);
        }
        deaf
    }

    /// Gives back who took no word of it.
    async fn assign(&mut self, free: Vec<(Partition, MemberId)>) -> Vec<MemberId> {
        let committed = match self.committed().await {
            Ok(committed) => committed,
            Err(error) => {
                self.fail(free.iter().map(|(_, member)| *member), &error).await;
                return Vec::new();
            }
        };
        let mut given: BTreeMap<MemberId, Vec<Assignment>> = BTreeMap::new();
        for (partition, member) in free {
            let (Ok(start), Ok(end)) =
                (self.store.spans.start(self.topic, partition), self.store.spans.end(self.topic, partition))
            else {
                continue;
            };
            // Behind the log's end it is of a log that is not this one: nothing of it counts.
            let committed = committed.get(&partition).filter(|c| c.offset <= end).cloned();
            let epoch = self.owners.grant(partition);
            self.lag.committed(partition, committed.as_ref().map_or(start, |c| c.offset));
            self.held.insert(partition, (member, epoch));
            given.entry(member).or_default().push(Assignment { partition, epoch, committed });
        }
        let mut deaf = Vec::new();
        for (member, assignments) in given {
            let Some(orders) = self.members.get(&member) else { continue };
            if !timeout(DRAIN, orders.send(Order::Assign(assignments))).await.is_ok_and(|sent| sent.is_ok()) {
                deaf.push(member);
            }
        }
        deaf
    }

    /// Tells members that it will not work; they get nothing until they join again.
    async fn fail(&self, members: impl Iterator<Item = MemberId>, error: &LogError) {
        for member in members.collect::<BTreeSet<_>>() {
            if let Some(orders) = self.members.get(&member) {
                // One that takes no orders has left.
                let _ = timeout(DRAIN, orders.send(Order::Fail(error.clone()))).await;
            }
        }
    }

    /// What is committed, once whatever was asked for under epochs that are void by now is settled.
    async fn committed(&self) -> Result<BTreeMap<Partition, Committed>, LogError> {
        loop {
            let found = match self.requests.settle().await {
                Ok(()) => self.store.committed(self.stage).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => return Ok(found.into_iter().collect()),
                Err(error @ LogError::Unavailable(_)) => {
                    tracing::warn!(stage = self.stage, %error, "committed offsets cannot be read; trying on");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn tell_lag(&self) {
        let ends = self.held.keys().filter_map(|p| Some((*p, self.store.spans.end(self.topic, *p).ok()?.0)));
        self.lag.ends(ends);
    }
}

/// Who is to have which partition: shares differ by one at most, and as few as possible move.
fn shares(
    partitions: i32,
    members: &[MemberId],
    held: &BTreeMap<Partition, MemberId>,
) -> BTreeMap<Partition, MemberId> {
    let mut plan = BTreeMap::new();
    if members.is_empty() {
        return plan;
    }
    let count = usize::try_from(partitions).unwrap_or(0);
    let (least, more) = (count / members.len(), count % members.len());
    let of = |m: MemberId| held.values().filter(|h| **h == m).count();
    // Who has most keeps the larger shares, so that nothing moves for the sake of an order.
    let mut order: Vec<(MemberId, usize)> = members.iter().map(|m| (*m, of(*m))).collect();
    order.sort_by_key(|(m, has)| (std::cmp::Reverse(*has), *m));
    let mut room: BTreeMap<MemberId, usize> =
        order.iter().enumerate().map(|(i, (m, _))| (*m, least + usize::from(i < more))).collect();
    for (partition, member) in held {
        if let Some(left) = room.get_mut(member).filter(|left| **left > 0) {
            *left -= 1;
            plan.insert(*partition, *member);
        }
    }
    let mut takers = room.into_iter().flat_map(|(member, left)| std::iter::repeat_n(member, left));
    for partition in (0..partitions).map(Partition) {
        if !plan.contains_key(&partition)
            && let Some(member) = takers.next()
        {
            plan.insert(partition, member);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::embedded::tests::{clock, open};

    #[tokio::test]
    async fn what_a_member_never_hears_of_is_not_kept_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), clock()).await.unwrap();
        let (stage, topic) = ("match", Topic::Events);
        let owners = Arc::<Owners>::default();
        let (deaf, hearing) = (MemberId(1), MemberId(2));
        let (hears_not, orders) = mpsc::channel(ORDERS);
        drop(orders);
        let (hears, mut orders) = mpsc::channel(ORDERS);
        let epochs: Vec<_> = (0..3).map(|p| (Partition(p), owners.grant(Partition(p)))).collect();
        let mut group = Group {
            stage,
            topic,
            store: log.store.clone(),
            requests: log.requests.clone(),
            owners: owners.clone(),
            lag: Arc::new(Lag::new(stage.to_owned(), topic.name().to_owned())),
            members: BTreeMap::from([(deaf, hears_not), (hearing, hears)]),
            held: epochs.iter().map(|(p, e)| (*p, (deaf, *e))).collect(),
        };
        assert!(!group.rebalance().await, "it is at rest with a member that hears nothing");
        assert!(group.rebalance().await);
        assert!(group.held.len() == 3 && group.held.values().all(|(member, _)| *member == hearing), "{:?}", group.held);
        assert!(epochs.iter().all(|(p, epoch)| !owners.holds(*p, *epoch)), "a zombie acts");
        let mut told = BTreeSet::new();
        while let Ok(Order::Assign(assignments)) = orders.try_recv() {
            told.extend(assignments.iter().map(|a| a.partition));
        }
        assert_eq!(told.len(), 3);
    }

    proptest! {
        #[test]
        fn shares_are_even_and_nothing_moves_without_need(
            partitions in 0..40_i32,
            members in proptest::collection::btree_set(0..9_u64, 0..6),
            before in proptest::collection::vec(0..12_u64, 40),
        ) {
            let members: Vec<MemberId> = members.into_iter().map(MemberId).collect();
            let held: BTreeMap<Partition, MemberId> = (0..partitions)
                .map(|p| (Partition(p), MemberId(before[p as usize])))
                .filter(|(_, m)| m.0 < 10)
                .collect();
            let plan = shares(partitions, &members, &held);
            if members.is_empty() {
                prop_assert!(plan.is_empty());
                return Ok(());
            }
            prop_assert_eq!(plan.len(), partitions as usize);
            let counts: Vec<usize> = members.iter().map(|m| plan.values().filter(|p| *p == m).count()).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{counts:?}");
            prop_assert_eq!(shares(partitions, &members, &plan), plan.clone(), "a balanced group is left alone");
            for (member, count) in members.iter().zip(&counts) {
                let had = held.values().filter(|h| *h == member).count();
                let kept = plan.iter().filter(|(p, m)| *m == member && held.get(p) == Some(member)).count();
                prop_assert_eq!(kept, had.min(*count), "a member lost what it could have kept");
            }
        }
    }
}
