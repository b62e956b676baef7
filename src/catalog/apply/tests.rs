use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::samples::{integration, organization, unit};
use crate::catalog::seal::Keyring;
use crate::model::time::Timestamp;

const KEY: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

fn ring() -> Keyring {
    Keyring::of(KEY, &[]).unwrap()
}

fn desired(kind: &str, id: &str, spec: Value) -> Desired {
    Desired::new(Key::of(Kind::parse(kind).unwrap(), id).unwrap(), &spec)
}

fn org(id: &str) -> Desired {
    desired("Organization", id, json!({"name": format!("Clinic {id}")}))
}

fn hook(org: &str, id: &str, more: Value) -> Desired {
    let mut spec = json!({"orgId": org, "name": id, "eventType": ["*"], "targetUrl": "https://erp.example/a"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    desired("OutboundIntegration", id, spec)
}

fn ward(org: &str, id: &str, parent: Option<&str>) -> Desired {
    desired("OrgUnit", id, json!({"orgId": org, "name": id, "parentRid": parent}))
}

fn declared(org: &str, id: &str, event_type: &str) -> Desired {
    desired("EventType", id, json!({"orgId": org, "eventType": event_type}))
}

fn alert(org: &str, secret: &str) -> Desired {
    let hook = json!({"type": "WEBHOOK", "url": "https://ops.example/a", "secret": secret});
    let spec = json!({"orgId": org, "name": "Lost", "condition": {"type": "DEAD_LETTERS", "threshold": 5}, "channels": [hook]});
    desired("AlertRule", "lost", spec)
}

fn planned(desired: &[Desired], prune: bool, snapshot: &Snapshot) -> Result<Plan, Vec<Fault>> {
    let ring = ring();
    plan(desired, prune, Basis { snapshot, now: Timestamp(7), keyring: Some(&ring) })
}

/// The catalog as the plan leaves it.
fn after(plan: &Plan, snapshot: &Snapshot) -> Snapshot {
    let mut after = snapshot.clone();
    for Step { key, decision, .. } in &plan.steps {
        match decision {
            Some(Decision::Put { is, .. }) => after.put(is.clone()),
            Some(Decision::Remove(_)) => after.remove(key),
            Some(Decision::Unchanged(_)) | None => {}
        }
    }
    after
}

fn applied(desired: &[Desired], prune: bool, snapshot: &Snapshot) -> Snapshot {
    after(&planned(desired, prune, snapshot).unwrap(), snapshot)
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{:?} {}", step.verb, step.key.id)).collect()
}

fn told(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|f| format!("{:?} {} {}", f.at, f.problem.path, f.problem.message)).collect()
}

/// As files would have it.
fn files_of(snapshot: &Snapshot) -> Vec<Desired> {
    let all = Kind::configuration().flat_map(|kind| snapshot.all(kind).values());
    let file = |resource: &Resource| {
        let mut spec = exported(resource)["spec"].take();
        lean(resource.kind(), &mut spec);
        Desired::new(resource.key(), &spec)
    };
    all.map(file).collect()
}

/// What is in it, secrets in clear, without versions and times.
fn contents(snapshot: &Snapshot) -> Vec<Value> {
    let ring = ring();
    let all = Kind::configuration().flat_map(|kind| snapshot.all(kind).values());
    all.map(|resource| compared(resource, Some(&ring))).collect()
}

#[test]
fn what_refers_to_others_is_made_after_them_and_deleted_before_them_whatever_the_order_of_files() {
    let all = [
        hook("a", "h", json!({"orgUnitRid": "bed"})),
        ward("a", "bed", Some("room")),
        ward("a", "room", Some("zone")),
        ward("a", "zone", None),
        org("a"),
    ];
    let plan = planned(&all, false, &Snapshot::default()).unwrap();
    assert_eq!(steps(&plan), ["Create a", "Create zone", "Create room", "Create bed", "Create h"]);
    let full = after(&plan, &Snapshot::default());
    let plan = planned(&[org("a")], true, &full).unwrap();
    assert_eq!(steps(&plan), ["Delete h", "Delete bed", "Delete room", "Delete zone", "Unchanged a"]);
    assert_eq!(contents(&after(&plan, &full)).len(), 1);
}

#[test]
fn a_tree_that_is_turned_over_and_a_value_that_changes_hands_are_no_conflict() {
    let was = applied(
        &[
            org("a"),
            ward("a", "x", None),
            ward("a", "y", Some("x")),
            declared("a", "one", "t.one"),
            declared("a", "two", "t.two"),
        ],
        false,
        &Snapshot::default(),
    );
    let is = [
        org("a"),
        ward("a", "x", Some("y")),
        ward("a", "y", None),
        // `one` takes what `two` has, which takes another.
        declared("a", "one", "t.two"),
        declared("a", "two", "t.three"),
    ];
    let turned = applied(&is, true, &was);
    assert!(planned(&is, true, &turned).unwrap().steps.iter().all(|step| step.verb == Verb::Unchanged));
    // Under another id: the old one goes first.
    let renamed = [org("a"), declared("a", "new", "t.three")];
    assert_eq!(contents(&applied(&renamed, true, &turned)).len(), 2);
}

#[test]
fn pruning_stays_in_the_organizations_that_are_named_and_spares_people() {
    let mut there = applied(
        &[org("a"), org("b"), hook("a", "a1", json!({})), hook("b", "b1", json!({}))],
        false,
        &Snapshot::default(),
    );
    let user = json!({"id": "ada", "email": "ada@a.example", "role": "USER", "orgId": "a"});
    there.put(Kind::User.read(user).unwrap());
    let deleted = |desired: &[Desired]| {
        let plan = planned(desired, true, &there).unwrap();
        steps(&plan).into_iter().filter(|step| step.starts_with("Delete")).collect::<Vec<_>>()
    };
    assert_eq!(deleted(&[org("a")]), ["Delete a1"]);
    assert_eq!(deleted(&[hook("b", "b2", json!({}))]), ["Delete b1"]);
    assert_eq!(deleted(&[]), [""; 0]);
}

#[test]
fn what_is_in_no_file_and_still_named_is_told_of_who_names_it() {
    let there = applied(&[org("a"), ward("a", "w", None)], false, &Snapshot::default());
    let faults = planned(&[org("a"), hook("a", "h", json!({"orgUnitRid": "w"}))], true, &there).unwrap_err();
    assert_eq!(
        told(&faults),
        ["Some(1) spec.orgUnitRid names org unit `w`, which is in no file, so that pruning deletes it"]
    );
}

#[test]
fn everything_wrong_is_told_by_its_place_and_nobody_is_blamed_for_another() {
    let all = [
        org("a"),
        desired("Organization", "b", json!({"nmae": "B"})),
        hook("b", "h", json!({"timeoutMs": 1})),
        hook("a", "h", json!({})),
        hook("a", "i", json!({"orgUnitRid": "nowhere", "id": "j"})),
        ward("a", "x", Some("x")),
    ];
    let faults = planned(&all, false, &Snapshot::default()).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|f| (f.at.unwrap(), f.problem.path.as_str())).collect();
    let expected = [
        (1, "spec.name"),
        (1, "spec.nmae"),
        (2, "spec.timeoutMs"),
        (3, "id"),
        (4, "id"),
        (4, "spec.orgUnitRid"),
        (5, "spec.parentRid"),
    ];
    assert_eq!(paths.iter().collect::<BTreeSet<_>>(), expected.iter().collect::<BTreeSet<_>>(), "{:#?}", told(&faults));
}

