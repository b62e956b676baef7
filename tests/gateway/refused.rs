//! Input and settings that are wrong: each is told, with what to do, and nothing that was accepted before suffers.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::api::{Reply, event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::{Ended, Setup};
use crate::support::ledger::Ledger;
use crate::support::receiver::{Answer, Receiver};
use crate::support::{LATER, SOON, kafka, scratch, topics, turn};

fn refused(what: &str, reply: &Reply, status: u16, code: &str) {
    let body = &reply.body;
    assert_eq!((reply.status, body["code"].as_str()), (status, Some(code)), "{what}: {body}");
    assert_eq!(body["statusCode"], status, "{what}: {body}");
    assert!(body["error"].as_str().is_some_and(|e| e.len() > 10), "{what} says what is wrong: {body}");
}

fn names(what: &str, reply: &Reply, path: &str) {
    let named = reply.body["details"].as_array().is_some_and(|all| all.iter().any(|d| d["path"] == path));
    assert!(named, "{what}: `{path}` is not named: {}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_none_are_refused_and_the_others_arrive() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "refused");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({})).await;
    receiver.always("/a", Answer::Held(200));
    let mut accepted = ids("good", 20);
    api.publish_all(&events(&accepted, "patient.created")).await;

    let post = async |path: &str, body: Vec<u8>| {
        api.send(Method::POST, path, Some(body), "application/json").await.expect("an answer")
    };
    for path in ["events?orgId=648", "events/batch?orgId=648"] {
        for not_json in [&b"not JSON"[..], b"{\"eventType\":", b"", b"\xff\xfe"] {
            refused(&format!("{path}: {not_json:?}"), &post(path, not_json.to_vec()).await, 400, "VALIDATION_ERROR");
        }
    }
    let typed: [(&str, Value); 4] = [
        ("eventType", json!({"eventType": 5, "payload": {}})),
        ("eventType", json!({"payload": {}})),
        ("time", json!({"eventType": "t", "time": "yesterday", "payload": {}})),
        ("entityId", json!({"eventType": "t", "entityId": ["x"], "payload": {}})),
    ];
    for (path, body) in typed {
        let reply = post("events?orgId=648", body.to_string().into_bytes()).await;
        refused(&body.to_string(), &reply, 400, "VALIDATION_ERROR");
        names(&body.to_string(), &reply, path);
    }
    let unknown = post("events?orgId=nobody", event("e", "t").to_string().into_bytes()).await;
    refused("an organization that does not exist", &unknown, 400, "VALIDATION_ERROR");
    names("an organization that does not exist", &unknown, "orgId");
    let large = json!({"eventType": "t", "payload": "x".repeat(2 << 20)});
    refused("2 MiB", &post("events?orgId=648", large.to_string().into_bytes()).await, 413, "PAYLOAD_TOO_LARGE");
    let none = json!({"events": [{"payload": 1}, {"eventType": 7}]});
    assert_eq!(post("events/batch?orgId=648", none.to_string().into_bytes()).await.status, 400);

    let mixed = json!({"events": [event("mixed", "patient.created"), {"eventType": "has space", "payload": 1}]});
    let reply = post("events/batch?orgId=648", mixed.to_string().into_bytes()).await;
    assert_eq!((reply.status, &reply.body["accepted"], &reply.body["failed"]), (202, &json!(1), &json!(1)));
    assert_eq!(reply.body["results"][1]["code"], "VALIDATION_ERROR", "{}", reply.body);
    accepted.push("mixed".to_owned());

    let integration =
        json!({"orgId": "648", "name": "x", "eventType": "*", "targetUrl": "nowhere", "timeoutMs": "soon"});
    let reply = api.call(Method::POST, "outbound-integrations", Some(&integration)).await.expect("an answer");
    refused("an integration", &reply, 400, "VALIDATION_ERROR");
    names("an integration", &reply, "targetUrl");
    names("an integration", &reply, "timeoutMs");

    receiver.always("/a", Answer::Status(200));
    receiver.release("/a");
    receiver.wait_events("/a", accepted.len(), LATER).await;
    topics::quiet(&setup).await;
    receiver.look(|log| Ledger { path: "/a", accepted: &accepted }.settle_once(log));
}

fn ended(what: &str, ended: &Ended, code: i32, says: &[&str]) {
    assert_eq!(ended.code, Some(code), "{what}: {}", ended.log);
    for word in says {
        assert!(ended.log.contains(word), "{what} does not say `{word}`: {}", ended.log);
    }
    assert!(!ended.log.contains("panicked"), "{what}: {}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_end_it_before_anything_is_touched() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let setup = Setup::new(&broker, "settings");
    let name = format!("{}.toml", setup.prefix);
    let file = scratch().join(&name);
    std::fs::write(&file, "[kafka]\nbroker = \"x:1\"\n").expect("a file");
    let file = file.to_string_lossy().into_owned();
    let wrong = setup.another("key").arguments(&["serve", "--config", &file]).run(SOON).await;
    ended("an unknown key", &wrong, 2, &["broker", "did you mean `brokers`", &name]);
    let wrong = setup.another("flag").arguments(&["serve", "--rolls", "match"]).run(SOON).await;
    ended("an unknown flag", &wrong, 2, &["--rolls", "--roles"]);
    for (name, value) in [
        ("TIDEGATE_ADMIN_KEY", "short"),
        ("TIDEGATE_EGRESS_ALLOW", "300.0.0.0/8"),
        ("TIDEGATE_LOG", "a=b=c"),
        ("TIDEGATE_SECRET_KEY", "c2hvcnQ="),
        ("TIDEGATE_SECRET_KEY_PREVIOUS", "c2hvcnQ="),
    ] {
        let wrong = setup.another(name).env(name, value).run(SOON).await;
        ended(name, &wrong, 2, &[name]);
    }
    let wrong = setup.another("seal").without("TIDEGATE_SECRET_KEY").run(SOON).await;
    ended("no key to seal with", &wrong, 2, &["TIDEGATE_SECRET_KEY", "openssl rand -base64 32"]);
    let wrong = setup.another("topology").arguments(&["serve", "--topology", "/nowhere.yaml"]).run(SOON).await;
    ended("a topology file that is not there", &wrong, 2, &["/nowhere.yaml"]);
    let property = "TIDEGATE_KAFKA__PROPERTIES__ENABLE_IDEMPOTENCE";
    let wrong = setup.another("property").env(property, "false").run(SOON).await;
    ended("a property that the promises rest on", &wrong, 2, &["enable.idempotence"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_ends_it_with_three() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let mut setup = Setup::new(&broker, "nobroker");
    setup.brokers = "127.0.0.1:1".to_owned();
    let why = "cannot reach Kafka at 127.0.0.1:1: connection refused; is it running, is KAFKA_BROKERS right?";
    for command in [&["topology", "check"][..], &["topology", "create"], &["bench", "--quick"]] {
        let gone = setup.another(command[0]).arguments(command).run(SOON).await;
        ended(&command.join(" "), &gone, 3, &[why]);
    }
    let began = Instant::now();
    let gone = setup.run(LATER).await;
    ended("no broker", &gone, 3, &[why]);
    let took = began.elapsed();
    assert!((25..60).contains(&took.as_secs()), "it tries for 30 s, not {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_ends_it_and_harms_nobody() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "taken");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({})).await;
    let accepted = ids("taken", 50);
    api.publish_all(&events(&accepted, "patient.created")).await;
    // The same settings again, as a second start by mistake would have them.
    let again = setup.run(SOON).await;
    ended("a taken port", &again, 2, &[&setup.address(), "TIDEGATE_LISTEN"]);
    receiver.wait_events("/a", accepted.len(), LATER).await;
    topics::quiet(&setup).await;
    receiver.look(|log| Ledger { path: "/a", accepted: &accepted }.settle_once(log));
    // Not only another gateway.
    let other = setup.another("stranger");
    let _listener = TcpListener::bind(other.address()).await.expect("a free port");
    ended("a port of a stranger", &other.run(SOON).await, 2, &[&other.address()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_ends_it_and_says_what_to_do() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let setup = Setup::new(&broker, "partitions");
    kafka::create_topic(&setup.brokers, &setup.topic("deliveries"), 5).await;
    let wrong = setup.run(SOON).await;
    let topic = setup.topic("deliveries");
    ended("a topic with five partitions", &wrong, 2, &[&topic, "partitions", "5", "3", "tidegate topology"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_is_told_to_clients_and_nothing_is_accepted_in_vain() {
    let _turn = turn::beside().await;
    let broker = Broker::start_new("vain").await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "vain");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({})).await;
    let mut accepted = ids("vain", 20);
    api.publish_all(&events(&accepted, "patient.created")).await;
    receiver.wait_events("/a", 20, SOON).await;
    broker.kill().await;
    let began = Instant::now();
    let body = event("while-away", "patient.created");
    let reply = api.call(Method::POST, "events?orgId=648", Some(&body)).await.expect("an answer, not a hang");
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(began.elapsed() < Duration::from_secs(15), "a client is not kept for {:?}", began.elapsed());
    let began = Instant::now();
    let disabled =
        api.call(Method::POST, "outbound-integrations/a/disable", None).await.expect("an answer, not a hang");
    refused("a change of the catalog", &disabled, 503, "SERVICE_UNAVAILABLE");
    assert!(began.elapsed() < Duration::from_secs(8), "about five seconds, not {:?}", began.elapsed());
    broker.start().await;
    gateway.ready().await;
    // The same event again: once it is accepted it arrives, once, whatever became of the first try.
    api.expect(202, Method::POST, "events?orgId=648", Some(&body)).await;
    accepted.push("while-away".to_owned());
    receiver.wait_events("/a", 21, LATER).await;
    topics::quiet(&setup).await;
    receiver.look(|log| Ledger { path: "/a", accepted: &accepted }.settle_within(log, 20));
}
