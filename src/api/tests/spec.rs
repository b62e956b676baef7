//! The document against the routes.

use super::*;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Every operation: its path, its method, and what is said of it.
async fn operations(api: &Api) -> Vec<(String, String, Value)> {
    let document = api.call("GET", "/openapi.json", &[], "").await;
    assert_eq!((document.status.as_u16(), document.header("content-type")), (200, "application/json"));
    let paths = document.body["paths"].as_object().unwrap().clone();
    let of = |(path, item): (String, Value)| {
        let operations = item.as_object().unwrap().clone();
        operations.into_iter().map(move |(method, operation)| (path.clone(), method, operation))
    };
    paths.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn a_parameter_that_a_route_takes_is_in_the_document_and_no_other() {
    let api = Api::with_bills().await;
    let mut asked = 0;
    for (path, method, operation) in operations(&api).await {
        let parameters = operation["parameters"].as_array().unwrap();
        let mut told: Vec<_> =
            parameters.iter().filter(|p| p["in"] == "query").map(|p| p["name"].as_str().unwrap().to_owned()).collect();
        // What is about who has logged in has no parameters; `login` asks it.
        let about_people = operation["security"] == json!([{"bearer": []}]);
        if operation["security"] == json!([]) || about_people || path == "/api/v1/events" && method == "post" {
            continue;
        }
        let uri = path.replace("{id}", "bills").replace("{version}", "1");
        let answer = api.write(&method.to_uppercase(), &format!("{uri}?zzz=1"), &[], "{}").await;
        let details = answer.body["details"].as_array().cloned().unwrap_or_default();
        let text = details.iter().find(|d| d["path"] == "zzz").and_then(|d| d["message"].as_str().map(str::to_owned));
        let text = text.unwrap_or_else(|| panic!("{method} {path} takes what nobody knows: {}", answer.body));
        let mut taken: Vec<_> = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        told.sort();
        taken.sort();
        taken.dedup();
        assert_eq!(told, taken, "{method} {path}");
        asked += 1;
    }
    assert!(asked > 60, "{asked}");
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere_and_every_field_is_described() {
    let api = Api::start().await;
    let document = api.call("GET", "/openapi.json", &[], "").await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let mut open = vec![(String::new(), document.clone())];
    let mut references = 0;
    while let Some((at, value)) = open.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{at}: {target}");
            references += 1;
        }
        if let Some(fields) = value.get("properties").and_then(Value::as_object) {
            for (name, field) in fields {
                let described = field.get("description").is_some() || field.get("$ref").is_some();
                assert!(described, "{at}.{name} is not described: {field}");
            }
        }
        match value {
            Value::Object(map) if !at.ends_with("/examples") => {
                // A condition has no fields of its own.
                let parts = map.into_iter().filter(|(name, _)| name != "if");
                open.extend(parts.map(|(k, v)| (format!("{at}/{k}"), v)));
            }
            Value::Array(list) if !at.ends_with("/examples") => {
                open.extend(list.into_iter().enumerate().map(|(i, v)| (format!("{at}/{i}"), v)));
            }
            _ => {}
        }
    }
    assert!(references > 50, "{references}");
}

#[tokio::test]
async fn no_two_operations_have_one_name_and_each_says_what_it_does() {
    let api = Api::start().await;
    let mut names = std::collections::BTreeSet::new();
    for (path, method, operation) in operations(&api).await {
        assert!(METHODS.contains(&method.as_str()), "{path} {method}");
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name.clone()), "{name}");
        if path != "/api/v1/events" || method != "post" {
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{name}");
            assert!(operation["tags"][0].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
    }
}

/// What is shown of a body: beside its schema, or in it.
fn example_of(document: &Value, operation: &Value) -> Option<Value> {
    let content = operation["requestBody"]["content"].as_object()?.values().next()?;
    let target = content["schema"]["$ref"].as_str().unwrap_or("#").trim_start_matches('#');
    let in_schema = document.pointer(target).map(|schema| schema["examples"][0].clone());
    content.get("example").cloned().or(in_schema).filter(|example| !example.is_null())
}