#[test]
fn units_that_are_each_below_the_other_are_not_left_out_in_silence() {
    let faults =
        planned(&[org("a"), ward("a", "x", Some("y")), ward("a", "y", Some("x"))], false, &Snapshot::default());
    assert_eq!(told(&faults.unwrap_err()).len(), 2);
}

#[test]
fn a_secret_is_compared_and_never_shown() {
    let there = applied(&[org("a"), alert("a", "s3cret")], false, &Snapshot::default());
    let sealed = exported(there.get(&Key::of(Kind::AlertRule, "lost").unwrap()).unwrap());
    let sealed = sealed["spec"]["channels"][0]["secret"].as_str().unwrap().to_owned();
    assert!(Keyring::is_sealed(&sealed));
    for same in ["s3cret", "***", &sealed] {
        let plan = planned(&[org("a"), alert("a", same)], false, &there).unwrap();
        assert_eq!(steps(&plan), ["Unchanged a", "Unchanged lost"], "{same}");
    }
    let plan = planned(&[org("a"), alert("a", "another")], false, &there).unwrap();
    let diff = serde_json::to_value(plan.steps[1].diff(Some(&ring()))).unwrap();
    assert_eq!(diff, json!([{"path": "channels[0].secret", "from": "***", "to": "*** (changed)"}]));
    let plan = planned(&[org("a"), alert("a", "s3cret")], false, &Snapshot::default()).unwrap();
    let told = format!("{:?}", plan.steps.iter().map(|step| step.diff(Some(&ring()))).collect::<Vec<_>>());
    assert!(!told.contains("s3cret"), "{told}");
    let moved = json!({"type": "WEBHOOK", "url": "https://elsewhere.example", "secret": "***"});
    let moved = json!({"orgId": "a", "name": "Lost", "condition": {"type": "DEAD_LETTERS"}, "channels": [moved]});
    for (file, there) in [(alert("a", "***"), Snapshot::default()), (desired("AlertRule", "lost", moved), there)] {
        let faults = planned(&[org("a"), file], false, &there).unwrap_err();
        assert_eq!(faults[0].problem.path, "spec.channels[0].secret");
    }
}

