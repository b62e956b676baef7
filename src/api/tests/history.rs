//! What happened, as a client asks for it, on a store in a folder of its own.

use super::login::PASSWORD;
use super::*;
use crate::history::rows::Batch;
use crate::history::sqlite::SqliteStore;
use crate::history::store::{Store, StoreError};
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Received, Record};
use crate::model::topic::Topic;

pub(super) const DEAD: &str = "0197a0b2-3c4d-8e5f-8a6b-000000000001";
const SENT: &str = "0197a0b2-3c4d-8e5f-8a6b-000000000002";
const T0: i64 = 1_763_712_000_000;

pub(super) struct Told {
    pub(super) api: Api,
    store: Arc<SqliteStore>,
    _dir: tempfile::TempDir,
}

pub(super) fn record(key: &str, value: &str, headers: &[(&'static str, &str)]) -> Record {
    let (key, value) = (Some(key.to_owned().into()), Some(value.to_owned().into()));
    let mut record = Record { key, value, ..Record::default() };
    headers.iter().for_each(|(name, value)| record.headers.push(*name, (*value).to_owned()));
    record
}

const EVENT: [(&str, &str); 7] = [
    ("ce_specversion", "1.0"),
    ("ce_id", "e/1"),
    ("ce_type", "bill.created"),
    ("ce_source", "his"),
    ("ce_time", "2025-11-21T08:00:00Z"),
    ("ce_orgid", "648"),
    ("ce_correlationid", "c-1"),
];

fn attempt(delivery: &str, outcome: &str, status: &str) -> String {
    let mut value = json!({"kind": "attempt", "deliveryId": delivery, "eventId": "e/1", "eventType": "bill.created",
        "orgId": "648", "integrationId": "bills", "integrationName": "Bills", "targetUrl": "https://erp.example/bills",
        "httpMethod": "POST", "trigger": "EVENT", "attempt": 1, "maxAttempts": 3, "outcome": outcome, "status": status,
        "startedAt": "2025-11-21T08:00:01Z", "durationMs": 12.5, "responseStatus": 200});
    if outcome == "DEAD" {
        value["responseStatus"] = json!(404);
        value["errorCategory"] = json!("HTTP_4XX");
        value["errorMessage"] = json!("answered 404");
        value["responseHeaders"] = json!({"content-type": "text/plain"});
        value["responseBody"] = json!("not here");
        value["responseBodyTruncated"] = json!(false);
    }
    value.to_string()
}

impl Told {
    /// One event with a delivery that died and one that arrived, and a rejected record.
    pub(super) async fn start() -> Told {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&dir.path().join("history.db"), "test").await.unwrap());
        let api = Api::with_bills().await;
        api.history.set(Ok(store.clone()));
        let told = Told { api, store, _dir: dir };
        let of = |id: &'static str| [&EVENT[..], &[("tg_delivery", id), ("tg_integration", "bills")]].concat();
        let dead =
            [&of(DEAD)[..], &[("tg_attempt", "1"), ("tg_status", "FAILED"), ("tg_error", "HTTP_4XX: 404")]].concat();
        let payload = r#"{"amount": 12345678901234567890.10, "it's": 1}"#;
        let wrong = [("__connect.errors.stage", "match"), ("__connect.errors.exception.class.name", "not_json")];
        told.happened(Topic::Events, 0, record("648/e/1", payload, &EVENT)).await;
        told.happened(Topic::Deliveries, 1, record("bills", payload, &of(DEAD))).await;
        told.happened(Topic::Deliveries, 2, record("bills", payload, &of(SENT))).await;
        told.happened(Topic::Attempts, 3, record(DEAD, &attempt(DEAD, "DEAD", "FAILED"), &[])).await;
        told.happened(Topic::Attempts, 4, record(SENT, &attempt(SENT, "DELIVERED", "SUCCESS"), &[])).await;
        told.happened(Topic::Dlq, 5, record("bills", payload, &dead)).await;
        told.happened(Topic::Rejected, 6, record("k", "{", &wrong)).await;
        told
    }

    pub(super) async fn happened(&self, topic: Topic, after: i64, record: Record) {
        let received: Received = self.api.topics.append_at(topic, 0, T0 + after, record);
        let mut batch = Batch::default();
        batch.take(topic, &received);
        assert_eq!(batch.unreadable, 0, "{topic}");
        self.store.write(&batch).await.unwrap();
        self.api.history.reached([((topic, received.partition), received.offset.next())]);
    }

    async fn get(&self, path: &str) -> Answer {
        self.api.get(&format!("/api/v1/{path}")).await
    }

    async fn retry(&self, id: &str) -> Answer {
        self.api.post(&format!("/api/v1/dlq/{id}/retry"), json!({})).await
    }
}

