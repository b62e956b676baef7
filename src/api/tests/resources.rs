use super::*;

#[tokio::test]
async fn an_organization_is_made_changed_and_deleted() {
    let api = Api::start().await;
    let made = api.post(ORGS, json!({"orgId": 648, "name": "City Clinic", "tags": ["north"]})).await;
    assert_eq!(made.status, 201);
    assert_eq!((made.header("location"), made.version()), ("/api/v1/admin/organizations/648", 1));
    assert_eq!((&made.body["orgId"], &made.body["version"]), (&json!("648"), &json!(1)));
    assert_eq!(made.body["createdAt"], "2025-11-21T08:15:30.250Z");
    assert_eq!(api.get(&format!("{ORGS}/648")).await.body, made.body);

    let again = api.post(ORGS, json!({"orgId": "648", "name": "Other"})).await;
    assert_error(&again, 409, "CONFLICT");

    // What a client got it may send back, with its change.
    let mut body = made.body.clone();
    body["name"] = json!("Town Clinic");
    let put = api.put(&format!("{ORGS}/648"), body).await;
    assert_eq!((put.status.as_u16(), put.version(), &put.body["name"]), (200, 2, &json!("Town Clinic")));
    let put = api.put(&format!("{ORGS}/649"), json!({"name": "No"})).await;
    assert_error(&put, 404, "NOT_FOUND");
    let put = api.put(&format!("{ORGS}/648"), json!({"orgId": "649", "name": "No"})).await;
    assert_eq!((put.status.as_u16(), put.paths()), (400, vec!["orgId"]));

    assert_eq!(api.delete(&format!("{ORGS}/648")).await.status, 204);
    assert_error(&api.get(&format!("{ORGS}/648")).await, 404, "NOT_FOUND");
    assert_error(&api.delete(&format!("{ORGS}/648")).await, 404, "NOT_FOUND");
}

#[tokio::test]
async fn an_integration_is_answered_as_it_was_sent_with_its_defaults() {
    let api = Api::with_bills().await;
    let mut sent = json!({
        "name": "Bills", "eventType": ["bill.created", "bill.*"], "scope": "INCLUDE_CHILDREN", "isActive": true,
        "targetUrl": "https://erp.example/bills", "httpMethod": "PUT", "timeoutMs": 5000, "headers": {"x-a": "b"},
        "transformationMode": "NONE", "outgoingAuthType": "NONE", "enableSigning": false, "ordering": "NONE",
        "retry": {"maxAttempts": 4, "baseMs": 1000, "factor": 2, "capMs": 5000, "jitter": 0.1},
        "maxInFlight": 8, "labels": {"team": "erp"}, "description": "to the ERP",
    });
    let made = api.post(&format!("{INTEGRATIONS}?orgId=648"), sent.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&made.body[field], value, "{field}");
    }
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("{INTEGRATIONS}/{id}"));
    assert_eq!((&made.body["orgId"], &made.body["version"]), (&json!("648"), &json!(1)));
    assert_eq!(made.body["createdAt"], made.body["updatedAt"]);

    sent["name"] = json!("Bills 2");
    let put = api.put(&format!("{INTEGRATIONS}/{id}"), sent).await;
    assert_eq!((put.status.as_u16(), &put.body["name"], put.version()), (200, &json!("Bills 2"), 2));
    assert_eq!(put.body["orgId"], "648", "a body need not repeat the organization");
    assert_eq!(api.delete(&format!("{INTEGRATIONS}/{id}")).await.status, 204);
    assert_error(&api.get(&format!("{INTEGRATIONS}/{id}")).await, 404, "NOT_FOUND");
}

#[tokio::test]
async fn enabling_and_disabling_changes_that_and_nothing_else() {
    let api = Api::with_bills().await;
    let bills = format!("{INTEGRATIONS}/bills");
    let off = api.call("POST", &format!("{bills}/disable"), &[("x-api-key", KEY)], "").await;
    assert_eq!((off.status.as_u16(), &off.body["isActive"], off.version()), (200, &json!(false), 2));
    let again = api.call("POST", &format!("{bills}/disable"), &[("x-api-key", KEY)], "").await;
    assert_eq!(again.version(), 2);
    let on = api.call("POST", &format!("{bills}/enable"), &[("x-api-key", KEY)], "").await;
    assert_eq!((&on.body["isActive"], &on.body["name"]), (&json!(true), &json!("Bills")));
}

#[tokio::test]
async fn a_change_over_a_version_that_has_moved_on_is_a_conflict() {
    let api = Api::with_bills().await;
    let uri = format!("{INTEGRATIONS}/bills");
    let (api, uri) = (&api, &uri);
    let put = |tag| async move { api.write("PUT", uri, &[("if-match", tag)], bills().to_string()).await };
    assert_eq!(put("\"1\"").await.status, 200);
    assert_error(&put("\"1\"").await, 409, "CONFLICT");
    assert_error(&put("\"nonsense\"").await, 409, "CONFLICT");
    assert_eq!(put("*").await.status, 200);
    for (method, uri) in [("DELETE", uri.clone()), ("POST", format!("{uri}/disable"))] {
        let answer = api.write(method, &uri, &[("if-match", "\"1\"")], "").await;
        assert_error(&answer, 409, "CONFLICT");
    }
    assert_eq!(api.get(uri).await.version(), 3);
}

