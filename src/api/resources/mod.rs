//! The resources of the catalog under one set of routes: a kind is served by a line in `COLLECTIONS`.

pub(super) mod bodies;
mod bulk;
mod filter;
mod found;
mod handlers;
mod issue;
pub(super) mod versions;

use crate::api::door::{Access, Answer, Door, Param, delete, form, get, patch, post, put};
use crate::api::spec::page;
use crate::api::{ApiState, listing};
use crate::catalog::kind::Kind;

/// Where a kind is served, and as what a list of it is answered.
#[derive(Debug)]
pub struct Collection {
    pub kind: Kind,
    pub path: &'static str,
    pub items: &'static str,
}

const fn collection(kind: Kind, path: &'static str, items: &'static str) -> Collection {
    Collection { kind, path, items }
}

pub const COLLECTIONS: [Collection; 10] = [
    collection(Kind::Organization, "/api/v1/admin/organizations", "organizations"),
    collection(Kind::OrgUnit, "/api/v1/admin/org-units", "units"),
    collection(Kind::User, "/api/v1/admin/users", "users"),
    collection(Kind::ApiKey, "/api/v1/admin/api-keys", "apiKeys"),
    collection(Kind::OutboundIntegration, "/api/v1/outbound-integrations", "integrations"),
    collection(Kind::Lookup, "/api/v1/lookups", "lookups"),
    collection(Kind::EventType, "/api/v1/event-types", "eventTypes"),
    collection(Kind::FieldSchema, "/api/v1/field-schemas", "fieldSchemas"),
    collection(Kind::Template, "/api/v1/templates", "templates"),
    collection(Kind::AlertRule, "/api/v1/admin/alerts", "alertRules"),
];

impl Collection {
    /// Is each of its resources that of an event type, by which it is known as well as by its id?
    fn is_typed(&self) -> bool {
        matches!(self.kind, Kind::EventType | Kind::FieldSchema)
    }

    fn spoken(&self) -> Spoken {
        let (kind, one) = (self.kind, format!("{}/{{id}}", self.path));
        Spoken { kind, tag: kind.name(), noun: kind.noun(), one }
    }
}

/// A kind as its routes name it.
struct Spoken {
    kind: Kind,
    tag: &'static str,
    noun: &'static str,
    /// The path of one resource.
    one: String,
}

/// An answer with the whole resource.
fn whole(kind: Kind, status: u16, about: &'static str) -> Answer {
    Answer::json(status, about, form(kind.name())).with_etag()
}

/// The state of the routes of one collection.
#[derive(Clone)]
struct Served {
    api: ApiState,
    of: &'static Collection,
}

/// The routes of all collections.
pub fn routes(door: &mut Door, api: &ApiState) {
    for of in &COLLECTIONS {
        of_collection(door, &Served { api: api.clone(), of });
    }
}

/// The parameter that keeps others' resources out.
fn org_of(kind: Kind) -> Option<Param> {
    (kind != Kind::Organization).then(|| Param::org("The organization that it has to belong to."))
}

/// Who reads and who changes. Keys are looked after by those whose organization they open.
fn access(of: &Collection) -> (Access, Access) {
    match of.kind {
        Kind::ApiKey => (Access::Oversee, Access::Manage),
        _ if of.path.starts_with("/api/v1/admin/") => (Access::Admin, Access::Admin),
        _ => (Access::Read, Access::Write),
    }
}

fn of_collection(door: &mut Door, served: &Served) {
    let (reads, changes) = access(served.of);
    of_all(door, served, (reads, changes));
    of_one(door, served, (reads, changes));
    of_copies(door, served, changes);
    versions::routes(door, served, (reads, changes));
    if served.of.kind.can_be_disabled() {
        of_switches(door, served, changes);
    }
}

