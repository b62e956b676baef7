//! Secrets on their way through the writer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::process::{Process, at, somebody};
use crate::catalog::change::{Action, Change, Condition, Refusal};
use crate::catalog::fake::SharedFake;
use crate::catalog::keep::mask;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::seal::{Keyring, Owner};
use crate::catalog::writer::WriteError;
use crate::model::ids::OrgId;

const OLD: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
const NEW: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";

fn ring(current: &str, previous: &[&str]) -> Option<Arc<Keyring>> {
    Some(Arc::new(Keyring::of(current, previous).unwrap()))
}

fn rule(secrets: &[&str]) -> Value {
    let channel = |(at, secret): (usize, &&str)| json!({"type": "WEBHOOK", "url": format!("https://ops.example/{at}"), "secret": secret});
    let channels: Vec<_> = secrets.iter().enumerate().map(channel).collect();
    json!({"id": "rule", "orgId": "648", "name": "Rule", "condition": {"type": "DEAD_LETTERS"}, "channels": channels})
}

fn key() -> Key {
    Key::of(Kind::AlertRule, "rule").unwrap()
}

async fn write(process: &Process, action: Action) -> Result<Resource, WriteError> {
    process.writer.write(Change { key: key(), of: None, condition: Condition::None, action }, &somebody()).await
}

