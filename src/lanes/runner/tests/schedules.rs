//! Random histories: deliveries, outcomes, rebalances, crashes, commits held back. Whatever happens, nothing is lost.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Give(Vec<u8>),
    /// One of the attempts under way ends.
    Answer(usize, u8),
    Pass(u16),
    /// Commits are held back, or go on.
    Open(bool),
    Disable(u8, bool),
    Revoke,
    Lose,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0..5u8, 1..8).prop_map(Step::Give),
        10 => (any::<usize>(), 0..10u8).prop_map(|(i, how)| Step::Answer(i, how)),
        4 => (0..3_000u16).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Open),
        1 => (0..4u8, any::<bool>()).prop_map(|(i, off)| Step::Disable(i, off)),
        1 => Just(Step::Revoke),
        1 => Just(Step::Lose),
        1 => Just(Step::Crash),
    ]
}

/// The world around the runner, and what it knows of each offset.
struct World {
    run: Run,
    epoch: u64,
    /// Records that the runner was given by this log.
    given: usize,
    flying: Vec<Call>,
    /// Of each offset in flight in this assignment; two at once would be a double send.
    now: BTreeSet<i64>,
    /// When each may be tried again, by what was committed or said since.
    due: BTreeMap<i64, i64>,
}

fn key(n: u8) -> String {
    if n == 4 { "refused".into() } else { format!("i{n}") }
}

impl World {
    async fn new() -> World {
        let run = start(FakeLog::new());
        let world = World { run, epoch: 1, given: 0, flying: Vec::new(), now: BTreeSet::new(), due: BTreeMap::new() };
        world.run.take_over(0, 1).await;
        world
    }

    fn collect(&mut self) {
        while let Ok(call) = self.run.calls.try_recv() {
            assert!(self.now.insert(call.offset), "{} is sent twice at once", call.offset);
            let due = self.due.get(&call.offset).copied().filter(|_| call.attempt > 1);
            assert!(due.is_none_or(|due| call.at.0 >= due), "{} is early", call.offset);
            self.flying.push(call);
        }
    }

    /// Lets everything happen that needs so many milliseconds.
    async fn pass(&mut self, millis: u64) {
        time_passes(Duration::from_millis(millis)).await;
        self.collect();
    }

    fn answer(&mut self, i: usize, how: u8) {
        if self.flying.is_empty() {
            return;
        }
        let call = self.flying.swap_remove(i % self.flying.len());
        self.now.remove(&call.offset);
        match how {
            0 => call.answer(Outcome::Dead),
            1..=4 => {
                let due = call.at.0 + i64::from(how) * 700;
                self.due.insert(call.offset, due);
                call.answer(Outcome::Retry { due: Timestamp(due), error: "no".into(), status: None });
            }
            _ => call.delivered(),
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Give(keys) => {
                self.given += keys.len();
                let keys: Vec<String> = keys.into_iter().map(key).collect();
                self.run.give(0, self.epoch, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
            }
            Step::Answer(i, how) => self.answer(i, how),
            Step::Pass(millis) => self.pass(millis.into()).await,
            Step::Open(open) => self.run.log.open(open),
            Step::Disable(i, off) => {
                let standing = if off { Standing::Disabled } else { Standing::Active { max_in_flight: 2 } };
                self.run.stand(&key(i), standing);
            }
            Step::Revoke => {
                let gone = self.run.revoke(0, self.epoch).await;
                assert!(timeout(Duration::from_secs(11), gone).await.is_ok(), "a rebalance waits for ever");
                self.run.log.revoke(0, self.epoch);
                self.taken_over().await;
            }
            Step::Lose => {
                self.run.lose(0, self.epoch).await;
                self.taken_over().await;
            }
            Step::Crash => {
                let (log, desk) = (FakeLog::new(), self.run.desk.clone());
                let run = std::mem::replace(&mut self.run, start(log)).restart().await;
                *run.desk.standings.lock().unwrap() = desk.standings.lock().unwrap().clone();
                self.run = run;
                self.given = 0;
                self.taken_over().await;
            }
        }
        self.collect_soon().await;
    }

    async fn collect_soon(&mut self) {
        self.pass(1).await;
    }

    /// What was in flight is not known to the next owner.
    async fn taken_over(&mut self) {
        // The commits of the last owner are settled before the next is assigned.
        self.run.log.open(true);
        time_passes(Duration::from_millis(1)).await;
        while self.run.calls.try_recv().is_ok() {}
        self.flying.clear();
        self.now.clear();
        self.due.clear();
        self.epoch += 1;
        self.given += self.run.take_over(0, self.epoch).await;
    }

    /// Everything goes well from here on.
    async fn finish(&mut self) {
        self.run.log.open(true);
        for i in 0..4 {
            self.run.stand(&key(i), Standing::Active { max_in_flight: 2 });
        }
        let count = self.run.log.records(Topic::Deliveries, 0).len() as i64;
        for _ in 0..2_000 {
            self.pass(1_000).await;
            while !self.flying.is_empty() {
                self.answer(0, 9);
            }
            if watermark(&self.run.log) == count && lanes(&self.run.log).is_empty() {
                return;
            }
        }
        panic!("not finished: W is {} of {count}, lanes {:?}", watermark(&self.run.log), lanes(&self.run.log));
    }

    /// Every record has one end, and its attempts are numbered without gaps.
    fn account(&self) {
        let log = &self.run.log;
        let rejected = committed(log, Topic::Rejected);
        for record in log.records(Topic::Deliveries, 0) {
            let offset = record.offset.0;
            let refused = rejected.iter().filter(|(k, _)| *k == offset.to_string()).count();
            let told = of(log, offset);
            if text(record.record.key.as_ref()) == "refused" {
                assert_eq!((refused, told.len()), (1, 0), "{offset}");
                continue;
            }
            let (last, before) = told.split_last().expect("lost");
            assert!(last.ends_with("delivered") || last.ends_with("dead"), "{offset}: {told:?}");
            assert!(before.iter().all(|t| t.ends_with("retry")), "{offset}: {told:?}");
            let numbers: Vec<_> = told.iter().map(|t| t.split_once(' ').unwrap().0.to_owned()).collect();
            let expected: Vec<_> = (1..=told.len()).map(|n| n.to_string()).collect();
            assert_eq!(numbers, expected, "{offset}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_record_ends_once(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
            world.finish().await;
            world.account();
            prop_assert_eq!(world.run.log.credit().0, world.given);
            world.run.stop().await;
            Ok(())
        })?;
    }
}
