//! The JSON forms: what is taken, what is refused, and what is said about it.

use serde_json::{Value, json};

use crate::catalog::kind::Kind;
use crate::catalog::resource::{Resource, Revision};
use crate::catalog::samples;
use crate::model::problem::Problem;

fn bills() -> Kind {
    Kind::OutboundIntegration
}

fn minimal() -> Value {
    json!({"id": "bills", "orgId": 648, "name": "Bills", "eventType": "bill.created", "targetUrl": "https://erp.example/x"})
}

fn problems(kind: Kind, json: Value) -> Vec<(String, String)> {
    match kind.read(json) {
        Ok(read) => panic!("{read:?}"),
        Err(problems) => problems.into_iter().map(told).collect(),
    }
}

/// A message reads on after its path: "`retry.jitter` must be ...".
fn told(problem: Problem) -> (String, String) {
    let verb = problem.message.split(' ').next().unwrap_or_default();
    assert!(["must", "is", "has", "asks", "cannot", "names"].contains(&verb), "{problem:?}");
    (problem.path, problem.message)
}

fn with(field: &str, value: Value) -> Value {
    let mut json = minimal();
    json[field] = value;
    json
}

#[test]
fn what_is_written_is_read_again_as_it_was() {
    let mut full = samples::integration("648", "bills");
    full.labels.insert("team".into(), "erp".into());
    full.org_unit = Some(crate::model::ids::Rid::parse("84").unwrap());
    full.headers = vec![("x-a".parse().unwrap(), "b c".parse().unwrap())];
    full.when_disabled = crate::model::integration::WhenDisabled::Wait;
    let mut org = samples::organization("648");
    org.contact.timezone = Some("Asia/Kolkata".into());
    org.contact.tags = vec!["north".into()];
    let revision = Revision { version: 7, ..Revision::default() };
    for resource in [Resource::from(full), Resource::from(org)].map(|resource| resource.revised(revision)) {
        let read = resource.kind().read(serde_json::from_slice(&resource.to_bytes()).unwrap());
        assert_eq!(read, Ok(resource));
    }
}

#[test]
fn defaults_are_filled_in_and_told() {
    let read = serde_json::to_value(bills().read(minimal()).unwrap()).unwrap();
    for (field, expected) in [
        ("orgId", json!("648")),
        ("eventType", json!(["bill.created"])),
        ("scope", json!("INCLUDE_CHILDREN")),
        ("isActive", json!(true)),
        ("httpMethod", json!("POST")),
        ("timeoutMs", json!(30_000)),
        ("headers", json!({})),
        ("maxInFlight", json!(64)),
        ("whenDisabled", json!("SKIP")),
        ("transformationMode", json!("NONE")),
        ("deliveryTtlHours", json!(168)),
        ("retry", json!({"maxAttempts": 7, "delays": ["1s", "5s", "30s", "5m", "30m", "2h"], "jitter": 0.2})),
    ] {
        assert_eq!(read[field], expected, "{field}");
    }
}

#[test]
fn names_of_the_seed_are_understood() {
    let mut json = with("scope", json!("ALL_ENTITIES"));
    let org = json.as_object_mut().unwrap().remove("orgId").unwrap();
    json["tenantId"] = org;
    json["schedulingMode"] = json!("IMMEDIATE");
    let read = serde_json::to_value(bills().read(json).unwrap()).unwrap();
    assert_eq!((&read["orgId"], &read["scope"]), (&json!("648"), &json!("INCLUDE_CHILDREN")));
    let both = with("tenantId", json!("648"));
    assert_eq!(problems(bills(), both)[0].0, "tenantId");
}

