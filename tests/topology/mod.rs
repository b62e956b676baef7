//! Topics on a real broker.

use std::collections::BTreeMap;

use tidegate::kafka::admin::{Admin, AdminError};
use tidegate::model::topic::Topic;
use tidegate::topology::{Declared, Difference, check};

use crate::support::broker::Broker;
use crate::support::unique;

fn admin(brokers: &str) -> Admin {
    Admin::new(&BTreeMap::from([("bootstrap.servers".to_string(), brokers.to_string())])).expect("valid properties")
}

#[tokio::test]
async fn a_topic_created_is_a_topic_as_declared() {
    let (admin, prefix) = (admin(&Broker::shared().await.address), unique("created"));
    let declared = Declared::built_in(Some("small")).expect("the built-in file");
    let before = check(&declared, &admin.actual(&prefix).await.expect("an answer"));
    assert!(
        before.len() == Topic::ALL.len() && before.iter().all(|finding| finding.difference == Difference::Missing),
        "{before:?}"
    );

    assert_eq!(admin.create_missing(&declared, &prefix).await.expect("created"), Topic::ALL);
    assert_eq!(check(&declared, &admin.actual(&prefix).await.expect("an answer")), []);
    assert_eq!(admin.create_missing(&declared, &prefix).await.expect("nothing to do"), []);

    let other = Declared::built_in(None).expect("the built-in file");
    let found = check(&other, &admin.actual(&prefix).await.expect("an answer"));
    let events = found.iter().find(|finding| finding.topic == Topic::Events).expect("a finding");
    assert_eq!(events.difference, Difference::Partitions { declared: 12, actual: 3 });
}

#[tokio::test]
async fn two_processes_that_create_at_once_both_succeed() {
    let (brokers, prefix) = (Broker::shared().await.address.clone(), unique("twice"));
    let declared = Declared::built_in(Some("small")).expect("the built-in file");
    let (one, two) = (admin(&brokers), admin(&brokers));
    let (first, second) = tokio::join!(one.create_missing(&declared, &prefix), two.create_missing(&declared, &prefix));
    let mut created = [first.expect("the first"), second.expect("the second")].concat();
    created.sort();
    assert_eq!(created, Topic::ALL);
}

#[tokio::test]
async fn topics_outlive_a_broker_that_is_killed() {
    let broker = Broker::start_new("killed").await;
    let declared = Declared::built_in(Some("small")).expect("the built-in file");
    admin(&broker.address).create_missing(&declared, "t").await.expect("created");
    broker.kill().await;
    broker.start().await;
    broker.stop().await;
    broker.start().await;
    let actual = admin(&broker.address).actual("t").await.expect("an answer");
    assert_eq!(check(&declared, &actual), []);
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named() {
    let refused = admin("127.0.0.1:1").actual("t").await.expect_err("nobody listens on port 1");
    assert!(matches!(refused, AdminError::Unreachable { .. }), "{refused:?}");
    assert!(refused.to_string().contains("no Kafka broker answers at 127.0.0.1:1"), "{refused}");
}
