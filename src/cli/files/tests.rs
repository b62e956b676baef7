use std::path::Path;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn read(paths: &[PathBuf]) -> Result<Resources, Exit> {
    Paths { file: paths.to_vec(), path: Vec::new() }.read()
}

/// What is wrong, without the folder's name.
fn told(folder: &Path) -> Vec<String> {
    let found = read(&[folder.to_owned()]).unwrap();
    let wrong = found.missing.iter().cloned().chain(found.wrong());
    wrong.map(|one| one.to_string().replace(&format!("{}/", folder.display()), "")).collect()
}

const CLINIC: &str = "kind: Organization\nid: 648\nspec:\n  name: City Clinic\n";

#[test]
fn every_form_of_a_file_is_read_and_what_is_no_resource_passed_over() {
    let yaml = format!("---\n{CLINIC}---\n---\nkind: OrgUnit\nid: ward\nspec: {{orgId: 648, name: Ward}}\n");
    let json = r#"{"resources": [{"kind": "Template", "id": "t", "spec": {"orgId": "648", "name": "T", "integration": {}}}], "position": 7}"#;
    let list = "- {kind: EventType, id: e, spec: {orgId: '648', eventType: a.b}}\n";
    let found = folder(&[
        ("a.yaml", &yaml),
        ("b/c.json", json),
        ("b/d.yml", list),
        ("schemas/Organization.json", "{}"),
        (".git/x.yaml", "x: 1"),
        ("README.md", "# no"),
    ]);
    let read = read(&[found.path().to_owned()]).unwrap();
    let keys: Vec<_> = read.desired.iter().map(|one| one.key.to_string()).collect();
    assert_eq!(keys, ["Organization/648", "OrgUnit/ward", "Template/t", "EventType/e"]);
    assert_eq!((read.files(), told(found.path())), (3, vec![]));
}

/// A few lines that come to a hundred million values.
fn bomb() -> String {
    let tens = |of: &str| [of; 10].join(", ");
    let row = |n: u32| format!("l{n}: &l{n} [{}]\n", tens(&format!("*l{}", n - 1)));
    format!("l0: &l0 [{}]\n{}", tens("x"), (1..8).map(row).collect::<String>())
}

