//! Files of resources: YAML or JSON, one resource or many in each.

mod fill;
mod forms;
mod json;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::exit::Exit;
use super::output::one_line;
use crate::catalog::apply::{self, Desired, Fault};
use fill::{Fill, Lack};
use source::Source;
use tree::Node;

/// Faults that are shown, about, and those of one file: it must not hide the others.
const SHOWN: usize = 100;
const OF_ONE_FILE: usize = 20;

/// Which files a command works with.
#[derive(Args, Clone, Debug)]
pub(super) struct Paths {
    /// Files and folders; `-` is standard input
    #[arg(short, long = "file", value_name = "PATH", num_args = 1.., required_unless_present = "path")]
    file: Vec<PathBuf>,
    /// The same without `-f`
    #[arg(value_name = "PATH")]
    path: Vec<PathBuf>,
}

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

/// A text with `${env:NAME}` or `${file:path}` in it.
#[derive(Debug)]
struct Filled {
    written: String,
    value: Option<String>,
}

/// Everything that the files hold. Where in them it stands is looked up where it is asked for, in the files themselves.
#[derive(Debug, Default)]
pub(super) struct Resources {
    pub desired: Vec<Desired>,
    sources: Vec<Source>,
    /// Values that come from elsewhere, by the place of their resource and their path: as they stand in the file, and what they
    /// came to where that is known.
    filled: BTreeMap<usize, BTreeMap<String, Filled>>,
    /// Variables and files that values are to come from and that are not here.
    pub missing: Vec<Wrong>,
    malformed: Vec<Wrong>,
    /// What is no resource, or no YAML or JSON at all: what else its file holds is not known.
    unread: Vec<Wrong>,
}

impl Paths {
    /// Reads them. What is wrong with the form of one file hides nothing of the others: it is told with them.
    ///
    /// # Errors
    /// `Exit::Usage` where a path is none.
    pub(super) fn read(&self) -> Result<Resources, Exit> {
        let mut all = Resources::default();
        for path in source::listed(self.file.iter().chain(&self.path))? {
            let source = Source::of(path, all.desired.len())?;
            let (file, bytes) = (source.name(), source.bytes()?);
            let fill = Fill::of(source.folder());
            let see = |node, key| all.add((node, key), &file, &fill);
            let unread = forms::resources(&file, &bytes, source.is_json(), see);
            all.unread.extend(unread);
            drop(bytes);
            all.sources.push(source);
        }
        Ok(all)
    }
}

/// The text as a file has to have it to come to this one.
pub(super) fn escaped(text: &str) -> String {
    fill::escaped(text)
}

/// What a YAML text says, its documents one after the other.
pub(super) fn documents(text: &str) -> Option<Vec<serde_json::Value>> {
    let mut documents = Vec::new();
    forms::of_yaml(text, |node| documents.push(node.to_json())).ok().map(|()| documents)
}

/// Shows what is wrong, file by file; the command ends with 1.
pub(super) fn tell(wrong: Vec<Wrong>, then: &str) -> Exit {
    let count =
        if wrong.len() == 1 { "1 thing is wrong".to_owned() } else { format!("{} things are wrong", wrong.len()) };
    by_file(wrong).iter().for_each(|line| eprintln!("{line}"));
    Exit::Failed(format!("{count}{then}"))
}

