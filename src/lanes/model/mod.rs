//! The model test: the core against random histories (`world`), in which an `owner` follows another, the `broker` is what
//! survives and `checks` holds what must be true. `backlog` counts what a large backlog costs.

mod backlog;
mod broker;
mod checks;
mod owner;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use self::world::{Fault, Totals, Violation, run};
use super::rules::Rule;

/// Histories that every run of the tests goes through; `TIDEGATE_LANES_SEEDS` asks for more.
const SEEDS: u64 = 20_000;

fn history(seed: u64, out: Option<Fault>, trace: bool) -> Result<Totals, Violation> {
    catch_unwind(AssertUnwindSafe(|| run(seed, out, trace)))
        .unwrap_or_else(|_| Err(Violation { what: "panicked".into(), trace: Vec::new() }))
}

/// Runs `seeds` histories on two threads until one breaks; the first that did, and sums.
fn histories(seeds: std::ops::Range<u64>, out: Option<Fault>) -> (Option<u64>, Totals) {
    let (next, broken) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let work = || {
        let mut sum = Totals::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || broken.load(Ordering::Relaxed) != u64::MAX {
                return sum;
            }
            match history(seed, out, false) {
                Ok(t) => {
                    sum.records += t.records;
                    sum.steps += t.steps;
                    sum.crashes += t.crashes;
                    sum.repeats += t.repeats;
                }
                Err(_) => _ = broken.fetch_min(seed, Ordering::Relaxed),
            }
        }
    };
    let sums = std::thread::scope(|s| [s.spawn(work), s.spawn(work)].map(|t| t.join().unwrap()));
    let add = |a: Totals, b: Totals| Totals {
        records: a.records + b.records,
        steps: a.steps + b.steps,
        crashes: a.crashes + b.crashes,
        repeats: a.repeats + b.repeats,
    };
    let broken = broken.into_inner();
    ((broken != u64::MAX).then_some(broken), add(sums[0], sums[1]))
}

fn show(seed: u64) -> String {
    match history(seed, None, true) {
        Ok(t) => format!("seed {seed} is well: {t:?}"),
        Err(v) => {
            let last = v.trace.len().saturating_sub(400);
            let trace = v.trace[last..].join("\n");
            format!(
                "{trace}\nseed {seed}: {}\nalone: TIDEGATE_LANES_SEED={seed} cargo test --lib lanes::model::nothing",
                v.what
            )
        }
    }
}

#[test]
fn nothing_is_lost_early_out_of_order_or_stuck_in_any_history() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TIDEGATE_LANES_SEED") {
        panic!("{}", show(seed));
    }
    let (broken, t) = histories(0..number("TIDEGATE_LANES_SEEDS").unwrap_or(SEEDS), None);
    assert!(broken.is_none(), "{}", show(broken.unwrap()));
    println!("{t:?}: {:.2} repeats a crash", t.repeats as f64 / t.crashes as f64);
    assert!(t.repeats < 2 * t.crashes, "{t:?}");
}

#[test]
fn leaving_out_any_rule_is_caught() {
    use Fault::{Atomic, Barrier, Core, Epoch, Number};
    let faults = [
        Atomic,
        Barrier,
        Epoch,
        Number,
        Core(Rule::BelowTheWatermark),
        Core(Rule::PassCovered),
        Core(Rule::PersistDone),
        Core(Rule::HeadOnly),
        Core(Rule::FromPassesDone),
        Core(Rule::LookBeforeRelease),
        Core(Rule::ReaderBeforeRelease),
        Core(Rule::NarrowestDecides),
        Core(Rule::DeadFirst),
        Core(Rule::DoneOfChild),
        Core(Rule::DoneWhenPassed),
        Core(Rule::DoneWhenHeld),
        Core(Rule::StayBehind),
        Core(Rule::Together),
        Core(Rule::OneFeeder),
        Core(Rule::GateHoldsAll),
        Core(Rule::AnyProbe),
        Core(Rule::IdleIsFree),
        Core(Rule::SpinOff),
    ];
    let missed: Vec<_> = faults
        .into_iter()
        .filter(|fault| {
            let (broken, _) = histories(0..3 * SEEDS, Some(*fault));
            let what = broken.and_then(|seed| history(seed, Some(*fault), false).err());
            println!("{fault:?}: caught by history {broken:?}: {}", what.map(|v| v.what).unwrap_or_default());
            broken.is_none()
        })
        .collect();
    assert!(missed.is_empty(), "not caught within {} histories: {missed:?}", 3 * SEEDS);
}