#[test]
fn a_json_document_is_read_resource_by_resource_whatever_its_form() {
    let one = |id: &str| {
        format!(r#"{{"kind": "EventType", "id": "{id}", "spec": {{"orgId": "648", "eventType": "a.{id}"}}}}"#)
    };
    let list = format!("[{}, [{}], null]", one("a"), one("b"));
    let forms = [
        (one("a"), vec!["a"]),
        (list.clone(), vec!["a", "b"]),
        (format!(r#"{{"position": 7, "resources": {list}, "more": {{"resources": [1]}}}}"#), vec!["a", "b"]),
        (format!("[{}, {{\"resources\": [{}]}}]", one("a"), one("b")), vec!["a", "b"]),
        ("null".to_owned(), vec![]),
    ];
    for (text, expected) in forms {
        let found = folder(&[("a.json", &text)]);
        let read = read(&[found.path().to_owned()]).unwrap();
        assert_eq!(read.desired.iter().map(|one| one.key.id.as_str()).collect::<Vec<_>>(), expected, "{text}");
        assert_eq!(read.wrong(), [], "{text}");
    }
    let wrong = [
        (format!("[{},\n 5]", one("a")), "a.json:2: must be a resource"),
        (format!("[{},\n {{\"kind\": \"EventTyp\"}}]", one("a")), "a.json:2: kind `EventTyp` is not known"),
        (format!("[{},\n {}", one("a"), one("b")), "a.json:2: is not JSON: "),
        (format!("{}\n {}", one("a"), one("b")), "a.json:2: is not JSON: "),
        (
            format!("[{},\n {}]", one("a"), one("b").replace("648", "${env:NO_SUCH_ONE}")),
            "a.json:2: EventType/b: spec.orgId needs",
        ),
    ];
    for (text, expected) in wrong {
        let told = told(folder(&[("a.json", &text)]).path());
        assert!(told.first().is_some_and(|told| told.starts_with(expected)), "{text}: {told:?}");
    }
}

#[test]
fn a_file_in_another_encoding_is_told_with_the_line_beside_all_else() {
    let found = folder(&[("a.yaml", "kind: Organisation\nid: a\nspec: {}\n"), ("c.yaml", CLINIC)]);
    std::fs::write(found.path().join("b.yaml"), b"kind: Organization\nid: cafe\nspec:\n  name: Caf\xe9\n").unwrap();
    let told = told(found.path());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].starts_with("b.yaml:4: is not UTF-8 (byte 0xe9): save it as UTF-8"), "{told:?}");
    let other = folder(&[
        ("crlf.yaml", &CLINIC.replace('\n', "\r\n")),
        ("mark.yaml", "\u{feff}kind: EventType\nid: e\nspec: {orgId: '648', eventType: a}\n"),
    ]);
    let read = read(&[other.path().to_owned()]).unwrap();
    assert_eq!((read.desired.len(), read.wrong()), (2, vec![]));
    assert_eq!(read.desired[0].spec(), serde_json::json!({"name": "City Clinic"}));
}

#[test]
fn what_is_wrong_is_told_with_file_line_path_and_reason() {
    let hook = |spec: &str| format!("{CLINIC}---\nkind: OutboundIntegration\nid: bills\nspec:\n  orgId: 648\n{spec}");
    let good = "  name: B\n  eventType: [a]\n  targetUrl: https://a.example\n";
    let cases: [(String, &[&str]); 20] = [
        (
            "kind: Organisation\nid: a\nspec: {}\n".into(),
            &["a.yaml:1: kind `Organisation` is not known; did you mean `Organization`?"],
        ),
        ("kind: User\nid: a\nspec: {}\n".into(), &["a.yaml:1: kind must be one of Organization, OrgUnit,"]),
        ("kind: Organization\nspec: {name: A}\n".into(), &["a.yaml:1: id is required"]),
        ("kind: Organization\nid: a/b\nspec: {name: A}\n".into(), &["a.yaml:2: id must be 1-128"]),
        (
            "kind: Organization\nid: 007\nspec: {name: A}\n".into(),
            &["a.yaml:2: id must be 1-128 of A-Z a-z 0-9 . _ : -; what is a number"],
        ),
        (
            "kind: Organization\nid: true\nspec: {name: A}\n".into(),
            &["a.yaml:2: id must be 1-128 of A-Z a-z 0-9 . _ : -; what"],
        ),
        ("kind: Organization\nid: a\nname: A\nspec: {name: A}\n".into(), &["a.yaml:3: name belongs into the spec"]),
        ("a\n".into(), &["a.yaml:1: must be a resource: `kind`, `id` and `spec`"]),
        ("kind: Organization\nid: a\nspec: [\n".into(), &["a.yaml:3: is not YAML: unclosed bracket"]),
        (
            "kind: Organization\nid: a\nid: b\nspec: {}\n".into(),
            &["a.yaml:3: is not YAML: the field `id` is there twice"],
        ),
        (
            "kind: Organization\nid: a\nspec:\n  name: a: b\n".into(),
            &[
                "a.yaml:4: is not YAML: mapping values are not allowed in this context; indent it as the fields beside it, and put a text",
            ],
        ),
        (
            "kind: Organization\nid: a\nspec:\n\tname: a\n".into(),
            &["a.yaml:4: is not YAML: tabs disallowed within this context (block indentation); indent with spaces"],
        ),
        (
            "kind: Organization\nid: a\nspec:\n  name: \"a\n  description: b\n".into(),
            &["a.yaml:5: is not YAML: invalid indentation in multiline quoted scalar; is a quote missing above?"],
        ),
        // What stands before is told all the same.
        (
            "kind: Organisation\nid: a\nspec: {}\n---\nkind: [\n".into(),
            &["a.yaml:1: kind `Organisation` is not known", "a.yaml:5: is not YAML: unclosed bracket"],
        ),
        (bomb(), &["a.yaml:6: is not YAML: alias replay limit"]),
        (
            hook("  name: B\n  eventTypes: [a]\n  targetUrl: erp\n"),
            &[
                "a.yaml:9: OutboundIntegration/bills: spec.eventType is required",
                "a.yaml:12: OutboundIntegration/bills: spec.targetUrl must be a URL",
                "a.yaml:11: OutboundIntegration/bills: spec.eventTypes is not a known field; did you mean `eventType`?",
            ],
        ),
        (
            hook(&format!("{good}  retry:\n    delays: [1s, soon]\n")),
            &["a.yaml:14: OutboundIntegration/bills: spec.retry.delays[1] "],
        ),
        (
            hook(&format!("{good}  orgUnitRid: ward\n")),
            &["a.yaml:13: OutboundIntegration/bills: spec.orgUnitRid names org unit `ward`"],
        ),
        (hook(&format!("{good}---\n{CLINIC}")), &["a.yaml:15: Organization/648: id organization `648` is there twice"]),
        (
            hook(&format!("{good}  isActive: yes\n")),
            &["a.yaml:13: OutboundIntegration/bills: spec.isActive must be true or false, not a string"],
        ),
    ];
    for (text, expected) in cases {
        let found = folder(&[("a.yaml", &text)]);
        let told = told(found.path());
        assert_eq!(told.len(), expected.len(), "{text}\n{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{text}\n{told}\n{expected}");
        }
    }
    let found = folder(&[("a.json", "{\n  \"kind\": \"Organization\",\n  \"id\": \"a\",\n  \"spec\": {}\n}")]);
    assert_eq!(told(found.path()), ["a.json:4: Organization/a: spec.name is required"]);
    let found = folder(&[("a.json", "{\"kind\": ")]);
    assert!(told(found.path())[0].starts_with("a.json:1: is not JSON: "));
}

