//! The embedded engine and the disk under it: full, read-only, damaged, taken.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::api::{Api, event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::{Ended, Setup};
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

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_makes_its_folder() {
    let _turn = turn::beside().await;
    let receiver = Receiver::start().await;
    for n in 0..20_u64 {
        let setup = Setup::new(&Broker::none(), "born");
        let dir = setup.data().expect("a folder");
        let gateway = setup.spawn();
        // Some milliseconds into the making, each time a little later.
        until("the folder is there", SOON, async || dir.join("log.db.lock").exists().then_some(())).await;
        let moment = std::time::Instant::now() + Duration::from_micros(n * 700);
        while std::time::Instant::now() < moment {
            std::hint::spin_loop();
        }
        gateway.kill9().await;
        let gateway = setup.start().await;
        let api = gateway.api();
        api.org("648").await;
        let path = format!("/{n}");
        api.integration("a", &receiver.url(&path), json!({})).await;
        api.publish(&event("e", "patient.created")).await;
        receiver.wait_events(&path, 1, SOON).await;
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
