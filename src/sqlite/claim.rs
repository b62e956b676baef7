//! A file that is given up: looked at and locked first, deleted later.

use std::fs::File;
use std::io::Read as _;

use super::open::{KEPT, LOCK, remove};
use super::{Fault, SqliteFile, Why};

/// The right to delete a file. While it lives no process opens that file.
#[derive(Debug)]
pub struct Claim {
    file: SqliteFile,
    is_there: bool,
    _lock: Option<File>,
}

impl SqliteFile {
    /// Makes sure that the file may be deleted: no process has it, and it is not somebody else's. Nothing is touched.
    pub fn claim(&self) -> Result<Claim, Fault> {
        // One that is missing may be in the making.
        let lock = match self.path.exists() || self.beside(LOCK).exists() {
            true => Some(self.lock()?),
            false => None,
        };
        let is_there = self.path.exists();
        if is_there {
            self.look_whose()?;
        }
        Ok(Claim { file: self.clone(), is_there, _lock: lock })
    }

    fn look_whose(&self) -> Result<(), Fault> {
        let mut start = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(100).read_to_end(&mut start));
        read.map_err(|e| self.told(Why::Unopened(e.to_string())))?;
        // https://www.sqlite.org/fileformat.html: what a database file begins with, and where it says whose it is.
        let whose = start.get(68..72);
        if start.starts_with(b"SQLite format 3\0") && whose != Some(&self.kind.application.to_be_bytes()) {
            return Err(self.told(Why::Foreign));
        }
        Ok(())
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
        let gone = remove(&file.path).and_then(|()| KEPT.iter().try_for_each(|end| remove(&file.beside(end))));
        gone.map_err(|e| file.told(Why::Unwritable(format!("it cannot be deleted: {e}"))))?;
        Ok(true)
    }
}
