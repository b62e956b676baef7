//! How a delivery stands by all the facts about it that were read so far, in whatever order they came.

use super::rows::{About, Fact, Rank, State, Tried};
use crate::model::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub about: About,
    pub tried: Tried,
    /// Offset of the attempt that `tried` is of; -1 before the first. Attempts of one delivery lie in one partition, where a
    /// later one has a higher offset.
    pub tried_at: i64,
    pub state: State,
    pub rank: Rank,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<&Fact> for Standing {
    fn from(fact: &Fact) -> Standing {
        Standing {
            about: fact.about.clone(),
            tried: fact.tried.clone().unwrap_or_default(),
            tried_at: fact.tried.as_ref().map_or(-1, |_| fact.rank.offset),
            state: fact.state.clone(),
            rank: fact.rank,
            created_at: fact.at,
            updated_at: fact.at,
        }
    }
}

impl Standing {
    /// Learns what the other one knows. What a delivery is about stays with who says it first; of the rest the latest says.
    pub fn learn(&mut self, other: Standing) {
        self.about.fill(other.about);
        let mut tried = other.tried;
        if other.tried_at >= self.tried_at {
            std::mem::swap(&mut self.tried, &mut tried);
            self.tried_at = other.tried_at;
        }
        self.tried.fill(tried);
        if other.rank >= self.rank {
            (self.state, self.rank, self.updated_at) = (other.state, other.rank, other.updated_at);
        }
        self.created_at = self.created_at.min(other.created_at);
    }
}

fn fill<T>(mine: &mut Option<T>, other: Option<T>) {
    if mine.is_none() {
        *mine = other;
    }
}

impl About {
    fn fill(&mut self, other: About) {
        fill(&mut self.org, other.org);
        fill(&mut self.event_id, other.event_id);
        fill(&mut self.source, other.source);
        fill(&mut self.event_type, other.event_type);
        fill(&mut self.entity_id, other.entity_id);
        fill(&mut self.entity_rid, other.entity_rid);
        fill(&mut self.correlation_id, other.correlation_id);
        fill(&mut self.trace_id, other.trace_id);
        fill(&mut self.integration_id, other.integration_id);
        fill(&mut self.action, other.action);
        fill(&mut self.trigger, other.trigger);
    }
}

impl Tried {
    fn fill(&mut self, other: Tried) {
        fill(&mut self.integration_name, other.integration_name);
        fill(&mut self.target_url, other.target_url);
        fill(&mut self.http_method, other.http_method);
        fill(&mut self.max_attempts, other.max_attempts);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::tests::fact;
    use crate::model::delivery::DeliveryStatus;

    proptest! {
        /// Topics are read side by side: no order is like another, and a batch may be read twice.
        #[test]
        fn a_delivery_stands_the_same_whatever_order_its_facts_are_read_in(
            steps in proptest::collection::vec(1i64..64, 1..12).prop_shuffle(),
            split in 0usize..12,
        ) {
            let told = |step: &i64| {
                let status = if step % 2 == 0 { DeliveryStatus::Failed } else { DeliveryStatus::Pending };
                let mut fact = fact(1, *step, status);
                // Attempts alone know their names; what they are about is told by every second record.
                fact.about.source = fact.about.source.filter(|_| step % 2 == 1);
                Standing::from(&fact)
            };
            let merged = |steps: &[i64]| steps.iter().map(told).reduce(|mut all, one| {
                all.learn(one);
                all
            });
            let mut sorted = steps.clone();
            sorted.sort_unstable();
            let expected = merged(&sorted);
            prop_assert_eq!(&merged(&steps), &expected);
            // In two batches, the second of which is read again.
            let (head, tail) = steps.split_at(split.min(steps.len()));
            let mut parts = [merged(head), merged(tail), merged(tail)].into_iter().flatten();
            let mut all = parts.next().unwrap();
            parts.for_each(|part| all.learn(part));
            prop_assert_eq!(Some(all), expected);
        }
    }
}
