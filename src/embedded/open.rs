//! The file under the log: its tables, and its topics as they are declared.

use std::fs::File;
use std::path::Path;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteSynchronous};

use super::queries::span;
use super::rows::Base;
use super::spans::{Spans, TopicSpans};
use crate::model::ids::Partition;
use crate::model::topic::Topic;
use crate::sqlite::{Advice, Connections, Fault, Kind, Opened as OpenedFile, SqliteFile};
use crate::stream::log::LogError;
use crate::topology::Declared;

const LOG: Kind = Kind {
    name: "log",
    // "TgLg".
    application: 0x5467_4c67,
    steps: &[TABLES, IDENTITY],
    connections: Connections {
        // What was answered 202 is to be there after a power cut.
        synchronous: SqliteSynchronous::Full,
        // Long ones are few: those of the queries, and the inserts.
        statements: 64,
        // Each may be as large as a record.
        rows: 8,
    },
    advice: Advice {
        setting: "TIDEGATE_DATA_DIR",
        taken: "stop that gateway, or give this one a data folder of its own (TIDEGATE_DATA_DIR)",
        freed: "nothing was lost",
        mend: "put a copy of the folder back, or move the folder away to begin anew",
    },
};

const TABLES: &str = "
CREATE TABLE topics (name TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, partitions INTEGER NOT NULL) STRICT;
CREATE TABLE log (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, key BLOB, headers BLOB NOT NULL, value BLOB) STRICT;
CREATE TABLE spans (base INTEGER PRIMARY KEY, start INTEGER NOT NULL, next INTEGER NOT NULL) STRICT;
CREATE TABLE offsets (stage TEXT, partition INTEGER, next INTEGER NOT NULL, metadata TEXT NOT NULL,
                      PRIMARY KEY (stage, partition)) STRICT, WITHOUT ROWID;
CREATE TABLE writers (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE VIEW records AS
  SELECT topics.name AS topic, (log.id >> 40) & 32767 AS partition, log.id & 1099511627775 AS record,
         datetime(log.at / 1000.0, 'unixepoch', 'subsec') AS at, CAST(key AS TEXT) AS key, CAST(value AS TEXT) AS value
  FROM log JOIN topics ON topics.number = log.id >> 55;
";

/// Written once: a log that is put in this one's place has another.
const IDENTITY: &str = "
CREATE TABLE identity (id TEXT NOT NULL, older INTEGER NOT NULL) STRICT;
INSERT INTO identity SELECT lower(hex(randomblob(8))), EXISTS (SELECT 1 FROM topics);
";

/// What tells a log from every other.
#[derive(Clone, Debug)]
pub struct LogId {
    /// Hexadecimal digits.
    pub id: String,
    /// It was in use before logs had ids.
    pub older: bool,
}

/// What was opened. The lock goes with it.
pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    pub(super) readers: SqlitePool,
    pub(super) spans: Spans,
    pub(super) id: LogId,
    pub(super) lock: File,
}

/// The file of the log in a folder.
pub(super) fn file(dir: &Path) -> SqliteFile {
    SqliteFile::new(dir.join("log.db"), &LOG)
}

impl std::convert::From<Fault> for LogError {
    fn from(fault: Fault) -> LogError {
        let told = fault.to_string();
        if fault.may_pass() { LogError::Unavailable(told) } else { LogError::Fatal(told) }
    }
}

/// Opens the log, which is made where it is missing. `Fatal`: it will not open however often it is tried.
pub(super) async fn open(file: &SqliteFile, declared: &Declared) -> Result<Opened, LogError> {
    let OpenedFile { mut writer, readers, lock } = file.open().await?;
    let spans = topics(&mut writer, file, declared).await?;
    let id = identity(&mut writer).await.map_err(|e| file.fault(&e))?;
    Ok(Opened { writer, readers, spans, id, lock })
}

async fn identity(writer: &mut SqliteConnection) -> Result<LogId, sqlx::Error> {
    let row = sqlx::query("SELECT id, older FROM identity").fetch_one(writer).await?;
    Ok(LogId { id: row.try_get(0)?, older: row.try_get(1)? })
}

/// The topics as the file has them, missing ones made; where each partition begins and ends.
async fn topics(writer: &mut SqliteConnection, file: &SqliteFile, declared: &Declared) -> Result<Spans, LogError> {
    let mut all = Vec::new();
    for topic in declared.topics() {
        let wanted = i64::from(topic.partitions);
        let (number, partitions) = numbered(writer, topic.topic, wanted).await.map_err(|e| file.fault(&e))?;
        if partitions != wanted {
            return Err(file.refused(format!(
                "topic {} has {partitions} partitions there and {wanted} in the topology; with another number, what has one key \
                 would be in two places: go back to {partitions} (`dev` runs with --profile small), or begin with an empty folder",
                topic.topic
            ))
            .into());
        }
        let mut spans = Vec::new();
        for partition in 0..topic.partitions {
            let partition = Partition(i32::try_from(partition).unwrap_or(i32::MAX));
            let base = Base::of(number, partition);
            spans.push(span(&mut *writer, base).await.map_err(|e| file.fault(&e))?);
        }
        all.push(TopicSpans::new(number, spans.into_iter()));
    }
    Ok(Spans::new(all))
}

/// The number and the partitions of a topic in the file; given now where it is new.
async fn numbered(writer: &mut SqliteConnection, topic: Topic, partitions: i64) -> Result<(u8, i64), sqlx::Error> {
    sqlx::query("INSERT INTO topics VALUES (?, (SELECT count(*) FROM topics), ?) ON CONFLICT (name) DO NOTHING")
        .bind(topic.name())
        .bind(partitions)
        .execute(&mut *writer)
        .await?;
    let row = sqlx::query("SELECT number, partitions FROM topics WHERE name = ?")
        .bind(topic.name())
        .fetch_one(writer)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
