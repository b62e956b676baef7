//! Reads the sources and holds what no lint can: who may import whom, sizes, and marks that finished code does not carry.
//! Every finding says what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/code.rs"]
mod code;

use code::{Source, code_only};

const SOFT_LINES: usize = 400;
const HARD_LINES: usize = 800;

/// From above to below. A room imports those on lower levels, never one beside it.
const LEVELS: [&[&str]; 8] = [
    &["main"],
    &["cli"],
    &["app"],
    &["api", "inbound"],
    &["ingest", "matching", "transform", "lanes", "deliver", "timers", "jobs"],
    &["catalog", "history"],
    &["stream"],
    &["model"],
];

/// Rooms beside the levels: who may import them, and what they may import themselves.
const ASIDE: [(&str, Importers, &[&str]); 7] = [
    ("kafka", Importers::Only(&["app"]), &["stream", "model", "topology", "telemetry"]),
    ("embedded", Importers::Only(&["app"]), &["sqlite", "stream", "model", "topology", "telemetry"]),
    ("sqlite", Importers::Only(&["embedded", "history"]), &[]),
    ("config", Importers::Only(&["main", "cli", "app"]), &["model", "telemetry"]),
    ("topology", Importers::Only(&["main", "cli", "app", "kafka", "embedded"]), &["model"]),
    (
        "bench",
        Importers::Only(&["main", "cli"]),
        &["app", "history", "stream", "model", "topology", "telemetry", "config"],
    ),
    ("telemetry", Importers::All, &["model"]),
];

#[derive(Clone, Copy)]
enum Importers {
    All,
    Only(&'static [&'static str]),
}

#[test]
fn imports_point_down() {
    hold(Source::under("src").iter().flat_map(imports_against_the_levels).collect());
}

#[test]
fn no_file_outgrows_its_idea() {
    let mut wrong = Vec::new();
    for source in Source::under("src").into_iter().chain(Source::under("tests")) {
        let lines = source.text.lines().count();
        if lines > HARD_LINES {
            wrong.push(format!(
                "{}: {lines} lines; over {HARD_LINES} it holds several ideas: give each its file",
                source.path
            ));
        } else if lines > SOFT_LINES {
            eprintln!("{}: {lines} lines; over {SOFT_LINES}, perhaps two ideas in one room", source.path);
        }
    }
    hold(wrong);
}

#[test]
fn no_marks_of_unfinished_code() {
    hold(Source::under("src").iter().chain(&Source::under("tests")).flat_map(marks).collect());
}

#[test]
fn no_task_without_an_owner() {
    hold(Source::under("src").iter().chain(&Source::under("tests")).flat_map(dropped_handles).collect());
}

#[test]
fn no_em_dash() {
    let mut wrong = Vec::new();
    for path in texts(Path::new(".")) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (at, line) in text.lines().enumerate().filter(|(_, line)| line.contains('\u{2014}')) {
            let path = path.display();
            wrong.push(format!(
                "{path}:{}: an em-dash; make it a full stop, a comma or a colon: {}",
                at + 1,
                line.trim()
            ));
        }
    }
    hold(wrong);
}

#[test]
fn the_code_map_of_the_readme_is_true() {
    match fs::read_to_string("README.md") {
        Ok(readme) => hold(code_map(&readme, &rooms(), |name| Path::new(name).exists())),
        Err(_) => hold(vec!["README.md is missing: what it is, two commands, a first success, a code map".into()]),
    }
}

// ---- the rules ------------------------------------------------------------------------------------------------------

