//! Where each value came from, for people who wonder why something is as it is.

use std::fmt;
use std::path::PathBuf;

use figment::value::{Num, Value};
use figment::{Figment, Metadata, Source};
use serde::Serialize;
use serde_json::json;

use super::ConfigError;
use super::keys::{FLAG, explain};

/// What stands in the place of a secret.
const MASK: &str = "***";
/// Words in the names of librdkafka properties that carry credentials, `sasl.password` and `ssl.key.pem` among them.
const SECRET_WORDS: [&str; 7] = ["password", "secret", "key", "token", "jaas", "credential", "oauthbearer.config"];

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// One setting as it holds. A secret is masked, so that it can be shown to anybody.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// As in `tidegate.toml`, sections before it: `kafka.brokers`, `kafka.properties."sasl.mechanism"`.
    pub key: String,
    /// Null where it is not set.
    pub value: serde_json::Value,
    pub from: Origin,
}

/// Every setting, sections below what stands outside of them.
pub(super) fn settings(figment: &Figment) -> Result<Vec<Setting>, ConfigError> {
    let all = figment.find_value("").map_err(|e| ConfigError(explain(e)))?;
    let mut found = Vec::new();
    walk(figment, &mut Vec::new(), &all, &mut found);
    found.sort_by_key(|setting: &Setting| (setting.key.contains('.'), setting.key.clone()));
    Ok(found)
}

fn walk(figment: &Figment, path: &mut Vec<String>, value: &Value, found: &mut Vec<Setting>) {
    if let Value::Dict(_, dict) = value {
        for (name, value) in dict {
            path.push(name.clone());
            walk(figment, path, value, found);
            path.pop();
        }
        return;
    }
    let value_shown = match plain(value) {
        serde_json::Value::Null => serde_json::Value::Null,
        _ if is_secret(path) => json!(MASK),
        shown => shown,
    };
    let key: Vec<String> = path.iter().map(|part| quoted(part)).collect();
    let from = origin(figment.get_metadata(value.tag()));
    found.push(Setting { key: key.join("."), value: value_shown, from });
}

/// A name with a dot in it is one key of TOML only in quotes.
fn quoted(part: &str) -> String {
    let bare = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { part.to_owned() } else { format!("{part:?}") }
}

fn origin(metadata: Option<&Metadata>) -> Origin {
    match metadata.map(|m| (&m.source, &*m.name)) {
        Some((Some(Source::File(path)), _)) => Origin::File(path.clone()),
        Some((None, FLAG)) => Origin::Flag,
        Some((None, name)) => Origin::Environment(name.to_owned()),
        _ => Origin::Default,
    }
}

fn is_secret(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["admin_key" | "admin_password" | "secret_key" | "secret_key_previous"] => true,
        ["kafka", "properties", name] => SECRET_WORDS.iter().any(|word| name.to_lowercase().contains(word)),
        _ => false,
    }
}

fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::String(_, text) => json!(text),
        Value::Char(_, c) => json!(c),
        Value::Bool(_, b) => json!(b),
        Value::Num(_, Num::F32(n)) => json!(n),
        Value::Num(_, Num::F64(n)) => json!(n),
        // A number of a type without a sign has no form with one.
        Value::Num(_, n) => match n.to_u128() {
            Some(n) => json!(u64::try_from(n).ok()),
            None => json!(n.to_i128().and_then(|n| i64::try_from(n).ok())),
        },
        Value::Array(_, items) => items.iter().map(plain).collect(),
        Value::Empty(..) => serde_json::Value::Null,
        Value::Dict(_, dict) => dict.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
    }
}
