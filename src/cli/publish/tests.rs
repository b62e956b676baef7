//! Publishing against the gateway's own routes, on a log that remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use clap::Parser as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Exit, Publish, event, run};
use crate::api::{Door, events};
use crate::cli::client::{self, Key};
use crate::cli::{Cli, Command};
use crate::ingest::accept::tests::{Appends, ingest};
use crate::model::record::header;
use crate::stream::log::LogError;

/// How the gateway misbehaves.
#[derive(Default)]
struct Moods {
    /// Requests that are answered 503 before any is let through.
    unavailable: AtomicUsize,
    /// Requests that are answered; of all others nothing is heard again, although the log has their events.
    answered: AtomicUsize,
    silent: Notify,
}

struct Api {
    address: String,
    log: Arc<Appends>,
    moods: Arc<Moods>,
    _serving: JoinSet<()>,
}

async fn api() -> Api {
    let log = Arc::new(Appends::default());
    let moods = Arc::new(Moods { answered: usize::MAX.into(), ..Moods::default() });
    let mut door = Door::default();
    events::routes(&mut door, &ingest(&log, 64 << 20));
    let router = door.for_the_administrator();
    let router = router.layer(from_fn_with_state(moods.clone(), moody));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Api { address, log, moods, _serving: serving }
}

async fn moody(State(moods): State<Arc<Moods>>, request: Request, next: Next) -> Response {
    let less = |n: usize| n.checked_sub(1);
    if moods.unavailable.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], "{}").into_response();
    }
    assert_eq!(request.headers()["x-api-key"], "the key");
    let answer = next.run(request).await;
    if moods.answered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err() {
        moods.silent.notify_one();
        pending::<()>().await;
    }
    answer
}

fn reached(address: &str) -> client::Api {
    client::Api::new(address, Key::of_a_test()).unwrap()
}

impl Api {
    async fn publish(&self, arguments: &[&str]) -> Result<(), Exit> {
        let command = command(&[&["--org", "648"], arguments].concat());
        run::lines(&command, reached(&self.address), &CancellationToken::new()).await
    }

    /// How often the log got each id.
    fn ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for output in self.log.written.lock().unwrap().iter().flatten() {
            *ids.entry(output.record.headers.text(header::CE_ID).unwrap().to_owned()).or_default() += 1;
        }
        ids
    }

    /// The payloads that the log got, each with the ids under which it did.
    fn payloads(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut payloads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for output in self.log.written.lock().unwrap().iter().flatten() {
            let payload = String::from_utf8(output.record.value.as_ref().unwrap().to_vec()).unwrap();
            let id = output.record.headers.text(header::CE_ID).unwrap().to_owned();
            payloads.entry(payload).or_default().insert(id);
        }
        payloads
    }
}

fn command(arguments: &[&str]) -> Publish {
    let cli = Cli::try_parse_from([&["tidegate", "publish"], arguments].concat());
    match cli.unwrap_or_else(|e| panic!("{e}")).command {
        Command::Publish(command) => command,
        _ => unreachable!("it was asked for"),
    }
}

fn write(dir: &Path, lines: impl Iterator<Item = String>) -> PathBuf {
    let path = dir.join("events.jsonl");
    fs::write(&path, lines.map(|line| line + "\n").collect::<String>()).unwrap();
    path
}

