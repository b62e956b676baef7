//! A day on which little fails: the healthcare example by REST and by Kafka's own tools, and its story in those tools.

use std::collections::{BTreeMap, HashMap};

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::api::{Api, event};
use crate::support::broker::Broker;
use crate::support::command::tidegate;
use crate::support::gateway::Setup;
use crate::support::receiver::hash;
use crate::support::receiver::{Log, Receiver, Seen};
use crate::support::{LATER, repository, topics, turn};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    id: String,
    event_type: String,
    org_id: String,
    entity_id: String,
    time: String,
    payload: Box<RawValue>,
    #[serde(skip)]
    line: String,
}

struct Integration {
    id: String,
    org: String,
    types: Vec<String>,
    path: String,
    method: String,
    with_event_headers: bool,
}

impl Integration {
    fn hears(&self, event: &Event) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => event.event_type.starts_with(start),
            None => *pattern == event.event_type,
        };
        self.org == event.org_id && self.types.iter().any(matches)
    }
}

fn example(file: &str) -> String {
    let path = repository().join("topologies/examples/healthcare").join(file);
    std::fs::read_to_string(path).expect("the example is there")
}

fn example_events() -> Vec<Event> {
    let parse = |line: &str| Event { line: line.to_owned(), ..serde_json::from_str(line).expect("an event") };
    example("events.jsonl").lines().map(parse).collect()
}

/// All files of the example as one text.
fn example_catalog() -> String {
    let folder = repository().join("topologies/examples/healthcare");
    let (mut open, mut files) = (vec![folder], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            files.push(std::fs::read_to_string(&path).expect("a file"));
        }
    }
    files.join("---\n")
}

/// Sets the example up with this receiver in the place of port 9900.
async fn set_up(setup: &Setup, receiver: &Receiver) -> Vec<Integration> {
    let text = example_catalog().replace("http://127.0.0.1:9900", &receiver.url(""));
    let applied = tidegate(setup, &["apply", "-f", "-", "--yes"], &text).await;
    assert_eq!(applied.code, Some(0), "{}", applied.err);
    let all = setup.api().expect(200, Method::GET, "outbound-integrations", None).await.body;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let made = |one: &Value| Integration {
        id: text(&one["id"]),
        org: text(&one["orgId"]),
        types: one["eventType"].as_array().expect("a list").iter().map(text).collect(),
        path: text(&one["targetUrl"]).replace(&receiver.url(""), ""),
        method: text(&one["httpMethod"]),
        with_event_headers: one["eventHeaders"] != false,
    };
    all["integrations"].as_array().expect("a list").iter().map(made).collect()
}

/// One by one, then in batches, each line as it is.
async fn by_rest(api: &Api, all: &[Event]) {
    let (single, batches) = all.split_at(50);
    for event in single {
        let body = event.line.clone().into_bytes();
        let reply = api.send(Method::POST, "events", Some(body), "application/json").await.expect("an answer");
        assert_eq!((reply.status, &reply.body), (202, &json!({"id": event.id, "status": "accepted"})));
    }
    for batch in batches.chunks(100) {
        let lines: Vec<&str> = batch.iter().map(|event| event.line.as_str()).collect();
        let body = format!("{{\"events\":[{}]}}", lines.join(",")).into_bytes();
        let reply = api.send(Method::POST, "events/batch", Some(body), "application/json").await.expect("an answer");
        assert_eq!((reply.status, &reply.body["accepted"]), (202, &json!(batch.len())), "{:.400}", reply.body);
    }
}

fn key(event: &Event) -> String {
    format!("{}/{}", event.org_id, event.entity_id)
}

/// Attributes in headers: one run of kcat an event, for its headers are those of all its messages.
async fn by_kcat_binary(broker: &Broker, topic: &str, all: &[Event]) {
    for event in all {
        let headers = [
            "ce_specversion=1.0".to_owned(),
            format!("ce_id={}", event.id),
            "ce_source=/kcat/binary".to_owned(),
            format!("ce_type={}", event.event_type),
            format!("ce_time={}", event.time),
            format!("ce_subject={}", event.entity_id),
            format!("ce_orgid={}", event.org_id),
            "content-type=application/json".to_owned(),
        ];
        let key = key(event);
        let mut arguments = vec!["-P", "-t", topic, "-X", "partitioner=murmur2_random", "-k", &key];
        for header in &headers {
            arguments.extend(["-H", header]);
        }
        broker.kcat(&arguments, event.payload.get().as_bytes()).await;
    }
}

