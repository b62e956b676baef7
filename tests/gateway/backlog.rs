//! One integration falls far behind.

use std::time::Duration;

use serde_json::json;

use super::receivers::slowest;
use crate::support::api::{event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::Setup;
use crate::support::ledger::Ledger;
use crate::support::receiver::{Answer, Receiver};
use crate::support::{SOON, topics, turn};

const WAITING: usize = 100_000;
/// At a few thousand a second, on a machine that does other things too.
const DRAINED: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_waiting_for_one_delay_nobody_else() {
    let _turn = turn::alone().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "backlog");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("slow", &receiver.url("/slow"), json!({"eventType": "bulk.item", "maxInFlight": 32})).await;
    // In all three partitions by their names, the slow one's own included.
    for neighbour in ["n0", "n1", "n2", "n3", "n4", "n5"] {
        let target = receiver.url(&format!("/{neighbour}"));
        api.integration(neighbour, &target, json!({"eventType": "patient.viewed"})).await;
    }
    receiver.always("/slow", Answer::After(Duration::from_secs(1), 200));
    api.publish(&event("warm", "patient.viewed")).await;
    receiver.wait_events("/n0", 1, SOON).await;

    let accepted = ids("b", WAITING);
    for batch in accepted.chunks(1_000) {
        api.publish_all(&events(batch, "bulk.item")).await;
    }
    // Until then a neighbour waits for `match`, which has a hundred thousand events to read, and for nobody's receiver.
    topics::read_to_the_end(&setup, "match", "events").await;
    let before = receiver.look(|log| log.requests("/slow"));
    for n in 0..6 {
        let path = format!("/n{n}");
        let slowest = slowest(&api, &receiver, (&path, &format!("p{n}")), 20).await;
        let waiting = receiver.look(|log| WAITING - log.events("/slow"));
        eprintln!("{path}: the slowest of 20 took {slowest:?} while {waiting} waited");
        assert!(waiting > WAITING / 2, "{waiting} waiting: not the test that it should be");
        assert!(slowest < Duration::from_secs(1), "{path} waited {slowest:?} for somebody else's receiver");
    }
    receiver.wait_for("the slow one goes on too", SOON, |log| log.requests("/slow") > before).await;
    receiver.always("/slow", Answer::Status(200));
    receiver.wait_events("/slow", WAITING, DRAINED).await;
    topics::quiet(&setup).await;
    receiver.look(|log| Ledger { path: "/slow", accepted: &accepted }.settle_once(log));
    let memory = gateway.memory_high();
    eprintln!("at most {memory} MiB");
    assert!(memory < 400, "what waits belongs in the log, not in {memory} MiB of memory");
}
