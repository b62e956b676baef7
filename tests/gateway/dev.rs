//! `tidegate dev`, as somebody sees it who tries it.

use reqwest::Method;
use serde_json::json;

use crate::support::api::event;
use crate::support::broker::Broker;
use crate::support::gateway::{Setup, free_port};
use crate::support::kafka::{self, Write};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{SOON, turn};

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_shown_as_it_happens_and_the_end_says_what_stays() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let shown = format!("127.0.0.1:{}", free_port());
    let setup = Setup::new(&broker, "dev").arguments(&["dev", "--kafka", &broker.address, "--receiver", &shown]);
    let mut gateway = setup.start().await;
    gateway.says("ctrl-C ends it").await;
    let once = json!({"eventType": "bill.created", "retry": {"maxAttempts": 1}});
    gateway.api().integration("refuses", &receiver.url("/a"), once).await;
    receiver.always("/a", Answer::Status(500));
    gateway.api().publish(&event("e1", "bill.created")).await;
    gateway.says("!! dead letter  bill.created  event e1").await;
    let garbage = Write { value: Some(b"garbage"), ..Write::default() };
    kafka::produce(&setup.brokers, &setup.topic("events"), &[garbage]).await;
    gateway.says("!! rejected").await;
    gateway.terminate();
    let ended = gateway.ended(SOON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("Stopping: "), "{}", ended.log);
}

/// `tidegate dev` with its receiver at this address.
fn dev(broker: &Broker, setup: &Setup, receiver: &str) -> Setup {
    let kafka = ["--kafka", &broker.address];
    let engine: &[&str] = if broker.address.is_empty() { &[] } else { &kafka };
    setup.clone().arguments(&[&["dev", "--receiver", receiver], engine].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_undoes_nothing_that_was_changed_in_the_sample() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let [first, second] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let setup = Setup::new(&broker, "kept");
    let mut gateway = dev(&broker, &setup, &first).start().await;
    gateway.says("ctrl-C ends it").await;
    let api = gateway.api();
    api.patch("outbound-integrations/sample-patients", &json!({"name": "Mine"}), None).await.expect("an answer");
    api.disable("sample-flaky").await;
    api.delete("sample-appointments").await;
    gateway.terminate();
    gateway.ended(SOON).await;
    let mut gateway = dev(&broker, &setup, &second).start().await;
    // The one that goes to it still, where it is now.
    gateway.says(&format!("on its way to sample-patients at http://{second}:")).await;
    let sample =
        async |id| api.call(Method::GET, &format!("outbound-integrations/{id}"), None).await.expect("an answer");
    let patients = sample("sample-patients").await.body;
    let expected = (&json!("Mine"), &json!(format!("http://{second}/patients")));
    assert_eq!((&patients["name"], &patients["targetUrl"]), expected);
    assert_eq!(sample("sample-flaky").await.body["isActive"], false);
    assert_eq!(sample("sample-appointments").await.status, 404);
    gateway.terminate();
    gateway.ended(SOON).await;
}