#[test]
fn a_value_from_elsewhere_is_named_and_never_repeated() {
    // Every process has a path, which is no URL.
    let value = std::env::var("PATH").unwrap();
    let rule = |url: &str| {
        format!(
            "{CLINIC}---\nkind: AlertRule\nid: lost\nspec:\n  orgId: 648\n  name: Lost\n  condition: {{type: DEAD_LETTERS}}\n  \
             channels:\n  - type: WEBHOOK\n    url: {url}\n    secret: ${{env:TIDEGATE_TEST_NO_SUCH}}\n"
        )
    };
    let found = folder(&[("a.yaml", &rule("${env:PATH}"))]);
    let all = told(found.path());
    assert!(!all.concat().contains(&value), "{all:?}");
    assert_eq!(
        all[0],
        "a.yaml:15: AlertRule/lost: spec.channels[0].secret needs the environment variable TIDEGATE_TEST_NO_SUCH, which is not set"
    );
    assert!(all[1].starts_with("a.yaml:14: AlertRule/lost: spec.channels[0].url must be a URL"), "{all:?}");
    let missing = read(&[folder(&[("a.yaml", &rule("${file:gone}"))]).path().to_owned()]);
    assert_eq!(missing.unwrap().wrong(), [], "what is not known cannot be wrong");
    let found = folder(&[("a.yaml", &rule("${env:A"))]);
    assert!(told(found.path()).iter().any(|one| one.contains("has a `${` without a name")));
}

