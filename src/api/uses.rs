//! When keys were used last, and when people logged in: gathered in memory and kept with the history, a few times a minute. It is
//! no part of the catalog, which every use of a key would else be written to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::catalog::kind::{Key, Kind};
use crate::history::History;
use crate::history::store::{StoreError, Use};
use crate::model::time::Timestamp;

/// Between two batches.
const EVERY: Duration = Duration::from_secs(10);
/// Of one batch; more uses of others are not noted until it is written.
const NOTED: usize = 10_000;

/// The uses that are not written yet.
#[derive(Debug, Default)]
pub struct Uses(Mutex<HashMap<Key, Timestamp>>);

impl Uses {
    /// Costs a look at a table where it was used a moment ago.
    pub fn note(&self, key: &Key, now: Timestamp) {
        let mut noted = self.noted();
        if let Some(at) = noted.get_mut(key) {
            *at = now.max(*at);
        } else if noted.len() < NOTED {
            noted.insert(key.clone(), now);
        }
    }

    /// When those of one kind were used last, as far as history is here and goes back.
    pub async fn last(
        &self,
        history: &History,
        (kind, ids): (Kind, &[&str]),
    ) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let mut last = history.store()?.uses(kind.name(), ids).await?;
        let noted = self.noted();
        for id in ids {
            let Some(at) = Key::of(kind, id).and_then(|key| noted.get(&key).copied()) else { continue };
            let known = last.entry((*id).to_owned()).or_insert(at);
            *known = at.max(*known);
        }
        Ok(last)
    }

    /// Writes what was noted every few seconds.
    pub async fn keep(&self, history: &History, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            self.flush(history).await;
        }
    }

    /// What cannot be written waits for the next time.
    pub async fn flush(&self, history: &History) {
        let noted = std::mem::take(&mut *self.noted());
        let Ok(store) = history.store() else { return self.give_back(noted) };
        let use_of = |(key, at): (&Key, &Timestamp)| Use { kind: key.kind.name(), id: key.id.to_string(), at: *at };
        let uses: Vec<Use> = noted.iter().map(use_of).collect();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = store.used(&uses).await {
            tracing::debug!(%error, "when keys were used last is not written yet");
            self.give_back(noted);
        }
    }

    fn give_back(&self, noted: HashMap<Key, Timestamp>) {
        noted.iter().for_each(|(key, at)| self.note(key, *at));
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<Key, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_without_number_grow_no_memory_and_what_was_noted_waits_for_the_store() {
        let (uses, away) = (Uses::default(), History::elsewhere());
        let key = |n: usize| Key::of(Kind::ApiKey, &n.to_string()).unwrap();
        for n in 0..NOTED + 10 {
            uses.note(&key(n), Timestamp(7));
        }
        uses.flush(&away).await;
        uses.note(&key(1), Timestamp(9));
        uses.note(&key(2), Timestamp(5));
        let noted = uses.noted();
        assert_eq!((noted.len(), noted[&key(1)], noted[&key(2)]), (NOTED, Timestamp(9), Timestamp(7)));
    }
}
