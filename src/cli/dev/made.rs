//! What of the sample was made before, as the log's own audit tells: it alone still knows of what was deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;

use crate::app::view::View;
use crate::catalog::Key;
use crate::catalog::audit::Entry;
use crate::config::Config;
use crate::model::ids::{Offset, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;

/// The id of each request that sets the sample up: in the audit it tells them from those of people.
pub(super) const REQUEST: &str = "tidegate-dev-sample";
/// The field of an integration that follows the receiver.
pub(super) const TARGET: &str = "targetUrl";

const BATCH: usize = 1_000;
/// Of one look at the log.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of a partition, to its end.
const WITHIN: Duration = Duration::from_secs(60);
const GOODBYE: Duration = Duration::from_secs(1);

/// What the sample does about one of its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It never was.
    Create,
    /// The receiver has another address than the one that the sample gave it.
    Readdress,
    /// It is as it shall be, or somebody's own by now: changed or deleted.
    Leave,
}

/// Every resource that was ever made on this log, with the target that the sample gave it last.
#[derive(Debug, Default)]
pub(super) struct Made(BTreeMap<String, Option<String>>);

impl Made {
    /// Reads the audit to its end.
    pub async fn read(config: &Config) -> anyhow::Result<Made> {
        let view = View::open(config).await?;
        let mut made = Made::default();
        for partition in (0..view.partitions(Topic::Audit).await?).map(Partition) {
            let end = view.end(Topic::Audit, partition).await?;
            if end == Offset(0) {
                continue;
            }
            let mut reader = view.since(Topic::Audit, partition, Timestamp(0)).await?;
            let whole = async {
                loop {
                    let batch = reader.next(BATCH, PATIENCE).await?;
                    let values = batch.records.iter().filter_map(|received| received.record.value.as_deref());
                    values.for_each(|value| made.take(value));
                    if batch.position >= end {
                        return anyhow::Ok(());
                    }
                }
            };
            // What is not known to the end would be made again although somebody deleted it.
            timeout(WITHIN, whole)
                .await
                .map_err(|_| anyhow!("the log's audit could not be read within {WITHIN:?}"))??;
        }
        view.close(GOODBYE).await;
        Ok(made)
    }

    fn take(&mut self, record: &[u8]) {
        let Ok(entry) = serde_json::from_slice::<Entry>(record) else { return };
        let target = self.0.entry(format!("{}/{}", entry.kind, entry.id)).or_default();
        if entry.origin.request_id.as_deref() == Some(REQUEST)
            && let Some(set) = entry.after.as_ref().and_then(|after| after[TARGET].as_str())
        {
            *target = Some(set.to_owned());
        }
    }

    /// Was there ever a resource of this key?
    pub fn was(&self, key: &Key) -> bool {
        self.0.contains_key(&key.to_string())
    }

    /// What is to be done about an integration. `there`: its target as it is now; `wanted`: where the receiver is.
    pub fn step(&self, key: &Key, there: Option<&str>, wanted: &str) -> Step {
        match (there, self.0.get(&key.to_string())) {
            (None, None) => Step::Create,
            (Some(now), Some(Some(set))) if now != wanted && set == now => Step::Readdress,
            _ => Step::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::catalog::Kind;

    const OLD: &str = "http://127.0.0.1:8099/patients";
    const NEW: &str = "http://127.0.0.1:8098/patients";

    fn told(action: &str, request: &str, target: Option<&str>) -> Value {
        json!({"at": "2026-11-22T07:00:00.000Z", "actor": "admin-key", "address": null, "requestId": request,
            "action": action, "kind": "OutboundIntegration", "id": "sample-patients", "orgId": "648", "version": 1,
            "before": null, "after": target.map(|target| json!({"targetUrl": target}))})
    }

    #[test]
    fn what_somebody_has_changed_or_deleted_is_not_undone_by_the_next_start() {
        let made = told("CREATE", REQUEST, Some(OLD));
        let theirs = told("UPDATE", "0197a0b2", Some("http://127.0.0.1:9000/mine"));
        let deleted = told("DELETE", "0197a0b2", None);
        let readdressed = told("UPDATE", REQUEST, Some("http://127.0.0.1:8097/patients"));
        let cases: [(&[&Value], Option<&str>, Step); 8] = [
            (&[], None, Step::Create),
            (&[&made], Some(NEW), Step::Leave),
            (&[&made], Some(OLD), Step::Readdress),
            (&[&made, &theirs], Some("http://127.0.0.1:9000/mine"), Step::Leave),
            (&[&made, &deleted], None, Step::Leave),
            (&[&made, &readdressed], Some("http://127.0.0.1:8097/patients"), Step::Readdress),
            // Back to what it once was, by somebody who wants it so.
            (&[&made, &readdressed, &theirs], Some(OLD), Step::Leave),
            // Made by somebody else under this id.
            (&[&theirs], Some("http://127.0.0.1:9000/mine"), Step::Leave),
        ];
        let key = Key::of(Kind::OutboundIntegration, "sample-patients").unwrap();
        for (entries, there, expected) in cases {
            let mut known = Made::default();
            entries.iter().for_each(|entry| known.take(entry.to_string().as_bytes()));
            assert_eq!(known.step(&key, there, NEW), expected, "{entries:?}");
        }
    }

    #[test]
    fn a_record_that_is_none_does_not_bring_the_sample_back() {
        let mut known = Made::default();
        known.take(told("CREATE", REQUEST, Some(OLD)).to_string().as_bytes());
        known.take(b"garbage");
        let key = Key::of(Kind::OutboundIntegration, "sample-patients").unwrap();
        assert_eq!(known.step(&key, None, NEW), Step::Leave);
        assert!(!known.was(&Key::of(Kind::Organization, "648").unwrap()));
    }
}