#[tokio::test]
async fn an_etag_of_what_was_deleted_is_none_of_what_has_its_id_since() {
    let api = Api::with_bills().await;
    let uri = format!("{INTEGRATIONS}/bills");
    let before = api.get(&uri).await.header("etag").to_owned();
    assert_eq!(api.delete(&uri).await.status, 204);
    api.clock.advance(std::time::Duration::from_millis(1));
    let again = api.post(&format!("{INTEGRATIONS}?orgId=648"), bills()).await;
    assert_eq!((again.status.as_u16(), again.version()), (201, 1), "{}", again.body);
    let late = api.write("PUT", &uri, &[("if-match", &before)], bills().to_string()).await;
    assert_error(&late, 409, "CONFLICT");
    let known = api.write("PUT", &uri, &[("if-match", again.header("etag"))], bills().to_string()).await;
    assert_eq!(known.status, 200, "{}", known.body);
}

#[tokio::test]
async fn what_is_referenced_cannot_be_deleted_and_says_by_whom() {
    let api = Api::with_bills().await;
    let answer = api.delete(&format!("{ORGS}/648")).await;
    assert_error(&answer, 409, "CONFLICT");
    assert_eq!(answer.paths(), ["OutboundIntegration/bills"]);
    assert_eq!(api.delete(&format!("{INTEGRATIONS}/bills")).await.status, 204);
    assert_eq!(api.delete(&format!("{ORGS}/648")).await.status, 204);
}

#[tokio::test]
async fn another_organizations_integration_is_not_there() {
    let api = Api::with_bills().await;
    for (method, uri) in [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/disable")] {
        let answer = api.write(method, &format!("{INTEGRATIONS}/bills{uri}?orgId=649"), &[], bills().to_string()).await;
        assert_error(&answer, 404, "NOT_FOUND");
    }
    assert_eq!(api.get(&format!("{INTEGRATIONS}/bills?orgId=648")).await.status, 200);
}

#[tokio::test]
async fn an_integration_cannot_move_to_another_organization() {
    let api = Api::with_bills().await;
    api.post(ORGS, json!({"orgId": "649", "name": "Other"})).await;
    let mut body = bills();
    body["orgId"] = json!("649");
    let answer = api.put(&format!("{INTEGRATIONS}/bills"), body).await;
    assert_eq!((answer.status.as_u16(), answer.paths()), (400, vec!["orgId"]), "{}", answer.body);
}

#[tokio::test]
async fn a_list_has_every_item_on_one_page_only() {
    let api = Api::with_bills().await;
    for i in 0..5 {
        let mut one = bills();
        one["id"] = json!(format!("i{i}"));
        one["name"] = json!(format!("Number {i}"));
        one["isActive"] = json!(i % 2 == 0);
        one["eventType"] = json!([if i < 2 { "a.b" } else { "*" }]);
        one["labels"] = json!({"team": if i == 3 { "erp" } else { "crm" }});
        assert_eq!(api.post(&format!("{INTEGRATIONS}?orgId=648"), one).await.status, 201);
    }
    let list = |query: &'static str| {
        let api = &api;
        async move {
            let answer = api.get(&format!("{INTEGRATIONS}?{query}")).await;
            assert_eq!(answer.status, 200, "{query}: {}", answer.body);
            let items = answer.body["integrations"].as_array().unwrap();
            let ids: Vec<_> = items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
            (ids.join(","), answer.body["total"].as_u64().unwrap(), answer.body["hasMore"].as_bool().unwrap())
        }
    };
    let cases = [
        ("", "bills,i0,i1,i2,i3,i4", 6, false),
        ("limit=4", "bills,i0,i1,i2", 6, true),
        ("limit=4&page=2", "i3,i4", 6, false),
        ("limit=4&page=3", "", 6, false),
        ("limit=3&page=2", "i2,i3,i4", 6, false),
        ("page=1000000&limit=500", "", 6, false),
        ("orgId=649", "", 0, false),
        ("orgId=648&isActive=false", "i1,i3", 2, false),
        ("eventType=a.b", "i0,i1", 2, false),
        ("eventType=*", "i2,i3,i4", 3, false),
        ("name=number", "i0,i1,i2,i3,i4", 5, false),
        ("search=NUMBER%203", "i3", 1, false),
        ("label=team:erp", "i3", 1, false),
        ("label=team%3Dcrm&isActive=true", "i0,i2,i4", 3, false),
        ("label=team", "i0,i1,i2,i3,i4", 5, false),
        ("label=team:erp&label=team:crm", "", 0, false),
    ];
    for (query, ids, total, more) in cases {
        assert_eq!(list(query).await, (ids.to_owned(), total, more), "{query}");
    }
    let orgs = api.get(&format!("{ORGS}?search=city")).await.body;
    assert_eq!((&orgs["organizations"][0]["orgId"], &orgs["total"]), (&json!("648"), &json!(1)));
    assert_eq!((&orgs["page"], &orgs["limit"]), (&json!(1), &json!(50)));
}

