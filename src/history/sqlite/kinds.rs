//! What events, deliveries and changes are filtered by, each combination once: their rows name it by a number, and an index by that
//! number and time answers every filter.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row as _};

use crate::history::rows::{Audited, EventRow};
use crate::history::standing::Standing;

/// Combinations that are kept in memory; with more, those of the rows at hand are looked up anew.
const REMEMBERED: usize = 50_000;

/// Of an event only the first two, of a change of the catalog those and the last two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    org: Option<String>,
    event_type: Option<String>,
    integration_id: Option<String>,
    integration_name: Option<String>,
    status: Option<&'static str>,
    category: Option<&'static str>,
    actor: Option<String>,
    action: Option<String>,
}

impl Kind {
    pub(super) fn of_event(row: &EventRow) -> Kind {
        Kind { org: Some(row.org.clone()), event_type: Some(row.event_type.clone()), ..Kind::default() }
    }

    pub(super) fn of_delivery(row: &Standing) -> Kind {
        Kind {
            org: row.about.org.clone(),
            event_type: row.about.event_type.clone(),
            integration_id: row.about.integration_id.clone(),
            integration_name: row.tried.integration_name.clone(),
            status: Some(row.state.status.as_str()),
            category: row.state.category.map(|c| c.as_str()),
            ..Kind::default()
        }
    }

    pub(super) fn of_audit(row: &Audited) -> Kind {
        Kind {
            org: row.org.clone(),
            event_type: Some(row.kind.clone()),
            actor: Some(row.actor.clone()),
            action: Some(row.action.clone()),
            ..Kind::default()
        }
    }
}

/// Numbers of kinds. What was given out in a transaction that did not come to its end must be forgotten.
#[derive(Debug, Default)]
pub(super) struct Kinds(HashMap<Kind, i64>);

impl Kinds {
    /// The number of this kind, a new one where it has none.
    pub(super) async fn id(&mut self, to: &mut SqliteConnection, kind: Kind) -> Result<i64, sqlx::Error> {
        if let Some(id) = self.0.get(&kind) {
            return Ok(*id);
        }
        if self.0.len() >= REMEMBERED {
            self.forget();
        }
        let texts = [&kind.org, &kind.event_type, &kind.integration_id, &kind.integration_name].map(Clone::clone);
        let words = [kind.status, kind.category].map(|word| word.map(str::to_owned));
        let deed = [&kind.actor, &kind.action].map(Clone::clone);
        let values = || texts.iter().chain(&words).chain(&deed).cloned();
        let columns = ["org", "type", "integration_id", "integration_name", "status", "category", "actor", "action"];
        let mut query = QueryBuilder::new("SELECT id FROM kinds WHERE true");
        for (column, value) in columns.into_iter().zip(values()) {
            query.push(" AND ").push(column).push(" IS ").push_bind(value);
        }
        let id = match query.build().fetch_optional(&mut *to).await? {
            Some(row) => row.try_get(0)?,
            None => {
                let new = format!("INSERT INTO kinds ({}) ", columns.join(","));
                let mut query = QueryBuilder::new(new);
                query.push_values([values()], |mut row, values| {
                    for value in values {
                        row.push_bind(value);
                    }
                });
                query.build().execute(&mut *to).await?.last_insert_rowid()
            }
        };
        self.0.insert(kind, id);
        Ok(id)
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