#[tokio::test]
async fn an_example_of_the_document_is_taken_by_its_route() {
    let api = Api::start().await;
    let document = api.call("GET", "/openapi.json", &[], "").await.body;
    let mut asked: Vec<_> =
        operations(&api).await.into_iter().filter(|(.., o)| o.get("requestBody").is_some()).collect();
    // What is made comes first, what is deleted last, and from the end.
    let order = |path: &str| match path {
        _ if path.ends_with("/bulk") => 2,
        // Events are of an organization that is there.
        _ if path.contains("{id}") || path.starts_with("/api/v1/events") => 1,
        _ => 0,
    };
    asked.sort_by_key(|(path, ..)| order(path));
    let bulk = asked.iter().position(|(path, ..)| order(path) == 2).unwrap();
    asked[bulk..].reverse();
    let mut ids = std::collections::BTreeMap::new();
    for (path, method, operation) in asked {
        let example = example_of(&document, &operation).unwrap_or_else(|| panic!("{method} {path} has no example"));
        let collection = path.split("/{id}").next().unwrap().to_owned();
        let uri = path.replace("{id}", ids.get(&collection).map_or("none", String::as_str));
        let answer = api.write(&method.to_uppercase(), &uri, &[], example.to_string()).await;
        let status = answer.status.as_u16();
        match path.as_str() {
            "/api/v1/auth/login" => assert_eq!(status, 401, "{}", answer.text),
            "/api/v1/auth/password" => assert_eq!(status, 403, "{}", answer.text),
            // Nothing keeps the history here.
            _ if path.ends_with("/restore") => assert_eq!(status, 503, "{}", answer.text),
            // What copies refer to stays.
            _ if path.ends_with("/bulk") => assert!(matches!(status, 200 | 409), "{method} {uri}: {}", answer.text),
            _ => assert!((200..300).contains(&status), "{method} {uri}: {}", answer.text),
        }
        if order(&path) == 0 && answer.status == 201 {
            let id = answer.header("location").rsplit('/').next().unwrap().to_owned();
            ids.insert(collection, id);
        }
    }
    assert_eq!(ids.len(), crate::api::resources::COLLECTIONS.len());
}

#[tokio::test]
async fn what_the_document_does_not_require_is_not_asked_for_and_what_may_be_null_is_taken() {
    let api = Api::with_bills().await;
    let document = api.call("GET", "/openapi.json", &[], "").await.body;
    for of in &crate::api::resources::COLLECTIONS {
        let schema = &document["components"]["schemas"][format!("New{}", of.kind)];
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut body = schema["examples"][0].clone();
        for (name, field) in schema["properties"].as_object().unwrap() {
            let may_be_null = field["type"].as_array().is_some_and(|types| types.contains(&json!("null")));
            match body.get_mut(name) {
                Some(value) if !required.contains(&name.as_str()) && may_be_null => *value = Value::Null,
                None if may_be_null && field.get("deprecated").is_none() && field.get("readOnly").is_none() => {
                    body[name] = Value::Null;
                }
                _ => {}
            }
        }
        if of.kind == crate::catalog::Kind::Organization {
            body["orgId"] = json!("649");
        }
        let query = if of.kind == crate::catalog::Kind::Organization { "" } else { "?orgId=648" };
        let answer = api.post(&format!("{}{query}", of.path), body.clone()).await;
        assert_eq!(answer.status, 201, "{} {body}: {}", of.kind, answer.text);
    }
}

#[tokio::test]
async fn an_answer_has_the_headers_that_the_document_says_are_there() {
    let api = Api::with_bills().await;
    let document = api.call("GET", "/openapi.json", &[], "").await.body;
    let made = api.post(ORGS, json!({"orgId": "649", "name": "Other"})).await;
    let told = [
        (api.get(ORGS).await, ORGS, "get"),
        (made, ORGS, "post"),
        (api.call("GET", ORGS, &[], "").await, ORGS, "get"),
        (api.get("/api/v1/logs").await, "/api/v1/logs", "get"),
        (api.get("/health").await, "/health", "get"),
    ];
    for (answer, path, method) in told {
        let status = answer.status.as_str().to_owned();
        let told = &document["paths"][path][method]["responses"][&status];
        let told = told["$ref"].as_str().map_or(told, |to| document.pointer(&to[1..]).unwrap());
        let headers = told["headers"].as_object();
        let headers = headers.unwrap_or_else(|| panic!("{method} {path}: {status} is not in the document"));
        for name in headers.keys() {
            let always = document["components"]["headers"][name]["required"] == true;
            assert!(!always || !answer.header(name).is_empty(), "{method} {path}: {status} has no {name}");
        }
    }
}

#[tokio::test]
async fn what_has_no_route_or_another_method_says_so_in_the_form_of_every_error() {
    let api = Api::with_bills().await;
    for (method, path, allow) in [
        ("POST", "/metrics", "GET,HEAD"),
        ("DELETE", "/health/live", "GET,HEAD"),
        ("PUT", "/swagger", "GET,HEAD"),
        ("POST", "/swagger/index.html", "GET,HEAD"),
        ("PATCH", "/openapi.json", "GET,HEAD"),
        ("TRACE", ORGS, "GET,HEAD,POST"),
    ] {
        let answer = api.write(method, path, &[], "{}").await;
        assert_error(&answer, 405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    for path in ["/", "/nowhere", "/swagger/nothing.js", "/api/v1", "/metrics/", "/api/v1/lookups/"] {
        assert_error(&api.get(path).await, 404, "NOT_FOUND");
    }
}
