//! What can be wrong with a file, and the sentence for it.

use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::path::PathBuf;

use super::{Kind, SqliteFile};

/// What is wrong with which file. Shown as a sentence that says what to do.
#[derive(Clone, Debug)]
pub struct Fault {
    pub why: Why,
    path: PathBuf,
    kind: &'static Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Full,
    /// Another program holds it for longer than one waits.
    Busy,
    /// What it holds cannot stand beside what this process knows of it.
    Contradicted(String),
    /// The disk under it failed.
    Disk(String),
    Damaged(String),
    Unwritable(String),
    Unopened(String),
    /// Another process has it.
    Taken,
    /// Its format is of a later version than this one.
    Newer(i32),
    /// It is somebody else's.
    Foreign,
    /// It is sound, and not what was wanted.
    Refused(String),
    Other(String),
}

impl Fault {
    pub(super) fn new(file: &SqliteFile, why: Why) -> Fault {
        Fault { why, path: file.path.clone(), kind: file.kind }
    }

    /// May the same go through later, with nobody touching the file?
    pub fn may_pass(&self) -> bool {
        matches!(self.why, Why::Full | Why::Busy | Why::Disk(_) | Why::Other(_))
    }
}

impl Why {
    /// By the result codes of <https://www.sqlite.org/rescode.html>.
    pub(super) fn of(error: &sqlx::Error) -> Why {
        let told = || error.to_string();
        match error {
            sqlx::Error::Io(e) => return Why::of_io(e),
            // What is not as it was written.
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => return Why::Damaged(told()),
            _ => {}
        }
        let code = code(error);
        match code.map(|code| code & 0xff) {
            // A row has the key: SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE, _ROWID.
            _ if matches!(code, Some(1555 | 2067 | 2579)) => Why::Contradicted(told()),
            Some(5 | 6) => Why::Busy,
            Some(8) => Why::Unwritable(told()),
            Some(10) => Why::Disk(told()),
            Some(11 | 26) => Why::Damaged(told()),
            Some(13) => Why::Full,
            Some(14) => Why::Unopened(told()),
            _ => Why::Other(told()),
        }
    }

    pub(super) fn of_io(error: &IoError) -> Why {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Why::Full,
            _ => Why::Unwritable(error.to_string()),
        }
    }
}

/// SQLITE_NOTADB.
pub(super) fn is_no_database(error: &sqlx::Error) -> bool {
    code(error).map(|code| code & 0xff) == Some(26)
}

/// The extended result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { name, steps, advice, .. } = self.kind;
        write!(f, "{}: ", self.path.display())?;
        match &self.why {
            Why::Full => write!(f, "the disk is full; free some of it, {}", advice.freed),
            Why::Busy => write!(f, "another program keeps it locked; end that one, a shell of sqlite3 perhaps"),
            Why::Disk(error) => write!(f, "its disk failed ({error}); the system's log may say more"),
            Why::Damaged(error) => write!(f, "it is damaged ({error}); {}", advice.mend),
            Why::Contradicted(error) => write!(
                f,
                "another program has written to it, or it is damaged ({error}); end that program and start again, or {}",
                advice.mend
            ),
            Why::Unwritable(error) => write!(
                f,
                "it cannot be written ({error}); make file and folder writable for this user, or name another place with {}",
                advice.setting
            ),
            Why::Unopened(error) => {
                write!(f, "it cannot be opened ({error}); is its disk there, and are folder and file this user's?")
            }
            Why::Taken => write!(f, "another process uses it; {}", advice.taken),
            Why::Newer(format) => write!(
                f,
                "it was written by a newer version of tidegate (format {format}, this one knows {}); run that version, or {}",
                steps.len(),
                advice.mend
            ),
            Why::Foreign => write!(
                f,
                "it is not a {name} of tidegate, so it is left alone; name another place with {}, or remove it yourself",
                advice.setting
            ),
            Why::Refused(why) | Why::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}
