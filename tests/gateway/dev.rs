//! `tidegate dev`, as somebody sees it who tries it.

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
