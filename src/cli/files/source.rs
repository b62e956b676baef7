//! Where resources are read from: files, those of folders, and standard input.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::exit::Exit;

/// Names of files that are looked at in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// A folder of JSON Schemas beside them, which are no resources.
const SCHEMAS: &str = "schemas";
const STDIN: &str = "-";

/// Bytes of standard input or of a pipe, at most: as many as one request of `apply` has.
const MOST_KEPT: u64 = 512 << 20;

/// A file that was read, and can be read again.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    /// Standard input is there once, and so is a pipe.
    kept: Option<Vec<u8>>,
    /// The place of its first resource among all.
    pub first: usize,
}

impl Source {
    pub fn of(path: PathBuf, first: usize) -> Result<Source, Exit> {
        let source = Source { path, kept: None, first };
        let kept = match std::fs::metadata(&source.path) {
            _ if source.is_stdin() => Some(source.kept_of(Ok(std::io::stdin().lock()))?),
            Ok(there) if !there.is_file() => Some(source.kept_of(File::open(&source.path))?),
            _ => None,
        };
        Ok(Source { kept, ..source })
    }

    fn is_stdin(&self) -> bool {
        self.path.as_os_str() == STDIN
    }

    /// What comes, once.
    fn kept_of(&self, input: io::Result<impl Read>) -> Result<Vec<u8>, Exit> {
        let mut bytes = Vec::new();
        match input.and_then(|input| input.take(MOST_KEPT + 1).read_to_end(&mut bytes)) {
            Ok(_) if bytes.len() as u64 <= MOST_KEPT => Ok(bytes),
            Ok(_) => Err(self.unreadable(format!("is longer than {} MiB: put it into files", MOST_KEPT >> 20))),
            Err(e) => Err(self.unreadable(e)),
        }
    }

    fn unreadable(&self, why: impl Display) -> Exit {
        Exit::Usage(format!("{}: {why}", self.name()))
    }

    /// For people.
    pub fn name(&self) -> Arc<str> {
        if self.is_stdin() { "standard input".into() } else { self.path.display().to_string().into() }
    }

    /// What paths in it begin at.
    pub fn folder(&self) -> &Path {
        let folder = self.path.parent().filter(|_| !self.is_stdin());
        folder.unwrap_or(Path::new(""))
    }

    pub fn is_json(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending == "json")
    }

    /// Where it cannot be read at all, the command cannot be used so.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, Exit> {
        match &self.kept {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => std::fs::read(&self.path).map(Cow::Owned).map_err(|e| self.unreadable(e)),
        }
    }
}

/// The files in the order in which they are read.
pub(super) fn listed<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Result<Vec<PathBuf>, Exit> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        if path.is_dir() {
            walk(path, &mut files).map_err(|(path, e)| Exit::Usage(format!("{}: {e}", path.display())))?;
            if files.len() == before {
                let endings = ENDINGS.join(", .");
                return Err(Exit::Usage(format!("{}: there is no file in it that ends in .{endings}", path.display())));
            }
        } else {
            files.push(path.clone());
        }
    }
    // One that is named twice, or beside its folder, is meant once.
    let mut seen = HashSet::new();
    files.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, std::io::Error)> {
    let fault = |e| (folder.to_owned(), e);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        entries.push(entry.map_err(fault)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == SCHEMAS {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Bytes as text.
///
/// # Errors
/// The line of what is no UTF-8, and what is wrong with it.
pub(super) fn decoded(bytes: &[u8]) -> Result<&str, (u64, String)> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let byte = bytes.get(at).copied().unwrap_or_default();
        (line, format!("is not UTF-8 (byte 0x{byte:02x}): save it as UTF-8, which editors name among encodings"))
    })
}