/// The routes of the whole collection.
fn of_all(door: &mut Door, served: &Served, (reads, changes): (Access, Access)) {
    let Collection { path, items, .. } = *served.of;
    let Spoken { kind, tag, noun, .. } = served.of.spoken();
    let list = get(path, reads)
        .says(tag, format!("A page of {noun}s, by id."))
        .params(listing::params())
        .params(filter::params(kind))
        .from_snapshot()
        .answers(Answer::json(200, "A page.", page(items, tag)));
    door.add(list, handlers::list, served.clone());
    let create = post(path, changes)
        .says(tag, format!("Makes one {noun}."))
        .params(org_of(kind))
        .body(form(&bodies::new(kind)))
        .gives(kind.id_field())
        .answers(
            Answer::json(201, "Made, with its defaults.", issue::told(kind).unwrap_or_else(|| form(tag))).with_etag(),
        )
        .fails(&[409]);
    door.add(create, handlers::create, served.clone());
    let many = post(format!("{path}/bulk"), changes)
        .says(tag, format!("Changes many {noun}s at once: all or none."))
        .params(org_of(kind))
        .body(bulk::schema(kind))
        .example(bulk::example(kind))
        .answers(Answer::json(200, "How many.", bulk::answer()))
        .fails(&[409]);
    door.add(many, bulk::bulk, served.clone());
}

/// The routes of one resource.
fn of_one(door: &mut Door, served: &Served, (reads, changes): (Access, Access)) {
    let Spoken { kind, tag, noun, one } = served.of.spoken();
    let by = if served.of.is_typed() { " The id may be its event type, where the organization is known." } else { "" };
    let read = get(&one, reads)
        .says(tag, format!("One {noun}.{by}"))
        .params(org_of(kind))
        .from_snapshot()
        .answers(whole(kind, 200, "As it is."));
    door.add(read, handlers::one, served.clone());
    let replace = put(&one, changes)
        .says(tag, format!("Replaces one {noun}: what is left out gets its default; a secret sent as `***` stays."))
        .params(org_of(kind))
        .body(form(&bodies::replacement(kind)))
        .answers(whole(kind, 200, "As it is now."))
        .fails(&[409]);
    door.add(replace, handlers::replace, served.clone());
    let merge = patch(&one, changes)
        .says(tag, format!("Changes fields of one {noun} (RFC 7396): `null` brings a default back."))
        .params(org_of(kind))
        .body(form(&bodies::changes(kind)))
        .media(&["application/merge-patch+json", "application/json"])
        .answers(whole(kind, 200, "As it is now."))
        .fails(&[409]);
    door.add(merge, handlers::merge, served.clone());
    let gone = delete(&one, changes)
        .says(tag, format!("Deletes one {noun} that nothing refers to."))
        .params(org_of(kind))
        .answers(Answer::nothing(204, "Gone."))
        .fails(&[409]);
    door.add(gone, handlers::delete, served.clone());
}

fn of_copies(door: &mut Door, served: &Served, changes: Access) {
    let Spoken { kind, tag, noun, one } = served.of.spoken();
    let copy = post(format!("{one}/duplicate"), changes)
        .says(
            tag,
            format!(
                "Copies one {noun} under another id, disabled where it can be; the body changes fields of the copy."
            ),
        )
        .params(org_of(kind))
        .may_have_body(form(&bodies::copy(kind)))
        .answers(whole(kind, 201, "The copy."))
        .gives(kind.id_field())
        .fails(&[409]);
    // What nobody sees is not given to another.
    if kind.hidden().is_empty() {
        door.add(copy, handlers::duplicate, served.clone());
    }
}

fn of_switches(door: &mut Door, served: &Served, changes: Access) {
    let Spoken { kind, tag, noun, one } = served.of.spoken();
    let switch = |word: &str, about: &str| {
        post(format!("{one}/{word}"), changes)
            .says(tag, format!("{about} one {noun}."))
            .params(org_of(kind))
            .answers(whole(kind, 200, "As it is now."))
            .fails(&[409])
    };
    door.add(switch("enable", "Enables"), handlers::enable, served.clone());
    door.add(switch("disable", "Disables"), handlers::disable, served.clone());
}
