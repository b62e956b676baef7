//! What a program shows instead of a password.

use serde::Serialize;
use serde_json::json;

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::head::{Head, about};
use crate::catalog::kinds::word;
use crate::catalog::resource::{Labels, Spec, Succession};
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::{OrgId, ResourceId};
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Reading, outside `/auth` and `/admin`.
    Read,
    /// Reading and changing, outside `/auth` and `/admin`.
    Write,
    /// Bringing events in, and nothing else.
    Publish,
    /// Seeing payloads.
    Bodies,
}

const SCOPES: &[(&str, Scope)] =
    &[("read", Scope::Read), ("write", Scope::Write), ("publish", Scope::Publish), ("bodies", Scope::Bodies)];

/// The key itself is nowhere, only what recognizes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    pub head: Head,
    pub name: String,
    pub is_active: bool,
    /// Sorted, each once.
    pub scopes: Vec<Scope>,
    pub expires_at: Option<Timestamp>,
    /// How the key begins, for people: `tg_ab12`.
    pub prefix: String,
    /// SHA-256 of the key, in hex. No two keys have the same.
    pub hash: String,
}

impl ApiKey {
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl Spec for ApiKey {
    const KIND: Kind = Kind::ApiKey;
    const ABOUT: &'static [(&'static str, &'static str)] = about![
        ("name", "What people call it."),
        ("isActive", "Whether it is accepted: a key that is disabled is refused at once, everywhere."),
        (
            "scopes",
            "What it may be used for: `read`, `write` (which reads too), `publish` (events in, nothing else), `bodies` (see the \
             payloads of what it may read: beside `read` or `write` only)."
        ),
        ("expiresAt", "From when on it is refused; none: never."),
        ("prefix", "How the key begins, so that people know which one it is."),
        ("hash", "SHA-256 of the key in hex. Never shown."),
    ];
    const EXAMPLE: &'static str = r#"{"id": "till", "orgId": "648", "name": "Till", "scopes": ["publish"],
        "prefix": "tg_ab12", "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}"#;
    const HIDDEN: &'static [&'static str] = &["hash"];
    const GIVEN: &'static [&'static str] = &["prefix"];

    const TOLD: Option<(&'static str, &'static str)> =
        Some(("lastUsedAt", "When it was used last, where history is asked; null: never, or it is not known here."));

    fn read(fields: &mut Fields) -> Option<Self> {
        for name in ["name", "scopes", "prefix", "hash"] {
            fields.require(name);
        }
        let head = Head::read(fields);
        let mut scopes = fields.choices("scopes", SCOPES).unwrap_or_default();
        fields.refine(
            "scopes",
            || json!({"if": {"contains": {"const": "bodies"}}, "then": {"contains": {"enum": ["read", "write"]}}}),
        );
        scopes.sort();
        scopes.dedup();
        let hash = fields.text("hash", &Text::line(64));
        if hash.as_deref().is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
            fields.wrong("hash", "must be 64 hexadecimal digits");
        }
        Some(ApiKey {
            name: fields.text("name", &Text::line(200)).unwrap_or_default(),
            is_active: fields.flag("isActive").unwrap_or(true),
            scopes,
            expires_at: fields.time("expiresAt"),
            prefix: fields.text("prefix", &Text::line(16)).unwrap_or_default(),
            hash: hash.unwrap_or_default(),
            head: head?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form {
            head: &self.head,
            name: &self.name,
            is_active: self.is_active,
            scopes: self.scopes.iter().map(|scope| word(SCOPES, scope)).collect(),
            expires_at: self.expires_at,
            prefix: &self.prefix,
            hash: &self.hash,
        }
    }

    fn id(&self) -> ResourceId {
        self.head.id.clone()
    }

    fn org(&self) -> Option<&OrgId> {
        Some(&self.head.org_id)
    }

    fn title(&self) -> &str {
        &self.name
    }

    fn labels(&self) -> &Labels {
        &self.head.labels
    }

    fn active(&self) -> Option<bool> {
        Some(self.is_active)
    }

    fn set_active(&mut self, active: bool) {
        self.is_active = active;
    }

    /// What opens nothing is a mistake. Asked where it is written: a record of older rules is read all the same.
    fn check(&self, _snapshot: &Snapshot) -> Vec<Problem> {
        let has = |scope| self.scopes.contains(&scope);
        if has(Scope::Bodies) && !has(Scope::Read) && !has(Scope::Write) {
            let why = "has `bodies`, which shows the payloads of what a key may read: add `read` or `write`";
            return vec![Problem::new("scopes", why)];
        }
        Vec::new()
    }

    fn unique(&self) -> Option<(&'static str, String)> {
        Some(("hash", self.hash.clone()))
    }

    /// An earlier version makes no key good again that was disabled or has expired since.
    fn succeed(&mut self, was: &ApiKey, how: &Succession) {
        if how.is_restored {
            self.is_active &= was.is_active;
            if was.has_expired(how.now) {
                self.expires_at = was.expires_at;
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(flatten)]
    head: &'a Head,
    name: &'a str,
    is_active: bool,
    scopes: Vec<&'static str>,
    expires_at: Option<Timestamp>,
    prefix: &'a str,
    hash: &'a str,
}
