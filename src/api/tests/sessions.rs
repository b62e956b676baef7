//! What ends the sessions of a person, and what they began before it.

use std::time::Duration;

use super::login::{ME, PASSWORD, USERS, ada};
use super::*;
use crate::api::auth::Token;
use crate::api::auth::password::Passwords;
use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition};
use crate::catalog::kind::{Key, Kind};

/// What is done to the account of ada, as a request to its collection.
type Deed = (&'static str, &'static str, Value);

#[tokio::test]
async fn who_was_put_out_does_not_come_back_in_with_a_token_from_before() {
    let bulk = |action: &str| ("POST", "/bulk", json!({"action": action, "ids": ["ada"]}));
    let other = json!({"email": "ada@clinic.example", "role": "VIEWER", "orgId": "648"});
    let cases: [(&str, Vec<Deed>); 6] = [
        ("disabled and enabled", vec![("POST", "/ada/disable", json!({})), ("POST", "/ada/enable", json!({}))]),
        ("disabled and enabled with others", vec![bulk("DISABLE"), bulk("ENABLE")]),
        (
            "disabled and enabled by a patch",
            vec![("PATCH", "/ada", json!({"isActive": false})), ("PATCH", "/ada", json!({"isActive": true}))],
        ),
        ("given a password by another", vec![("PATCH", "/ada", json!({"password": "set by another"}))]),
        ("made a viewer", vec![("PUT", "/ada", other)]),
        (
            "made a viewer and a user again",
            vec![("PATCH", "/ada", json!({"role": "VIEWER"})), ("PATCH", "/ada", json!({"role": "USER"}))],
        ),
    ];
    for (what, deeds) in cases {
        let api = Api::with_ada().await;
        let token = api.token("ada@clinic.example", PASSWORD).await;
        assert_eq!(api.bearing(&token, "GET", ME, "").await.status, 200);
        for (method, path, body) in deeds {
            let done = api.write(method, &format!("{USERS}{path}"), &[], body.to_string()).await;
            assert_eq!(done.status, 200, "{what}: {}", done.body);
        }
        let out = api.bearing(&token, "GET", ME, "").await;
        assert_error(&out, 401, "UNAUTHORIZED");
        assert!(out.body["error"].as_str().unwrap().contains("revoked"), "{what}: {}", out.body);
    }
}

#[tokio::test]
async fn a_log_out_on_a_process_whose_clock_is_behind_revokes_all_the_same() {
    let api = Api::with_ada().await;
    api.clock.advance(Duration::from_secs(60));
    let early = api.token("ada@clinic.example", PASSWORD).await;
    assert_eq!(api.bearing(&early, "POST", "/api/v1/auth/logout", "").await.status, 204);
    let token = api.token("ada@clinic.example", PASSWORD).await;
    api.clock.set(Timestamp(1_763_712_930_250));
    assert_eq!(api.bearing(&token, "POST", "/api/v1/auth/logout", "").await.status, 204);
    assert_error(&api.bearing(&token, "GET", ME, "").await, 401, "UNAUTHORIZED");
}

#[tokio::test]
async fn logging_out_ends_every_session_and_none_that_begins_later() {
    let api = Api::with_ada().await;
    let (one, two) = (api.token("ada@clinic.example", PASSWORD).await, api.token("ada@clinic.example", PASSWORD).await);
    assert_eq!(api.bearing(&one, "POST", "/api/v1/auth/logout", "").await.status, 204);
    for token in [&one, &two] {
        let out = api.bearing(token, "GET", ME, "").await;
        assert_error(&out, 401, "UNAUTHORIZED");
        assert!(out.body["error"].as_str().unwrap().contains("revoked"), "{}", out.body);
    }
    // In the same millisecond.
    let three = api.token("ada@clinic.example", PASSWORD).await;
    assert_eq!(api.bearing(&three, "GET", ME, "").await.status, 200);
}

#[tokio::test]
async fn a_refresh_that_is_overtaken_by_a_log_out_leaves_no_session_behind() {
    let api = Api::with_ada().await;
    let tokens = Tokens::of(SECRET, &[]).unwrap();
    // What the account was when the token was looked at is not what it is when the new one is made.
    let (user, from) = (Key::of(Kind::User, "ada").unwrap(), api.clock.now().plus(Duration::from_millis(1)));
    let was = Token { user, from, epoch: api.epoch_of("ada") };
    let old = tokens.issue(&was, api.clock.now()).unwrap().token;
    let new = api.bearing(&old, "POST", "/api/v1/auth/refresh", "").await;
    assert_eq!(new.status, 200, "{}", new.body);
    let new = new.body["token"].as_str().unwrap();
    assert_eq!(tokens.read(new, api.clock.now()), Ok(was), "what ends the one ends the other");
    assert_eq!(api.bearing(&old, "POST", "/api/v1/auth/logout", "").await.status, 204);
    assert_eq!(api.bearing(new, "GET", ME, "").await.status, 200, "it was given out after what was revoked");
}

