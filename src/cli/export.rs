//! `tidegate export`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use indicatif::ProgressBar;
use reqwest::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Common;
use super::client::{Reach, cause};
use super::exit::Exit;
use super::files;
use super::output;
use super::serve::until_ended;
use super::validate::counted;
use crate::catalog::Kind;
use crate::catalog::apply;
use crate::catalog::schema::lean;
use crate::config::Flags;
use crate::model::ids::ResourceId;

/// Write the catalog as files that `tidegate apply` takes
#[derive(Args, Debug)]
#[command(
    long_about = "Write the catalog as files that `tidegate apply` takes: a YAML file for each resource, `<kind>/<id>.yaml`, or one \
    stream on standard output. What is at its default is left out; users and API keys are not kept in files.\n\n\
    Secrets are written sealed, `sealed:<key id>:...`: a gateway with the same TIDEGATE_SECRET_KEY (or TIDEGATE_SECRET_KEY_PREVIOUS) \
    takes them so.\n\n\
    The JSON Schemas go into `schemas` in the same folder, where the first line of each file names its own: editors that know YAML \
    complete and check by it.\n\n\
    The API key is TIDEGATE_ADMIN_KEY, else what `tidegate dev` keeps in the data folder (.tidegate/admin.key).",
    after_help = "Examples:\n  tidegate export -o catalog/\n  tidegate export --org 648 --kind OutboundIntegration\n  \
    tidegate export | tidegate apply -f - --api http://other:8080\n\n\
    Exit codes: 0 done, 1 failed, 2 wrong usage or key, 3 no gateway answers."
)]
pub(super) struct Export {
    /// A folder, which is made where it is not there; `-` is standard output
    #[arg(short, long, value_name = "DIR", default_value = "-")]
    output: PathBuf,
    /// Only of this organization
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// Only of this kind
    #[arg(long, value_name = "KIND", ignore_case = true, value_parser = kinds())]
    kind: Option<Kind>,
    /// Where the JSON Schemas are, as a path from the file or a URL; they are not written then [default: ../schemas]
    #[arg(long, value_name = "PATH")]
    schemas: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = Kind> {
    let names: Vec<&'static str> = Kind::configuration().map(Kind::name).collect();
    PossibleValuesParser::new(names).try_map(|name| {
        Kind::configuration().find(|kind| kind.name().eq_ignore_ascii_case(&name)).ok_or("is not a kind")
    })
}

/// A resource as the gateway exports it. Its kind and its id name a file: no other text comes through.
#[derive(Deserialize)]
struct One {
    #[serde(deserialize_with = "kind")]
    kind: Kind,
    #[serde(deserialize_with = "id")]
    id: ResourceId,
    spec: Value,
}

fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<Kind, D::Error> {
    let name = String::deserialize(from)?;
    Kind::parse(&name).ok_or_else(|| D::Error::custom(format!("`{name}` is no kind of resource")))
}

fn id<'de, D: Deserializer<'de>>(from: D) -> Result<ResourceId, D::Error> {
    ResourceId::parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn run(common: &Common, command: &Export) -> Result<(), Exit> {
    let api = command.reach.api(&common.load(Flags::new())?)?;
    until_ended(async {
        let kind = command.kind.map(|kind| kind.name().to_owned());
        let query = [("orgId", command.org.clone()), ("kind", kind)];
        let query: Vec<_> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let answer = api.download(api.url(&["admin", "catalog", "export"], &query)).await?;
        if answer.status() != StatusCode::OK {
            let answer = answer.whole().await.map_err(|error| api.unreachable(&cause(&error)))?;
            return Err(api.refusal(&answer, "api"));
        }
        let answer = api.of_a_gateway(answer)?;
        let mut written = Written::new(command)?;
        let read = |one: &[u8]| {
            serde_json::from_slice::<One>(one)
                .map_err(|e| Exit::Failed(format!("the gateway's answer is not understood: {e}")))
        };
        answer.items("resources", |one| written.take(&read(one)?)).await?;
        if let (0, Some(org), None) = (written.count, &command.org, command.kind) {
            return Err(Exit::Failed(format!("the gateway has no organization `{org}`")));
        }
        written.end();
        Ok(())
    })
}

/// What an export has written so far.
struct Written<'a> {
    command: &'a Export,
    files: BTreeSet<PathBuf>,
    count: usize,
    /// Somebody reads on.
    wanted: bool,
    bar: ProgressBar,
}

impl<'a> Written<'a> {
    fn new(command: &'a Export) -> Result<Written<'a>, Exit> {
        let written = Written {
            command,
            files: BTreeSet::new(),
            count: 0,
            wanted: true,
            bar: output::bar(ProgressBar::no_length(), "{pos} resources {elapsed}"),
        };
        if !written.is_stream() {
            written.schemas().map_err(fault)?;
        }
        Ok(written)
    }

    fn is_stream(&self) -> bool {
        self.command.output.as_os_str() == "-"
    }

    fn schemas(&self) -> Result<(), (PathBuf, io::Error)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |e| (path, e)
        };
        let folder = &self.command.output;
        fs::create_dir_all(folder).map_err(at(folder))?;
        if self.command.schemas.is_none() {
            let schemas = folder.join("schemas");
            fs::create_dir_all(&schemas).map_err(at(&schemas))?;
            for kind in Kind::configuration() {
                let path = schemas.join(format!("{kind}.json"));
                fs::write(&path, apply::schema_text(kind)).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, one: &One) -> Result<(), Exit> {
        if self.is_stream() {
            if self.wanted {
                let between = if self.count == 0 { "" } else { "---\n" };
                self.wanted = output::print_more(&(between.to_owned() + &one.text(self.command.schemas.as_deref())))?;
            }
        } else {
            self.files.insert(self.file(one).map_err(fault)?);
            self.bar.inc(1);
        }
        self.count += 1;
        Ok(())
    }

    fn file(&self, one: &One) -> Result<PathBuf, (PathBuf, io::Error)> {
        let kind = self.command.output.join(one.kind.name());
        fs::create_dir_all(&kind).map_err(|e| (kind.clone(), e))?;
        let path = kind.join(format!("{}.yaml", one.id));
        let schemas = self.command.schemas.as_deref().unwrap_or("../schemas");
        fs::write(&path, one.text(Some(schemas))).map_err(|e| (path.clone(), e))?;
        Ok(path)
    }

    /// Says what there is, and what was left of another export.
    fn end(&self) {
        self.bar.finish_and_clear();
        if self.count == 0 {
            eprintln!("note: the gateway has no such resource");
        }
        if self.is_stream() {
            return;
        }
        let others = others(&self.command.output, &self.files);
        for other in others.iter().take(10) {
            eprintln!("note: {} is not of this export: delete it if what it holds is gone", other.display());
        }
        if others.len() > 10 {
            eprintln!("note: and so are {} more", others.len() - 10);
        }
        eprintln!("{} in {}", counted(self.count, "resource"), self.command.output.display());
    }
}

fn fault((path, error): (PathBuf, io::Error)) -> Exit {
    Exit::Failed(format!("{}: {error}", path.display()))
}

/// Files of resources that are there beside those that were written: an earlier export's, as a rule.
fn others(folder: &Path, written: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let read = fs::read_dir(folder).into_iter().flatten();
        read.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    let folders = Kind::configuration().map(|kind| folder.join(kind.name()));
    let files = folders.flat_map(|folder| entries(&folder));
    let yaml = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "yaml");
    files.filter(|path| yaml(path) && !written.contains(path)).collect()
}

impl One {
    /// As a document of YAML.
    fn text(&self, schemas: Option<&str>) -> String {
        let mut spec = self.spec.clone();
        lean(self.kind, &mut spec);
        escape(&mut spec);
        let head = schemas.map(|at| format!("# yaml-language-server: $schema={at}/{}.json\n", self.kind));
        head.unwrap_or_default() + &yaml(&json!({"kind": self.kind.name(), "id": self.id, "spec": spec}))
    }
}

/// A text that looks like a reference to the environment is none.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = files::escaped(text),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(fields) => fields.values_mut().for_each(escape),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// YAML that is read as the same again; where the writer knows no such form, JSON, which is YAML too once it has no character that
/// YAML does not print (YAML 1.2.2, 5.1). Those are in its texts alone.
fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).ok().map(|text| text.trim_end().to_owned() + "\n");
    let same = |text: &String| files::documents(text).is_some_and(|read| read.as_slice() == [value.clone()]);
    text.filter(same).unwrap_or_else(|| {
        let mut json = String::new();
        for c in format!("{value:#}\n").chars() {
            match c {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                    json += &format!("\\u{:04x}", u32::from(c));
                }
                c => json.push(c),
            }
        }
        json
    })
}

#[cfg(test)]
mod tests;
