//! The topics of a gateway as somebody beside it reads them, on either engine: nothing is joined, nothing is written.

use std::time::Duration;

use super::{AppError, reach};
use crate::config::{Config, Engine};
use crate::embedded;
use crate::kafka::KafkaLog;
use crate::model::ids::{Offset, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::stream::log::{Batch, From, Log as _, LogError, PartitionReader};

/// The topics of a gateway.
pub struct View(Kind);

enum Kind {
    Kafka(Box<KafkaLog>),
    Embedded(embedded::View),
}

/// Reads one partition.
pub struct Reader(ReaderKind);

enum ReaderKind {
    Kafka(Box<dyn PartitionReader>),
    Embedded(embedded::ViewReader),
}

impl View {
    /// Of the gateway that the configuration names.
    pub async fn open(config: &Config) -> Result<View, AppError> {
        match config.engine {
            Engine::Kafka => Ok(View(Kind::Kafka(Box::new(reach::connect(config).await?)))),
            Engine::Embedded => match embedded::View::open(&config.data_dir).await {
                Ok(view) => Ok(View(Kind::Embedded(view))),
                Err(LogError::Unavailable(why)) => Err(AppError::Unreachable(why)),
                Err(error) => Err(AppError::Failed(error.to_string())),
            },
        }
    }

    pub async fn partitions(&self, topic: Topic) -> Result<i32, LogError> {
        match &self.0 {
            Kind::Kafka(log) => log.partitions(topic).await,
            Kind::Embedded(view) => view.partitions(topic).await,
        }
    }

    /// The offset behind the last record.
    pub async fn end(&self, topic: Topic, partition: Partition) -> Result<Offset, LogError> {
        match &self.0 {
            Kind::Kafka(log) => log.end(topic, partition).await,
            Kind::Embedded(view) => Ok(view.span(topic, partition).await?.1),
        }
    }

    /// Reads from an offset on.
    pub async fn at(&self, topic: Topic, partition: Partition, from: Offset) -> Result<Reader, LogError> {
        Ok(Reader(match &self.0 {
            Kind::Kafka(log) => ReaderKind::Kafka(log.read(topic, partition, From::At(from)).await?),
            Kind::Embedded(view) => ReaderKind::Embedded(view.read(topic, partition, from).await?),
        }))
    }

    /// Reads from the first record that is not older.
    pub async fn since(&self, topic: Topic, partition: Partition, time: Timestamp) -> Result<Reader, LogError> {
        Ok(Reader(match &self.0 {
            Kind::Kafka(log) => ReaderKind::Kafka(log.read(topic, partition, From::Time(time)).await?),
            Kind::Embedded(view) => {
                let from = view.at_time(topic, partition, time).await?;
                ReaderKind::Embedded(view.read(topic, partition, from).await?)
            }
        }))
    }

    /// Whether the log was started over, so that this is a view of what was deleted.
    pub fn is_replaced(&self) -> bool {
        match &self.0 {
            Kind::Kafka(_) => false,
            Kind::Embedded(view) => view.is_replaced(),
        }
    }

    /// Says goodbye, within this time.
    pub async fn close(&self, within: Duration) {
        if let Kind::Kafka(log) = &self.0 {
            log.close(within).await;
        }
    }
}

impl Reader {
    /// The next records, at most `max`, or none when `wait` is over before any came. `OutOfRange`: retention has overtaken it.
    pub async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        match &mut self.0 {
            ReaderKind::Embedded(reader) => reader.next(max, wait).await,
            ReaderKind::Kafka(reader) => reader.next(max, wait).await,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    pub(crate) use crate::embedded::EmbeddedLog;
    use crate::model::time::ManualClock;
    use crate::topology::Declared;

    /// A gateway's log, as the gateway has it open.
    pub(crate) async fn writer(dir: &Path, clock: Arc<ManualClock>) -> EmbeddedLog {
        EmbeddedLog::open(dir, &Declared::built_in(Some("small")).unwrap(), clock).await.unwrap()
    }

    /// The next log in the folder, its old one deleted.
    pub(crate) async fn start_over(old: &EmbeddedLog, dir: &Path, clock: Arc<ManualClock>) -> EmbeddedLog {
        assert!(old.close(Duration::from_secs(30)).await);
        EmbeddedLog::claim(dir).unwrap().delete().unwrap();
        writer(dir, clock).await
    }
}
