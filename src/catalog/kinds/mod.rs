//! The kinds of resources, one file each: the type, its JSON form, its rules and its references.

mod alert_rule;
mod api_key;
mod contact;
mod event_type;
mod field_schema;
mod head;
mod integration;
mod lookup;
mod neutral;
mod organization;
mod retry;
mod template;
mod unit;
mod user;

pub use alert_rule::{AlertRule, Channel, Condition};
pub use api_key::{ApiKey, Scope};
pub use event_type::{EventType, Validation};
pub use field_schema::{Field, FieldSchema};
pub use lookup::{Lookup, Side};
pub use retry::RETRY_DELAYS;
pub use template::Template;
pub use unit::{OrgUnit, check_below, depth};
pub use user::{Role, User};

use crate::model::ids::OrgId;

/// The first word of a choice.
fn word<T: PartialEq>(words: &[(&'static str, T)], choice: &T) -> &'static str {
    words.iter().find(|(_, other)| other == choice).map_or("", |(word, _)| word)
}

/// What only one resource of a kind may have that is of an event type, in each organization.
pub fn typed(org: &OrgId, event_type: &str) -> String {
    format!("{org}\n{event_type}")
}
