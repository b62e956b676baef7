//! Who changed what, what a resource was, and the way back.

use std::sync::atomic::AtomicUsize;

use super::login::{KEYS, PASSWORD, USERS};
use super::*;
use crate::history::rows::Batch;
use crate::history::sqlite::SqliteStore;
use crate::history::store::Store;
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Received, Record};
use crate::model::topic::Topic;

const RULES: &str = "/api/v1/admin/alerts";
const AUDIT: &str = "/api/v1/admin/audit";

struct Audited {
    api: Api,
    store: Arc<SqliteStore>,
    projected: AtomicUsize,
    _dir: tempfile::TempDir,
}

impl Audited {
    async fn start() -> Audited {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&dir.path().join("history.db"), "test").await.unwrap());
        let api = Api::with_bills().await;
        api.history.set(Ok(store.clone()));
        Audited { api, store, projected: AtomicUsize::new(0), _dir: dir }
    }

    /// What `project` does with all that was changed so far.
    async fn project(&self) {
        let all = self.api.log.0.audited();
        for (at, record) in all.into_iter().enumerate().skip(self.projected.load(Ordering::SeqCst)) {
            self.keep(at, record).await;
            self.projected.store(at + 1, Ordering::SeqCst);
        }
    }

    async fn keep(&self, at: usize, record: Record) {
        let offset = Offset(i64::try_from(at).unwrap());
        let mut batch = Batch::default();
        batch.take(Topic::Audit, &Received { partition: Partition(0), offset, timestamp: Timestamp(1), record });
        assert_eq!(batch.unreadable, 0);
        self.store.write(&batch).await.unwrap();
    }

    async fn get(&self, uri: &str) -> Answer {
        self.project().await;
        self.api.get(uri).await
    }

    async fn restore(&self, of: &str, version: u64) -> Answer {
        self.project().await;
        self.api.post(&format!("{of}/restore"), json!({"version": version})).await
    }

    async fn rule(&self, name: &str, secret: &str) -> Answer {
        let rule = json!({"id": "rule", "orgId": "648", "name": name, "condition": {"type": "DEAD_LETTERS"},
            "channels": [{"type": "WEBHOOK", "url": "https://ops.example/", "secret": secret}]});
        let uri = format!("{RULES}/rule");
        let made = match self.api.get(&uri).await.status.as_u16() {
            404 => self.api.post(RULES, rule).await,
            _ => self.api.put(&uri, rule).await,
        };
        assert!(made.status.is_success(), "{}", made.body);
        made
    }
}

