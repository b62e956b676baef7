//! The world around the core: a broker that survives, receivers, a clock, a catalog, readers that answer late and in any
//! order; kills, revokes, zombies, aborts, outcomes that stay unknown; and the checks. A seed is one whole history.
//!
//! Three acts: random faults; then one integration is bad for good and no other may feel it; then all is well and
//! everything must end. `lost` counts, for each record, the attempts that a crash made forgotten: nothing else may be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;

use super::broker::Broker;
use crate::lanes::rules::Rule;
use crate::lanes::*;
use crate::model::time::Timestamp;
use crate::stream::stage::Standing;

/// What is left out to see that it is caught: a rule of the core, or of the log that it relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Core(Rule),
    /// Offset and outputs are written one after the other.
    Atomic,
    /// The metadata does not carry the number of the flush.
    Number,
    /// A zombie can commit.
    Epoch,
    /// The table is loaded before the predecessor's transaction is settled.
    Barrier,
}

#[derive(Debug)]
pub(super) struct Violation {
    pub what: String,
    pub trace: Vec<String>,
}

pub(super) type Checked<T = ()> = Result<T, String>;

#[derive(Clone, Debug)]
pub(super) struct Params {
    pub ints: usize,
    pub records: usize,
    pub limits: Limits,
    pub in_flight: u16,
    pub max_attempts: u32,
    pub policy: Policy,
    pub expire: i64,
    pub abort: f64,
    pub unknown: f64,
    pub fail: f64,
    pub fault: f64,
    pub toggle: f64,
    pub shed: f64,
}

