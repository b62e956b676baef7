use super::*;

fn with(field: &str, value: Value) -> String {
    let mut body = bills();
    body["id"] = json!("other");
    body[field] = value;
    body.to_string()
}

#[tokio::test]
async fn a_bad_body_is_a_400_that_names_the_field_and_changes_nothing() {
    let api = Api::with_bills().await;
    let before = api.log.0.written().len();
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let two_mib = "x".repeat(2 * 1_024 * 1_024);
    let cases: Vec<(String, &str)> = vec![
        (String::new(), ""),
        ("not json".into(), ""),
        ("{".into(), ""),
        ("[]".into(), ""),
        ("null".into(), ""),
        ("\"text\"".into(), ""),
        (format!("{} x", bills()), ""),
        ("{\"name\":\u{0}}".into(), ""),
        (with("orgId", json!("nobody")), "orgId"),
        (with("orgId", json!(["648"])), "orgId"),
        (with("name", json!(5)), "name"),
        (with("name", json!("x".repeat(201))), "name"),
        (with("name", json!("null\u{0}byte")), "name"),
        (with("name", json!(two_mib)), "name"),
        (with("description", json!(two_mib)), "description"),
        (with("targetUrl", json!(two_mib)), "targetUrl"),
        (with("targetURL", json!("https://erp.example")), "targetURL"),
        (with(&two_mib, json!(1)), "xxx"),
        (with("isActive", json!("true")), "isActive"),
        (with("httpMethod", json!("FETCH")), "httpMethod"),
        (with("timeoutMs", json!(1e300)), "timeoutMs"),
        (with("headers", json!({"x": {"y": 1}})), "headers.x"),
        (with("filter", json!("payload.amount > 1")), "filter"),
        (with("enableSigning", json!(true)), "enableSigning"),
    ];
    for (body, path) in cases {
        let shown: String = body.chars().take(80).collect();
        let answer = api.write("POST", &format!("{INTEGRATIONS}?"), &[], in_648(body)).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        let paths = answer.paths();
        assert!(paths.len() == 1 && paths[0].starts_with(path) && paths[0].len() < 1_000, "{shown}: {}", answer.body);
        assert!(answer.body.to_string().len() < 4_000, "{shown}");
    }
    for body in [deep, deep_object] {
        let answer = api.write("POST", INTEGRATIONS, &[], body).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        assert!(answer.body.to_string().len() < 4_000);
    }
    assert_eq!(api.log.0.written().len(), before);
}

/// Puts the organization in where the case is not about it.
fn in_648(body: String) -> String {
    match serde_json::from_str::<Value>(&body) {
        Ok(Value::Object(mut map)) => {
            map.entry("orgId").or_insert(json!("648"));
            Value::Object(map).to_string()
        }
        _ => body,
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_says_where_it_breaks() {
    let api = Api::start().await;
    for (body, expected) in [
        ("{\"name\": }", "the body is not JSON: expected value at line 1, column 10"),
        ("{\"name\"", "the body is not JSON: it ends too early, at line 1, column 7"),
        (&"[".repeat(200), "the body is not JSON: it is nested too deep, at line 1, column 128"),
    ] {
        let answer = api.write("POST", ORGS, &[], body.to_owned()).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        assert_eq!(answer.body["error"], expected);
    }
}

#[tokio::test]
async fn an_integration_without_an_organization_is_told_so() {
    let api = Api::with_bills().await;
    let answer = api.post(INTEGRATIONS, json!({})).await;
    assert_error(&answer, 400, "VALIDATION_ERROR");
    let mut paths = answer.paths();
    paths.sort_unstable();
    assert_eq!(paths, ["eventType", "name", "orgId", "targetUrl"]);
    let mut other = bills();
    other["orgId"] = json!(649);
    let answer = api.post(&format!("{INTEGRATIONS}?orgId=648"), other).await;
    assert_eq!((answer.status.as_u16(), answer.paths()), (400, vec!["orgId"]), "{}", answer.body);
}

#[tokio::test]
async fn a_body_that_is_too_large_or_of_another_type_is_refused() {
    let api = Api::start().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(10 * 1_024 * 1_024));
    assert_error(&api.write("POST", ORGS, &[], large).await, 413, "PAYLOAD_TOO_LARGE");
    for given in [&[][..], &[("content-type", "text/plain")], &[("content-type", "multipart/form-data")]] {
        let headers: Vec<_> = [("x-api-key", KEY)].iter().chain(given).copied().collect();
        let answer = api.call("POST", ORGS, &headers, "{}").await;
        assert_error(&answer, 415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let headers = [("x-api-key", KEY), ("content-type", "application/json; charset=utf-8")];
    let answer = api.call("POST", ORGS, &headers, r#"{"orgId":"1","name":"One"}"#).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn no_route_ignores_a_parameter_that_it_does_not_have() {
    let api = Api::with_bills().await;
    let (org, bill) = (format!("{ORGS}/648"), format!("{INTEGRATIONS}/bills"));
    let mut uris = vec![("GET", ORGS.to_owned()), ("POST", ORGS.to_owned())];
    uris.extend([("GET", INTEGRATIONS.to_owned()), ("POST", INTEGRATIONS.to_owned())]);
    uris.extend(["GET", "PUT", "DELETE"].into_iter().flat_map(|m| [(m, org.clone()), (m, bill.clone())]));
    uris.extend([("POST", format!("{bill}/enable")), ("POST", format!("{bill}/disable"))]);
    for (method, uri) in uris {
        let answer = api.write(method, &format!("{uri}?dryRun=true"), &[], bills().to_string()).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        assert!(answer.paths().contains(&"dryRun"), "{method} {uri}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_told_and_never_ignored() {
    let api = Api::with_bills().await;
    let cases = [
        ("page=0", "page"),
        ("page=x", "page"),
        ("page=99999999999999999999", "page"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("isActive=maybe", "isActive"),
        ("orgId=a%20b", "orgId"),
        ("evenType=a", "evenType"),
        ("page=1&page=2", "page"),
    ];
    for (query, path) in cases {
        let answer = api.get(&format!("{INTEGRATIONS}?{query}")).await;
        assert_error(&answer, 400, "VALIDATION_ERROR");
        assert_eq!(answer.paths(), [path], "{query}");
    }
}

/// `redrive --all --integration "$UNSET"` must not put back everything.
#[tokio::test]
async fn a_filter_that_is_empty_never_means_everything() {
    let api = Api::with_bills().await;
    let filters = ["orgId=", "isActive=", "eventType=", "label=", "search=", "page="];
    for (list, filters) in [
        (INTEGRATIONS, &filters[..]),
        ("/api/v1/logs", &["integrationId=", "search=", "status=", "status=,", "orgId=", "startDate="]),
        ("/api/v1/dlq", &["integrationId=", "status=", "eventId="]),
        ("/api/v1/events", &["type=", "entityId=", "cursor="]),
    ] {
        for filter in filters {
            let answer = api.get(&format!("{list}?{filter}")).await;
            assert_error(&answer, 400, "VALIDATION_ERROR");
            assert_eq!(answer.paths(), [filter.split('=').next().unwrap()], "{list}?{filter}");
        }
    }
}