#[tokio::test]
async fn the_audit_tells_who_changed_what_and_never_a_secret() {
    let told = Audited::start().await;
    told.rule("Rule", "hunter2").await;
    told.rule("Other", "hunter3").await;
    told.api.delete(&format!("{RULES}/rule")).await;
    let list = told.get(&format!("{AUDIT}?kind=AlertRule")).await;
    assert_eq!((list.status.as_u16(), &list.body["total"]), (200, &json!(3)), "{}", list.body);
    let [gone, changed, made] = list.body["audit"].as_array().unwrap().as_slice() else { panic!("{}", list.body) };
    assert_eq!(
        (&made["action"], &changed["action"], &gone["action"]),
        (&json!("CREATE"), &json!("UPDATE"), &json!("DELETE"))
    );
    assert_eq!((&made["before"], &gone["after"], &gone["version"]), (&Value::Null, &Value::Null, &json!(2)));
    let expected = json!([{"path": "name", "from": "Rule", "to": "Other"},
        {"path": "channels[0].secret", "from": "***", "to": "*** (changed)"}]);
    assert_eq!(changed["changes"], expected);
    assert_eq!(
        (&changed["before"]["name"], &changed["after"]["channels"][0]["secret"]),
        (&json!("Rule"), &json!("***"))
    );
    assert_eq!(
        (&changed["actor"], &changed["resourceId"], &changed["orgId"]),
        (&json!("admin-key"), &json!("rule"), &json!("648"))
    );
    assert!(changed["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{changed}");
    assert!(!list.text.contains("sealed:") && !list.text.contains("hunter"), "{}", list.text);
    for (query, total) in [
        ("", 5),
        ("?action=DELETE", 1),
        ("?id=rule&action=UPDATE", 1),
        ("?actor=user:nobody", 0),
        ("?orgId=649", 0),
        ("?endDate=2025-01-01", 0),
    ] {
        assert_eq!(told.get(&format!("{AUDIT}{query}")).await.body["total"], total, "{query}");
    }
    let page = told.get(&format!("{AUDIT}?limit=2")).await.body;
    let next = told.get(&format!("{AUDIT}?limit=3&cursor={}", page["nextCursor"].as_str().unwrap())).await.body;
    assert_eq!((next["audit"].as_array().unwrap().len(), &next["hasMore"]), (3, &json!(false)));
    for wrong in ["?action=SHOUT", "?cursor=x", "?startDate=soon"] {
        assert_error(&told.get(&format!("{AUDIT}{wrong}")).await, 400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn what_is_of_a_kind_that_is_not_known_here_is_told_without_its_state() {
    let told = Audited::start().await;
    let entry = json!({"at": "2025-11-21T08:00:00Z", "actor": "user:ada", "address": null, "requestId": null,
        "action": "CREATE", "kind": "Later", "id": "x", "orgId": "648", "version": 1, "before": null,
        "after": {"token": "in clear, for all that is known"}});
    told.keep(99, Record { value: Some(entry.to_string().into()), ..Record::default() }).await;
    let list = told.api.get(&format!("{AUDIT}?kind=Later")).await;
    let one = &list.body["audit"][0];
    assert_eq!((&one["resourceId"], &one["after"], &one["changes"]), (&json!("x"), &Value::Null, &json!([])));
    assert!(!list.text.contains("in clear"), "{}", list.text);
}

#[tokio::test]
async fn without_history_here_the_audit_and_versions_say_where_it_is() {
    let api = Api::with_bills().await;
    for uri in [AUDIT.to_owned(), format!("{INTEGRATIONS}/bills/versions"), format!("{INTEGRATIONS}/bills/versions/1")]
    {
        let answer = api.get(&uri).await;
        assert_error(&answer, 503, "SERVICE_UNAVAILABLE");
        assert!(answer.body["error"].as_str().unwrap().contains("role `project`"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_version_comes_back_as_a_new_one() {
    let told = Audited::start().await;
    told.rule("First", "hunter2").await;
    told.rule("Second", "hunter3").await;
    let uri = format!("{RULES}/rule");
    let disabled = told.api.post(&format!("{uri}/disable"), json!({})).await;
    assert_eq!(disabled.status, 200);
    let list = told.get(&format!("{uri}/versions")).await;
    let versions = list.body["versions"].as_array().unwrap();
    let of = |field: &str| versions.iter().map(|one| one[field].clone()).collect::<Vec<_>>();
    assert_eq!(
        (of("version"), of("action")),
        (vec![json!(3), json!(2), json!(1)], vec![json!("DISABLE"), json!("UPDATE"), json!("CREATE")])
    );
    assert_eq!(versions[0]["changes"], json!([{"path": "isActive", "from": true, "to": false}]));
    let first = told.get(&format!("{uri}/versions/1")).await;
    assert_eq!(
        (&first.body["name"], &first.body["version"], &first.body["channels"][0]["secret"]),
        (&json!("First"), &json!(1), &json!("***"))
    );
    let (key, json) = (("if-match", "\"2\""), json!({"version": 1}).to_string());
    assert_error(&told.api.write("POST", &format!("{uri}/restore"), &[key], json).await, 409, "CONFLICT");
    let back = told.restore(&uri, 1).await;
    assert_eq!((back.status.as_u16(), back.version()), (200, 4), "{}", back.body);
    assert_eq!((&back.body["name"], &back.body["isActive"]), (&json!("First"), &json!(true)));
    let list = told.get(&format!("{uri}/versions?limit=1")).await.body;
    assert_eq!(
        (&list["versions"][0]["action"], &list["total"], &list["hasMore"]),
        (&json!("RESTORE"), &json!(4), &json!(true))
    );
    for (of, version, status) in [(&uri, 9, 404), (&format!("{RULES}/nobody"), 1, 404), (&uri, 0, 400)] {
        assert_eq!(told.restore(of, version).await.status, status, "{of} {version}");
    }
    for (version, status) in [("9", 404), ("x", 400), ("0", 404)] {
        assert_eq!(told.get(&format!("{uri}/versions/{version}")).await.status, status, "{version}");
    }
    assert_eq!(told.get(&format!("{uri}/versions?orgId=649")).await.status, 404);
}

#[tokio::test]
async fn a_version_that_does_not_fit_any_more_is_refused() {
    let told = Audited::start().await;
    let units = "/api/v1/admin/org-units";
    for unit in [
        json!({"rid": "ward", "orgId": "648", "name": "Ward"}),
        json!({"rid": "room", "orgId": "648", "name": "Room", "parentRid": "ward"}),
    ] {
        assert_eq!(told.api.post(units, unit).await.status, 201);
    }
    assert_eq!(told.api.put(&format!("{units}/room"), json!({"name": "Room"})).await.status, 200);
    assert_eq!(told.api.delete(&format!("{units}/ward")).await.status, 204);
    let answer = told.restore(&format!("{units}/room"), 1).await;
    assert_error(&answer, 400, "VALIDATION_ERROR");
    assert_eq!(answer.paths(), ["parentRid"]);
}

#[tokio::test]
async fn what_was_deleted_comes_back_and_what_another_had_under_its_id_stays_hidden() {
    let told = Audited::start().await;
    let uri = format!("{INTEGRATIONS}/bills");
    assert_eq!(told.api.delete(&uri).await.status, 204);
    assert_error(&told.get(&format!("{uri}/versions")).await, 404, "NOT_FOUND");
    let foreign = told.api.post(&format!("{uri}/restore?orgId=649"), json!({"version": 1})).await;
    assert_error(&foreign, 404, "NOT_FOUND");
    told.api.clock.advance(std::time::Duration::from_secs(60));
    let other = json!({"orgId": "649", "name": "Another"});
    assert_eq!(told.api.post(ORGS, other).await.status, 201);
    assert_eq!(told.api.post(&format!("{INTEGRATIONS}?orgId=649"), bills()).await.status, 201);
    let list = told.get(&format!("{uri}/versions?orgId=649")).await.body;
    assert_eq!((&list["total"], &list["versions"][0]["version"]), (&json!(1), &json!(1)), "{list}");
    assert_eq!(told.get(&format!("{uri}/versions/1?orgId=649")).await.body["orgId"], "649");
    assert_eq!(told.api.delete(&uri).await.status, 204);
    // The last one that had the id.
    let back = told.restore(&uri, 1).await;
    assert_eq!((back.status.as_u16(), &back.body["orgId"], back.version()), (200, &json!("649"), 1), "{}", back.body);
}

#[tokio::test]
async fn a_page_of_large_resources_ends_before_it_fills_the_memory_and_none_is_left_out() {
    let told = Audited::start().await;
    for n in 0..30 {
        let state = json!({"text": "x".repeat(400_000)});
        let entry = json!({"at": "2025-11-21T08:00:00Z", "actor": "user:ada", "address": null, "requestId": null,
            "action": "UPDATE", "kind": "Later", "id": "x", "orgId": "648", "version": n + 1, "before": state, "after": state});
        told.keep(100 + n, Record { value: Some(entry.to_string().into()), ..Record::default() }).await;
    }
    let (mut pages, mut found, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let page = told.api.get(&format!("{AUDIT}?kind=Later&limit=500{cursor}")).await.body;
        let items = page["audit"].as_array().unwrap();
        assert!((1..=5).contains(&items.len()), "{}", items.len());
        found.extend(items.iter().map(|one| one["version"].as_u64().unwrap()));
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((pages, found), (6, (1..=30).rev().collect::<Vec<u64>>()));
}

/// The history of an organization with somebody and a key that works; both at version 1, which is the one that comes back.
async fn with_ada_and_a_key() -> (Audited, String) {
    let told = Audited::start().await;
    let ada = json!({"id": "ada", "email": "ada@x.example", "role": "USER", "orgId": "648", "password": PASSWORD});
    assert_eq!(told.api.post(USERS, ada).await.status, 201);
    let made = told.api.post(KEYS, json!({"id": "till", "orgId": "648", "name": "Till", "scopes": ["read"]})).await;
    (told, made.body["key"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_account_that_comes_back_has_neither_its_old_password_nor_its_old_tokens() {
    let (told, _) = with_ada_and_a_key().await;
    let (api, ada) = (&told.api, format!("{USERS}/ada"));
    let token = api.token("ada@x.example", PASSWORD).await;
    assert_eq!(api.delete(&ada).await.status, 204);
    api.clock.advance(std::time::Duration::from_secs(1));
    let back = told.restore(&ada, 1).await;
    assert_eq!((back.status.as_u16(), &back.body["email"]), (200, &json!("ada@x.example")), "{}", back.body);
    assert_error(&api.bearing(&token, "GET", INTEGRATIONS, "").await, 401, "UNAUTHORIZED");
    assert_eq!(api.log_in("ada@x.example", PASSWORD).await.status, 401, "the password went with the account");
    let set = json!({"password": "a password of now"}).to_string();
    assert_eq!(api.write("PATCH", &ada, &[], set).await.status, 200);
    let token = api.token("ada@x.example", "a password of now").await;
    // A version that comes back over the one that is there ends its sessions too, and keeps its password.
    assert_eq!(told.restore(&ada, 1).await.status, 200);
    assert_error(&api.bearing(&token, "GET", INTEGRATIONS, "").await, 401, "UNAUTHORIZED");
    api.token("ada@x.example", "a password of now").await;
    assert_eq!(api.post(&format!("{ada}/disable"), json!({})).await.status, 200);
    let back = told.restore(&ada, 1).await;
    assert_eq!((back.status.as_u16(), &back.body["isActive"]), (200, &json!(false)), "{}", back.body);
}

#[tokio::test]
async fn a_key_that_comes_back_is_another_one() {
    let (told, old) = with_ada_and_a_key().await;
    let (api, till) = (&told.api, format!("{KEYS}/till"));
    let with = |key: &str| {
        let key = key.to_owned();
        async move { api.call("GET", INTEGRATIONS, &[("x-api-key", &key)], "").await.status.as_u16() }
    };
    assert_eq!(with(&old).await, 200);
    assert_eq!(api.delete(&till).await.status, 204);
    api.clock.advance(std::time::Duration::from_secs(1));
    let back = told.restore(&till, 1).await;
    assert_eq!((back.status.as_u16(), &back.body["name"]), (200, &json!("Till")), "{}", back.body);
    let new = back.body["key"].as_str().unwrap_or_else(|| panic!("{}", back.body));
    assert!(new != old && new.starts_with(back.body["prefix"].as_str().unwrap()), "{}", back.body);
    assert_eq!((with(&old).await, with(new).await), (401, 200));
    // Over one that is there: it stays the same key, and is not told again.
    let again = told.restore(&till, 1).await;
    assert_eq!((again.status.as_u16(), again.body.get("key"), with(new).await), (200, None, 200));
    assert_eq!(api.post(&format!("{till}/disable"), json!({})).await.status, 200);
    assert_eq!((told.restore(&till, 1).await.status.as_u16(), with(new).await), (200, 401), "who is out stays out");
    assert_eq!(api.post(&format!("{till}/enable"), json!({})).await.status, 200);
    let end = json!({"expiresAt": "2025-11-21T08:16:00Z"}).to_string();
    assert_eq!(api.write("PATCH", &till, &[], end).await.status, 200);
    api.clock.advance(std::time::Duration::from_secs(3_600));
    assert_eq!((told.restore(&till, 1).await.status.as_u16(), with(new).await), (200, 401), "what is over stays over");
}

#[tokio::test]
async fn sealing_anew_tells_how_many() {
    let told = Audited::start().await;
    told.rule("Rule", "hunter2").await;
    let done = told.api.write("POST", "/api/v1/admin/secrets/reseal", &[], "").await;
    let expected = json!({"resealed": 0, "unchanged": 1, "failedTotal": 0, "failed": []});
    assert_eq!((done.status.as_u16(), &done.body), (200, &expected));
}

#[tokio::test]
async fn a_password_and_the_end_of_sessions_are_told_by_the_audit_and_never_shown() {
    let (told, _) = with_ada_and_a_key().await;
    let (api, ada) = (&told.api, format!("{USERS}/ada"));
    let token = api.token("ada@x.example", PASSWORD).await;
    api.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(api.bearing(&token, "POST", "/api/v1/auth/logout", "").await.status, 204);
    let set = json!({"password": "a password of now"}).to_string();
    assert_eq!(api.write("PATCH", &ada, &[], set).await.status, 200);
    let told = told.get(&format!("{AUDIT}?kind=User&id=ada&action=UPDATE")).await;
    let paths = |at: usize| -> Vec<&str> {
        let changes = told.body["audit"][at]["changes"].as_array().unwrap();
        changes.iter().map(|change| change["path"].as_str().unwrap()).collect()
    };
    assert_eq!(paths(1), ["sessions"], "{}", told.body);
    assert_eq!(paths(0), ["password", "sessions"], "{}", told.body);
    assert_eq!(told.body["audit"][0]["changes"][0]["to"], "*** (changed)");
    assert!(!told.text.contains("argon2") && !told.text.contains("tokensFrom"), "{}", told.text);
}
