use clap::CommandFactory as _;

use super::*;

/// Shows every command below this one, and itself, with its words behind `tidegate`.
fn each(command: &clap::Command, path: &[&str], see: &mut impl FnMut(&clap::Command, &[&str])) {
    see(command, path);
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        each(below, &[path, &[below.get_name()]].concat(), see);
    }
}

/// The lines below `Examples:` in a help text.
fn examples(command: &clap::Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let below = text.split_once("Examples:\n").map_or("", |(_, below)| below);
    below.lines().take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

/// The words of every `tidegate` in a line for a shell: up to what a shell does with it, or what is said about it.
fn commands(line: &str) -> Vec<Vec<String>> {
    let begins = |at: &usize| *at == 0 || line[..*at].ends_with([' ', '(']);
    let starts = line.match_indices("tidegate ").map(|(at, _)| at).filter(begins);
    starts.map(|at| words(&line[at..])).collect()
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | ')' | '>' | '<' | '#') => break,
            // Two spaces: what follows is about it.
            (None, ' ') if word.is_empty() => return words,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, c) => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[test]
fn every_command_has_an_example_of_itself_and_no_example_is_refused() {
    each(&Cli::command(), &[], &mut |command, path| {
        let told: Vec<_> = examples(command).iter().flat_map(|line| commands(line)).collect();
        let of_itself = told.iter().any(|words| {
            words.len() > path.len()
                && words[1..].starts_with(&path.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        });
        assert!(of_itself, "`tidegate {} --help` has no example of it: {told:?}", path.join(" "));
        for words in told.iter().filter(|words| words.iter().all(|word| word != "--help")) {
            if let Err(refused) = Cli::try_parse_from(words) {
                panic!("an example of `tidegate {}` is refused: {words:?}\n{refused}", path.join(" "));
            }
        }
    });
}

#[test]
fn an_example_is_read_as_a_shell_would() {
    let cases = [
        ("tidegate dev --fresh    starts over", vec!["tidegate dev --fresh"]),
        ("KEY=$(tidegate key create --name 'a b')", vec!["tidegate key create --name a b"]),
        ("tidegate export | tidegate apply -f -", vec!["tidegate export", "tidegate apply -f -"]),
        ("source <(tidegate completions zsh)  x", vec!["tidegate completions zsh"]),
        ("cat ~/tidegate.toml", vec![]),
    ];
    for (line, expected) in cases {
        let read: Vec<String> = commands(line).iter().map(|words| words.join(" ")).collect();
        assert_eq!(read, expected, "{line}");
    }
}

#[test]
fn a_folder_without_its_flag_is_what_somebody_meant() {
    for command in ["apply", "validate"] {
        let parsed = |arguments: &[&str]| Cli::try_parse_from([&["tidegate", command], arguments].concat());
        for arguments in
            [&["catalog/"][..], &["-f", "catalog/"], &["-f", "a.yaml", "b.yaml"], &["a.yaml", "-f", "b.yaml"]]
        {
            assert!(parsed(arguments).is_ok(), "{command} {arguments:?}");
        }
        let refused = parsed(&[]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("<PATH>"), "{refused}");
    }
}

#[test]
fn so_long_ago_may_be_written_with_a_minus_wherever_a_time_is_taken() {
    for line in
        [&["tail", "events", "--from", "-1h"][..], &["logs", "--from", "-1h"], &["redrive", "--all", "--to", "-1h"]]
    {
        let parsed = Cli::try_parse_from([&["tidegate"], line].concat());
        assert!(parsed.is_ok(), "{line:?}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
    }
}

#[test]
fn the_first_help_says_what_is_there() {
    let help = <Cli as clap::CommandFactory>::command().render_help().to_string();
    assert!(help.starts_with("Tidegate, a Kafka-native event gateway: events in from REST and Kafka"), "{help}");
}
