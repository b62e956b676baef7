//! What people send and get.

use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

use super::token::Issued;
use crate::api::error::ApiError;
use crate::api::spec::has;
use crate::catalog::fields::{Fields, Text};
use crate::catalog::kinds::User;
use crate::model::time::Timestamp;

/// A text that is longer is no password.
const LONGEST: usize = 1_024;
/// What `Text` with lines takes, for the schema.
const TEXT: &str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$";

pub fn schemas(all: &mut SchemaGenerator) {
    has::<Login>(all);
    has::<NewPassword>(all);
    has::<Session>(all);
    has::<Person>(all);
}

/// Who wants to log in.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Login {
    /// The email address, in any case.
    #[schemars(length(max = 1024), regex(pattern = TEXT))]
    pub email: String,
    /// The password.
    #[schemars(length(max = 1024), regex(pattern = TEXT))]
    pub password: String,
}

impl Login {
    pub fn read(json: serde_json::Value) -> Result<Login, ApiError> {
        read(json, ["email", "password"]).map(|[email, password]| Login { email, password })
    }
}

/// A password and the one that takes its place.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NewPassword {
    /// The password as it is.
    #[schemars(length(max = 1024), regex(pattern = TEXT))]
    pub old: String,
    /// The one that it is to be: 12 to 256 characters.
    #[schemars(length(min = 12, max = 256), regex(pattern = TEXT))]
    pub new: String,
}

impl NewPassword {
    pub fn read(json: serde_json::Value) -> Result<NewPassword, ApiError> {
        read(json, ["old", "new"]).map(|[old, new]| NewPassword { old, new })
    }
}

fn read<const N: usize>(json: serde_json::Value, names: [&'static str; N]) -> Result<[String; N], ApiError> {
    let all = |fields: &mut Fields| {
        names.iter().for_each(|name| fields.require(name));
        let texts = names.map(|name| fields.text(name, &Text { chars: 0..=LONGEST, lines: true }));
        texts.map(Option::unwrap_or_default)
    };
    let mut fields = Fields::of(json).map_err(ApiError::invalid)?;
    let texts = all(&mut fields);
    fields.finish(Some(texts)).map_err(ApiError::invalid)
}

/// A token and whose it is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// To be sent as `Authorization: Bearer ...`.
    token: String,
    /// From when on it is refused.
    expires_at: Timestamp,
    /// Whose it is.
    user: Person,
}

/// Somebody who has logged in.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The id of the user.
    id: String,
    /// Their email address.
    email: String,
    /// What people call them.
    name: String,
    /// What they may do: `ADMIN`, `USER` or `VIEWER`.
    role: &'static str,
    /// Their organization; null of an `ADMIN`, who sees all.
    org_id: Option<String>,
}

impl Person {
    pub fn of(user: &User) -> Person {
        Person {
            id: user.id.to_string(),
            email: user.email.clone(),
            name: user.name.clone(),
            role: user.role.as_str(),
            org_id: user.org_id.as_ref().map(ToString::to_string),
        }
    }
}

impl Session {
    pub fn of(issued: Issued, user: &User) -> Session {
        Session { token: issued.token, expires_at: issued.expires_at, user: Person::of(user) }
    }
}
