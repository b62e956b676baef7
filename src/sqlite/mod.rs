//! A SQLite file of ours: one process has it, nobody but its user reads it, it is whole from the moment it has its name, and what
//! goes wrong with it is told in sentences. What is in it is the business of the rooms above.

mod claim;
mod fault;
mod open;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteSynchronous;

pub use self::claim::{Claim, Place};
pub use self::fault::{Fault, Why};
pub use self::open::Opened;

/// What all files of one kind have in common.
#[derive(Debug)]
pub struct Kind {
    /// To people, as in "it is not a log of tidegate".
    pub name: &'static str,
    /// `application_id`.
    pub application: i32,
    /// The tables, as statements that end with a semicolon. Steps are only ever added: `user_version` is the number of those that
    /// a file has had.
    pub steps: &'static [&'static str],
    pub connections: Connections,
    pub advice: Advice,
}

/// How the file is worked with.
#[derive(Debug)]
pub struct Connections {
    /// `Full`: each commit reaches the disk. `Normal`: a power cut may take the last ones.
    pub synchronous: SqliteSynchronous,
    /// Prepared statements that a connection keeps.
    pub statements: usize,
    /// Rows that a connection reads ahead.
    pub rows: usize,
}

/// What a user can do, as the end of a sentence.
#[derive(Debug)]
pub struct Advice {
    /// The setting that names another place.
    pub setting: &'static str,
    /// Another process has the file.
    pub taken: &'static str,
    /// The disk has room again.
    pub freed: &'static str,
    /// The file cannot be used any more.
    pub mend: &'static str,
}

/// One file, which may not be there yet.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    path: PathBuf,
    kind: &'static Kind,
    /// Its user knows it by the name of a link.
    linked: bool,
}

impl SqliteFile {
    /// A link is followed now, once: what is locked, opened and deleted is the file, whatever its names.
    pub fn new(path: PathBuf, kind: &'static Kind) -> SqliteFile {
        let led = if path.is_symlink() { path.canonicalize().ok() } else { None };
        SqliteFile { linked: led.is_some(), path: led.unwrap_or(path), kind }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is there a file that can be looked at? An empty one is still to be made.
    pub fn is_there(&self) -> bool {
        self.is_made().unwrap_or(false)
    }

    /// Only where nothing has the name is one missing: what cannot be reached now may hold everything.
    fn is_made(&self) -> Result<bool, Fault> {
        match std::fs::symlink_metadata(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.told(Why::Unopened(e.to_string()))),
            Ok(about) if about.is_symlink() => {
                let to = std::fs::read_link(&self.path).unwrap_or_default();
                Err(self.told(Why::Unopened(format!("it is a link to {}, which is not reached", to.display()))))
            }
            Ok(about) if about.is_file() => Ok(about.len() > 0),
            Ok(_) => Err(self.told(Why::Foreign)),
        }
    }

    /// What an error of SQLite means.
    pub fn fault(&self, error: &sqlx::Error) -> Fault {
        self.told(Why::of(error))
    }

    /// What is in the file is not what its user wants of it: why, and what to do.
    pub fn refused(&self, why: impl Into<String>) -> Fault {
        self.told(Why::Refused(why.into()))
    }

    fn told(&self, why: Why) -> Fault {
        Fault::new(self, why)
    }

    /// What SQLite and we keep beside it, by the end of its name.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }
}
