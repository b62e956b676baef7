//! A file that is given up: looked at and locked first, deleted later.

use std::fs::File;
use std::io::{Error as IoError, Read as _};

use super::open::{KEPT, LOCK, NEW, remove};
use super::{Fault, SqliteFile, Why};

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The right to delete a file. While it lives no process opens that file.
#[derive(Debug)]
pub struct Claim {
    file: SqliteFile,
    is_there: bool,
    _lock: Option<File>,
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under its usual name in the data folder: what is damaged there was ours.
    Usual,
    /// Under a name that was given: it may be anything.
    Given,
}

/// Whose a file is, by its first bytes: <https://www.sqlite.org/fileformat.html>.
#[derive(Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    Foreign,
    /// It does not say. It is no text either, which no damage makes.
    Unknown,
}

impl SqliteFile {
    /// Makes sure that the file may be deleted: no process has it, and it is one of ours. Nothing is touched.
    pub fn claim(&self, place: Place) -> Result<Claim, Fault> {
        // One that is missing may be in the making.
        let lock = match self.is_made()? || self.beside(LOCK).exists() {
            true => Some(self.lock()?),
            false => None,
        };
        let is_there = self.is_made()?;
        if is_there {
            let whose = Whose::of(&self.start()?, self.kind.application);
            if whose == Whose::Foreign || (whose == Whose::Unknown && place == Place::Given) {
                return Err(self.told(Why::Foreign));
            }
        }
        Ok(Claim { file: self.clone(), is_there, _lock: lock })
    }

    /// Does the file begin as every SQLite file does?
    pub(super) fn is_sqlite(&self) -> bool {
        self.start().is_ok_and(|start| start.starts_with(MAGIC))
    }

    /// Gives up what is in the file. A link to it goes on to lead to a file, an empty one: the next is made there.
    fn leave(&self) -> Result<(), IoError> {
        match self.linked {
            true => File::create(self.beside(NEW)).and_then(|_| std::fs::rename(self.beside(NEW), &self.path)),
            false => remove(&self.path),
        }
    }

    /// The header. Not to be read while this process has the file open: closing it would let go of SQLite's locks.
    fn start(&self) -> Result<Vec<u8>, Fault> {
        let mut start = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(100).read_to_end(&mut start));
        read.map(|_| start).map_err(|e| self.told(Why::Unopened(e.to_string())))
    }
}

impl Whose {
    fn of(start: &[u8], application: i32) -> Whose {
        let is_text = || {
            // The last character may be cut off.
            let text = start.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            text.len() + 4 > start.len() && !text.chars().any(|c| c.is_control() && !c.is_whitespace())
        };
        match start.get(68..72) {
            _ if !start.starts_with(MAGIC) && is_text() => Whose::Foreign,
            _ if !start.starts_with(MAGIC) => Whose::Unknown,
            Some(id) if id == application.to_be_bytes() => Whose::Ours,
            Some(_) => Whose::Foreign,
            None => Whose::Unknown,
        }
    }
}

impl Claim {
    /// Deletes the file and what is kept beside it; whether there was one.
    pub fn delete(self) -> Result<bool, Fault> {
        if !self.is_there {
            return Ok(false);
        }
        let file = &self.file;
        // The file first: a write-ahead log without its file is nothing, the other way round it is a file that lacks its end.
        let gone = file.leave().and_then(|()| KEPT.iter().try_for_each(|end| remove(&file.beside(end))));
        gone.map_err(|e| file.told(Why::Unwritable(format!("it cannot be deleted: {e}"))))?;
        Ok(true)
    }
}
