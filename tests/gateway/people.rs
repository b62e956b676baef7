//! Who may come in, from the command line: accounts and keys of a gateway that runs.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::broker::Broker;
use crate::support::command::tidegate;
use crate::support::gateway::Setup;
use crate::support::terminal::Terminal;
use crate::support::{LATER, SOON, turn, until};

const PASSWORD: &str = "correct horse battery";

/// What a program with this key, or nobody, is answered.
async fn asked(setup: &Setup, (method, path): (Method, &str), key: &str, body: &Value) -> u16 {
    let url = format!("http://{}/api/v1/{path}", setup.address());
    let http = Client::builder().no_proxy().timeout(SOON).build().expect("a client");
    let request = http.request(method, url).header("x-api-key", key).header("content-type", "application/json");
    request.body(body.to_string()).send().await.expect("it answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_a_key_that_works_until_it_is_revoked_and_nothing_else_on_standard_output() {
    let _turn = turn::beside().await;
    let setup = Setup::new(&Broker::any().await, "people");
    let mut gateway = setup.start().await;
    gateway.api().org("648").await;
    let create = ["key", "create", "--org", "648", "--name", "Till", "--scope", "publish,read", "--id", "till"];
    let made = tidegate(&setup, &create, "").await;
    let key = made.out.trim_end();
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""), "{}", made.out);
    assert!(made.out.ends_with('\n') && key.starts_with("tg_") && key.len() == 46, "{key:?}");
    let event = json!({"eventType": "bill.created", "payload": {}});
    assert_eq!(asked(&setup, (Method::POST, "events"), key, &event).await, 202);

    let again = tidegate(&setup, &create, "").await;
    assert_eq!((again.code, again.out.as_str()), (Some(1), ""), "its id is taken: {}", again.err);
    let abroad = tidegate(&setup, &["key", "create", "--org", "7", "--name", "x", "--scope", "read"], "").await;
    assert!(abroad.code == Some(2) && abroad.err.contains("--org"), "{}", abroad.err);
    let over = tidegate(&setup, &[&create[..8], &["--expires", "2020-01-01"]].concat(), "").await;
    assert!(over.code == Some(2) && over.out.is_empty() && over.err.contains("over already"), "{}", over.err);

    let listed = tidegate(&setup, &["key", "list", "--org", "648"], "").await;
    assert!(listed.out.starts_with("till ") && listed.out.contains("active") && listed.out.contains("read,publish"));
    assert!(!listed.out.contains(&key[7..]) && !listed.out.contains('\u{1b}'), "{}", listed.out);
    // What is gathered in memory is written at the end.
    gateway.terminate();
    assert_eq!(gateway.ended(LATER).await.code, Some(0));
    let _again = setup.start().await;
    until("its last use", LATER, async || {
        let json = tidegate(&setup, &["key", "list", "-o", "json"], "").await;
        let row: Value = serde_json::from_str(json.out.trim()).expect("one line of JSON");
        row["lastUsedAt"].as_str().map(str::to_owned)
    })
    .await;

    let revoked = tidegate(&setup, &["key", "revoke", "till"], "").await;
    assert_eq!((revoked.code, revoked.out.as_str()), (Some(0), ""), "{}", revoked.err);
    assert_eq!(asked(&setup, (Method::POST, "events"), key, &event).await, 401);
    let gone = tidegate(&setup, &["key", "revoke", "till"], "").await;
    assert!(gone.code == Some(1) && gone.err.contains("key list"), "{}", gone.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_with_a_password_that_only_a_pipe_has_seen() {
    let _turn = turn::beside().await;
    let setup = Setup::new(&Broker::any().await, "people");
    let gateway = setup.start().await;
    gateway.api().org("648").await;
    let create = ["user", "create", "ada@clinic.example", "--role", "user", "--org", "648", "--name", "Ada"];
    let short = tidegate(&setup, &create, "short\n").await;
    assert!(short.code == Some(2) && short.err.contains("12 to 256"), "{}", short.err);
    let made = tidegate(&setup, &create, &format!("{PASSWORD}\n")).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert!(made.out.starts_with("ada@clinic.example") && !made.out.contains("horse"), "{}", made.out);
    let again = tidegate(&setup, &create, PASSWORD).await;
    assert!(again.code == Some(1) && again.err.contains("EMAIL is that of another"), "{}", again.err);

    let log_in = async |password: &str| {
        let body = json!({"email": "ada@clinic.example", "password": password});
        asked(&setup, (Method::POST, "auth/login"), "", &body).await
    };
    assert_eq!(log_in(PASSWORD).await, 200);
    let set = tidegate(&setup, &["user", "password", "Ada@clinic.example"], "another long one\r\n").await;
    assert_eq!(
        (set.code, log_in("another long one").await, log_in(PASSWORD).await),
        (Some(0), 200, 401),
        "{}",
        set.err
    );
    let out = tidegate(&setup, &["user", "disable", "ada@clinic.example"], "").await;
    assert!(out.code == Some(0) && out.out.contains("disabled"), "{}", out.err);
    assert_eq!(log_in("another long one").await, 401);
    assert_eq!(tidegate(&setup, &["user", "enable", "ada@clinic.example"], "").await.code, Some(0));
    assert_eq!(log_in("another long one").await, 200);
    let listed = tidegate(&setup, &["user", "list", "--role", "user"], "").await;
    assert!(listed.out.contains("USER") && listed.out.lines().count() == 1, "{}", listed.out);
    let nobody = tidegate(&setup, &["user", "disable", "bob@clinic.example"], "").await;
    assert!(nobody.code == Some(1) && nobody.err.contains("user list"), "{}", nobody.err);
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_typed_unseen_twice_and_ctrl_c_leaves_a_terminal_that_shows_what_is_typed() {
    let _turn = turn::beside().await;
    let setup = Setup::new(&Broker::any().await, "typed");
    let gateway = setup.start().await;
    gateway.api().org("648").await;
    let create = "tidegate user create ada@clinic.example --role user --org 648; echo ended $?; stty -a";
    for key in ["\u{3}", "half of it\u{3}", "\u{4}"] {
        let mut terminal = Terminal::of(&setup, create);
        terminal.shows("12 characters or more: ").await;
        terminal.types(key).await;
        terminal.shows("nothing was changed").await;
        terminal.shows("ended 1").await;
        terminal.shows(" echo ").await;
        assert!(!terminal.shown.contains("half of it"), "{}", terminal.shown);
    }
    let mut terminal = Terminal::of(&setup, create);
    for (question, typed) in [
        ("12 characters or more: ", "short\r"),
        ("12 to 256 characters long; once more", ""),
        ("12 characters or more: ", &format!("{PASSWORD}\r")),
        ("The same again: ", "another long one\r"),
        ("two different passwords; once more", ""),
        ("12 characters or more: ", &format!("{PASSWORD}\r")),
        ("The same again: ", &format!("{PASSWORD}\r")),
        ("ada@clinic.example", ""),
        ("ended 0", ""),
        (" echo ", ""),
    ] {
        terminal.shows(question).await;
        terminal.types(typed).await;
    }
    let told = |secret: &str| terminal.shown.contains(secret);
    assert!(!told(PASSWORD) && !told("another long one") && !told("short"), "{}", terminal.shown);
    let body = json!({"email": "ada@clinic.example", "password": PASSWORD});
    assert_eq!(asked(&setup, (Method::POST, "auth/login"), "", &body).await, 200);
    drop(gateway);
}
