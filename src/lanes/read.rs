//! Records come in: from the main reader, which begins at the watermark and reads each once, and again in stretches that
//! other readers bring when the core asks for them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Lanes;
use super::entry::{OrderingKey, Reason};
use super::integration::{Follower, Int, Integration, Narrow};
use super::queue::Item;
use super::rules::Rule;
use crate::model::ids::{IntegrationId, Offset};
use crate::model::time::Timestamp;

/// A record that was read, by what the core needs of it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub offset: Offset,
    pub integration: IntegrationId,
    /// Where its integration orders its deliveries.
    pub key: Option<OrderingKey>,
    /// From this moment on it ends as expired instead of being attempted.
    pub expires: Timestamp,
    /// Of its payload, for the budgets.
    pub bytes: usize,
}

/// What the core would like to have read, most urgent first. Nothing is remembered of having asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Stretches of the partition that begin here, of any length, for `reread`.
    pub stretches: Vec<Offset>,
    /// Records of lanes that will be started soon, ascending: their payloads are not in any queue.
    pub heads: Vec<Offset>,
}

/// What a record or a lane is to those who cover it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// Covered by its key's lane or its own.
    Narrow,
    /// Covered by its integration.
    Wide,
    /// Unfinished and the main reader's business: it pins W.
    Free,
}

impl Lanes {
    /// May the main reader go on?
    pub fn room(&self) -> bool {
        self.starved == 0 && self.window.position().0 - self.window.low().0 < self.limits.window
    }

    /// The next offset that the main reader is to give.
    pub fn position(&self) -> Offset {
        self.window.position()
    }

    /// A former owner or this one has finished it: what it turns into must not be written again.
    pub fn is_done(&self, offset: Offset) -> bool {
        self.window.is_done(offset)
    }

    /// A record from the main reader, in the order of offsets. True: it was put in a queue, so its payload should be kept
    /// until it is started or `take_released` names it.
    pub fn receive(&mut self, seen: Seen) -> bool {
        let o = seen.offset;
        if o < self.window.position() {
            return false;
        }
        self.passed(o);
        let i = self.intern(&seen.integration);
        if self.window.push(i, seen.key.clone()) {
            self.done_when_passed(i, seen.key.as_ref(), o);
        }
        let int = self.int(i);
        let taken = if int.reader.is_none_or(|reader| reader >= o) {
            self.feed(i, &seen) == Fed::Queued
        } else {
            if !self.rules.keep(Rule::OneFeeder) && self.verdict(i, seen.key.as_ref(), o) == Verdict::Narrow {
                self.follow(i, &seen);
            }
            false
        };
        self.relieve(self.window.position());
        self.reach();
        taken
    }

    /// The main reader has come to `position`: no record fills what lies below and was not received (transaction
    /// markers, compaction, what retention deleted, what was refused). Counts as done.
    pub fn passed(&mut self, position: Offset) {
        if position <= self.window.position() {
            return;
        }
        self.relieve(position);
        self.window.pass(position);
        self.changed = true;
        self.reach();
    }

    /// W will pass it and lose the bit.
    fn done_when_passed(&mut self, i: Int, key: Option<&OrderingKey>, o: Offset) {
        let keep = self.rules.keep(Rule::DoneWhenPassed);
        let int = self.int_mut(i);
        let own = int.lane(key, o).is_some();
        let Some(wide) = int.wide.as_mut().filter(|wide| o >= wide.from && !own && keep) else { return };
        wide.done.insert(o);
        self.dirty.insert((i, None));
        self.settle(i);
    }

    /// What lay ahead of the main reader when this owner took over, and no longer does.
    fn reach(&mut self) {
        let position = self.window.position();
        while let Some(entry) = self.ahead.first_entry().filter(|entry| *entry.key() <= position) {
            let (mark, ints) = entry.remove_entry();
            for i in ints {
                self.set_reader(i, self.int(i).reader.filter(|reader| *reader != mark));
                self.settle(i);
                self.rouse(i);
            }
        }
    }

    /// Who covers the record (rules 1 and 6).
    pub(super) fn verdict(&self, i: Int, key: Option<&OrderingKey>, o: Offset) -> Verdict {
        if self.window.is_done(o) || (!self.rules.keep(Rule::BelowTheWatermark) && o < self.window.low()) {
            return Verdict::Done;
        }
        let int = self.int(i);
        if let Some(lane) = int.lane(key, o) {
            return if o >= lane.at.from { Verdict::Narrow } else { Verdict::Done };
        }
        match &int.wide {
            Some(wide) if o < wide.from || wide.done.contains(&o) => Verdict::Done,
            Some(_) => Verdict::Wide,
            None if o < self.window.low() => Verdict::Done,
            None => Verdict::Free,
        }
    }

