//! After a new key was given: everything under it, so that the old one can be dropped.

use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition, Refusal};
use crate::catalog::keep;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::writer::{WriteError, Writer};
use crate::model::problem::summary;

/// Resources of one transaction, and bytes of their records: readers hold neither in memory for long.
const AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 4 << 20;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    pub resealed: usize,
    /// Under the newest key already.
    pub unchanged: usize,
    /// They stay as they are, and why.
    pub failed: Vec<(Key, String)>,
}

impl Writer {
    /// Seals the secrets of all resources under the key that seals now, some hundred in a transaction. Resources that cannot be
    /// opened stop no others.
    ///
    /// # Errors
    /// What was written before stays; the same call goes on with the rest.
    pub async fn reseal(&self, by: &Origin) -> Result<Resealed, WriteError> {
        self.see_everything().await?;
        let mut done = Resealed::default();
        let snapshot = self.snapshot();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.secrets().is_empty()) {
            for resource in snapshot.all(kind).values() {
                match keep::reseal(resource.clone(), self.keyring()) {
                    Err(problems) => done.failed.push((resource.key(), summary(&problems))),
                    Ok(is) if is.body == resource.body => done.unchanged += 1,
                    Ok(is) => {
                        bytes += is.to_bytes().len();
                        batch.push(resource.key());
                    }
                }
                if batch.len() >= AT_ONCE || bytes >= BYTES_AT_ONCE {
                    self.reseal_batch(std::mem::take(&mut batch), by, &mut done).await?;
                    bytes = 0;
                }
                tokio::task::yield_now().await;
            }
        }
        self.reseal_batch(batch, by, &mut done).await?;
        Ok(done)
    }

    /// All of them but those that are refused: changed or deleted meanwhile.
    async fn reseal_batch(&self, keys: Vec<Key>, by: &Origin, done: &mut Resealed) -> Result<(), WriteError> {
        let change = |key| Change { key, of: None, condition: Condition::None, action: Action::Reseal };
        let mut changes: Vec<Change> = keys.into_iter().map(change).collect();
        while !changes.is_empty() {
            match self.write_all(&changes, by).await {
                Ok(made) => {
                    let unchanged = made.iter().filter(|made| made.is_unchanged()).count();
                    done.unchanged += unchanged;
                    done.resealed += made.len() - unchanged;
                    return Ok(());
                }
                Err(WriteError::Refused { at, refusal }) if at < changes.len() => {
                    let refused = changes.remove(at);
                    match refusal {
                        Refusal::NotFound(_) => {}
                        Refusal::Invalid(problems) => done.failed.push((refused.key, summary(&problems))),
                        other => done.failed.push((refused.key, other.to_string())),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
