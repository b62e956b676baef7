//! Receivers that fail, hang, reset and never end; and the neighbours of such receivers.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::api::{Api, event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::{Gateway, Setup};
use crate::support::ledger::Ledger;
use crate::support::receiver::{Answer, Log, Receiver};
use crate::support::story::Story;
use crate::support::{LATER, SOON, topics, turn, until};

struct Scene {
    receiver: Receiver,
    setup: Setup,
    gateway: Gateway,
    api: Api,
}

async fn scene(label: &str) -> Scene {
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, label);
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    Scene { receiver, setup, gateway, api }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_and_recovers() {
    let _turn = turn::beside().await;
    let Scene { receiver, setup, gateway: _gateway, api } = scene("recovers").await;
    let retry = json!({"maxAttempts": 5, "delays": ["300ms", "1s"], "jitter": 0.2});
    api.integration("a", &receiver.url("/a"), json!({"retry": retry})).await;
    receiver.sequence("/a", &[500, 503, 200]);
    let accepted = ids("r", 50);
    api.publish_all(&events(&accepted, "patient.created")).await;
    receiver.wait_for("three attempts each", LATER, |log| log.answers("/a") == 150).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    receiver.look(|log| {
        let repeats = Ledger { path: "/a", accepted: &accepted }.settle(log);
        assert_eq!(repeats.len(), 50);
        for repeat in &repeats {
            assert_eq!(repeat.seen.len(), 3, "{repeat:?}");
            let waited = |n: usize| repeat.seen[n].at - repeat.seen[n - 1].answered.expect("answered");
            // Of a millisecond's fraction the gateway's clock knows nothing.
            assert!(waited(1) > Duration::from_millis(298) && waited(2) > Duration::from_millis(998), "{repeat:?}");
            let told: Vec<_> = story.of(&repeat.seen[0].delivery).iter().map(|t| t["outcome"].clone()).collect();
            assert_eq!(told, ["RETRY", "RETRY", "DELIVERED"]);
        }
        story.nothing_early(log);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_to_be_left_alone() {
    let _turn = turn::beside().await;
    let Scene { receiver, setup, gateway: _gateway, api } = scene("alone").await;
    let retry = json!({"maxAttempts": 5, "delays": ["100ms"], "jitter": 0.0});
    api.integration("a", &receiver.url("/a"), json!({"retry": retry})).await;
    receiver.on("/a", |seen| match seen.nth {
        1 => Answer::With(429, "retry-after", "3".into()),
        _ => Answer::Status(200),
    });
    let accepted = ids("w", 20);
    api.publish_all(&events(&accepted, "patient.created")).await;
    receiver.wait_for("two attempts each", LATER, |log| log.answers("/a") == 40).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    receiver.look(|log| {
        for repeat in (Ledger { path: "/a", accepted: &accepted }).settle(log) {
            let waited = repeat.seen[1].at - repeat.seen[0].answered.expect("answered");
            assert!(waited > Duration::from_millis(2_998), "asked for 3 s, came after {waited:?}");
            assert!(waited < Duration::from_secs(10), "exact, not some time: {waited:?}");
        }
        story.nothing_early(log);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_resets_or_never_ends_delays_nobody_else() {
    let _turn = turn::alone().await;
    let Scene { receiver, setup, gateway, api } = scene("sick").await;
    let sick = [
        ("hangs", Answer::Hang),
        ("resets", Answer::Reset),
        ("endless", Answer::Endless(200)),
        ("failing", Answer::Endless(500)),
    ];
    let fields = json!({
        "timeoutMs": 1_000, "maxInFlight": 8, "eventType": "patient.created",
        "retry": {"maxAttempts": 2, "delays": ["1s"], "jitter": 0.0},
    });
    for (id, answer) in sick {
        let path = format!("/{id}");
        receiver.always(&path, answer);
        api.integration(id, &receiver.url(&path), fields.clone()).await;
    }
    // By its name it shares a partition with the three that fail.
    api.integration("ward", &receiver.url("/well"), json!({"eventType": "patient.viewed"})).await;
    // Warm: the first delivery of a process pays for what is made once.
    api.publish(&event("warm", "patient.viewed")).await;
    receiver.wait_events("/well", 1, SOON).await;

    let accepted = ids("s", 40);
    api.publish_all(&events(&accepted, "patient.created")).await;
    receiver
        .wait_for("the sick are busy", SOON, |log| log.requests("/hangs") >= 8 && log.requests("/resets") >= 8)
        .await;
    let slowest = slowest(&api, &receiver, ("/well", "probe"), 100).await;
    eprintln!("the slowest of 100 beside sick receivers: {slowest:?}");
    assert!(slowest < Duration::from_millis(900), "a neighbour waited for a time-out: {slowest:?}");

    // Two attempts of a second each, eight at a time.
    let both = |log: &Log, path: &str| log.requests(path) == 80;
    receiver
        .wait_for("all attempts", LATER, |log| ["/hangs", "/resets", "/failing"].iter().all(|p| both(log, p)))
        .await;
    receiver.wait_events("/endless", 40, LATER).await;
    topics::quiet(&setup).await;
    let story = Story::read(&setup).await;
    let told =
        |id: &str, outcome: &str| story.all().filter(|t| t["integrationId"] == id && t["outcome"] == outcome).count();
    for (id, category) in [("hangs", "TIMEOUT"), ("resets", "NETWORK"), ("failing", "HTTP_5XX")] {
        assert_eq!((told(id, "RETRY"), told(id, "DEAD")), (40, 40), "{id}");
        let named = story.all().filter(|t| t["integrationId"] == id).all(|t| t["errorCategory"] == category);
        assert!(named, "{id} is told as {category}: {:#?}", story.all().find(|t| t["integrationId"] == id));
    }
    // The head of a 2xx was there: delivered, whatever becomes of the body.
    assert_eq!((told("endless", "DELIVERED"), told("endless", "DEAD")), (40, 0));
    receiver.look(|log| {
        Ledger { path: "/endless", accepted: &accepted }.settle_once(log);
        for path in ["/hangs", "/resets", "/failing"] {
            Ledger { path, accepted: &accepted }.settle(log);
        }
        story.nothing_early(log);
    });
    let memory = gateway.memory_high();
    assert!(memory < 400, "bodies without end took {memory} MiB");
}

/// The longest time from the publishing of one event to its request at `path`, of so many in turn.
pub async fn slowest(api: &Api, receiver: &Receiver, (path, label): (&str, &str), count: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..count {
        let id = format!("{label}-{n}");
        let began = Instant::now();
        api.publish(&event(&id, "patient.viewed")).await;
        receiver.wait_for(&format!("{id} at {path}"), SOON, |log| log.has(path, &id)).await;
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_not_there() {
    let _turn = turn::beside().await;
    let Scene { receiver, setup, gateway: _gateway, api } = scene("absent").await;
    let port = crate::support::gateway::free_port();
    let retry = json!({"maxAttempts": 3, "delays": ["200ms"], "jitter": 0.0});
    api.integration("absent", &format!("http://127.0.0.1:{port}/a"), json!({"retry": retry})).await;
    api.integration("well", &receiver.url("/well"), json!({})).await;
    let accepted = ids("n", 20);
    api.publish_all(&events(&accepted, "patient.created")).await;
    receiver.wait_events("/well", 20, SOON).await;
    let dead = until("all are dead letters", LATER, async || {
        let dead = topics::read(&setup, "dlq").await;
        (dead.len() == 20).then_some(dead)
    })
    .await;
    let refused = |text: &str| text.starts_with("NETWORK") && text.contains("refused");
    assert!(dead.iter().all(|r| r.header("tg_error").is_some_and(refused)), "{dead:?}");
}
