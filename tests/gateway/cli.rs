//! The command line beside a gateway: a publisher that is killed, and a look at what became of its events.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::api::{events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::{ADMIN_KEY, Setup};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{LATER, SOON, scratch, topics, turn, until};

const LINES: usize = 6_000;

/// A command as somebody types it beside this gateway.
fn tidegate(setup: &Setup, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).current_dir(scratch()).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command.env("TIDEGATE_ADMIN_KEY", ADMIN_KEY).env("TIDEGATE_API", format!("http://{}", setup.address()));
    match setup.data() {
        Some(dir) => command.env("TIDEGATE_ENGINE", "embedded").env("TIDEGATE_DATA_DIR", dir),
        None => command.env("KAFKA_BROKERS", &setup.brokers).env("KAFKA_TOPIC_PREFIX", &setup.prefix),
    };
    command
}

async fn output(mut command: Command) -> (Option<i32>, String) {
    let ended = timeout(LATER, command.output()).await.expect("it ends").expect("it can be run");
    eprintln!("{}", String::from_utf8_lossy(&ended.stderr));
    (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
}

fn progress(input: &Path) -> Option<Value> {
    let path = PathBuf::from(format!("{}.progress", input.display()));
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

async fn kill9(mut publisher: Child) {
    let pid = publisher.id().and_then(|pid| i32::try_from(pid).ok()).expect("it was not waited for");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
    timeout(SOON, publisher.wait()).await.expect("it is gone").expect("a child");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_killed_goes_on_without_a_repeat() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "cli");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({"maxInFlight": 64})).await;
    let input = scratch().join(format!("{}.jsonl", setup.prefix));
    let lines = (0..LINES).map(|n| {
        let event = json!({"eventType": "bulk.item", "entityId": n, "payload": {"line": n, "pad": "x".repeat(1_000)}});
        format!("{event}\n")
    });
    std::fs::write(&input, lines.collect::<String>()).expect("the input");
    let publish = ["publish", "--org", "648", "--resume", "--in-flight", "2", input.to_str().expect("UTF-8")];

    // Killed as soon as the gateway has something of it, which the publisher then may not know.
    let publisher = tidegate(&setup, &publish).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    receiver.wait_for("the first events are delivered", SOON, |log| log.events("/a") > 0).await;
    kill9(publisher).await;
    let known = progress(&input).expect("progress from the first request on");
    eprintln!("killed with {} lines known to be accepted", known["lines"]);

    let (code, said) = output(tidegate(&setup, &publish)).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(progress(&input).expect("progress")["accepted"], LINES);
    receiver.wait_events("/a", LINES, LATER).await;
    topics::quiet(&setup).await;
    receiver.look(|log| {
        assert_eq!(log.events("/a"), LINES, "a line came as two events");
        assert_eq!(log.requests("/a"), LINES, "an event came twice");
    });

    let tail = ["tail", "events", "--from", "beginning", "--no-follow", "-o", "json", "--type", "bulk.*"];
    let (code, shown) = output(tidegate(&setup, &tail)).await;
    assert_eq!(code, Some(0), "{shown:.500}");
    let mut seen = vec![false; LINES];
    for line in shown.lines() {
        let event: Value = serde_json::from_str(line).expect("a JSON object a line");
        seen[usize::try_from(event["value"]["line"].as_u64().expect("a number")).expect("small")] = true;
    }
    assert!(seen.iter().all(|seen| *seen), "tail does not show every event");
    let last = ["tail", "attempts", "-n", "5", "--no-follow", "--status", "delivered"];
    let (code, shown) = output(tidegate(&setup, &last)).await;
    assert_eq!((code, shown.lines().count()), (Some(0), 5), "{shown}");
    std::fs::remove_file(&input).expect("it was there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_comes_back_gets_the_rest() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "back").instance("one");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({"maxInFlight": 64})).await;
    let input = scratch().join(format!("{}.jsonl", setup.prefix));
    let line = |n| format!("{}\n", json!({"eventType": "bulk.item", "payload": {"line": n, "pad": "x".repeat(1_000)}}));
    std::fs::write(&input, (0..LINES).map(line).collect::<String>()).expect("the input");
    let path = input.to_str().expect("UTF-8");
    let publish = ["publish", "--org", "648", "--in-flight", "1", "--patience", "3m", path];
    let publisher = tidegate(&setup, &publish).stdout(Stdio::piped()).spawn().expect("it runs");
    receiver.wait_for("the first events are delivered", SOON, |log| log.events("/a") > 0).await;
    gateway.kill9().await;
    let gateway = setup.start().await;
    let ended = timeout(LATER, publisher.wait_with_output()).await.expect("it ends").expect("a child");
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stdout));
    receiver.wait_events("/a", LINES, LATER).await;
    topics::quiet(&setup).await;
    // A killed gateway may repeat a delivery; a line that was sent twice is one event all the same.
    assert_eq!(receiver.look(|log| log.events("/a")), LINES);
    until("nothing is left beside the input", Duration::from_secs(1), async || {
        progress(&input).is_none().then_some(())
    })
    .await;
    drop(gateway);
    std::fs::remove_file(&input).expect("it was there");
}

