//! Deliveries that no retry mends, and how they come back to life.

use serde_json::json;

use crate::support::api::{event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::Setup;
use crate::support::kafka::{self, Write};
use crate::support::ledger::Ledger;
use crate::support::receiver::{Answer, Receiver};
use crate::support::story::Story;
use crate::support::{LATER, topics, turn};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_always_fails() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "dead");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    let retry = json!({"maxAttempts": 3, "delays": ["100ms"], "jitter": 0.0});
    api.integration("a", &receiver.url("/a"), json!({"retry": retry})).await;
    api.integration("gone", &receiver.url("/gone"), json!({"eventType": "patient.merged", "retry": retry})).await;
    receiver.always("/a", Answer::Status(500));
    receiver.always("/gone", Answer::Status(410));
    let accepted = ids("x", 10);
    api.publish_all(&events(&accepted, "patient.created")).await;
    api.publish(&event("merged", "patient.merged")).await;
    receiver.wait_for("three attempts each", LATER, |log| log.answers("/a") == 33).await;
    topics::quiet(&setup).await;

    let dead = topics::read(&setup, "dlq").await;
    let of = |id: &str| dead.iter().filter(move |r| r.header("tg_integration") == Some(id)).collect::<Vec<_>>();
    assert_eq!((of("a").len(), of("gone").len()), (11, 1), "{dead:?}");
    for record in of("a") {
        let told = |name| record.header(name).unwrap_or_default();
        assert_eq!((told("tg_attempt"), told("tg_status")), ("3", "ABANDONED"), "{record:?}");
        assert!(told("tg_error").contains("500") && !told("tg_first_at").is_empty(), "{record:?}");
    }
    let only = of("gone")[0];
    assert_eq!(
        (only.header("tg_attempt"), only.header("tg_status")),
        (Some("1"), Some("FAILED")),
        "no retry mends a 410"
    );

    // Mended, and produced back as it is: the same delivery, its attempts counted on.
    receiver.always("/a", Answer::Status(200));
    let again: Vec<Write<'_>> = of("a")
        .into_iter()
        .map(|record| Write {
            partition: None,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: record.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect(),
        })
        .collect();
    kafka::produce(&setup.brokers, &setup.topic("deliveries"), &again).await;
    receiver.wait_for("each comes once more", LATER, |log| log.answers("/a") == 44).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    let all: Vec<String> = accepted.iter().cloned().chain(["merged".to_owned()]).collect();
    receiver.look(|log| {
        for repeat in (Ledger { path: "/a", accepted: &all }).settle(log) {
            assert_eq!(repeat.seen.len(), 4, "{repeat:?}");
            let told = story.of(&repeat.seen[0].delivery);
            let attempts: Vec<_> = told.iter().map(|t| (t["attempt"].as_u64(), t["outcome"].as_str())).collect();
            assert_eq!(attempts.last(), Some(&(Some(4), Some("DELIVERED"))), "{attempts:?}");
        }
    });
}
