//! What every collection has, whatever its kind.

use super::login::USERS;
use super::*;
use crate::api::resources::COLLECTIONS;
use crate::catalog::schema::example;

const UNITS: &str = "/api/v1/admin/org-units";
const RULES: &str = "/api/v1/admin/alerts";
const LOOKUPS: &str = "/api/v1/lookups";

async fn with_secrets() -> Api {
    let api = Api::with_bills().await;
    let rule = json!({"id": "rule", "orgId": "648", "name": "Rule", "condition": {"type": "DEAD_LETTERS"},
        "channels": [{"type": "SLACK", "secret": "https://hooks.example/hunter2"}]});
    let made = api.post(RULES, rule).await;
    assert_eq!(made.status, 201, "{}", made.body);
    api
}

#[tokio::test]
async fn every_kind_is_made_listed_read_replaced_and_deleted_by_the_same_routes() {
    let api = Api::start().await;
    for of in &COLLECTIONS {
        let made = api.post(of.path, example(of.kind)).await;
        assert_eq!(made.status, 201, "{}: {}", of.kind, made.body);
        let uri = made.header("location").to_owned();
        let mut made = made;
        // Told once.
        made.body.as_object_mut().unwrap().shift_remove("key");
        if let Some((told, _)) = of.kind.told() {
            made.body[told] = Value::Null;
        }
        assert_eq!(api.get(&uri).await.body, made.body, "{}", of.kind);
        let list = api.get(of.path).await.body;
        assert_eq!((&list[of.items][0], &list["total"]), (&made.body, &json!(1)), "{}", of.kind);
        let put = api.put(&uri, made.body.clone()).await;
        assert_eq!((put.status.as_u16(), put.version()), (200, 2), "{}: {}", of.kind, put.body);
    }
    for of in COLLECTIONS.iter().rev() {
        let list = api.get(of.path).await.body;
        let id = list[of.items][0][of.kind.id_field()].as_str().unwrap().to_owned();
        let gone = api.delete(&format!("{}/{id}", of.path)).await;
        assert_eq!(gone.status, 204, "{}: {}", of.kind, gone.body);
        assert_eq!(api.get(of.path).await.body["total"], 0, "{}", of.kind);
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_brings_the_default_back() {
    let api = Api::with_bills().await;
    let uri = format!("{INTEGRATIONS}/bills");
    let patch = |body: Value| {
        let (api, uri) = (&api, &uri);
        async move { api.write("PATCH", uri, &[("content-type", "application/merge-patch+json")], body.to_string()).await }
    };
    let changed = patch(json!({"timeoutMs": 500, "labels": {"team": "erp"}})).await;
    assert_eq!((changed.status.as_u16(), changed.version()), (200, 2), "{}", changed.body);
    assert_eq!((&changed.body["timeoutMs"], &changed.body["name"]), (&json!(500), &json!("Bills")));
    let back = patch(json!({"timeoutMs": null, "labels": {"tier": "1"}})).await;
    assert_eq!((&back.body["timeoutMs"], &back.body["labels"]), (&json!(30_000), &json!({"team": "erp", "tier": "1"})));
    for (wrong, path) in [
        (json!({"timeoutMs": 5}), "timeoutMs"),
        (json!({"name": null}), "name"),
        (json!({"id": "other"}), "id"),
        (json!({"orgId": "649"}), "orgId"),
        (json!([]), ""),
    ] {
        let answer = patch(wrong.clone()).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        assert_eq!(answer.paths()[0], path, "{wrong}: {}", answer.body);
    }
    assert_eq!(api.get(&uri).await.version(), 3);
}

#[tokio::test]
async fn a_copy_delivers_nothing_before_somebody_enables_it() {
    let api = Api::with_bills().await;
    let copy = api.call("POST", &format!("{INTEGRATIONS}/bills/duplicate"), &[("x-api-key", KEY)], "").await;
    assert_eq!(copy.status, 201, "{}", copy.body);
    assert_eq!((&copy.body["name"], &copy.body["isActive"]), (&json!("Bills (copy)"), &json!(false)));
    assert_eq!((&copy.body["version"], &copy.body["targetUrl"]), (&json!(1), &json!("https://erp.example/bills")));
    let named = api.post(&format!("{INTEGRATIONS}/bills/duplicate"), json!({"id": "bills-2", "name": "Second"})).await;
    assert_eq!((&named.body["id"], &named.body["name"]), (&json!("bills-2"), &json!("Second")));
    let taken = api.post(&format!("{INTEGRATIONS}/bills/duplicate"), json!({"id": "bills"})).await;
    assert_error(&taken, 409, "CONFLICT");
}

#[tokio::test]
async fn of_many_changes_at_once_all_are_made_or_none() {
    let api = Api::with_bills().await;
    for id in ["a", "b"] {
        let mut one = bills();
        one["id"] = json!(id);
        assert_eq!(api.post(&format!("{INTEGRATIONS}?orgId=648"), one).await.status, 201);
    }
    let bulk = |body: Value| {
        let api = &api;
        async move { api.post(&format!("{INTEGRATIONS}/bulk"), body).await }
    };
    let off = bulk(json!({"action": "DISABLE", "ids": ["a", "b"]})).await;
    assert_eq!((off.status.as_u16(), off.body), (200, json!({"changed": 2, "unchanged": 0})));
    let again = bulk(json!({"action": "DISABLE", "ids": ["a", "b", "bills"]})).await;
    assert_eq!(again.body, json!({"changed": 1, "unchanged": 2}));
    let unknown = bulk(json!({"action": "DELETE", "ids": ["a", "nobody"]})).await;
    assert_error(&unknown, 400, "VALIDATION_ERROR");
    assert_eq!(unknown.paths(), ["ids[1]"]);
    assert_eq!(api.get(INTEGRATIONS).await.body["total"], 3);
    let used = api.post(&format!("{ORGS}/bulk"), json!({"action": "DELETE", "ids": ["648"]})).await;
    assert_error(&used, 409, "CONFLICT");
    assert_eq!(used.paths()[0], "ids[0]");
    assert_eq!(bulk(json!({"action": "DELETE", "ids": ["a", "b", "bills"]})).await.status, 200);
    for wrong in [json!({}), json!({"action": "BURN", "ids": []}), json!({"action": "DELETE", "ids": "a"})] {
        assert_error(&bulk(wrong).await, 400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn a_secret_is_answered_by_no_route() {
    let api = with_secrets().await;
    let uri = format!("{RULES}/rule");
    let shown = api.get(&uri).await;
    assert_eq!(shown.body["channels"][0]["secret"], "***");
    let back = api.put(&uri, shown.body.clone()).await;
    assert_eq!(back.status, 200, "{}", back.body);
    let patched = api.write("PATCH", &uri, &[], r#"{"name": "Other"}"#).await;
    let copied = api.call("POST", &format!("{uri}/duplicate"), &[("x-api-key", KEY)], "").await;
    assert_eq!((patched.status.as_u16(), copied.status.as_u16()), (200, 201), "{} {}", patched.body, copied.body);
    let off = api.call("POST", &format!("{uri}/disable"), &[("x-api-key", KEY)], "").await;
    for answer in [&shown, &back, &patched, &copied, &off, &api.get(RULES).await] {
        assert!(!answer.text.contains("hunter2") && !answer.text.contains("sealed:"), "{}", answer.text);
        assert!(answer.text.contains("***"), "{}", answer.text);
    }
    let records = [api.log.0.written(), api.log.0.audited()].concat();
    let text = records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned());
    assert!(text.collect::<String>().matches("sealed:").count() >= 5);
}

#[tokio::test]
async fn who_changed_what_is_written_beside_each_change() {
    let api = Api::with_bills().await;
    let headers = [("x-api-key", KEY), ("x-request-id", "r-1")];
    api.call("POST", &format!("{INTEGRATIONS}/bills/disable"), &headers, "").await;
    let audited = api.log.0.audited();
    let entries: Vec<Value> =
        audited.iter().map(|r| serde_json::from_slice(r.value.as_deref().unwrap()).unwrap()).collect();
    let told: Vec<_> = entries.iter().map(|e| (e["action"].as_str().unwrap(), e["kind"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [("CREATE", "Organization"), ("CREATE", "OutboundIntegration"), ("DISABLE", "OutboundIntegration")]
    );
    let last = &entries[2];
    assert_eq!((&last["actor"], &last["requestId"], &last["version"]), (&json!("admin-key"), &json!("r-1"), &json!(2)));
    assert_eq!((&last["before"]["isActive"], &last["after"]["isActive"]), (&json!(true), &json!(false)));
    assert_eq!(audited[2].key.as_deref(), Some(b"admin-key".as_slice()));
}

#[tokio::test]
async fn units_form_a_tree_and_never_a_circle() {
    let api = Api::with_bills().await;
    let unit = |rid: &str, parent: Option<&str>| json!({"rid": rid, "orgId": "648", "name": rid, "parentRid": parent});
    assert_eq!(api.post(UNITS, unit("ward", None)).await.status, 201);
    assert_eq!(api.post(UNITS, unit("room", Some("ward"))).await.status, 201);
    for (rid, parent) in [("ward", "room"), ("ward", "ward"), ("ward", "nowhere")] {
        let answer = api.put(&format!("{UNITS}/{rid}"), unit(rid, Some(parent))).await;
        assert_eq!((answer.status.as_u16(), answer.paths()), (400, vec!["parentRid"]), "{rid} below {parent}");
    }
    let used = api.delete(&format!("{UNITS}/ward")).await;
    assert_eq!((used.status.as_u16(), used.paths()), (409, vec!["OrgUnit/room"]));
    api.post(ORGS, json!({"orgId": "649", "name": "Other"})).await;
    let mut theirs = bills();
    theirs["id"] = json!("theirs");
    theirs["orgUnitRid"] = json!("ward");
    let answer = api.post(&format!("{INTEGRATIONS}?orgId=649"), theirs).await;
    assert_eq!(
        (answer.status.as_u16(), answer.paths()),
        (400, vec!["orgUnitRid"]),
        "a unit of another organization is none"
    );
}

#[tokio::test]
async fn what_only_one_may_have_is_refused_to_a_second() {
    let api = Api::with_bills().await;
    let row = |id: &str, unit: Option<&str>| json!({"id": id, "orgId": "648", "orgUnitRid": unit, "type": "department", "source": {"id": 7}, "target": {"id": "C"}});
    assert_eq!(api.post(LOOKUPS, row("one", None)).await.status, 201);
    let second = api.post(LOOKUPS, row("two", None)).await;
    assert_eq!((second.status.as_u16(), second.paths()), (409, vec!["source.id"]), "{}", second.body);
    api.post(UNITS, json!({"rid": "ward", "orgId": "648", "name": "Ward"})).await;
    assert_eq!(api.post(LOOKUPS, row("two", Some("ward"))).await.status, 201, "a unit's own row goes before");
    assert_eq!(
        api.put(&format!("{LOOKUPS}/one"), row("one", None)).await.status,
        200,
        "its own does not stand in its way"
    );
    api.delete(&format!("{LOOKUPS}/one")).await;
    assert_eq!(api.post(LOOKUPS, row("three", None)).await.status, 201);
}

#[tokio::test]
async fn a_copy_never_comes_to_belong_to_an_organization_that_its_maker_may_not_see() {
    let api = Api::with_bills().await;
    api.post(ORGS, json!({"orgId": "649", "name": "Other"})).await;
    let made = api.post("/api/v1/admin/api-keys", json!({"orgId": "648", "name": "Writes", "scopes": ["write"]})).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    let before = api.log.0.written().len();
    for name in ["orgId", "tenantId"] {
        let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
        let body = json!({name: "649", "id": "theirs"}).to_string();
        let answer = api.call("POST", &format!("{INTEGRATIONS}/bills/duplicate"), &headers, body).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        assert!(answer.paths().contains(&name), "{name}: {}", answer.body);
    }
    assert_eq!(api.log.0.written().len(), before);
    let named = api.post(&format!("{INTEGRATIONS}/bills/duplicate"), json!({"orgId": "649", "id": "theirs"})).await;
    assert_eq!((named.status.as_u16(), &named.body["orgId"]), (201, &json!("649")), "an administrator may");
}

#[tokio::test]
async fn a_copy_of_what_has_the_longest_name_is_made_all_the_same() {
    let api = Api::with_bills().await;
    let mut long = bills();
    long["id"] = json!("long");
    long["name"] = json!("x".repeat(200));
    assert_eq!(api.post(&format!("{INTEGRATIONS}?orgId=648"), long).await.status, 201);
    let copy = api.call("POST", &format!("{INTEGRATIONS}/long/duplicate"), &[("x-api-key", KEY)], "").await;
    assert_eq!(copy.status, 201, "{}", copy.body);
    assert!(copy.body["name"].as_str().unwrap().ends_with("xx (copy)"));
}

#[tokio::test]
async fn what_is_named_twice_is_told() {
    let api = Api::with_bills().await;
    let body = json!({"action": "DELETE", "ids": ["bills", "bills"]});
    let twice = api.post(&format!("{INTEGRATIONS}/bulk"), body).await;
    assert_error(&twice, 400, "VALIDATION_ERROR");
    assert_eq!(twice.paths(), ["ids[1]"]);
    assert_eq!(api.get(&format!("{INTEGRATIONS}/bills")).await.status, 200);
}

#[tokio::test]
async fn null_in_a_copy_is_what_it_would_be_without() {
    let api = Api::with_bills().await;
    let body = json!({"id": null, "orgId": null, "labels": null});
    let copy = api.post(&format!("{INTEGRATIONS}/bills/duplicate"), body).await;
    assert_eq!((copy.status.as_u16(), &copy.body["orgId"]), (201, &json!("648")), "{}", copy.body);
    assert_ne!(copy.body["id"], "bills");
}

#[tokio::test]
async fn a_whole_number_is_one_however_it_is_written() {
    let api = Api::with_bills().await;
    let uri = format!("{INTEGRATIONS}/bills");
    let patched = api.write("PATCH", &uri, &[], r#"{"timeoutMs": 5e2, "maxInFlight": 3.0}"#).await;
    assert_eq!(
        (&patched.body["timeoutMs"], &patched.body["maxInFlight"]),
        (&json!(500), &json!(3)),
        "{}",
        patched.body
    );
    let made = api.write("POST", ORGS, &[], r#"{"orgId": 649.0, "name": "Other"}"#).await;
    assert_eq!(made.body["orgId"], "649", "{}", made.body);
    for wrong in ["500.5", "1e300", "-1"] {
        let answer = api.write("PATCH", &uri, &[], format!(r#"{{"timeoutMs": {wrong}}}"#)).await;
        assert_eq!(answer.paths(), ["timeoutMs"], "{wrong}");
    }
}

#[tokio::test]
async fn what_a_list_is_asked_for_is_found_by_whatever_it_is_known_by() {
    let api = Api::with_ada().await;
    let unit = json!({"rid": "heart", "orgId": "648", "name": "Heart centre", "code": "HC"});
    let made = [
        (UNITS, unit),
        (
            LOOKUPS,
            json!({"id": "dep-7", "orgId": "648", "type": "department", "orgUnitRid": "heart",
                "source": {"id": "7", "label": "Cardiology"}, "target": {"id": "CARD"}, "labels": {"team:x": "erp"}}),
        ),
    ];
    for (path, body) in made {
        let answer = api.post(path, body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    let named = api.write("PATCH", &format!("{USERS}/ada"), &[], r#"{"name": "Ada Example"}"#).await;
    assert_eq!(named.status, 200, "{}", named.body);
    let cases = [
        (
            "/api/v1/admin/users",
            vec!["name=example", "search=EXAMPLE", "search=ada", "email=ada@CLINIC.example", "role=USER"],
        ),
        (ORGS, vec!["name=city", "search=648"]),
        (UNITS, vec!["search=hc", "search=heart"]),
        (
            LOOKUPS,
            vec![
                "search=cardio",
                "name=card",
                "search=dep-7",
                "orgUnitRid=heart",
                "label=team:x",
                "label=team:x:erp",
                "label=team:x=erp",
            ],
        ),
        (INTEGRATIONS, vec!["search=bills", "eventType=bill.created"]),
    ];
    for (path, questions) in cases {
        for question in questions {
            let found = api.get(&format!("{path}?{question}")).await;
            assert_eq!(found.body["total"], 1, "{path}?{question}: {}", found.body);
        }
    }
    let none =
        ["/api/v1/lookups?name=dep-7", "/api/v1/lookups?label=team", "/api/v1/outbound-integrations?orgUnitRid=heart"];
    for uri in none {
        assert_eq!(api.get(uri).await.body["total"], 0, "{uri}");
    }
    let wrong = api.get("/api/v1/admin/users?role=viewer").await;
    assert_error(&wrong, 400, "VALIDATION_ERROR");
    assert_eq!(wrong.paths(), ["role"]);
}

#[tokio::test]
async fn what_only_one_may_have_and_another_has_is_a_conflict() {
    let api = Api::with_ada().await;
    let second = json!({"id": "eve", "email": "ADA@clinic.example", "role": "VIEWER", "orgId": "648"});
    let taken = api.post(USERS, second).await;
    assert_error(&taken, 409, "CONFLICT");
    assert_eq!(taken.paths(), ["email"]);
    // With anything else that is wrong it is a request that is not valid.
    let wrong = json!({"id": "eve", "email": "ada@clinic.example", "role": "VIEWER", "orgId": "nobody"});
    assert_error(&api.post(USERS, wrong).await, 400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn a_credential_is_not_kept_in_clear_in_a_template() {
    let api = Api::with_bills().await;
    let template = |integration: Value| json!({"id": "erp", "orgId": "648", "name": "ERP", "integration": integration});
    let wrong =
        template(json!({"eventType": "*", "outgoingAuthType": "BEARER", "outgoingAuthConfig": {"token": "sekrit"}}));
    let refused = api.post("/api/v1/templates", wrong).await;
    assert_error(&refused, 400, "VALIDATION_ERROR");
    assert_eq!(refused.paths(), ["integration.outgoingAuthType", "integration.outgoingAuthConfig"]);
    assert!(!refused.text.contains("sekrit"), "{}", refused.text);
    let neutral = template(json!({"eventType": "*", "outgoingAuthType": "NONE", "outgoingAuthConfig": {}}));
    assert_eq!(api.post("/api/v1/templates", neutral).await.status, 201);
}

#[tokio::test]
async fn what_is_of_an_event_type_is_found_by_it_and_only_in_its_organization() {
    let api = Api::with_bills().await;
    let (path, one) = ("/api/v1/field-schemas", "/api/v1/field-schemas/bill.created");
    let made = api.post(path, json!({"orgId": "648", "eventType": "bill.created"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(api.get(&format!("{one}?orgId=648")).await.body["id"], made.body["id"]);
    assert_eq!(api.delete(&format!("{one}?orgId=649")).await.status, 404);
    assert_eq!(api.get(one).await.status, 404, "whose is not said");
    assert_eq!(api.delete(&format!("{one}?orgId=648")).await.status, 204);
}
