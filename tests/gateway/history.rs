//! The history tells what happened, and tells the same when it is made anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::{Setup, history_file};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{LATER, SOON, topics, turn, until};

async fn get(api: &Api, path: &str) -> Value {
    api.expect(200, Method::GET, path, None).await.body
}

/// Asks until there are so many: history is a moment behind.
async fn total(api: &Api, path: &str, wanted: u64) -> Value {
    until(&format!("{path} has {wanted}"), SOON, async || {
        let list = get(api, path).await;
        (list["total"] == wanted).then_some(list)
    })
    .await
}

/// What a history that is whole answers.
async fn answers(api: &Api, dead: &str) -> Vec<Value> {
    total(api, "logs?status=SUCCESS", 12).await;
    total(api, "dlq", 3).await;
    total(api, "events", 16).await;
    let paths = [
        "logs?limit=100".to_owned(),
        "events?limit=100".to_owned(),
        "dlq".to_owned(),
        "rejected".to_owned(),
        "events/unheard".to_owned(),
        format!("logs/{dead}"),
        format!("dlq/{dead}"),
    ];
    let mut all = Vec::new();
    for path in paths {
        all.push(get(api, &path).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_dropped_and_made_anew_tells_the_same() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "history");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    let retry = json!({"maxAttempts": 2, "delays": ["100ms"], "jitter": 0.0});
    api.integration("fine", &receiver.url("/fine"), json!({"eventType": "patient.created"})).await;
    api.integration("dead", &receiver.url("/dead"), json!({"eventType": "patient.merged", "retry": retry})).await;
    receiver.always("/dead", Answer::Status(500));
    api.publish_all(&events(&ids("ok", 8), "patient.created")).await;
    api.publish_all(&events(&ids("bad", 4), "patient.merged")).await;
    api.publish(&event("unheard", "patient.deleted")).await;
    receiver.wait_for("two attempts each", LATER, |log| log.answers("/dead") == 8).await;
    topics::quiet(&setup).await;

    // What died is told with its attempts; one is put back, and arrives.
    let letters = total(&api, "dlq?integrationId=dead", 4).await;
    let ids: Vec<&str> = letters["entries"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap()).collect();
    let (revived, dead) = (ids[0], ids[1]);
    receiver.always("/dead", Answer::Status(200));
    let told = api.expect(202, Method::POST, &format!("dlq/{revived}/retry"), None).await.body;
    assert_eq!(told, json!({"id": revived, "status": "RETRYING"}));
    api.expect(409, Method::POST, &format!("dlq/{revived}/retry"), None).await;
    total(&api, "logs?integrationId=dead&status=SUCCESS", 1).await;
    let again = api.expect(409, Method::POST, &format!("dlq/{revived}/retry"), None).await.body;
    assert!(again["error"].as_str().is_some_and(|why| why.contains("SUCCESS")), "{again}");
    let log = get(&api, &format!("logs/{revived}")).await;
    let outcomes: Vec<_> = log["attempts"].as_array().unwrap().iter().map(|a| (&a["attempt"], &a["outcome"])).collect();
    let (one, two, three) = (json!(1), json!(2), json!(3));
    let (retry, died, delivered) = (json!("RETRY"), json!("DEAD"), json!("DELIVERED"));
    assert_eq!(outcomes, [(&one, &retry), (&two, &died), (&three, &delivered)]);
    assert_eq!(log["originalPayload"]["note"], "as sent");
    receiver.look(|log| assert_eq!(log.of("/dead").filter(|seen| seen.delivery == revived).count(), 3));
    let story = get(&api, &format!("events/{}", log["eventId"].as_str().unwrap())).await;
    let kinds: Vec<_> = story["timeline"].as_array().unwrap().iter().map(|m| m["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["RECEIVED", "MATCHED", "ATTEMPT", "ATTEMPT", "ATTEMPT"], "{story}");
    let unheard = get(&api, "events/unheard").await;
    assert_eq!(
        (&unheard["timeline"][1]["kind"], &unheard["timeline"][1]["reason"]),
        (&json!("SKIPPED"), &json!("no_match"))
    );

    // All that goes into it is in the topics.
    total(&api, "logs?status=SUCCESS", 9).await;
    api.publish_all(&events(&["late-1".into(), "late-2".into(), "late-3".into()], "patient.created")).await;
    let before = answers(&api, dead).await;
    let rebuild = setup.clone().arguments(&["history", "rebuild"]);
    let refused = rebuild.run(SOON).await;
    assert!(refused.code == Some(2) && refused.log.contains("another process uses it"), "{refused:?}");
    gateway.terminate();
    assert_eq!(gateway.ended(LATER).await.code, Some(0));
    let ended = rebuild.run(SOON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!history_file(&setup).exists());
    let gateway = setup.start().await;
    assert_eq!(answers(&gateway.api(), dead).await, before);
}

/// The file as it is now, from which `restore` makes it that again.
fn backup(setup: &Setup) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let beside = |end: &str| PathBuf::from(format!("{}{end}", history_file(setup).display()));
    ["", "-wal", "-shm"].map(beside).into_iter().map(|path| (path.clone(), std::fs::read(path).ok())).collect()
}

fn restore(files: &[(PathBuf, Option<Vec<u8>>)]) {
    for (path, bytes) in files {
        match bytes {
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
            None => drop(std::fs::remove_file(path)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_not_put_back_again_after_a_start_with_a_history_that_is_behind() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "history-behind");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    let retry = json!({"maxAttempts": 1});
    api.integration("dead", &receiver.url("/dead"), json!({"eventType": "patient.merged", "retry": retry})).await;
    receiver.always("/dead", Answer::Status(500));
    api.publish_all(&events(&ids("bad", 1), "patient.merged")).await;
    let letters = total(&api, "dlq", 1).await;
    let id = letters["entries"][0]["id"].as_str().unwrap().to_owned();
    let retry = format!("dlq/{id}/retry");
    gateway.terminate();
    assert_eq!(gateway.ended(LATER).await.code, Some(0));
    let behind = backup(&setup);

    let mut gateway = setup.start().await;
    receiver.always("/dead", Answer::Status(200));
    let api = gateway.api();
    let answered = until("it is put back", SOON, async || put_back(&api, &retry).await).await;
    assert_eq!(answered, 202);
    total(&api, "logs?status=SUCCESS", 1).await;
    gateway.terminate();
    assert_eq!(gateway.ended(LATER).await.code, Some(0));

    restore(&behind);
    let gateway = setup.start().await;
    let answered = until("it is known to be alive", SOON, async || put_back(&gateway.api(), &retry).await).await;
    assert_eq!(answered, 409);
    receiver.look(|log| assert_eq!(log.of("/dead").filter(|seen| seen.delivery == id).count(), 2));
}

/// What is answered once history knows enough; before that it is 503 with the reason.
async fn put_back(api: &Api, path: &str) -> Option<u16> {
    let answer = api.call(Method::POST, path, None).await.ok()?;
    if answer.status != 503 {
        return Some(answer.status);
    }
    let why = answer.body["error"].as_str().unwrap_or_default();
    assert!(why.contains("try again"), "{}", answer.body);
    None
}

/// Headers of the connection, the frame of the message, and the trace, of which only the id is kept.
const NOT_TOLD: [&str; 6] = ["host", "accept", "accept-encoding", "content-length", "traceparent", "tracestate"];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_delivery_is_told_to_have_sent_is_what_its_receiver_got() {
    let _turn = turn::beside().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&Broker::any().await, "sent");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    let headers = json!({"x-tenant": "it's \"north\"", "x-api-key": "s3cret"});
    api.integration("all", &receiver.url("/all"), json!({"headers": headers})).await;
    let mut odd = event("e 1", "patient.created");
    odd["correlationId"] = json!("50% of €, it's");
    odd["time"] = json!("2026-11-20T08:00:00.250Z");
    api.publish(&odd).await;
    receiver.wait_events("/all", 1, LATER).await;
    let list = total(&api, "logs?status=SUCCESS", 1).await;
    let one = get(&api, &format!("logs/{}", list["logs"][0]["id"].as_str().unwrap())).await;

    let seen = receiver.look(|log| log.of("/all").next().cloned()).unwrap();
    let told = |name: &str| !NOT_TOLD.contains(&name);
    let mut got: BTreeMap<&str, &str> =
        seen.headers.iter().map(|(name, value)| (&**name, &**value)).filter(|(name, _)| told(name)).collect();
    assert_eq!(got.insert("x-api-key", "***"), Some("s3cret"));
    assert!(got.contains_key("ce-correlationid") && got.contains_key("ce-subject"), "{got:?}");
    assert_eq!(one["requestHeaders"], json!(got));
    let curl = one["curlCommand"].as_str().unwrap();
    assert!(got.keys().all(|name| curl.contains(&format!(" -H '{name}: "))) && !curl.contains("s3cret"), "{curl}");
}
