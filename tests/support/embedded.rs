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
    let known = sqlx::query("SELECT number, partitions FROM topics WHERE name = ?").bind(topic);
    let known = known.fetch_one(&mut log).await.expect("the topic");
    let (number, partitions): (i64, i64) = (known.get(0), known.get(1));
    let mut all = Vec::new();
    for partition in 0..partitions {
        let base = (number << 55) | (partition << 40);
        let row = sqlx::query(
            "SELECT (SELECT max(id) FROM log WHERE id >= ?1 AND id < ?1 + (1 << 40)),
                    (SELECT next FROM offsets WHERE stage = ?2 AND partition = ?3),
                    (SELECT metadata FROM offsets WHERE stage = ?2 AND partition = ?3)",
        );
        let row = row.bind(base).bind(stage).bind(partition).fetch_one(&mut log).await.expect("offsets");
        let (last, committed): (Option<i64>, Option<i64>) = (row.get(0), row.get(1));
        all.push(Standing {
            partition: i32::try_from(partition).expect("small"),
            committed,
            metadata: row.get::<Option<String>, _>(2).unwrap_or_default(),
            end: last.map_or(0, |id| id - base + 1),
        });
    }
    all
}
