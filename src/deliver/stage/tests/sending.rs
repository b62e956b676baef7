//! One attempt at a receiver that behaves in one way or another.

use super::*;

#[tokio::test]
async fn a_delivery_arrives_with_its_payload_and_everything_that_names_it() {
    let receiver = Receiver::that(OK).await;
    let attempted = attempted(&receiver, 1, |i| {
        i.headers = vec![
            ("x-own".parse().unwrap(), "1".parse().unwrap()),
            ("host".parse().unwrap(), "elsewhere".parse().unwrap()),
            ("user-agent".parse().unwrap(), "mine".parse().unwrap()),
            ("idempotency-key".parse().unwrap(), "mine".parse().unwrap()),
            ("ce-id".parse().unwrap(), "mine".parse().unwrap()),
            ("content-length".parse().unwrap(), "1".parse().unwrap()),
        ];
    })
    .await;
    assert_eq!(attempted.outcome, Outcome::Delivered);
    let request = receiver.request();
    assert!(request.starts_with("POST /hook?a=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"amount\":101}"), "{request}");
    let lines: Vec<&str> = request.lines().collect();
    let address = format!("host: {}", receiver.address);
    let expected = [
        "ce-specversion: 1.0",
        "ce-id: e-1",
        "ce-type: bill.created",
        "ce-subject: Patient/7%20%C3%A9",
        "ce-correlationid: c%201",
        "x-correlation-id: c 1",
        "content-type: application/json",
        "content-length: 14",
        "x-own: 1",
        concat!("user-agent: Tidegate/", env!("CARGO_PKG_VERSION")),
        "idempotency-key: 0197a0b2-3c4d-8e5f-8a6b-7c8d9e0f1a2b",
        &address,
    ];
    for line in expected {
        let name = line.split_once(": ").unwrap().0;
        let found: Vec<_> = lines.iter().filter(|l| l.starts_with(&format!("{name}: "))).collect();
        assert_eq!(found, [&line], "{request}");
    }
    let trace = lines.iter().find_map(|l| l.strip_prefix("traceparent: ")).unwrap();
    assert!(trace.starts_with("00-0197a0b23c4d8e5f8a6b7c8d9e0f1a2b-") && trace.len() == 55, "{trace}");
    assert!(!request.contains("tg_") && !request.contains("elsewhere") && !request.contains("mine"), "{request}");
}

#[tokio::test]
async fn a_get_goes_without_a_body_and_without_event_headers_where_they_are_not_wanted() {
    let receiver = Receiver::that(OK).await;
    let attempted = attempted(&receiver, 1, |i| {
        i.method = http::Method::GET;
        i.event_headers = false;
    })
    .await;
    assert_eq!(attempted.outcome, Outcome::Delivered);
    let request = receiver.request();
    assert!(request.starts_with("GET ") && request.ends_with("\r\n\r\n"), "{request}");
    assert!(!request.contains("content-") && !request.contains("\nce-"), "{request}");
    assert!(request.contains("idempotency-key: "), "{request}");
}

