//! Files of resources: YAML or JSON, one resource or many in each.

mod fill;
mod forms;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::exit::Exit;
use super::output::one_line;
use crate::catalog::apply::{self, Desired, Fault};
use fill::{Fill, Lack};
use tree::Node;

/// Names of files that are looked at in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// A folder of JSON Schemas beside them, which are no resources.
const SCHEMAS: &str = "schemas";
/// Faults that are shown.
const SHOWN: usize = 50;

/// What is wrong, and where: `clinic/bills.yaml:7: OutboundIntegration/bills: spec.targetUrl must be a URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    file: Arc<str>,
    /// From 1; `None`: not known.
    line: Option<u64>,
    /// The resource, where it is known.
    of: Option<String>,
    path: String,
    message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let of = self.of.as_ref().map(|of| format!("{of}: ")).unwrap_or_default();
        let path = if self.path.is_empty() { String::new() } else { format!("{} ", self.path) };
        let at = if self.file.is_empty() { String::new() } else { format!("{}{line}: ", self.file) };
        f.write_str(&one_line(&format!("{at}{of}{path}{}", self.message)))
    }
}

/// A resource, and where it stands.
#[derive(Debug)]
struct Placed {
    file: Arc<str>,
    node: Node,
    /// Values that come from elsewhere, by their path: as they stand in the file, and what they came to where that is known.
    filled: BTreeMap<String, Filled>,
}

/// A text with `${env:NAME}` or `${file:path}` in it.
#[derive(Debug)]
struct Filled {
    written: String,
    value: Option<String>,
}

/// Everything that the files hold.
#[derive(Debug, Default)]
pub(super) struct Resources {
    pub desired: Vec<Desired>,
    places: Vec<Placed>,
    /// How many files.
    pub files: usize,
    /// Variables and files that values are to come from and that are not here.
    pub missing: Vec<Wrong>,
    malformed: Vec<Wrong>,
}

