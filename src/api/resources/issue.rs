//! What is asked for by one name and kept by another: a password, which becomes its hash, and a new key, which is told once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::ApiState;
use crate::api::auth::password;
use crate::api::door::{KEY_BEGINS, hex};
use crate::api::error::ApiError;
use crate::catalog::kind::Kind;
use crate::catalog::kinds::User;
use crate::catalog::resource::Resource;
use crate::model::problem::Problem;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Characters of a key that are kept, so that people know which one it is.
const PREFIX: usize = 7;

/// What the gateway makes of a request.
#[derive(Debug, Default)]
pub struct Issued {
    /// Fields that no client can send.
    pub fields: Map<String, Value>,
    pub once: Option<Once>,
}

/// What is told this once, under its name.
pub type Once = (&'static str, String);

/// Takes out of the body what is no field of the kind; `was` is the resource that is to be changed.
pub async fn issue(
    api: &ApiState,
    kind: Kind,
    (body, was): (&mut Value, Option<&Resource>),
) -> Result<Issued, ApiError> {
    match (kind, was) {
        (Kind::User, was) => {
            let mut issued = account(api, body).await?;
            if was.is_none() {
                issued.fields.insert("epoch".to_owned(), User::new_epoch().into());
            }
            Ok(issued)
        }
        (Kind::ApiKey, None) => key(),
        _ => Ok(Issued::default()),
    }
}

/// What comes back of what was deleted: nothing by which anybody was recognized. An account has no password until one is set, a
/// key is another one.
pub async fn reissue(api: &ApiState, kind: Kind, state: &mut Value) -> Result<Option<Once>, ApiError> {
    if kind.hidden().is_empty() {
        return Ok(None);
    }
    if let Value::Object(fields) = &mut *state {
        kind.hidden().iter().chain(kind.given()).for_each(|name| drop(fields.shift_remove(*name)));
    }
    let Issued { fields: made, once } = issue(api, kind, (state, None)).await?;
    if let Value::Object(fields) = state {
        fields.extend(made);
    }
    Ok(once)
}

async fn account(api: &ApiState, body: &mut Value) -> Result<Issued, ApiError> {
    let given = body.as_object_mut().and_then(|map| map.shift_remove("password")).filter(|given| !given.is_null());
    let mut issued = Issued::default();
    if let Some(given) = given {
        let wrong = |message: String| ApiError::invalid(vec![Problem::new("password", message)]);
        let text = given.as_str().ok_or_else(|| wrong("must be a string".to_owned()))?;
        password::check(text).map_err(wrong)?;
        issued.fields.insert("passwordHash".to_owned(), api.auth.passwords.hash(text.to_owned()).await?.into());
    }
    Ok(issued)
}

fn key() -> Result<Issued, ApiError> {
    let mut bytes = [0; KEY_BYTES];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|_| ApiError::unavailable("no key can be made now: the system gives no randomness"))?;
    let key = format!("{KEY_BEGINS}{}", URL_SAFE_NO_PAD.encode(bytes));
    let mut fields = Map::new();
    fields.insert("prefix".to_owned(), key.chars().take(PREFIX).collect::<String>().into());
    fields.insert("hash".to_owned(), hex(&Sha256::digest(&key)).into());
    Ok(Issued { fields, once: Some(("key", key)) })
}

/// What may be sent where a resource of the kind is made or replaced.
pub fn asked(kind: Kind) -> Option<Value> {
    (kind == Kind::User).then(|| {
        let about = "A new password, 12 to 256 characters; it is never shown. Every session of the person ends.";
        with(
            kind,
            "password",
            json!({"type": "string", "minLength": 12, "maxLength": 256, "writeOnly": true,
            "format": "password", "description": about}),
        )
    })
}

/// What is answered where one is made.
pub fn told(kind: Kind) -> Option<Value> {
    (kind == Kind::ApiKey).then(|| {
        let about = "The key, to be sent in `X-API-Key`. It is told here and never again.";
        with(kind, "key", json!({"type": "string", "description": about}))
    })
}

fn with(kind: Kind, name: &str, field: Value) -> Value {
    let mut schema = kind.schema().clone();
    schema["properties"][name] = field;
    schema
}
