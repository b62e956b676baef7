//! The embedded engine and the disk under it: full, read-only, damaged, taken.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::api::{Api, event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::{Ended, Setup, history_file};
use crate::support::ledger::Ledger;
use crate::support::receiver::Receiver;
use crate::support::{LATER, SOON, topics, turn, until};

fn refused(what: &str, ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, Some(2), "{what}: {}", ended.log);
    for word in says {
        assert!(ended.log.contains(word), "{what} does not say `{word}`: {}", ended.log);
    }
}

/// Publishes in batches of `step` until one is refused; gives what was accepted.
async fn filled(api: &Api, (so_far, step): (usize, usize)) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        let batch = ids(&format!("f{}", so_far + accepted.len()), step);
        let body = json!({"events": events(&batch, "patient.created")});
        let reply = api.call(Method::POST, "events/batch?orgId=648", Some(&body)).await.expect("an answer");
        if reply.status != 202 {
            assert_eq!(reply.status, 503, "{}", reply.body);
            return accepted;
        }
        accepted.extend(batch);
        assert!(accepted.len() < 100_000, "the disk was never full");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_refuses_events_and_loses_none() {
    let _turn = turn::beside().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&Broker::none(), "full").on_a_disk_of(12, "rw");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({})).await;
    let mut accepted = Vec::new();
    // Large steps first, then what is left in small ones.
    for step in [100, 10, 1] {
        accepted.extend(filled(&api, (accepted.len(), step)).await);
    }
    until("it says that it is not ready, and why", SOON, async || {
        let (_, said) = api.text("/health").await.ok()?;
        (!api.is_ready().await && said.contains("is full")).then_some(())
    })
    .await;

    let disk = setup.data().expect("a folder");
    fs::remove_file(format!("/proc/{}/root{}/ballast", gateway.pid(), disk.display())).expect("the ballast");
    until("it is ready again", LATER, async || api.is_ready().await.then_some(())).await;
    api.publish(&event("after", "patient.created")).await;
    accepted.push("after".to_owned());
    receiver.wait_events("/a", accepted.len(), LATER).await;
    // What was refused may have been delivered by no means: it was not written.
    receiver.look(|log| drop(Ledger { path: "/a", accepted: &accepted }.settle(log)));
}

