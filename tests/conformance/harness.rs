//! What a case needs of an engine, and a stage that does as it is told.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate::model::ids::{Offset, Partition};
use tidegate::model::record::{Headers, Output, Received, Record};
use tidegate::model::topic::Topic;
use tidegate::stream::log::{Committed, Drained, Epoch, From, Log, Member, Membership, Part, PartitionCommit, Signal};

/// Every wait ends here. Generous: the machine may be shared.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A log of its own for one test: all topics, empty.
#[async_trait]
pub trait World: Send + Sync {
    /// The log as a process of this instance name has it.
    async fn open(&self, instance: &str) -> Arc<dyn Log>;

    /// Retention deletes what is before `offset`.
    async fn delete_before(&self, topic: Topic, partition: Partition, offset: Offset);
}

/// Waits for what is meant, and says what did not come.
pub async fn within<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, wanted).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} in vain for: {what}"),
    }
}

pub fn output(topic: Topic, partition: i32, key: &str, value: &str) -> Output {
    let mut headers = Headers::default();
    headers.push("ce_id", Bytes::from(format!("id of {value}")));
    let record = Record { key: Some(Bytes::from(key.to_owned())), value: Some(Bytes::from(value.to_owned())), headers };
    Output { topic, partition: Some(Partition(partition)), record }
}

pub fn tombstone(topic: Topic, partition: i32, key: &str) -> Output {
    let record = Record { key: Some(Bytes::from(key.to_owned())), ..Record::default() };
    Output { topic, partition: Some(Partition(partition)), record }
}

pub fn part(partition: Partition, epoch: Epoch, offset: i64, metadata: &str, outputs: Vec<Output>) -> Part {
    let commit = PartitionCommit { partition, epoch, offset: Offset(offset), metadata: metadata.to_owned() };
    Part { commit, outputs }
}

pub fn text(record: &Received) -> String {
    record.record.value.as_deref().map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default()
}

/// Everything that is committed in a partition now: reads on until a marker record, appended here, has come.
pub async fn everything(log: &Arc<dyn Log>, topic: Topic, partition: i32) -> Vec<Received> {
    let at = Partition(partition);
    let marker = output(topic, partition, "marker", "marker");
    let place = within("the marker is appended", log.append(vec![marker])).await.unwrap()[0].1;
    let mut reader = log.read(topic, at, From::Start).await.unwrap();
    let mut found = Vec::new();
    within("the marker is read", async {
        loop {
            let batch = reader.next(1_000, Duration::from_millis(200)).await.unwrap();
            found.extend(batch.records);
            if batch.position > place {
                break;
            }
        }
    })
    .await;
    found.retain(|r: &Received| text(r) != "marker");
    found
}

pub async fn texts(log: &Arc<dyn Log>, topic: Topic, partition: i32) -> Vec<String> {
    everything(log, topic, partition).await.iter().map(text).collect()
}

/// Where a stage stands with one partition.
#[derive(Debug)]
pub struct Held {
    pub epoch: Epoch,
    pub committed: Option<Committed>,
    pub position: Option<Offset>,
}

/// A stage in the hands of a test: keeps what it was told, and checks the order in which it was told.
pub struct Stage {
    pub member: Member,
    pub held: BTreeMap<Partition, Held>,
    pub records: Vec<Received>,
    pub lost: Vec<(Partition, Epoch)>,
    pub revoked: Vec<(Partition, Epoch)>,
    pub skipped: Vec<(Partition, Offset, Offset)>,
    pub failed: Option<tidegate::stream::log::LogError>,
    /// Kept instead of dropped: the rebalance waits.
    pub hold_drains: bool,
    pub drains: Vec<Drained>,
    /// Gives room back as soon as records come.
    pub release: bool,
}

impl Stage {
    pub async fn join(log: &Arc<dyn Log>, topic: Topic) -> Stage {
        Stage::bounded(log, topic, 10_000).await
    }

    pub async fn bounded(log: &Arc<dyn Log>, topic: Topic, max_records: usize) -> Stage {
        let membership = Membership { stage: "match", topic, max_records, max_bytes: 16 << 20 };
        let member = within("the group is joined", log.join(membership)).await.unwrap();
        Stage {
            member,
            held: BTreeMap::new(),
            records: Vec::new(),
            lost: Vec::new(),
            revoked: Vec::new(),
            skipped: Vec::new(),
            failed: None,
            hold_drains: false,
            drains: Vec::new(),
            release: true,
        }
    }

    /// Takes signals until `done`.
    pub async fn until(&mut self, what: &str, mut done: impl FnMut(&Stage) -> bool) {
        within(what, async {
            while !done(self) {
                let signal = self.member.signals.recv().await.expect("the member ended");
                self.take(signal);
            }
        })
        .await;
    }

    /// Takes signals for as long as `other` runs.
    pub async fn during<T>(&mut self, what: &str, other: impl Future<Output = T>) -> T {
        within(what, async {
            tokio::pin!(other);
            loop {
                tokio::select! {
                    value = &mut other => return value,
                    signal = self.member.signals.recv() => self.take(signal.expect("the member ended")),
                }
            }
        })
        .await
    }

    /// Takes what has been signalled, and what comes within `wait`.
    pub async fn step(&mut self, wait: Duration) {
        let mut wait = wait;
        while let Ok(signal) = tokio::time::timeout(wait, self.member.signals.recv()).await {
            self.take(signal.expect("the member ended"));
            wait = Duration::ZERO;
        }
    }

    fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Assigned(list) => {
                for a in list {
                    let held = Held { epoch: a.epoch, committed: a.committed, position: None };
                    assert!(self.held.insert(a.partition, held).is_none(), "{} was assigned twice", a.partition);
                }
            }
            Signal::Records { partition, epoch, records, position } => {
                let held = self.held.get_mut(&partition).expect("records of a partition that is not held");
                assert_eq!(held.epoch, epoch);
                let mut last = held.position;
                for r in &records {
                    assert!(last.is_none_or(|l| r.offset >= l), "{partition} went back to {}", r.offset);
                    last = Some(r.offset.next());
                }
                assert!(last.is_none_or(|l| position >= l), "position {position} is before the last record");
                held.position = Some(position);
                if self.release {
                    self.member.credit.release(records.len(), records.iter().map(|r| r.record.size()).sum());
                }
                self.records.extend(records);
            }
            Signal::Skipped { partition, from, to, .. } => self.skipped.push((partition, from, to)),
            Signal::Revoked { partitions, drained, .. } => {
                self.drop_held(&partitions);
                self.revoked.extend(partitions);
                if self.hold_drains {
                    self.drains.push(drained);
                }
            }
            Signal::Lost { partitions } => {
                self.drop_held(&partitions);
                self.lost.extend(partitions);
            }
            Signal::Failed(error) => self.failed = Some(error),
        }
    }

    /// What was read of a partition that is taken away is the next owner's to read.
    fn drop_held(&mut self, partitions: &[(Partition, Epoch)]) {
        for (partition, epoch) in partitions {
            let held = self.held.remove(partition).expect("what is taken was held");
            assert_eq!(held.epoch, *epoch);
            self.records.retain(|r| r.partition != *partition);
        }
    }

    pub fn epoch(&self, partition: i32) -> Epoch {
        self.held.get(&Partition(partition)).expect("the partition is held").epoch
    }

    /// One part for each partition that is held, at `offset`.
    pub fn parts(&self, offset: i64, metadata: &str) -> Vec<Part> {
        self.held.iter().map(|(p, h)| part(*p, h.epoch, offset, metadata, vec![])).collect()
    }
}
