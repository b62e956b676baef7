//! The whole configuration at once.

use super::*;

const APPLY: &str = "/api/v1/admin/catalog/apply";
const EXPORT: &str = "/api/v1/admin/catalog/export";

fn clinic() -> Vec<Value> {
    let mut hook = bills();
    let id = hook.as_object_mut().unwrap().remove("id");
    hook["orgId"] = json!("648");
    hook["orgUnitRid"] = json!("ward");
    let channel = json!({"type": "WEBHOOK", "url": "https://ops.example/a", "secret": "s3cret"});
    vec![
        json!({"kind": "AlertRule", "id": "lost", "spec": {"orgId": "648", "name": "Lost",
            "condition": {"type": "DEAD_LETTERS"}, "channels": [channel]}}),
        json!({"kind": "OutboundIntegration", "id": id, "spec": hook}),
        json!({"kind": "OrgUnit", "id": "ward", "spec": {"orgId": "648", "name": "Ward"}}),
        json!({"kind": "Organization", "id": 648, "spec": {"name": "City Clinic"}}),
    ]
}

fn actions(answer: &Answer) -> Vec<String> {
    let steps = answer.body["plan"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    let told = |step: &Value| format!("{} {}", step["action"].as_str().unwrap(), step["id"].as_str().unwrap());
    steps.iter().map(told).collect()
}

#[tokio::test]
async fn a_plan_changes_nothing_and_what_was_applied_is_planned_no_more() {
    let api = Api::start().await;
    let plan = api.post(APPLY, json!({"resources": clinic(), "dryRun": true})).await;
    assert_eq!(actions(&plan), ["create 648", "create ward", "create bills", "create lost"]);
    assert_eq!((&plan.body["applied"], api.log.0.written().len()), (&json!(false), 0));
    assert!(!plan.text.contains("s3cret"), "{}", plan.text);

    let position = &plan.body["position"];
    let done = api.post(APPLY, json!({"resources": clinic(), "expectedPosition": position})).await;
    assert_eq!((done.status.as_u16(), &done.body["applied"]), (200, &json!(true)), "{}", done.body);
    let bills = api.get(&format!("{INTEGRATIONS}/bills")).await;
    assert_eq!(
        (&bills.body["version"], &bills.body["retry"]["maxAttempts"]),
        (&json!(1), &json!(3)),
        "as a POST makes it"
    );
    let written = api.log.0.written().len();
    for dry_run in [true, false] {
        let again = api.post(APPLY, json!({"resources": clinic(), "prune": true, "dryRun": dry_run})).await;
        assert_eq!(actions(&again), ["unchanged 648", "unchanged ward", "unchanged bills", "unchanged lost"]);
        assert_eq!(again.body["position"], done.body["position"]);
    }
    assert_eq!(api.log.0.written().len(), written);

    let late = api.post(APPLY, json!({"resources": clinic(), "expectedPosition": position})).await;
    assert_error(&late, 409, "CONFLICT");
    assert!(late.body["error"].as_str().unwrap().contains("moved since the plan"), "{}", late.body);
    let audited = api.log.0.audited().len();
    assert_eq!(audited, 4, "each with who made it");
}

#[tokio::test]
async fn nothing_is_planned_over_a_catalog_that_another_process_has_changed_since() {
    let api = Api::start().await;
    api.post(ORGS, json!({"orgId": "648", "name": "City Clinic"})).await;
    let mut renamed = api.log.0.written().remove(0);
    let mut whole: Value = serde_json::from_slice(&renamed.value.take().unwrap()).unwrap();
    (whole["name"], whole["version"]) = (json!("Another"), json!(2));
    renamed.value = Some(whole.to_string().into());
    api.log.hold(true);
    api.log.0.foreign(vec![renamed]);
    let clinic = json!([{"kind": "Organization", "id": 648, "spec": {"name": "City Clinic"}}]);
    let asked = api.post(APPLY, json!({"resources": clinic, "dryRun": true}));
    tokio::pin!(asked);
    for _ in 0..100 {
        assert!(futures_util::poll!(asked.as_mut()).is_pending(), "it was said that there is nothing to do");
        tokio::task::yield_now().await;
    }
    api.log.hold(false);
    let plan = asked.await;
    assert_eq!(actions(&plan), ["update 648"]);

    // Nor is a plan carried out that is not of the catalog as it is when it is written.
    api.log.hold(true);
    api.log.0.foreign(vec![]);
    let mut other = api.log.0.written().remove(0);
    other.key = Some("Organization/649".into());
    other.value = Some(
        json!({"orgId": "649", "name": "New", "version": 1, "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-01-01T00:00:00.000Z"})
        .to_string()
        .into(),
    );
    api.log.0.foreign(vec![other]);
    let late = api.post(APPLY, json!({"resources": clinic, "expectedPosition": plan.body["position"]}));
    tokio::pin!(late);
    for _ in 0..100 {
        assert!(futures_util::poll!(late.as_mut()).is_pending(), "it was decided over what was there once");
        tokio::task::yield_now().await;
    }
    api.log.hold(false);
    assert_error(&late.await, 409, "CONFLICT");
}

#[tokio::test]
async fn one_wrong_resource_keeps_all_of_them_out_and_is_named() {
    let api = Api::start().await;
    let mut all = clinic();
    all[1]["spec"]["targetUrl"] = json!("erp");
    all[2]["spec"]["orgId"] = json!("649");
    let answer = api.post(APPLY, json!({"resources": all})).await;
    assert_error(&answer, 400, "VALIDATION_ERROR");
    assert_eq!(answer.paths(), ["resources[1].spec.targetUrl", "resources[2].spec.orgId"]);
    assert_eq!(api.log.0.written().len(), 0);
    let cases = [
        (json!({}), "resources"),
        (json!({"resources": [{"kind": "User", "id": "a", "spec": {}}]}), "resources[0].kind"),
        (json!({"resources": [{"kind": "Organization", "id": "a/b", "spec": {"name": "A"}}]}), "resources[0].id"),
        (json!({"resources": [{"kind": "Organization", "id": "a", "spec": []}]}), "resources[0].spec"),
        (json!({"resources": [], "dryrun": true}), "dryrun"),
        (json!({"resources": [], "expectedPosition": -1}), "expectedPosition"),
    ];
    for (body, path) in cases {
        let answer = api.post(APPLY, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.paths()), (400, vec![path]), "{body}");
    }
}

