//! The world around the core: a broker that survives, receivers, a clock, a catalog, readers that answer late and in any
//! order; kills, revokes, zombies, aborts, outcomes that stay unknown; and the checks. A seed is one whole history.
//!
//! Three acts: random faults; then one integration is bad for good and no other may feel it; then all is well and
//! everything must end. `lost` counts, for each record, the attempts that a crash made forgotten: nothing else may be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use fastrand::Rng;

use super::integration::Int;
use super::rules::Rule;
use super::*;
use crate::model::time::Timestamp;
use crate::stream::metadata::Progress;
use crate::stream::stage::{Ending, Standing};

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

type Checked<T = ()> = Result<T, String>;

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
            shed: [0.0, 0.005][r.usize(..2)],
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rec {
    int: usize,
    key: Option<OrderingKey>,
    at: i64,
    poison: bool,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Delivered,
    Dead,
    Abandoned,
    Expired,
    Cancelled,
}

#[derive(Clone, Copy, Debug)]
enum Out {
    Attempt(u32),
    Final(End),
}

#[derive(Debug)]
struct Tx {
    flush: Flush,
    outs: Vec<(Offset, Out)>,
}

/// What survives.
#[derive(Debug, Default)]
struct Broker {
    progress: Progress,
    retry: BTreeMap<String, Entry>,
    attempts: BTreeMap<Offset, u32>,
    ended: BTreeMap<Offset, End>,
    writes: usize,
}

/// The process that owns the partition, or believes so.
#[derive(Debug)]
pub(super) struct Owner {
    pub core: Lanes,
    flight: BTreeMap<Offset, Task>,
    outs: Vec<(Offset, Out)>,
    tx: Option<Tx>,
    /// Stretches that are being read: from where, how far.
    reads: Vec<(i64, i64)>,
    zombie: bool,
}

/// What the catalog says.
#[derive(Debug)]
struct Catalog {
    ids: Vec<IntegrationId>,
    standing: Vec<Standing>,
    policy: Policy,
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
    pub writes: usize,
}

