//! The receiver does what it says; a suite that stands on it would else prove nothing.

use std::error::Error as _;
use std::time::{Duration, Instant};

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn client(timeout: Duration) -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(timeout).build().expect("a client")
}

async fn post(receiver: &Receiver, path: &str, delivery: &str) -> reqwest::Result<reqwest::Response> {
    let request = client(SOON).post(receiver.url(path)).header("idempotency-key", delivery).header("ce-id", "e1");
    request.body("hello").send().await
}

#[tokio::test]
async fn answers_come_in_turn_and_the_last_one_stays() {
    let receiver = Receiver::start().await;
    receiver.on("/a", [Answer::status(500), Answer::status(429).retry_after("2"), Answer::status(204)]);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = post(&receiver, "/a", "d1").await.expect("an answer");
        let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().expect("text").to_string());
        statuses.push((answer.status().as_u16(), retry_after));
    }
    assert_eq!(statuses, [(500, None), (429, Some("2".to_string())), (204, None), (204, None)]);
    assert_eq!(post(&receiver, "/other", "d2").await.expect("an answer").status(), 200);
    receiver.on("/a", [Answer::status(503)]);
    assert_eq!(post(&receiver, "/a", "d1").await.expect("an answer").status(), 503);
}

#[tokio::test]
async fn every_request_is_remembered_with_what_it_carried() {
    let receiver = Receiver::start().await;
    receiver.on("/a", [Answer::status(500), Answer::status(200)]);
    for _ in 0..3 {
        post(&receiver, "/a", "d1").await.expect("an answer");
    }
    receiver.log(|log| {
        assert_eq!((log.requests("/a"), log.delivered("/a"), log.requests("/b")), (3, 1, 0));
        assert!(log.has("e1", "/a") && !log.has("e1", "/b") && !log.has("e2", "/a"));
        let attempts: Vec<&Seen> = log.attempts("d1").collect();
        assert_eq!(attempts.iter().map(|seen| seen.delivered()).collect::<Vec<_>>(), [false, true, true]);
        assert!(attempts[0].body_is(b"hello") && !attempts[0].body_is(b"hallo"));
        assert_eq!((attempts[0].body_bytes, &attempts[0].method), (5, &http::Method::POST));
        assert!(attempts[0].at <= attempts[1].at && attempts[0].answered.is_some());
        assert_eq!(log.deliveries().collect::<Vec<_>>(), ["d1"]);
    });
}

#[tokio::test]
async fn a_reset_reaches_the_client_as_a_reset() {
    let receiver = Receiver::start().await;
    receiver.on("/a", [Answer::reset(), Answer::status(200)]);
    let error = post(&receiver, "/a", "d1").await.expect_err("no answer");
    let mut cause = error.source();
    let mut reset = false;
    while let Some(error) = cause {
        reset |=
            error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        cause = error.source();
    }
    assert!(reset, "{error:?}");
    assert_eq!(post(&receiver, "/a", "d1").await.expect("an answer").status(), 200);
    receiver.log(|log| assert_eq!(log.all()[0].answered, None));
}

#[tokio::test]
async fn a_hang_lasts_until_the_client_gives_up() {
    let receiver = Receiver::start().await;
    receiver.on("/a", [Answer::hang()]);
    let error = client(Duration::from_millis(200)).post(receiver.url("/a")).send().await.expect_err("no answer");
    assert!(error.is_timeout(), "{error:?}");
    receiver.log(|log| assert_eq!((log.requests("/a"), log.delivered("/a")), (1, 0)));
}

#[tokio::test]
async fn a_delay_delays_and_an_endless_body_does_not_end() {
    let receiver = Receiver::start().await;
    receiver.on("/slow", [Answer::status(200).after(Duration::from_millis(150))]);
    let begun = Instant::now();
    post(&receiver, "/slow", "d1").await.expect("an answer");
    assert!(begun.elapsed() >= Duration::from_millis(150));

    receiver.on("/endless", [Answer::endless()]);
    let mut answer = post(&receiver, "/endless", "d2").await.expect("headers");
    let mut read = 0;
    while read < 4 << 20 {
        read += answer.chunk().await.expect("more").expect("no end").len();
    }
}

#[tokio::test]
async fn waiting_ends_with_the_request_that_was_waited_for() {
    let receiver = Receiver::start().await;
    let wait = receiver.wait_for("three requests", SOON, |log| log.requests("/a") == 3);
    let send = async {
        for _ in 0..3 {
            post(&receiver, "/a", "d1").await.expect("an answer");
        }
    };
    tokio::join!(wait, send);
}

#[tokio::test]
#[should_panic(expected = "for one request; the receiver has seen 0 requests")]
async fn waiting_in_vain_says_for_what() {
    let receiver = Receiver::start().await;
    receiver.wait_for("one request", Duration::from_millis(50), |log| log.requests("/a") == 1).await;
}
