//! A person with a password.

use serde::Serialize;
use uuid::Uuid;

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::{contact, head, word};
use crate::catalog::resource::{Labels, Spec, Succession};
use crate::model::ids::{OrgId, ResourceId};
use crate::model::time::Timestamp;

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything, in all organizations.
    Admin,
    /// Reads and changes what its organization has.
    User,
    /// Reads what its organization has.
    Viewer,
}

const ROLES: &[(&str, Role)] = &[("ADMIN", Role::Admin), ("USER", Role::User), ("VIEWER", Role::Viewer)];

impl Role {
    /// The words of all.
    pub const WORDS: &str = "ADMIN, USER, VIEWER";

    pub fn as_str(self) -> &'static str {
        word(ROLES, &self)
    }
}

/// Somebody who logs in.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub id: ResourceId,
    /// In lower case; no two users have the same.
    pub email: String,
    pub name: String,
    pub role: Role,
    /// `None`: an administrator, who sees all.
    pub org_id: Option<OrgId>,
    pub is_active: bool,
    pub description: String,
    pub labels: Labels,
    /// argon2id in PHC form. `None`: no password was set, and none lets them in.
    pub password_hash: Option<String>,
    /// Tokens that were given out before are not valid any more.
    pub tokens_from: Timestamp,
    /// Made up with the account, and in each of its tokens: no token outlives its account into the next one of the same id.
    /// `None`: the account is from before there was one.
    pub epoch: Option<String>,
}

impl User {
    /// What nobody made up before.
    pub fn new_epoch() -> String {
        Uuid::new_v4().to_string()
    }

    /// Since when tokens of the account count: those from before were revoked, or are of another who had the same id.
    pub fn tokens_count_from(&self, created_at: Timestamp) -> Timestamp {
        self.tokens_from.max(created_at)
    }

    /// The least moment from which on no token counts that was given out so far. Moments of the clock may repeat, and clocks
    /// of processes differ: that it moves is what revokes.
    pub fn tokens_end(&self, created_at: Timestamp, now: Timestamp) -> Timestamp {
        now.max(Timestamp(self.tokens_count_from(created_at).0.saturating_add(1)))
    }

    /// May they log in, and do everything?
    pub fn administers(&self) -> bool {
        self.role == Role::Admin && self.is_active && self.password_hash.is_some()
    }

    /// What a token stands for.
    fn rights(&self) -> (Role, Option<&OrgId>, bool, Option<&str>) {
        (self.role, self.org_id.as_ref(), self.is_active, self.password_hash.as_deref())
    }
}

impl Spec for User {
    const KIND: Kind = Kind::User;
    const ABOUT: &'static [(&'static str, &'static str)] = &[
        ("id", "Its id; a UUID where none is given."),
        ("email", "The address that they log in with; no two users have the same."),
        ("name", "What people call them."),
        (
            "role",
            "What they may do: everything (`ADMIN`), read and change what their organization has (`USER`), or read it (`VIEWER`).",
        ),
        ("orgId", "Their organization; an `ADMIN` has none. It cannot be changed."),
        ("isActive", "Whether they may log in."),
        ("description", "Who they are, in words for people."),
        ("labels", "Names and values by which lists are filtered."),
        ("passwordHash", "Their password as argon2id in PHC form. Never shown."),
        ("tokensFrom", "Tokens that were given out before this moment are not valid any more."),
        ("epoch", "Which of the accounts that had the id, one after the other, it is."),
    ];
    const EXAMPLE: &'static str =
        r#"{"id": "ada", "email": "ada@clinic.example", "name": "Ada Example", "role": "USER", "orgId": "648"}"#;
    const HIDDEN: &'static [&'static str] = &["passwordHash", "tokensFrom", "epoch"];
    const AUDITED: &'static [(&'static str, &'static str)] =
        &[("passwordHash", "password"), ("tokensFrom", "sessions")];

    const TOLD: Option<(&'static str, &'static str)> = Some((
        "lastLoginAt",
        "When they logged in last, where history is asked; null: never, or it is not known here.",
    ));

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.alias("orgId", "tenantId");
        for name in ["id", "email", "role"] {
            fields.require(name);
        }
        let id = fields.id("id", ResourceId::parse);
        let email = contact::email(fields).map(|email| email.to_lowercase());
        let role = fields.choice("role", ROLES);
        let org_id = fields.id("orgId", OrgId::parse);
        match (role, &org_id) {
            (Some(Role::Admin), Some(_)) => {
                fields.wrong("orgId", "must be left out: an ADMIN belongs to no organization")
            }
            (Some(Role::User | Role::Viewer), None) => fields.wrong("orgId", "is required, but for an ADMIN"),
            _ => {}
        }
        Some(User {
            name: fields.text("name", &Text { chars: 0..=200, lines: false }).unwrap_or_default(),
            is_active: fields.flag("isActive").unwrap_or(true),
            description: head::description(fields),
            labels: fields.labels(),
            password_hash: fields.text("passwordHash", &Text::line(512)),
            tokens_from: fields.time("tokensFrom").unwrap_or_default(),
            epoch: fields.text("epoch", &Text::line(64)),
            // Last: what is not read would be taken for unknown.
            id: id?,
            email: email?,
            role: role?,
            org_id,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form {
            id: &self.id,
            email: &self.email,
            name: &self.name,
            role: self.role.as_str(),
            org_id: self.org_id.as_ref(),
            is_active: self.is_active,
            description: &self.description,
            labels: &self.labels,
            password_hash: self.password_hash.as_deref(),
            tokens_from: self.tokens_from,
            epoch: self.epoch.as_deref(),
        }
    }

    fn id(&self) -> ResourceId {
        self.id.clone()
    }

    fn org(&self) -> Option<&OrgId> {
        self.org_id.as_ref()
    }

    fn title(&self) -> &str {
        &self.email
    }

    fn names(&self) -> Vec<&str> {
        vec![&self.email, &self.name]
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn active(&self) -> Option<bool> {
        Some(self.is_active)
    }

    fn set_active(&mut self, active: bool) {
        self.is_active = active;
    }

    fn unique(&self) -> Option<(&'static str, String)> {
        Some(("email", self.email.clone()))
    }

    /// Whoever gets other rights logs in again, and so does whoever was put out: no token outlives what it was given for. An
    /// earlier version lets nobody in again who was put out since.
    fn succeed(&mut self, was: &User, how: &Succession) {
        if how.is_restored {
            self.is_active &= was.is_active;
        }
        if how.is_restored || self.tokens_from != was.tokens_from || self.rights() != was.rights() {
            self.tokens_from = self.tokens_from.max(was.tokens_end(how.created_at, how.now));
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    id: &'a ResourceId,
    email: &'a str,
    name: &'a str,
    role: &'static str,
    org_id: Option<&'a OrgId>,
    is_active: bool,
    description: &'a str,
    labels: &'a Labels,
    password_hash: Option<&'a str>,
    tokens_from: Timestamp,
    epoch: Option<&'a str>,
}
