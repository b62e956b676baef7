use std::collections::BTreeMap;
use std::path::Path;

use super::*;

fn declared() -> Declared {
    Declared::built_in(None).unwrap()
}

/// The brokers as `create` leaves them.
fn as_created(declared: &Declared) -> Actual {
    let topics = declared.topics().iter().map(|topic| {
        let config = topic.config().into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        (topic.topic, ActualTopic { partitions: topic.partitions, config })
    });
    Actual { prefix: "tidegate".into(), topics: topics.collect() }
}

/// The built-in file with one text replaced by another.
fn refused(from: &str, to: &str) -> String {
    assert!(BUILT_IN.contains(from), "{from}");
    Declared::parse(&BUILT_IN.replacen(from, to, 1), None).unwrap_err().to_string()
}

#[test]
fn the_built_in_file_says_what_the_design_says() {
    let declared = declared();
    let day = Duration::from_secs(86_400);
    for (topic, partitions, days) in [
        (Topic::Events, 12, Some(7)),
        (Topic::Deliveries, 12, Some(7)),
        (Topic::Retry, 12, None),
        (Topic::Dlq, 3, Some(30)),
        (Topic::Attempts, 6, Some(7)),
        (Topic::Rejected, 1, Some(30)),
        (Topic::Timers, 12, None),
        (Topic::Catalog, 1, None),
        (Topic::Checkpoints, 12, None),
        (Topic::Audit, 1, Some(365)),
    ] {
        let there = declared.topic(topic);
        assert_eq!((there.topic, there.partitions), (topic, partitions));
        let kept = match there.cleanup {
            Cleanup::Delete { retention, .. } => Some(retention),
            Cleanup::Compact { .. } => None,
        };
        assert_eq!(kept, days.map(|n| day * n), "{topic}");
        assert_eq!(there.max_message_bytes, 4 << 20);
    }
    assert_eq!(declared.retry, RetryPolicy::default());
}

