use super::*;

#[test]
fn the_example_is_one() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("topologies/examples/webhook-fanout");
    let found = files::read(std::slice::from_ref(&folder)).unwrap_or_else(|failed| panic!("{failed:?}"));
    let wrong: Vec<String> = found.wrong().iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(elsewhere(&found.desired).is_empty());
    assert_eq!((found.desired.len(), found.missing.len()), (12, 1));
    assert!(found.missing[0].to_string().contains("ONCALL_SECRET"), "{}", found.missing[0]);
    run(&Validate { file: vec![folder] }).unwrap();
}

#[test]
fn every_file_of_the_example_names_the_schema_of_its_kind() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("topologies/examples/webhook-fanout");
    let mut open = vec![folder];
    let mut named = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let Some(schema) = text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema="))
        else {
            continue;
        };
        let kind = text.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap();
        assert!(schema.ends_with(&format!("/{kind}.json")), "{}: {schema}", path.display());
        assert!(path.parent().unwrap().join(schema).exists(), "{}: {schema}", path.display());
        named += 1;
    }
    assert_eq!(named, 10);
}
