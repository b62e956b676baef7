//! Records that are not in memory when it is their turn, or that a queue which ran empty waits for.

use std::sync::Arc;

use super::super::reads::Stretch;
use super::super::tell;
use super::Actor;
use crate::lanes::{Seen, Start};
use crate::model::ids::Offset;
use crate::model::record::Received;
use crate::stream::log::LogError;
use crate::stream::stage::{Admission, Work};

impl<W: Work> Actor<W> {
    /// Its integration may have been switched off while it was read.
    pub(super) fn start_fetched(&mut self, start: Start, record: Arc<Received>) {
        let (work, now) = (&self.means.work, self.means.clock.now());
        if self.lanes.begins(start.offset, now, &|id: &_| work.standing(id)) {
            self.start(start, record);
        } else {
            self.payloads.settle(start.offset);
        }
    }

    pub(super) fn read_what_is_wanted(&mut self) {
        // What is in memory is worked on first: a stretch at a time bounds it.
        if !self.reads.is_idle() || !self.fetched.is_empty() || self.draining.is_some() {
            return;
        }
        let due = self.fetching.keys().next().copied();
        let from = if self.refills_first { self.refill().or(due) } else { due.or_else(|| self.refill()) };
        if let Some(from) = from {
            self.refills_first = Some(from) == due;
            self.reads.start(from);
        }
    }

    /// Asked for one at a time: each that is named has had its turn.
    fn refill(&mut self) -> Option<Offset> {
        self.lanes.wants(1, self.means.clock.now()).stretches.first().copied()
    }

    /// A stretch serves whoever waits for something in it.
    pub(super) fn reread(&mut self, stretch: Result<Stretch, LogError>) {
        let Stretch { from, records, position } = match stretch {
            Ok(stretch) => stretch,
            Err(error) => return tracing::warn!(partition = self.partition.0, %error, "waiting records cannot be read"),
        };
        let seen = |record: &Received| match self.means.work.admit(record) {
            Admission::Take { integration, expires } => {
                Some(Seen { offset: record.offset, integration, key: None, expires, bytes: record.record.size() })
            }
            Admission::Refuse(_) => None,
        };
        let all = records.iter().filter_map(seen).collect();
        let taken = self.lanes.reread(from, all, position);
        for record in records {
            if let Some(start) = self.fetching.remove(&record.offset) {
                self.fetched.push_back((start, self.payloads.hold(record)));
            } else if taken.binary_search(&record.offset).is_ok() {
                self.payloads.offer(record);
            }
        }
        let gone: Vec<Offset> = self.fetching.range(from..position).map(|(o, _)| *o).collect();
        for offset in gone {
            self.fetching.remove(&offset);
            tell::lost(self.partition, offset);
            self.lanes.ended(offset);
        }
        self.forget_released();
    }
}
