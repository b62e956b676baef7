//! A unit of an organization: a ward, a shop, a region. Units form a tree.

use serde::Serialize;

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::{Key, Kind};
use crate::catalog::kinds::{contact, head};
use crate::catalog::resource::{Body, Labels, Reference, Resource, Spec};
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::{OrgId, ResourceId, Rid};
use crate::model::org::Contact;
use crate::model::problem::Problem;

/// Levels of a tree, its root included.
pub const MAX_DEPTH: usize = 16;

/// Events and integrations name it by its `rid`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrgUnit {
    pub rid: Rid,
    pub org_id: OrgId,
    /// The unit that it is a part of; without one, of the organization itself.
    pub parent: Option<Rid>,
    pub name: String,
    pub description: String,
    pub labels: Labels,
    pub contact: Contact,
}

impl Spec for OrgUnit {
    const KIND: Kind = Kind::OrgUnit;
    const ABOUT: &'static [(&'static str, &'static str)] = &[
        ("rid", "Its id, unique over all organizations: events name it as `entityRid`."),
        ("orgId", "The organization that it belongs to. It cannot be changed."),
        ("parentRid", "The unit that it is a part of; none: a part of the organization itself."),
        ("name", "What people call it."),
        ("description", "What it is for, in words for people."),
        ("labels", "Names and values by which lists are filtered."),
        ("code", "A short name of its own, such as the one in a billing system."),
        ("email", "Where it is reached."),
        ("phone", "Where it is reached."),
        ("address", "Where it is."),
        ("tags", "Words by which it is found."),
        ("region", "Where its data belongs."),
        ("timezone", "Its IANA time zone."),
    ];
    const EXAMPLE: &'static str =
        r#"{"rid": "ward-7", "orgId": "648", "name": "Ward 7", "code": "W7", "timezone": "Asia/Kolkata"}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.alias("orgId", "tenantId");
        for name in ["rid", "orgId", "name"] {
            fields.require(name);
        }
        let (rid, org_id) = (fields.id("rid", Rid::parse), fields.id("orgId", OrgId::parse));
        Some(OrgUnit {
            parent: fields.id("parentRid", Rid::parse),
            name: fields.text("name", &Text::line(200)).unwrap_or_default(),
            description: head::description(fields),
            labels: fields.labels(),
            contact: contact::read(fields),
            // Last: what is not read would be taken for unknown.
            rid: rid?,
            org_id: org_id?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form {
            rid: &self.rid,
            org_id: &self.org_id,
            parent_rid: self.parent.as_ref(),
            name: &self.name,
            description: &self.description,
            labels: &self.labels,
            contact: &self.contact,
        }
    }

    fn id(&self) -> ResourceId {
        (&self.rid).into()
    }

    fn org(&self) -> Option<&OrgId> {
        Some(&self.org_id)
    }

    fn title(&self) -> &str {
        &self.name
    }

    fn names(&self) -> Vec<&str> {
        [Some(self.name.as_str()), self.contact.code.as_deref()].into_iter().flatten().collect()
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn references(&self) -> Vec<Reference> {
        let parent = self.parent.iter().map(|parent| Reference { path: "parentRid", to: parent.into() });
        [Reference { path: "orgId", to: (&self.org_id).into() }].into_iter().chain(parent).collect()
    }

    fn check(&self, snapshot: &Snapshot) -> Vec<Problem> {
        let mut above = self.parent.clone();
        for _ in 0..MAX_DEPTH {
            let Some(rid) = above else { return Vec::new() };
            if rid == self.rid {
                return vec![Problem::new("parentRid", "must not be a unit below this one")];
            }
            above = parent(snapshot, &rid);
        }
        vec![Problem::new("parentRid", format!("must not be deeper than {MAX_DEPTH} levels"))]
    }
}

/// What a unit that moves takes too deep with it. The units below it stay as they are, so that nothing is asked of themselves.
pub fn check_below(is: &Resource, before: &Snapshot, after: &Snapshot) -> Vec<Problem> {
    let key = is.key();
    let moved = |was: &Resource| match (&was.body, &is.body) {
        (Body::OrgUnit(was), Body::OrgUnit(is)) => was.parent != is.parent,
        _ => false,
    };
    if !before.get(&key).is_some_and(moved) {
        return Vec::new();
    }
    let own = depth(after, &key) + 1;
    let (mut level, mut row) = (own, vec![&key]);
    loop {
        let next: Vec<&Key> = row.iter().flat_map(|unit| below(after, unit)).collect();
        if next.is_empty() {
            break;
        }
        (level, row) = (level + 1, next);
    }
    match row.first().filter(|_| level > MAX_DEPTH) {
        None => Vec::new(),
        Some(deepest) => {
            let message = format!(
                "must not be so deep: {}, {} levels below this one, would be on level {level} of {MAX_DEPTH} at most",
                deepest.told(),
                level - own
            );
            vec![Problem::new("parentRid", message)]
        }
    }
}

/// The units that are a part of this one. No other kind but organizations comes before them among who refers to it.
fn below<'a>(snapshot: &'a Snapshot, unit: &'a Key) -> impl Iterator<Item = &'a Key> {
    snapshot.referrers(unit).take_while(|by| by.kind <= Kind::OrgUnit)
}

/// Levels above a resource: of a unit those of its tree, of anything else none.
pub fn depth(snapshot: &Snapshot, key: &Key) -> usize {
    let parent = |key: &Key| match snapshot.get(key).map(|one| &one.body) {
        Some(Body::OrgUnit(unit)) => unit.parent.as_ref().map(Key::from),
        _ => None,
    };
    std::iter::successors(parent(key), parent).take(MAX_DEPTH).count()
}

fn parent(snapshot: &Snapshot, rid: &Rid) -> Option<Rid> {
    match &snapshot.get(&Key::from(rid))?.body {
        Body::OrgUnit(unit) => unit.parent.clone(),
        _ => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    rid: &'a Rid,
    org_id: &'a OrgId,
    parent_rid: Option<&'a Rid>,
    name: &'a str,
    description: &'a str,
    labels: &'a Labels,
    #[serde(flatten)]
    contact: &'a Contact,
}