#[tokio::test]
async fn a_token_does_not_outlive_its_account_into_the_next_one_where_a_clock_is_behind() {
    let api = Api::with_ada().await;
    let token = api.token("ada@clinic.example", PASSWORD).await;
    assert_eq!(api.delete(&format!("{USERS}/ada")).await.status, 204);
    api.clock.set(Timestamp(1_763_712_930_250 - 60_000));
    assert_eq!(api.post(USERS, ada()).await.status, 201);
    assert_error(&api.bearing(&token, "GET", ME, "").await, 401, "UNAUTHORIZED");
    let own = api.token("ada@clinic.example", PASSWORD).await;
    let put = json!({"email": "ada@clinic.example", "name": "Ada", "role": "USER", "orgId": "648"});
    assert_eq!(api.put(&format!("{USERS}/ada"), put).await.status, 200);
    assert_eq!(api.bearing(&own, "GET", ME, "").await.status, 200, "it is the same account");
}

#[tokio::test]
async fn an_account_from_before_there_were_epochs_goes_on_as_it_is() {
    let api = Api::with_bills().await;
    let hash = Passwords::default().hash(PASSWORD.to_owned()).await.unwrap();
    let old = json!({"id": "old", "email": "old@x.example", "role": "ADMIN", "passwordHash": hash});
    let key = Key::of(Kind::User, "old").unwrap();
    let change = Change { key: key.clone(), of: None, condition: Condition::None, action: Action::Create(old) };
    let by = Origin { actor: "before".to_owned(), address: None, request_id: None };
    let writer = Writer::new(Arc::new(api.log.clone()), api.catalog.clone(), api.clock.clone(), Limits::default());
    writer.write(change, &by).await.unwrap();
    let from = api.clock.now();
    let before = Tokens::of(SECRET, &[]).unwrap().issue(&Token { user: key, from, epoch: None }, from).unwrap().token;
    let since = api.token("old@x.example", PASSWORD).await;
    for token in [&before, &since] {
        let renamed = api.bearing(token, "PATCH", &format!("{USERS}/old"), r#"{"name": "Old"}"#).await;
        assert_eq!(renamed.status, 200, "{}", renamed.body);
        assert_eq!(api.bearing(token, "POST", "/api/v1/auth/refresh", "").await.status, 200);
    }
}

/// A body that its sender takes their time for, and the other end of it.
fn slow() -> (Body, tokio::sync::mpsc::Sender<Result<String, std::io::Error>>) {
    let (sender, rest) = tokio::sync::mpsc::channel(1);
    let rest = futures_util::stream::unfold(rest, |mut rest| async move { Some((rest.recv().await?, rest)) });
    (Body::from_stream(rest), sender)
}

#[tokio::test]
async fn who_is_put_out_while_their_body_comes_does_nothing_with_it() {
    let cases = [
        ("POST", "/api/v1/events", EVENT.to_owned()),
        (
            "POST",
            INTEGRATIONS,
            json!({"id": "other", "name": "O", "eventType": ["*"], "targetUrl": "https://x.example"}).to_string(),
        ),
        ("POST", "/api/v1/admin/catalog/apply", json!({"resources": []}).to_string()),
    ];
    for (method, uri, body) in cases {
        for is_put_out in [true, false] {
            let api = Api::with_ada().await;
            for id in ["boss", "chief"] {
                let email = format!("{id}@x.example");
                let admin = json!({"id": id, "email": email, "role": "ADMIN", "password": PASSWORD});
                assert_eq!(api.post(USERS, admin).await.status, 201);
            }
            let email = if uri.ends_with("apply") { "boss@x.example" } else { "ada@clinic.example" };
            let bearer = format!("Bearer {}", api.token(email, PASSWORD).await);
            tokio::time::pause();
            let (begun, rest) = slow();
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let records = api.log.0.written().len();
            let meanwhile = async {
                let (first, last) = body.split_at(5);
                rest.send(Ok(first.to_owned())).await.unwrap();
                rest.send(Ok(String::new())).await.unwrap();
                rest.reserve().await.unwrap();
                tokio::time::advance(Duration::from_secs(2)).await;
                if is_put_out {
                    for user in ["ada", "boss"] {
                        assert_eq!(api.post(&format!("{USERS}/{user}/disable"), json!({})).await.status, 200);
                    }
                }
                rest.send(Ok(last.to_owned())).await.unwrap();
                drop(rest);
            };
            let (answer, ()) = tokio::join!(api.call(method, uri, &headers, begun), meanwhile);
            match is_put_out {
                true => assert_error(&answer, 401, "UNAUTHORIZED"),
                false => assert!(answer.status.is_success(), "{uri}: {}", answer.body),
            }
            tokio::time::resume();
            let done = api.log.0.written().len() - records - if is_put_out { 2 } else { 0 };
            assert_eq!(done, usize::from(!is_put_out && uri == INTEGRATIONS), "{uri}");
        }
    }
}
