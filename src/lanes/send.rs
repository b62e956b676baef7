//! What to do next. Each integration that may have something to do gets one turn after the other; one that can do nothing
//! leaves the circle until something happens to it, so a slow or failing one costs the others nothing.

use super::Lanes;
use super::entry::{OrderingKey, Reason};
use super::integration::{Flight, Int, Integration, Narrow, State};
use super::limits::{Rate, Standings};
use super::rules::Rule;
use crate::model::ids::{IntegrationId, Offset};
use crate::model::time::Timestamp;
use crate::stream::stage::{Ending, Standing};

/// Something to do with the record at `offset`. Report it with `complete` or `ended`.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub offset: Offset,
    pub integration: IntegrationId,
    pub task: Task,
    /// When its first attempt was made, where there was one.
    pub first_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Make this attempt; the first is 1.
    Attempt(u32),
    /// End it after so many attempts.
    End(Ending, u32),
}

enum Pick {
    Lane(Narrow),
    Queued(Offset),
}

/// May the integration send?
#[derive(PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

impl Lanes {
    /// What to do now; `None`: nothing before `next_due` or the next call that changes something. To be called until it
    /// says so, or until the caller wants no more in flight.
    pub fn next(&mut self, now: Timestamp, standings: &impl Standings) -> Option<Start> {
        self.ring(now);
        while let Some(i) = self.turn.pop_front() {
            self.int_mut(i).in_turn = false;
            let standing = self.note(i, now, standings);
            let start = self.end_one(i, now).or_else(|| self.attempt_one(i, now, standing));
            if start.is_some() {
                self.rouse(i);
                self.feed_on(i);
                return start;
            }
            self.rest(i, now);
        }
        None
    }

    /// Nothing to do for it now: until when, if nothing happens?
    fn rest(&mut self, i: Int, now: Timestamp) {
        let int = self.int(i);
        let expires = int.queue.startable().filter(|_| int.endings < self.limits.endings).map(|item| item.expires);
        let opens = int.wide.as_ref().filter(|wide| wide.reason.is_gate() && wide.due > now).map(|wide| wide.due);
        if let Some(at) = expires.into_iter().chain(opens).min() {
            self.wake_at(i, at);
        }
    }

    /// When `next` has something to do though nothing else happened: a retry is due, what waits expires, a breaker or a
    /// rate lets the next one through.
    pub fn next_due(&self) -> Option<Timestamp> {
        let at = self.timers.first().map(|timer| timer.0);
        if self.turn.is_empty() { at } else { Some(Timestamp(i64::MIN)) }
    }

    /// The standing of this integration may have changed.
    pub fn poke(&mut self, integration: &IntegrationId) {
        if let Some(i) = self.ids.get(integration).copied() {
            self.rouse(i);
        }
    }

    /// The standing of any integration may have changed.
    pub fn poke_all(&mut self) {
        // One of which nothing waits is asked about when something comes.
        let waits = |int: &Integration| int.wide.is_some() || !int.lanes.is_empty() || !int.queue.is_empty();
        let waiting: Vec<Int> = (0..self.ints.len() as u32).map(Int).filter(|i| waits(self.int(*i))).collect();
        for i in waiting {
            self.rouse(i);
        }
    }

    /// Takes in how the integration stands now.
    fn note(&mut self, i: Int, now: Timestamp, standings: &impl Standings) -> Standing {
        let standing = standings.standing(&self.int(i).id);
        let int = self.int_mut(i);
        int.policy = standings.policy(&int.id);
        if let Standing::Active { max_in_flight } = standing {
            int.slots = Some(max_in_flight);
        }
        let deleted = standing == Standing::Deleted;
        if int.deleted != deleted {
            int.deleted = deleted;
            let names: Vec<Narrow> = int.lanes.keys().cloned().collect();
            for narrow in names {
                self.place(i, &narrow);
            }
            self.ring(now);
            self.settle(i);
        }
        self.reopen(i, now, standing);
        standing
    }

    /// Enabled again; or an open breaker or a full rate window whose time has come while nothing waits.
    fn reopen(&mut self, i: Int, now: Timestamp, standing: Standing) {
        let position = self.window.position();
        let int = self.int_mut(i);
        let idle = int.lanes.is_empty() && int.front(position) >= position;
        let Some(wide) = &int.wide else { return };
        match wide.reason {
            Reason::Disabled if matches!(standing, Standing::Active { .. }) => int.fails = 0,
            Reason::Breaker if wide.due <= now && idle => {
                // The next failure opens it again.
                int.fails = int.policy.breaker.map_or(0, |b| b.failures.saturating_sub(1));
            }
            Reason::RateLimited if wide.due <= now && idle => {}
            Reason::Breaker if int.policy.breaker.is_none() => {}
            _ => return,
        }
        self.hold(i, Reason::Busy, Timestamp::default());
    }

    /// Expiry and cancellation pass every gate.
    fn end_one(&mut self, i: Int, now: Timestamp) -> Option<Start> {
        if self.int(i).endings >= self.limits.endings {
            return None;
        }
        let int = self.int_mut(i);
        let how = if int.deleted { Ending::Cancelled } else { Ending::Expired };
        while let Some(narrow) = int.over.pop_front() {
            if int.lanes.get(&narrow).is_some_and(|lane| lane.state == State::Over) {
                return self.start(i, Pick::Lane(narrow), Some(how));
            }
        }
        let item = int.queue.startable().filter(|item| int.deleted || item.expires <= now)?;
        let offset = item.offset;
        self.start(i, Pick::Queued(offset), Some(how))
    }

