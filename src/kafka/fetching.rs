//! Which partitions are fetched: none where there is no room, and each from its own position.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;

use super::consumer::Poller;
use super::group::Held;

/// How long the thread waits for room before it pauses its partitions, which throws away what was fetched.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(500);

impl Poller {
    /// Keeps the bound: waits a moment for room, then pauses, and fetches again when half of it is free.
    pub(super) fn mind_the_room(&mut self) {
        let room = self.group().room.clone();
        if self.paused {
            if room.is_half_free() {
                self.paused = false;
                self.group().state().seek_all();
            }
        } else if !room.is_free() {
            let until = Instant::now() + WAIT_FOR_ROOM;
            while !room.wait(Duration::from_millis(50)) {
                self.group().own.touch();
                if Instant::now() > until {
                    self.pause();
                    return;
                }
            }
        }
        if !self.paused {
            self.set_positions();
        }
    }

    fn pause(&mut self) {
        let reading = self.group().state().reading(self.engine.names.of(self.topic), |_| true);
        if let Err(error) = self.consumer.pause(&reading) {
            tracing::warn!(stage = self.stage, %error, "pausing failed");
        }
        self.paused = true;
    }

    /// Resumes partitions that are not being fetched, each at its own position.
    fn set_positions(&self) {
        let wanted = self.group().state().reading(self.engine.names.of(self.topic), |r| r.seeking.is_some());
        if wanted.count() == 0 {
            return;
        }
        let sought =
            self.consumer.resume(&wanted).and_then(|()| self.consumer.seek_partitions(wanted, Duration::from_secs(1)));
        let mut state = self.group().state();
        let mut stuck = false;
        match &sought {
            Ok(sought) => {
                for element in sought.elements() {
                    let Some(Held::Reading(reading)) = state.parts.get_mut(&element.partition()) else { continue };
                    if element.error().is_ok() {
                        reading.seeking = None;
                    }
                    stuck |= reading.is_stuck();
                }
            }
            Err(_) => stuck = state.any_stuck(),
        }
        drop(state);
        if stuck {
            tracing::warn!(stage = self.stage, "a partition takes no position; its offset may have been out of range");
            self.group().own.void_all();
        }
    }
}
