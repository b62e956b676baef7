//! The file that tells how far a publication is, beside its input.
//!
//! Everything below its place was answered; what was sent beyond it is sent again with the same ids, by which the gateway knows
//! a repeat. So it may be a little behind, and is never ahead.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::lines::{Place, Run};
use crate::model::hex::hex;
use crate::model::time::Timestamp;

const VERSION: u32 = 1;
/// Bytes of the input's begin by which it is known again.
const HEAD: u64 = 64 << 10;

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Progress {
    version: u32,
    run: Uuid,
    began: Timestamp,
    /// As the flag named it: the same line for another organization is another event.
    org: Option<String>,
    head_bytes: u64,
    head_sha256: String,
    pub bytes: u64,
    pub lines: u64,
    pub accepted: u64,
    pub refused: u64,
}

impl Progress {
    /// A publication that begins now.
    pub(super) fn new(input: &mut File, run: Run, org: Option<&str>) -> io::Result<Progress> {
        let head_bytes = input.metadata()?.len().min(HEAD);
        Ok(Progress {
            version: VERSION,
            run: run.id,
            began: run.began,
            org: org.map(str::to_owned),
            head_bytes,
            head_sha256: head(input, head_bytes)?,
            bytes: 0,
            lines: 0,
            accepted: 0,
            refused: 0,
        })
    }

    pub(super) fn run(&self) -> Run {
        Run { id: self.run, began: self.began }
    }

    pub(super) fn place(&self) -> Place {
        Place { bytes: self.bytes, lines: self.lines }
    }

    pub(super) fn moved(&mut self, to: Place) {
        (self.bytes, self.lines) = (to.bytes, to.lines);
    }

    /// Is this the file that it was begun with, for the same organization? Lines may have been appended since.
    fn fits(&self, input: &mut File, org: Option<&str>) -> io::Result<Result<(), String>> {
        if self.version != VERSION {
            return Ok(Err(format!("is of version {}, this tidegate knows {VERSION}", self.version)));
        }
        if self.org.as_deref() != org {
            let named = |org: Option<&str>| org.map_or("no --org".to_owned(), |org| format!("--org {org}"));
            return Ok(Err(format!("was begun with {}, not with {}", named(self.org.as_deref()), named(org))));
        }
        let len = input.metadata()?.len();
        if len < self.bytes.max(self.head_bytes) || head(input, self.head_bytes)? != self.head_sha256 {
            return Ok(Err("is about other lines: the input was changed since".to_owned()));
        }
        Ok(Ok(()))
    }
}

fn head(input: &mut File, bytes: u64) -> io::Result<String> {
    input.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    (&*input).take(bytes).read_to_end(&mut head)?;
    Ok(hex(&Sha256::digest(&head)))
}

/// Where the progress of this input is kept.
pub(super) fn path_of(input: &Path) -> PathBuf {
    let mut name = input.as_os_str().to_owned();
    name.push(".progress");
    PathBuf::from(name)
}

/// What an earlier run left; `None` where there was none. Any error is a sentence for the user.
pub(super) fn load(path: &Path, input: &mut File, org: Option<&str>) -> Result<Option<Progress>, String> {
    let fault =
        |why: String| format!("{} {why}; delete it to publish the whole input again, as new events", path.display());
    let text = match fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{}: {e}", path.display())),
        Ok(text) => text,
    };
    let progress: Progress =
        serde_json::from_slice(&text).map_err(|e| fault(format!("is no progress of a publication: {e}")))?;
    progress.fits(input, org).map_err(|e| format!("the input cannot be read: {e}"))?.map_err(fault)?;
    Ok(Some(progress))
}

/// Replaces the file as a whole: whoever reads it sees the one or the other, after a power cut too.
pub(super) fn save(path: &Path, progress: &Progress) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    serde_json::to_writer_pretty(&mut file, progress)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { id: Uuid::from_u128(7), began: Timestamp(1_763_712_000_250) };

    #[test]
    fn progress_survives_its_file_and_appended_lines() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("events.jsonl");
        fs::write(&input, "{}\n{}\n").unwrap();
        let mut file = File::open(&input).unwrap();
        let path = path_of(&input);
        assert_eq!(path.file_name().unwrap(), "events.jsonl.progress");
        assert_eq!(load(&path, &mut file, None), Ok(None));
        let mut progress = Progress::new(&mut file, RUN, Some("648")).unwrap();
        progress.moved(Place { bytes: 3, lines: 1 });
        save(&path, &progress).unwrap();
        progress.moved(Place { bytes: 6, lines: 2 });
        save(&path, &progress).unwrap();
        fs::write(&input, "{}\n{}\n{}\n").unwrap();
        let loaded = load(&path, &mut File::open(&input).unwrap(), Some("648")).unwrap().unwrap();
        assert_eq!((loaded.run(), loaded.place()), (RUN, Place { bytes: 6, lines: 2 }));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left behind");
    }

    #[test]
    fn another_file_under_the_name_is_not_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("e");
        fs::write(&input, "{\"a\":1}\n{}\n").unwrap();
        let path = path_of(&input);
        let mut progress = Progress::new(&mut File::open(&input).unwrap(), RUN, None).unwrap();
        progress.moved(Place { bytes: 8, lines: 1 });
        save(&path, &progress).unwrap();
        let refused = |text: &str, org: Option<&str>, said: &str| {
            fs::write(&input, text).unwrap();
            let why = load(&path, &mut File::open(&input).unwrap(), org).unwrap_err();
            assert!(why.contains(said) && why.contains("delete it"), "{why}");
        };
        refused("{\"a\":2}\n{}\n", None, "changed since");
        refused("{\"a\"", None, "changed since");
        refused("{\"a\":1}\n{}\n", Some("712"), "--org 712");
        fs::write(&path, "{}").unwrap();
        refused("{\"a\":1}\n{}\n", None, "no progress");
    }
}