#[test]
fn a_difference_is_told_field_by_field_and_element_by_element() {
    let hooked = |more: Value| [org("a"), ward("a", "w", None), hook("a", "h", more)];
    let retry = |delays: &[&str]| json!({"maxAttempts": 9, "delays": delays});
    let was = json!({"retry": retry(&["1s", "5s"]), "labels": {"team": "erp"}});
    let there = applied(&hooked(was), false, &Snapshot::default());
    let is = json!({"retry": retry(&["1s", "6s", "7s"]), "labels": {}, "orgUnitRid": "w"});
    let plan = planned(&hooked(is), false, &there).unwrap();
    let step = plan.steps.iter().find(|step| step.verb == Verb::Update).unwrap();
    let found: Vec<_> = step.diff(None).iter().map(|d| format!("{} {} {}", d.path, d.from, d.to)).collect();
    let expected = [
        "labels.team \"erp\" null",
        "orgUnitRid null \"w\"",
        "retry.delays[1] \"5s\" \"6s\"",
        "retry.delays[2] null \"7s\"",
    ];
    assert_eq!(found, expected);
    let made = planned(&[org("a")], false, &Snapshot::default()).unwrap().steps[0].diff(None);
    assert_eq!(made.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), ["orgId", "name"], "defaults are not told");
}

#[test]
fn files_alone_are_held_against_each_other() {
    let cases: [(Vec<Desired>, &[&str]); 6] = [
        (vec![org("a"), hook("a", "h", json!({}))], &[]),
        // The catalog may have the organization, and what is its own.
        (vec![hook("b", "h", json!({"orgUnitRid": "w"}))], &[]),
        (vec![org("a"), hook("a", "h", json!({"orgUnitRid": "w"}))], &["Some(1) spec.orgUnitRid names org unit `w`"]),
        (
            vec![org("a"), alert("a", "***"), alert("a", "sealed:0:AAAA")],
            &["Some(2) id alert rule `lost` is there twice"],
        ),
        (
            vec![org("a"), org("b"), ward("b", "w", None), hook("a", "h", json!({"orgUnitRid": "w"}))],
            &["Some(3) spec.orgUnitRid names"],
        ),
        (
            vec![org("a"), desired("OrgUnit", "w", json!({})), hook("a", "h", json!({"orgUnitRid": "w"}))],
            &["Some(1) spec.orgId is required", "Some(1) spec.name is required"],
        ),
    ];
    for (all, expected) in cases {
        let found = told(&faults(&all));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }
    assert_eq!(elsewhere(&[org("a"), hook("b", "h", json!({}))]).len(), 1);
}

