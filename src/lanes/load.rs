//! A new owner takes over: what the log holds becomes lanes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};

use super::Lanes;
use super::entry::{Entry, LaneName};
use super::integration::{Cursor, Follower, Int, Lane, Listed, NEVER, Narrow, State, Wide};
use super::limits::Limits;
use super::rules::Rules;
use super::window::Window;
use crate::model::ids::Offset;
use crate::stream::metadata::{MAX_WINDOW, Progress};

impl Lanes {
    /// The lanes as the last owner committed them: the partition's committed offset and its whole table of `retry`, read
    /// behind the load barrier. The main reader starts at the watermark.
    pub fn load(limits: Limits, progress: &Progress, entries: impl IntoIterator<Item = (LaneName, Entry)>) -> Lanes {
        let limits = Limits { window: limits.window.clamp(4, MAX_WINDOW), ..limits };
        let mut lanes = Lanes {
            limits,
            rules: Rules::default(),
            window: Window::load(progress),
            flush: progress.flush,
            ints: Vec::new(),
            ids: FxHashMap::default(),
            flight: FxHashMap::default(),
            timers: BTreeSet::new(),
            turn: VecDeque::new(),
            lagging: BTreeSet::new(),
            hungry: VecDeque::new(),
            heads_of: VecDeque::new(),
            scans: BTreeSet::new(),
            ahead: BTreeMap::new(),
            dirty: FxHashSet::default(),
            stored: FxHashSet::default(),
            changed: false,
            unsaved: Vec::new(),
            outstanding: None,
            released: Vec::new(),
            queued: 0,
            queued_bytes: 0,
            starved: 0,
        };
        for (name, entry) in entries {
            lanes.load_entry(name, entry);
        }
        for i in (0..lanes.ints.len()).map(|n| Int(n as u32)) {
            lanes.load_integration(i);
        }
        lanes
    }

    fn load_entry(&mut self, name: LaneName, entry: Entry) {
        let i = self.intern(name.integration());
        let int = self.int_mut(i);
        int.back = int.back.max(if entry.attempt > 0 { entry.from.next() } else { entry.from });
        let from = entry.from;
        let narrow = match name {
            LaneName::Integration(_) => {
                int.reader = Some(from);
                let done = entry.done.into_iter().filter(|o| *o >= from).collect();
                int.wide = Some(Wide { from, due: entry.due, reason: entry.reason, done, written: Some(from) });
                self.stored.insert((i, None));
                return;
            }
            LaneName::Key(_, key) => Narrow::Key(key),
            LaneName::Single(_, offset) => Narrow::Single(offset),
        };
        let head = match narrow {
            Narrow::Single(offset) => Some(Follower { offset, expires: entry.expires.unwrap_or(NEVER) }),
            Narrow::Key(_) => None,
        };
        let Entry { due, attempt, reason, about, .. } = entry;
        let lane = Lane {
            at: Cursor { from, due, attempt, reason, about: Box::new(about) },
            next: head.into_iter().collect(),
            known: from,
            scan: false,
            state: State::Still,
            listed: Listed::No,
        };
        int.lanes.insert(narrow.clone(), lane);
        self.stored.insert((i, Some(narrow)));
    }

    fn load_integration(&mut self, i: Int) {
        let position = self.window.position();
        self.set_reader(i, self.int(i).reader.filter(|reader| *reader != position));
        let int = self.int(i);
        let read_to = int.read_to(position);
        let marks: Vec<Offset> = int.reader.into_iter().chain([int.back]).filter(|o| *o > position).collect();
        let names: Vec<Narrow> = int.lanes.keys().cloned().collect();
        for mark in marks {
            self.ahead.entry(mark).or_default().push(i);
        }
        for narrow in names {
            if let Some(lane) = self.int_mut(i).lanes.get_mut(&narrow) {
                lane.scan = matches!(narrow, Narrow::Key(_)) && lane.at.from < read_to;
            }
            self.place(i, &narrow);
        }
        self.settle(i);
        self.rouse(i);
    }
}
