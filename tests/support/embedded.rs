//! An embedded log as SQLite shows it to anyone, beside the gateway that writes it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};

use super::kafka::{Record, Standing};

async fn open(dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.join("log.db")).read_only(true);
    options.connect().await.expect("the log of a gateway")
}

/// Every record of a topic, partition by partition in the order of offsets.
pub async fn read(dir: &Path, topic: &str) -> Vec<Record> {
    let rows = sqlx::query(
        "SELECT (log.id >> 40) & 32767, log.id & 1099511627775, key, value, headers
         FROM log JOIN topics ON topics.number = log.id >> 55 WHERE topics.name = ? ORDER BY log.id",
    )
    .bind(topic)
    .fetch_all(&mut open(dir).await)
    .await
    .expect("records");
    let record = |row: &sqlx::sqlite::SqliteRow| Record {
        partition: row.get(0),
        offset: row.get(1),
        key: row.get(2),
        value: row.get(3),
        headers: headers(row.get(4)),
    };
    rows.iter().map(record).collect()
}

/// Names and values, each after its length in four bytes.
fn headers(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (part, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(part.to_vec());
        rest = after;
    }
    parts.chunks(2).map(|pair| (String::from_utf8_lossy(&pair[0]).into_owned(), pair[1].clone())).collect()
}

/// Where a stage stands in every partition of a topic.
pub async fn standing(dir: &Path, stage: &str, topic: &str) -> Vec<Standing> {
    let mut log = open(dir).await;
    let partitions: i32 = sqlx::query("SELECT partitions FROM topics WHERE name = ?")
        .bind(topic)
        .fetch_one(&mut log)
        .await
        .expect("the topic")
        .get(0);
    let committed = sqlx::query("SELECT partition, next, metadata FROM offsets WHERE stage = ?")
        .bind(stage)
        .fetch_all(&mut log)
        .await
        .expect("offsets");
    let all = read(dir, topic).await;
    let standing = |partition: i32| {
        let found = committed.iter().find(|row| row.get::<i32, _>(0) == partition);
        Standing {
            partition,
            committed: found.map(|row| row.get(1)),
            metadata: found.map(|row| row.get(2)).unwrap_or_default(),
            end: all.iter().filter(|r| r.partition == partition).map(|r| r.offset + 1).max().unwrap_or(0),
        }
    };
    (0..partitions).map(standing).collect()
}
