use proptest::prelude::*;

use super::*;

fn texts() -> impl Strategy<Value = String> {
    let odd = [
        "",
        " ",
        "yes",
        "007",
        "1e3",
        "null",
        "~",
        "- a",
        "a: b",
        "# a",
        "a #b",
        "\"",
        "'",
        "a\nb",
        "a\n",
        "\n",
        "  a\n b\n",
        "${env:A}",
        "$${x}",
        "\u{1b}",
        "\u{85}",
        "\u{2028}",
        "é😀",
        "|",
        ">",
        "!x",
        "&a",
        "*a",
        "%",
        "@",
        "`",
        "{",
        "[",
        "2026-01-01",
        "\t",
        "a\tb",
        "\r\n",
    ];
    prop_oneof![proptest::sample::select(odd.to_vec()).prop_map(str::to_owned), "\\PC{0,40}", "(?s).{0,60}"]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((texts(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_a_resource_holds_is_read_from_its_file_as_it_was(value in values()) {
        let text = yaml(&json!({"spec": value}));
        prop_assert_eq!(files::documents(&text), Some(vec![json!({"spec": value})]), "{}", text);
    }
}

#[test]
fn a_file_is_what_a_person_would_write() {
    let one = One {
        kind: Kind::OutboundIntegration,
        id: ResourceId::parse("bills").unwrap(),
        spec: json!({"orgId": "648", "name": "Bills: all", "description": "", "labels": {"team": "erp"}, "isActive": true,
            "eventType": ["bill.*"], "targetUrl": "https://erp.example/${env:A}", "timeoutMs": 30000, "orgUnitRid": null}),
    };
    let expected = "# yaml-language-server: $schema=../schemas/OutboundIntegration.json\nkind: OutboundIntegration\nid: bills\n\
        spec:\n  orgId: \"648\"\n  name: \"Bills: all\"\n  labels:\n    team: erp\n  eventType:\n  - bill.*\n  \
        targetUrl: https://erp.example/$${env:A}\n";
    assert_eq!(one.text(Some("../schemas")), expected);
}

#[test]
fn no_gateway_says_where_on_this_machine_a_file_is_written() {
    let read =
        |kind: &str, id: &str| serde_json::from_value::<One>(json!({"kind": kind, "id": id, "spec": {}})).is_ok();
    assert!(read("Lookup", "branches"));
    for (kind, id) in [("/tmp/x", "a"), ("../Lookup", "a"), ("Lookup", "../../a"), ("Lookup", "a/b"), ("Lookup", "")] {
        assert!(!read(kind, id), "{kind} {id}");
    }
}

#[test]
fn a_character_that_yaml_does_not_print_is_read_from_the_file_all_the_same() {
    for c in
        ['\u{7f}', '\u{80}', '\u{85}', '\u{9f}', '\u{2028}', '\u{feff}', '\u{fffe}', '\u{ffff}', '\u{1fffe}', '\u{0}']
    {
        let value = json!({"spec": [format!("{c}"), format!("{c}\n"), "\n"]});
        assert_eq!(files::documents(&yaml(&value)), Some(vec![value.clone()]), "{c:?}");
    }
}