fn line(n: usize) -> String {
    format!(r#"{{"eventType":"a.b","payload":{n}}}"#)
}

#[tokio::test]
async fn a_gateway_that_is_busy_for_a_moment_gets_every_line_once() {
    let (api, dir) = (api().await, tempfile::tempdir().unwrap());
    api.moods.unavailable.store(3, Ordering::SeqCst);
    let path = write(dir.path(), (0..2_500).map(line));
    api.publish(&[path.to_str().unwrap()]).await.unwrap();
    let ids = api.ids();
    assert!(ids.len() == 2_500 && ids.values().all(|n| *n == 1), "{} ids", ids.len());
    assert_eq!(api.payloads().len(), 2_500);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the input without --resume");
}

#[tokio::test]
async fn a_refused_line_is_named_and_takes_no_other_with_it() {
    let (api, dir) = (api().await, tempfile::tempdir().unwrap());
    let mut lines: Vec<String> = (1..=20).map(line).collect();
    lines[2] = "no json".to_owned();
    lines[6] = r#"{"payload":1}"#.to_owned();
    lines[10] = r#"{"eventType":"a","payload":1,"orgId":"712"}"#.to_owned();
    let path = write(dir.path(), lines.into_iter());
    let errors = dir.path().join("refused.jsonl");
    let error = api.publish(&["--errors", errors.to_str().unwrap(), path.to_str().unwrap()]).await.unwrap_err();
    assert!(matches!(&error, Exit::Failed(text) if text == "3 events were refused"), "{error}");
    assert_eq!(api.ids().len(), 17);
    let told: Vec<serde_json::Value> =
        fs::read_to_string(errors).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<u64> = told.iter().map(|refused| refused["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 7, 11]);
    assert_eq!(told[1]["details"][0]["path"], "eventType");
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_is_refused_for_its_lines() {
    let (api, dir) = (api().await, tempfile::tempdir().unwrap());
    *api.log.fails.lock().unwrap() = Some(LogError::TooLarge { topic: crate::model::topic::Topic::Events, bytes: 9 });
    let path = write(dir.path(), (0..5).map(line));
    let error = api.publish(&[path.to_str().unwrap()]).await.unwrap_err();
    assert!(matches!(&error, Exit::Failed(text) if text == "5 events were refused"), "{error}");
}

#[tokio::test]
async fn what_was_under_way_at_an_interruption_is_never_a_second_event() {
    let (api, dir) = (api().await, tempfile::tempdir().unwrap());
    let path = write(dir.path(), (0..12_000).map(line));
    let arguments = ["--resume", "--in-flight", "3", path.to_str().unwrap()];
    for answered in [0, 2, 4] {
        api.moods.answered.store(answered, Ordering::SeqCst);
        tokio::select! {
            ended = api.publish(&arguments) => panic!("it ended: {ended:?}"),
            // As by kill -9: nothing of it runs on.
            () = api.moods.silent.notified() => {}
        }
        unlocked(&path).await;
    }
    api.moods.answered.store(usize::MAX, Ordering::SeqCst);
    api.publish(&arguments).await.unwrap();
    let payloads = api.payloads();
    assert_eq!(payloads.len(), 12_000, "a line is lost");
    assert!(payloads.values().all(|ids| ids.len() == 1), "a line was sent as two events");
    assert_eq!(api.ids().len(), 12_000);
    assert!(api.ids().values().any(|n| *n > 1), "nothing was under way: not the test that it should be");

    // Done is done; what is appended is published alone.
    let before = api.log.written.lock().unwrap().len();
    api.publish(&arguments).await.unwrap();
    assert_eq!(api.log.written.lock().unwrap().len(), before);
    let appended = fs::read_to_string(&path).unwrap() + &line(12_000) + "\n";
    fs::write(&path, appended).unwrap();
    api.publish(&arguments).await.unwrap();
    let after = api.log.written.lock().unwrap().len();
    assert_eq!((after, api.ids().len()), (before + 1, 12_001));
}

/// The thread that reads notices after a moment that nobody takes what it read.
async fn unlocked(path: &Path) {
    while fs::File::open(path).unwrap().try_lock().is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_second_publication_of_one_file_does_not_take_the_progress_of_the_first() {
    let (api, dir) = (api().await, tempfile::tempdir().unwrap());
    let path = write(dir.path(), (0..3).map(line));
    let first = fs::File::open(&path).unwrap();
    first.lock().unwrap();
    let error = api.publish(&["--resume", path.to_str().unwrap()]).await.unwrap_err();
    assert!(matches!(&error, Exit::Usage(text) if text.contains("another process")), "{error}");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), (0..3).map(line));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let command = command(&[path.to_str().unwrap()]);
    let ended = run::lines(&command, reached(&format!("http://{nobody}")), &CancellationToken::new()).await;
    let error = ended.unwrap_err();
    assert!(matches!(&error, Exit::Unreachable(text) if text.contains("tidegate dev")), "{error}");
}

#[test]
fn an_event_by_flags_is_what_the_gateway_takes() {
    let payload = r#"{"z":1,"a":12345678901234567890.5}"#;
    let made = event(&command(&["-t", "a.b", "-e", "Patient/1", "-p", payload]), "e1").unwrap();
    assert_eq!(made, format!(r#"{{"id":"e1","eventType":"a.b","entityId":"Patient/1","payload":{payload}}}"#));
    let error = event(&command(&["-t", "a.b", "-p", "{"]), "e1").unwrap_err();
    assert!(matches!(&error, Exit::Usage(text) if text.contains("not JSON")), "{error}");
    for wrong in [&["publish"][..], &["publish", "--entity", "x", "f"], &["publish", "-p", "1", "-t", "a", "f"]] {
        assert!(Cli::try_parse_from([&["tidegate"], wrong].concat()).is_err(), "{wrong:?}");
    }
}
