//! The broker goes away and comes back.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::support::api::{Api, event};
use crate::support::broker::Broker;
use crate::support::gateway::{Gateway, Setup};
use crate::support::ledger::Ledger;
use crate::support::load::Load;
use crate::support::receiver::{Answer, Receiver};
use crate::support::story::Story;
use crate::support::{LATER, SOON, topics, turn, until};

const IN_FLIGHT: usize = 16;
const ONE_FLUSH: usize = 1_000;

struct Scene {
    broker: Broker,
    receiver: Receiver,
    setup: Setup,
    gateway: Gateway,
    load: Load,
}

/// A gateway under load on a broker of its own; one integration that answers, one that fails each delivery once.
async fn scene(label: &str) -> Scene {
    let broker = Broker::start_new(label).await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, label);
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    let retry = json!({"maxAttempts": 20, "delays": ["500ms"], "jitter": 0.0});
    for (id, path) in [("fast", "/fast"), ("flaky", "/flaky")] {
        api.integration(id, &receiver.url(path), json!({"maxInFlight": IN_FLIGHT, "retry": retry})).await;
    }
    receiver.on("/flaky", |seen| Answer::Status(if seen.nth == 1 { 500 } else { 200 }));
    let mut load = Load::start(&[api], label, "patient.updated", 200);
    load.more(400, SOON).await;
    receiver.wait_events("/fast", 200, SOON).await;
    Scene { broker, receiver, setup, gateway, load }
}

/// Deliveries go on, everything arrives, and what came twice was in flight or one flush at each outage.
async fn settle(mut scene: Scene, outages: usize) {
    let goes_on = scene.receiver.look(|log| log.events("/fast"));
    scene.load.more(200, LATER).await;
    scene.receiver.wait_events("/fast", goes_on + 200, LATER).await;
    let accepted = scene.load.finish().await.ids;
    for path in ["/fast", "/flaky"] {
        scene.receiver.wait_events(path, accepted.len(), LATER).await;
    }
    topics::quiet(&scene.setup).await;
    let story = Story::read(&scene.setup).await;
    scene.receiver.look(|log| {
        let surplus =
            Ledger { path: "/fast", accepted: &accepted }.settle_within(log, outages * (IN_FLIGHT + ONE_FLUSH));
        eprintln!("{} events, {surplus} repeats", accepted.len());
        Ledger { path: "/flaky", accepted: &accepted }.settle(log);
        for path in ["/fast", "/flaky"] {
            story.ended_once(log, path);
        }
        story.nothing_early(log);
    });
}

async fn goes_unready(api: &Api) {
    until("the gateway says that it is not ready", SOON, async || (!api.is_ready().await).then_some(())).await;
    let (status, said) = api.text("/health/live").await.expect("it is up");
    assert_eq!(status, 200, "a broker that is away is no reason to end: {said}");
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Reads are answered and say how old they may be; what would be written is refused in time, with when to come back.
async fn tells_the_truth(api: &Api) {
    let read = async || api.heard(Method::GET, "outbound-integrations/fast", None).await;
    until("a read tells its age", SOON, async || {
        let (status, headers) = read().await;
        assert_eq!(status, 200);
        seconds(&headers, "age").filter(|age| *age > 5)
    })
    .await;
    for (method, path, body) in [
        (Method::POST, "admin/organizations", json!({"orgId": "649", "name": "Late"})),
        (Method::PATCH, "outbound-integrations/fast", json!({"timeoutMs": 500})),
        (Method::POST, "events?orgId=648", event("never", "nobody.listens")),
    ] {
        let (status, headers) = api.heard(method, path, Some(&body)).await;
        assert_eq!(status, 503, "{path}");
        assert!(seconds(&headers, "retry-after").is_some_and(|after| after >= 1), "{path}");
    }
    let (_, said) = api.text("/health").await.expect("it is up");
    assert!(said.contains("which `Age` tells"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_away_for_twenty_seconds() {
    let _turn = turn::beside().await;
    let mut scene = scene("away").await;
    scene.broker.stop().await;
    // How long the broker is away is what this test is about, not something that it waits to see.
    let back = Instant::now() + Duration::from_secs(20);
    let api = scene.gateway.api();
    goes_unready(&api).await;
    tells_the_truth(&api).await;
    sleep_until(back).await;
    scene.broker.start().await;
    scene.gateway.ready().await;
    until("what is read is current", SOON, async || {
        let (_, headers) = api.heard(Method::GET, "outbound-integrations", None).await;
        headers.get("age").is_none().then_some(())
    })
    .await;
    settle(scene, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_killed() {
    let _turn = turn::beside().await;
    let mut scene = scene("brokerkill").await;
    for _ in 0..2 {
        scene.broker.kill().await;
        scene.broker.start().await;
        scene.gateway.ready().await;
        let so_far = scene.receiver.look(|log| log.events("/fast"));
        scene.load.more(100, LATER).await;
        scene.receiver.wait_events("/fast", so_far + 100, LATER).await;
    }
    settle(scene, 2).await;
}
