//! Writers that take the seat from each other, while some of them are behind.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::process::{Process, at, bills, bills_key, change, create, org, process};
use crate::catalog::change::{Action, Change, Condition, Refusal, Tag};
use crate::catalog::fake::SharedFake;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::samples::integration;
use crate::catalog::writer::WriteError;

/// For everything to happen that can while a follower is held back; less than a writer waits for its own.
const A_WHILE: Duration = Duration::from_secs(1);
const PROCESSES: usize = 3;
const IDS: [&str; 2] = ["one", "two"];

fn hook(id: &str) -> Key {
    Key::of(Kind::OutboundIntegration, id).unwrap()
}

fn labelled(labels: Value) -> Action {
    Action::Merge(json!({"labels": labels}))
}

/// What the log holds of a resource, as it was written.
fn story(log: &SharedFake, key: &Key) -> Vec<Value> {
    let name = key.to_string();
    let records = log.0.written().into_iter().filter(|record| record.key.as_deref() == Some(name.as_bytes()));
    records.map(|record| serde_json::from_slice(&record.value.unwrap()).unwrap()).collect()
}

fn versions(story: &[Value]) -> Vec<u64> {
    story.iter().map(|state| state["version"].as_u64().unwrap()).collect()
}

/// Two processes with an integration that the second has changed, which the first has not seen.
async fn one_that_is_behind() -> (Process, Process) {
    let log = SharedFake::default();
    let (one, two) = (process(&log).with_org().await, process(&log.beside()));
    one.write(create(bills())).await.unwrap();
    one.log.hold(true);
    two.write(change(bills_key(), labelled(json!({"by": "two"})))).await.unwrap();
    (one, two)
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_fenced_and_is_behind_makes_no_version_twice() {
    let (one, _two) = one_that_is_behind().await;
    let late = Change { condition: at(&[1]), ..change(bills_key(), labelled(json!({}))) };
    let write = one.write(late);
    tokio::pin!(write);
    assert!(timeout(A_WHILE, write.as_mut()).await.is_err(), "decided over a snapshot that is behind");
    one.log.hold(false);
    let error = write.await.unwrap_err();
    assert!(
        matches!(error, WriteError::Refused { refusal: Refusal::VersionMismatch { actual: 2, .. }, .. }),
        "{error}"
    );
    assert_eq!(versions(&story(&one.log, &bills_key())), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_fenced_and_is_behind_changes_what_is_there_and_not_what_it_knew() {
    let (one, _two) = one_that_is_behind().await;
    let write = one.write(change(bills_key(), labelled(json!({"also": "one"}))));
    tokio::pin!(write);
    assert!(timeout(A_WHILE, write.as_mut()).await.is_err(), "decided over a snapshot that is behind");
    one.log.hold(false);
    write.await.unwrap();
    let story = story(&one.log, &bills_key());
    assert_eq!((versions(&story), &story[2]["labels"]), (vec![1, 2, 3], &json!({"also": "one", "by": "two"})));
}

/// A change at one of the processes.
#[derive(Clone, Debug)]
struct Step {
    process: usize,
    id: &'static str,
    /// Counts up what the process reads there, if nobody has changed it since; else it adds a label, whatever there is.
    counts: bool,
}

/// Changes at the same time, while these processes are held back.
#[derive(Clone, Debug)]
struct Round {
    steps: Vec<Step>,
    held: [bool; PROCESSES],
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let step = (0..PROCESSES, proptest::sample::select(&IDS[..]), any::<bool>());
    let step = step.prop_map(|(process, id, counts)| Step { process, id, counts });
    let round = (proptest::collection::vec(step, 1..5), any::<[bool; PROCESSES]>());
    proptest::collection::vec(round.prop_map(|(steps, held)| Round { steps, held }), 1..10)
}

/// What was answered: how often each resource was counted up, and which labels were added.
#[derive(Default)]
struct Answered {
    counts: BTreeMap<&'static str, usize>,
    labels: Vec<(&'static str, String)>,
}

fn asked(process: &Process, step: &Step, token: &str) -> Change {
    let key = hook(step.id);
    if !step.counts {
        return change(key, labelled(json!({token: "added"})));
    }
    let was = process.catalog.snapshot().get(&key).cloned().unwrap();
    let mut json = was.to_json();
    let count: usize = was.labels().get("count").unwrap().parse().unwrap();
    json["labels"]["count"] = (count + 1).to_string().into();
    Change { condition: Condition::Versions(vec![Tag::of(&was.revision)]), ..change(key, Action::Replace(json)) }
}

async fn play(rounds: Vec<Round>) -> Result<(), TestCaseError> {
    let log = SharedFake::default();
    let all: Vec<Process> = (0..PROCESSES).map(|_| process(&log.beside())).collect();
    all[0].write(create(org("648"))).await.unwrap();
    for id in IDS {
        let mut one = integration("648", id);
        one.labels.insert("count".to_owned(), "0".to_owned());
        all[0].write(create(one.into())).await.unwrap();
    }
    for process in &all {
        process.catalog.reached(log.0.end_offset(), A_WHILE).await;
    }
    let mut answered = Answered::default();
    for (n, Round { steps, held }) in rounds.into_iter().enumerate() {
        all.iter().zip(held).for_each(|(process, held)| process.log.hold(held));
        let asked = steps.iter().enumerate().map(|(m, step)| {
            let token = format!("r{n}-{m}");
            let change = asked(&all[step.process], step, &token);
            (step, token, change)
        });
        let asked: Vec<_> = asked.collect();
        let writes = asked.into_iter().map(|(step, token, change)| {
            let process = &all[step.process];
            async move { (step, token, process.write(change).await) }
        });
        let mut writes = std::pin::pin!(join_all(writes));
        let early = timeout(A_WHILE, writes.as_mut()).await;
        all.iter().for_each(|process| process.log.hold(false));
        let ended = match early {
            Ok(ended) => ended,
            Err(_) => writes.await,
        };
        for (step, token, ended) in ended {
            note(&mut answered, step, token, ended)?;
        }
    }
    settle(&log, &all, &answered).await
}

fn note(
    answered: &mut Answered,
    step: &Step,
    token: String,
    ended: Result<Resource, WriteError>,
) -> Result<(), TestCaseError> {
    match ended {
        Ok(_) if step.counts => *answered.counts.entry(step.id).or_default() += 1,
        Ok(_) => answered.labels.push((step.id, token)),
        Err(WriteError::Refused { refusal: Refusal::VersionMismatch { .. }, .. }) if step.counts => {}
        Err(error) => return Err(TestCaseError::fail(format!("{step:?}: {error}"))),
    }
    Ok(())
}

/// Nothing that was answered is lost, and nothing is there twice.
async fn settle(log: &SharedFake, all: &[Process], answered: &Answered) -> Result<(), TestCaseError> {
    for id in IDS {
        let story = story(log, &hook(id));
        prop_assert_eq!(versions(&story), (1..=story.len() as u64).collect::<Vec<_>>(), "{}", id);
        let labels = &story.last().unwrap()["labels"];
        let counted = answered.counts.get(id).copied().unwrap_or(0);
        prop_assert_eq!(&labels["count"], &json!(counted.to_string()), "{}", id);
        for (_, token) in answered.labels.iter().filter(|(of, _)| *of == id) {
            prop_assert_eq!(&labels[token.as_str()], &json!("added"), "{} lost {}", id, token);
        }
    }
    prop_assert_eq!(log.0.audited().len(), log.0.written().len());
    for process in all {
        prop_assert!(process.catalog.reached(log.0.end_offset(), A_WHILE).await);
        for id in IDS {
            let (mine, theirs) = (process.catalog.snapshot(), all[0].catalog.snapshot());
            prop_assert_eq!(mine.get(&hook(id)), theirs.get(&hook(id)));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn writers_that_fence_each_other_and_fall_behind_lose_no_change_and_make_no_version_twice(rounds in rounds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(rounds))?;
    }
}
