//! Configuration as code between two gateways: out of one, into the other, and files that are wrong.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::broker::Broker;
use crate::support::command::tidegate;
use crate::support::gateway::Setup;
use crate::support::terminal::Terminal;
use crate::support::{LATER, scratch, turn, unique, until};

/// What the gateway holds, as the API exports it, secrets sealed.
async fn catalog(setup: &Setup) -> Value {
    setup.api().expect(200, Method::GET, "admin/catalog/export", None).await.body["resources"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_from_one_gateway_makes_another_the_same_and_a_bad_file_changes_nothing() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let (one, two) = (Setup::new(&broker, "out"), Setup::new(&broker, "in"));
    let (_first, _second) = (one.start().await, two.start().await);
    let example = "topologies/examples/webhook-fanout";

    // Nobody is there to be asked, and nobody said yes.
    let unasked = tidegate(&one, &["apply", "-f", example], "").await;
    assert_eq!((unasked.code, catalog(&one).await), (Some(2), Value::Array(Vec::new())));
    assert!(unasked.out.contains("12 to create") && unasked.err.contains("--yes says yes"), "{}", unasked.err);
    let dry = tidegate(&one, &["apply", "-f", example, "--dry-run"], "").await;
    assert_eq!((dry.code, catalog(&one).await), (Some(0), Value::Array(Vec::new())));
    assert!(dry.out.contains("+ create Organization/shop-1") && dry.out.contains("12 to create"), "{}", dry.out);
    let done = tidegate(&one, &["apply", "-f", example, "--yes"], "").await;
    assert_eq!(done.code, Some(0));
    assert!(!(done.out + &dry.out).contains("s3cret"));
    let again = tidegate(&one, &["apply", "-f", example, "--prune", "--yes"], "").await;
    assert_eq!((again.code, again.out.as_str()), (Some(0), "nothing to change: 12 unchanged\n"));
    let needless = tidegate(&one, &["apply", example], "").await;
    assert_eq!(
        (needless.code, needless.out.as_str()),
        (Some(0), "nothing to change: 12 unchanged\n"),
        "{}",
        needless.err
    );

    // By a pipe, and by files.
    let nobody = tidegate(&one, &["export", "--org", "nobody"], "").await;
    assert!(nobody.code == Some(1) && nobody.err.contains("no organization `nobody`"), "{}", nobody.err);
    let stream = tidegate(&one, &["export"], "").await;
    assert!(!stream.out.contains("s3cret") && stream.out.contains("sealed:"), "{}", stream.out);
    assert_eq!(tidegate(&two, &["apply", "-f", "-", "--yes"], &stream.out).await.code, Some(0));
    assert_eq!(catalog(&two).await, catalog(&one).await);
    let folder = scratch().join(unique("exported"));
    let path = folder.to_str().expect("UTF-8");
    assert_eq!(tidegate(&one, &["export", "-o", path], "").await.code, Some(0));
    assert_eq!(tidegate(&one, &["validate", "-f", path], "").await.code, Some(0));
    let same = tidegate(&two, &["apply", "-f", path, "--prune", "--yes"], "").await;
    assert_eq!(same.out, "nothing to change: 12 unchanged\n");

    bad_files_change_nothing(&two, &folder).await;
    assert_eq!(catalog(&two).await, catalog(&one).await);

    // What is in no file any more goes, and only on request.
    std::fs::remove_file(folder.join("OutboundIntegration/search.yaml")).expect("it was exported");
    let kept = tidegate(&two, &["apply", "-f", path, "--yes"], "").await;
    assert_eq!((kept.code, kept.out.as_str()), (Some(0), "nothing to change: 11 unchanged\n"));
    let pruned = tidegate(&two, &["apply", "-f", path, "--prune", "--yes"], "").await;
    assert!(pruned.code == Some(0) && pruned.out.contains("- delete OutboundIntegration/search"), "{}", pruned.out);
    assert_eq!(catalog(&two).await.as_array().map(Vec::len), Some(11));
    std::fs::remove_dir_all(&folder).expect("it was there");
}

/// Each beside good changes that are not made either.
async fn bad_files_change_nothing(setup: &Setup, folder: &Path) {
    let path = folder.to_str().expect("UTF-8");
    let (bad, good) = (folder.join("bad.yaml"), folder.join("good.yaml"));
    std::fs::write(&good, "kind: OrgUnit\nid: new\nspec: {orgId: shop-1, name: New}\n").expect("a file");
    let cases = [
        (
            "kind: OrgUnit\nid: bad\nspec:\n  orgId: shop-1\n  nmae: Bad\n",
            "bad.yaml:5: OrgUnit/bad: spec.nmae is not a known field",
        ),
        (
            "kind: OrgUnit\nid: bad\nspec:\n  name: Bad\n  orgId: nobody\n",
            "bad.yaml:5: OrgUnit/bad: spec.orgId names organization `nobody`",
        ),
        (
            "kind: OrgUnit\nid: bad\nspec:\n  orgId: shop-1\n  name: ${env:NO_SUCH}\n",
            "bad.yaml:5: OrgUnit/bad: spec.name needs the environment variable NO_SUCH",
        ),
        ("kind: [\n", "bad.yaml:1: is not YAML"),
    ];
    for (text, expected) in cases {
        std::fs::write(&bad, text).expect("a file");
        let refused = tidegate(setup, &["apply", "-f", path, "--yes"], "").await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{text}");
        assert!(refused.err.contains(expected) && refused.err.contains("nothing was changed"), "{text}");
    }
    std::fs::remove_file(bad).expect("it was there");
    std::fs::remove_file(good).expect("it was there");
}

/// More than any process reads at once.
const MANY: u64 = 2_500;

async fn count(api: &Api) -> u64 {
    let list = api.call(Method::GET, "outbound-integrations?orgId=many&limit=1", None).await.expect("an answer");
    list.body["total"].as_u64().expect("a total")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_ever_answers_with_half_an_apply() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let one = Setup::new(&broker, "whole");
    let two = one.another("whole-2");
    let _first = one.start().await;
    // The embedded engine has one process.
    let (_second, other) = match one.data() {
        None => (Some(two.start().await), two.api()),
        Some(_) => (None, one.api()),
    };
    one.api().org("many").await;
    let spec = json!({"orgId": "many", "name": "One", "eventType": "*", "targetUrl": "https://erp.example/"});
    let hook = |n: u64| json!({"kind": "OutboundIntegration", "id": format!("many-{n:05}"), "spec": spec});
    let all = json!({"resources": (0..MANY).map(hook).collect::<Vec<_>>()});
    let api = one.api();
    let applied = api.expect(200, Method::POST, "admin/catalog/apply", Some(&all));
    let mut seen = BTreeSet::new();
    let watched = until("all of it elsewhere", LATER, async || {
        let now = count(&other).await;
        seen.insert(now);
        (now == MANY).then_some(())
    });
    let (applied, ()) = tokio::join!(applied, watched);
    assert_eq!(applied.body["applied"], json!(true));
    assert!(seen.iter().all(|seen| [0, MANY].contains(seen)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_asked_about_on_a_terminal_and_only_a_yes_carries_it_out() {
    let _turn = turn::beside().await;
    let setup = Setup::new(&Broker::any().await, "asked");
    let _gateway = setup.start().await;
    let apply = "tidegate apply -f topologies/examples/healthcare; echo ended $?; stty -a";
    for (said, code) in [("n\r", 1), ("\r", 1), ("\u{4}", 1), ("yes\r", 0), ("", 0)] {
        let mut terminal = Terminal::of(&setup, apply);
        if said.is_empty() {
            terminal.shows("nothing to change: 22 unchanged").await;
        } else {
            terminal.shows("\u{1b}[32m+ create").await;
            terminal.shows("Make these 22 changes? [y/N] ").await;
            terminal.types(said).await;
            terminal.shows(if code == 0 { "applied" } else { "nothing was changed" }).await;
        }
        terminal.shows(&format!("ended {code}")).await;
        terminal.shows(" echo ").await;
        let there = catalog(&setup).await.as_array().map(Vec::len);
        assert_eq!(there, Some(if code == 0 { 22 } else { 0 }), "{said:?}");
    }
}