/// The whole event in the value, a line each.
async fn by_kcat_structured(broker: &Broker, topic: &str, all: &[Event]) {
    let line = |event: &Event| {
        let attributes = json!({
            "specversion": "1.0", "id": event.id, "source": "/kcat/structured", "type": event.event_type,
            "time": event.time, "subject": event.entity_id, "orgid": event.org_id, "datacontenttype": "application/json",
        });
        let attributes = attributes.to_string();
        let open = attributes.strip_suffix('}').expect("an object");
        format!("{}\t{open},\"data\":{}}}\n", key(event), event.payload.get())
    };
    let input: String = all.iter().map(line).collect();
    let header = "content-type=application/cloudevents+json; charset=UTF-8";
    let arguments = ["-P", "-t", topic, "-X", "partitioner=murmur2_random", "-K", "\t", "-H", header];
    broker.kcat(&arguments, input.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_by_any_way_arrives_once_as_it_was() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    // As many partitions as in production.
    let setup = Setup::new(&broker, "day").without("TIDEGATE_TOPOLOGY__PROFILE");
    let gateway = setup.start().await;
    let api = gateway.api();
    let integrations = set_up(&setup, &receiver).await;
    let all = example_events();
    let topic = setup.topic("events");
    by_rest(&api, &all).await;
    by_kcat_binary(&broker, &topic, &all[..60]).await;
    by_kcat_structured(&broker, &topic, &all).await;

    // The same ids under three sources are three events.
    let sources: [&[Event]; 3] = [&all, &all[..60], &all];
    let owed = |one: &Integration| sources.iter().flat_map(|s| s.iter()).filter(|e| one.hears(e)).count();
    for one in &integrations {
        let what = format!("{} deliveries of {}", owed(one), one.id);
        receiver.wait_for(&what, LATER, |log| log.requests(&one.path) >= owed(one)).await;
    }
    topics::quiet(&setup).await;
    receiver.look(|log| {
        for one in &integrations {
            arrived(log, one, &sources, owed(one));
        }
    });
    let one = &integrations[0];
    let sample = receiver.look(|log| log.of(&one.path).next().cloned()).expect("a request");
    story(&broker, &setup, (&sample, &one.id)).await;
    groups(&broker, &setup).await;
    waited(&api, &receiver, (&broker, &setup)).await;
    assert_eq!(topics::read(&setup, "rejected").await.len(), 0);
}

fn arrived(log: &Log, one: &Integration, sources: &[&[Event]; 3], owed: usize) {
    let requests: Vec<&Seen> = log.of(&one.path).collect();
    assert_eq!(requests.len(), owed, "{}: some came more than once", one.id);
    let mut bodies: BTreeMap<[u8; 32], isize> = BTreeMap::new();
    for event in sources.iter().flat_map(|s| s.iter()).filter(|e| one.hears(e)) {
        *bodies.entry(hash(event.payload.get().as_bytes())).or_default() += 1;
    }
    let known: HashMap<&str, &Event> = sources[0].iter().map(|event| (event.id.as_str(), event)).collect();
    for seen in &requests {
        *bodies.entry(seen.body).or_default() -= 1;
        always(seen, one);
        if one.with_event_headers {
            of_event(seen, known[seen.event.as_str()]);
        } else {
            assert!(seen.headers.iter().all(|(name, _)| !name.starts_with("ce-")), "{}: {:?}", one.id, seen.headers);
        }
    }
    let changed = bodies.values().filter(|left| **left != 0).count();
    assert_eq!(changed, 0, "{}: bodies that are not as they were sent", one.id);
}

/// The headers that every request has.
fn always(seen: &Seen, one: &Integration) {
    let header =
        |name: &str| seen.header(name).unwrap_or_else(|| panic!("{}: no `{name}`: {:?}", one.id, seen.headers));
    assert_eq!(seen.method, one.method);
    assert_eq!(header("user-agent"), concat!("Tidegate/", env!("CARGO_PKG_VERSION")));
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("traceparent").len(), 55);
    assert!(!header("x-correlation-id").is_empty());
    assert_eq!(uuid::Uuid::parse_str(header("idempotency-key")).expect("a UUID").get_version_num(), 8);
    if one.id == "patient-index" {
        assert_eq!(header("x-client"), "tidegate-example");
    }
}

