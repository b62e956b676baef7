//! Lanes come and go.

use super::Lanes;
use super::entry::{OrderingKey, Reason};
use super::integration::{Cursor, Follower, Int, Lane, Listed, Narrow, State, Wide};
use super::read::Verdict;
use super::rules::Rule;
use crate::model::ids::Offset;
use crate::model::time::Timestamp;

impl Lanes {
    /// The whole integration becomes a lane, or its reason changes.
    pub(super) fn hold(&mut self, i: Int, reason: Reason, due: Timestamp) {
        let position = self.window.position();
        if self.int(i).wide.is_none() {
            let int = self.int(i);
            let from = int.front(position);
            let keep = self.rules.keep(Rule::DoneWhenHeld);
            let own = |o: Offset, key: Option<&OrderingKey>| int.lane(key, o).is_some();
            let bits = self.window.done_of(i, from).filter(|(o, key)| keep && !own(*o, *key));
            let done = bits.map(|(o, _)| o).collect();
            self.int_mut(i).wide = Some(Wide { from, due, reason, done, written: None });
            self.dirty.insert((i, None));
        } else if let Some(wide) = self.ints[i.0 as usize].wide.as_mut().filter(|w| (w.reason, w.due) != (reason, due))
        {
            (wide.reason, wide.due) = (reason, due);
            self.dirty.insert((i, None));
        }
        self.settle(i);
        self.rouse(i);
    }

    /// The record at `cursor.from` gets a lane of its own; of an ordering key with all that follows it. It is in flight or
    /// the front of the queue.
    pub(super) fn spin_off(&mut self, i: Int, cursor: Cursor) {
        let o = cursor.from;
        if let Some(left) = self.leave(i, o) {
            self.split(i, cursor, left);
        }
    }

    /// A lane for a record that is neither in the queue nor `running` any more.
    pub(super) fn split(&mut self, i: Int, cursor: Cursor, left: (Option<OrderingKey>, Timestamp, State)) {
        let (o, (key, expires, state)) = (cursor.from, left);
        let narrow = Narrow::of(key.as_ref(), o);
        let lane = Lane {
            at: cursor,
            next: [Follower { offset: o, expires }].into(),
            known: o.next(),
            scan: false,
            state,
            listed: Listed::No,
        };
        self.int_mut(i).lanes.insert(narrow.clone(), lane);
        if let Some(key) = &key {
            self.take_followers(i, key);
        }
        self.dirty.insert((i, Some(narrow.clone())));
        self.place(i, &narrow);
        self.rouse(i);
    }

    fn leave(&mut self, i: Int, o: Offset) -> Option<(Option<OrderingKey>, Timestamp, State)> {
        if let Some(flight) = self.flight.get(&o) {
            let left = (flight.key.clone(), flight.expires, State::Runs);
            self.int_mut(i).running.remove(&o);
            return Some(left);
        }
        let item = self.int_mut(i).queue.take(o)?;
        self.left_queue(o, item.bytes, true);
        Some((item.key, item.expires, State::Still))
    }

    /// The rest of a key leaves the queue for the lane.
    fn take_followers(&mut self, i: Int, key: &OrderingKey) {
        let followers = self.limits.followers;
        let items = self.int_mut(i).queue.take_key(key);
        for item in &items {
            self.left_queue(item.offset, item.bytes, true);
        }
        let Some(lane) = self.int_mut(i).lanes.get_mut(&Narrow::Key(key.clone())) else { return };
        for item in items {
            if lane.next.len() >= followers {
                (lane.scan, lane.known) = (true, item.offset);
                return;
            }
            lane.next.push_back(Follower { offset: item.offset, expires: item.expires });
            lane.known = item.offset.next();
        }
    }

    pub(super) fn left_queue(&mut self, o: Offset, bytes: usize, released: bool) {
        self.queued -= 1;
        self.queued_bytes -= bytes;
        self.released.extend(released.then_some(o));
    }

    /// Brings the lanes of an integration up to date after any change: `from`, `done[]`, releases.
    pub(super) fn settle(&mut self, i: Int) {
        if self.int(i).wide.is_none() && self.int(i).lanes.is_empty() {
            return;
        }
        let starved = self.shorten(i);
        let was = std::mem::replace(&mut self.int_mut(i).starved, starved);
        self.starved = self.starved + usize::from(starved) - usize::from(was);
        let position = self.window.position();
        let int = self.int(i);
        let empty = int.reader.is_none() && int.front(position) >= position;
        let over = int.wide.as_ref().is_some_and(|wide| empty && (int.deleted || !wide.reason.is_gate()));
        self.release(i, over);
        if over {
            self.int_mut(i).wide = None;
            self.dirty.insert((i, None));
        }
        self.feed_on(i);
    }

