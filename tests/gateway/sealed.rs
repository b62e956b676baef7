//! Secrets from the API to the log and to history, the turn of their key, and what a resource was.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Reply};
use crate::support::broker::Broker;
use crate::support::gateway::{Gateway, Setup, history_file};
use crate::support::{LATER, SOON, topics, turn, until};

/// 32 bytes each, base64.
const OLD: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
const NEW: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";
const SECRETS: [&str; 2] = ["correct-horse-battery", "staple-hunter-2"];

fn rule(id: &str, secret: &str) -> Value {
    json!({"id": id, "orgId": "648", "name": id, "condition": {"type": "DEAD_LETTERS"},
        "channels": [{"type": "WEBHOOK", "url": "https://ops.example/", "secret": secret}]})
}

/// Sends a rule back as it is read, which keeps its secret if that opens.
async fn kept(api: &Api, id: &str, status: u16) -> Reply {
    let path = format!("admin/alerts/{id}");
    let shown = api.expect(200, Method::GET, &path, None).await.body;
    assert_eq!(shown["channels"][0]["secret"], "***", "{shown}");
    api.expect(status, Method::PUT, &path, Some(&shown)).await
}

async fn end(mut gateway: Gateway) {
    gateway.terminate();
    let ended = gateway.ended(SOON).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

/// All that anybody can read of the configuration outside of the process.
async fn everything(broker: &Broker, setup: &Setup) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for topic in ["catalog", "audit"] {
        let records = topics::read(setup, topic).await.into_iter().map(|r| r.value.unwrap_or_default());
        all.push((topic.to_owned(), records.collect::<Vec<_>>().concat()));
        if setup.data().is_none() {
            let name = setup.topic(topic);
            let shown = broker.kcat(&["-C", "-t", &name, "-o", "beginning", "-e", "-q", "-f", "%k %h %s\n"], b"").await;
            all.push((format!("{topic} as kcat shows it"), shown.into_bytes()));
        }
    }
    let folder = setup.data().into_iter().flat_map(|dir| fs::read_dir(dir).expect("the data folder"));
    let log = folder.map(|entry| entry.expect("a file").path());
    let history = ["db", "db-wal"].map(|end| history_file(setup).with_extension(end));
    for path in log.chain(history) {
        all.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
    }
    all
}