fn imports_against_the_levels(source: &Source) -> Vec<String> {
    let room = source.room();
    if room == "lib" {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for (line, imported) in source.imports() {
        let at = format!("{}:{line}: {room} imports {imported}", source.path);
        if imported == room {
            continue;
        }
        match may_import(&room, &imported) {
            None => wrong.push(format!("{at}: one of them stands on no level; give it a place in LEVELS or ASIDE of tests/tidy.rs")),
            Some(true) => {}
            Some(false) if is_level(&room, 3) && is_level(&imported, 3) => wrong.push(format!(
                "{at}: stages meet in topics, not in code; move what both need to model, stream or catalog, or let app join them"
            )),
            Some(false) => wrong.push(format!(
                "{at}, against the direction main, cli -> app -> stages -> catalog, history -> stream -> model; move the shared part \
                 down, or take it as a parameter that app passes"
            )),
        }
    }
    wrong
}

/// `None`: one of the rooms is not in the tables.
fn may_import(room: &str, imported: &str) -> Option<bool> {
    let aside = |name: &str| ASIDE.iter().find(|(each, ..)| *each == name);
    let level = |name: &str| LEVELS.iter().position(|rooms| rooms.contains(&name));
    if let Some((_, _, below)) = aside(room) {
        aside(imported).map(|_| ()).or(level(imported).map(|_| ()))?;
        return Some(below.contains(&imported));
    }
    let above = level(room)?;
    if let Some((_, importers, _)) = aside(imported) {
        return Some(match importers {
            Importers::All => room != "model",
            Importers::Only(rooms) => rooms.contains(&room),
        });
    }
    Some(above < level(imported)?)
}

fn is_level(room: &str, level: usize) -> bool {
    LEVELS[level].contains(&room)
}

fn marks(source: &Source) -> Vec<String> {
    const EVERYWHERE: [(&str, &str); 8] = [
        ("#[ignore", "an ignored test is no test: mend it or delete it"),
        (
            "allow(",
            "an `allow` outlives its cause: use #[expect(lint, reason = \"...\")], which says when it is not needed any more",
        ),
        ("todo!", "finish it, or leave it out"),
        ("unimplemented!", "finish it, or leave it out"),
        ("dbg!", "use tracing"),
        ("unbounded_channel", "every queue has a bound: use `channel(n)`, and count bytes where records are large"),
        ("UnboundedSender", "every queue has a bound: use `Sender`, and count bytes where records are large"),
        ("std::sync::mpsc::channel", "every queue has a bound: use `sync_channel(n)`"),
    ];
    let mut wrong = Vec::new();
    let tests_from = source.tests_from();
    for (at, line) in source.code.lines().enumerate() {
        let mut found =
            |what: &str, advice: &str| wrong.push(format!("{}:{}: `{what}`: {advice}", source.path, at + 1));
        for (mark, advice) in EVERYWHERE {
            let attribute = line.trim_start().starts_with("#[") || line.trim_start().starts_with("#![");
            if line.contains(mark) && (mark != "allow(" || attribute) {
                found(mark, advice);
            }
        }
        if source.room() == "cli" && prints(line) {
            found("print!", "it panics where a pipe was closed: use `output::print`, or `output::say` in what goes on");
        }
        if at >= tests_from && line.contains("sleep(") {
            found(
                "sleep(",
                "a test waits for what it means: a notification, a channel, a moved clock, with a deadline",
            );
        }
    }
    wrong
}

/// To standard output; what goes to standard error has a letter more.
fn prints(line: &str) -> bool {
    let at = |mark: &str| line.match_indices(mark).any(|(start, _)| !line[..start].ends_with('e'));
    at("println!") || at("print!")
}

/// A statement that is nothing but a spawn: nobody will join the task, stop it, or hear that it died.
fn dropped_handles(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for spawn in ["tokio::spawn(", "task::spawn(", "spawn_blocking(", "thread::spawn("] {
        for (start, _) in source.code.match_indices(spawn) {
            if code::is_dropped_statement(&source.code, start) {
                let line = source.code[..start].lines().count().max(1);
                wrong.push(format!(
                    "{}:{line}: the handle of `{spawn}...)` is dropped: own the task in a JoinSet, a TaskTracker or a field, and join it",
                    source.path
                ));
            }
        }
    }
    wrong
}

/// Names in the section "Code map": each exists, and each room of the sources has its line.
fn code_map(readme: &str, rooms: &BTreeSet<String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let section: Vec<&str> = readme
        .lines()
        .skip_while(|line| !(line.starts_with('#') && line.to_lowercase().contains("code map")))
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .collect();
    if section.is_empty() {
        return vec!["README.md: there is no section \"Code map\": one line for each folder of src".into()];
    }
    let named: BTreeSet<&str> = section
        .iter()
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || "`|,()".contains(c)))
        .filter(|word| word.ends_with('/') || word.ends_with(".rs") || word.ends_with(".yaml"))
        .collect();
    for name in &named {
        if !exists(name) && !exists(&format!("src/{name}")) {
            wrong.push(format!("README.md: the code map names `{name}`, which does not exist: mend the line"));
        }
    }
    for room in rooms {
        let listed = |form: String| named.contains(form.as_str());
        if !["", "src/"].iter().any(|at| listed(format!("{at}{room}/")) || listed(format!("{at}{room}.rs"))) {
            wrong.push(format!("README.md: the code map does not say what `src/{room}` is: add a line"));
        }
    }
    wrong
}