/// What its secrets say, opened.
fn opened(resource: &Resource, ring: &Keyring) -> Vec<String> {
    let org = OrgId::parse("648").unwrap();
    let owner = Owner { kind: Kind::AlertRule, org: Some(&org) };
    let json = resource.to_json();
    let secrets = json["channels"].as_array().unwrap().iter().filter_map(|channel| channel["secret"].as_str());
    secrets.map(|secret| ring.open(owner, secret).unwrap()).collect()
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_log_in_clear_nor_in_what_is_shown() {
    let process = Process::sealing(&SharedFake::default(), ring(OLD, &[])).await;
    write(&process, Action::Create(rule(&["hunter2", "hunter3"]))).await.unwrap();
    let made = write(&process, Action::Replace(rule(&["hunter4", "***"]))).await.unwrap();
    let everything = [process.log.0.written(), process.log.0.audited()].concat();
    assert_eq!(everything.len(), 6, "three resources, three of the audit");
    for record in everything {
        let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        assert!(!text.contains("hunter"), "{text}");
    }
    assert_eq!(
        opened(&made, &ring(OLD, &[]).unwrap()),
        ["hunter4", "hunter3"],
        "a mask that comes back keeps what is there"
    );
    let mut shown = made.to_json();
    mask(Kind::AlertRule, &mut shown);
    assert_eq!(shown["channels"][0]["secret"], "***");
    assert!(!format!("{made:?}").contains("sealed:"));
}

fn hook(host: &str, secret: &str) -> Value {
    json!({"type": "WEBHOOK", "url": format!("https://{host}.example"), "secret": secret})
}

fn slack(secret: &str) -> Value {
    json!({"type": "SLACK", "secret": secret})
}

fn named(name: &str, secret: &str) -> Value {
    json!({"name": name, "type": "SLACK", "secret": secret})
}

fn told_by(channels: Value) -> Value {
    let mut rule = rule(&[]);
    rule["channels"] = channels;
    rule
}

#[tokio::test]
async fn a_secret_in_a_list_goes_where_it_went_before_and_nowhere_else() {
    let ring = ring(OLD, &[]);
    let process = Process::sealing(&SharedFake::default(), ring.clone()).await;
    let ring = ring.unwrap();
    let mail = json!({"type": "EMAIL", "to": ["ops@clinic.example"]});
    let old = json!([
        hook("a", "one"),
        mail,
        hook("b", "two"),
        slack("three"),
        slack("four"),
        named("day", "five"),
        named("night", "six")
    ]);
    write(&process, Action::Create(told_by(old.clone()))).await.unwrap();
    let mask = "***";
    // What is sent, and what is kept, or where it is not known which secret is meant.
    let cases: [(Value, Result<&[&str], &str>); 15] = [
        (json!([hook("b", mask), hook("a", mask)]), Ok(&["two", "one"])),
        (json!([mail, hook("b", mask), slack("new"), hook("a", mask)]), Ok(&["two", "new", "one"])),
        (json!([{"type": "WEBHOOK", "url": "HTTPS://A.example/", "secret": mask, "to": null}]), Ok(&["one"])),
        (json!([named("night", mask), slack("new"), named("day", mask)]), Ok(&["six", "new", "five"])),
        // One may have gone and another come: nothing says which is which.
        (json!([slack(mask), hook("a", mask), slack(mask)]), Err("channels[0].secret")),
        (json!([hook("a", mask), mail, hook("b", mask), slack("new"), slack(mask)]), Err("channels[4].secret")),
        (json!([hook("a", mask), named("evening", mask)]), Err("channels[1].secret")),
        (json!([named("day", mask), named("day", mask)]), Err("channels[0].secret")),
        (json!([slack("new"), slack("newer"), named("day", "newest")]), Ok(&["new", "newer", "newest"])),
        (json!([hook("a", mask), hook("c", mask)]), Err("channels[1].secret")),
        (json!([hook("c", mask), mail, hook("b", mask), slack(mask), slack(mask)]), Err("channels[0].secret")),
        (json!([slack(mask), mail, hook("b", mask), slack(mask), slack(mask)]), Err("channels[0].secret")),
        (json!([hook("a", mask), hook("a", mask)]), Err("channels[0].secret")),
        (json!([hook("a", "new"), hook("b", "newer")]), Ok(&["new", "newer"])),
        // One of two is gone, and nothing says which.
        (json!([slack(mask)]), Err("channels[0].secret")),
    ];
    for (channels, expected) in cases {
        write(&process, Action::Replace(told_by(old.clone()))).await.unwrap();
        for action in [Action::Replace(told_by(channels.clone())), Action::Merge(json!({"channels": channels}))] {
            let made = write(&process, action).await;
            match (made, expected) {
                (Ok(made), Ok(secrets)) => {
                    assert_eq!(opened(&made, &ring), secrets, "{channels}");
                    write(&process, Action::Replace(told_by(old.clone()))).await.unwrap();
                }
                (Err(WriteError::Refused { refusal: Refusal::Invalid(problems), .. }), Err(path)) => {
                    let first = &problems[0];
                    assert!(
                        first.path == path && first.message.contains("send the secret again"),
                        "{channels}: {first:?}"
                    );
                }
                (made, expected) => panic!("{channels}: {made:?}, not {expected:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_mask_without_a_secret_behind_it_is_refused_and_so_is_a_secret_of_another_organization() {
    let ring = ring(OLD, &[]);
    let process = Process::sealing(&SharedFake::default(), ring.clone()).await;
    let other = OrgId::parse("649").unwrap();
    let foreign = ring.unwrap().seal(Owner { kind: Kind::AlertRule, org: Some(&other) }, "theirs").unwrap();
    for secret in ["***", "", &foreign, "sealed:00000000:AAAA", "sealed:"] {
        let error = write(&process, Action::Create(rule(&[secret]))).await.unwrap_err();
        let WriteError::Refused { refusal: Refusal::Invalid(problems), .. } = error else { panic!("{error}") };
        assert!(problems[0].path.starts_with("channels["), "{secret}: {problems:?}");
    }
    assert_eq!(process.log.0.written().len(), 1, "the organization alone");
}

#[tokio::test]
async fn without_a_key_no_secret_is_taken() {
    let process = Process::sealing(&SharedFake::default(), None).await;
    let error = write(&process, Action::Create(rule(&["hunter2"]))).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { refusal: Refusal::Invalid(_), .. }), "{error}");
    write(&process, Action::Create(rule(&[]))).await.unwrap();
}

#[tokio::test]
async fn after_sealing_anew_the_old_key_can_be_dropped() {
    let log = SharedFake::default();
    let before = Process::sealing(&log, ring(OLD, &[])).await;
    write(&before, Action::Create(rule(&["hunter2"]))).await.unwrap();
    drop(before);
    let between = Process::sealing(&log, ring(NEW, &[OLD])).await;
    let made = write(&between, Action::Reseal).await.unwrap();
    assert_eq!(made.revision.version, 2);
    assert_eq!(
        write(&between, Action::Reseal).await.unwrap().revision.version,
        2,
        "what is sealed anew stays as it is"
    );
    assert_eq!(opened(&made, &ring(NEW, &[]).unwrap()), ["hunter2"]);
    let after = Process::sealing(&log, ring(NEW, &[])).await;
    write(&after, Action::Replace(rule(&["***"]))).await.unwrap();
}

/// As an earlier record held it.
async fn earlier(process: &Process, value: Value) -> Value {
    let before = process.log.0.written().len();
    write(process, Action::Replace(value)).await.unwrap();
    serde_json::from_slice(process.log.0.written()[before].value.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn a_version_that_comes_back_has_its_secrets_while_they_open_and_the_present_ones_afterwards() {
    let log = SharedFake::default();
    let (old, new) = (ring(OLD, &[]), ring(NEW, &[]));
    let process = Process::sealing(&log, old.clone()).await;
    write(&process, Action::Create(rule(&["hunter1"]))).await.unwrap();
    let first = earlier(&process, rule(&["hunter2"])).await;
    write(&process, Action::Replace(rule(&["hunter3"]))).await.unwrap();
    let back = write(&process, Action::Restore(first.clone())).await.unwrap();
    assert_eq!((back.revision.version, opened(&back, &old.unwrap())), (4, vec!["hunter2".to_owned()]));
    drop(process);
    // What comes back is under the new key.
    let both = Process::sealing(&log, ring(NEW, &[OLD])).await;
    let back = write(&both, Action::Restore(first.clone())).await.unwrap();
    assert_eq!(opened(&back, new.as_deref().unwrap()), ["hunter2"]);
    write(&both, Action::Replace(rule(&["hunter5"]))).await.unwrap();
    drop(both);
    let alone = Process::sealing(&log, new.clone()).await;
    let back = write(&alone, Action::Restore(first.clone())).await.unwrap();
    assert_eq!(opened(&back, new.as_deref().unwrap()), ["hunter5"], "that of the version cannot be opened");
    // The present secret is not for another address.
    let mut elsewhere = first;
    elsewhere["channels"][0]["url"] = "https://other.example/".into();
    let error = write(&alone, Action::Restore(elsewhere)).await.unwrap_err();
    let WriteError::Refused { refusal: Refusal::Invalid(problems), .. } = error else { panic!("{error}") };
    assert!(problems[0].path == "channels[].secret" && problems[0].message.contains("PUT"), "{problems:?}");
}

#[tokio::test]
async fn what_was_deleted_comes_back_once_and_never_over_what_a_client_believes_to_be_there() {
    let process = Process::sealing(&SharedFake::default(), ring(OLD, &[])).await;
    write(&process, Action::Create(rule(&[]))).await.unwrap();
    let first = earlier(&process, rule(&["hunter2"])).await;
    write(&process, Action::Delete).await.unwrap();
    let change = Change { key: key(), of: None, condition: at(&[2]), action: Action::Remake(first.clone()) };
    let error = process.writer.write(change, &somebody()).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { refusal: Refusal::NotFound(_), .. }), "{error}");
    let error = write(&process, Action::Restore(first.clone())).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { refusal: Refusal::NotFound(_), .. }), "{error}");
    let back = write(&process, Action::Remake(first.clone())).await.unwrap();
    assert_eq!((back.revision.version, opened(&back, &ring(OLD, &[]).unwrap())), (1, vec!["hunter2".to_owned()]));
    let error = write(&process, Action::Remake(first.clone())).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { refusal: Refusal::Exists(_), .. }), "{error}");
    assert_eq!(write(&process, Action::Restore(first)).await.unwrap().revision.version, 2);
    let told = process
        .log
        .0
        .audited()
        .iter()
        .map(|one| String::from_utf8_lossy(one.value.as_ref().unwrap()).into_owned())
        .collect::<Vec<_>>();
    assert!(told.iter().rev().take(2).all(|text| text.contains(r#""action":"RESTORE""#)), "{told:?}");
}

#[tokio::test]
async fn one_secret_that_does_not_open_keeps_no_other_from_being_sealed_anew() {
    const LOST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let log = SharedFake::default();
    let named = |id: &str, secrets: &[&str]| {
        let mut rule = rule(secrets);
        rule["id"] = id.into();
        Change {
            key: Key::of(Kind::AlertRule, id).unwrap(),
            of: None,
            condition: Condition::None,
            action: Action::Create(rule),
        }
    };
    for (key, ids) in [(LOST, 0..3), (OLD, 3..1_203), (NEW, 1_203..1_205)] {
        let process = Process::sealing(&log, ring(key, &[])).await;
        let made: Vec<_> = ids.map(|n| named(&format!("r{n:04}"), &["hunter2"])).collect();
        process.writer.write_all(&made, &somebody()).await.unwrap();
    }
    let process = Process::sealing(&log, ring(NEW, &[OLD])).await;
    write(&process, Action::Create(rule(&[]))).await.unwrap();
    let done = process.writer.reseal(&somebody()).await.unwrap();
    assert_eq!((done.resealed, done.unchanged, done.failed.len()), (1_200, 3, 3));
    assert!(done.failed[0].1.contains("TIDEGATE_SECRET_KEY_PREVIOUS"), "{:?}", done.failed[0]);
    let again = process.writer.reseal(&somebody()).await.unwrap();
    assert_eq!((again.resealed, again.unchanged, again.failed.len()), (0, 1_203, 3));
    drop(process);
    let alone = Process::sealing(&log, ring(NEW, &[])).await;
    assert_eq!(alone.writer.reseal(&somebody()).await.unwrap().failed.len(), 3, "the old key can be dropped");
}
