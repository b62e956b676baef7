use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::model::ids::{Offset, Partition};
use crate::model::record::Received;

type Header<'a> = (&'a str, &'a str);

const NOW: Timestamp = Timestamp(1_763_712_000_250);
const JSON_TYPE: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json; charset=utf-8");
const CE: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "e1"),
    ("ce-source", "/his"),
    ("ce-type", "patient.created"),
    ("content-type", "application/json"),
];

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(n, v): &(&str, &str)| (HeaderName::try_from(*n).unwrap(), HeaderValue::from_bytes(v.as_bytes()).unwrap());
    list.iter().map(pair).collect()
}

fn one_of(list: &[(&str, &str)], org: Option<&str>, body: &[u8]) -> Result<Event, IngestError> {
    one(&Request { headers: &headers(list), org, now: NOW }, &Bytes::copy_from_slice(body))
}

fn native_event(body: &str) -> Result<Event, IngestError> {
    one_of(&[JSON_TYPE], Some("648"), body.as_bytes())
}

fn status_of(why: &IngestError) -> u16 {
    match why {
        IngestError::Invalid(_) => 400,
        IngestError::TooLarge(_) => 413,
        IngestError::MediaType(_) => 415,
        other => panic!("not about the request: {other}"),
    }
}

fn path_of(why: &IngestError) -> &str {
    match why {
        IngestError::Invalid(problems) => &problems[0].path,
        _ => "-",
    }
}

/// The event in brief: `org type source id subject unit correlation payload`.
fn brief(event: &Event) -> String {
    let text = |t: Option<&str>| t.unwrap_or("-").to_owned();
    [
        event.org.to_string(),
        event.event_type.to_string(),
        event.source.to_string(),
        if event.id.as_str().len() == 36 { "uuid".to_owned() } else { event.id.to_string() },
        text(event.entity_id.as_ref().map(|t| t.as_str())),
        text(event.entity_rid.as_ref().map(|t| t.as_str())),
        text(event.correlation_id.as_ref().map(|t| t.as_str())),
        String::from_utf8_lossy(&event.payload).into_owned(),
    ]
    .join(" ")
}