async fn nowhere_in_clear(broker: &Broker, setup: &Setup) {
    for (name, bytes) in everything(broker, setup).await {
        for secret in SECRETS {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{name} holds a secret in clear");
        }
        let sealed = bytes.windows(7).any(|part| part == b"sealed:");
        assert!(sealed || !["catalog", "audit"].contains(&name.as_str()), "{name} holds no secret at all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_in_clear_and_a_turned_key_can_be_dropped() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let setup = Setup::new(&broker, "sealed").env("TIDEGATE_SECRET_KEY", OLD);
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.expect(201, Method::POST, "admin/alerts", Some(&rule("old", SECRETS[0]))).await;
    kept(&api, "old", 200).await;
    audited(&api, "admin/audit?kind=AlertRule", 2).await;
    end(gateway).await;

    // Without the old key nothing of it opens, and the error says what to do.
    let alone = setup.clone().env("TIDEGATE_SECRET_KEY", NEW);
    let gateway = alone.start().await;
    let refused = kept(&api, "old", 400).await.body;
    assert!(refused.to_string().contains("TIDEGATE_SECRET_KEY_PREVIOUS"), "{refused}");
    let told = rotate(&alone, 1).await;
    assert!(told.contains("AlertRule old") && !told.contains("drop the old key"), "{told}");
    end(gateway).await;

    let both = alone.clone().env("TIDEGATE_SECRET_KEY_PREVIOUS", OLD);
    let gateway = both.start().await;
    api.expect(201, Method::POST, "admin/alerts", Some(&rule("new", SECRETS[1]))).await;
    let told = rotate(&both, 0).await;
    assert!(told.contains("1 sealed anew, 1 under the newest key already"), "{told}");
    audited(&api, "admin/audit?action=RESEAL", 1).await;
    end(gateway).await;

    let gateway = alone.start().await;
    kept(&api, "old", 200).await;
    kept(&api, "new", 200).await;
    let told = rotate(&alone, 0).await;
    assert!(told.contains("0 sealed anew, 2 under"), "{told}");
    let list = audited(&api, "admin/audit?kind=AlertRule", 6).await.to_string();
    assert!(!list.contains("sealed:") && SECRETS.iter().all(|secret| !list.contains(secret)), "{list}");
    end(gateway).await;
    nowhere_in_clear(&broker, &setup).await;
}

/// `tidegate secret rotate-key`; what it says.
async fn rotate(setup: &Setup, code: i32) -> String {
    let api = format!("http://{}", setup.address());
    let command = setup.another(&format!("rotate{code}")).arguments(&["secret", "rotate-key", "--api", &api]);
    let ended = command.run(SOON).await;
    assert_eq!(ended.code, Some(code), "{}", ended.log);
    ended.log
}

/// History is a moment behind.
async fn audited(api: &Api, path: &str, total: u64) -> Value {
    until(&format!("{path} has {total}"), LATER, async || {
        let reply = api.call(Method::GET, path, None).await.ok()?;
        (reply.status == 200 && reply.body["total"] == total).then_some(reply.body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_resource_was_is_told_and_comes_back() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let setup = Setup::new(&broker, "versions");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("bills", "https://erp.example/bills", json!({"timeoutMs": 700})).await;
    let path = "outbound-integrations/bills";
    api.expect(200, Method::PATCH, path, Some(&json!({"timeoutMs": 900, "name": "Bills"}))).await;
    api.disable("bills").await;

    let list = audited(&api, &format!("{path}/versions"), 3).await;
    let told = |field: &str| list["versions"].as_array().map(|all| all.iter().map(|v| v[field].clone()).collect());
    assert_eq!(told("version"), Some(vec![json!(3), json!(2), json!(1)]), "{list}");
    assert_eq!(told("action"), Some(vec![json!("DISABLE"), json!("UPDATE"), json!("CREATE")]), "{list}");
    let changes = &list["versions"][1]["changes"];
    assert!(changes.to_string().contains(r#"{"path":"timeoutMs","from":700,"to":900}"#), "{changes}");
    let first = api.expect(200, Method::GET, &format!("{path}/versions/1"), None).await.body;
    assert_eq!((&first["timeoutMs"], &first["isActive"]), (&json!(700), &json!(true)), "{first}");

    let restore = format!("{path}/restore");
    let back = api.expect(200, Method::POST, &restore, Some(&json!({"version": 1}))).await.body;
    assert_eq!((&back["timeoutMs"], &back["version"], &back["name"]), (&json!(700), &json!(4), &json!("bills")));
    api.delete("bills").await;
    audited(&api, "admin/audit?id=bills", 5).await;
    api.expect(404, Method::GET, &format!("{path}/versions"), None).await;
    let back = api.expect(200, Method::POST, &restore, Some(&json!({"version": 2}))).await.body;
    assert_eq!((&back["timeoutMs"], &back["version"], &back["name"]), (&json!(900), &json!(1), &json!("Bills")));

    let all = audited(&api, "admin/audit?id=bills&kind=OutboundIntegration&orgId=648", 6).await;
    let told = all["audit"].as_array().expect("a list");
    let actions: Vec<&str> = told.iter().filter_map(|one| one["action"].as_str()).collect();
    assert_eq!(actions, ["RESTORE", "DELETE", "RESTORE", "DISABLE", "UPDATE", "CREATE"]);
    assert!(told.iter().all(|one| one["actor"] == "admin-key" && one["requestId"].is_string()), "{all}");
    // Made anew from the topics it tells the same.
    end(gateway).await;
    fs::remove_file(history_file(&setup)).expect("the history");
    let _gateway = setup.start().await;
    let again = audited(&api, "admin/audit?id=bills&kind=OutboundIntegration&orgId=648", 6).await;
    assert_eq!(again, all);
}
