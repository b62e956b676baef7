//! The receiver does as it is told: an account is worth what its witness is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use reqwest::{Client, StatusCode};

use crate::support::SOON;
use crate::support::ledger::Ledger;
use crate::support::receiver::{Answer, Receiver};

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().expect("a client")
}

async fn deliver(receiver: &Receiver, path: &str, id: &str) -> Result<StatusCode, reqwest::Error> {
    let request = client().post(receiver.url(path)).header("idempotency-key", id).header("ce-id", format!("e-{id}"));
    request.body("{}").send().await.map(|answer| answer.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_misremembers_is_noticed() {
    let receiver = Receiver::start().await;
    receiver.tell_apart(&[std::process::id()]);
    for id in ["d1", "d2", "d1"] {
        assert_eq!(deliver(&receiver, "/a", id).await.unwrap(), 200);
    }
    // The client may have its answer before the receiver has noted that it left.
    receiver.wait_for("three answers", SOON, |log| log.answers("/a") == 3).await;
    receiver.look(|log| {
        assert_eq!((log.requests("/a"), log.answers("/a"), log.events("/a"), log.requests("/b")), (3, 3, 2, 0));
        let nth: Vec<usize> = log.of("/a").map(|seen| seen.nth).collect();
        assert_eq!(nth, [1, 1, 2]);
        let seen = &log[0];
        assert_eq!((seen.method.as_str(), seen.delivery.as_str(), seen.event.as_str()), ("POST", "d1", "e-d1"));
        assert!(seen.process == Some(std::process::id()) && seen.answered.is_some_and(|at| at >= seen.at));
        assert!(log.all().iter().all(|seen| seen.body == log[0].body));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_do_as_told_is_noticed() {
    let receiver = Receiver::start().await;
    receiver.sequence("/seq", &[500, 429, 204]);
    for expected in [500, 429, 204, 204] {
        assert_eq!(deliver(&receiver, "/seq", "d").await.unwrap(), expected);
    }
    receiver.always("/after", Answer::With(503, "retry-after", "7".into()));
    let answer = client().post(receiver.url("/after")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "7"));
    receiver.always("/slow", Answer::After(Duration::from_millis(300), 200));
    let began = tokio::time::Instant::now();
    assert_eq!(deliver(&receiver, "/slow", "d").await.unwrap(), 200);
    assert!(began.elapsed() >= Duration::from_millis(300));
    receiver.always("/reset", Answer::Reset);
    assert!(deliver(&receiver, "/reset", "d").await.is_err());
    receiver.always("/hang", Answer::Hang);
    let hung = client().get(receiver.url("/hang")).timeout(Duration::from_millis(300)).send().await;
    assert!(hung.unwrap_err().is_timeout());
    receiver.always("/endless", Answer::Endless(200));
    let mut endless = client().get(receiver.url("/endless")).send().await.unwrap();
    for _ in 0..1_000 {
        assert!(endless.chunk().await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_is_answered_only_when_released() {
    let receiver = Receiver::start().await;
    receiver.always("/held", Answer::Held(201));
    let url = receiver.url("/held");
    let waiting = tokio::spawn(client().post(url).header("idempotency-key", "d").send());
    receiver.wait_for("the request is there", SOON, |log| log.requests("/held") == 1).await;
    assert_eq!(receiver.look(|log| log.answers("/held")), 0);
    receiver.release("/held");
    assert_eq!(waiting.await.unwrap().unwrap().status(), 201);
    receiver.wait_for("the answer is out", SOON, |log| log.answers("/held") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_hides_a_loss_is_noticed() {
    let receiver = Receiver::start().await;
    for id in ["1", "2", "2"] {
        deliver(&receiver, "/a", id).await.unwrap();
    }
    let settled = |accepted: &[&str], bound| {
        let accepted: Vec<String> = accepted.iter().map(ToString::to_string).collect();
        let account = || receiver.look(|log| Ledger { path: "/a", accepted: &accepted }.settle_within(log, bound));
        catch_unwind(AssertUnwindSafe(account)).ok()
    };
    assert_eq!(settled(&["e-1", "e-2"], 1), Some(1));
    assert_eq!(settled(&["e-1", "e-2"], 0), None, "a repeat too many");
    assert_eq!(settled(&["e-1"], 1), None, "an event that nobody published");
    assert_eq!(settled(&["e-1", "e-2", "e-3"], 1), None, "a lost event");
    let other = client().post(receiver.url("/a")).header("idempotency-key", "9").header("ce-id", "e-1");
    other.body("{}").send().await.unwrap();
    assert_eq!(settled(&["e-1", "e-2"], 9), None, "a second delivery of one event");
}
