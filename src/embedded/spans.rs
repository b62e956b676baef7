//! Where each partition begins and ends, kept in memory and moved on by the writer alone.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::watch;

use super::rows::Base;
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::LogError;

/// One topic: its number in the file, its partitions, and who waits for records.
pub(super) struct TopicSpans {
    number: u8,
    partitions: Vec<Span>,
    moved: watch::Sender<()>,
}

/// Offsets from `start` (inclusive) to `end` (exclusive) are there, but for those that compaction took.
struct Span {
    start: AtomicI64,
    end: AtomicI64,
}

/// All topics, in the order of `Topic::ALL`.
pub(super) struct Spans(Vec<TopicSpans>);

impl TopicSpans {
    pub(super) fn new(number: u8, spans: impl Iterator<Item = (Offset, Offset)>) -> TopicSpans {
        let partitions = spans.map(|(start, end)| Span { start: start.0.into(), end: end.0.into() }).collect();
        TopicSpans { number, partitions, moved: watch::Sender::new(()) }
    }
}

impl Spans {
    pub(super) fn new(topics: Vec<TopicSpans>) -> Spans {
        Spans(topics)
    }

    fn topic(&self, topic: Topic) -> Result<&TopicSpans, LogError> {
        self.0.get(topic as usize).ok_or_else(|| LogError::Fatal(format!("topic {topic} is not declared")))
    }

    fn span(&self, topic: Topic, partition: Partition) -> Result<&Span, LogError> {
        let of = &self.topic(topic)?.partitions;
        usize::try_from(partition.0).ok().and_then(|p| of.get(p)).ok_or_else(|| {
            LogError::Fatal(format!(
                "topic {topic} has partitions 0 to {}, not {partition}",
                of.len().saturating_sub(1)
            ))
        })
    }

    pub(super) fn partitions(&self, topic: Topic) -> Result<i32, LogError> {
        Ok(i32::try_from(self.topic(topic)?.partitions.len()).unwrap_or(i32::MAX))
    }

    pub(super) fn base(&self, topic: Topic, partition: Partition) -> Result<Base, LogError> {
        self.span(topic, partition)?;
        Ok(Base::of(self.topic(topic)?.number, partition))
    }

    pub(super) fn start(&self, topic: Topic, partition: Partition) -> Result<Offset, LogError> {
        Ok(Offset(self.span(topic, partition)?.start.load(Ordering::Acquire)))
    }

    pub(super) fn end(&self, topic: Topic, partition: Partition) -> Result<Offset, LogError> {
        Ok(Offset(self.span(topic, partition)?.end.load(Ordering::Acquire)))
    }

    /// Records up to `end` are committed: who waits for the topic is told.
    pub(super) fn appended(&self, topic: Topic, partition: Partition, end: Offset) {
        if let (Ok(of), Ok(span)) = (self.topic(topic), self.span(topic, partition)) {
            span.end.fetch_max(end.0, Ordering::AcqRel);
            of.moved.send_replace(());
        }
    }

    /// What lies below `start` is gone.
    pub(super) fn deleted(&self, topic: Topic, partition: Partition, start: Offset) {
        if let (Ok(of), Ok(span)) = (self.topic(topic), self.span(topic, partition)) {
            span.start.fetch_max(start.0, Ordering::AcqRel);
            of.moved.send_replace(());
        }
    }

    /// Tells when anything of the topic moves.
    pub(super) fn watch(&self, topic: Topic) -> Result<watch::Receiver<()>, LogError> {
        Ok(self.topic(topic)?.moved.subscribe())
    }
}
