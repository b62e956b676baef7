//! People and keys: how they come in, and how they are put out.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::*;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Body as Kept;

pub(super) const USERS: &str = "/api/v1/admin/users";
pub(super) const KEYS: &str = "/api/v1/admin/api-keys";
pub(super) const ME: &str = "/api/v1/auth/me";
pub(super) const PASSWORD: &str = "correct horse battery";

pub(super) fn ada() -> Value {
    json!({"id": "ada", "email": "Ada@Clinic.example", "role": "USER", "orgId": "648", "password": PASSWORD})
}

impl Api {
    /// With somebody of 648 who has a password.
    pub(super) async fn with_ada() -> Api {
        let api = Api::with_bills().await;
        let made = api.post(USERS, ada()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        api
    }

    pub(super) async fn log_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password}).to_string();
        self.call("POST", "/api/v1/auth/login", &[("content-type", "application/json")], body).await
    }

    pub(super) async fn token(&self, email: &str, password: &str) -> String {
        let answer = self.log_in(email, password).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["token"].as_str().unwrap().to_owned()
    }

    pub(super) fn epoch_of(&self, user: &str) -> Option<String> {
        let snapshot = self.catalog.snapshot();
        let Kept::User(user) = &snapshot.get(&Key::of(Kind::User, user)?)?.body else { return None };
        user.epoch.clone()
    }

    pub(super) async fn bearing(&self, token: &str, method: &str, uri: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.call(method, uri, &headers, body.to_owned()).await
    }
}

#[tokio::test]
async fn who_logs_in_is_known_until_the_token_is_over() {
    let api = Api::with_ada().await;
    let session = api.log_in("ada@clinic.EXAMPLE", PASSWORD).await;
    assert_eq!(session.status, 200, "{}", session.body);
    let user = json!({"id": "ada", "email": "ada@clinic.example", "name": "", "role": "USER", "orgId": "648"});
    assert_eq!((&session.body["user"], &session.body["expiresAt"]), (&user, &json!("2025-11-28T08:15:30.000Z")));
    let token = session.body["token"].as_str().unwrap();
    assert_eq!(api.bearing(token, "GET", ME, "").await.body, user);
    assert_eq!(api.bearing(token, "GET", INTEGRATIONS, "").await.status, 200);
    api.clock.advance(Duration::from_secs(6 * 24 * 3_600));
    let slid = api.bearing(token, "POST", "/api/v1/auth/refresh", "").await;
    assert_eq!((slid.status.as_u16(), &slid.body["expiresAt"]), (200, &json!("2025-12-04T08:15:30.000Z")));
    api.clock.advance(Duration::from_secs(24 * 3_600));
    let over = api.bearing(token, "GET", ME, "").await;
    assert_error(&over, 401, "UNAUTHORIZED");
    assert!(over.body["error"].as_str().unwrap().contains("expired"), "{}", over.body);
    assert_eq!(over.header("www-authenticate"), "Bearer");
    assert_eq!(api.bearing(slid.body["token"].as_str().unwrap(), "GET", ME, "").await.status, 200);
}

#[tokio::test]
async fn a_password_is_answered_and_written_nowhere() {
    let api = Api::with_ada().await;
    let uri = format!("{USERS}/ada");
    let patched = api.write("PATCH", &uri, &[], json!({"password": "another long one"}).to_string()).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    let put = api.put(&uri, ada()).await;
    for answer in [&patched, &put, &api.get(&uri).await, &api.get(USERS).await] {
        assert_eq!(answer.status, 200, "{}", answer.body);
        for hidden in ["assword", "argon2", "tokensFrom", "epoch", "horse", "another"] {
            assert!(!answer.text.contains(hidden), "{hidden}: {}", answer.text);
        }
    }
    let records = [api.log.0.written(), api.log.0.audited()].concat();
    for record in &records {
        let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        assert!(!text.contains("horse") && !text.contains("another"), "{text}");
    }
    for (wrong, path) in [
        (json!({"password": "short"}), "password"),
        (json!({"password": 7}), "password"),
        (json!({"passwordHash": "$argon2id$"}), "passwordHash"),
        (json!({"tokensFrom": "2020-01-01T00:00:00Z"}), "tokensFrom"),
        (json!({"epoch": "mine"}), "epoch"),
        (json!({"orgId": "649"}), "orgId"),
        (json!({"role": "ADMIN"}), "orgId"),
    ] {
        let answer = api.write("PATCH", &uri, &[], wrong.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.paths()[0]), (400, path), "{wrong}");
    }
}

