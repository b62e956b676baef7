//! Dead letters put back by a gateway that does as the test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use clap::Parser as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::cli::client::Key;
use crate::cli::{Cli, Command};

/// What is answered for each id, in turn; the last for ever.
type Answers = Arc<Mutex<BTreeMap<String, Vec<(u16, &'static str, bool)>>>>;

async fn retry(State(answers): State<Answers>, Path(id): Path<String>) -> Response {
    let mut answers = answers.lock().unwrap();
    let all = answers.get_mut(&id).unwrap();
    let (status, error, again) = if all.len() > 1 { all.remove(0) } else { all[0] };
    let status = StatusCode::from_u16(status).unwrap();
    let body = serde_json::json!({"error": error.replace("ID", &id)}).to_string();
    if again { (status, [("retry-after", "0")], body).into_response() } else { (status, body).into_response() }
}

/// What becomes of ids that are answered so.
async fn outcomes(answers: Vec<Vec<(u16, &'static str, bool)>>) -> Vec<Result<Outcome, Exit>> {
    let answers: Vec<_> = answers.into_iter().enumerate().map(|(n, all)| (format!("d{n}"), all)).collect();
    let state: Answers = Arc::new(Mutex::new(answers.iter().cloned().collect()));
    let router = Router::new().route("/api/v1/dlq/{id}/retry", post(retry)).with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let gateway = Gateway::new(Api::new(&address, Key::of_a_test()).unwrap(), |_| {});
    let mut outcomes = Vec::new();
    for (id, _) in answers {
        outcomes.push(gateway.put_back(&id, &CancellationToken::new()).await);
    }
    outcomes
}

#[tokio::test]
async fn one_that_nobody_can_put_back_is_not_taken_for_one_that_lives_and_stops_no_other() {
    let done = vec![(202, "", false)];
    let found = outcomes(vec![
        done.clone(),
        vec![(409, "delivery `ID` is no longer dead: it is SUCCESS", false)],
        vec![(409, "the integration of delivery `ID` was deleted, so nobody would deliver it", false)],
        vec![(404, "history has no delivery `ID`", false)],
        vec![(503, "history has not met it yet", true), (503, "history has not met it yet", true), (202, "", false)],
        // It may have been done: a second try by itself would be a second delivery.
        vec![(503, "whether it was put back is not known", false), (202, "", false)],
        done,
    ])
    .await;
    let words: Vec<_> = found
        .iter()
        .map(|outcome| match outcome.as_ref().unwrap() {
            Outcome::PutBack => "back",
            Outcome::NoLongerDead(line) if line.contains("d1") => "lives",
            Outcome::Failed(line) if line.contains('d') => "failed",
            other => panic!("{other:?} names no id"),
        })
        .collect();
    assert_eq!(words, ["back", "lives", "failed", "failed", "back", "failed", "back"]);
}

#[tokio::test]
async fn a_wrong_key_and_something_that_is_no_gateway_end_it_instead_of_failing_one_by_one() {
    for (status, error) in [(401, "who?"), (404, "there is no such thing"), (500, "broken")] {
        let found = outcomes(vec![vec![(status, error, false)]]).await;
        assert!(found[0].is_err(), "{status}: {:?}", found[0]);
    }
}

fn parsed(arguments: &[&str]) -> Result<Redrive, String> {
    let cli = Cli::try_parse_from([&["tidegate", "redrive"], arguments].concat()).map_err(|e| e.to_string())?;
    let Command::Redrive(command) = cli.command else { panic!("not redrive") };
    Ok(command)
}

#[test]
fn nothing_is_begun_on_a_command_line_that_may_be_meant_otherwise() {
    const ID: &str = "01a1ffb3-2102-8879-8232-fe37ac38a16c";
    let common = Cli::parse_from(["tidegate", "redrive"]).common;
    for wrong in [&[][..], &[ID, "--yes"], &[ID, "--dry-run"], &[ID, "--limit", "1"], &[ID, "--org", "648"], &["null"]]
    {
        let begun = run(&common, &parsed(wrong).unwrap());
        assert!(matches!(begun, Err(Exit::Usage(_))), "{wrong:?}: {begun:?}");
    }
    for wrong in [&["--all", ID][..], &["--all", "--limit", "0"]] {
        assert!(parsed(wrong).is_err(), "{wrong:?}");
    }
    let ids = Ids::parse(&parsed(&[ID, "-"]).unwrap().ids).unwrap();
    assert!(ids.piped && ids.named == [ID] && ids.known().is_none());
    for wrong in ["null", "01a1ffb3", "", "--"] {
        assert!(Ids::parse(&[ID.to_owned(), wrong.to_owned()]).is_err(), "{wrong}");
    }
}

#[test]
fn a_script_is_told_of_what_stayed_and_not_of_what_lives() {
    let totals = |failed| Totals { put_back: 1, no_longer_dead: 2, failed };
    assert!(verdict(totals(0), false).is_ok());
    assert!(matches!(verdict(totals(2), false), Err(Exit::Failed(text)) if text == "2 could not be put back"));
    assert!(matches!(verdict(totals(0), true), Err(Exit::Failed(text)) if text.contains("interrupted")));
}