// ---- what is read ---------------------------------------------------------------------------------------------------

fn rooms() -> BTreeSet<String> {
    Source::under("src").iter().map(Source::room).filter(|room| room != "lib").collect()
}

fn texts(folder: &Path) -> Vec<PathBuf> {
    const NOT_OURS: [&str; 6] = ["target", "node_modules", "dist", ".git", ".scratch", ".tidegate"];
    const TEXT: [&str; 14] =
        ["rs", "md", "toml", "yaml", "yml", "json", "jsonl", "sh", "py", "ts", "tsx", "xml", "properties", ""];
    let mut found = Vec::new();
    for path in code::entries(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if NOT_OURS.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            found.extend(texts(&path));
        } else if TEXT.contains(&path.extension().unwrap_or_default().to_string_lossy().as_ref()) {
            found.push(path);
        }
    }
    found
}

fn hold(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n\n{}\n", wrong.join("\n"));
}

// ---- the rules catch what they are for ------------------------------------------------------------------------------

#[test]
fn a_rule_that_catches_nothing_is_noticed() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into(), code: code_only(text) };
    let imports = [
        ("src/deliver/mod.rs", "use crate::ingest::accept;", 1),
        ("src/deliver/mod.rs", "use crate::{lanes, model::ids::OrgId};", 1),
        ("src/stream/log.rs", "fn f() { crate::catalog::snapshot() }", 1),
        ("src/api/mod.rs", "use crate::kafka::Engine;", 1),
        ("src/model/ids.rs", "use crate::telemetry::X;", 1),
        ("src/nowhere/mod.rs", "use crate::model::ids::OrgId;", 1),
        ("src/app.rs", "use crate::kafka::Engine; use crate::deliver::Stage;", 0),
        (
            "src/deliver/mod.rs",
            "// crate::ingest\nuse crate::deliver::auth; use crate::{model::{ids, time}, stream};",
            0,
        ),
    ];
    for (path, text, expected) in imports {
        let found = imports_against_the_levels(&source(path, text));
        assert_eq!(found.len(), expected, "{path}: {text}: {found:?}");
    }
    let marked = [
        ("src/a.rs", "#[ignore = \"slow\"]", 1),
        ("src/a.rs", "#![allow(dead_code)]", 1),
        ("src/a.rs", "fn f() { todo!() }", 1),
        ("src/a.rs", "let (tx, rx) = mpsc::unbounded_channel();", 1),
        ("src/a.rs", "sleep(d).await;\n#[cfg(test)]\nmod tests { fn f() { sleep(d) } }", 1),
        ("src/a/tests.rs", "tokio::time::sleep(d).await", 1),
        ("tests/a.rs", "thread::sleep(d)", 1),
        ("src/cli/a.rs", "fn f() { println!(); print!() }", 1),
        ("src/cli/a.rs", "fn f() { eprintln!(); output::print(s); }", 0),
        ("src/a.rs", "let s = \"todo!\"; // todo!\nguard.allow(host); r#\"#[ignore\"#; 'a'; '\"'", 0),
    ];
    for (path, text, expected) in marked {
        let found = marks(&source(path, text));
        assert_eq!(found.len(), expected, "{path}: {text}: {found:?}");
    }
    let spawned = [
        ("fn f() { tokio::spawn(async move { g(); }); }", 1),
        ("fn f() { let _ = tokio::spawn(g()); }", 1),
        ("fn f() { drop(thread::spawn(g)); }", 1),
        ("fn f() { let task = tokio::spawn(g()); task.await }", 0),
        ("fn f() -> JoinHandle<()> { tokio::spawn(g()) }", 0),
        ("fn f() { tokio::spawn(g()).await; }", 0),
        ("fn f() { tokio::task::spawn_blocking(g).await; }", 0),
        ("fn f() { S { task: tokio::spawn(g()) }; }", 0),
    ];
    for (text, expected) in spawned {
        let found = dropped_handles(&source("src/a.rs", text));
        assert_eq!(found.len(), expected, "{text}: {found:?}");
    }
    let rooms = BTreeSet::from(["model".to_string(), "app".to_string()]);
    let exists = |name: &str| name == "src/model/" || name == "src/app.rs";
    assert_eq!(
        code_map("# T\n## Code map\n| `model/` | x |\n| `app.rs` | y |\n## Next\n`gone/`", &rooms, exists).len(),
        0
    );
    assert_eq!(code_map("# T\n## Code map\n| `model/` | x |\n| `gone/` | y |", &rooms, exists).len(), 2);
}