/// Reads files and folders; `-` is standard input.
///
/// # Errors
/// `Exit::Usage` where a path is none, else everything that is wrong with the form of the files.
pub(super) fn read(paths: &[PathBuf]) -> Result<Resources, Failed> {
    let mut all = Resources::default();
    let mut wrong = Vec::new();
    for path in listed(paths)? {
        let (text, folder) = match path.as_os_str() == "-" {
            true => (stdin()?, PathBuf::new()),
            false => (text(&path)?, path.parent().map(Path::to_path_buf).unwrap_or_default()),
        };
        let file: Arc<str> = if folder.as_os_str().is_empty() && path.as_os_str() == "-" {
            "standard input".into()
        } else {
            path.display().to_string().into()
        };
        all.files += 1;
        let json = path.extension().is_some_and(|ending| ending == "json");
        match forms::resources(&file, &text, json) {
            Ok(found) => found.into_iter().for_each(|one| all.add(one, &file, &Fill::of(&folder))),
            Err(faults) => wrong.extend(faults),
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(Failed::Wrong(wrong)) }
}

/// The text as a file has to have it to come to this one.
pub(super) fn escaped(text: &str) -> String {
    fill::escaped(text)
}

/// What a YAML text says, its documents one after the other.
pub(super) fn documents(text: &str) -> Option<Vec<serde_json::Value>> {
    forms::of_yaml(text).ok().map(|nodes| nodes.iter().map(Node::to_json).collect())
}

/// Why files cannot be used.
#[derive(Debug)]
pub(super) enum Failed {
    Exit(Exit),
    Wrong(Vec<Wrong>),
}

impl From<Exit> for Failed {
    fn from(exit: Exit) -> Failed {
        Failed::Exit(exit)
    }
}

impl Failed {
    /// Shows what is wrong; the command ends with 1.
    pub(super) fn tell(self, then: &str) -> Exit {
        let wrong = match self {
            Failed::Exit(exit) => return exit,
            Failed::Wrong(mut wrong) => {
                wrong.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
                wrong
            }
        };
        wrong.iter().take(SHOWN).for_each(|one| eprintln!("{one}"));
        if wrong.len() > SHOWN {
            eprintln!("... and {} more", wrong.len() - SHOWN);
        }
        let count =
            if wrong.len() == 1 { "1 thing is wrong".to_owned() } else { format!("{} things are wrong", wrong.len()) };
        Exit::Failed(format!("{count}{then}"))
    }
}

impl Resources {
    fn add(&mut self, (mut node, key): (Node, crate::catalog::Key), file: &Arc<str>, fill: &Fill) {
        let mut filled = BTreeMap::new();
        fill.within(&mut node, "", &mut |path, line, written, value| {
            let wrong = |message: &String| {
                let (line, of) = (Some(line).filter(|line| *line > 0), Some(key.to_string()));
                Wrong { file: Arc::clone(file), line, of, path: path.to_owned(), message: message.clone() }
            };
            match &value {
                Ok(_) => {}
                Err(Lack::Missing(why)) => self.missing.push(wrong(why)),
                Err(Lack::Malformed(why)) => self.malformed.push(wrong(why)),
            }
            filled.insert(path.to_owned(), Filled { written: written.to_owned(), value: value.ok() });
        });
        let spec = node.get("spec").map(Node::to_json).unwrap_or_default();
        self.desired.push(Desired::new(key, &spec));
        self.places.push(Placed { file: Arc::clone(file), node, filled });
    }

    /// What is wrong with them whatever a catalog holds. A value that is not known yet cannot be wrong.
    pub(super) fn wrong(&self) -> Vec<Wrong> {
        self.wrong_of(apply::faults(&self.desired))
    }

    /// The same without a word on what they name, which the catalog may have.
    pub(super) fn wrong_in_themselves(&self) -> Vec<Wrong> {
        self.wrong_of(apply::own_faults(&self.desired))
    }

    fn wrong_of(&self, faults: Vec<Fault>) -> Vec<Wrong> {
        let known = |fault: &Fault| !fault.at.is_some_and(|at| self.is_unknown(at, &fault.problem.path));
        let faults = faults.into_iter().filter(known).map(|fault| self.place(fault));
        self.malformed.iter().cloned().chain(faults).collect()
    }

    fn is_unknown(&self, at: usize, path: &str) -> bool {
        let filled = self.places.get(at).and_then(|place| place.filled.get(path));
        filled.is_some_and(|filled| filled.value.is_none())
    }

    /// The same by the file and the line where it stands.
    pub(super) fn place(&self, fault: Fault) -> Wrong {
        let Fault { at, problem } = fault;
        let found = at.and_then(|at| Some((self.places.get(at)?, self.desired.get(at)?)));
        let Some((place, desired)) = found else {
            return Wrong { file: "".into(), line: None, of: None, path: problem.path, message: problem.message };
        };
        // What came from elsewhere is not repeated here.
        let hidden = place.filled.values().filter_map(|filled| Some((filled.value.as_ref()?, &filled.written)));
        let message = hidden.fold(problem.message, |message, (value, written)| match value.is_empty() {
            true => message,
            false => message.replace(value.as_str(), written),
        });
        let (file, line) = (Arc::clone(&place.file), place.node.line_of(&problem.path));
        Wrong { file, line, of: Some(desired.key.to_string()), path: problem.path, message }
    }

    /// How a value that came from elsewhere stands in the file.
    pub(super) fn written(&self, at: usize, path: &str) -> Option<&str> {
        self.places.get(at)?.filled.get(&format!("spec.{path}")).map(|filled| filled.written.as_str())
    }
}

/// The files in the order in which they are read.
fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Exit> {
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

fn text(path: &Path) -> Result<String, Exit> {
    let read = std::fs::read(path).map_err(|e| Exit::Usage(format!("{}: {e}", path.display())))?;
    String::from_utf8(read).map_err(|_| Exit::Usage(format!("{}: it is not UTF-8", path.display())))
}

fn stdin() -> Result<String, Exit> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(|e| Exit::Usage(format!("standard input: {e}")))?;
    Ok(text)
}
