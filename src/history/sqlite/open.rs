//! The file under the store: what makes it a history, and of which log.

use std::path::Path;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteSynchronous};

use super::schema::STEPS;
use crate::history::store::StoreError;
use crate::sqlite::{Advice, Connections, Fault, Kind, Opened, SqliteFile};

const HISTORY: Kind = Kind {
    name: "history",
    // "TgHi".
    application: 0x5467_4869,
    steps: &STEPS,
    connections: Connections {
        // A power cut may take the last transactions, rows and offsets together: they are projected again from the topics.
        synchronous: SqliteSynchronous::Normal,
        // Long ones are few: the inserts, and one for each combination of filters that is in use.
        statements: 128,
        rows: 50,
    },
    advice: Advice {
        setting: "DATABASE_URL",
        taken: "stop that one, or give this one a file of its own (DATABASE_URL), or other roles",
        freed: "history goes on by itself then",
        mend: "stop the gateway and run `tidegate history rebuild`, which makes it anew from the topics",
    },
};

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> StoreError {
        StoreError::Away(fault.to_string())
    }
}

/// The log that a history is of: offsets of one mean nothing in another.
#[derive(Clone, Debug)]
pub struct Origin {
    pub name: String,
    /// What earlier versions called the same log. Its history goes on under the name.
    pub formerly: Option<&'static str>,
}

impl From<&str> for Origin {
    fn from(name: &str) -> Origin {
        Origin { name: name.to_owned(), formerly: None }
    }
}

pub(super) fn file(path: &Path) -> SqliteFile {
    SqliteFile::new(path.to_owned(), &HISTORY)
}

/// Opens the store, which is made where it is missing, for this log.
pub(super) async fn open(file: &SqliteFile, log: &Origin) -> Result<Opened, StoreError> {
    let mut opened = file.open().await?;
    let known = origin(&mut opened.writer, log).await.map_err(|e| file.fault(&e))?;
    if known != log.name {
        let anew = HISTORY.advice.mend;
        let why = format!(
            "it holds the history of another log ({known}; this one is {}); DATABASE_URL names another file, or {anew}",
            log.name
        );
        return Err(file.refused(why).into());
    }
    Ok(opened)
}

/// The name of the log that the rows are of.
async fn origin(writer: &mut SqliteConnection, log: &Origin) -> Result<String, sqlx::Error> {
    let new = "INSERT INTO origin SELECT ? WHERE NOT EXISTS (SELECT 1 FROM origin)";
    sqlx::query(new).bind(&log.name).execute(&mut *writer).await?;
    if let Some(formerly) = log.formerly {
        let renamed = sqlx::query("UPDATE origin SET log = ? WHERE log = ?").bind(&log.name).bind(formerly);
        renamed.execute(&mut *writer).await?;
    }
    sqlx::query("SELECT log FROM origin").fetch_one(writer).await?.try_get(0)
}