#[tokio::test]
async fn an_answer_becomes_its_outcome_and_is_told() {
    let cases = [
        ("HTTP/1.1 204 No Content\r\n\r\n", "DELIVERED SUCCESS 204 null null null"),
        (
            "HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "DELIVERED SUCCESS 202 null null null",
        ),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone", "DEAD FAILED 404 HTTP_4XX none null"),
        ("HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n\u{1}\u{2}", "DEAD FAILED 400 HTTP_4XX \u{1}\u{2} null"),
        ("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", "RETRY RETRYING 408 HTTP_4XX  1"),
        ("HTTP/1.1 500 Oops\r\ncontent-length: 3\r\n\r\nbad", "RETRY RETRYING 500 HTTP_5XX bad 1"),
        ("HTTP/1.1 429 Slow\r\nretry-after: 90\r\ncontent-length: 0\r\n\r\n", "RETRY RETRYING 429 RATE_LIMITED  90"),
        (
            "HTTP/1.1 429 Slow\r\nretry-after: Mon, 21 Sep 2026 14:14:20 GMT\r\ncontent-length: 0\r\n\r\n",
            "RETRY RETRYING 429 RATE_LIMITED  60",
        ),
        ("HTTP/1.1 503 Later\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n", "RETRY RETRYING 503 HTTP_5XX  1"),
    ];
    let stage = stage(vec![], "127.0.0.0/8");
    for (answer, expected) in cases {
        let receiver = Receiver::that(Does::Answers(answer)).await;
        let attempted = stage.attempt_at(&receiver.url()).await;
        let value = told(&attempted.outputs);
        let text = |name: &str| value[name].as_str().unwrap_or("null").to_owned();
        let next = value["nextAttemptAt"].as_str().and_then(Timestamp::parse);
        let wait = next.map_or("null".to_owned(), |at| at.since(NOW).as_secs().to_string());
        let (outcome, status, code) = (text("outcome"), text("status"), &value["responseStatus"]);
        let (category, body) = (text("errorCategory"), text("responseBody"));
        assert_eq!(format!("{outcome} {status} {code} {category} {body} {wait}"), expected, "{answer}");
        let agrees = match attempted.outcome {
            Outcome::Delivered => outcome == "DELIVERED",
            Outcome::Retry { due, .. } => Some(due) == next,
            Outcome::Dead | Outcome::Abandoned => {
                attempted.outputs.len() == 2 && attempted.outputs[1].topic == Topic::Dlq
            }
        };
        assert!(agrees, "{answer}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_when_its_time_is_up() {
    for does in [Does::Stops(""), Does::Stops("HTTP/1.1 200 OK\r\ncontent-le")] {
        let mut receiver = Receiver::that(does).await;
        let attempted = attempted(&receiver, 1, |i| i.timeout = Duration::from_millis(100)).await;
        assert_eq!(retry_in(&attempted), Duration::from_secs(1));
        let value = told(&attempted.outputs);
        assert_eq!(
            (&value["errorCategory"], &value["errorMessage"]),
            (&"TIMEOUT".into(), &"no answer within 100 ms".into())
        );
        assert!(value["durationMs"].as_f64().unwrap() >= 100.0, "{value}");
        receiver.closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_receiver_that_resets_or_talks_nonsense_is_tried_again() {
    let endless = Does::Endless("HTTP/1.1 200 OK\r\n", "x-more: of this\r\n");
    for does in [Does::Resets, endless, Does::Answers("220 smtp ready\r\n\r\n")] {
        let mut receiver = Receiver::that(does).await;
        let attempted = attempted(&receiver, 1, |_| ()).await;
        assert_eq!(retry_in(&attempted), Duration::from_secs(1), "{does:?}");
        let value = told(&attempted.outputs);
        assert_eq!((&value["errorCategory"], &value["responseStatus"]), (&"NETWORK".into(), &Value::Null), "{does:?}");
        receiver.closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn nobody_listening_and_a_broken_tls_handshake_are_tried_again() {
    let receiver = Receiver::that(Does::Greets("not tls")).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let stage = stage(vec![], "127.0.0.0/8,no.such.invalid");
    for target in
        [format!("http://{free}/"), format!("https://{}/", receiver.address), "http://no.such.invalid/".to_owned()]
    {
        let attempted = stage.attempt_at(&target).await;
        assert_eq!(retry_in(&attempted), Duration::from_secs(1), "{target}");
        let value = told(&attempted.outputs);
        assert_eq!(value["errorCategory"], "NETWORK", "{value}");
        assert!(!value["errorMessage"].as_str().unwrap().contains("http"), "{value}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_and_its_connection_closed() {
    const MORE: &str = match std::str::from_utf8(&[b'x'; 4_096]) {
        Ok(text) => text,
        Err(_) => "",
    };
    let mut receiver = Receiver::that(Does::Endless("HTTP/1.1 500 Oops\r\nx-a: b\r\n\r\n", MORE)).await;
    let attempted = attempted(&receiver, 1, |_| ()).await;
    assert_eq!(retry_in(&attempted), Duration::from_secs(1));
    let value = told(&attempted.outputs);
    assert_eq!(value["responseBody"].as_str().unwrap().len(), 64 * 1_024);
    assert_eq!((&value["responseBodyTruncated"], &value["responseHeaders"]["x-a"]), (&true.into(), &"b".into()));
    // 64 KiB and what the sockets' buffers took, of the gigabytes that there was time for.
    let written = receiver.closed.recv().await.unwrap() * MORE.len();
    assert!(written < 16 << 20, "{written}");
}

#[tokio::test]
async fn a_success_counts_although_its_body_never_ends_or_never_comes() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1";
    let large = "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n";
    let endless = Does::Endless("HTTP/1.1 200 OK\r\n\r\n", "more and more and more and more ");
    for does in [Does::Stops(head), Does::Stops(large), endless] {
        let mut receiver = Receiver::that(does).await;
        let attempted = attempted(&receiver, 1, |i| i.timeout = Duration::from_millis(200)).await;
        assert_eq!(attempted.outcome, Outcome::Delivered, "{does:?}");
        assert_eq!(told(&attempted.outputs)["outcome"], "DELIVERED");
        receiver.closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let receiver =
        Receiver::that(Does::Answers("HTTP/1.1 307 Elsewhere\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n")).await;
    let attempted = attempted(&receiver, 1, |_| ()).await;
    assert_eq!(attempted.outcome, Outcome::Dead);
    let value = told(&attempted.outputs);
    assert_eq!(
        (&value["errorCategory"], &value["responseHeaders"]["location"]),
        (&"HTTP_3XX".into(), &"/other".into())
    );
    receiver.request();
}

#[tokio::test]
async fn a_target_inside_the_house_is_never_connected_to() {
    let receiver = Receiver::that(OK).await;
    let port = receiver.address.port();
    let stage = stage(vec![], "10.0.0.0/8");
    for host in ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"] {
        for scheme in ["http", "https"] {
            let attempted = stage.attempt_at(&format!("{scheme}://{host}:{port}/")).await;
            assert_eq!(attempted.outcome, Outcome::Dead, "{scheme} {host}");
            let value = told(&attempted.outputs);
            assert_eq!(
                (&value["errorCategory"], &value["status"]),
                (&"BLOCKED".into(), &"FAILED".into()),
                "{scheme} {host}"
            );
            assert!(value["errorMessage"].as_str().unwrap().contains("TIDEGATE_EGRESS_ALLOW"), "{value}");
        }
    }
    assert_eq!(receiver.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_is_let_through_by_its_own_name_or_by_its_network() {
    let receiver = Receiver::that(OK).await;
    let target = format!("http://localhost:{}/", receiver.address.port());
    for (allow, outcome) in
        [("localhost", Outcome::Delivered), ("127.0.0.0/8", Outcome::Delivered), ("host", Outcome::Dead)]
    {
        let stage = stage(vec![integration(&target)], allow);
        assert_eq!(stage.deliver.attempt(job(&delivery(), 1)).await.outcome, outcome, "{allow}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let receiver = Receiver::that(OK).await;
    let stage = stage(vec![integration(&receiver.url())], "127.0.0.0/8");
    for _ in 0..20 {
        assert_eq!(stage.deliver.attempt(job(&delivery(), 1)).await.outcome, Outcome::Delivered);
    }
    assert_eq!(lock(&receiver.requests).len(), 20);
    // Not one: a request may ask for a connection just before the last one gives its back.
    assert!(receiver.connections.load(Ordering::SeqCst) <= 4, "{:?}", receiver.connections);
}
