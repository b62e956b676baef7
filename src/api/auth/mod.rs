//! People: their passwords, the tokens that they get for them, and how often a wrong password may be tried.

mod failures;
mod forms;
mod handlers;
pub mod password;
mod token;

use serde_json::json;

use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, form, get, post};
use failures::Failures;
pub(super) use forms::schemas;
use password::Passwords;
pub use token::{Token, Tokens};

/// What the routes of people work with. One for each process: what it counts, other processes do not know.
#[derive(Debug, Default)]
pub struct Auth {
    pub passwords: Passwords,
    failures: Failures,
}

/// Of what strangers send.
const BODY_LIMIT: usize = 16 * 1_024;

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let tag = "People";
    let login = post("/api/v1/auth/login", Access::Open)
        .says(tag, "Gives a token for an email address and a password. Each wrong one makes the next try wait.")
        .takes(BODY_LIMIT)
        .body(form("Login"))
        .example(json!({"email": "ada@clinic.example", "password": "correct horse battery"}))
        .answers(Answer::json(200, "Welcome.", form("Session")))
        .fails(&[401, 429]);
    door.add(login, handlers::login, state.clone());
    let refresh = post("/api/v1/auth/refresh", Access::Session)
        .says(tag, "Gives a token that lasts seven days from now; the one that asks stays as it is. What ends the one ends the other.")
        .answers(Answer::json(200, "A new token.", form("Session")));
    door.add(refresh, handlers::refresh, state.clone());
    let logout = post("/api/v1/auth/logout", Access::Session)
        .says(tag, "Ends every session of the person, on every process.")
        .answers(Answer::nothing(204, "No token that was given out so far counts any more."));
    door.add(logout, handlers::logout, state.clone());
    let me = get("/api/v1/auth/me", Access::Session).says(tag, "Who has logged in.").answers(Answer::json(
        200,
        "The person.",
        form("Person"),
    ));
    door.add(me, handlers::me, state.clone());
    let password = post("/api/v1/auth/password", Access::Session)
        .says(tag, "Changes the own password. Every other session ends; the answer has a token for this one.")
        .takes(BODY_LIMIT)
        .body(form("NewPassword"))
        .example(json!({"old": "correct horse battery", "new": "a longer horse battery"}))
        .answers(Answer::json(200, "Changed.", form("Session")))
        .fails(&[409]);
    door.add(password, handlers::password, state.clone());
}