    /// Moves `from` of a held integration on. What keeps it back for too long gets a lane of its own: `done[]` stays short
    /// and the rest goes on. True: its reader's next record must be known before more can be taken.
    fn shorten(&mut self, i: Int) -> bool {
        let position = self.window.position();
        loop {
            let (front, cap) = (self.int(i).front(position), self.int(i).done_cap(&self.limits));
            let int = self.int_mut(i);
            let Some(wide) = &mut int.wide else { return false };
            wide.from = front;
            while wide.done.first().is_some_and(|o| *o < front) {
                wide.done.pop_first();
            }
            let waiting = wide.done.len();
            self.release(i, false);
            let int = self.int(i);
            let spent = if int.read_to(position) >= int.back { int.spent.len() } else { 0 };
            if waiting + spent <= cap || !self.rules.keep(Rule::SpinOff) {
                return false;
            }
            if int.reader == Some(front) || front >= position {
                return front < position;
            }
            self.dirty.insert((i, None));
            self.spin_off(i, Cursor::busy(front));
        }
    }

    /// Key lanes end of which no record waits.
    fn release(&mut self, i: Int, all: bool) {
        let position = self.window.position();
        loop {
            let int = self.int(i);
            if int.read_to(position) < int.back && self.rules.keep(Rule::ReaderBeforeRelease) {
                return;
            }
            let Some((from, key)) = int.spent.first().cloned() else { return };
            if let Some(wide) = int.wide.as_ref() {
                if !all && wide.from < from && self.rules.keep(Rule::StayBehind) {
                    return;
                }
                if wide.written < Some(from) && self.rules.keep(Rule::Together) {
                    self.dirty.insert((i, None));
                }
            }
            self.remove_lane(i, &Narrow::Key(key));
        }
    }

    /// Its reader is named by `wants` while it has room.
    pub(super) fn feed_on(&mut self, i: Int) {
        let position = self.window.position();
        let int = &mut self.ints[i.0 as usize];
        if int.reader.is_some() && !int.hungry && int.wants_refill(&self.limits, self.queued_bytes, position) {
            int.hungry = true;
            self.hungry.push_back(i);
        }
    }

    /// W passes what is done or covered.
    pub(super) fn advance(&mut self) {
        while let Some(first) = self.window.first() {
            if let Some((i, key)) = first {
                let verdict = self.verdict(i, key, self.window.low());
                let covered = matches!(verdict, Verdict::Narrow | Verdict::Wide);
                if verdict == Verdict::Free || (covered && !self.rules.keep(Rule::PassCovered)) {
                    break;
                }
            }
            self.window.advance();
            self.changed = true;
        }
    }

    /// Window pressure: what pins W becomes a lane, although its attempt still runs, until `position` is near enough or
    /// nothing is left.
    pub(super) fn relieve(&mut self, position: Offset) {
        self.advance();
        while position.0 - self.window.low().0 >= self.limits.window * 3 / 4 {
            let low = self.window.low();
            let Some(Some((i, _))) = self.window.first() else { return };
            if self.flight.contains_key(&low) {
                self.spin_off(i, Cursor::busy(low));
                self.settle(i);
            } else {
                self.hold(i, Reason::Busy, Timestamp::default());
            }
            self.advance();
            if self.window.low() == low {
                return;
            }
        }
    }

    /// Memory pressure: takes records out of the fullest queues until `bytes` remain, or one record each. They are read
    /// again later and are in `take_released` now.
    pub fn shed(&mut self, bytes: usize) {
        let mut fullest: Vec<(usize, Int)> =
            (0..self.ints.len() as u32).map(|n| (self.int(Int(n)).queue.bytes(), Int(n))).filter(|q| q.0 > 0).collect();
        fullest.sort_unstable_by(|a, b| b.cmp(a));
        for (_, i) in fullest {
            if self.queued_bytes <= bytes {
                return;
            }
            self.cut(i);
        }
    }

    /// The queue of an integration keeps its front alone; its reader goes back to the rest.
    fn cut(&mut self, i: Int) {
        let queue = &mut self.int_mut(i).queue;
        let items = queue.front().map(|front| queue.cut(front)).unwrap_or_default();
        let Some(first) = items.first().map(|item| item.offset) else { return };
        for item in &items {
            self.left_queue(item.offset, item.bytes, true);
        }
        self.set_reader(i, Some(first));
        if self.int(i).wide.is_none() {
            self.hold(i, Reason::Busy, Timestamp::default());
        } else {
            self.settle(i);
        }
    }
}
