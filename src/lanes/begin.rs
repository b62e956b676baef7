//! What was handed out, but had to be read before it could be sent: much may have happened meanwhile.

use super::Lanes;
use super::entry::Reason;
use super::integration::{Cursor, Integration, Narrow, State};
use super::limits::Standings;
use crate::model::ids::Offset;
use crate::model::time::Timestamp;
use crate::stream::stage::Standing;

impl Lanes {
    /// May what was handed out begin now? If not, since its integration was switched off or its breaker opened, it is back
    /// among what waits, as if it had never been handed out. A rate lets it through: there it has been counted.
    pub fn begins(&mut self, offset: Offset, now: Timestamp, standings: &impl Standings) -> bool {
        let Some(flight) = self.flight.get(&offset) else { return false };
        let int = self.int(flight.int);
        let active = matches!(standings.standing(&int.id), Standing::Active { .. });
        let begins = flight.ending || (active && !is_broken(int, now));
        if !begins {
            self.put_back(offset);
        }
        begins
    }

    fn put_back(&mut self, o: Offset) {
        let Some(flight) = self.flight.remove(&o) else { return };
        let i = flight.int;
        let narrow = Narrow::of(flight.key.as_ref(), o);
        let int = self.int_mut(i);
        int.in_flight -= 1;
        if let Some(lane) = int.lanes.get_mut(&narrow) {
            lane.state = State::Still;
            self.place(i, &narrow);
        } else {
            int.running.remove(&o);
            self.split(i, Cursor::busy(o), (flight.key.clone(), flight.expires, State::Still));
        }
        if let Some(key) = &flight.key {
            self.int_mut(i).queue.unblock(key);
        }
        self.settle(i);
        self.rouse(i);
    }
}

/// Half open it lets one through at a time.
fn is_broken(int: &Integration, now: Timestamp) -> bool {
    let breaker = int.wide.as_ref().filter(|wide| wide.reason == Reason::Breaker);
    breaker.is_some_and(|wide| now < wide.due || int.in_flight > 1)
}
