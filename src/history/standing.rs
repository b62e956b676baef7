//! How a delivery stands by all the facts about it that were read so far, in whatever order they came.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::rows::{About, Fact, Rank, State, Tried};
use crate::model::ids::DeliveryId;
use crate::model::time::Timestamp;

/// Facts, those about one delivery brought together as they come: most are told of from their first record to their last within
/// moments, and are then written once.
#[derive(Debug, Default)]
pub struct Facts(BTreeMap<DeliveryId, Box<Standing>>);

impl Facts {
    pub fn learn(&mut self, fact: Fact) {
        let (id, told) = (fact.id, Standing::from(fact));
        match self.0.entry(id) {
            Entry::Vacant(entry) => drop(entry.insert(Box::new(told))),
            Entry::Occupied(mut entry) => entry.get_mut().learn(&told),
        }
    }

    /// By their ids.
    pub fn iter(&self) -> impl Iterator<Item = (DeliveryId, &Standing)> {
        self.0.iter().map(|(id, told)| (*id, &**told))
    }

    pub fn get(&self, id: DeliveryId) -> Option<&Standing> {
        self.0.get(&id).map(|told| &**told)
    }

    /// Deliveries that are told of.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Fact> for Facts {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Facts {
        let mut all = Facts::default();
        facts.into_iter().for_each(|fact| all.learn(fact));
        all
    }
}

impl<const N: usize> From<[Fact; N]> for Facts {
    fn from(facts: [Fact; N]) -> Facts {
        facts.into_iter().collect()
    }
}

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

impl From<Fact> for Standing {
    fn from(fact: Fact) -> Standing {
        Standing {
            about: fact.about,
            tried_at: fact.tried.as_ref().map_or(-1, |_| fact.rank.offset),
            tried: fact.tried.unwrap_or_default(),
            state: fact.state,
            rank: fact.rank,
            created_at: fact.at,
            updated_at: fact.at,
        }
    }
}

impl Standing {
    /// Learns what the other one knows. What a delivery is about stays with who says it first; of the rest the latest says.
    pub fn learn(&mut self, other: &Standing) {
        self.about.fill(&other.about);
        if other.tried_at >= self.tried_at {
            let before = std::mem::replace(&mut self.tried, other.tried.clone());
            self.tried.fill(&before);
            self.tried_at = other.tried_at;
        } else {
            self.tried.fill(&other.tried);
        }
        if other.rank >= self.rank {
            (self.state, self.rank, self.updated_at) = (other.state.clone(), other.rank, other.updated_at);
        }
        self.created_at = self.created_at.min(other.created_at);
    }
}

fn fill<T: Clone>(mine: &mut Option<T>, other: &Option<T>) {
    if mine.is_none() {
        mine.clone_from(other);
    }
}

impl About {
    fn fill(&mut self, other: &About) {
        fill(&mut self.org, &other.org);
        fill(&mut self.event_id, &other.event_id);
        fill(&mut self.source, &other.source);
        fill(&mut self.event_type, &other.event_type);
        fill(&mut self.entity_id, &other.entity_id);
        fill(&mut self.entity_rid, &other.entity_rid);
        fill(&mut self.correlation_id, &other.correlation_id);
        fill(&mut self.trace_id, &other.trace_id);
        fill(&mut self.integration_id, &other.integration_id);
        fill(&mut self.action, &other.action);
        fill(&mut self.trigger, &other.trigger);
    }
}

impl Tried {
    fn fill(&mut self, other: &Tried) {
        fill(&mut self.integration_name, &other.integration_name);
        fill(&mut self.target_url, &other.target_url);
        fill(&mut self.http_method, &other.http_method);
        fill(&mut self.max_attempts, &other.max_attempts);
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
                Standing::from(fact)
            };
            let merged = |steps: &[i64]| steps.iter().map(told).reduce(|mut all, one| {
                all.learn(&one);
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
            parts.for_each(|part| all.learn(&part));
            prop_assert_eq!(Some(all), expected);
        }
    }
}
