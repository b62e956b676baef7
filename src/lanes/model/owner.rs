//! The steps of an owner, and how one follows another.

use fastrand::Rng;

use super::world::{Checked, End, Fault, Out, Owner, Tx, World};
use crate::lanes::integration::Int;
use crate::lanes::{About, Answer, Lanes, Task};
use crate::model::ids::Offset;
use crate::model::time::Timestamp;
use crate::stream::stage::Ending;

impl World {
    /// Kill, revoke or lost membership: all that is in flight or not committed may be sent again, nothing else.
    pub(super) fn takeover(&mut self) -> Checked {
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
        let late = if how == "revoke" { None } else { self.settle_late(&mut ow)? };
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

    /// The transaction that was under way may be committed after all; without the barrier even after the successor has
    /// loaded.
    fn settle_late(&mut self, ow: &mut Owner) -> Checked<Option<Tx>> {
        let Some(tx) = ow.tx.take_if(|_| self.r.bool()) else { return Ok(None) };
        match self.out {
            Some(Fault::Barrier) => return Ok(Some(tx)),
            Some(Fault::Atomic) => {
                let outputs = self.r.bool();
                self.commit(&tx, outputs)?;
                ow.tx = Some(tx);
            }
            _ => self.commit(&tx, true)?,
        }
        Ok(None)
    }

    pub(super) fn owner_step(&mut self, ow: &mut Owner) -> Checked {
        let x = self.r.f64();
        if self.chance(self.p.shed) {
            let bytes = self.r.usize(..=20);
            self.say(|| format!("shed to {bytes} bytes"));
            ow.core.shed(bytes);
        }
        if x < 0.28 {
            self.read(ow);
        } else if x < 0.45 {
            self.reread(ow);
        } else if x < 0.68 {
            if self.r.bool() { self.begin(ow)? } else { self.hand_out(ow)? }
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

    fn hand_out(&mut self, ow: &mut Owner) -> Checked {
        shuffle(&mut ow.core, &mut self.r);
        let Some(start) = ow.core.next(Timestamp(self.now), &self.catalog) else { return Ok(()) };
        let o = start.offset;
        if ow.flight.contains_key(&o) || ow.unread.contains_key(&o) {
            return Err(format!("{o} started twice"));
        }
        match start.task {
            Task::Attempt(n) if self.r.u8(..4) == 0 => _ = ow.unread.insert(o, n),
            Task::Attempt(n) => {
                ow.flight.insert(o, start.task);
                self.sent(ow, o, n)?;
            }
            Task::End(how, n) => {
                ow.flight.insert(o, start.task);
                self.say(|| format!("end {o} {how:?} after {n}"));
            }
        }
        Ok(())
    }

    /// The record of something that was handed out has been read.
    fn begin(&mut self, ow: &mut Owner) -> Checked {
        let all: Vec<Offset> = ow.unread.keys().copied().collect();
        let Some(o) = self.r.choice(all) else { return Ok(()) };
        if ow.core.begins(o, Timestamp(self.now), &self.catalog) {
            let n = ow.unread[&o];
            ow.flight.insert(o, Task::Attempt(n));
            self.sent(ow, o, n)?;
        } else {
            self.say(|| format!("put back {o}"));
        }
        ow.unread.remove(&o);
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
            None => {
                let gap = self.log[o.0 as usize..].iter().take_while(|rec| rec.is_none()).count() as i64;
                ow.core.passed(Offset(o.0 + self.r.i64(1..=gap)));
            }
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

    pub(super) fn answer(&mut self, ow: &mut Owner, o: Offset) -> Checked {
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
