//! History in this process: the stage that keeps it, or word of where it is asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::supervise::Tasks;
use super::{AppError, Gateway};
use crate::config::Config;
use crate::history::project::Project;
use crate::history::sqlite::{Claim, Origin, Place, SqliteStore};
use crate::history::store::{Retention, Store};
use crate::history::{History, PART};

/// Between tries at a store that is away, at first.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn start(
    gateway: &Gateway,
    tasks: &mut Tasks,
    (config, origin): (&Config, Origin),
) -> Result<Arc<History>, AppError> {
    let path = config.history.path(&config.data_dir).map_err(AppError::Configuration)?;
    let history = Arc::new(History::away("the history is being opened; try again in a moment"));
    let board = tasks.board.clone();
    // A large file of an older version takes long.
    board.set(PART, Err("it is being opened".to_owned()));
    let spans = &config.history;
    let project = Project {
        log: gateway.log.clone(),
        clock: gateway.clock.clone(),
        history: history.clone(),
        open: Box::new(move || {
            let (path, origin) = (path.clone(), origin.clone());
            async move { Ok(Arc::new(SqliteStore::open(&path, origin).await?) as Arc<dyn Store>) }.boxed()
        }),
        tell: Box::new(move |state| board.set(PART, state)),
        retention: Retention {
            events: spans.events.0,
            deliveries: spans.deliveries.0,
            attempts: spans.attempts.0,
            bodies: spans.bodies.0,
            audit: spans.audit.0,
        },
        pause: PAUSE,
    };
    let stop = gateway.answered.clone();
    tasks.task(async move {
        project.run(stop).await;
        Ok(())
    });
    Ok(history)
}

/// Makes sure that the store may be deleted, and touches nothing.
pub(super) fn claim_history(config: &Config) -> Result<(PathBuf, Claim), AppError> {
    let path = config.history.path(&config.data_dir).map_err(AppError::Configuration)?;
    let place = if config.history.url.is_none() { Place::Usual } else { Place::Given };
    let claim = SqliteStore::claim(&path, place).map_err(|error| AppError::Configuration(error.to_string()))?;
    Ok((path, claim))
}

/// Deletes the store, unless a process has it. Answers what was done.
pub fn drop_history(config: &Config) -> Result<String, AppError> {
    let (path, claim) = claim_history(config)?;
    let erased = claim.delete().map_err(|fault| AppError::Failed(fault.to_string()))?;
    let path = path.display();
    Ok(match erased {
        true => format!(
            "{path} is deleted. The next process with the role `project` makes it anew from the topics, as far back as they go."
        ),
        false => format!("There is no history in {path}; nothing was deleted."),
    })
}

#[cfg(test)]
mod tests;