#[tokio::test]
async fn an_item_of_a_list_is_written_as_it_is_alone() {
    let api = Api::with_bills().await;
    for (list, id) in [(INTEGRATIONS, "bills"), (ORGS, "648")] {
        let one = api.get(&format!("{list}/{id}")).await.text;
        let all = api.get(list).await.text;
        assert!(all.contains(&one), "{all}");
        assert!(all.ends_with(r#"],"total":1,"page":1,"limit":50,"hasMore":false}"#), "{all}");
    }
}

#[tokio::test]
async fn without_the_log_reads_go_on_and_changes_are_put_off() {
    let api = Api::with_bills().await;
    api.log.0.go_away(true);
    assert_eq!(api.get(&format!("{INTEGRATIONS}/bills")).await.status, 200);
    assert_eq!(api.get(INTEGRATIONS).await.body["total"], 1);
    let answer = api.put(&format!("{INTEGRATIONS}/bills"), bills()).await;
    assert_error(&answer, 503, "SERVICE_UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn an_empty_answer_is_never_given_before_the_catalog_was_read() {
    let api = Api::with_key(Some(KEY));
    api.log.0.go_away(true);
    for uri in [ORGS, INTEGRATIONS, "/api/v1/outbound-integrations/bills"] {
        assert_error(&api.get(uri).await, 503, "SERVICE_UNAVAILABLE");
    }
}

#[tokio::test]
async fn an_integration_that_says_nothing_of_retries_has_those_of_the_topology() {
    let api = Api::with_bills().await;
    let uri = format!("{INTEGRATIONS}/bills");
    assert_eq!(api.get(&uri).await.body["retry"]["maxAttempts"], 3);
    let mut own = bills();
    own["retry"] = json!({"maxAttempts": 9, "delays": ["1s"]});
    assert_eq!(api.put(&uri, own).await.body["retry"]["maxAttempts"], 9);
    assert_eq!(api.put(&uri, bills()).await.body["retry"]["maxAttempts"], 3);
    let patch = |retry: Value| api.write("PATCH", &uri, &[], json!({"retry": retry}).to_string());
    assert_eq!(patch(json!({"maxAttempts": 8})).await.body["retry"]["maxAttempts"], 8);
    let renamed = api.write("PATCH", &uri, &[], r#"{"name": "Other"}"#).await;
    assert_eq!(renamed.body["retry"]["maxAttempts"], 8);
    let copies = format!("{uri}/duplicate");
    let copy = |body: Value| api.post(&copies, body);
    assert_eq!(copy(json!({"retry": null})).await.body["retry"]["maxAttempts"], 3);
    assert_eq!(copy(json!({})).await.body["retry"]["maxAttempts"], 8);
    let topology = patch(Value::Null).await.body["retry"].clone();
    assert_eq!(topology["maxAttempts"], 3);
    for other in [json!({"baseMs": 5, "factor": 2, "capMs": 10}), json!({"delays": ["7s"]})] {
        let mut own = bills();
        own["retry"] = other;
        assert_eq!(api.put(&uri, own).await.status, 200);
        let back = patch(Value::Null).await;
        assert_eq!((back.status.as_u16(), &back.body["retry"]), (200, &topology), "{}", back.body);
    }
}

#[tokio::test]
async fn a_copy_whose_body_is_left_out_is_made_whatever_the_content_type_says() {
    let api = Api::with_bills().await;
    let copy = api.write("POST", &format!("{INTEGRATIONS}/bills/duplicate"), &[], "").await;
    assert_eq!((copy.status.as_u16(), &copy.body["name"]), (201, &json!("Bills (copy)")), "{}", copy.body);
}

/// The gateway gives up what waits a day before the log would delete it: 168 hours were shown, and 144 held.
#[tokio::test]
async fn an_integration_shows_the_time_to_live_that_holds() {
    let api = Api::with_bills().await;
    let uri = format!("{INTEGRATIONS}/bills");
    assert_eq!(api.get(&uri).await.body["deliveryTtlHours"], 144);
    assert_eq!(api.get(INTEGRATIONS).await.body["integrations"][0]["deliveryTtlHours"], 144);
    for (asked, shown) in [(168, 144), (145, 144), (144, 144), (2, 2)] {
        let mut body = bills();
        body["deliveryTtlHours"] = json!(asked);
        assert_eq!(api.put(&uri, body).await.body["deliveryTtlHours"], shown, "{asked}");
    }
}
