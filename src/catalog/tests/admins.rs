//! Somebody can always log in who may do everything.

use serde_json::{Value, json};

use super::process::{Process, change, process, somebody};
use crate::catalog::change::{Action, Change, Refusal};
use crate::catalog::fake::SharedFake;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::writer::WriteError;

fn key(id: &str) -> Key {
    Key::of(Kind::User, id).unwrap()
}

fn admin(id: &str) -> Value {
    json!({"id": id, "email": format!("{id}@x.example"), "role": "ADMIN", "passwordHash": "$argon2id$"})
}

fn made(id: &str, more: Value) -> Change {
    let mut user = admin(id);
    user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    change(key(id), Action::Create(user))
}

fn is_refused<T>(done: &Result<T, WriteError>, id: &str) -> bool {
    let Err(WriteError::Refused { refusal: Refusal::LastAdmin(last), .. }) = done else { return false };
    *last == key(id)
}

fn active(process: &Process) -> usize {
    let snapshot = process.catalog.snapshot();
    snapshot.all(Kind::User).values().filter(|user| user.to_json()["isActive"] == true).count()
}

#[tokio::test]
async fn the_last_admin_who_can_log_in_is_put_out_by_nothing() {
    let process = process(&SharedFake::default()).with_org().await;
    process.write(made("boss", json!({}))).await.unwrap();
    // None of these can take the place.
    process.write(made("off", json!({"isActive": false}))).await.unwrap();
    process.write(made("mute", json!({"passwordHash": null}))).await.unwrap();
    process.write(made("ada", json!({"role": "USER", "orgId": "648"}))).await.unwrap();
    let mut off = admin("boss");
    off["isActive"] = json!(false);
    let ways = [
        Action::SetActive(false),
        Action::Delete,
        Action::Merge(json!({"isActive": false})),
        Action::Replace(off.clone()),
        Action::Restore(off),
    ];
    for way in ways {
        let done = process.write(change(key("boss"), way.clone())).await;
        assert!(is_refused(&done, "boss"), "{way:?}: {done:?}");
    }
    // Others come and go, and whoever comes in the same transaction counts.
    for id in ["off", "mute", "ada"] {
        process.write(change(key(id), Action::Delete)).await.unwrap();
    }
    let replaced = [change(key("boss"), Action::Delete), made("chief", json!({}))];
    process.writer.write_all(&replaced, &somebody()).await.unwrap();
    process.write(made("deputy", json!({}))).await.unwrap();
    let both = [change(key("chief"), Action::Delete), change(key("deputy"), Action::SetActive(false))];
    let done = process.writer.write_all(&both, &somebody()).await;
    assert!(is_refused(&done, "deputy"), "{done:?}");
    process.write(change(key("chief"), Action::SetActive(false))).await.unwrap();
    assert_eq!(active(&process), 1);
}

#[tokio::test]
async fn two_admins_who_put_each_other_out_at_once_do_not_both_succeed() {
    for way in [Action::Delete, Action::SetActive(false)] {
        let log = SharedFake::default();
        let (one, two) = (process(&log), process(&log));
        for id in ["boss", "chief"] {
            one.write(made(id, json!({}))).await.unwrap();
        }
        let out = |id: &str| change(key(id), way.clone());
        let done: (Result<Resource, _>, Result<Resource, _>) =
            tokio::join!(one.write(out("boss")), two.write(out("chief")));
        let refused = [is_refused(&done.0, "boss"), is_refused(&done.1, "chief")];
        assert!(refused == [true, false] || refused == [false, true], "{done:?}");
        assert!(done.0.is_ok() != done.1.is_ok(), "{done:?}");
    }
}
