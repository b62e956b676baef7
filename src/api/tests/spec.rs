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
                open.extend(map.into_iter().map(|(k, v)| (format!("{at}/{k}"), v)));
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
