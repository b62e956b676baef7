//! A batch into the tables: what belongs to one row is brought together first.

use std::borrow::Cow;

use sqlx::sqlite::SqliteConnection;

use super::bind;
use super::kinds::Kind;
use super::read;
use super::seen::Seen;
use super::tables::{self, Statement, add, insert, put};
use crate::history::rows::Batch;
use crate::history::standing::{Facts, Standing};
use crate::model::ids::DeliveryId;

/// A delivery as it is to be in its row.
pub(super) struct Written<'a> {
    pub(super) id: DeliveryId,
    pub(super) kind: i64,
    pub(super) standing: Cow<'a, Standing>,
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
        seen: &mut Seen,
    ) -> Result<(), sqlx::Error> {
        let mut events = Vec::with_capacity(batch.events.len());
        for row in &batch.events {
            events.push((row, seen.kinds.id(to, Kind::of_event(row)).await?));
        }
        insert(to, &self.events, &events, bind::event).await?;
        self.deliveries(to, &batch.facts, seen).await?;
        insert(to, &self.attempts, &batch.attempts, bind::attempt).await?;
        insert(to, &self.skips, &batch.skips, bind::skip).await?;
        insert(to, &self.dead, &batch.dead, bind::dead_letter).await?;
        insert(to, &self.rejected, &batch.rejected, bind::rejection).await?;
        let mut audit = Vec::with_capacity(batch.audit.len());
        for row in &batch.audit {
            audit.push((row, seen.kinds.id(to, Kind::of_audit(row)).await?));
        }
        insert(to, &self.audit, &audit, bind::audited).await?;
        offsets(to, batch).await
    }

    /// Each is one row, which is written if what is told of it changes it.
    async fn deliveries(&self, to: &mut SqliteConnection, facts: &Facts, seen: &mut Seen) -> Result<(), sqlx::Error> {
        let (mut there, mut new) = (Vec::new(), Vec::new());
        for (id, told) in facts.iter() {
            match seen.take(id) {
                Some(known) => there.push((id, known)),
                None => {
                    let kind = seen.kinds.id(to, Kind::of_delivery(told)).await?;
                    new.push(Written { id, kind, standing: Cow::Borrowed(told) });
                }
            }
        }
        // Almost all of them are new: that they are is seen when they are put in, and nobody has to look first.
        let doubtful = add(to, &self.all, &new, bind::delivery).await?;
        let doubtful: Vec<DeliveryId> = doubtful.into_iter().flatten().map(|row| row.id).collect();
        new.iter().for_each(|row| seen.keep(row.id, &row.standing));
        doubtful.iter().for_each(|id| drop(seen.take(*id)));
        there.extend(known(to, &doubtful).await?);
        let (mut standing, mut all) = (Vec::new(), Vec::new());
        for (id, known) in there {
            let Some(told) = facts.get(id) else { continue };
            let mut merged = known.clone();
            merged.learn(told);
            seen.keep(id, &merged);
            if merged == known {
                continue;
            }
            let same = (&merged.about, merged.created_at) == (&known.about, known.created_at);
            let kind = seen.kinds.id(to, Kind::of_delivery(&merged)).await?;
            let rows = if same { &mut standing } else { &mut all };
            rows.push(Written { id, kind, standing: Cow::Owned(merged) });
        }
        put(to, &self.standing, &standing, bind::delivery).await?;
        put(to, &self.all, &all, bind::delivery).await
    }
}

/// All of them at once: each statement is a way to the thread that has the file, and back.
async fn offsets(to: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let next = batch.offsets.iter().map(|((topic, partition), next)| (topic.name(), partition.0, next.0));
    let json = serde_json::to_string(&next.collect::<Vec<_>>()).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let insert = "INSERT INTO offsets SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
       ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next";
    sqlx::query(insert).bind(json).execute(to).await.map(drop)
}

/// How those of these deliveries stand that have a row.
async fn known(to: &mut SqliteConnection, ids: &[DeliveryId]) -> Result<Vec<(DeliveryId, Standing)>, sqlx::Error> {
    let ids: Vec<String> = ids.iter().map(|id| format!("\"{}\"", id.0.simple())).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT * FROM deliveries WHERE id IN (SELECT unhex(value) FROM json_each(?))")
        .bind(format!("[{}]", ids.join(",")))
        .fetch_all(to)
        .await?;
    rows.iter().map(read::standing).collect()
}
