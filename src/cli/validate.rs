//! `tidegate validate`.

use clap::Args;

use super::exit::Exit;
use super::files::{self, Paths, Resources};
use super::output;
use crate::catalog::apply::elsewhere;

/// Notes that are shown.
const SHOWN: usize = 20;

/// Say what is wrong with files of resources, without a gateway
#[derive(Args, Debug)]
#[command(
    long_about = "Say what is wrong with files of resources, without a gateway: form, fields, values, what is there twice, and names \
    of what is in none of the files. A name is held against the files alone where they hold its organization; else the gateway may \
    have it.\n\n\
    A file holds resources as YAML or JSON: `kind`, `id` and `spec`, one or several documents, a list, or what the API exports. Of a \
    folder every .yaml, .yml and .json file is read, those below it too, but for folders named `schemas` and what begins with a dot. \
    `-` is standard input. `${env:NAME}` and `${file:path}` in a text are filled in where they are there; where they are not, the \
    value cannot be judged, and is told.",
    after_help = "Examples:\n  tidegate validate -f catalog/\n  tidegate validate -f bills.yaml clinic.yaml\n\n\
    Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage or no such file."
)]
pub(super) struct Validate {
    #[command(flatten)]
    paths: Paths,
}

pub(super) fn run(command: &Validate) -> Result<(), Exit> {
    let found = command.paths.read()?;
    let wrong = found.wrong();
    if !wrong.is_empty() {
        return Err(files::tell(wrong, ""));
    }
    found.note_where_nothing_is();
    note(&found);
    output::print(&format!(
        "{} in {}: all well\n",
        counted(found.desired.len(), "resource"),
        counted(found.files(), "file")
    ))
}

/// What only a gateway, or the place where it is applied from, can tell.
fn note(found: &Resources) {
    for missing in found.missing.iter().take(SHOWN) {
        eprintln!("note: {missing}");
    }
    let elsewhere = elsewhere(&found.desired);
    if !elsewhere.is_empty() {
        let named: Vec<&str> = elsewhere.iter().map(|org| org.as_str()).take(SHOWN).collect();
        eprintln!("note: the gateway has to have what is in no file: organization {}", named.join(", "));
    }
}

pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests;
