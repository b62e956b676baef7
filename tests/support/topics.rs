//! Topics and how far the stages are, whichever engine keeps them.

use std::collections::HashMap;

use super::embedded;
use super::gateway::Setup;
use super::kafka::{self, Record, Standing};
use super::{LATER, until};

/// Every committed record of a topic, partition by partition in the order of offsets.
pub async fn read(setup: &Setup, topic: &str) -> Vec<Record> {
    match setup.data() {
        Some(dir) => embedded::read(&dir, topic).await,
        None => kafka::read(&setup.brokers, &setup.topic(topic)).await,
    }
}

async fn standing(setup: &Setup, stage: &str, topic: &str) -> Option<Vec<Standing>> {
    match setup.data() {
        Some(dir) => Some(embedded::standing(&dir, stage, topic).await),
        None => kafka::standing(&setup.brokers, &setup.topic(stage), &setup.topic(topic)).await.ok(),
    }
}

/// Waits until a stage has committed every record of its topic.
pub async fn read_to_the_end(setup: &Setup, stage: &str, topic: &str) {
    until(&format!("{stage} has read {topic} to its end"), LATER, async || {
        let all = standing(setup, stage, topic).await?;
        all.iter().all(|p| p.committed.unwrap_or(0) >= p.end).then_some(())
    })
    .await;
}

/// Waits until `match` and `deliver` have nothing left to do: their offsets are at the end of their topics, and no lane waits.
pub async fn quiet(setup: &Setup) {
    read_to_the_end(setup, "match", "events").await;
    read_to_the_end(setup, "deliver", "deliveries").await;
    until("no lane waits", LATER, async || {
        let entries = read(setup, "retry").await;
        let last: HashMap<_, _> =
            entries.iter().map(|entry| ((entry.partition, &entry.key), entry.value.is_some())).collect();
        (!last.values().any(|waits| *waits)).then_some(())
    })
    .await;
}