#[test]
fn a_profile_changes_what_it_names_and_nothing_else() {
    let small = Declared::built_in(Some("small")).unwrap();
    assert_eq!(small.topic(Topic::Retry).partitions, small.topic(Topic::Deliveries).partitions);
    assert!(small.topic(Topic::Events).partitions < declared().topic(Topic::Events).partitions);
    assert_eq!(small.topic(Topic::Events).cleanup, declared().topic(Topic::Events).cleanup);
    let unknown = Declared::built_in(Some("smal")).unwrap_err().to_string();
    assert!(unknown.contains("no profile `smal`; it has: small"), "{unknown}");
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line_and_a_suggestion() {
    let line = |text: &str| BUILT_IN.lines().position(|line| line.contains(text)).unwrap() + 1;
    let at = line("noSizeLimit");
    let cases = [
        (
            "noSizeLimit",
            "noSizLimit",
            format!("line {at}: `noSizLimit` is not a key here; did you mean `noSizeLimit`?"),
        ),
        ("  timers:", "  timer:", "`timer` is not known here; did you mean `timers`?".to_string()),
        ("cleanup: compact", "cleanup: shrink", "`shrink` is not known here; known: delete, compact".to_string()),
        ("retention: 7d", "retention: 7 days", "`7 days` must be a duration".to_string()),
        ("version: 1", "version: 2", "another release".to_string()),
        ("partitions: 3\n", "partitions: 0\n", "topic dlq: `partitions` must be 1-10000".to_string()),
        ("replication: -1", "replication: 0", "`replication` must be 1-16".to_string()),
        ("maxMessageBytes: 4194304", "maxMessageBytes: 1000000", "`maxMessageBytes` must be".to_string()),
        (
            "    partitions: 12\n    cleanup: delete\n    noS",
            "    partitions: 9\n    cleanup: delete\n    noS",
            "topic retry".to_string(),
        ),
        (
            "    cleanup: delete\n    noS",
            "    cleanup: delete\n    retention: 1d\n    noS",
            "longest retry delay and a day".to_string(),
        ),
        ("    segment: 1h\n", "", "topic retry needs `segment`".to_string()),
    ];
    for (from, to, expected) in cases {
        let error = refused(from, to);
        assert!(error.contains(&expected), "{to}: {error}");
    }
}

#[test]
fn topics_as_created_have_nothing_to_complain_of() {
    let declared = declared();
    assert_eq!(check(&declared, &as_created(&declared)), []);
}

#[test]
fn every_difference_that_could_lose_records_is_found() {
    let declared = declared();
    let set = |topic: Topic, key: &'static str, value: &'static str| {
        move |actual: &mut Actual| {
            actual.topics.get_mut(&topic).unwrap().config.insert(key.to_string(), value.to_string());
        }
    };
    type Change = Box<dyn Fn(&mut Actual)>;
    let cases: Vec<(Change, Topic, bool, &str)> = vec![
        (
            Box::new(|a| drop(a.topics.remove(&Topic::Dlq))),
            Topic::Dlq,
            true,
            "tidegate.dlq is missing; `tidegate topology create` or `serve` makes it",
        ),
        (
            Box::new(|a| a.topics.get_mut(&Topic::Deliveries).unwrap().partitions = 13),
            Topic::Deliveries,
            true,
            "13 partitions, 12 are declared",
        ),
        (
            Box::new(|a| a.topics.get_mut(&Topic::Events).unwrap().partitions = 3),
            Topic::Events,
            true,
            "declare 3 in a topology file of your own (--topology FILE), or drain first",
        ),
        (
            Box::new(|a| a.topics.get_mut(&Topic::Catalog).unwrap().partitions = 3),
            Topic::Catalog,
            true,
            "It must have one: write it anew",
        ),
        (
            Box::new(set(Topic::Deliveries, "retention.ms", "86400000")),
            Topic::Deliveries,
            true,
            "shorter than the longest retry delay and a day",
        ),
        (
            Box::new(set(Topic::Deliveries, "retention.ms", "172800000")),
            Topic::Deliveries,
            false,
            "keeps records for 2d, 7d is declared",
        ),
        (
            Box::new(set(Topic::Deliveries, "retention.bytes", "1000")),
            Topic::Deliveries,
            false,
            "--add-config retention.bytes=-1",
        ),
        (
            Box::new(set(Topic::Events, "max.message.bytes", "1048588")),
            Topic::Events,
            true,
            "--add-config max.message.bytes=4194304",
        ),
        (Box::new(set(Topic::Retry, "cleanup.policy", "delete")), Topic::Retry, true, "not compact"),
        (Box::new(set(Topic::Retry, "cleanup.policy", "compact,delete")), Topic::Retry, true, "not compact"),
        (Box::new(set(Topic::Events, "message.timestamp.type", "CreateTime")), Topic::Events, false, "client's clock"),
        (
            Box::new(set(Topic::Timers, "delete.retention.ms", "1000")),
            Topic::Timers,
            false,
            "delete.retention.ms=86400000",
        ),
        (Box::new(set(Topic::Timers, "segment.ms", "604800000")), Topic::Timers, false, "segment.ms=3600000"),
    ];
    for (change, topic, fatal, text) in cases {
        let mut actual = as_created(&declared);
        change(&mut actual);
        let found = check(&declared, &actual);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!((found[0].topic, found[0].difference.is_fatal()), (topic, fatal), "{text}");
        assert!(found[0].to_string().contains(text), "{}", found[0]);
    }
}

#[test]
fn advice_that_holds_for_several_topics_is_given_once() {
    let declared = declared();
    let mut actual = as_created(&declared);
    assert_eq!(report(&check(&declared, &actual)), "");
    actual.topics.values_mut().for_each(|topic| topic.partitions = 5);
    let told = report(&check(&declared, &actual));
    let count = |part: &str| told.matches(part).count();
    assert_eq!(
        (count("5 partitions"), count("drain first and then"), count("stop all processes")),
        (10, 5, 1),
        "{told}"
    );
    assert_eq!((count("its writes need one order"), count("alter the topic")), (1, 4), "{told}");
}

#[test]
fn what_is_kept_longer_or_for_ever_is_no_finding() {
    let declared = declared();
    let mut actual = as_created(&declared);
    for (topic, key, value) in [
        (Topic::Deliveries, "retention.ms", "-1"),
        (Topic::Events, "retention.ms", "99999999999"),
        (Topic::Events, "retention.bytes", "1000000"),
        (Topic::Timers, "delete.retention.ms", "999999999"),
        (Topic::Timers, "segment.ms", "1000"),
        (Topic::Events, "max.message.bytes", "9000000"),
    ] {
        actual.topics.get_mut(&topic).unwrap().config.insert(key.into(), value.into());
    }
    assert_eq!(check(&declared, &actual), []);
}

#[test]
fn an_empty_cluster_lacks_every_topic_under_its_full_name() {
    let found = check(&declared(), &Actual { prefix: "prod".into(), topics: BTreeMap::new() });
    assert_eq!(found.len(), Topic::ALL.len());
    assert!(found.iter().all(|finding| finding.difference == Difference::Missing && finding.name.starts_with("prod.")));
}

const KAFKA: Site<'static> = Site::Kafka { prefix: "tidegate" };

#[test]
fn what_is_in_one_file_is_not_drawn_with_the_names_and_partitions_of_a_broker() {
    let site = Site::Embedded { file: Path::new(".tidegate/log.db") };
    let there = BTreeMap::from([(Topic::Deliveries, 77)]);
    let drawn = text(&declared().with_partitions(&there), site);
    assert!(drawn.contains("embedded engine") && drawn.contains(".tidegate/log.db"), "{drawn}");
    assert!(!drawn.contains("tidegate.") && drawn.contains("group deliver"), "{drawn}");
    assert!(drawn.lines().any(|line| line.trim_start().starts_with("deliveries ") && line.contains(" 77 ")), "{drawn}");
    assert!(mermaid(&declared(), site).contains("deliveries[(deliveries)]"));
}

#[test]
fn the_drawing_fits_a_terminal_and_names_everything() {
    let declared = declared();
    let drawn = text(&declared, KAFKA);
    for line in drawn.lines() {
        assert!(line.chars().count() <= 120, "{line}");
        assert_eq!(line, line.trim_end());
    }
    for topic in Topic::ALL {
        assert!(drawn.contains(&topic.full_name("tidegate")), "{topic}\n{drawn}");
    }
    for stage in &declared.stages {
        assert!(drawn.contains(&format!("│ {}", stage.name)), "{}\n{drawn}", stage.name);
    }
    assert!(drawn.contains("deliveries ──▶ │ deliver"), "{drawn}");
    assert!(drawn.contains("group tidegate.deliver"), "{drawn}");
}

#[test]
fn mermaid_has_an_arrow_for_each_edge() {
    let drawn = mermaid(&declared(), KAFKA);
    for edge in [
        "in-REST([REST]) --> stage-ingest",
        "stage-ingest --> events",
        "events --> stage-match",
        "catalog -.-> stage-match",
        "stage-match --> deliveries",
        "stage-deliver --> out-HTTP([HTTP])",
        "deliveries[(tidegate.deliveries)]",
        "stage-api --> audit",
        "audit --> stage-project",
    ] {
        assert!(drawn.contains(edge), "{edge}\n{drawn}");
    }
    assert!(!drawn.contains("timers"), "nothing writes timers yet\n{drawn}");
}
