//! What must hold at every step, and in the end.

use std::collections::BTreeMap;

use super::world::{Checked, End, Owner, World};
use crate::lanes::{LaneName, Reason, Task};
use crate::model::ids::Offset;
use crate::stream::stage::Standing;

impl World {
    pub(super) fn sent(&mut self, ow: &Owner, o: Offset, n: u32) -> Checked {
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
        // A rate has counted what is handed out; it may be sent later.
        let counted = ow.unread.contains_key(&o);
        let wide = ow.core.int(ow.core.ids[&id]).wide.as_ref();
        if !matches!(self.catalog.standing[rec.int], Standing::Active { .. })
            || wide.is_some_and(|w| {
                w.reason.is_gate() && self.now < w.due.0 && !(counted && w.reason == Reason::RateLimited)
            })
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
        if ow.flight.keys().chain(ow.unread.keys()).any(mate) {
            return Err(format!("{o}: not the head"));
        }
        if n > self.p.max_attempts {
            return Err(format!("{o}: attempt {n}"));
        }
        Ok(())
    }

    /// Order: the first final outcomes of a key come in the order of the log. A success counts when the receiver has it.
    pub(super) fn first_end(&mut self, o: Offset, end: End) -> Checked {
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

    pub(super) fn account(&mut self) -> Checked {
        self.t.records = self.broker.ended.len();
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
        Ok(())
    }

    pub(super) fn check_bounds(&self, ow: &Owner) -> Checked {
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
