//! One configuration, whoever writes it: many writers at several processes, one of which is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::api::Api;
use crate::support::broker::Broker;
use crate::support::gateway::Setup;
use crate::support::{SOON, topics, turn, until};

const WRITERS: usize = 8;
const SHARED: usize = 3;
/// Answered changes between two comings or goings of processes.
const SPELL: usize = 50;
/// A writer asks no process more often than that, dead ones included.
const PACE: Duration = Duration::from_millis(20);

/// A change that was answered with success: `token` names the change.
struct Answered {
    id: String,
    version: u64,
    token: String,
}

#[derive(Default)]
struct Story {
    answered: Vec<Answered>,
    /// Refused because another change came first.
    late: usize,
    /// Not answered, or with 503: they may have been made.
    open: usize,
}

struct Writer {
    number: usize,
    gateways: Vec<Api>,
    /// Of all writers.
    count: watch::Sender<usize>,
}

impl Writer {
    async fn run(self, stop: CancellationToken) -> Story {
        let mut story = Story::default();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for n in 0.. {
            pace.tick().await;
            if stop.is_cancelled() {
                break;
            }
            let before = story.answered.len();
            let api = &self.gateways[(self.number + n) % self.gateways.len()];
            let token = format!("{}-{n}", self.number);
            match n % 3 {
                0 => self.own(api, token, &mut story).await,
                _ => self.shared(api, (format!("shared-{}", (self.number + n) % SHARED), token), &mut story).await,
            }
            self.count.send_modify(|count| *count += story.answered.len() - before);
        }
        story
    }

    /// Nobody else changes it: no condition.
    async fn own(&self, api: &Api, token: String, story: &mut Story) {
        let id = format!("own-{}", self.number);
        change(api, (id, token), (json!({}), None), story).await;
    }

    /// Counts one up, if nobody has meanwhile.
    async fn shared(&self, api: &Api, (id, token): (String, String), story: &mut Story) {
        let Ok(read) = api.call(Method::GET, &path(&id), None).await else { return };
        if read.status != 200 {
            return;
        }
        let count: u64 = read.body["labels"]["count"].as_str().expect("a count").parse().expect("a number");
        let version = read.body["version"].as_u64().expect("a version");
        let labels = json!({"count": (count + 1).to_string()});
        change(api, (id, token), (labels, Some(version)), story).await;
    }
}

fn path(id: &str) -> String {
    format!("outbound-integrations/{id}")
}

async fn change(
    api: &Api,
    (id, token): (String, String),
    (mut labels, version): (Value, Option<u64>),
    story: &mut Story,
) {
    labels["by"] = token.clone().into();
    match api.patch(&path(&id), &json!({"labels": labels}), version).await {
        Ok(reply) if reply.status == 200 => {
            let now = reply.body["version"].as_u64().expect("a version");
            assert!(version.is_none_or(|was| now == was + 1), "If-Match {version:?} and yet {now}");
            story.answered.push(Answered { id, version: now, token });
        }
        Ok(reply) if reply.status == 409 && version.is_some() => story.late += 1,
        Ok(reply) => {
            assert_eq!(reply.status, 503, "{}", reply.body);
            story.open += 1;
        }
        Err(_) => story.open += 1,
    }
}

async fn resources(api: &Api) -> Vec<String> {
    api.org("648").await;
    let own = (0..WRITERS).map(|n| format!("own-{n}"));
    let all: Vec<String> = (0..SHARED).map(|n| format!("shared-{n}")).chain(own).collect();
    for id in &all {
        let fields = json!({"isActive": false, "labels": {"count": "0", "by": "nobody"}});
        api.integration(id, "https://erp.example/", fields).await;
    }
    all
}

/// Waits until so many more are answered.
async fn more(counted: &mut watch::Receiver<usize>) {
    let goal = *counted.borrow() + SPELL;
    let reached = timeout(SOON, counted.wait_for(|count| *count >= goal)).await.is_ok_and(|count| count.is_ok());
    assert!(reached, "{SPELL} more changes: not within {SOON:?}");
}