#[test]
fn an_example_of_every_kind_keeps_to_the_form_of_its_file() {
    for kind in Kind::configuration() {
        let schema = schema(kind);
        let example = &schema["examples"][0];
        let id = example["id"].as_str().unwrap_or_else(|| panic!("{kind}: {schema}"));
        let one = Desired::new(Key::of(kind, id).unwrap(), &example["spec"]);
        assert_eq!(faults(&[one]), [], "{kind}");
        let fields = &schema["properties"]["spec"]["properties"];
        assert!(fields.get("version").is_none() && fields.get(kind.id_field()).is_none(), "{kind}");
        let left: Vec<_> =
            example["spec"].as_object().unwrap().keys().filter(|name| fields.get(*name).is_none()).collect();
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
}

/// A catalog of some organizations, each with a tree, integrations, declared types and an alert with a secret.
fn catalogs() -> impl Strategy<Value = Vec<Desired>> {
    let one = (0..3_usize, 0..6_usize, 0..4_usize, proptest::option::of("[a-z]{1,8}"), 1..60_000_u64);
    proptest::collection::vec(one, 1..4).prop_map(|orgs| {
        let mut all = Vec::new();
        for (o, (units, hooks, types, secret, timeout)) in orgs.into_iter().enumerate() {
            let id = format!("org-{o}");
            all.push(org(&id));
            let rid = |n: usize| format!("u-{o}-{n}");
            all.extend((0..units).map(|n| ward(&id, &rid(n), n.checked_sub(1).map(rid).as_deref())));
            for n in 0..hooks {
                let unit = units.checked_sub(1).map(rid);
                let jitter = [0.0, 0.1, 0.2][n % 3];
                let retry = json!({"maxAttempts": 6 + timeout % 3, "delays": ["1s"], "jitter": jitter});
                let labels = json!({"n": n.to_string()});
                let mut more = json!({"orgUnitRid": unit, "timeoutMs": timeout.max(100), "labels": labels});
                if n > 2 {
                    more["retry"] = retry;
                }
                all.push(hook(&id, &format!("h-{o}-{n}"), more));
            }
            all.extend((0..types).map(|n| declared(&id, &format!("t-{o}-{n}"), &format!("type.{n}"))));
            if let Some(secret) = secret {
                all.push(desired("AlertRule", &format!("alert-{o}"), alert(&id, &secret).spec()));
            }
        }
        all
    })
}

/// A turn of values among as many, one of which nobody has yet, and who takes part is made anew under another id.
fn turns() -> impl Strategy<Value = (Vec<usize>, Vec<bool>)> {
    (1..9_usize).prop_flat_map(|count| {
        let order: Vec<usize> = (0..=count).collect();
        (Just(order).prop_shuffle(), proptest::collection::vec(any::<bool>(), count + 1))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_changes_hands_in_one_apply_is_no_conflict((order, anew) in turns(), prune in any::<bool>()) {
        let entry = |id: String, value: usize| {
            desired("Lookup", &id, json!({"orgId": "a", "type": "t", "source": {"id": value}, "target": {"id": "x"}}))
        };
        let of = |n: usize, value: usize| [declared("a", &format!("e{n}"), &format!("t.{value}")), entry(format!("l{n}"), value)];
        let before: Vec<_> = (0..order.len() - 1).flat_map(|n| of(n, n)).chain([org("a")]).collect();
        let there = applied(&before, false, &Snapshot::default());
        let renamed = |n: usize| if prune && anew[n] { n + 100 } else { n };
        let turned = order.iter().take(order.len() - 1).enumerate();
        let turned: Vec<_> = turned.flat_map(|(n, value)| of(renamed(n), *value)).chain([org("a")]).collect();
        let after = applied(&turned, prune, &there);
        let again = planned(&turned, prune, &after).unwrap();
        prop_assert!(again.steps.iter().all(|step| step.verb == Verb::Unchanged), "{:?}", steps(&again));
        for value in order.iter().take(order.len() - 1) {
            prop_assert_eq!(after.holders(Kind::EventType, &format!("a\nt.{value}")).count(), 1);
        }
        // Twice the same is a conflict all the same, whether the other one is written too or stays where it is.
        let twice: Vec<_> = turned.iter().cloned().chain([declared("a", "more", &format!("t.{}", order[0]))]).collect();
        let blamed = planned(&twice, prune, &there).unwrap_err();
        prop_assert!(blamed.iter().any(|fault| fault.at == Some(twice.len() - 1)), "{:?}", told(&blamed));
        prop_assert_eq!(planned(&twice[twice.len() - 1..], false, &after).unwrap_err().len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_comes_out_goes_in_again_and_twice_is_once((first, second) in (catalogs(), catalogs()), prune in any::<bool>()) {
        let one = applied(&first, prune, &Snapshot::default());
        for files in [&files_of(&one), &first] {
            let again = planned(files, true, &one).unwrap();
            prop_assert!(again.steps.iter().all(|step| step.verb == Verb::Unchanged && step.diff(None).is_empty()));
        }
        prop_assert_eq!(contents(&applied(&files_of(&one), prune, &Snapshot::default())), contents(&one));

        // Onto another catalog.
        let there = applied(&second, false, &Snapshot::default());
        let both = applied(&first, prune, &there);
        let again = planned(&first, prune, &both).unwrap();
        prop_assert!(again.steps.iter().all(|step| step.verb == Verb::Unchanged), "{:?}", steps(&again));
        let named: BTreeSet<_> = first.iter().filter(|one| one.key.kind == Kind::Organization).map(|one| one.key.id.clone()).collect();
        let not_theirs = |snapshot: &Snapshot| {
            let theirs = |json: &Value| named.iter().any(|id| json["orgId"] == id.as_str());
            contents(snapshot).into_iter().filter(|json| !theirs(json)).collect::<Vec<_>>()
        };
        prop_assert_eq!(not_theirs(&both), not_theirs(&there));
        if prune {
            prop_assert_eq!(contents(&both).len() - not_theirs(&both).len(), contents(&one).len());
        }
    }
}

#[test]
fn samples_of_other_tests_come_through_too() {
    let mut snapshot = Snapshot::default();
    snapshot.put(organization("a"));
    snapshot.put(unit("a", "ward", None));
    snapshot.put(integration("a", "h"));
    let plan = planned(&files_of(&snapshot), true, &snapshot).unwrap();
    assert!(plan.steps.iter().all(|step| step.verb == Verb::Unchanged), "{:?}", steps(&plan));
}