    fn attempt_one(&mut self, i: Int, now: Timestamp, standing: Standing) -> Option<Start> {
        let gated = match self.pick(i, now)? {
            Pick::Lane(_) => self.rules.keep(Rule::GateHoldsAll),
            Pick::Queued(_) => true,
        };
        if self.gate(i, now, standing) == Gate::Closed && gated {
            return None;
        }
        // The gate may have changed what there is.
        let pick = self.pick(i, now)?;
        let int = self.int_mut(i);
        if let Some(rate) = int.policy.rate {
            int.sent.push_back(now);
            if int.sent.len() > rate.count as usize {
                int.sent.pop_front();
            }
        }
        self.start(i, pick, None)
    }

    /// The next record to attempt: of narrow lanes and queue in turn. Ordered ones only as the head of their key.
    fn pick(&mut self, i: Int, now: Timestamp) -> Option<Pick> {
        let too_many = self.active(i) >= self.limits.singles;
        if too_many && !self.int(i).queue.is_empty() && self.int(i).wide.is_none() {
            self.hold(i, Reason::Busy, Timestamp::default());
        }
        let queue_only = !self.rules.keep(Rule::AnyProbe)
            && self.int(i).wide.as_ref().is_some_and(|wide| wide.reason == Reason::Breaker);
        let int = self.int_mut(i);
        if int.starved {
            return None;
        }
        while let Some(narrow) = int.ready.front() {
            if int.lanes.get(narrow).is_some_and(|lane| matches!(lane.state, State::Ready(_))) {
                break;
            }
            int.ready.pop_front();
        }
        let lane = int.ready.front().filter(|_| !queue_only).cloned().map(Pick::Lane);
        let queued =
            int.queue.startable().filter(|item| !too_many && item.expires > now).map(|item| Pick::Queued(item.offset));
        if int.lanes_first { lane.or(queued) } else { queued.or(lane) }
    }

    fn gate(&mut self, i: Int, now: Timestamp, standing: Standing) -> Gate {
        let wide = self.int(i).wide.as_ref().map(|wide| (wide.reason, wide.due));
        match standing {
            Standing::Active { max_in_flight } if self.int(i).in_flight < usize::from(max_in_flight) => {}
            Standing::Disabled => {
                if wide.is_none_or(|wide| wide.0 != Reason::Disabled) {
                    self.hold(i, Reason::Disabled, Timestamp::default());
                }
                return Gate::Closed;
            }
            _ => return Gate::Closed,
        }
        match wide {
            Some((Reason::Breaker, due)) if now < due => return Gate::Closed,
            // Half open: one at a time.
            Some((Reason::Breaker, _)) if self.int(i).in_flight > 0 => return Gate::Closed,
            Some((Reason::Breaker, _)) => return Gate::Open,
            Some((Reason::RateLimited, due)) if now < due => return Gate::Closed,
            Some((Reason::RateLimited, _)) => self.hold(i, Reason::Busy, Timestamp::default()),
            _ => {}
        }
        match self.int(i).policy.rate {
            Some(rate) => self.rate_gate(i, now, rate),
            None => Gate::Open,
        }
    }

    fn rate_gate(&mut self, i: Int, now: Timestamp, rate: Rate) -> Gate {
        let sent = &mut self.int_mut(i).sent;
        while sent.front().is_some_and(|at| at.plus(rate.span) <= now) {
            sent.pop_front();
        }
        match sent.front().filter(|_| sent.len() >= rate.count as usize) {
            Some(first) => {
                let due = first.plus(rate.span);
                self.hold(i, Reason::RateLimited, due);
                Gate::Closed
            }
            None => Gate::Open,
        }
    }

    fn start(&mut self, i: Int, pick: Pick, end: Option<Ending>) -> Option<Start> {
        let (offset, key, expires, attempt, first_at) = match pick {
            Pick::Lane(narrow) => self.start_lane(i, &narrow)?,
            Pick::Queued(offset) => {
                let int = self.int_mut(i);
                let item = int.queue.take(offset)?;
                int.running.insert(offset);
                if let Some(key) = item.key.as_ref().filter(|_| self.rules.keep(Rule::HeadOnly)) {
                    self.int_mut(i).queue.block(key);
                }
                self.left_queue(offset, item.bytes, false);
                (offset, item.key, item.expires, 0, None)
            }
        };
        let int = self.int_mut(i);
        int.lanes_first = !int.lanes_first;
        let task = match end {
            Some(how) => {
                int.endings += 1;
                Task::End(how, attempt)
            }
            None => {
                int.in_flight += 1;
                Task::Attempt(attempt + 1)
            }
        };
        let integration = int.id.clone();
        let flight = Flight { int: i, key, expires, attempt: attempt + 1, ending: end.is_some() };
        self.flight.insert(offset, flight);
        Some(Start { offset, integration, task, first_at })
    }

    #[expect(clippy::type_complexity, reason = "taken apart at once by its only caller")]
    fn start_lane(
        &mut self,
        i: Int,
        narrow: &Narrow,
    ) -> Option<(Offset, Option<OrderingKey>, Timestamp, u32, Option<Timestamp>)> {
        self.run(i, narrow);
        let lane = self.int(i).lanes.get(narrow)?;
        let head = lane.next.front()?;
        // The record that the attempts were made of may be gone (retention).
        let tried = lane.at.from == head.offset;
        let (attempt, first_at) = if tried { (lane.at.attempt, lane.at.about.first_at) } else { (0, None) };
        let key = match narrow {
            Narrow::Key(key) => Some(key.clone()),
            Narrow::Single(_) => None,
        };
        Some((head.offset, key, head.expires, attempt, first_at))
    }
}