#[tokio::test]
async fn an_export_applied_elsewhere_is_the_same_catalog_and_holds_no_secret_in_clear() {
    let (one, two) = (Api::start().await, Api::start().await);
    assert_eq!(one.post(APPLY, json!({"resources": clinic()})).await.status, 200);
    let exported = one.get(EXPORT).await;
    assert!(!exported.text.contains("s3cret") && exported.text.contains("\"sealed:"), "{}", exported.text);
    assert_eq!(exported.body["resources"][0]["kind"], "Organization");
    let resources = &exported.body["resources"];
    assert_eq!(two.post(APPLY, json!({"resources": resources})).await.status, 200);
    assert_eq!(&two.get(EXPORT).await.body["resources"], resources);
    let again = two.post(APPLY, json!({"resources": clinic(), "prune": true, "dryRun": true})).await;
    assert!(actions(&again).iter().all(|step| step.starts_with("unchanged")), "{:?}", actions(&again));

    let other = json!({"kind": "Organization", "id": "712", "spec": {"name": "Other"}});
    assert_eq!(one.post(APPLY, json!({"resources": [other]})).await.status, 200);
    let count =
        async |query: &str| one.get(&format!("{EXPORT}?{query}")).await.body["resources"].as_array().unwrap().len();
    assert_eq!((count("").await, count("orgId=648").await, count("orgId=712").await), (5, 4, 1));
    assert_eq!((count("kind=Organization").await, count("kind=OrgUnit&orgId=712").await), (2, 0));
    assert_eq!(one.get(&format!("{EXPORT}?kind=ApiKey")).await.paths(), ["kind"]);
}

#[tokio::test]
async fn a_body_of_many_resources_is_taken_where_other_routes_refuse_its_size() {
    let api = Api::start().await;
    let template = |n: usize| {
        json!({"kind": "Template", "id": format!("t-{n}"),
            "spec": {"orgId": "648", "name": "T", "integration": {"description": "x".repeat(700_000)}}})
    };
    let mut all: Vec<Value> = (0..16).map(template).collect();
    all.push(clinic().remove(3));
    let body = json!({"resources": all}).to_string();
    assert!(body.len() > 10 << 20);
    let answer = api.write("POST", APPLY, &[], body.clone()).await;
    assert_eq!((answer.status.as_u16(), actions(&answer).len()), (200, 17));
    assert_eq!(api.write("POST", ORGS, &[], body).await.status, 413);
}

async fn begun(router: axum::Router, body: Body) -> axum::response::Response {
    let request = Request::builder().method("POST").uri(APPLY);
    let request = request.header("x-api-key", KEY).header("content-type", "application/json").body(body).unwrap();
    router.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn applies_hold_memory_two_at_a_time_and_the_next_one_hears_when_to_come_back() {
    let api = Api::start().await;
    tokio::time::pause();
    let nothing = json!({"resources": [], "dryRun": true});
    // A turn is over with the answer, not before.
    let _first = begun(api.router.clone(), Body::from(nothing.to_string())).await;
    let second = begun(api.router.clone(), Body::from(nothing.to_string())).await;
    let began = tokio::time::Instant::now();
    let refused = api.post(APPLY, nothing.clone()).await;
    assert_error(&refused, 503, "SERVICE_UNAVAILABLE");
    assert_eq!((refused.header("retry-after"), began.elapsed().as_secs()), ("10", 15));
    let (waiting, ()) = tokio::join!(api.post(APPLY, nothing), async { drop(second) });
    assert_eq!(waiting.status, 200, "{}", waiting.body);
}

#[tokio::test]
async fn bodies_that_stall_keep_nobody_from_applying() {
    let api = Api::start().await;
    tokio::time::pause();
    let (mut ends, mut under_way) = (Vec::new(), JoinSet::new());
    for _ in 0..2 {
        let (end, rest) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
        let rest = futures_util::stream::unfold(rest, |mut rest| async move { Some((rest.recv().await?, rest)) });
        let answer = begun(api.router.clone(), Body::from_stream(rest));
        under_way.spawn(async move { answer.await.status() });
        // Taken twice: it is being read.
        end.send(Ok(r#"{"resources":"#.to_owned())).await.unwrap();
        end.send(Ok("[".to_owned())).await.unwrap();
        drop(end.reserve().await.unwrap());
        ends.push(end);
    }
    let began = tokio::time::Instant::now();
    let next = api.post(APPLY, json!({"resources": [], "dryRun": true})).await;
    assert_eq!((next.status.as_u16(), began.elapsed().as_secs()), (200, 10), "{}", next.body);
    assert!(under_way.join_all().await.iter().all(|status| *status == 400));
}
