//! Several processes: they come and go, stand still and wake up, or share a name that each should have for itself.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::api::Api;
use crate::support::broker::Broker;
use crate::support::gateway::{Gateway, Setup};
use crate::support::ledger::Ledger;
use crate::support::load::Load;
use crate::support::receiver::{Answer, Log, Receiver};
use crate::support::story::Story;
use crate::support::{LATER, SOON, topics, turn};

/// Named so that each of the three partitions of `deliveries` has two.
const PATHS: [&str; 6] = ["/billing", "/triage", "/pharmacy", "/nord", "/lab", "/archive"];
const IN_FLIGHT: usize = 8;
const ONE_FLUSH: usize = 1_000;

async fn integrations(api: &Api, receiver: &Receiver) {
    api.org("648").await;
    for path in PATHS {
        api.integration(&path[1..], &receiver.url(path), json!({"maxInFlight": IN_FLIGHT})).await;
        receiver.always(path, Answer::After(Duration::from_millis(20), 200));
    }
}

/// Waits until this process has sent so many requests from now on.
async fn sends(receiver: &Receiver, gateway: &Gateway, what: &str) {
    let (pid, from) = (gateway.pid(), receiver.look(|log| log.all().len()));
    receiver
        .wait_for(what, SOON, |log| {
            // The last few are enough: it is asked at every request.
            log.all()[from..].iter().rev().take(50).filter(|seen| seen.process == Some(pid)).count() >= 3
        })
        .await;
}

async fn everything(receiver: &Receiver, accepted: &[String]) {
    for path in PATHS {
        receiver.wait_events(path, accepted.len(), LATER).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_joins_and_leaves_under_load() {
    let _turn = turn::alone().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "joins");
    let first = setup.start().await;
    integrations(&first.api(), &receiver).await;
    let mut load = Load::start(&[first.api()], "j", "patient.updated", 60);
    load.more(60, SOON).await;
    for round in 0..2 {
        let mut second = setup.another(&format!("second{round}")).start().await;
        receiver.tell_apart(&[first.pid(), second.pid()]);
        sends(&receiver, &second, "the second instance has a share").await;
        load.more(60, SOON).await;
        second.terminate();
        let ended = second.ended(SOON).await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        load.more(60, SOON).await;
    }
    let accepted = load.finish().await.ids;
    everything(&receiver, &accepted).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    receiver.look(|log| {
        for path in PATHS {
            Ledger { path, accepted: &accepted }.settle_once(log);
            story.ended_once(log, path);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_neither_sends_nor_commits() {
    let _turn = turn::alone().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    // The shortest session that a broker takes by default.
    let setup = Setup::new(&broker, "zombie").env("TIDEGATE_KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "6000");
    let zombie = setup.start().await;
    let heir = setup.another("heir").start().await;
    let api = heir.api();
    receiver.tell_apart(&[zombie.pid(), heir.pid()]);
    integrations(&api, &receiver).await;
    let mut load = Load::start(&[api], "z", "patient.updated", 60);
    sends(&receiver, &zombie, "the first instance has a share").await;
    sends(&receiver, &heir, "the second instance has a share").await;

    // It stands still with all that it may have in flight and more behind that: nothing is about to be sent at that moment, and
    // everything tempts it when it wakes.
    for path in PATHS {
        receiver.always(path, Answer::Held(200));
    }
    let full = |log: &Log, path: &str| log.requests(path) - log.answers(path) == IN_FLIGHT;
    receiver.wait_for("both are full", SOON, |log| PATHS.iter().all(|path| full(log, path))).await;
    load.more(100, SOON).await;
    zombie.freeze().await;
    for path in PATHS {
        receiver.always(path, Answer::After(Duration::from_millis(20), 200));
        receiver.release(path);
    }
    // The other takes over all that was accepted, that which the first one holds included.
    load.more(300, LATER).await;
    let goal = load.count();
    for path in PATHS {
        receiver.wait_events(path, goal, LATER).await;
    }
    let woken = Instant::now();
    zombie.thaw();
    load.more(120, LATER).await;
    sends(&receiver, &zombie, "it is a member again, and works").await;
    let accepted = load.finish().await.ids;
    everything(&receiver, &accepted).await;
    topics::quiet(&setup).await;

    let story = Story::read(&setup).await;
    receiver.look(|log| {
        assert!(log.all().iter().all(|seen| seen.process.is_some()), "every request has a sender");
        let taken = taken_over(log, heir.pid(), woken);
        let again = log.all().iter().filter(|s| s.process == Some(zombie.pid()) && s.at > woken);
        let again: Vec<_> = again.filter(|seen| taken.contains_key(seen.delivery.as_str())).collect();
        assert!(again.is_empty(), "{} deliveries that the heir had made came again: {again:?}", again.len());
        for path in PATHS {
            let surplus = Ledger { path, accepted: &accepted }.settle_within(log, IN_FLIGHT + ONE_FLUSH);
            eprintln!("{path}: {surplus} repeats");
            story.ended_once(log, path);
        }
    });
}

/// What one process had delivered before a moment.
fn taken_over(log: &Log, process: u32, before: Instant) -> HashMap<&str, Instant> {
    let made = log.all().iter().filter(|seen| seen.process == Some(process));
    made.filter_map(|seen| Some((seen.delivery.as_str(), seen.answered?))).filter(|(_, at)| *at < before).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_instance_name() {
    let _turn = turn::alone().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "same").instance("blue");
    let mut first = setup.start().await;
    integrations(&first.api(), &receiver).await;
    let other = setup.another("other");
    let mut load = Load::start(&[setup.api(), other.api()], "n", "patient.updated", 60);
    load.more(100, SOON).await;
    let mut second = other.spawn();
    let (ended, other_one) = tokio::select! {
        ended = first.ended(LATER) => (ended, second),
        ended = second.ended(LATER) => (ended, first),
    };
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    assert!(ended.log.contains("two processes share the instance name blue"), "{}", ended.log);
    assert!(ended.log.contains("TIDEGATE_INSTANCE"), "it says what to do: {}", ended.log);
    // Each may have fenced the other, and both end: then one that is started alone under the name takes over.
    drop(other_one);
    let _alone = setup.start().await;
    load.more(100, LATER).await;
    let accepted = load.finish().await.ids;
    everything(&receiver, &accepted).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    receiver.look(|log| {
        for path in PATHS {
            Ledger { path, accepted: &accepted }.settle(log);
            story.ended_once(log, path);
        }
    });
}