fn by_file(mut wrong: Vec<Wrong>) -> Vec<String> {
    wrong.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let (mut lines, mut left) = (Vec::new(), wrong.len());
    for of_file in wrong.chunk_by(|a, b| a.file == b.file) {
        if lines.len() >= SHOWN {
            break;
        }
        lines.extend(of_file.iter().take(OF_ONE_FILE).map(ToString::to_string));
        if let Some(last) = of_file.get(OF_ONE_FILE) {
            lines.push(one_line(&format!("{}: and {} more", last.file, of_file.len() - OF_ONE_FILE)));
        }
        left -= of_file.len();
    }
    if left > 0 {
        lines.push(format!("... and {left} more in other files"));
    }
    lines
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
        if !filled.is_empty() {
            self.filled.insert(self.desired.len(), filled);
        }
        self.desired.push(Desired::new(key, &spec));
    }

    /// A file without a resource is no fault, and seldom what somebody meant.
    pub(super) fn note_where_nothing_is(&self) {
        for (source, _) in self.spans().filter(|(_, places)| places.is_empty()).take(SHOWN) {
            eprintln!("note: {} holds no resource", source.name());
        }
    }

    /// How many files.
    pub(super) fn files(&self) -> usize {
        self.sources.len()
    }

    /// What is wrong with them whatever a catalog holds. A value that is not known yet cannot be wrong, nor a name that may be in
    /// what could not be read.
    pub(super) fn wrong(&self) -> Vec<Wrong> {
        if self.unread.is_empty() { self.wrong_of(apply::faults(&self.desired)) } else { self.wrong_in_themselves() }
    }

    /// The same without a word on what they name, which the catalog may have.
    pub(super) fn wrong_in_themselves(&self) -> Vec<Wrong> {
        self.wrong_of(apply::own_faults(&self.desired))
    }

    fn wrong_of(&self, mut faults: Vec<Fault>) -> Vec<Wrong> {
        faults.retain(|fault| !fault.at.is_some_and(|at| self.is_unknown(at, &fault.problem.path)));
        self.unread.iter().chain(&self.malformed).cloned().chain(self.placed(faults)).collect()
    }

    fn is_unknown(&self, at: usize, path: &str) -> bool {
        let filled = self.filled.get(&at).and_then(|filled| filled.get(path));
        filled.is_some_and(|filled| filled.value.is_none())
    }

    /// The same by the files and the lines where they stand.
    pub(super) fn placed(&self, faults: Vec<Fault>) -> Vec<Wrong> {
        let first = self.first_of_two(&faults);
        let asked = |fault: &Fault| Some((fault.at?, fault.problem.path.clone()));
        let others = first.values().map(|at| Some((*at, "id".to_owned())));
        let lines = self.lines(faults.iter().map(asked).chain(others).flatten());
        let line = |at: usize, path: &str| lines.get(&at).and_then(|paths| paths.get(path)).copied();
        let told = |fault: Fault| {
            let Fault { at, problem } = fault;
            let Some((at, source, desired)) = at.and_then(|at| Some((at, self.source(at)?, self.desired.get(at)?)))
            else {
                return Wrong { file: "".into(), line: None, of: None, path: problem.path, message: problem.message };
            };
            let mut message = self.without_values(at, problem.message);
            if let Some((first, source)) = first.get(&at).and_then(|first| Some((*first, self.source(*first)?))) {
                let line = line(first, "id").map(|line| format!(":{line}")).unwrap_or_default();
                message += &format!(": first in {}{line}", source.name());
            }
            let line = line(at, &problem.path);
            Wrong { file: source.name(), line, of: Some(desired.key.to_string()), path: problem.path, message }
        };
        faults.into_iter().map(told).collect()
    }

    /// What came from elsewhere is not repeated.
    fn without_values(&self, at: usize, message: String) -> String {
        let filled = self.filled.get(&at).into_iter().flat_map(BTreeMap::values);
        let hidden = filled.filter_map(|filled| Some((filled.value.as_ref()?, &filled.written)));
        hidden.fold(message, |message, (value, written)| match value.is_empty() {
            true => message,
            false => message.replace(value.as_str(), written),
        })
    }

    /// Of what is there twice, where it is the first time.
    fn first_of_two(&self, faults: &[Fault]) -> BTreeMap<usize, usize> {
        let twice = faults.iter().filter(|fault| fault.problem.message.ends_with(apply::TWICE));
        let twice: BTreeMap<_, _> =
            twice.filter_map(|fault| Some((&self.desired.get(fault.at?)?.key, fault.at?))).collect();
        if twice.is_empty() {
            return BTreeMap::new();
        }
        let mut first = BTreeMap::new();
        for (at, one) in self.desired.iter().enumerate().filter(|(_, one)| twice.contains_key(&one.key)) {
            first.entry(&one.key).or_insert(at);
        }
        let second = faults.iter().filter_map(|fault| fault.at);
        second
            .filter_map(|at| Some((at, *first.get(&self.desired.get(at)?.key)?)))
            .filter(|(at, first)| at != first)
            .collect()
    }

    /// Where fields stand: the files are read again, each once.
    fn lines(&self, asked: impl Iterator<Item = (usize, String)>) -> BTreeMap<usize, BTreeMap<String, u64>> {
        let mut wanted: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (at, path) in asked {
            wanted.entry(at).or_default().insert(path);
        }
        let mut lines = BTreeMap::new();
        for (source, places) in self.spans() {
            if wanted.range(places.clone()).next().is_none() {
                continue;
            }
            // A file that cannot be read any more, or was changed meanwhile, has no lines to be told.
            let Ok(bytes) = source.bytes() else { continue };
            let mut at = places.start;
            let _ = forms::each(&bytes, source.is_json(), |node| {
                if let Some(paths) = wanted.get(&at)
                    && self.desired.get(at).is_some_and(|one| forms::key(&node).is_ok_and(|key| key == one.key))
                {
                    let found = paths.iter().filter_map(|path| Some((path.clone(), node.line_of(path)?)));
                    lines.insert(at, found.collect());
                }
                at += 1;
            });
        }
        lines
    }

    /// Each file, with the places of the resources that stand in it.
    fn spans(&self) -> impl Iterator<Item = (&Source, Range<usize>)> {
        let ends = self.sources.iter().skip(1).map(|next| next.first).chain([self.desired.len()]);
        self.sources.iter().zip(ends).map(|(source, end)| (source, source.first..end))
    }

    /// The file that a resource stands in.
    fn source(&self, at: usize) -> Option<&Source> {
        let after = self.sources.partition_point(|source| source.first <= at);
        self.sources.get(after.checked_sub(1)?)
    }

    /// How a value that came from elsewhere stands in the file.
    pub(super) fn written(&self, at: usize, path: &str) -> Option<&str> {
        self.filled.get(&at)?.get(&format!("spec.{path}")).map(|filled| filled.written.as_str())
    }

    /// The places of resources with values that came from elsewhere.
    pub(super) fn with_values(&self) -> impl Iterator<Item = usize> {
        self.filled.keys().copied()
    }
}
