//! What a large backlog of one integration costs in records of `retry`, every completion flushed on its own: the worst case.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::lanes::{Answer, Lanes, Limits, Seen};
use crate::model::ids::{IntegrationId, Offset};
use crate::model::time::Timestamp;
use crate::stream::metadata::Progress;
use crate::stream::stage::Standing;

const BACKLOG: i64 = 4_000;
const IN_FLIGHT: u16 = 16;

/// Records written to `retry` for each delivery, where `slow` of them take twenty times as long.
fn writes_per_delivery(per_slot: usize, slow: f64) -> f64 {
    let (mut r, id) = (Rng::with_seed(1), IntegrationId::parse("a").unwrap());
    let limits = Limits { window: 256, queue: 32, done_per_slot: per_slot, ..Limits::default() };
    let mut core = Lanes::load(limits, &Progress::default(), []);
    let standing = |_: &IntegrationId| Standing::Active { max_in_flight: IN_FLIGHT };
    let seen =
        |o: i64| Seen { offset: Offset(o), integration: id.clone(), key: None, expires: Timestamp(i64::MAX), bytes: 1 };
    let (mut flight, mut clock, mut writes, mut delivered) = (BTreeMap::new(), 0, 0, 0);
    while delivered < BACKLOG {
        for o in core.position().0..(core.position().0 + 3).min(BACKLOG) {
            core.receive(seen(o));
        }
        for from in core.wants(4, Timestamp(0)).stretches {
            let end = (from.0 + 32).min(BACKLOG);
            core.reread(from, (from.0..end).map(seen).collect(), Offset(end));
        }
        while let Some(start) = core.next(Timestamp(0), &standing) {
            let time = -r.f64().ln() + if r.f64() < slow { 20.0 } else { 0.0 };
            flight.insert((clock + (time * 1e6) as i64, start.offset), ());
        }
        if let Some(((at, o), ())) = flight.pop_first() {
            clock = at;
            delivered += 1;
            core.complete(o, Answer::Delivered, Timestamp(0));
        }
        if let Some(flush) = core.flush() {
            writes += flush.entries.len();
            core.committed();
        }
    }
    writes as f64 / BACKLOG as f64
}

#[test]
fn a_backlog_is_not_rewritten_for_each_record_that_leaves_it() {
    for slow in [0.0, 0.01, 0.05] {
        let writes = writes_per_delivery(4, slow);
        println!("{slow}: {writes}, with done[] of one per slot {}", writes_per_delivery(1, slow));
        assert!(writes <= 1.1, "{writes} for each delivery with {slow} slow ones");
    }
}