/// Publishes one by one until some are refused; gives what was accepted, and what may have been.
async fn until_it_fails(api: &Api, label: &str) -> (Vec<String>, Vec<String>) {
    let (mut accepted, mut unknown, mut refused) = (Vec::new(), Vec::new(), 0);
    for id in ids(label, 1_000) {
        let body = event(&id, "patient.created");
        let reply = api.call(Method::POST, "events?orgId=648", Some(&body)).await.expect("an answer");
        match reply.status {
            202 => accepted.push(id),
            503 => {
                refused += 1;
                if reply.body["error"].as_str().is_some_and(|why| why.contains("is not known")) {
                    unknown.push(id);
                }
            }
            _ => panic!("{}", reply.body),
        }
        if refused == 5 {
            return (accepted, unknown);
        }
    }
    panic!("no write has failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_the_disk_does_not_take_lose_nothing_that_was_accepted() {
    let _turn = turn::beside().await;
    let receiver = Receiver::start().await;
    for (path, killed) in [("/mended", false), ("/killed", true)] {
        let setup = Setup::new(&Broker::none(), "unwritten").outliving_limits();
        let mut gateway = setup.start().await;
        let api = gateway.api();
        api.org("648").await;
        api.integration("a", &receiver.url(path), json!({})).await;
        let mut accepted = ids("before", 500);
        api.publish_all(&events(&accepted, "patient.created")).await;
        receiver.wait_events(path, accepted.len(), LATER).await;
        // What a small transaction writes, it writes when it is committed: a few more of them have room.
        let wal = setup.data().expect("a folder").join("log.db-wal").metadata().expect("the write-ahead log").len();
        gateway.limit_files(Some(wal + 200_000));
        let (more, unknown) = until_it_fails(&api, "during").await;
        accepted.extend(more);
        until("it says that it is not ready, and why", SOON, async || {
            let (_, said) = api.text("/health").await.ok()?;
            (!api.is_ready().await && said.contains("its disk failed")).then_some(())
        })
        .await;
        if killed {
            gateway.kill9().await;
            gateway = setup.start().await;
        } else {
            gateway.limit_files(None);
            until("it is ready again", LATER, async || api.is_ready().await.then_some(())).await;
        }
        api.publish(&event("after", "patient.created")).await;
        accepted.push("after".to_owned());
        receiver
            .wait_for("all of them", LATER, |log| accepted.iter().all(|id| log.of(path).any(|r| r.event == *id)))
            .await;
        topics::quiet(&setup).await;
        receiver.look(|log| {
            accepted.extend(unknown.iter().filter(|id| log.of(path).any(|r| r.event == **id)).cloned());
            Ledger { path, accepted: &accepted }.settle(log);
        });
        drop(gateway);
    }
}

/// Some microseconds after this file has come, which is a moment of its making. Does not give the thread away: a timer is coarser.
async fn moment_after(file: &Path, micros: u64) {
    until("the file is being made", SOON, async || file.exists().then_some(())).await;
    let moment = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_makes_its_log_or_its_history() {
    let _turn = turn::beside().await;
    let receiver = Receiver::start().await;
    for n in 0..28_u64 {
        let setup = Setup::new(&Broker::none(), "born");
        let log = setup.data().expect("a folder").join("log.db.lock");
        let gateway = setup.spawn();
        // Each time a little later.
        match n % 2 {
            0 => moment_after(&log, n * 500).await,
            _ => moment_after(&history_file(&setup).with_extension("db.lock"), n * 500).await,
        }
        gateway.kill9().await;
        let gateway = setup.start().await;
        let api = gateway.api();
        api.org("648").await;
        let path = format!("/{n}");
        api.integration("a", &receiver.url(&path), json!({})).await;
        api.publish(&event("e", "patient.created")).await;
        receiver.wait_events(&path, 1, SOON).await;
        until("the history tells of it", SOON, async || {
            let told = api.call(Method::GET, "logs?status=SUCCESS", None).await.ok()?;
            (told.body["total"] == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_ends_it_with_two() {
    let setup = Setup::new(&Broker::none(), "readonly").on_a_disk_of(8, "ro");
    refused("a read-only folder", &setup.run(SOON).await, &["cannot be written", "TIDEGATE_DATA_DIR"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_one_folder_ends_with_two_and_harms_nobody() {
    let _turn = turn::beside().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&Broker::none(), "taken");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({})).await;
    let second = setup.another("second").run(SOON).await;
    refused("a folder that is taken", &second, &["another process uses it", "TIDEGATE_DATA_DIR"]);
    api.publish(&event("e", "patient.created")).await;
    receiver.wait_events("/a", 1, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_told_and_a_copy_put_back_loses_nothing() {
    let _turn = turn::beside().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&Broker::none(), "damaged");
    let mut gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({"isActive": false, "whenDisabled": "WAIT"})).await;
    let accepted = ids("d", 500);
    api.publish_all(&events(&accepted, "patient.created")).await;
    gateway.terminate();
    assert_eq!(gateway.ended(SOON).await.code, Some(0));

    let file = setup.data().expect("a folder").join("log.db");
    let whole = fs::read(&file).expect("the log");
    let damaged = fs::File::options().write(true).open(&file).expect("the log");
    let garbage = vec![0xa5; whole.len() - 4_096];
    // The first page says what the file is; everything behind it is gone.
    damaged.write_all_at(&garbage, 4_096).expect("written");
    refused("a damaged file", &setup.run(SOON).await, &["it is damaged", "put a copy of the folder back"]);

    fs::write(&file, &whole).expect("the copy");
    let gateway = setup.start().await;
    gateway.api().enable("a").await;
    receiver.wait_events("/a", accepted.len(), LATER).await;
    topics::quiet(&setup).await;
    receiver.look(|log| Ledger { path: "/a", accepted: &accepted }.settle_once(log));
}
