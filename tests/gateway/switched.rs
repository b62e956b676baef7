//! An integration is switched off, on and away while its deliveries wait.

use serde_json::json;

use crate::support::api::{events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::Setup;
use crate::support::ledger::Ledger;
use crate::support::receiver::{Answer, Receiver};
use crate::support::story::Story;
use crate::support::{LATER, SOON, topics, turn, until};

const IN_FLIGHT: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_disabled_integration_wait_and_those_of_a_deleted_one_are_cancelled() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "switched").instance("one");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({"eventType": "patient.a", "maxInFlight": IN_FLIGHT})).await;
    for neighbour in ["n0", "n1", "n2"] {
        let target = receiver.url(&format!("/{neighbour}"));
        api.integration(neighbour, &target, json!({"eventType": "patient.n"})).await;
    }
    receiver.always("/a", Answer::Held(200));
    let mut accepted = ids("off", 60);
    api.publish_all(&events(&accepted, "patient.a")).await;
    receiver.wait_for("its budget is in flight", SOON, |log| log.requests("/a") == IN_FLIGHT).await;
    api.disable("a").await;
    receiver.always("/a", Answer::Status(200));
    receiver.release("/a");
    receiver.wait_for("what was in flight ends", SOON, |log| log.answers("/a") == IN_FLIGHT).await;
    // Others go on, in its partition too (by their names), before and after a crash; it does not.
    flows(&setup, &receiver, "first").await;
    assert_eq!(receiver.look(|log| log.requests("/a")), IN_FLIGHT, "disabled, yet it was sent to");
    gateway.kill9().await;
    let gateway = setup.start().await;
    flows(&setup, &receiver, "second").await;
    let sent = receiver.look(|log| log.requests("/a"));
    assert_eq!(sent, IN_FLIGHT, "disabled, yet it was sent to after a restart");

    api.enable("a").await;
    receiver.wait_events("/a", accepted.len(), LATER).await;
    topics::quiet(&setup).await;
    receiver.look(|log| Ledger { path: "/a", accepted: &accepted }.settle_within(log, IN_FLIGHT));

    receiver.always("/a", Answer::Held(200));
    let doomed = ids("doomed", 60);
    let before = receiver.look(|log| log.requests("/a"));
    api.publish_all(&events(&doomed, "patient.a")).await;
    receiver.wait_for("its budget is in flight", SOON, |log| log.requests("/a") == before + IN_FLIGHT).await;
    api.delete("a").await;
    receiver.always("/a", Answer::Status(200));
    receiver.release("/a");
    let cancelled = until("the rest is told as cancelled", LATER, async || {
        let story = Story::read(&setup).await;
        let cancelled: Vec<String> = story
            .all()
            .filter(|told| told["kind"] == "cancelled" && told["status"] == "CANCELLED" && told["integrationId"] == "a")
            .filter_map(|told| told["eventId"].as_str().map(str::to_owned))
            .collect();
        (cancelled.len() + IN_FLIGHT >= doomed.len()).then_some(cancelled)
    })
    .await;
    topics::quiet(&setup).await;
    receiver.look(|log| {
        let sent = doomed.iter().filter(|id| log.has("/a", id)).count();
        assert_eq!((sent, cancelled.len()), (IN_FLIGHT, doomed.len() - IN_FLIGHT));
        assert!(cancelled.iter().all(|id| doomed.contains(id) && !log.has("/a", id)), "cancelled, and yet sent");
        accepted.extend(doomed.iter().filter(|id| !cancelled.contains(id)).cloned());
        Ledger { path: "/a", accepted: &accepted }.settle_within(log, IN_FLIGHT);
    });
    drop(gateway);
}

/// Ten events to each neighbour.
async fn flows(setup: &Setup, receiver: &Receiver, label: &str) {
    let before = receiver.look(|log| log.events("/n0"));
    setup.api().publish_all(&events(&ids(label, 10), "patient.n")).await;
    for path in ["/n0", "/n1", "/n2"] {
        receiver.wait_events(path, before + 10, SOON).await;
    }
}