#[test]
fn a_file_that_is_no_yaml_hides_nothing_that_is_wrong_with_another() {
    let hook = "kind: OutboundIntegration\nid: bills\nspec:\n  orgId: 648\n  name: B\n  eventType: [a]\n  targetUrl: erp\n  \
                orgUnitRid: ward\n";
    let found = folder(&[
        ("a.yaml", "kind: Organization\nid: 648\nspec:\n  name: a: b\n"),
        ("b.yaml", CLINIC),
        ("c.yaml", hook),
        ("d.yaml", "kind: Organisation\nid: d\nspec: {}\n"),
    ]);
    let mut told = told(found.path());
    told.sort();
    let expected = [
        "a.yaml:4: is not YAML: mapping values",
        // Its unit may stand in the file that could not be read.
        "c.yaml:7: OutboundIntegration/bills: spec.targetUrl must be a URL",
        "d.yaml:1: kind `Organisation` is not known",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
}

#[test]
fn a_file_full_of_faults_leaves_room_for_those_of_others() {
    let wrong = |file: &str, line: u64| Wrong {
        file: file.into(),
        line: Some(line),
        of: None,
        path: "id".into(),
        message: "is required".into(),
    };
    let all = (1..=50).map(|line| wrong("a.yaml", line)).chain([wrong("b.yaml", 1)]).rev().collect();
    let lines = by_file(all);
    assert_eq!(
        (lines.len(), &*lines[0], &*lines[20], &*lines[21]),
        (22, "a.yaml:1: id is required", "a.yaml: and 30 more", "b.yaml:1: id is required")
    );
    let many = by_file((0..1_000).map(|n| wrong(&format!("{n:04}.yaml"), 1)).collect());
    assert_eq!((many.len(), many.last().map(String::as_str)), (101, Some("... and 900 more in other files")));
}

#[test]
fn a_folder_without_a_file_is_no_success() {
    let empty = folder(&[("README.md", "")]);
    assert!(matches!(read(&[empty.path().to_owned()]), Err(Exit::Usage(_))));
    assert!(matches!(read(&[empty.path().join("gone.yaml")]), Err(Exit::Usage(_))));
}

#[test]
fn what_is_there_twice_is_told_with_the_other_place_and_a_file_that_is_named_twice_is_read_once() {
    let found = folder(&[("a.yaml", &format!("# first\n{CLINIC}")), ("b/c.yaml", &format!("---\n---\n{CLINIC}"))]);
    assert_eq!(
        told(found.path()),
        [format!(
            "b/c.yaml:4: Organization/648: id organization `648` is there twice: first in {}:3",
            found.path().join("a.yaml").display()
        )
        .replace(&format!("{}/", found.path().display()), "")]
    );
    let path = found.path().join("a.yaml");
    let twice = read(&[path.clone(), found.path().join("b/../a.yaml"), path]).unwrap();
    assert_eq!((twice.files(), twice.desired.len(), twice.wrong()), (1, 1, vec![]));
}

#[test]
fn a_line_is_that_of_its_own_file_among_many_and_none_where_the_file_was_changed_since() {
    let unit = |id: usize, name: &str| format!("---\nkind: OrgUnit\nid: u{id}\nspec:\n  orgId: 648\n  {name}: U\n");
    let names = |n: usize| if n == 1_500 { "nmae" } else { "name" };
    let first = (0..1_000).map(|n| unit(n, names(n))).collect::<String>();
    let second = (1_000..2_000).map(|n| unit(n, names(n))).collect::<String>();
    let found = folder(&[("a.yaml", CLINIC), ("b.yaml", &first), ("c.yaml", &second)]);
    let all = read(&[found.path().to_owned()]).unwrap();
    let places = |all: &Resources| {
        let lines =
            all.wrong().into_iter().map(|wrong| (wrong.file.rsplit('/').next().unwrap().to_owned(), wrong.line));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(places(&all), [("c.yaml".to_owned(), Some(3_005)), ("c.yaml".to_owned(), Some(3_006))]);
    std::fs::write(found.path().join("c.yaml"), &first).unwrap();
    assert_eq!(places(&all), [("c.yaml".to_owned(), None), ("c.yaml".to_owned(), None)]);
    std::fs::remove_file(found.path().join("c.yaml")).unwrap();
    assert_eq!(places(&all)[0].1, None);
}

#[test]
fn a_pipe_with_a_fault_in_it_is_read_once_and_the_fault_told_with_its_line() {
    let folder = folder(&[]);
    let pipe = folder.path().join("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (told, reads) = std::sync::mpsc::sync_channel(1);
    let from = pipe.clone();
    let reading = std::thread::spawn(move || {
        let Ok(found) = read(&[from]) else { return };
        let _ = told.send(found.wrong().iter().map(Wrong::to_string).collect::<Vec<_>>());
    });
    std::fs::write(&pipe, format!("{CLINIC}---\nkind: EventType\nid: e\nspec:\n  orgId: '648'\n")).unwrap();
    let wrong = reads.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits for what comes no more");
    let at = format!("{}:", pipe.display());
    assert!(wrong.len() == 1 && wrong[0].starts_with(&at) && wrong[0].contains("spec.eventType"), "{wrong:?}");
    reading.join().unwrap();
}