    /// Takes a record of an integration into account; called in the order of offsets, by one reader an integration.
    fn feed(&mut self, i: Int, seen: &Seen) -> Fed {
        let o = seen.offset;
        // Its reader may have gone back (`shed`).
        if self.flight.contains_key(&o) {
            return Fed::Passed;
        }
        let mut verdict = self.verdict(i, seen.key.as_ref(), o);
        if verdict == Verdict::Narrow && self.int(i).wide.is_some() && !self.rules.keep(Rule::NarrowestDecides) {
            verdict = Verdict::Wide;
        }
        match verdict {
            Verdict::Done => return Fed::Passed,
            Verdict::Narrow => {
                self.follow(i, seen);
                return Fed::Passed;
            }
            Verdict::Wide | Verdict::Free => {}
        }
        if self.int(i).full(&self.limits, self.queued_bytes) {
            self.set_reader(i, Some(o));
            if verdict == Verdict::Free {
                self.hold(i, Reason::Busy, Timestamp::default());
            }
            return Fed::Full;
        }
        self.queued += 1;
        self.queued_bytes += seen.bytes;
        let item = Item { offset: o, key: seen.key.clone(), expires: seen.expires, bytes: seen.bytes };
        self.int_mut(i).queue.push(item);
        self.rouse(i);
        Fed::Queued
    }

    /// A record of a key lane that its reader has come to: remembered, or to be looked for later.
    fn follow(&mut self, i: Int, seen: &Seen) {
        let (o, followers) = (seen.offset, self.limits.followers);
        let narrow = Narrow::of(seen.key.as_ref(), o);
        let Some(lane) = self.int_mut(i).lanes.get_mut(&narrow) else { return };
        if matches!(narrow, Narrow::Single(_)) {
            if let Some(head) = lane.next.front_mut().filter(|head| head.expires != seen.expires) {
                head.expires = seen.expires;
                self.place(i, &narrow);
            }
            return;
        }
        if lane.scan || o < lane.known {
            return;
        }
        if lane.next.len() >= followers {
            (lane.scan, lane.known) = (true, o);
            return;
        }
        lane.next.push_back(Follower { offset: o, expires: seen.expires });
        lane.known = o.next();
        if lane.next.len() == 1 {
            self.place(i, &narrow);
        }
    }

    /// What to read, at most `max` of each kind; heads that are due at `until`. Integrations are named in turn, so that none
    /// waits for another's backlog.
    pub fn wants(&mut self, max: usize, until: Timestamp) -> Reads {
        let position = self.window.position();
        let mut stretches: Vec<Offset> = self.scans.first().map(|(from, ..)| *from).into_iter().collect();
        for _ in 0..self.hungry.len() {
            if stretches.len() >= max {
                break;
            }
            let Some(i) = self.hungry.pop_front() else { break };
            let int = &mut self.ints[i.0 as usize];
            int.hungry = int.wants_refill(&self.limits, self.queued_bytes, position);
            if int.hungry {
                self.hungry.push_back(i);
                stretches.extend(int.reader);
            }
        }
        let mut seen = FxHashSet::default();
        stretches.retain(|o| seen.insert(*o));
        Reads { stretches, heads: self.heads(max, until) }
    }

    fn heads(&mut self, max: usize, until: Timestamp) -> Vec<Offset> {
        let head = |int: &Integration, narrow: &Narrow| Some(int.lanes.get(narrow)?.next.front()?.offset);
        let due = self.timers.iter().take(max).take_while(|timer| timer.0 <= until);
        let due = due.filter_map(|(_, i, narrow)| head(self.int(*i), narrow.as_ref()?));
        let mut heads: Vec<Offset> = due.collect();
        for _ in 0..self.heads_of.len().min(max) {
            let Some(i) = self.heads_of.pop_front() else { break };
            let int = &mut self.ints[i.0 as usize];
            int.has_heads = !int.ready.is_empty();
            if int.has_heads {
                self.heads_of.push_back(i);
            }
            if int.wide.as_ref().is_none_or(|wide| !wide.reason.is_gate()) {
                heads.extend(int.ready.iter().take(max).filter_map(|narrow| head(int, narrow)));
            }
        }
        heads.truncate(max);
        heads.sort_unstable();
        heads.dedup();
        heads
    }

