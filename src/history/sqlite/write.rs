//! A batch into the tables: what belongs to one row is brought together first.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sqlx::sqlite::SqliteConnection;

use super::kinds::{Kind, Kinds};
use super::read;
use super::tables::{self, Statement, insert};
use crate::history::rows::Batch;
use crate::history::standing::Standing;
use crate::model::ids::DeliveryId;

/// A delivery as it is to be in its row.
pub(super) struct Written {
    pub(super) id: DeliveryId,
    pub(super) kind: i64,
    pub(super) standing: Standing,
}

/// The statements, put together once.
pub(super) struct Statements {
    events: Statement,
    standing: Statement,
    all: Statement,
    attempts: Statement,
    skips: Statement,
    dead: Statement,
    rejected: Statement,
    audit: Statement,
}

impl Statements {
    pub(super) fn new() -> Statements {
        Statements {
            events: tables::events(),
            standing: tables::standing(),
            all: tables::all_of_deliveries(),
            attempts: tables::attempts(),
            skips: tables::skips(),
            dead: tables::dead(),
            rejected: tables::rejected(),
            audit: tables::audit(),
        }
    }

    pub(super) async fn write(
        &self,
        to: &mut SqliteConnection,
        batch: &Batch,
        kinds: &mut Kinds,
    ) -> Result<(), sqlx::Error> {
        let mut events = Vec::with_capacity(batch.events.len());
        for row in &batch.events {
            events.push((row, kinds.id(to, Kind::of_event(row)).await?));
        }
        insert(to, &self.events, &events, tables::event).await?;
        self.deliveries(to, batch, kinds).await?;
        insert(to, &self.attempts, &batch.attempts, tables::attempt).await?;
        insert(to, &self.skips, &batch.skips, tables::skip).await?;
        insert(to, &self.dead, &batch.dead, tables::dead_letter).await?;
        insert(to, &self.rejected, &batch.rejected, tables::rejection).await?;
        let mut audit = Vec::with_capacity(batch.audit.len());
        for row in &batch.audit {
            audit.push((row, kinds.id(to, Kind::of_audit(row)).await?));
        }
        insert(to, &self.audit, &audit, tables::audited).await?;
        for ((topic, partition), next) in &batch.offsets {
            sqlx::query("INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next")
                .bind(topic.name())
                .bind(partition.0)
                .bind(next.0)
                .execute(&mut *to)
                .await?;
        }
        Ok(())
    }

    /// Facts about one delivery become one row, which is written if that changes it.
    async fn deliveries(&self, to: &mut SqliteConnection, batch: &Batch, kinds: &mut Kinds) -> Result<(), sqlx::Error> {
        let mut told: BTreeMap<DeliveryId, Standing> = BTreeMap::new();
        for fact in &batch.facts {
            match told.entry(fact.id) {
                Entry::Vacant(entry) => drop(entry.insert(Standing::from(fact))),
                Entry::Occupied(mut entry) => entry.get_mut().learn(Standing::from(fact)),
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        let (mut standing, mut all) = (Vec::with_capacity(told.len()), Vec::new());
        for (id, known) in known(to, told.keys()).await? {
            let Some(new) = told.remove(&id) else { continue };
            let mut merged = known.clone();
            merged.learn(new);
            if merged == known {
                continue;
            }
            let same = (&merged.about, merged.created_at) == (&known.about, known.created_at);
            let kind = kinds.id(to, Kind::of_delivery(&merged)).await?;
            let rows = if same { &mut standing } else { &mut all };
            rows.push(Written { id, kind, standing: merged });
        }
        for (id, new) in told {
            standing.push(Written { id, kind: kinds.id(to, Kind::of_delivery(&new)).await?, standing: new });
        }
        insert(to, &self.standing, &standing, tables::delivery).await?;
        insert(to, &self.all, &all, tables::delivery).await
    }
}

/// How those of these deliveries stand that have a row.
async fn known(
    to: &mut SqliteConnection,
    ids: impl Iterator<Item = &DeliveryId>,
) -> Result<Vec<(DeliveryId, Standing)>, sqlx::Error> {
    let ids: Vec<String> = ids.map(|id| format!("\"{id}\"")).collect();
    let rows = sqlx::query("SELECT * FROM deliveries WHERE id IN (SELECT value FROM json_each(?))")
        .bind(format!("[{}]", ids.join(",")))
        .fetch_all(to)
        .await?;
    rows.iter().map(read::standing).collect()
}
