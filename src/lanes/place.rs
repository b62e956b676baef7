//! Keeps a narrow lane in the right lists and timers, whatever changed about it.

use super::Lanes;
use super::integration::{Int, Lane, Listed, Narrow, State};
use super::rules::Rule;
use crate::model::time::Timestamp;

impl Lanes {
    /// To be called after any change of a narrow lane's head, due time or flag.
    pub(super) fn place(&mut self, i: Int, narrow: &Narrow) {
        self.list(i, narrow);
        let Some((state, key_held, deleted)) = self.int(i).lanes.get(narrow).map(|lane| {
            let held = matches!(narrow, Narrow::Key(key) if self.int(i).unsaved.contains(key));
            (lane.state, held, self.int(i).deleted)
        }) else {
            return;
        };
        if state == State::Runs {
            return;
        }
        self.cancel_timer(i, narrow, state);
        let Some(lane) = self.int_mut(i).lanes.get_mut(narrow) else { return };
        lane.state = match lane.next.front() {
            Some(head) if !key_held => {
                State::Waits(if deleted { Timestamp(i64::MIN) } else { lane.at.due.min(head.expires) })
            }
            _ => State::Still,
        };
        if let State::Waits(at) = lane.state {
            self.timers.insert((at, i, Some(narrow.clone())));
        }
    }

    /// Its head is handed out.
    pub(super) fn run(&mut self, i: Int, narrow: &Narrow) {
        if let Some(state) = self.int(i).lanes.get(narrow).map(|lane| lane.state) {
            self.cancel_timer(i, narrow, state);
        }
        if let Some(lane) = self.int_mut(i).lanes.get_mut(narrow) {
            lane.state = State::Runs;
        }
    }

    /// The lane ends; its entry is to become a tombstone.
    pub(super) fn remove_lane(&mut self, i: Int, narrow: &Narrow) -> Option<Lane> {
        let lane = self.int_mut(i).lanes.remove(narrow)?;
        self.cancel_timer(i, narrow, lane.state);
        self.unlist(i, narrow, lane.listed);
        self.dirty.insert((i, Some(narrow.clone())));
        Some(lane)
    }

    fn cancel_timer(&mut self, i: Int, narrow: &Narrow, state: State) {
        if let State::Waits(at) | State::Ready(at) = state {
            self.timers.remove(&(at, i, Some(narrow.clone())));
        }
    }

    fn list(&mut self, i: Int, narrow: &Narrow) {
        let Some(lane) = self.int_mut(i).lanes.get_mut(narrow) else { return };
        let now = match (lane.next.front(), lane.scan) {
            (Some(_), _) => Listed::Active,
            (None, true) => Listed::Scan(lane.known),
            (None, false) => Listed::Spent(lane.at.from),
        };
        let before = std::mem::replace(&mut lane.listed, now);
        if before == now {
            return;
        }
        self.unlist(i, narrow, before);
        match (now, narrow) {
            (Listed::Active, _) => self.int_mut(i).active += 1,
            (Listed::Scan(from), Narrow::Key(key)) => {
                self.scans.insert((from, i, key.clone()));
            }
            (Listed::Spent(from), Narrow::Key(key)) => {
                self.int_mut(i).spent.insert((from, key.clone()));
            }
            _ => {}
        }
    }

    fn unlist(&mut self, i: Int, narrow: &Narrow, listed: Listed) {
        match (listed, narrow) {
            (Listed::Active, _) => self.int_mut(i).active -= 1,
            (Listed::Scan(from), Narrow::Key(key)) => {
                self.scans.remove(&(from, i, key.clone()));
            }
            (Listed::Spent(from), Narrow::Key(key)) => {
                self.int_mut(i).spent.remove(&(from, key.clone()));
            }
            _ => {}
        }
    }

    /// Moves what is due at `now` to where `next` looks.
    pub(super) fn ring(&mut self, now: Timestamp) {
        while let Some((at, i, narrow)) = self.timers.first().filter(|t| t.0 <= now).cloned() {
            self.timers.pop_first();
            match narrow {
                None => self.int_mut(i).wake = None,
                Some(narrow) => self.ring_lane(i, narrow, at, now),
            }
            self.rouse(i);
        }
    }

    fn ring_lane(&mut self, i: Int, narrow: Narrow, at: Timestamp, now: Timestamp) {
        let int = self.int_mut(i);
        let deleted = int.deleted;
        let Some(lane) = int.lanes.get_mut(&narrow) else { return };
        let Some(head) = lane.next.front().copied() else { return };
        if deleted || head.expires <= now {
            lane.state = State::Over;
            int.over.push_back(narrow);
        } else if lane.state == State::Waits(at) {
            lane.state = State::Ready(head.expires);
            int.ready.push_back(narrow.clone());
            let listed = std::mem::replace(&mut int.has_heads, true);
            if !listed {
                self.heads_of.push_back(i);
            }
            self.timers.insert((head.expires, i, Some(narrow)));
        }
    }

    /// Asks to be woken at `at`, or earlier: a turn too many does no harm, a timer moved at each step would cost.
    pub(super) fn wake_at(&mut self, i: Int, at: Timestamp) {
        let int = self.int_mut(i);
        if int.wake.is_none_or(|wake| at < wake) {
            if let Some(wake) = int.wake.replace(at) {
                self.timers.remove(&(wake, i, None));
            }
            self.timers.insert((at, i, None));
        }
    }

    /// Narrow lanes that count against `Limits::singles`.
    pub(super) fn active(&self, i: Int) -> usize {
        if self.rules.keep(Rule::IdleIsFree) { self.int(i).active } else { self.int(i).lanes.len() }
    }
}