#[test]
fn a_wrong_field_is_told_by_its_path() {
    let long = "x".repeat(201);
    let cases = [
        ("name", json!(""), "name"),
        ("name", json!("  "), "name"),
        ("name", json!(long), "name"),
        ("name", json!("a\u{0}b"), "name"),
        ("name", json!(5), "name"),
        ("name", json!(null), "name"),
        ("id", json!("a/b"), "id"),
        ("eventType", json!([]), "eventType"),
        ("eventType", json!(["ok", "app*"]), "eventType[1]"),
        ("eventType", json!([1]), "eventType[0]"),
        ("targetUrl", json!("erp.example"), "targetUrl"),
        ("targetUrl", json!("ftp://erp.example"), "targetUrl"),
        ("targetUrl", json!("https://u:p@erp.example"), "targetUrl"),
        ("targetUrl", json!("https://erp.example/#a"), "targetUrl"),
        ("targetUrl", json!("https:///"), "targetUrl"),
        ("targetUrl", json!("https://erp.example/{{payload.id}}"), "targetUrl"),
        ("targetUrl", json!("https://erp.example/\u{0}"), "targetUrl"),
        ("httpMethod", json!("TRACE"), "httpMethod"),
        ("timeoutMs", json!(99), "timeoutMs"),
        ("timeoutMs", json!(60_001), "timeoutMs"),
        ("timeoutMs", json!(-1), "timeoutMs"),
        ("timeoutMs", json!("1s"), "timeoutMs"),
        ("maxInFlight", json!(0), "maxInFlight"),
        ("maxInFlight", json!(1_025), "maxInFlight"),
        ("isActive", json!("yes"), "isActive"),
        ("scope", json!("EVERYTHING"), "scope"),
        ("headers", json!({"x a": "b"}), "headers.x a"),
        ("headers", json!({"x-a": "b\r\nx-b: c"}), "headers.x-a"),
        ("headers", json!({"x-a": 5}), "headers.x-a"),
        ("headers", json!({"X-A": "b", "x-a": "c"}), "headers.x-a"),
        ("headers", json!({"Host": "b"}), "headers.Host"),
        ("headers", json!({"CE-Id": "b"}), "headers.CE-Id"),
        ("headers", json!({"x-a": "{{payload.a}}"}), "headers.x-a"),
        ("headers", json!({"x-a": "y".repeat(17_000)}), "headers"),
        ("labels", json!({"team": 5}), "labels.team"),
        ("retry", json!({"delays": ["soon"]}), "retry.delays[0]"),
        ("retry", json!({"maxAttempts": 0}), "retry.maxAttempts"),
        ("retry", json!({"delays": ["1s", "7d"]}), "retry.delays[1]"),
        ("retry", json!({"delays": ["1s"], "baseMs": 5}), "retry.delays"),
        ("retry", json!({"capMs": 5}), "retry.baseMs"),
        ("retry", json!([]), "retry"),
        ("retry", json!({"maxAttemps": 3}), "retry.maxAttemps"),
        ("orgUnitRid", json!("a b"), "orgUnitRid"),
        ("excludedEntityRids", json!(["a", ""]), "excludedEntityRids[1]"),
        ("deliveryTtlHours", json!(169), "deliveryTtlHours"),
    ];
    for (field, value, path) in cases {
        let found = problems(bills(), with(field, value.clone()));
        assert!(found.len() == 1 && found[0].0 == path, "{field} = {value}: {found:?}");
    }
}

/// What the JSON library says ("invalid type: integer `5`, expected a string") names no field and helps nobody.
#[test]
fn a_value_of_the_wrong_kind_is_told_in_words_of_ours() {
    let cases = [
        ("name", json!(5), "name must be a string, not a number"),
        ("orgUnitRid", json!(true), "orgUnitRid must be a string or a whole number, not a boolean"),
        ("isActive", json!("yes"), "isActive must be true or false, not a string"),
        ("timeoutMs", json!("1s"), "timeoutMs must be a whole number from 100 to 60000, not a string"),
        ("timeoutMs", json!(5), "timeoutMs must be a whole number from 100 to 60000"),
        ("eventType", json!({}), "eventType must be a list of strings, not an object"),
        ("eventType", json!([1]), "eventType[0] must be a string, not a number"),
        ("headers", json!([]), "headers must be an object of strings, not a list"),
        ("headers", json!({"x-a": 5}), "headers.x-a must be a string, not a number"),
        ("createdAt", json!("now"), "createdAt must be a time such as `2026-11-20T08:15:30Z`"),
        ("retry", json!("no"), "retry must be an object, not a string"),
        ("retry", json!({"maxAttempts": "3"}), "retry.maxAttempts must be a whole number from 1 to 100, not a string"),
        ("retry", json!({"jitter": 1}), "retry.jitter must be a number from 0 to 0.2"),
        ("retry", json!({"delays": [5]}), "retry.delays[0] must be a string, not a number"),
        ("retry", json!({"delays": ["1s", "9d"]}), "retry.delays[1] must be between `1ms` and `6d`"),
        ("retry", json!({"maxAttemps": 3}), "retry.maxAttemps is not a known field; did you mean `maxAttempts`?"),
    ];
    for (field, value, expected) in cases {
        let found = problems(bills(), with(field, value.clone()));
        assert_eq!(found.iter().map(|(path, text)| format!("{path} {text}")).collect::<Vec<_>>(), [expected]);
    }
    let both = problems(bills(), with("retry", json!({"maxAttempts": 0, "jitter": "a lot"})));
    assert_eq!(both.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["retry.maxAttempts", "retry.jitter"]);
}

