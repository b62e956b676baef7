//! Who may use what: a table of roles against what a route asks for.

use crate::api::auth::Token;
use crate::catalog::kinds::{Role, Scope};
use crate::model::ids::OrgId;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: probes, metrics, the way to log in.
    Open,
    /// To be a person who has logged in.
    Session,
    /// To bring events in.
    Publish,
    /// To read what an organization has.
    Read,
    /// To change what an organization has.
    Write,
    /// To see who comes in and what was changed: the keys of an organization, its audit.
    Oversee,
    /// To look after an organization: its keys.
    Manage,
    /// To see and change everything.
    Admin,
}

impl Access {
    /// In the documentation: who that is.
    pub const fn about(self) -> &'static str {
        match self {
            Access::Open => "Everybody.",
            Access::Session => "People who have logged in.",
            Access::Publish => "USER, ADMIN, and keys with the scope `publish` or `write`.",
            Access::Read => "VIEWER, USER, ADMIN, and keys with the scope `read` or `write`.",
            Access::Write => "USER, ADMIN, and keys with the scope `write`.",
            Access::Oversee => "VIEWER, USER and ADMIN.",
            Access::Manage => "USER and ADMIN.",
            Access::Admin => "ADMIN.",
        }
    }
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    pub read: bool,
    pub write: bool,
    pub publish: bool,
    pub bodies: bool,
}

impl Scopes {
    pub fn of(scopes: &[Scope]) -> Scopes {
        let has = |scope| scopes.contains(&scope);
        Scopes {
            read: has(Scope::Read),
            write: has(Scope::Write),
            publish: has(Scope::Publish),
            bodies: has(Scope::Bodies),
        }
    }
}

/// What a caller was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The key of the configuration.
    AdminKey,
    User(Role),
    Key(Scopes),
}

impl Grant {
    pub fn may(&self, access: Access) -> bool {
        let role = match self {
            Grant::AdminKey => return access != Access::Session,
            Grant::Key(scopes) => return keys(*scopes, access),
            Grant::User(role) => *role,
        };
        match access {
            Access::Open | Access::Session | Access::Read | Access::Oversee => true,
            Access::Publish | Access::Write | Access::Manage => role != Role::Viewer,
            Access::Admin => role == Role::Admin,
        }
    }

    /// May payloads be shown?
    pub fn sees_bodies(&self) -> bool {
        match self {
            Grant::AdminKey => true,
            Grant::User(role) => *role != Role::Viewer,
            Grant::Key(scopes) => scopes.bodies,
        }
    }
}

fn keys(scopes: Scopes, access: Access) -> bool {
    match access {
        Access::Open => true,
        Access::Publish => scopes.publish || scopes.write,
        Access::Read => scopes.read || scopes.write,
        Access::Write => scopes.write,
        Access::Session | Access::Oversee | Access::Manage | Access::Admin => false,
    }
}

/// Who asks, once that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `user:ada`, `key:till`, `admin-key`.
    pub actor: String,
    pub grant: Grant,
    /// `None`: not bound to an organization.
    pub org: Option<OrgId>,
    /// That of the person who has logged in, where it is one.
    pub token: Option<Token>,
}

impl Principal {
    pub fn with_the_admin_key() -> Principal {
        Principal { actor: "admin-key".to_owned(), grant: Grant::AdminKey, org: None, token: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_more_than_their_role_or_scope_says() {
        use Access::{Admin, Manage, Open, Publish, Read, Session, Write};
        let key = |scopes: &[Scope]| Grant::Key(Scopes::of(scopes));
        let cases: [(Grant, &[Access]); 9] = [
            (Grant::AdminKey, &[Open, Publish, Read, Write, Manage, Admin]),
            (Grant::User(Role::Admin), &[Open, Session, Publish, Read, Write, Manage, Admin]),
            (Grant::User(Role::User), &[Open, Session, Publish, Read, Write, Manage]),
            (Grant::User(Role::Viewer), &[Open, Session, Read]),
            (key(&[]), &[Open]),
            (key(&[Scope::Read]), &[Open, Read]),
            (key(&[Scope::Write]), &[Open, Publish, Read, Write]),
            (key(&[Scope::Publish]), &[Open, Publish]),
            (key(&[Scope::Bodies]), &[Open]),
        ];
        for (grant, allowed) in cases {
            for access in [Open, Session, Publish, Read, Write, Manage, Admin] {
                assert_eq!(grant.may(access), allowed.contains(&access), "{grant:?} {access:?}");
            }
        }
    }

    #[test]
    fn a_payload_is_seen_by_whoever_was_given_that_right() {
        let cases = [
            (Grant::AdminKey, true),
            (Grant::User(Role::User), true),
            (Grant::User(Role::Viewer), false),
            (Grant::Key(Scopes::of(&[Scope::Read, Scope::Write])), false),
            (Grant::Key(Scopes::of(&[Scope::Bodies])), true),
        ];
        for (grant, sees) in cases {
            assert_eq!(grant.sees_bodies(), sees, "{grant:?}");
        }
    }
}