fn of_event(seen: &Seen, event: &Event) {
    let told = |name: &str| seen.header(name).unwrap_or_default();
    let expected = [
        ("ce-specversion", "1.0"),
        ("ce-type", &event.event_type),
        ("ce-orgid", &event.org_id),
        ("ce-subject", &event.entity_id),
    ];
    for (name, value) in expected {
        assert_eq!(told(name), value, "{name} of {}: {:?}", event.id, seen.headers);
    }
    assert!(told("ce-time").starts_with(&event.time[..19]), "{:?}", seen.headers);
    assert!(!told("ce-source").is_empty());
}

/// The headers of every record of a topic, a line each.
async fn shown(broker: &Broker, setup: &Setup, topic: &str) -> String {
    let topic = setup.topic(topic);
    let committed = ["-X", "isolation.level=read_committed", "-f", "%h\n"];
    broker.kcat(&[&["-C", "-t", &topic, "-o", "beginning", "-e", "-q"][..], &committed].concat(), b"").await
}

/// What kcat shows of one delivery, topic by topic.
async fn story(broker: &Broker, setup: &Setup, (sample, integration): (&Seen, &str)) {
    let (event, delivery) = (format!("ce_id={}", sample.event), format!("tg_delivery={}", sample.delivery));
    let integration = format!("tg_integration={integration}");
    // Whichever came first: nothing orders the events of different keys.
    let kind = format!("ce_type={}", sample.header("ce-type").expect("the type of the event"));
    let expected: [(&str, Vec<&str>); 3] = [
        ("events", vec![&event, "ce_specversion=1.0", "ce_orgid=648", &kind]),
        ("deliveries", vec![&event, &delivery, &integration, "tg_trigger=EVENT", "tg_catalog="]),
        (
            "attempts",
            vec![&event, &delivery, &integration, "tg_outcome=DELIVERED", "tg_attempt=1", "tg_status=SUCCESS"],
        ),
    ];
    for (topic, words) in expected {
        let text = shown(broker, setup, topic).await;
        let told = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let near: Vec<&str> = text.lines().filter(|line| line.contains(&event)).take(2).collect();
        assert!(told, "{topic} does not tell {words:?}; near it: {near:#?}");
    }
}

/// What kcat shows of a delivery that a receiver did not take at once.
async fn waited(api: &Api, receiver: &Receiver, (broker, setup): (&Broker, &Setup)) {
    let retry = json!({"maxAttempts": 3, "delays": ["1s"], "jitter": 0.0});
    api.integration("unwell", &receiver.url("/unwell"), json!({"eventType": "day.unwell", "retry": retry})).await;
    receiver.sequence("/unwell", &[503, 200]);
    api.publish(&event("waits", "day.unwell")).await;
    receiver.wait_for("the second attempt is answered", LATER, |log| log.answers("/unwell") == 2).await;
    topics::quiet(setup).await;
    let delivery = receiver.look(|log| log.of("/unwell").next().map(|seen| seen.delivery.clone())).expect("a request");
    let delivery = format!("tg_delivery={delivery}");
    let words =
        ["tg_integration=unwell", "tg_reason=RETRY", &delivery, "tg_attempt=1", "tg_error=HTTP_5XX: ", "tg_first_at="];
    let text = shown(broker, setup, "retry").await;
    let told = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(told, "retry does not tell {words:?}: {text}");
}

/// Kafka's own tool shows the groups, and that nothing is left to do.
async fn groups(broker: &Broker, setup: &Setup) {
    for (stage, topic) in [("match", "events"), ("deliver", "deliveries")] {
        let (group, topic) = (setup.topic(stage), setup.topic(topic));
        let text = broker.tool(&["groups", "--describe", "--group", &group]).await;
        let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        let rows: Vec<&Vec<&str>> = rows.iter().filter(|r| r.len() > 5 && r[0] == group && r[1] == topic).collect();
        assert_eq!(rows.len(), 12, "{text}");
        // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG
        let busy = rows.iter().filter(|r| r[4] != "0").inspect(|r| assert_eq!(r[5], "0", "{text}")).count();
        assert!(busy > 3, "spread over partitions: {text}");
    }
}
