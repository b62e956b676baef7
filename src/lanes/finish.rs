//! What became of a record that was handed out.

use super::Lanes;
use super::entry::{About, Reason};
use super::integration::{Cursor, Flight, Int, Narrow, State};
use super::rules::Rule;
use crate::model::ids::Offset;
use crate::model::time::Timestamp;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Delivered,
    /// Not again before `due`. `about` is for people, except `first_at`, which the next `Start` gives back.
    Retry {
        due: Timestamp,
        about: About,
    },
    /// It is a dead letter: no retry would mend it. Like success an answer, which closes a breaker.
    Dead,
    /// It is a dead letter because no attempts are left; for a breaker a failure.
    Abandoned,
}

impl Lanes {
    /// The attempt at `offset` is over. The caller's outputs of it belong to the next `flush`, in the order of these calls.
    pub fn complete(&mut self, offset: Offset, answer: Answer, now: Timestamp) {
        let Some(flight) = self.flight.remove(&offset) else { return };
        let i = flight.int;
        self.changed = true;
        self.int_mut(i).in_flight -= 1;
        let success = match answer {
            Answer::Retry { due, about } => return self.retry(offset, flight, (due, about), now),
            Answer::Abandoned => {
                self.finish(offset, flight, false);
                return self.failed(i, now);
            }
            Answer::Delivered => true,
            Answer::Dead => false,
        };
        let int = self.int_mut(i);
        int.fails = 0;
        if int.wide.as_ref().is_some_and(|wide| wide.reason == Reason::Breaker) {
            self.hold(i, Reason::Busy, Timestamp::default());
        }
        self.finish(offset, flight, success);
    }

    /// The record at `offset`, handed out for whatever task, ended without an attempt: as its task said, or because it is
    /// found expired or gone when it is read.
    pub fn ended(&mut self, offset: Offset) {
        let Some(flight) = self.flight.remove(&offset) else { return };
        let int = self.int_mut(flight.int);
        *(if flight.ending { &mut int.endings } else { &mut int.in_flight }) -= 1;
        self.changed = true;
        self.finish(offset, flight, false);
    }

    fn retry(&mut self, o: Offset, flight: Flight, (due, about): (Timestamp, About), now: Timestamp) {
        let i = flight.int;
        let cursor = Cursor { from: o, due, attempt: flight.attempt, reason: Reason::Retry, about: Box::new(about) };
        let narrow = Narrow::of(flight.key.as_ref(), o);
        if let Some(lane) = self.int_mut(i).lanes.get_mut(&narrow) {
            lane.at = cursor;
            lane.state = State::Still;
            self.dirty.insert((i, Some(narrow.clone())));
            self.place(i, &narrow);
        } else {
            self.int_mut(i).running.remove(&o);
            self.split(i, cursor, (flight.key.clone(), flight.expires, State::Still));
        }
        if let Some(key) = &flight.key {
            self.int_mut(i).queue.unblock(key);
        }
        self.settle(i);
        self.failed(i, now);
    }

    fn failed(&mut self, i: Int, now: Timestamp) {
        let int = self.int_mut(i);
        int.fails = int.fails.saturating_add(1);
        let disabled = int.wide.as_ref().is_some_and(|wide| wide.reason == Reason::Disabled);
        if let Some(breaker) = int.policy.breaker.filter(|b| int.fails >= b.failures && !disabled) {
            self.hold(i, Reason::Breaker, now.plus(breaker.pause));
        }
        self.rouse(i);
    }

    /// A final outcome. From here the record is done: by its bit at or above W, by `from` or `done[]` of its lane below.
    fn finish(&mut self, o: Offset, flight: Flight, success: bool) {
        let i = flight.int;
        self.window.finish(o);
        self.int_mut(i).running.remove(&o);
        let narrow = Narrow::of(flight.key.as_ref(), o);
        let narrow_lane = self.int(i).lanes.contains_key(&narrow);
        if narrow_lane {
            match &narrow {
                Narrow::Key(_) => self.pass_head(o, &flight),
                Narrow::Single(_) => _ = self.remove_lane(i, &narrow),
            }
        }
        let child = narrow_lane && !self.rules.keep(Rule::DoneOfChild);
        let int = self.int_mut(i);
        let own = int.lanes.contains_key(&narrow);
        if let Some(wide) = &mut int.wide {
            if o >= wide.from && !own && !child {
                wide.done.insert(o);
            }
            if Some(o) >= wide.written {
                self.dirty.insert((i, None));
            }
        }
        if let Some(key) = flight.key {
            // Success has happened at the receiver and a crash cannot undo it. What ended without may yet succeed after
            // a crash, behind its followers.
            if success || !self.rules.keep(Rule::DeadFirst) {
                self.int_mut(i).queue.unblock(&key);
            } else {
                self.int_mut(i).queue.block(&key);
                self.int_mut(i).unsaved.insert(key.clone());
                self.unsaved.push((i, key));
            }
            self.place(i, &narrow);
        }
        self.settle(i);
        self.feed_on(i);
        self.rouse(i);
    }

    /// The head of a key has ended: the lane goes on behind it.
    fn pass_head(&mut self, o: Offset, flight: &Flight) {
        let i = flight.int;
        let narrow = Narrow::of(flight.key.as_ref(), o);
        let read_to = self.int(i).read_to(self.window.position());
        let rules = self.rules;
        let Some(lane) = self.int_mut(i).lanes.get_mut(&narrow) else { return };
        if lane.next.front().is_some_and(|head| head.offset == o) {
            lane.next.pop_front();
        }
        let from = if rules.keep(Rule::FromPassesDone) { o.next() } else { read_to };
        lane.at = Cursor { from, due: Timestamp::default(), attempt: 0, reason: Reason::Order, about: Box::default() };
        lane.state = State::Still;
        if !rules.keep(Rule::LookBeforeRelease) {
            lane.next.clear();
            lane.scan = false;
        }
        self.dirty.insert((i, Some(narrow)));
    }
}
