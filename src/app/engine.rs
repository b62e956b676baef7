//! The engine of a process: which one keeps the log, and how it is ended.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::history::claim_history;
use super::{AppError, reach};
use crate::config::{self, Config};
use crate::embedded::EmbeddedLog;
use crate::history::sqlite::Origin;
use crate::kafka::KafkaLog;
use crate::model::time::Clock;
use crate::stream::log::{Log, LogError};
use crate::topology::Declared;

/// Whether this engine's log is one to be deleted from here.
pub(super) fn may_start_over(config: &Config) -> Result<(), AppError> {
    match config.engine {
        config::Engine::Embedded => Ok(()),
        config::Engine::Kafka => Err(AppError::Configuration(
            "Kafka's topics are not deleted from here: give another --prefix, or end a broker of `compose/local` with `down`"
                .into(),
        )),
    }
}

/// Deletes what earlier processes left in the data folder, unless one uses it. `Configuration`: nothing was deleted.
pub(super) fn start_over(config: &Config) -> Result<(), AppError> {
    may_start_over(config)?;
    let (_, history) = claim_history(config)?;
    let log = EmbeddedLog::claim(&config.data_dir).map_err(|error| AppError::Configuration(error.to_string()))?;
    // The history first: a log without one is projected anew, a history without its log tells of what is not there.
    history.delete().and_then(|_| log.delete()).map_err(|fault| AppError::Failed(fault.to_string()))?;
    Ok(())
}

pub(super) enum Engine {
    Kafka(Arc<KafkaLog>),
    Embedded(Arc<EmbeddedLog>),
}

impl Engine {
    /// Opens what the configuration names. A broker that is not there is tried for `within`.
    pub(super) async fn open(
        config: &Config,
        declared: &Declared,
        (clock, within): (Arc<dyn Clock>, Duration),
        stop: &CancellationToken,
    ) -> Result<Engine, AppError> {
        match config.engine {
            config::Engine::Kafka => Ok(Engine::Kafka(Arc::new(reach::kafka(config, declared, within, stop).await?))),
            config::Engine::Embedded => {
                let log = EmbeddedLog::open(&config.data_dir, declared, clock).await.map_err(|error| match error {
                    LogError::Unavailable(why) => AppError::Failed(why),
                    other => AppError::Configuration(other.to_string()),
                })?;
                Ok(Engine::Embedded(Arc::new(log)))
            }
        }
    }

    pub(super) fn log(&self) -> Arc<dyn Log> {
        match self {
            Engine::Kafka(log) => log.clone(),
            Engine::Embedded(log) => log.clone(),
        }
    }

    /// The log as its history knows it.
    pub(super) fn origin(&self, config: &Config) -> Origin {
        match self {
            Engine::Kafka(_) => Origin { name: format!("kafka, prefix {}", config.kafka.topic_prefix), formerly: None },
            // Before logs had ids all had one name.
            Engine::Embedded(log) => {
                Origin { name: format!("embedded, {}", log.id().id), formerly: log.id().older.then_some("embedded") }
            }
        }
    }

    /// Leaves the groups and closes what is open, within this time.
    pub(super) async fn close(&self, within: Duration) {
        match self {
            // A process that ends without leaving its groups lets its partitions wait for the end of its session.
            Engine::Kafka(log) if !log.close(within).await => tracing::warn!(
                "the groups were not left in time: partitions of this process wait for the end of its session"
            ),
            Engine::Embedded(log) if !log.close(within).await => {
                tracing::warn!("the log was not closed in time; nothing is lost by that");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, Connection as _};

    use super::*;
    use crate::app::view::tests::writer;
    use crate::history::sqlite::SqliteStore;
    use crate::model::time::{ManualClock, Timestamp};

    /// A folder with the log and the history of a process that has ended.
    async fn left() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let log = writer(dir.path(), Arc::new(ManualClock::at(Timestamp(0)))).await;
        assert!(log.close(Duration::from_secs(30)).await);
        drop(history(dir.path()).await);
        let config = Config { engine: config::Engine::Embedded, data_dir: dir.path().to_owned(), ..Config::default() };
        (dir, config)
    }

    async fn history(dir: &Path) -> SqliteStore {
        SqliteStore::open(&dir.join("history.db"), "embedded").await.unwrap()
    }

    async fn origin(dir: &Path, config: &Config) -> Origin {
        let log = writer(dir, Arc::new(ManualClock::at(Timestamp(0)))).await;
        let engine = Engine::Embedded(Arc::new(log));
        engine.close(Duration::from_secs(30)).await;
        engine.origin(config)
    }

    async fn opened(dir: &Path, origin: Origin) -> Result<(), String> {
        SqliteStore::open(&dir.join("history.db"), origin).await.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_history_of_a_log_that_was_removed_is_not_mixed_with_the_next_ones() {
        let (dir, config) = left().await;
        let dir = dir.path();
        let first = origin(dir, &config).await;
        // Of an earlier version's log, which this one is not.
        assert!(opened(dir, first.clone()).await.is_err());
        std::fs::remove_file(dir.join("history.db")).unwrap();
        for _ in 0..2 {
            opened(dir, first.clone()).await.unwrap();
            assert_eq!(origin(dir, &config).await.name, first.name, "it is the same log");
        }
        std::fs::remove_file(dir.join("log.db")).unwrap();
        let why = opened(dir, origin(dir, &config).await).await.unwrap_err();
        assert!(why.contains("the history of another log") && why.contains("tidegate history rebuild"), "{why}");
    }

    #[tokio::test]
    async fn a_history_from_before_logs_had_ids_goes_on_with_its_log() {
        let (dir, config) = left().await;
        let dir = dir.path();
        let mut older = SqliteConnectOptions::new().filename(dir.join("log.db")).connect().await.unwrap();
        sqlx::raw_sql("DROP TABLE identity; PRAGMA user_version = 1").execute(&mut older).await.unwrap();
        older.close().await.unwrap();
        opened(dir, origin(dir, &config).await).await.unwrap();
        // Once: it is that log's now.
        std::fs::remove_file(dir.join("log.db")).unwrap();
        let next = Origin { formerly: Some("embedded"), ..origin(dir, &config).await };
        assert!(opened(dir, next).await.is_err());
    }

    #[tokio::test]
    async fn starting_over_is_refused_before_anything_is_deleted() {
        let (dir, config) = left().await;
        let taken = history(dir.path()).await;
        let refused = start_over(&config);
        assert!(
            matches!(&refused, Err(AppError::Configuration(why)) if why.contains("another process")),
            "{refused:?}"
        );
        assert!(dir.path().join("log.db").exists(), "the log is gone already");
        drop(taken);
        start_over(&config).unwrap();
        assert!(!dir.path().join("log.db").exists() && !dir.path().join("history.db").exists());
    }

    #[tokio::test]
    async fn starting_over_that_ends_half_way_leaves_no_history_of_a_log_that_is_gone() {
        let (dir, config) = left().await;
        // Stands for a process that dies there: what is in the way of the log's end.
        std::fs::create_dir(dir.path().join("log.db-journal")).unwrap();
        let failed = start_over(&config);
        assert!(matches!(failed, Err(AppError::Failed(_))), "{failed:?}");
        assert!(!dir.path().join("history.db").exists(), "the log went first");
    }
}