#[test]
fn what_this_version_does_not_have_is_refused_and_its_neutral_value_taken() {
    let cases = [
        ("filter", json!(null), json!("payload.amount > 100")),
        ("transformationMode", json!("NONE"), json!("SIMPLE")),
        ("transformation", json!({"mappings": [], "script": ""}), json!({"mappings": [{"sourceField": "a"}]})),
        ("outgoingAuthType", json!("NONE"), json!("BEARER")),
        ("outgoingAuthConfig", json!({}), json!({"token": "t"})),
        ("enableSigning", json!(false), json!(true)),
        ("ordering", json!("NONE"), json!("KEY")),
        ("rateLimits", json!({"enabled": false, "maxRequests": 5}), json!({"enabled": true})),
        ("rateLimits", json!({}), json!({"maxRequests": 5})),
        ("breaker", json!({"mode": "off"}), json!({"mode": "manual"})),
        ("deliveryMode", json!("IMMEDIATE"), json!("DELAYED")),
        ("actions", json!([]), json!([{"name": "a"}])),
        ("shards", json!(1), json!(2)),
        ("destination", json!({"type": "HTTP"}), json!({"type": "KAFKA", "topic": "t"})),
        ("bodyFormat", json!("JSON"), json!("XML")),
    ];
    for (field, neutral, asking) in cases {
        assert!(bills().read(with(field, neutral.clone())).is_ok(), "{field} = {neutral}");
        let found = problems(bills(), with(field, asking));
        assert!(found.len() == 1 && found[0].0 == field, "{field}: {found:?}");
        assert!(found[0].1.contains("this version does not have yet"), "{found:?}");
    }
}

#[test]
fn everything_wrong_is_told_at_once_and_what_was_meant() {
    let json = json!({"id": "bills", "nmae": "Bills", "eventtype": "a", "target_url": "x", "zzz": 1, "timeoutMs": 1});
    let found = problems(bills(), json);
    let message = |path: &str| found.iter().find(|(p, _)| p == path).map(|(_, m)| m.as_str()).unwrap_or_default();
    for path in ["orgId", "name", "eventType", "targetUrl"] {
        assert_eq!(message(path), "is required");
    }
    assert!(message("nmae").ends_with("did you mean `name`?"));
    assert!(message("eventtype").ends_with("did you mean `eventType`?"));
    assert!(message("target_url").ends_with("did you mean `targetUrl`?"));
    assert_eq!(message("zzz"), "is not a known field");
    assert!(message("timeoutMs").contains("100 to 60000"));
}

#[test]
fn an_organization_is_checked_too() {
    let kind = Kind::Organization;
    let cases = [
        (json!({"orgId": "648"}), "name"),
        (json!({"name": "Clinic"}), "orgId"),
        (json!({"orgId": "a b", "name": "Clinic"}), "orgId"),
        (json!({"orgId": "648", "name": "Clinic", "email": "nobody"}), "email"),
        (json!({"orgId": "648", "name": "Clinic", "timezone": "Asia Kolkata"}), "timezone"),
        (json!({"orgId": "648", "name": "Clinic", "tags": ["a", ""]}), "tags[1]"),
        (json!({"orgId": "648", "name": "Clinic", "naem": 1}), "naem"),
        (json!([]), ""),
    ];
    for (json, path) in cases {
        let found = problems(kind, json.clone());
        assert!(found.len() == 1 && found[0].0 == path, "{json}: {found:?}");
    }
    assert!(kind.read(json!({"orgId": 648, "name": "Clinic", "timezone": "Asia/Kolkata"})).is_ok());
}
