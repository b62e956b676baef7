//! The engine of a process: which one keeps the log, and how it is ended.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::history::drop_history;
use super::{AppError, reach};
use crate::config::{self, Config};
use crate::embedded::EmbeddedLog;
use crate::kafka::KafkaLog;
use crate::model::time::Clock;
use crate::stream::log::{Log, LogError};
use crate::topology::Declared;

/// Deletes what earlier processes left in the data folder, unless one uses it.
pub(super) fn start_over(config: &Config) -> Result<(), AppError> {
    match config.engine {
        config::Engine::Embedded => {
            EmbeddedLog::erase(&config.data_dir).map_err(|error| AppError::Configuration(error.to_string()))?;
            // Its offsets mean nothing in the next log.
            drop_history(config).map(drop)
        }
        config::Engine::Kafka => Err(AppError::Configuration(
            "Kafka's topics are not deleted from here: give another --prefix, or end a broker of `compose/local` with `down`"
                .into(),
        )),
    }
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