#[tokio::test]
async fn whether_an_account_is_there_is_not_told_and_guessing_waits() {
    let api = Api::with_ada().await;
    api.post(
        USERS,
        json!({"id": "off", "email": "off@x.example", "role": "ADMIN", "isActive": false, "password": PASSWORD}),
    )
    .await;
    api.post(USERS, json!({"id": "none", "email": "none@x.example", "role": "ADMIN"})).await;
    let mut told = Vec::new();
    for (email, password) in [
        ("ada@clinic.example", "wrong horse battery"),
        ("nobody@x.example", PASSWORD),
        ("off@x.example", PASSWORD),
        ("none@x.example", PASSWORD),
        ("", ""),
    ] {
        let answer = api.log_in(email, password).await;
        assert_error(&answer, 401, "UNAUTHORIZED");
        told.push(answer.body["error"].clone());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    for email in ["ada@clinic.example", "made-up@x.example"] {
        let mut tries = 0;
        while api.log_in(email, "wrong horse battery").await.status == 401 {
            tries += 1;
        }
        assert!((4..=5).contains(&tries), "{email}: {tries}");
        let locked = api.log_in(email, PASSWORD).await;
        assert_error(&locked, 429, "RATE_LIMITED");
        assert_eq!(locked.header("retry-after"), "1");
    }
    api.clock.advance(Duration::from_secs(1));
    assert_eq!(api.log_in("ada@clinic.example", PASSWORD).await.status, 200);
    for wrong in [json!({}), json!({"email": "a"}), json!({"email": 1, "password": "x"}), json!([])] {
        let json = [("content-type", "application/json")];
        assert_error(&api.call("POST", "/api/v1/auth/login", &json, wrong.to_string()).await, 400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn what_an_account_is_now_decides_not_what_it_was_when_the_token_was_made() {
    let api = Api::with_ada().await;
    let uri = format!("{USERS}/ada");
    let token = api.token("ada@clinic.example", PASSWORD).await;
    let patch = |body: Value| {
        let (api, uri) = (&api, &uri);
        async move { assert_eq!(api.write("PATCH", uri, &[], body.to_string()).await.status, 200) }
    };
    let status = |method: &'static str, uri: &'static str| {
        let (api, token) = (&api, &token);
        async move { api.bearing(token, method, uri, EVENT).await.status.as_u16() }
    };
    assert_eq!(status("POST", "/api/v1/events").await, 202);
    patch(json!({"name": "Ada", "description": "of the desk", "labels": {"shift": "early"}})).await;
    assert_eq!(status("POST", "/api/v1/events").await, 202, "words about somebody put nobody out");
    patch(json!({"role": "VIEWER"})).await;
    assert_eq!(status("GET", INTEGRATIONS).await, 401);
    let token = api.token("ada@clinic.example", PASSWORD).await;
    assert_eq!(api.bearing(&token, "GET", INTEGRATIONS, "").await.status, 200);
    assert_error(&api.bearing(&token, "POST", "/api/v1/events", EVENT).await, 403, "FORBIDDEN");
    assert_eq!(api.delete(&uri).await.status, 204);
    assert_error(&api.bearing(&token, "GET", ME, "").await, 401, "UNAUTHORIZED");
    api.clock.advance(Duration::from_secs(1));
    assert_eq!(api.post(USERS, ada()).await.status, 201);
    assert_error(&api.bearing(&token, "GET", ME, "").await, 401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_wants_the_old_one() {
    let api = Api::with_ada().await;
    let (mine, other) =
        (api.token("ada@clinic.example", PASSWORD).await, api.token("ada@clinic.example", PASSWORD).await);
    let change = |old: &'static str, new: &'static str| {
        let (api, mine) = (&api, &mine);
        async move {
            let body = json!({"old": old, "new": new}).to_string();
            api.bearing(mine, "POST", "/api/v1/auth/password", &body).await
        }
    };
    for (old, new, path) in [("wrong horse battery", "a long new one", "old"), (PASSWORD, "short", "new")] {
        let refused = change(old, new).await;
        assert_eq!((refused.status.as_u16(), refused.paths()), (400, vec![path]));
    }
    let changed = change(PASSWORD, "a long new one").await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    for token in [&mine, &other] {
        assert_eq!(api.bearing(token, "GET", ME, "").await.status, 401);
    }
    assert_eq!(api.bearing(changed.body["token"].as_str().unwrap(), "GET", ME, "").await.status, 200);
    assert_eq!(api.log_in("ada@clinic.example", PASSWORD).await.status, 401);
    assert_eq!(api.log_in("ada@clinic.example", "a long new one").await.status, 200);
}

#[tokio::test]
async fn a_forged_token_opens_nothing() {
    let api = Api::with_ada().await;
    let good = api.token("ada@clinic.example", PASSWORD).await;
    let claims = json!({"sub": "ada", "iat": 1, "exp": 9_999_999_999_i64, "from": 9_999_999_999_999_i64});
    let forged = encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    let (head, rest) = good.split_once('.').unwrap();
    let none = format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().0);
    for token in ["", "x", "a.b.c", &none, &forged, head, &good[..good.len() - 2]] {
        let answer = api.bearing(token, "GET", ME, "").await;
        assert_error(&answer, 401, "UNAUTHORIZED");
        // Beside the request's id, which may hold these letters by chance.
        assert!(!answer.body["error"].as_str().unwrap().contains("ada"), "{}", answer.text);
    }
    for authorization in ["Basic YWRhOng=", "Bearer", &format!("bearer{good}")] {
        assert_error(&api.call("GET", ME, &[("authorization", authorization)], "").await, 401, "UNAUTHORIZED");
    }
    let lower = format!("bearer {good}");
    assert_eq!(api.call("GET", ME, &[("authorization", lower.as_str())], "").await.status, 200);
}

#[tokio::test]
async fn a_key_is_shown_once_and_opens_what_its_scopes_say() {
    let api = Api::with_bills().await;
    let body = json!({"id": "till", "orgId": "648", "name": "Till", "scopes": ["publish"],
        "expiresAt": "2025-11-22T00:00:00Z", "prefix": "tg_mine"});
    let made = api.post(KEYS, body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let key = made.body["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("tg_") && key.len() == 46, "{key}");
    assert!(key.starts_with(made.body["prefix"].as_str().unwrap()) && made.body["prefix"] != "tg_mine");
    let uri = format!("{KEYS}/till");
    let put = json!({"id": "till", "orgId": "648", "name": "Other", "scopes": ["publish"],
        "expiresAt": "2025-11-22T00:00:00Z", "prefix": "tg_mine"});
    let put = api.put(&uri, put).await;
    assert_eq!((put.status.as_u16(), &put.body["prefix"]), (200, &made.body["prefix"]), "{}", put.body);
    for answer in [&put, &api.get(&uri).await, &api.get(KEYS).await] {
        assert!(!answer.text.contains(&key[8..]) && !answer.text.contains("hash"), "{}", answer.text);
    }
    let records = [api.log.0.written(), api.log.0.audited()].concat();
    let clear = |r: &crate::model::record::Record| String::from_utf8_lossy(r.value.as_deref().unwrap()).contains(&key);
    assert!(!records.iter().any(clear));
    let with = |uri: &'static str| {
        let (api, key) = (&api, &key);
        let method = if uri.ends_with("events") { "POST" } else { "GET" };
        let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
        async move { api.call(method, uri, &headers, EVENT).await }
    };
    assert_eq!(with("/api/v1/events").await.status, 202);
    assert_error(&with(INTEGRATIONS).await, 403, "FORBIDDEN");
    assert_error(&with(KEYS).await, 403, "FORBIDDEN");
    assert_error(&with(ME).await, 403, "FORBIDDEN");
    assert_eq!(api.call("POST", &format!("{uri}/disable"), &[("x-api-key", KEY)], "").await.status, 200);
    let disabled = with("/api/v1/events").await;
    assert_error(&disabled, 401, "UNAUTHORIZED");
    assert!(disabled.body["error"].as_str().unwrap().contains("disabled"));
    assert_eq!(api.call("POST", &format!("{uri}/enable"), &[("x-api-key", KEY)], "").await.status, 200);
    api.clock.advance(Duration::from_secs(24 * 3_600));
    assert!(with("/api/v1/events").await.body["error"].as_str().unwrap().contains("expired"));
    assert_eq!(api.delete(&uri).await.status, 204);
    assert!(with("/api/v1/events").await.body["error"].as_str().unwrap().contains("not valid"));
}

#[tokio::test]
async fn people_look_after_the_keys_of_their_own_organization_alone() {
    let api = Api::with_ada().await;
    api.post(ORGS, json!({"orgId": "649", "name": "Other"})).await;
    let theirs = api.post(KEYS, json!({"id": "theirs", "orgId": "649", "name": "T", "scopes": ["read"]})).await;
    assert_eq!(theirs.status, 201, "{}", theirs.body);
    let token = api.token("ada@clinic.example", PASSWORD).await;
    let own = api.bearing(&token, "POST", KEYS, r#"{"id": "own", "name": "Own", "scopes": ["read"]}"#).await;
    assert_eq!((own.status.as_u16(), &own.body["orgId"]), (201, &json!("648")), "{}", own.body);
    let listed = api.bearing(&token, "GET", KEYS, "").await.body;
    assert_eq!((&listed["total"], &listed["apiKeys"][0]["id"]), (&json!(1), &json!("own")));
    let abroad = api.bearing(&token, "POST", KEYS, r#"{"orgId": "649", "name": "x", "scopes": ["read"]}"#).await;
    assert_error(&abroad, 400, "VALIDATION_ERROR");
    for (method, uri) in [("GET", "theirs"), ("DELETE", "theirs"), ("PATCH", "theirs"), ("POST", "theirs/disable")] {
        let answer = api.bearing(&token, method, &format!("{KEYS}/{uri}"), "{}").await;
        assert_error(&answer, 404, "NOT_FOUND");
    }
    assert_error(&api.bearing(&token, "GET", USERS, "").await, 403, "FORBIDDEN");
    // A copy stays where what it is of is.
    let copy = format!("{INTEGRATIONS}/bills/duplicate");
    let abroad = api.bearing(&token, "POST", &copy, r#"{"orgId": "649"}"#).await;
    assert_eq!((abroad.status.as_u16(), abroad.paths()), (400, vec!["orgId"]), "{}", abroad.body);
    assert_eq!(api.bearing(&token, "POST", &copy, r#"{"orgId": "648"}"#).await.status, 201);
}