pub(super) struct World {
    r: Rng,
    p: Params,
    out: Option<Fault>,
    trace: Option<Vec<String>>,
    log: Vec<Option<Rec>>,
    broker: Broker,
    catalog: Catalog,
    ordered: Vec<bool>,
    failing: Vec<f64>,
    hung: Option<usize>,
    now: i64,
    t: Totals,
    sends: BTreeMap<Offset, u32>,
    lost: BTreeMap<Offset, u32>,
    /// Records whose first final outcome has happened, at the receiver or in the log.
    first: BTreeSet<Offset>,
    keys: BTreeMap<(usize, OrderingKey), Vec<Offset>>,
    owner: Option<Owner>,
    zombies: Vec<(Owner, u32)>,
    worst: Checked,
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
            worst: Ok(()),
            r,
            p,
        };
        world.owner = Some(world.new_owner());
        world
    }

    fn new_owner(&self) -> Owner {
        let entries = self.broker.retry.iter();
        let entries =
            entries.map(|(name, e)| (LaneName::parse(name).unwrap(), Entry::decode(&e.encode().unwrap()).unwrap()));
        let mut core = Lanes::load(self.p.limits.clone(), &self.broker.progress, entries);
        if let Some(Fault::Core(rule)) = self.out {
            core.rules.left_out = Some(rule);
        }
        Owner { core, flight: BTreeMap::new(), outs: Vec::new(), tx: None, reads: Vec::new(), zombie: false }
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:5} t={:<4} {}", self.t.steps, self.now, text()));
        }
    }

    fn chance(&mut self, p: f64) -> bool {
        self.r.f64() < p
    }

    fn rec(&self, o: Offset) -> &Rec {
        self.log[o.0 as usize].as_ref().unwrap()
    }

    fn seen(&self, o: i64) -> Option<Seen> {
        let rec = self.log[o as usize].as_ref()?;
        Some(Seen {
            offset: Offset(o),
            integration: self.catalog.ids[rec.int].clone(),
            key: rec.key.clone(),
            expires: Timestamp(rec.at + self.p.expire),
            bytes: rec.bytes,
        })
    }

    // ---- environment

    fn append(&mut self) {
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
    fn tick(&mut self) {
        let (now, expire) = (self.now, self.p.expire);
        let late = |(o, rec): (usize, &Option<Rec>)| {
            let late = rec.as_ref().is_some_and(|r| now > r.at + expire + 40 && Some(r.int) != self.hung);
            late && !self.broker.ended.contains_key(&Offset(o as i64))
        };
        if !self.log.iter().enumerate().any(late) {
            self.now += self.r.i64(1..=8);
        }
    }

    fn answer(&mut self, ow: &mut Owner, o: Offset) -> Checked {
        let rec = self.rec(o).clone();
        let Some(task) = ow.flight.get(&o).copied() else { return Ok(()) };
        let n = match task {
            Task::End(how, _) => {
                let end = if how == Ending::Expired { End::Expired } else { End::Cancelled };
                ow.flight.remove(&o);
                ow.outs.push((o, Out::Final(end)));
                ow.core.ended(o);
                return Ok(());
            }
            Task::Attempt(n) => n,
        };
        if Some(rec.int) == self.hung {
            return Ok(());
        }
        let (x, fail) = (self.r.f64(), self.failing[rec.int]);
        let wait = if self.chance(0.2) { 25 } else { 3 * i64::from(n) } + self.r.i64(0..=2);
        let due = Timestamp(self.now + wait);
        let (answer, end) = if rec.poison || (x < fail * 0.15) {
            (Answer::Dead, Some(End::Dead))
        } else if x > fail {
            (Answer::Delivered, Some(End::Delivered))
        } else if n >= self.p.max_attempts {
            (Answer::Abandoned, Some(End::Abandoned))
        } else {
            (Answer::Retry { due, about: About::default() }, None)
        };
        let zombie = if ow.zombie { "zombie: " } else { "" };
        self.say(|| format!("{zombie}answer {o} attempt {n}: {answer:?}"));
        if end == Some(End::Delivered) {
            self.first_end(o, End::Delivered)?;
        }
        ow.flight.remove(&o);
        ow.outs.push((o, Out::Attempt(n)));
        ow.outs.extend(end.map(|end| (o, Out::Final(end))));
        ow.core.complete(o, answer, Timestamp(self.now));
        Ok(())
    }

    fn sent(&mut self, ow: &Owner, o: Offset, n: u32) -> Checked {
        let rec = self.rec(o).clone();
        *self.sends.entry(o).or_default() += 1;
        if ow.zombie {
            *self.lost.entry(o).or_default() += 1;
            self.t.repeats += 1;
            return Ok(());
        }
        self.say(|| format!("send {o} of {} {:?} attempt {n}", rec.int, rec.key));
        if self.broker.ended.contains_key(&o) {
            return Err(format!("{o} sent again after its committed end"));
        }
        let id = self.catalog.ids[rec.int].clone();
        let name = match rec.key.clone() {
            Some(key) => LaneName::Key(id.clone(), key),
            None => LaneName::Single(id.clone(), o),
        };
        if let Some(e) = self.broker.retry.get(&name.to_string())
            && e.attempt > 0
            && e.from == o
            && self.now < e.due.0
        {
            return Err(format!("{o} early: due {}, now {}", e.due.0, self.now));
        }
        let wide = ow.core.int(ow.core.ids[&id]).wide.as_ref();
        if !matches!(self.catalog.standing[rec.int], Standing::Active { .. })
            || wide.is_some_and(|w| w.reason.is_gate() && self.now < w.due.0)
        {
            return Err(format!("{o} sent while {id} is held"));
        }
        let attempts = ow.flight.iter().filter(|(_, task)| matches!(task, Task::Attempt(_)));
        let of_int = attempts.clone().filter(|(f, _)| self.rec(**f).int == rec.int).count();
        if of_int > usize::from(self.p.in_flight) {
            return Err(format!("{id} over its budget"));
        }
        let mate =
            |f: &Offset| *f != o && rec.key.is_some() && self.rec(*f).int == rec.int && self.rec(*f).key == rec.key;
        if ow.flight.keys().any(mate) {
            return Err(format!("{o}: not the head"));
        }
        if n > self.p.max_attempts {
            return Err(format!("{o}: attempt {n}"));
        }
        Ok(())
    }

    /// Order: the first final outcomes of a key come in the order of the log. A success counts when the receiver has it.
    fn first_end(&mut self, o: Offset, end: End) -> Checked {
        if !self.first.insert(o) {
            return Ok(());
        }
        let rec = self.rec(o);
        let Some(key) = &rec.key else { return Ok(()) };
        let mates = &self.keys[&(rec.int, key.clone())];
        match mates.iter().find(|f| **f < o && !self.first.contains(f)) {
            Some(f) => Err(format!("order: {o} {end:?} before {f} of {} {key:?}", rec.int)),
            None => Ok(()),
        }
    }

    // ---- the broker

    fn commit(&mut self, tx: &Tx, outputs: bool) -> Checked {
        self.broker.progress = tx.flush.progress.clone();
        if !outputs {
            return Ok(());
        }
        for (name, entry) in &tx.flush.entries {
            self.broker.writes += 1;
            match entry {
                Some(entry) => self.broker.retry.insert(name.to_string(), entry.clone()),
                None => self.broker.retry.remove(&name.to_string()),
            };
        }
        for (o, out) in &tx.outs {
            match *out {
                Out::Attempt(n) => {
                    let before = self.broker.attempts.insert(*o, n).unwrap_or(0);
                    if n != before + 1 {
                        return Err(format!("{o}: attempt {n} recorded after {before}"));
                    }
                }
                Out::Final(end) => {
                    if let Some(before) = self.broker.ended.insert(*o, end) {
                        return Err(format!("{o} ends twice: {before:?}, {end:?}"));
                    }
                    self.first_end(*o, end)?;
                }
            }
        }
        self.say(|| {
            let mut text = format!("commit {:?}", tx.flush.progress);
            for (name, entry) in &tx.flush.entries {
                let _ = match entry {
                    Some(e) => write!(text, " {name}={}/{}/{}/{:?}/{:?}", e.from, e.due.0, e.attempt, e.reason, e.done),
                    None => write!(text, " {name}=gone"),
                };
            }
            write!(text, " outs={:?}", tx.outs).map(|()| text).unwrap_or_default()
        });
        Ok(())
    }

    /// One try of the outstanding flush: committed, aborted (the same again), or its outcome hidden (then read back).
    fn flush_end(&mut self, ow: &mut Owner) -> Checked {
        let (x, Some(tx)) = (self.r.f64(), ow.tx.take()) else { return Ok(()) };
        let mut done = true;
        if x < self.p.abort {
            done = false;
        } else if x < self.p.abort + self.p.unknown {
            if self.r.bool() {
                self.commit(&tx, true)?;
            }
            let (there, sent) = (&self.broker.progress, &tx.flush.progress);
            done = there.watermark == sent.watermark
                && there.done == sent.done
                && (self.out == Some(Fault::Number) || there.flush == sent.flush);
        } else {
            self.commit(&tx, true)?;
        }
        self.say(|| format!("flush {}: {}", tx.flush.progress.flush, if done { "done" } else { "again" }));
        if done {
            ow.core.committed();
        } else {
            ow.tx = Some(tx);
        }
        Ok(())
    }

    fn flush(&mut self, ow: &mut Owner) -> Checked {
        if ow.tx.is_some() {
            return Ok(());
        }
        match ow.core.flush() {
            Some(flush) => ow.tx = Some(Tx { flush, outs: std::mem::take(&mut ow.outs) }),
            None if ow.outs.is_empty() => return Ok(()),
            None => return Err(format!("outputs without a flush: {:?}", ow.outs)),
        }
        self.check_bounds(ow)
    }

    // ---- the owner

    /// Kill, revoke or lost membership: all that is in flight or not committed may be sent again, nothing else.
    fn takeover(&mut self) -> Checked {
        let how = ["kill", "kill", "revoke", "zombie"][self.r.usize(..4)];
        self.say(|| format!("---- {how}"));
        self.t.crashes += 1;
        let Some(mut ow) = self.owner.take() else { return Ok(()) };
        if how == "revoke" {
            let flying: Vec<Offset> = ow.flight.keys().copied().collect();
            for o in flying {
                if self.chance(0.7) {
                    self.answer(&mut ow, o)?;
                }
            }
            for _ in 0..2 {
                self.flush_end(&mut ow)?;
                self.flush(&mut ow)?;
            }
        }
        let mut late = None;
        // The transaction that was under way may be committed after all ...
        if how != "revoke" && self.r.bool() {
            if let Some(tx) = ow.tx.take() {
                match self.out {
                    Some(Fault::Atomic) => {
                        let outputs = self.r.bool();
                        self.commit(&tx, outputs)?;
                        ow.tx = Some(tx);
                    }
                    // ... without the barrier even after the successor has loaded.
                    Some(Fault::Barrier) => late = Some(tx),
                    _ => self.commit(&tx, true)?,
                }
            }
        }
        let forgotten = ow.outs.iter().chain(ow.tx.iter().chain(&late).flat_map(|tx| &tx.outs));
        let forgotten = forgotten.filter(|(_, out)| matches!(out, Out::Attempt(_))).map(|(o, _)| *o);
        let flying = ow.flight.iter().filter(|(_, task)| matches!(task, Task::Attempt(_))).map(|(o, _)| *o);
        for o in forgotten.chain(flying) {
            *self.lost.entry(o).or_default() += 1;
            self.t.repeats += 1;
        }
        if how == "zombie" {
            ow.zombie = true;
            let span = self.r.u32(1..=25);
            self.zombies.push((ow, span));
        } else {
            // The request was out; the receiver may have taken it.
            for (o, task) in &ow.flight {
                if matches!(task, Task::Attempt(_)) && self.r.bool() && !self.rec(*o).poison {
                    self.first_end(*o, End::Delivered)?;
                }
            }
        }
        self.owner = Some(self.new_owner());
        match late {
            Some(tx) => self.commit(&tx, true),
            None => Ok(()),
        }
    }

    fn owner_step(&mut self, ow: &mut Owner) -> Checked {
        let x = self.r.f64();
        if self.chance(self.p.shed) {
            let bytes = self.r.usize(..40);
            self.say(|| format!("shed to {bytes} bytes"));
            ow.core.shed(bytes);
        }
        if x < 0.28 {
            self.read(ow);
        } else if x < 0.45 {
            self.reread(ow);
        } else if x < 0.68 {
            shuffle(&mut ow.core, &mut self.r);
            if let Some(start) = ow.core.next(Timestamp(self.now), &self.catalog) {
                let clash = ow.flight.insert(start.offset, start.task);
                if clash.is_some() {
                    return Err(format!("{} started twice", start.offset));
                }
                match start.task {
                    Task::Attempt(n) => self.sent(ow, start.offset, n)?,
                    Task::End(how, n) => self.say(|| format!("end {} {how:?} after {n}", start.offset)),
                }
            }
        } else if x < 0.86 {
            if !ow.flight.is_empty() {
                let at = self.r.usize(..ow.flight.len());
                let o = ow.flight.keys().copied().nth(at).unwrap_or_default();
                self.answer(ow, o)?;
            }
        } else if !ow.zombie {
            if ow.tx.is_some() { self.flush_end(ow)? } else { self.flush(ow)? }
        } else if self.out == Some(Fault::Epoch) {
            self.flush(ow)?;
            if let Some(tx) = ow.tx.take() {
                self.commit(&tx, true)?;
                ow.core.committed();
            }
        }
        Ok(())
    }

    fn read(&mut self, ow: &mut Owner) {
        let o = ow.core.position();
        if !ow.core.room() || o.0 >= self.log.len() as i64 {
            return;
        }
        match self.seen(o.0) {
            Some(seen) => {
                let taken = ow.core.receive(seen);
                self.say(|| format!("read {o}{}", if taken { "" } else { ", not queued" }));
            }
            None => ow.core.passed(o.next()),
        }
    }

    /// Asks for a stretch, or one that was asked for arrives: any of them, whatever has happened since.
    fn reread(&mut self, ow: &mut Owner) {
        if ow.reads.len() < 3 && self.r.bool() {
            let wanted = ow.core.wants(3, Timestamp(self.now)).stretches;
            if let Some(from) = self.r.choice(&wanted) {
                ow.reads.push((from.0, from.0 + self.r.i64(1..=8)));
            }
        } else if !ow.reads.is_empty() {
            let (from, to) = ow.reads.swap_remove(self.r.usize(..ow.reads.len()));
            let to = to.min(self.log.len() as i64);
            let records = (from..to).filter_map(|o| self.seen(o)).collect();
            let taken = ow.core.reread(Offset(from), records, Offset(to));
            self.say(|| format!("reread {from}..{to}, queued {taken:?}"));
        }
        ow.core.take_released();
    }

    // ---- the history

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

    // ---- checks

    fn account(&mut self) -> Checked {
        self.t.records = self.broker.ended.len();
        self.t.writes = self.broker.writes;
        for o in (0..self.log.len()).filter(|o| self.log[*o].is_some()).map(|o| Offset(o as i64)) {
            let Some(end) = self.broker.ended.get(&o) else {
                return Err(format!("{o} lost: {:?}, no entry, no outcome", self.broker.progress));
            };
            let count = |of: &BTreeMap<Offset, u32>| of.get(&o).copied().unwrap_or(0);
            let (sent, recorded, lost) = (count(&self.sends), count(&self.broker.attempts), count(&self.lost));
            if sent != recorded + lost {
                return Err(format!("{o}: sent {sent}, recorded {recorded}, lost in crashes {lost}"));
            }
            if *end == End::Delivered && !self.first.contains(&o) {
                return Err(format!("{o} is not at the receiver"));
            }
        }
        std::mem::replace(&mut self.worst, Ok(()))
    }

    fn check_bounds(&self, ow: &Owner) -> Checked {
        let (core, limits) = (&ow.core, &self.p.limits);
        let low = core.window.low();
        let far = |o: &Offset| *o < low || o.0 >= low.0 + limits.window;
        if core.window.position().0 - low.0 > limits.window || core.window.bits().iter().any(far) {
            return Err("window too large".into());
        }
        let (mut queued, mut bytes) = (0, 0);
        for int in &core.ints {
            let (id, n) = (&int.id, int.queue.len());
            (queued, bytes) = (queued + n, bytes + int.queue.bytes());
            if n > limits.queue {
                return Err(format!("queue of {id}: {n}"));
            }
            let done = int.wide.as_ref().map_or(0, |wide| wide.done.len());
            let slack = if int.starved { 1 + usize::from(self.p.in_flight) + limits.endings } else { 0 };
            if done > limits.done + slack {
                return Err(format!("done[] of {id}: {done}"));
            }
            let i = core.ids[id];
            let slots = 3 * usize::from(self.p.in_flight) + limits.queue;
            if !int.deleted && core.active(i) > limits.singles + slots {
                return Err(format!("lanes of {id}: {}", core.active(i)));
            }
            if int.lanes.values().any(|lane| lane.next.len() > limits.followers) {
                return Err(format!("followers of {id}"));
            }
        }
        if (queued, bytes) != (core.queued, core.queued_bytes) {
            return Err(format!(
                "counted {} records, {} bytes in queues of {queued}, {bytes}",
                core.queued, core.queued_bytes
            ));
        }
        Ok(())
    }
}

/// Which of the records that may be started is started next must not matter.
fn shuffle(core: &mut Lanes, r: &mut Rng) {
    r.shuffle(core.turn.make_contiguous());
    for i in (0..core.ints.len() as u32).map(Int) {
        let int = core.int_mut(i);
        int.lanes_first = r.bool();
        if int.ready.len() > 1 {
            r.shuffle(int.ready.make_contiguous());
        }
    }
}
