//! The depth of a tree of units, whichever way a unit is moved.

use serde_json::json;

use super::process::{change, create, process, somebody};
use crate::catalog::apply::{self, Desired, Fault, Plan};
use crate::catalog::change::{Action, Basis, Refusal};
use crate::catalog::fake::SharedFake;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::samples::{organization, unit};
use crate::catalog::snapshot::Snapshot;
use crate::catalog::writer::WriteError;
use crate::model::time::Timestamp;

fn ward(id: &str, parent: Option<&str>) -> Desired {
    let key = Key::of(Kind::OrgUnit, id).unwrap();
    Desired::new(key, &json!({"orgId": "a", "name": id, "parentRid": parent}))
}

/// Units that are each a part of the one before: each with its parent.
fn chain(name: &str, length: usize) -> Vec<(String, Option<String>)> {
    let id = |n: usize| format!("{name}{n:02}");
    (1..=length).map(|n| (id(n), (n > 1).then(|| id(n - 1)))).collect()
}

/// Organization `a` with these units.
fn there(units: &[(String, Option<String>)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.put(organization("a"));
    units.iter().for_each(|(id, parent)| snapshot.put(unit("a", id, parent.as_deref())));
    snapshot
}

fn planned(desired: &[Desired], snapshot: &Snapshot) -> Result<Plan, Vec<Fault>> {
    apply::plan(desired, false, Basis { snapshot, now: Timestamp(7), keyring: None })
}

fn told(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|f| format!("{:?} {} {}", f.at, f.problem.path, f.problem.message)).collect()
}

#[test]
fn a_unit_that_moves_does_not_take_the_units_below_it_too_deep() {
    let there = there(&[chain("x", 10), chain("y", 7)].concat());
    let below = |above: &str| planned(&[ward("y01", Some(above))], &there);
    assert!(below("x09").is_ok(), "16 levels are allowed");
    let deepest = "Some(0) spec.parentRid must not be so deep: org unit `y07`, 6 levels below this one, would be on level 17 of 16 at most";
    assert_eq!(told(&below("x10").unwrap_err()), [deepest]);
    // The one that moves is above another that is written.
    let under = planned(&[ward("x01", Some("top")), ward("top", Some("y07"))], &there).unwrap_err();
    assert!(told(&under)[0].contains("`x10`, 9 levels below"), "{:?}", told(&under));
    // The deep ones go elsewhere in the same write.
    assert!(planned(&[ward("y01", Some("x10")), ward("y07", None)], &there).is_ok());
    let turned = planned(&[ward("x01", Some("x10"))], &there).unwrap_err();
    assert!(told(&turned)[0].contains("must not be a unit below this one"), "{:?}", told(&turned));
}

#[test]
fn a_chain_that_is_too_long_is_told_of_what_is_too_deep_and_not_of_all_above_it() {
    let all: Vec<_> = chain("x", 18).iter().map(|(id, parent)| ward(id, parent.as_deref())).collect();
    let faults = planned(&all, &there(&[])).unwrap_err();
    let at: Vec<_> = faults.iter().map(|fault| fault.at.unwrap()).collect();
    assert_eq!(at, [16, 17], "{:?}", told(&faults));
}

#[tokio::test]
async fn no_way_to_move_a_unit_takes_those_below_it_too_deep() {
    let process = process(&SharedFake::default()).with_org().await;
    let key = |rid: &str| Key::of(Kind::OrgUnit, rid).unwrap();
    let made = async |rid: &str, parent: Option<&str>| {
        process.write(create(unit("648", rid, parent).into())).await.unwrap();
    };
    for n in 1..=10 {
        let above = (n > 1).then(|| format!("a{}", n - 1));
        made(&format!("a{n}"), above.as_deref()).await;
    }
    // While it was below a10 there was nothing below it.
    made("b1", Some("a10")).await;
    let deep = process.catalog.snapshot().get(&key("b1")).unwrap().to_json();
    process.write(change(key("b1"), Action::Merge(json!({"parentRid": null})))).await.unwrap();
    for n in 2..=7 {
        made(&format!("b{n}"), Some(&format!("b{}", n - 1))).await;
    }
    let whole = |parent: &str| Resource::from(unit("648", "b1", Some(parent))).to_json();
    for action in [Action::Merge(json!({"parentRid": "a10"})), Action::Replace(whole("a10")), Action::Restore(deep)] {
        let told = format!("{action:?}");
        let error = process.write(change(key("b1"), action)).await.unwrap_err();
        let WriteError::Refused { refusal: Refusal::Invalid(problems), .. } = error else { panic!("{told}: {error}") };
        assert_eq!(problems[0].path, "parentRid");
        assert!(problems[0].message.contains("org unit `b7`, 6 levels below this one"), "{told}: {problems:?}");
    }
    let moved = process.write(change(key("b1"), Action::Merge(json!({"parentRid": "a9"})))).await.unwrap();
    assert_eq!(moved.to_json()["parentRid"], "a9");
    // In one write: what moves it down and what takes the deep ones away.
    let changes = [
        change(key("b1"), Action::Merge(json!({"parentRid": "a10"}))),
        change(key("b7"), Action::Merge(json!({"parentRid": null}))),
    ];
    let (alone, both) = (&changes[..1], &changes[..]);
    assert!(process.writer.write_all(alone, &somebody()).await.is_err());
    process.writer.write_all(both, &somebody()).await.unwrap();
}