/// Standard output of a command beside this gateway, and its code.
async fn fed(setup: &Setup, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut command = tidegate(setup, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(input.as_bytes()).await.expect("it reads");
    drop(pipe);
    let ended = timeout(LATER, child.wait_with_output()).await.expect("it ends").expect("a child");
    (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// The deliveries that `logs` shows, once they are so many: history is a moment behind.
async fn logged(setup: &Setup, filters: &[&str], count: usize) -> Vec<Value> {
    let arguments = [&["logs", "-o", "json", "--limit", "5000"], filters].concat();
    until(&format!("{count} deliveries are logged"), SOON, async || {
        let (code, shown) = output(tidegate(setup, &arguments)).await;
        assert_eq!(code, Some(0), "{shown:.500}");
        let rows: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).expect("JSON a line")).collect();
        (rows.len() == count).then_some(rows)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_are_put_back_arrive_and_none_is_forgotten_behind_a_page() {
    const DEAD: usize = 620;
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "redrive");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    let once = |kind: &str| json!({"eventType": kind, "retry": {"maxAttempts": 1}, "maxInFlight": 64});
    api.integration("many", &receiver.url("/many"), once("bulk.item")).await;
    api.integration("few", &receiver.url("/few"), once("few.item")).await;
    receiver.always("/many", Answer::Status(500));
    receiver.always("/few", Answer::Status(400));
    api.publish_all(&events(&ids("m", DEAD), "bulk.item")).await;
    api.publish_all(&events(&ids("f", 3), "few.item")).await;
    logged(&setup, &["--status", "dead"], DEAD + 3).await;
    let few = logged(&setup, &["--category", "http_4xx"], 3).await;
    receiver.always("/many", Answer::Status(200));
    receiver.always("/few", Answer::Status(200));

    // Nobody is there to be asked, and nobody said yes.
    let all = ["redrive", "--all", "--integration", "many"];
    assert_eq!(output(tidegate(&setup, &all)).await.0, Some(2));
    let (code, said) = output(tidegate(&setup, &[&all[..], &["--dry-run"]].concat())).await;
    assert!(code == Some(0) && said.starts_with(&format!("{DEAD} dead letters\n")), "{said}");
    topics::quiet(&setup).await;
    assert_eq!(receiver.look(|log| (log.requests("/many"), log.requests("/few"))), (DEAD, 3));

    let (code, said) = output(tidegate(&setup, &[&all[..], &["--yes"]].concat())).await;
    assert!(code == Some(0) && said.ends_with(&format!("\n{DEAD} put back\n")), "{said}");
    receiver.wait_for("each comes once more", LATER, |log| log.requests("/many") == 2 * DEAD).await;
    logged(&setup, &["--integration", "many", "--status", "success"], DEAD).await;
    assert_eq!(receiver.look(|log| (log.events("/many"), log.requests("/few"))), (DEAD, 3));

    // By ids through a pipe: what is no longer dead is no failure, what is unknown is, and neither stops the others.
    let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
    let (first, second, third) = (id(&few[0]), id(&few[1]), id(&few[2]));
    let (code, said) = fed(&setup, &["redrive", "-"], &format!("{first}\n\n{first}\n{second}\n")).await;
    assert_eq!((code, said.as_str()), (Some(0), "2 put back, 1 no longer dead\n"));
    let unknown = "01a1ffb3-2102-8879-8232-fe37ac38a16c";
    let (code, said) = fed(&setup, &["redrive", unknown, "-"], &format!("null\n{third}\n")).await;
    assert_eq!((code, said.as_str()), (Some(1), "1 put back, 2 failed\n"));
    receiver.wait_for("the few come once more", LATER, |log| log.requests("/few") == 6).await;

    let (code, whole) = output(tidegate(&setup, &["logs", &first])).await;
    assert!(code == Some(0) && whole.contains("  #1 ") && whole.contains("answered 400"), "{whole}");
    assert_eq!(output(tidegate(&setup, &["logs", unknown])).await.0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_be_asked_is_told_by_the_exit_code() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let setup = Setup::new(&broker, "asked").arguments(&["serve", "--roles", "ingest,match,deliver,api"]);
    let nobody =
        [&["logs"][..], &["redrive", "--all", "--dry-run"], &["redrive", "01a1ffb3-2102-8879-8232-fe37ac38a16c"]];
    for command in nobody {
        assert_eq!(output(tidegate(&setup, command)).await.0, Some(3), "{command:?}");
    }
    let _gateway = setup.start().await;
    // Without the role `project` it has no history.
    assert_eq!(output(tidegate(&setup, &["logs"])).await.0, Some(3));
    let mut wrong = tidegate(&setup, &["logs"]);
    wrong.env("TIDEGATE_ADMIN_KEY", "another key");
    assert_eq!(output(wrong).await.0, Some(2));
}