#[test]
fn every_format_becomes_the_event_it_says() {
    let binary = |more: &[(&'static str, &'static str)]| {
        let mut list = CE.to_vec();
        list.retain(|(n, _)| more.iter().all(|(m, _)| m != n));
        list.extend_from_slice(more);
        list
    };
    let cases: Vec<(Vec<Header<'_>>, Option<&str>, &str, &str)> = vec![
        (vec![JSON_TYPE], Some("648"), r#"{"eventType":"a.b","payload":{}}"#, "648 a.b rest uuid - - - {}"),
        (vec![], Some("648"), r#"{"eventType":"a.b","payload":{}}"#, "648 a.b rest uuid - - - {}"),
        (vec![JSON_TYPE], None, r#"{"orgId":648,"eventType":"a.b","payload":null}"#, "648 a.b rest uuid - - - null"),
        (vec![JSON_TYPE], Some("648"), r#"{"orgId":"648","type":"a.b","payload":1}"#, "648 a.b rest uuid - - - 1"),
        (
            vec![JSON_TYPE],
            Some("648"),
            r#" {"id":"e1","eventType":"a.b","entityId":123,"entityRid":7,"source":"his","correlationId":"c","time":null,"payload": { "b" : 1.50, "a":[ ] } } "#,
            r#"648 a.b his e1 123 7 c { "b" : 1.50, "a":[ ] }"#,
        ),
        (
            vec![JSON_TYPE],
            Some("648"),
            r#"{"eventType":"adt","contentType":"x-application/hl7-v2+er7","payload":"MSH|^~\\&|A"}"#,
            r"648 adt rest uuid - - - MSH|^~\&|A",
        ),
        (
            vec![JSON_TYPE],
            Some("648"),
            r#"{"specversion":"1.0","id":"e1","source":"/his","type":"a.b","data":[1]}"#,
            "648 a.b /his e1 - - - [1]",
        ),
        (
            vec![STRUCTURED],
            None,
            r#"{"specversion":"1.0","id":"e1","source":"/his","type":"a.b","orgid":648.0,"subject":"P/1","data":"x"}"#,
            r#"648 a.b /his e1 P/1 - - "x""#,
        ),
        (
            vec![STRUCTURED],
            Some("648"),
            r#"{"specversion":"1.0","source":"/his","type":"a.b","data_base64":"eyJhIjoxfQ=="}"#,
            r#"648 a.b /his uuid - - - {"a":1}"#,
        ),
        (binary(&[]), Some("648"), r#"{"a": 1}"#, r#"648 patient.created /his e1 - - - {"a": 1}"#),
        (binary(&[("ce-orgid", "648")]), None, "", "648 patient.created /his e1 - - - "),
        (
            binary(&[("ce-subject", "M%C3%BCller%20%25"), ("content-type", "text/plain")]),
            Some("648"),
            "not { json",
            "648 patient.created /his e1 Müller % - - not { json",
        ),
        (
            binary(&[("ce-subject", r#""a \"b\"""#), ("content-type", "application/xml")]),
            Some("648"),
            "<a/>",
            r#"648 patient.created /his e1 a "b" - - <a/>"#,
        ),
        (binary(&[("ce-subject", "100%")]), Some("648"), "1", "648 patient.created /his e1 100% - - 1"),
        (
            binary(&[("content-type", "application/protobuf"), ("ce-entityrid", "7")]),
            Some("648"),
            "x",
            "648 patient.created /his e1 - 7 - x",
        ),
    ];
    for (list, org, body, expected) in cases {
        let event = one_of(&list, org, body.as_bytes()).unwrap_or_else(|e| panic!("{body}: {e}"));
        assert_eq!(brief(&event), expected, "{body}");
    }
}

#[test]
fn what_is_no_event_is_refused_with_the_field_and_a_way_out() {
    let deep = format!(r#"{{"eventType":"a","payload":{}1{}}}"#, "[".repeat(101), "]".repeat(101));
    let large = format!(r#"{{"eventType":"a","payload":"{}"}}"#, "x".repeat(MAX_PAYLOAD));
    let cases: [(&str, u16, &str, &str); 23] = [
        ("", 400, "", "the body is not JSON"),
        ("{", 400, "", "the body is not JSON"),
        ("[]", 400, "", "an event is a JSON object"),
        (r#"{"payload":{}}"#, 400, "eventType", "is required"),
        (r#"{"eventType":null,"payload":{}}"#, 400, "eventType", "is required"),
        (r#"{"eventType":"a"}"#, 400, "payload", "is required"),
        (r#"{"eventType":5,"payload":{}}"#, 400, "eventType", "must be a string"),
        (r#"{"eventType":"a b","payload":{}}"#, 400, "eventType", "must be 1-255 printable"),
        (r#"{"eventType":"a","id":"","payload":{}}"#, 400, "id", "must be 1-256"),
        (r#"{"eventType":"a","id":true,"payload":{}}"#, 400, "id", "must be a string or a whole number"),
        (r#"{"eventType":"a","entityId":{},"payload":{}}"#, 400, "entityId", "must be a string or a whole number"),
        (r#"{"eventType":"a","entityId":1.5,"payload":{}}"#, 400, "entityId", "must be a string or a whole number"),
        (r#"{"eventType":"a","entityId":"a\u0000","payload":{}}"#, 400, "entityId", "without control characters"),
        (r#"{"eventType":"a","entityRid":"a b","payload":{}}"#, 400, "entityRid", "must be 1-128"),
        (r#"{"eventType":"a","time":"today","payload":{}}"#, 400, "time", "RFC 3339"),
        (r#"{"eventType":"a","orgId":649,"payload":{}}"#, 400, "orgId", "not the organization that the request names"),
        (r#"{"eventType":"a","eventType":"b","payload":{}}"#, 400, "eventType", "occurs twice"),
        (r#"{"eventType":"a","payload":1,"payload":2}"#, 400, "payload", "occurs twice"),
        (r#"{"event_type":"a","payload":{}}"#, 400, "event_type", "did you mean `eventType`?"),
        (r#"{"eventType":"a","zzz":1,"payload":{}}"#, 400, "zzz", "goes into `payload`"),
        (r#"{"eventType":"a","contentType":"text/plain","payload":{}}"#, 400, "payload", "must be a string"),
        (&deep, 400, "payload", "is nested deeper than 100"),
        (&large, 413, "-", "more than 1048576"),
    ];
    for (body, status, path, message) in cases {
        let refused = native_event(body).map(|e| e.id).unwrap_err();
        let shown: String = body.chars().take(80).collect();
        assert_eq!(status_of(&refused), status, "{shown}: {refused}");
        assert_eq!(path_of(&refused), path, "{shown}: {refused}");
        assert!(refused.to_string().contains(message), "{shown}: {refused}");
    }
}

#[test]
fn an_event_with_many_mistakes_is_told_all_of_them_once_and_not_without_end() {
    let told = |result: Result<Event, IngestError>| match result.map(|e| e.id).unwrap_err() {
        IngestError::Invalid(problems) => problems.into_iter().map(|p| (p.path, p.message)).collect::<Vec<_>>(),
        other => panic!("{other}"),
    };
    let paths = |result| told(result).into_iter().map(|(path, _)| path).collect::<Vec<_>>().join(" ");
    let many = r#"{"evenType":"a","eventType":5,"id":true,"id":"e","orgId":"a b","entityRid":"a b","time":"now","source":"",
        "contentType":"text/plain","payload":{}}"#;
    let all = "evenType eventType id payload orgId source time entityRid";
    assert_eq!(paths(one_of(&[JSON_TYPE], None, many.as_bytes())), all);
    let batch = Bytes::from(format!("[{many}]"));
    let request = headers(&[JSON_TYPE]);
    let mut items = super::batch(&Request { headers: &request, org: None, now: NOW }, &batch).unwrap();
    assert_eq!(paths(items.remove(0)), all);
    assert_eq!(
        paths(one_of(&[JSON_TYPE, ("idempotency-key", "")], None, b"{}")),
        "payload orgId Idempotency-Key eventType"
    );
    let ce = [("ce-specversion", "0.3"), ("ce-time", "now"), ("ce-my-note", "x")];
    assert_eq!(paths(one_of(&ce, Some("648"), b"{")), "specversion type source time data my-note");
    let unknown: Vec<String> = (0..80).map(|i| format!("\"f{i}\":1")).collect();
    let told = told(native_event(&format!("{{{}}}", unknown.join(","))));
    assert!(told.len() <= wrong::MAX_TOLD && told.iter().any(|(path, _)| path == "eventType"), "{told:?}");
}

#[test]
fn a_cloud_event_that_breaks_a_rule_is_refused() {
    let with = |change: &[(&'static str, &'static str)]| {
        let mut list = CE.to_vec();
        list.retain(|(n, _)| change.iter().all(|(m, _)| m != n));
        list.extend(change.iter().filter(|(_, v)| !v.is_empty()));
        list
    };
    let cases: Vec<(Vec<Header<'_>>, &[u8], u16, &str)> = vec![
        (with(&[("ce-specversion", "")]), b"{}", 400, "`specversion` is required"),
        (with(&[("ce-specversion", "0.3")]), b"{}", 400, "`specversion` must be 1.0"),
        (with(&[("ce-source", "")]), b"{}", 400, "`source` is required"),
        (with(&[("ce-type", "")]), b"{}", 400, "`type` is required"),
        (with(&[("ce-subject", "%ff")]), b"{}", 400, "`subject` is not UTF-8"),
        (with(&[("ce-note", "%0a")]), b"{}", 400, "`note` must have a name"),
        (with(&[("ce-my-note", "x")]), b"{}", 400, "`my-note` must have a name"),
        (with(&[("ce-note", "a"), ("ce-note", "b")]), b"{}", 400, "`note` occurs twice"),
        (with(&[]), b"{", 400, "`data` is not the JSON that its content type says: it ends too early, at line 1"),
        (with(&[]), b"\"\xff\"", 400, "not UTF-8"),
        (with(&[("content-type", "text/plain")]), b"\xff", 400, "`data` must be UTF-8"),
        (vec![STRUCTURED], b"{}", 400, "`specversion` is required"),
        (vec![STRUCTURED], b"\xff", 400, "not UTF-8"),
        (
            vec![STRUCTURED],
            br#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"ew=="}"#,
            400,
            "`data` is not the JSON",
        ),
        (vec![BATCH], b"[]", 415, "/api/v1/events/batch"),
        (vec![("content-type", "application/cloudevents+avro")], b"", 415, "content type"),
        (vec![("content-type", "application/x-www-form-urlencoded")], b"a=b", 415, "content type"),
    ];
    for (list, body, status, message) in cases {
        let refused = one_of(&list, Some("648"), body).map(|e| e.id).unwrap_err();
        assert_eq!(status_of(&refused), status, "{list:?}: {refused}");
        assert!(refused.to_string().contains(message), "{list:?}: {refused}");
    }
}

#[test]
fn an_event_without_an_organization_is_refused() {
    let refused = one_of(&[JSON_TYPE], None, br#"{"eventType":"a","payload":1}"#).map(|e| e.id).unwrap_err();
    assert_eq!(path_of(&refused), "orgId");
    assert!(refused.to_string().contains("?orgId="), "{refused}");
}

#[test]
fn a_repeat_with_the_same_key_is_the_same_event() {
    let body = br#"{"eventType":"a","payload":1}"#;
    let id = |org, key| one_of(&[JSON_TYPE, ("idempotency-key", key)], Some(org), body).unwrap().id;
    assert_eq!(id("648", "k1"), id("648", "k1"));
    assert_ne!(id("648", "k1"), id("648", "k2"));
    assert_ne!(id("648", "k1"), id("649", "k1"));
    // Pinned: a repeat may reach a newer release than the first one did.
    assert_eq!(id("648", "k1").as_str(), "5405269d-097a-5dd2-a714-6041c29027f0");
    let named =
        one_of(&[JSON_TYPE, ("idempotency-key", "k1")], Some("648"), br#"{"id":"e1","eventType":"a","payload":1}"#);
    assert_eq!(named.unwrap().id.as_str(), "e1");
    let long = "k".repeat(257);
    for bad in ["", "\u{e9}", long.as_str()] {
        let refused = one_of(&[JSON_TYPE, ("idempotency-key", bad)], Some("648"), body).map(|e| e.id).unwrap_err();
        assert_eq!(path_of(&refused), "Idempotency-Key");
    }
}

#[test]
fn an_event_without_id_and_time_gets_both_from_the_clock() {
    let event = native_event(r#"{"eventType":"a","payload":1}"#).unwrap();
    assert_eq!(event.time, NOW);
    assert!(event.id.as_str().starts_with("019aa56d-60fa-7"), "{}", event.id);
    let told = native_event(r#"{"eventType":"a","time":"2026-11-20T10:15:30+02:00","payload":1}"#).unwrap();
    assert_eq!(told.time.to_string(), "2026-11-20T08:15:30.000Z");
}

#[test]
fn a_trace_goes_on_from_the_last_hop() {
    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let own = "00-11111111111111111111111111111111-b7ad6b7169203331-01";
    let body = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","traceparent":"{own}"}}"#);
    let traced =
        one_of(&[STRUCTURED, ("traceparent", given), ("tracestate", "a=b")], Some("o"), body.as_bytes()).unwrap();
    assert_eq!(traced.traceparent.as_ref().map(|t| t.as_str()), Some(given));
    assert_eq!(traced.tracestate.as_ref().map(|t| t.as_str()), Some("a=b"));
    let request = headers(&[BATCH, ("traceparent", given)]);
    let whole = Bytes::from(format!("[{body}]"));
    let events = batch(&Request { headers: &request, org: Some("o"), now: NOW }, &whole).unwrap();
    assert_eq!(events[0].as_ref().unwrap().traceparent.as_ref().map(|t| t.as_str()), Some(own));
}

#[test]
fn one_bad_event_of_a_batch_leaves_the_others_alone() {
    let ce = r#"{"specversion":"1.0","id":"c","source":"s","type":"t"}"#;
    let native = r#"{"id":"n","eventType":"a","payload":{}}"#;
    let bad = r#"[1,[]],5,"x",null,true,-1,1.5,{"eventType":"a"}"#;
    let bodies = [format!(r#"{{"events":[{native},{bad},{ce}]}}"#), format!(" [{native},{bad},{ce}]")];
    for body in bodies {
        let request = headers(&[JSON_TYPE, ("idempotency-key", "k")]);
        let events = batch(&Request { headers: &request, org: Some("648"), now: NOW }, &Bytes::from(body)).unwrap();
        let ids: Vec<&str> = events.iter().map(|e| e.as_ref().map_or("bad", |e| e.id.as_str())).collect();
        assert_eq!(ids.first(), Some(&"n"));
        assert_eq!(ids.last(), Some(&"c"));
        assert!(ids[1..ids.len() - 1].iter().all(|id| *id == "bad"), "{ids:?}");
    }
}

#[test]
fn the_key_of_a_batch_names_each_of_its_events() {
    let body = Bytes::from_static(br#"[{"eventType":"a","payload":1},{"eventType":"a","payload":1}]"#);
    let request = headers(&[JSON_TYPE, ("idempotency-key", "k")]);
    let ids = || {
        let events = batch(&Request { headers: &request, org: Some("648"), now: NOW }, &body).unwrap();
        events.into_iter().map(|e| e.unwrap().id).collect::<Vec<_>>()
    };
    assert_eq!(ids(), ids());
    assert_ne!(ids()[0], ids()[1]);
}

#[test]
fn a_batch_that_is_none_is_refused_as_a_whole() {
    let many = format!("[{}1]", "1,".repeat(MAX_BATCH));
    let cases: [(&str, (&str, &str), u16, &str); 9] = [
        ("[]", JSON_TYPE, 400, "must hold 1-1000 events"),
        (r#"{"events":[]}"#, JSON_TYPE, 400, "must hold 1-1000 events"),
        (&many, JSON_TYPE, 400, "must hold 1-1000 events"),
        ("[", JSON_TYPE, 400, "the body is not JSON"),
        (r#"{"event":[]}"#, JSON_TYPE, 400, "`event` is not a known field; a batch is"),
        (r#"{"events":{}}"#, JSON_TYPE, 400, "`events` must be an array of events"),
        ("5", JSON_TYPE, 400, "must be an array of events, or an object with `events`"),
        ("{}", STRUCTURED, 415, "a batch is expected here"),
        ("{}", ("content-type", "text/plain"), 415, "content type"),
    ];
    for (body, content_type, status, message) in cases {
        let request = headers(&[content_type]);
        let body = Bytes::copy_from_slice(body.as_bytes());
        let refused = batch(&Request { headers: &request, org: Some("648"), now: NOW }, &body).unwrap_err();
        assert_eq!(status_of(&refused), status, "{refused}");
        assert!(refused.to_string().contains(message), "{refused}");
    }
}

#[test]
fn a_payload_is_neither_copied_nor_written_anew() {
    let body = Bytes::from_static(br#"{"eventType":"a","payload": {"z": 1.0, "z":2} }"#);
    let event = one(&Request { headers: &headers(&[JSON_TYPE]), org: Some("o"), now: NOW }, &body).unwrap();
    assert_eq!(&event.payload[..], br#"{"z": 1.0, "z":2}"#);
    assert!(body.as_ptr_range().contains(&event.payload.as_ptr()));
}

proptest! {
    #[test]
    fn no_request_whatever_breaks_the_reader(
        list in proptest::collection::vec(
            (
                proptest::sample::select(vec!["content-type", "ce-specversion", "ce-id", "ce-x", "ce-type", "ce-source", "ce-orgid", "idempotency-key"]),
                prop_oneof![
                    Just(b"1.0".to_vec()),
                    Just(b"application/json".to_vec()),
                    Just(b"application/cloudevents+json".to_vec()),
                    Just(b"application/cloudevents-batch+json".to_vec()),
                    proptest::collection::vec((0x20..=0xffu8).prop_filter("a header", |b| *b != 0x7f), 0..20),
                ],
            ),
            0..8,
        ),
        org in proptest::option::of(Just("648")),
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            r#"\[?\{("(id|type|eventType|data|data_base64|orgId|orgid|specversion|source|payload|events)":("1.0"|1|true|null|\{\}|\[\]|\[\[|"e"),?){0,7}\}?\]?"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let headers: HeaderMap = list
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_bytes(v).unwrap()))
            .collect();
        let request = Request { headers: &headers, org, now: NOW };
        let body = Bytes::from(body);
        let mut results = vec![one(&request, &body)];
        results.extend(batch(&request, &body).unwrap_or_default());
        for result in results {
            match result {
                // What was accepted must be readable by the stages after it.
                Ok(event) => {
                    let record = event.to_record();
                    let received = Received { partition: Partition(0), offset: Offset(0), timestamp: NOW, record };
                    prop_assert_eq!(Event::from_record(&received), Ok(event));
                }
                Err(why) => prop_assert!((400..416).contains(&status_of(&why)) && !why.to_string().is_empty()),
            }
        }
    }
}
