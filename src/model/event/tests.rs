use proptest::prelude::*;

use super::*;
use crate::model::ids::{Offset, Partition};

fn received(headers: &[(&str, &[u8])], value: Option<&[u8]>) -> Received {
    let mut record = Record { key: None, value: value.map(Bytes::copy_from_slice), headers: Headers::default() };
    for (name, text) in headers {
        record.headers.push(header::intern(name), Bytes::copy_from_slice(text));
    }
    at(record)
}

fn at(record: Record) -> Received {
    Received { partition: Partition(3), offset: Offset(42), timestamp: Timestamp(1_763_712_000_000), record }
}

/// A small good event; a change with an empty value takes the header away.
fn binary(change: &[(&str, &[u8])]) -> Received {
    let mut all: Vec<(&str, &[u8])> = vec![
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e1"),
        ("ce_source", b"/his"),
        ("ce_type", b"patient.created"),
        ("ce_orgid", b"648"),
        ("ce_time", b"2026-11-20T08:15:30Z"),
    ];
    for (name, value) in change {
        all.retain(|(n, _)| n != name);
        if !value.is_empty() {
            all.push((name, value));
        }
    }
    received(&all, Some(b"{}"))
}

fn structured(json: &str) -> Received {
    received(&[("content-type", b"application/cloudevents+json; charset=utf-8")], Some(json.as_bytes()))
}

fn label() -> impl Strategy<Value = Label> {
    "[ -~\u{e9}\u{4e16}]{1,40}".prop_map(|t| Label::parse(&t).unwrap())
}

fn extensions() -> impl Strategy<Value = Extensions> {
    proptest::collection::vec(("[a-z0-9]{1,20}", "[ -~\u{e9}]{0,30}"), 0..5).prop_map(|list| {
        let mut all = Extensions::default();
        for (name, value) in list {
            // A name drawn by chance may be one with a meaning.
            let _ = all.set(&name, &value);
        }
        all
    })
}

prop_compose! {
    fn event()(
        ids in ("[!-~]{1,60}", "[!-)+-~]{1,60}", "[A-Za-z0-9._:-]{1,128}", "[!-~]{1,60}"),
        about in (proptest::option::of("[A-Za-z0-9._:-]{1,30}"), proptest::option::of("[ -~\u{e9}]{1,60}")),
        time in -62_135_596_800_000..253_402_300_799_999i64,
        labels in proptest::array::uniform4(proptest::option::of(label())),
        trace in proptest::option::of(("[0-9a-e]{31}f", "[0-9a-e]{15}f", proptest::option::of(label()))),
        content_type in proptest::sample::select(vec![JSON, "text/plain; charset=utf-8", "x-application/hl7-v2+er7"]),
        extensions in extensions(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) -> Event {
        let [correlation_id, causation_id, namespace, dataschema] = labels;
        let traceparent = trace.as_ref().map(|(t, s, _)| Label::parse(&format!("00-{t}-{s}-01")).unwrap());
        Event {
            id: EventId::parse(&ids.0).unwrap(),
            event_type: EventType::parse(&ids.1).unwrap(),
            org: OrgId::parse(&ids.2).unwrap(),
            source: Source::parse(&ids.3).unwrap(),
            entity_rid: about.0.map(|t| Rid::parse(&t).unwrap()),
            entity_id: about.1.map(|t| EntityId::parse(&t).unwrap()),
            time: Timestamp(time),
            correlation_id, causation_id, namespace, dataschema,
            content_type: Label::parse(content_type).unwrap(),
            traceparent,
            tracestate: trace.and_then(|(_, _, state)| state),
            extensions,
            payload: Bytes::from(payload),
        }
    }
}

proptest! {
    #[test]
    fn an_event_survives_its_record(event in event()) {
        let received = at(event.to_record());
        prop_assert!(matches!(canonical(&received), Ok(Cow::Borrowed(_))));
        prop_assert_eq!(Event::from_record(&received), Ok(event));
    }

    #[test]
    fn what_the_headers_say_is_what_the_event_says(event in event()) {
        let received = at(event.to_record());
        let headers = EventHeaders::of(&received).unwrap();
        prop_assert!(matches!(headers.id, Cow::Borrowed(_)));
        prop_assert_eq!(headers.into_event(event.extensions.clone(), event.payload.clone()), Ok(event));
    }

    #[test]
    fn no_bytes_whatever_break_the_reader(
        headers in proptest::collection::vec(
            (
                prop_oneof![
                    proptest::sample::select(vec![
                        "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_orgid", "ce_time", "ce_subject",
                        "content-type", "traceparent", "ce_x", "ce_", "ce_data",
                    ]).prop_map(str::to_owned),
                    any::<String>(),
                ],
                prop_oneof![
                    Just(b"1.0".to_vec()),
                    Just(b"648".to_vec()),
                    Just(b"application/cloudevents+json".to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..40),
                ],
            ),
            0..10,
        ),
        value in proptest::option::of(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            r#"\{("(id|type|data|data_base64|orgid|specversion|x)":("1.0"|1|true|null|\{\}|\[\[|"e"),?){0,6}\}"#.prop_map(String::into_bytes),
        ]),
    ) {
        let list: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        match Event::from_record(&received(&list, value.as_deref())) {
            Ok(event) => prop_assert_eq!(Event::from_record(&at(event.to_record())), Ok(event)),
            Err(why) => prop_assert!(!why.reason().is_empty() && !why.to_string().is_empty()),
        }
    }
}

