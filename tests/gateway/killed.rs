//! The gateway dies, or is asked to end, in the middle of its work.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::api::{events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::Setup;
use crate::support::ledger::{Ledger, Repeat};
use crate::support::load::Load;
use crate::support::receiver::{Answer, Receiver};
use crate::support::story::Story;
use crate::support::{LATER, SOON, topics, turn};

/// Requests under way at once for one integration: what `maxInFlight` says here. An integration that is not sharded has one
/// partition, so this is all of it.
const IN_FLIGHT: usize = 16;

/// Finished deliveries that one transaction holds at most (architecture, section 4).
const ONE_FLUSH: usize = 1_000;

/// A kill repeats what was in flight and what was finished but not committed; that is at most 50 ms old when its commit begins
/// and a commit takes milliseconds. Far more than both, on a machine as busy as this one.
const UNCOMMITTED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn killed_ten_times_under_load() {
    let _turn = turn::alone().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "killed").instance("one");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    // One that is always fast, one whose every fifth event fails once: retries are among what is killed.
    for (id, path) in [("fast", "/fast"), ("flaky", "/flaky")] {
        let retry = json!({"maxAttempts": 20, "delays": ["200ms"], "jitter": 0.0});
        api.integration(id, &receiver.url(path), json!({"maxInFlight": IN_FLIGHT, "retry": retry})).await;
    }
    receiver
        .on("/flaky", |seen| Answer::Status(if seen.nth == 1 && seen.event.ends_with(['0', '5']) { 503 } else { 200 }));

    let mut load = Load::start(&[api], "k", "patient.updated", 400);
    let mut kills = Vec::new();
    for _ in 0..10 {
        load.more(150, SOON).await;
        // Something of what was just accepted is on its way.
        let so_far = receiver.look(|log| log.requests("/fast"));
        receiver.wait_for("deliveries go on", SOON, |log| log.requests("/fast") > so_far + 20).await;
        let began = Instant::now();
        gateway.kill9().await;
        kills.push((began, Instant::now()));
        gateway = setup.start().await;
    }
    let accepted = load.finish().await.ids;
    for path in ["/fast", "/flaky"] {
        receiver.wait_events(path, accepted.len(), LATER).await;
    }
    topics::quiet(&setup).await;

    let story = Story::read(&setup).await;
    receiver.look(|log| {
        let bound = 10 * (IN_FLIGHT + ONE_FLUSH);
        let surplus = Ledger { path: "/fast", accepted: &accepted }.settle_within(log, bound);
        eprintln!("{} events, 10 kills, {surplus} repeats", accepted.len());
        for repeat in (Ledger { path: "/fast", accepted: &accepted }).settle(log) {
            explained(&repeat, &kills);
        }
        Ledger { path: "/flaky", accepted: &accepted }.settle(log);
        for path in ["/fast", "/flaky"] {
            story.ended_once(log, path);
        }
        story.nothing_early(log);
    });
}

/// Each request but the last was answered, and forgotten by a kill shortly after. What a killed process had written may be
/// read a moment after its end.
fn explained(repeat: &Repeat<'_>, kills: &[(Instant, Instant)]) {
    for pair in repeat.seen.windows(2) {
        let (before, after) = (pair[0].at, pair[1].at);
        let by = kills.iter().any(|&(began, gone)| {
            before < gone + Duration::from_millis(500) && began < after && began < before + UNCOMMITTED
        });
        assert!(by, "{} came twice, {:?} apart, and no kill explains it", repeat.event, after - before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_answer_and_the_commit() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "answered").instance("one");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("held", &receiver.url("/held"), json!({"maxInFlight": IN_FLIGHT})).await;
    receiver.always("/held", Answer::Held(200));
    let accepted = ids("a", IN_FLIGHT);
    api.publish_all(&events(&accepted, "patient.created")).await;
    receiver.wait_for("all are in flight", SOON, |log| log.requests("/held") == IN_FLIGHT).await;

    // The gateway stands still while the receiver answers: every 200 has left, none can have been committed.
    gateway.freeze().await;
    receiver.always("/held", Answer::Status(200));
    receiver.release("/held");
    receiver.wait_for("all are answered", SOON, |log| log.answers("/held") == IN_FLIGHT).await;
    gateway.kill9().await;
    gateway = setup.start().await;

    receiver.wait_for("all come again", LATER, |log| log.answers("/held") >= 2 * IN_FLIGHT).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    receiver.look(|log| {
        let repeats = Ledger { path: "/held", accepted: &accepted }.settle(log);
        assert!(repeats.len() == IN_FLIGHT && repeats.iter().all(|r| r.seen.len() == 2), "{repeats:?}");
        story.ended_once(log, "/held");
    });
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_the_moment_of_an_answer() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "moment").instance("one");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({"maxInFlight": IN_FLIGHT})).await;
    let mut accepted = Vec::new();
    for round in 0..6 {
        let batch = ids(&format!("m{round}"), 40);
        let before = receiver.look(|log| log.answers("/a"));
        api.publish_all(&events(&batch, "patient.created")).await;
        accepted.extend(batch);
        // Woken by the answer itself: the commit is milliseconds away, sometimes just behind.
        receiver.wait_for("an answer", SOON, |log| log.answers("/a") > before + 6 * round).await;
        gateway.kill9().await;
        gateway = setup.start().await;
        receiver.wait_events("/a", accepted.len(), LATER).await;
        // So that the next kill finds nothing of this round uncommitted.
        topics::quiet(&setup).await;
    }
    let story = Story::read(&setup).await;
    receiver.look(|log| {
        let surplus = Ledger { path: "/a", accepted: &accepted }.settle_within(log, 6 * 40);
        eprintln!("{} events, 6 kills, {surplus} repeats", accepted.len());
        story.ended_once(log, "/a");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_under_load() {
    let _turn = turn::alone().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "asked");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({"maxInFlight": IN_FLIGHT})).await;
    receiver.always("/a", Answer::After(Duration::from_millis(20), 200));
    let mut load = Load::start(&[api], "t", "patient.updated", 400);
    for _ in 0..3 {
        let so_far = receiver.look(|log| log.requests("/a"));
        load.more(150, SOON).await;
        receiver.wait_for("deliveries go on", SOON, |log| log.requests("/a") > so_far + 50).await;
        gateway.terminate();
        let ended = gateway.ended(SOON).await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        gateway = setup.start().await;
    }
    let accepted = load.finish().await.ids;
    receiver.wait_events("/a", accepted.len(), LATER).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    receiver.look(|log| {
        Ledger { path: "/a", accepted: &accepted }.settle_once(log);
        story.ended_once(log, "/a");
    });
}