    /// A stretch of the partition that was read again: every record of `from..position` there is, in the order of offsets,
    /// whatever it was asked for. Serves every integration and every key lane that it can. Returns what was put in
    /// queues.
    pub fn reread(&mut self, from: Offset, records: Vec<Seen>, position: Offset) -> Vec<Offset> {
        let end = position.min(self.window.position());
        let mut feeding: FxHashMap<Int, bool> =
            self.lagging.range((from, Int(0))..(end.max(from), Int(0))).map(|(_, i)| (*i, true)).collect();
        let mut scanning = self.scanning(from, end);
        let mut taken = Vec::new();
        for seen in records.into_iter().filter(|seen| (from..end).contains(&seen.offset)) {
            let Some(i) = self.ids.get(&seen.integration).copied() else { continue };
            let behind = self.int(i).reader.is_some_and(|reader| reader <= seen.offset);
            if let Some(goes_on) = feeding.get_mut(&i).filter(|goes_on| **goes_on && behind) {
                let fed = self.refill_record(i, &seen);
                *goes_on = fed != Fed::Full;
                taken.extend((fed == Fed::Queued).then_some(seen.offset));
            }
            // Scans end at the reader, so it goes first.
            self.scan_record(i, &seen, &mut scanning);
        }
        for (i, goes_on) in feeding {
            self.refilled_to(i, end, goes_on);
        }
        for (i, key) in scanning {
            self.scanned_to(i, &Narrow::Key(key), end);
        }
        taken
    }

    fn refill_record(&mut self, i: Int, seen: &Seen) -> Fed {
        self.set_reader(i, Some(seen.offset.next()));
        let verdict = self.verdict(i, seen.key.as_ref(), seen.offset);
        if verdict == Verdict::Narrow && !self.rules.keep(Rule::OneFeeder) {
            return Fed::Passed;
        }
        self.feed(i, seen)
    }

    /// Its reader has seen what the stretch had for it; unless its queue is full, all of it.
    fn refilled_to(&mut self, i: Int, end: Offset, all: bool) {
        let position = self.window.position();
        if let Some(reader) = self.int(i).reader.filter(|_| all) {
            self.set_reader(i, Some(reader.max(end)).filter(|reader| *reader != position));
        }
        self.settle(i);
        self.rouse(i);
    }

    pub(super) fn set_reader(&mut self, i: Int, reader: Option<Offset>) {
        let before = std::mem::replace(&mut self.int_mut(i).reader, reader);
        before.map(|reader| self.lagging.remove(&(reader, i)));
        self.lagging.extend(reader.map(|reader| (reader, i)));
    }

    /// Key lanes that a stretch from `from` continues.
    fn scanning(&self, from: Offset, end: Offset) -> FxHashSet<(Int, OrderingKey)> {
        let first = |o: Offset| (o, Int(0), OrderingKey::new(""));
        self.scans.range(first(from)..first(end.max(from))).map(|(_, i, key)| (*i, key.clone())).collect()
    }

    fn scan_record(&mut self, i: Int, seen: &Seen, scanning: &mut FxHashSet<(Int, OrderingKey)>) {
        let Some(key) = seen.key.as_ref().filter(|_| !scanning.is_empty()) else { return };
        let o = seen.offset;
        let wanted = (i, key.clone());
        let done = self.window.is_done(o) || o >= self.int(i).read_to(self.window.position());
        if done || !scanning.contains(&wanted) {
            return;
        }
        let (narrow, followers) = (Narrow::Key(wanted.1.clone()), self.limits.followers);
        let Some(lane) = self.int_mut(i).lanes.get_mut(&narrow).filter(|lane| o >= lane.known) else { return };
        if lane.next.len() >= followers {
            lane.known = o;
            scanning.remove(&wanted);
        } else {
            lane.next.push_back(Follower { offset: o, expires: seen.expires });
            lane.known = o.next();
        }
        self.place(i, &narrow);
    }

    fn scanned_to(&mut self, i: Int, narrow: &Narrow, end: Offset) {
        let read_to = self.int(i).read_to(self.window.position());
        let Some(lane) = self.int_mut(i).lanes.get_mut(narrow) else { return };
        lane.known = lane.known.max(end.min(read_to));
        lane.scan = lane.known < read_to;
        self.place(i, narrow);
        self.settle(i);
        self.rouse(i);
    }

    /// Offsets that left a queue without being started since the last call: their payloads are read again when their time
    /// has come.
    pub fn take_released(&mut self) -> Vec<Offset> {
        std::mem::take(&mut self.released)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    Queued,
    /// Done, or its lane knows of it.
    Passed,
    /// No room: its integration is read again from here.
    Full,
}