#[test]
fn a_record_that_is_no_event_is_refused_with_its_reason() {
    let long = [b'x'; 300];
    let many = vec![b'x'; MAX_HEADERS];
    let cases: Vec<(Received, &str)> = vec![
        (received(&[], Some(b"{}")), "missing_header"),
        (binary(&[("ce_specversion", b"")]), "missing_header"),
        (binary(&[("ce_specversion", b"0.3")]), "unknown_specversion"),
        (binary(&[("ce_orgid", b"")]), "missing_header"),
        (binary(&[("ce_orgid", b"a/b")]), "bad_org"),
        (binary(&[("ce_type", b"")]), "missing_header"),
        (binary(&[("ce_type", b"a b")]), "bad_type"),
        (binary(&[("ce_source", b"")]), "missing_header"),
        (binary(&[("ce_source", b"a\nb")]), "bad_source"),
        (binary(&[("ce_id", &long)]), "bad_id"),
        (binary(&[("ce_time", b"yesterday")]), "bad_time"),
        (binary(&[("ce_time", b"2026-11-20T08:15:30")]), "bad_time"),
        (binary(&[("ce_subject", b"a\tb")]), "bad_subject"),
        (binary(&[("ce_entityrid", b"a b")]), "bad_entityrid"),
        (binary(&[("ce_namespace", b"a\x07")]), "bad_attribute"),
        (binary(&[("ce_subject", b"\xff")]), "not_text"),
        (binary(&[("content-type", b"\xff")]), "not_text"),
        (binary(&[("ce_My_Ext", b"x")]), "bad_extension"),
        (binary(&[("ce_abcdefghijklmnopqrstu", b"x")]), "bad_extension"),
        (binary(&[("ce_note", b"a\nb")]), "bad_extension"),
        (binary(&[("ce_data", b"x")]), "bad_extension"),
        (binary(&[("other", &many)]), "headers_too_large"),
        (binary(&[("content-type", b"application/cloudevents-batch+json")]), "unknown_format"),
        (binary(&[("content-type", b"Application/CloudEvents+Avro")]), "unknown_format"),
        (structured(""), "not_json"),
        (structured("[]"), "not_an_object"),
        (structured("{\"id\":\"\u{1}\"}"), "not_json"),
        (structured(r#"{"specversion":"1.0"}"#), "missing_header"),
        (structured(r#"{"specversion":1.0}"#), "unknown_specversion"),
        (structured(r#"{"specversion":{}}"#), "bad_attribute"),
        (structured(r#"{"id":"a","id":"a"}"#), "duplicate_attribute"),
        (structured(r#"{"data":1,"data":1}"#), "duplicate_attribute"),
        (structured(r#"{"data":1,"data_base64":"YQ=="}"#), "bad_data"),
        (structured(r#"{"data_base64":"%"}"#), "bad_data"),
        (structured(r#"{"datacontenttype":"text/plain","data":{}}"#), "bad_data"),
        // The word `false` is no JSON.
        (structured(r#"{"datacontenttype":false,"data":{}}"#), "bad_data"),
        (structured(r#"{"source":[7],"data":{}}"#), "bad_attribute"),
        (structured(r#"{"id":7.5,"data":{}}"#), "bad_attribute"),
        (structured(&format!(r#"{{"data":{}}}"#, "[".repeat(101) + &"]".repeat(101))), "too_deep"),
    ];
    for (record, reason) in cases {
        let refused = Event::from_record(&record).map(|e| e.id).map_err(|why| why.reason());
        assert_eq!(refused, Err(reason), "{:?}", record.record.headers);
    }
}

#[test]
fn a_structured_record_that_is_no_utf8_or_too_large_is_refused() {
    let bad = received(&[("content-type", b"application/cloudevents+json")], Some(b"{\"id\":\"\xff\"}"));
    assert_eq!(Event::from_record(&bad).map_err(|why| why.reason()), Err("not_json"));
    let mut large = binary(&[]);
    large.record.value = Some(Bytes::from(vec![b'1'; MAX_PAYLOAD + 1]));
    assert_eq!(Event::from_record(&large).map_err(|why| why.reason()), Err("payload_too_large"));
    let members: String = (0..101).map(|n| format!("\"a{n}\":1,")).collect();
    let many = structured(&format!("{{{}\"z\":1}}", members));
    assert_eq!(Event::from_record(&many).map_err(|why| why.reason()), Err("too_many_attributes"));
}

#[test]
fn a_record_without_id_time_and_value_is_the_same_event_at_every_reading() {
    let mut bare = binary(&[("ce_id", b""), ("ce_time", b"")]);
    bare.record.value = None;
    let event = Event::from_record(&bare).unwrap();
    assert_eq!(event.id.as_str(), "kafka:events-3-42");
    assert_eq!(event.time, bare.timestamp);
    assert_eq!((event.payload.len(), event.content_type.as_str()), (0, JSON));
    assert_eq!(EventHeaders::of(&bare).unwrap().id, "kafka:events-3-42");
    let full = canonical(&bare).unwrap();
    assert_eq!(full.record.headers.text("ce_id"), Some("kafka:events-3-42"));
    assert_eq!(full.record.headers.text("ce_time"), Some("2025-11-21T08:00:00.000Z"));
}

#[test]
fn structured_mode_means_what_binary_mode_means() {
    let mut sent = structured(concat!(
        r#"{"specversion":"1.0","id":"e\u0031","source":"/his","type":"patient.created","orgid":648,"#,
        r#""time":"2026-11-20T08:15:30Z","subject":"Patient/123","sampled":true,"priority":-5,"gone":null,"#,
        r#""data": {"b" :1,  "a":[1.50]} }"#
    ));
    sent.record.headers.push("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let event = Event::from_record(&sent).unwrap();
    let expected = binary(&[
        ("ce_subject", b"Patient/123"),
        ("ce_sampled", b"true"),
        ("ce_priority", b"-5"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]);
    let expected = Event { payload: event.payload.clone(), ..Event::from_record(&expected).unwrap() };
    assert_eq!(event, expected);
    assert_eq!(&event.payload[..], br#"{"b" :1,  "a":[1.50]}"#);
    let binary = canonical(&sent).unwrap();
    assert_eq!(binary.record.headers.text(header::CONTENT_TYPE), Some(JSON));
}

#[test]
fn what_producers_wrote_as_another_type_is_read_from_the_log_as_it_was_before() {
    let sent =
        r#"{"specversion":"1.0","id":true,"source":7,"type":8,"orgid":648,"subject":false,"namespace":7.0,"data":{}}"#;
    let event = Event::from_record(&structured(sent)).unwrap();
    let read = (event.id.as_str(), event.source.as_str(), event.event_type.as_str(), event.org.as_str());
    assert_eq!(read, ("true", "7", "8", "648"));
    let read = (event.entity_id.as_ref().map(EntityId::as_str), event.namespace.as_ref().map(Label::as_str));
    assert_eq!(read, (Some("false"), Some("7")));
    // A request is told.
    let body = bytes::Bytes::from_static(sent.as_bytes());
    let members: Members = serde_json::from_slice(&body).unwrap();
    let refused = Structured::of(&body, members.list().unwrap()).unwrap_err();
    assert_eq!(refused.reason(), "bad_attribute");
}

#[test]
fn structured_data_keeps_its_bytes_or_its_text() {
    let base = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","orgid":"o","#;
    let cases: [(&str, &[u8]); 8] = [
        (r#""data":"a\nb"}"#, br#""a\nb""#),
        (r#""data":null}"#, b"null"),
        (r#""datacontenttype":"application/fhir+json","data":{"a": 1}}"#, br#"{"a": 1}"#),
        (r#""datacontenttype":"text/plain","data":"a\nb"}"#, b"a\nb"),
        (r#""datacontenttype":"x-application/hl7-v2+er7","data":"MSH|^~\\&|A\rPID"}"#, b"MSH|^~\\&|A\rPID"),
        (r#""datacontenttype":"application/xml","data":"<a/>"}"#, b"<a/>"),
        (r#""data_base64":"AP8="}"#, &[0, 255]),
        (r#""datacontenttype":"text/plain"}"#, b""),
    ];
    for (rest, payload) in cases {
        let event = Event::from_record(&structured(&format!("{base}{rest}"))).unwrap();
        assert_eq!(&event.payload[..], payload, "{rest}");
    }
}

#[test]
fn brackets_in_a_text_are_no_depth() {
    let brackets = "[{".repeat(MAX_DEPTH);
    for text in [brackets.clone(), format!(r#"\"{brackets}"#), format!(r"\\{brackets}\\")] {
        assert_eq!(check_json(format!(r#"["{text}", []]"#).as_bytes()), Ok(()), "{text}");
    }
    let (open, close) = ("[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert_eq!(check_json(format!("{open}{close}").as_bytes()), Ok(()));
    assert_eq!(check_json(format!(r#"["\\"{open}{close}]"#).as_bytes()), Err(NotAnEvent::TooDeep(MAX_DEPTH)));
}

#[test]
fn the_key_keeps_one_entity_together() {
    let with = Event::from_record(&binary(&[("ce_subject", b"Patient/123")])).unwrap();
    let without = Event::from_record(&binary(&[])).unwrap();
    assert_eq!(with.to_record().key.as_deref(), Some(&b"648/Patient/123"[..]));
    assert_eq!(without.to_record().key.as_deref(), Some(&b"648/e1"[..]));
}

#[test]
fn a_malformed_trace_context_is_left_out_and_the_last_hop_wins() {
    let good: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let other: &[u8] = b"00-11111111111111111111111111111111-b7ad6b7169203331-01";
    type Header<'a> = (&'a str, &'a [u8]);
    let cases: [(&[Header<'_>], Option<&[u8]>); 6] = [
        (&[("traceparent", good)], Some(good)),
        (&[("ce_traceparent", good)], Some(good)),
        (&[("traceparent", good), ("ce_traceparent", other)], Some(good)),
        (&[("traceparent", b"00-00000000000000000000000000000000-b7ad6b7169203331-01")], None),
        (&[("traceparent", b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], None),
        (&[("traceparent", b"\xff")], None),
    ];
    for (headers, expected) in cases {
        let event = Event::from_record(&binary(headers)).unwrap();
        assert_eq!(event.traceparent.as_ref().map(|t| t.as_str().as_bytes()), expected);
    }
}
