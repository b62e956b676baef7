//! What the gateway itself tells of deliveries: the records of `attempts`.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::model::time::Timestamp;

use super::gateway::Setup;
use super::receiver::Log;
use super::topics;

/// Every committed record of `attempts`, in the order of time within each delivery.
pub struct Story {
    by_delivery: BTreeMap<String, Vec<Value>>,
}

impl Story {
    pub async fn read(setup: &Setup) -> Story {
        let mut by_delivery: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for record in topics::read(setup, "attempts").await {
            let told = record.json();
            if let Some(delivery) = told["deliveryId"].as_str() {
                // One partition a delivery, as the key is its id: the order of offsets is the order of time.
                by_delivery.entry(delivery.to_owned()).or_default().push(told);
            }
        }
        Story { by_delivery }
    }

    pub fn of(&self, delivery: &str) -> &[Value] {
        self.by_delivery.get(delivery).map_or(&[], Vec::as_slice)
    }

    pub fn all(&self) -> impl Iterator<Item = &Value> {
        self.by_delivery.values().flatten()
    }

    /// Each delivery that the receiver saw at `path` has ended there once, and nobody recorded its end twice: what a member
    /// commits after it has lost a partition would show here.
    pub fn ended_once(&self, log: &Log, path: &str) {
        let mut deliveries: Vec<&str> = log.of(path).map(|seen| seen.delivery.as_str()).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        for delivery in deliveries {
            let told = self.of(delivery);
            let ends = told.iter().filter(|t| t["outcome"] != "RETRY").count();
            assert_eq!(ends, 1, "{path}: delivery {delivery} ended {ends} times: {told:#?}");
        }
    }

    /// No attempt was made before it was due: each request against the latest due time that was recorded for an attempt before.
    pub fn nothing_early(&self, log: &Log) {
        for seen in log.all() {
            let told = self.of(&seen.delivery);
            for retry in told.iter().filter(|t| t["outcome"] == "RETRY") {
                let (started, due) = (time(&retry["startedAt"]), time(&retry["nextAttemptAt"]));
                // The request that this record tells of came before the record's decision.
                let later = seen.wall.0 > started.0 + millis(&retry["durationMs"]);
                assert!(!later || seen.wall >= due, "{} came at {:?}, due {due:?}", seen.delivery, seen.wall);
            }
        }
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(Timestamp::parse).unwrap_or_else(|| panic!("not a time: {value}"))
}

fn millis(value: &Value) -> i64 {
    // Rounded up: a fraction of a millisecond is on neither side.
    value.as_f64().map_or(0, |ms| i64::try_from(ms.ceil() as u64).unwrap_or(i64::MAX) + 1)
}
