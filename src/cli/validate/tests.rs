use std::path::PathBuf;

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

const EXAMPLES: [&str; 2] = ["webhook-fanout", "healthcare"];

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("topologies/examples").join(name)
}

fn validate(arguments: &[&str]) -> Validate {
    let cli = Cli::try_parse_from([&["tidegate", "validate"], arguments].concat()).unwrap();
    let Command::Validate(command) = cli.command else { panic!("not validate") };
    command
}

#[test]
fn the_examples_are_what_they_say() {
    let expected = [(12, vec!["ONCALL_SECRET"]), (22, vec![])];
    for (name, (count, missing)) in EXAMPLES.into_iter().zip(expected) {
        let folder = example(name);
        let command = validate(&[folder.to_str().unwrap()]);
        let found = command.paths.read().unwrap();
        let wrong: Vec<String> = found.wrong().iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(elsewhere(&found.desired).is_empty(), "{name}");
        assert_eq!((found.desired.len(), found.missing.len()), (count, missing.len()), "{name}");
        for (found, variable) in found.missing.iter().zip(missing) {
            assert!(found.to_string().contains(variable), "{found}");
        }
        run(&command).unwrap();
    }
}

#[test]
fn every_file_of_the_examples_names_the_schema_of_its_kind() {
    let mut open: Vec<PathBuf> = EXAMPLES.into_iter().map(example).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let schema = first.strip_prefix("# yaml-language-server: $schema=");
        let schema = schema.unwrap_or_else(|| panic!("{} begins with {first}", path.display()));
        let kind = text.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap();
        assert!(schema.ends_with(&format!("/{kind}.json")), "{}: {schema}", path.display());
        assert!(path.parent().unwrap().join(schema).exists(), "{}: {schema}", path.display());
    }
}