async fn answered(writers: JoinSet<Story>) -> Story {
    let all = timeout(SOON, writers.join_all()).await.expect("every writer has its last answer");
    let mut whole = Story::default();
    for story in all {
        whole.answered.extend(story.answered);
        whole.late += story.late;
        whole.open += story.open;
    }
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_write_is_lost_and_no_update_overwrites_another_though_a_writer_is_killed() {
    let _turn = turn::alone().await;
    let broker = Broker::shared().await;
    let setup = Setup::new(&broker, "writers");
    let (second, third) = (setup.another("second"), setup.another("third"));
    let (_first, doomed) = (setup.start().await, second.start().await);
    let all = resources(&setup.api()).await;
    let gateways = vec![setup.api(), second.api(), third.api()];
    let stop = CancellationToken::new();
    let mut writers = JoinSet::new();
    let (count, mut counted) = watch::channel(0);
    for number in 0..WRITERS {
        writers.spawn(Writer { number, gateways: gateways.clone(), count: count.clone() }.run(stop.clone()));
    }
    // Two, three, two, three again.
    more(&mut counted).await;
    let _third = third.start().await;
    more(&mut counted).await;
    doomed.kill9().await;
    more(&mut counted).await;
    let _second = second.start().await;
    more(&mut counted).await;
    stop.cancel();
    let story = answered(writers).await;
    eprintln!("{} answered, {} came late, {} without an answer", story.answered.len(), story.late, story.open);
    assert!(story.late >= 10, "they never met");

    let made = told(&setup).await;
    for Answered { id, version, token } in &story.answered {
        let is = made[id].get(version).map(|state| &state["labels"]["by"]);
        assert_eq!(is, Some(&json!(token)), "{id} at version {version}");
    }
    let mut tokens = BTreeSet::new();
    for id in &all {
        let versions: Vec<u64> = made[id].keys().copied().collect();
        assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>(), "{id} has gaps");
        for (version, state) in &made[id] {
            let (count, by) = (state["labels"]["count"].as_str(), state["labels"]["by"].as_str());
            let own = id.starts_with("own");
            assert!(
                own || count == Some(&(version - 1).to_string()),
                "{id}: version {version} lost an update: {state}"
            );
            assert!(*version == 1 || tokens.insert(by.map(str::to_owned)), "{by:?} was made twice");
        }
    }
    same_everywhere(&gateways, &made).await;
}

/// Every version of every integration by what the audit says, which is what the catalog was given.
async fn told(setup: &Setup) -> BTreeMap<String, BTreeMap<u64, Value>> {
    let mut made: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
    for record in topics::read(setup, "audit").await {
        let entry = record.json();
        if entry["kind"] != "OutboundIntegration" {
            continue;
        }
        let (id, version) = (entry["id"].as_str().expect("an id"), entry["version"].as_u64().expect("a version"));
        let other = made.entry(id.to_owned()).or_default().insert(version, entry["after"].clone());
        assert_eq!(other, None, "{id} has version {version} twice");
    }
    let mut kept = 0;
    for record in topics::read(setup, "catalog").await {
        let key = String::from_utf8(record.key.clone().expect("a key")).expect("text");
        if let Some(id) = key.strip_prefix("OutboundIntegration/") {
            let state = record.json();
            assert_eq!(made[id][&state["version"].as_u64().expect("a version")], state, "{key}");
            kept += 1;
        }
    }
    assert_eq!(kept, made.values().map(BTreeMap::len).sum::<usize>(), "a change and its audit are one transaction");
    made
}

/// Every process answers with the newest state of all, and in the same words.
async fn same_everywhere(gateways: &[Api], made: &BTreeMap<String, BTreeMap<u64, Value>>) {
    let mut lists = Vec::new();
    for api in gateways {
        let list = until("the newest versions", SOON, async || {
            let list = api.call(Method::GET, "outbound-integrations?limit=500", None).await.ok()?.body;
            let items = list["integrations"].as_array()?;
            let newest = |one: &Value| {
                let versions = made.get(one["id"].as_str().unwrap_or_default());
                versions.and_then(|all| all.keys().last()).copied() == one["version"].as_u64()
            };
            (items.len() == made.len() && items.iter().all(newest)).then_some(list)
        })
        .await;
        lists.push(list);
    }
    assert!(lists.iter().all(|list| *list == lists[0]), "snapshots differ: {lists:#?}");
}