impl Params {
    fn random(r: &mut Rng) -> Params {
        let breaker = [Some(1), Some(2), Some(3), Some(4), None, None][r.usize(..6)];
        let rate = [None, None, Some(2), Some(4)][r.usize(..4)];
        Params {
            ints: r.usize(1..=4),
            records: r.usize(10..=80),
            limits: Limits {
                window: r.i64(8..=28),
                queue: r.usize(1..=5),
                queue_bytes: r.usize(10..=50),
                total_bytes: r.usize(20..=100),
                followers: r.usize(1..=4),
                singles: r.usize(1..=5),
                done_per_slot: 1_000,
                done: r.usize(1..=5),
                endings: r.usize(1..=2),
            },
            in_flight: r.u16(1..=4),
            max_attempts: r.u32(1..=4),
            policy: Policy {
                breaker: breaker.map(|failures| Breaker { failures, pause: Duration::from_millis(10) }),
                rate: rate.map(|count| Rate { count, span: Duration::from_millis(6) }),
            },
            expire: [150, 1_000_000][r.usize(..2)],
            abort: 0.1,
            unknown: 0.1,
            fail: [0.1, 0.4, 0.7][r.usize(..3)],
            fault: [0.0, 0.005, 0.015, 0.04][r.usize(..4)],
            toggle: [0.0, 0.01, 0.03][r.usize(..3)],
            shed: [0.0, 0.005, 0.1][r.usize(..3)],
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rec {
    pub int: usize,
    pub key: Option<OrderingKey>,
    pub at: i64,
    pub poison: bool,
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Delivered,
    Dead,
    Abandoned,
    Expired,
    Cancelled,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Out {
    Attempt(u32),
    Final(End),
}

#[derive(Debug)]
pub(super) struct Tx {
    pub flush: Flush,
    pub outs: Vec<(Offset, Out)>,
}

/// The process that owns the partition, or believes so.
#[derive(Debug)]
pub(super) struct Owner {
    pub core: Lanes,
    pub flight: BTreeMap<Offset, Task>,
    /// Handed out to be attempted, but their records are still being read.
    pub unread: BTreeMap<Offset, u32>,
    pub outs: Vec<(Offset, Out)>,
    pub tx: Option<Tx>,
    /// Stretches that are being read: from where, how far.
    pub reads: Vec<(i64, i64)>,
    pub zombie: bool,
}

/// What the catalog says.
#[derive(Debug)]
pub(super) struct Catalog {
    pub ids: Vec<IntegrationId>,
    pub standing: Vec<Standing>,
    pub policy: Policy,
}

impl Standings for Catalog {
    fn standing(&self, integration: &IntegrationId) -> Standing {
        self.standing[self.ids.iter().position(|id| id == integration).unwrap()]
    }

    fn policy(&self, _: &IntegrationId) -> Policy {
        self.policy
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub records: usize,
    pub steps: usize,
    pub crashes: usize,
    pub repeats: usize,
}

pub(super) struct World {
    pub r: Rng,
    pub p: Params,
    pub out: Option<Fault>,
    pub trace: Option<Vec<String>>,
    pub log: Vec<Option<Rec>>,
    pub broker: Broker,
    pub catalog: Catalog,
    pub ordered: Vec<bool>,
    pub failing: Vec<f64>,
    pub hung: Option<usize>,
    pub now: i64,
    pub t: Totals,
    pub sends: BTreeMap<Offset, u32>,
    pub lost: BTreeMap<Offset, u32>,
    /// Records whose first final outcome has happened, at the receiver or in the log.
    pub first: BTreeSet<Offset>,
    pub keys: BTreeMap<(usize, OrderingKey), Vec<Offset>>,
    pub owner: Option<Owner>,
    pub zombies: Vec<(Owner, u32)>,
}

/// One history. The trace is kept only if asked for.
pub(super) fn run(seed: u64, out: Option<Fault>, trace: bool) -> Result<Totals, Violation> {
    let mut r = Rng::with_seed(seed);
    let p = Params::random(&mut r);
    let mut world = World::new(r, p, out, trace);
    match world.acts() {
        Ok(()) => Ok(world.t),
        Err(what) => Err(Violation { what, trace: world.trace.take().unwrap_or_default() }),
    }
}

impl World {
    fn new(mut r: Rng, p: Params, out: Option<Fault>, trace: bool) -> World {
        let ids: Vec<IntegrationId> =
            ["a", "b", "c", "d"][..p.ints].iter().map(|t| IntegrationId::parse(t).unwrap()).collect();
        let active = Standing::Active { max_in_flight: p.in_flight };
        let mut world = World {
            out,
            trace: trace.then(Vec::new),
            log: Vec::new(),
            broker: Broker::default(),
            catalog: Catalog { standing: vec![active; p.ints], ids, policy: p.policy },
            ordered: (0..p.ints).map(|_| r.bool()).collect(),
            failing: (0..p.ints).map(|_| if r.f64() < 0.6 { p.fail } else { 0.05 }).collect(),
            hung: None,
            now: 0,
            t: Totals::default(),
            sends: BTreeMap::new(),
            lost: BTreeMap::new(),
            first: BTreeSet::new(),
            keys: BTreeMap::new(),
            owner: None,
            zombies: Vec::new(),
            r,
            p,
        };
        world.owner = Some(world.new_owner());
        world
    }

    pub(super) fn new_owner(&self) -> Owner {
        let entries = self.broker.retry.iter();
        let entries =
            entries.map(|(name, e)| (LaneName::parse(name).unwrap(), Entry::decode(&e.encode().unwrap()).unwrap()));
        let mut core = Lanes::load(self.p.limits.clone(), &self.broker.progress, entries);
        if let Some(Fault::Core(rule)) = self.out {
            core.rules.left_out = Some(rule);
        }
        let (flight, unread) = (BTreeMap::new(), BTreeMap::new());
        Owner { core, flight, unread, outs: Vec::new(), tx: None, reads: Vec::new(), zombie: false }
    }

    pub(super) fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:5} t={:<4} {}", self.t.steps, self.now, text()));
        }
    }

    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.r.f64() < p
    }

    pub(super) fn rec(&self, o: Offset) -> &Rec {
        self.log[o.0 as usize].as_ref().unwrap()
    }

    pub(super) fn seen(&self, o: i64) -> Option<Seen> {
        let rec = self.log[o as usize].as_ref()?;
        Some(Seen {
            offset: Offset(o),
            integration: self.catalog.ids[rec.int].clone(),
            key: rec.key.clone(),
            expires: Timestamp(rec.at + self.p.expire),
            bytes: rec.bytes,
        })
    }

    pub(super) fn append(&mut self) {
        if self.chance(0.1) {
            self.log.push(None);
            return;
        }
        let (int, o) = (self.r.usize(..self.p.ints), Offset(self.log.len() as i64));
        let key = self.ordered[int].then(|| OrderingKey::new(["x", "y", "z"][self.r.usize(..3)]));
        if let Some(key) = &key {
            self.keys.entry((int, key.clone())).or_default().push(o);
        }
        let (poison, bytes) = (self.chance(0.08), self.r.usize(1..=10));
        self.say(|| format!("append {o} of {int} {key:?}"));
        self.log.push(Some(Rec { int, key, at: self.now, poison, bytes }));
    }

    /// The process is assumed to be alive and working between the expiry of a record and its deletion.
    pub(super) fn tick(&mut self) {
        let (now, expire) = (self.now, self.p.expire);
        let late = |(o, rec): (usize, &Option<Rec>)| {
            let late = rec.as_ref().is_some_and(|r| now > r.at + expire + 40 && Some(r.int) != self.hung);
            late && !self.broker.ended.contains_key(&Offset(o as i64))
        };
        if !self.log.iter().enumerate().any(late) {
            self.now += self.r.i64(1..=8);
        }
    }

    fn step(&mut self, faults: bool) -> Checked {
        self.t.steps += 1;
        let x = self.r.f64();
        if faults && x < self.p.fault {
            return self.takeover();
        }
        if faults && x < self.p.fault + self.p.toggle {
            self.toggle();
            return Ok(());
        }
        if x > 0.97 {
            self.tick();
        } else if x > 0.9 && self.p.records > self.log.len() {
            self.append();
        } else if x > 0.82 && !self.zombies.is_empty() {
            let at = self.r.usize(..self.zombies.len());
            let (mut ow, span) = self.zombies.swap_remove(at);
            let result = self.owner_step(&mut ow);
            if span > 1 {
                self.zombies.push((ow, span - 1));
            }
            return result;
        } else if let Some(mut ow) = self.owner.take() {
            let result = self.owner_step(&mut ow);
            self.owner = Some(ow);
            return result;
        }
        Ok(())
    }

    fn toggle(&mut self) {
        let active = Standing::Active { max_in_flight: self.p.in_flight };
        let i = self.r.usize(..self.p.ints);
        let x = self.r.f64();
        let now = match self.catalog.standing[i] {
            Standing::Deleted if x < 0.7 => return,
            _ if x < 0.05 => Standing::Deleted,
            _ if x < 0.15 => Standing::Unknown,
            Standing::Active { .. } => Standing::Disabled,
            _ => active,
        };
        self.set(i, now);
    }

    fn set(&mut self, i: usize, standing: Standing) {
        self.say(|| format!("{i} is {standing:?}"));
        self.catalog.standing[i] = standing;
        let id = &self.catalog.ids[i];
        for ow in self.owner.iter_mut().chain(self.zombies.iter_mut().map(|z| &mut z.0)) {
            ow.core.poke(id);
        }
    }

    fn until(&mut self, what: &str, met: impl Fn(&World) -> bool) -> Checked {
        for n in 0..6_000 + 300 * self.p.records {
            if n % 16 == 0 && met(self) {
                return Ok(());
            }
            self.step(false)?;
        }
        let open = (0..self.log.len() as i64).map(Offset).filter(|o| !self.broker.ended.contains_key(o));
        let open: Vec<i64> = open.filter(|o| self.log[o.0 as usize].is_some()).map(|o| o.0).collect();
        let progress = &self.broker.progress;
        Err(format!("{what}: {progress:?} of {}, retry={:?}, unfinished={open:?}", self.log.len(), self.broker.retry))
    }

    fn acts(&mut self) -> Checked {
        while self.log.len() < self.p.records || self.t.steps < self.p.records * 15 {
            self.step(true)?;
        }
        (self.p.abort, self.p.unknown) = (0.0, 0.0);
        let (bad, mode) = (self.r.usize(..self.p.ints), self.r.usize(..3));
        let active = Standing::Active { max_in_flight: self.p.in_flight };
        self.say(|| format!("---- second act: {bad} is {}", ["hung", "disabled", "failing"][mode]));
        for i in 0..self.p.ints {
            let off = i == bad && mode == 1;
            if self.catalog.standing[i] != Standing::Deleted {
                self.set(i, if off { Standing::Disabled } else { active });
            }
            self.failing[i] = if i == bad && mode == 2 { 1.0 } else { 0.0 };
        }
        self.hung = (mode == 0).then_some(bad);
        self.until("blocks others", |w| {
            let ended = |o: usize| w.broker.ended.contains_key(&Offset(o as i64));
            w.log.iter().enumerate().all(|(o, r)| r.as_ref().is_none_or(|r| r.int == bad || ended(o)))
        })?;
        self.say(|| "---- third act: all is well".into());
        self.hung = None;
        self.failing[bad] = 0.0;
        if self.catalog.standing[bad] != Standing::Deleted {
            self.set(bad, active);
        }
        self.until("never ends", |w| {
            let idle = w.owner.as_ref().is_some_and(|ow| ow.tx.is_none() && ow.outs.is_empty());
            w.broker.progress.watermark.0 == w.log.len() as i64 && w.broker.retry.is_empty() && idle
        })?;
        self.account()
    }
}
