//! `tidegate dev`, as somebody sees it who tries it.

use reqwest::Method;
use serde_json::json;

use crate::support::api::event;
use crate::support::broker::Broker;
use crate::support::gateway::{Setup, free_port};
use crate::support::kafka::{self, Write};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{SOON, turn, until};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_refused_leaves_no_folder_and_no_keys() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let free = format!("127.0.0.1:{}", free_port());
    let setup = Setup::new(&Broker::none(), "refused").without("TIDEGATE_ADMIN_KEY").without("TIDEGATE_SECRET_KEY");
    let cases = [
        (setup.clone().env("TIDEGATE_LOG", "a=b=c"), &free, "TIDEGATE_LOG"),
        (setup.clone().env("TIDEGATE_EGRESS_ALLOW", "10.0.0.0/99"), &free, "10.0.0.0/99"),
        (setup.clone().env("TIDEGATE_SECRET_KEY", "short"), &free, "TIDEGATE_SECRET_KEY"),
        (setup.clone().env("TIDEGATE_LISTEN", &taken), &free, "cannot listen"),
        (setup.clone(), &taken, "cannot listen"),
    ];
    for (setup, receiver, said) in cases {
        let setup = setup.arguments(&["dev", "--receiver", receiver]);
        let ended = setup.run(SOON).await;
        assert_eq!(ended.code, Some(2), "{said}: {}", ended.log);
        assert!(ended.log.contains(said), "{said}: {}", ended.log);
        assert!(setup.data().is_some_and(|dir| !dir.exists()), "{said}: something was made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_receiver_is_reached_whatever_else_may_be_and_a_closed_pipe_stops_nothing() {
    let _turn = turn::beside().await;
    let setup = Setup::new(&Broker::none(), "piped").env("TIDEGATE_EGRESS_ALLOW", "10.0.0.0/8");
    // Nobody reads what it says.
    let piped = setup.clone().through_a_closed_pipe();
    let everywhere = format!("0.0.0.0:{}", free_port());
    let mut gateway = dev(&Broker::none(), &piped, &everywhere).start().await;
    let api = gateway.api();
    until("the event of the start arrives at both", SOON, async || {
        let told = api.call(Method::GET, "logs?status=SUCCESS", None).await.ok()?;
        (told.body["total"] == 2).then_some(())
    })
    .await;
    gateway.terminate();
    assert_eq!(gateway.ended(SOON).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_is_not_shown_as_if_it_worked() {
    let _turn = turn::beside().await;
    let setup = Setup::new(&Broker::none(), "password").without("TIDEGATE_ADMIN_PASSWORD");
    let receiver = format!("127.0.0.1:{}", free_port());
    let mut gateway = dev(&Broker::none(), &setup, &receiver).start().await;
    gateway.says("login: admin@tidegate.example, password ").await;
    gateway.says("ctrl-C ends it").await;
    let changed = json!({"password": "another-good-password"});
    gateway.api().patch("admin/users/admin", &changed, None).await.expect("an answer");
    gateway.terminate();
    gateway.ended(SOON).await;
    let mut gateway = dev(&Broker::none(), &setup, &receiver).start().await;
    gateway.says("login: admin@tidegate.example, whose password is another one by now").await;
    gateway.terminate();
    gateway.ended(SOON).await;
}