#[tokio::test]
async fn the_log_of_a_delivery_says_what_was_sent_and_what_came_back() {
    let told = Told::start().await;
    let list = told.get("logs?orgId=648&status=FAILED,ABANDONED&eventType=bill.created").await;
    assert_eq!(list.status, 200, "{}", list.body);
    assert_eq!((&list.body["total"], &list.body["page"], &list.body["hasMore"]), (&json!(1), &json!(1), &json!(false)));
    let item = &list.body["logs"][0];
    let expected = json!({"id": DEAD, "eventId": "e/1", "eventType": "bill.created", "orgId": "648", "entityId": null,
        "entityRid": null, "integrationId": "bills", "integrationName": "Bills", "direction": "OUTBOUND",
        "triggerType": "EVENT", "actionName": null, "actionIndex": null, "status": "FAILED", "errorCategory": "HTTP_4XX",
        "errorMessage": "answered 404", "targetUrl": "https://erp.example/bills", "httpMethod": "POST",
        "responseStatus": 404, "responseTimeMs": 12.5, "attemptCount": 1, "nextAttemptAt": null, "correlationId": "c-1",
        "traceId": DEAD.replace('-', ""), "messageId": DEAD, "createdAt": "2025-11-21T08:00:00.001Z", "deliveredAt": null});
    assert_eq!(item, &expected);
    let one = told.get(&format!("logs/{DEAD}")).await;
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&one.body[field], value, "{field}");
    }
    assert!(one.text.contains(r#""originalPayload":{"amount": 12345678901234567890.10"#), "{}", one.text);
    assert_eq!(one.body["responseHeaders"]["content-type"], "text/plain");
    assert_eq!((&one.body["responseBody"], &one.body["shouldRetry"]), (&json!("not here"), &json!(false)));
    let curl = one.body["curlCommand"].as_str().unwrap();
    assert!(curl.starts_with("curl -X POST 'https://erp.example/bills' -H ") && curl.contains(r"it'\''s"), "{curl}");
    for header in [
        &format!("idempotency-key: {DEAD}"),
        "x-correlation-id: c-1",
        "content-type: application/json",
        "ce-specversion: 1.0",
        "ce-id: e/1",
        "ce-type: bill.created",
        "ce-source: his",
        "ce-time: 2025-11-21T08:00:00.000Z",
        "ce-orgid: 648",
        "ce-correlationid: c-1",
    ] {
        assert!(curl.contains(&format!(" -H '{header}'")), "{header}: {curl}");
        let (name, value) = header.split_once(": ").unwrap();
        assert_eq!(one.body["requestHeaders"][name], value, "{name}");
    }
    let attempts = one.body["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["outcome"], &attempts[0]["attempt"]), (1, &json!("DEAD"), &json!(1)));
    let sent = told.get(&format!("logs/{SENT}")).await.body;
    assert_eq!((&sent["status"], &sent["deliveredAt"]), (&json!("SUCCESS"), &json!("2025-11-21T08:00:01.012Z")));
}

#[tokio::test]
async fn an_event_tells_its_story_in_order() {
    let told = Told::start().await;
    let list = told.get("events?type=bill.created&startDate=2025-11-21&endDate=2025-11-21&search=c-1").await;
    assert_eq!((&list.body["total"], &list.body["events"][0]["id"]), (&json!(1), &json!("e/1")), "{}", list.body);
    assert_eq!(told.get("events?endDate=2025-11-20").await.body["total"], 0);
    let one = told.get("events/e%2F1").await;
    assert_eq!(one.status, 200, "{}", one.body);
    assert_eq!(one.body["deliveries"].as_array().map(Vec::len), Some(2));
    let kinds: Vec<_> = one.body["timeline"].as_array().unwrap().iter().map(|m| m["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["RECEIVED", "MATCHED", "MATCHED", "ATTEMPT", "ATTEMPT"]);
    assert_error(&told.get("events/e2").await, 404, "NOT_FOUND");
    let mut lab = EVENT;
    lab[3].1 = "lab";
    told.happened(Topic::Events, 9, record("648/e/1", "{}", &lab)).await;
    let either = told.get("events/e%2F1").await;
    assert_eq!((either.status.as_u16(), either.paths()), (400, vec!["source"]));
    assert_eq!(told.get("events/e%2F1?source=lab").await.body["payload"], json!({}));
}

#[tokio::test]
async fn no_event_is_skipped_by_the_pages_of_a_list_where_sources_share_an_id_and_a_moment() {
    let told = Told::start().await;
    for (offset, source) in [(10, "lab"), (11, "till"), (12, "ward")] {
        let mut event = EVENT;
        event[3].1 = source;
        told.happened(Topic::Events, offset, record("648/e/1", "{}", &event)).await;
    }
    let (mut sources, mut next) = (Vec::new(), String::new());
    loop {
        let page = told.get(&format!("events?limit=1{next}")).await.body;
        sources.push(page["events"][0]["source"].as_str().unwrap().to_owned());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    let all = told.get("events").await.body;
    let expected: Vec<_> = all["events"].as_array().unwrap().iter().map(|e| e["source"].as_str().unwrap()).collect();
    assert_eq!(sources, expected);
    assert_eq!(sources.len(), 4);
}

#[tokio::test]
async fn a_dead_letter_is_put_back_once() {
    let told = Told::start().await;
    let list = told.get("dlq").await.body;
    let entry = &list["entries"][0];
    assert_eq!((&list["total"], &entry["id"], &entry["maxAttempts"]), (&json!(1), &json!(DEAD), &json!(3)));
    assert_eq!((&entry["lastError"], &entry["attemptCount"]), (&json!("answered 404"), &json!(1)));
    for (status, count) in [("ABANDONED&status=ABANDONED", 0), ("FAILED,FAILED", 1), ("FAILED&status=ABANDONED", 1)] {
        assert_eq!(told.get(&format!("dlq?status={status}")).await.body["total"], count, "{status}");
    }
    assert_eq!(told.get(&format!("dlq/{DEAD}")).await.body["attempts"].as_array().map(Vec::len), Some(1));
    assert_error(&told.get(&format!("dlq/{SENT}")).await, 404, "NOT_FOUND");
    assert_error(&told.retry(SENT).await, 409, "CONFLICT");
    assert_error(&told.retry("0197a0b2-3c4d-8e5f-8a6b-000000000009").await, 404, "NOT_FOUND");

    let again = told.retry(DEAD).await;
    assert_eq!((again.status.as_u16(), again.body), (202, json!({"id": DEAD, "status": "RETRYING"})));
    let back = told.api.topics.records(Topic::Deliveries, 0).pop().unwrap();
    let mut letter = told.api.topics.records(Topic::Dlq, 0).pop().unwrap();
    letter.record.headers.push("tg_redrives", "1");
    assert_eq!(back.record, letter.record, "the same delivery, its attempts counted on");
    let record = told.api.topics.records(Topic::Audit, 0).pop().unwrap();
    let entry: Value = serde_json::from_slice(record.record.value.as_deref().unwrap()).unwrap();
    assert_eq!((&entry["action"], &entry["id"], &entry["orgId"]), (&json!("REDRIVE"), &json!(DEAD), &json!("648")));
    // A second click, before history has met the first.
    assert_error(&told.retry(DEAD).await, 409, "CONFLICT");
    let mut batch = Batch::default();
    batch.take(Topic::Deliveries, &back);
    told.store.write(&batch).await.unwrap();
    assert_error(&told.retry(DEAD).await, 409, "CONFLICT");
    assert_eq!(told.get(&format!("logs/{DEAD}")).await.body["status"], "RETRYING");
    assert_eq!(told.get("dlq").await.body["total"], 0);
}

/// As a process finds it that has just started, and whose history is behind.
#[tokio::test]
async fn a_dead_letter_is_not_put_back_by_a_process_that_cannot_know_whether_it_was() {
    let told = Told::start().await;
    let unheard = record("bills", "{}", &[("tg_delivery", SENT), ("tg_integration", "bills")]);
    told.api.topics.append_at(Topic::Deliveries, 0, T0, unheard);
    let before = told.api.topics.records(Topic::Deliveries, 0).len();
    let behind = told.retry(DEAD).await;
    assert_error(&behind, 503, "SERVICE_UNAVAILABLE");
    assert_eq!(behind.header("retry-after"), "2");
    let why = behind.body["error"].as_str().unwrap();
    assert!(why.contains("1 records of `deliveries`") && why.contains(DEAD), "{why}");
    assert_eq!(told.api.topics.records(Topic::Deliveries, 0).len(), before);
    told.api.history.reached([((Topic::Deliveries, Partition(0)), Offset(before as i64))]);
    assert_eq!(told.retry(DEAD).await.status, 202);
    // Without a history nobody knows.
    told.api.history.set(Err(StoreError::Away("the disk is full".into())));
    let away = told.retry(DEAD).await;
    assert_error(&away, 503, "SERVICE_UNAVAILABLE");
    assert!(away.body["error"].as_str().unwrap().contains("the disk is full"), "{}", away.body);
    assert_eq!(told.api.topics.records(Topic::Deliveries, 0).len(), before + 1);
}

#[tokio::test]
async fn a_key_that_nobody_uses_any_more_is_seen_and_one_that_is_used_never_writes_to_the_catalog() {
    let told = Told::start().await;
    let api = &told.api;
    let keys = "/api/v1/admin/api-keys";
    let body = json!({"id": "till", "orgId": "648", "name": "Till", "scopes": ["read"]});
    let key = api.post(keys, body.clone()).await.body["key"].as_str().unwrap().to_owned();
    let last = || async { api.get(&format!("{keys}/till")).await.body["lastUsedAt"].clone() };
    assert_eq!(last().await, Value::Null);
    let written = api.log.0.written().len();
    let ask = || async { api.call("GET", INTEGRATIONS, &[("x-api-key", &key)], "").await.status.as_u16() };
    assert_eq!(ask().await, 200);
    assert_eq!(last().await, "2025-11-21T08:15:30.250Z", "before it is written");
    api.uses.flush(&api.history).await;
    api.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!((ask().await, last().await), (200, json!("2025-11-21T08:16:30.250Z")));
    api.uses.flush(&api.history).await;
    assert_eq!(api.get(keys).await.body["apiKeys"][0]["lastUsedAt"], "2025-11-21T08:16:30.250Z");
    assert_eq!(api.log.0.written().len(), written);
    // What is refused is no use, and a client that sends back what it got changes nothing by it.
    let mut whole = api.get(&format!("{keys}/till")).await.body;
    whole["isActive"] = false.into();
    assert_eq!(api.put(&format!("{keys}/till"), whole).await.status, 200);
    api.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!((ask().await, last().await), (401, json!("2025-11-21T08:16:30.250Z")));
    // Another key under the same id was never used.
    assert_eq!(api.delete(&format!("{keys}/till")).await.status, 204);
    assert_eq!(api.post(keys, body).await.status, 201);
    assert_eq!(last().await, Value::Null);
    api.history.set(Err(StoreError::Away("away".into())));
    assert_eq!(api.get(keys).await.body["apiKeys"][0]["lastUsedAt"], Value::Null, "and no error without history");
}

#[tokio::test]
async fn who_logged_in_last_is_seen_and_a_wrong_password_is_no_log_in() {
    let told = Told::start().await;
    let api = &told.api;
    let users = "/api/v1/admin/users";
    let ada = json!({"id": "ada", "email": "ada@x.example", "role": "USER", "orgId": "648", "password": PASSWORD});
    assert_eq!(api.post(users, ada).await.status, 201);
    let last = || async { api.get(&format!("{users}/ada")).await.body["lastLoginAt"].clone() };
    assert_eq!(api.log_in("ada@x.example", "wrong horse battery").await.status, 401);
    assert_eq!(last().await, Value::Null);
    api.token("ada@x.example", PASSWORD).await;
    assert_eq!(last().await, "2025-11-21T08:15:30.250Z");
}

#[tokio::test]
async fn nobody_sees_a_payload_without_a_trace() {
    let told = Told::start().await;
    let seen = || {
        let records = told.api.topics.records(Topic::Audit, 0);
        let entry = |r: &Received| serde_json::from_slice::<Value>(r.record.value.as_deref().unwrap()).unwrap();
        let told = |e: Value| format!("{} {} {} {}", e["actor"], e["action"], e["kind"], e["id"]).replace('"', "");
        records.iter().map(entry).map(told).collect::<Vec<_>>()
    };
    for list in ["logs", "events", "dlq", "logs?search=bills"] {
        assert_eq!(told.get(list).await.status, 200, "{list}");
    }
    assert!(seen().is_empty(), "no list shows payloads: {:?}", seen());
    for _ in 0..3 {
        for one in ["events/e%2F1".to_owned(), format!("logs/{DEAD}"), format!("dlq/{DEAD}"), "rejected".to_owned()] {
            assert_eq!(told.get(&one).await.status, 200, "{one}");
        }
    }
    let delivery = format!("admin-key VIEW Delivery {DEAD}");
    let expected = ["admin-key VIEW Event e/1", &delivery, "admin-key VIEW Rejected 0-0"];
    assert_eq!(seen(), expected, "once in ten minutes each");
    told.api.clock.advance(std::time::Duration::from_secs(600));
    told.get("events/e%2F1").await;
    assert_eq!(seen().len(), 4);
    // It is found in the audit, by who looks after the organization.
    let record = told.api.topics.records(Topic::Audit, 0).remove(0);
    let mut batch = Batch::default();
    batch.take(Topic::Audit, &record);
    told.store.write(&batch).await.unwrap();
    let listed = told.get("admin/audit?action=VIEW&orgId=648&id=e/1").await.body;
    let entry = &listed["audit"][0];
    assert_eq!(
        (&listed["total"], &entry["kind"], &entry["version"]),
        (&json!(1), &json!("Event"), &json!(0)),
        "{listed}"
    );
    // Who sees none leaves none.
    let key = json!({"orgId": "648", "name": "k", "scopes": ["read"]});
    let key = told.api.post("/api/v1/admin/api-keys", key).await.body["key"].as_str().unwrap().to_owned();
    let blind = told.api.call("GET", "/api/v1/events/e%2F1", &[("x-api-key", &key)], "").await;
    assert_eq!((&blind.body["payload"], seen().len()), (&Value::Null, 4));
}

#[tokio::test]
async fn what_cannot_be_written_to_the_audit_is_not_shown() {
    let told = Told::start().await;
    told.api.topics.takes(false);
    // Nor by whoever asks again.
    assert_eq!(told.get("events/e%2F1").await.status, 503);
    let answer = told.get("events/e%2F1").await;
    assert_error(&answer, 503, "SERVICE_UNAVAILABLE");
    assert!(
        answer.body["error"].as_str().unwrap().contains("audit") && !answer.text.contains("amount"),
        "{}",
        answer.text
    );
    assert_eq!(told.get("events").await.status, 200);
}

#[tokio::test]
async fn a_dead_letter_that_the_log_no_longer_has_is_not_promised() {
    let told = Told::start().await;
    told.api.topics.delete(Topic::Dlq, 0, 1);
    let gone = told.retry(DEAD).await;
    assert_error(&gone, 409, "CONFLICT");
    assert!(gone.body["error"].as_str().unwrap().contains("retention deleted it"), "{}", gone.body);
    // Of one whose integration is gone nobody would hear.
    assert_eq!(told.api.delete(&format!("{INTEGRATIONS}/bills")).await.status, 204);
    let deleted = told.retry(DEAD).await;
    assert!(deleted.body["error"].as_str().unwrap().contains("was deleted"), "{}", deleted.body);
}

#[tokio::test]
async fn rejected_records_are_listed_with_why() {
    let told = Told::start().await;
    let list = told.get("rejected?stage=match").await.body;
    let item = &list["rejected"][0];
    assert_eq!((&list["total"], &item["reason"], &item["payload"]), (&json!(1), &json!("not_json"), &json!("{")));
    assert_eq!(told.get("rejected?reason=other").await.body["total"], 0);
}

#[tokio::test]
async fn a_question_that_is_wrong_is_told_so_and_never_half_answered() {
    let told = Told::start().await;
    let cases = [
        ("logs?state=FAILED", "state"),
        ("logs?status=failed", "status"),
        ("logs?errorCategory=NONE", "errorCategory"),
        ("logs?direction=INBOUND", "direction"),
        ("logs?startDate=yesterday", "startDate"),
        ("logs?startDate=2025-11-21&endDate=2025-11-20", "endDate"),
        ("logs?cursor=x", "cursor"),
        ("logs?limit=501", "limit"),
        ("events?eventType=t&type=t", "type"),
        ("logs?type=t&eventType=u", "type"),
        ("dlq?status=SUCCESS", "status"),
        ("rejected?cursor=x", "cursor"),
        ("events/e%2F1?x=1", "x"),
    ];
    for (path, wrong) in cases {
        let answer = told.get(path).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        assert_eq!(answer.paths(), [wrong], "{path}");
    }
    for path in
        [format!("logs/{DEAD}?orgId=7"), format!("dlq/{DEAD}?orgId=7"), "logs/x".into(), "events/e%2F1?orgId=7".into()]
    {
        assert_error(&told.get(&path).await, 404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn pages_behind_a_cursor_tell_everything_once() {
    let told = Told::start().await;
    let first = told.get("logs?limit=1").await.body;
    assert_eq!((&first["logs"][0]["id"], &first["hasMore"]), (&json!(SENT), &json!(true)));
    let second = told.get(&format!("logs?limit=1&cursor={}", first["nextCursor"].as_str().unwrap())).await.body;
    assert_eq!((&second["logs"][0]["id"], &second["hasMore"]), (&json!(DEAD), &json!(false)));
    assert_eq!(second.get("nextCursor"), None);
}

#[tokio::test]
async fn a_history_that_is_away_is_a_503_that_says_so_and_no_500() {
    let api = Api::with_bills().await;
    for path in ["logs", "events", "dlq", "rejected", "logs/x", "events/x"] {
        let answer = api.get(&format!("/api/v1/{path}")).await;
        assert_error(&answer, 503, "SERVICE_UNAVAILABLE");
        assert_eq!(answer.header("retry-after"), "5");
        assert!(answer.body["error"].as_str().unwrap().contains("role `project`"), "{}", answer.body);
    }
}
