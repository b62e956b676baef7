//! Attempts under way, by integration: one whose receiver hangs on large payloads takes its share of the bytes and no more.

use rustc_hash::FxHashMap;

use crate::model::ids::IntegrationId;
use crate::stream::stage::Standing;

/// Bytes of payloads of attempts under way, above which nothing more is started.
const BYTES: usize = 32 << 20;
/// Of these, what one integration may take before it waits for an attempt of its own to end.
const SHARE: usize = BYTES / 8;

#[derive(Debug, Default)]
pub(super) struct Flying {
    bytes: usize,
    by_integration: FxHashMap<IntegrationId, Load>,
}

#[derive(Debug, Default)]
struct Load {
    attempts: u16,
    bytes: usize,
}

impl Flying {
    pub fn is_full(&self) -> bool {
        self.bytes >= BYTES
    }

    pub fn begins(&mut self, integration: &IntegrationId, bytes: usize) {
        self.bytes += bytes;
        if let Some(load) = self.by_integration.get_mut(integration) {
            load.attempts = load.attempts.saturating_add(1);
            load.bytes += bytes;
        } else {
            self.by_integration.insert(integration.clone(), Load { attempts: 1, bytes });
        }
    }

    pub fn ends(&mut self, integration: &IntegrationId, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let Some(load) = self.by_integration.get_mut(integration) else { return };
        load.attempts = load.attempts.saturating_sub(1);
        load.bytes = load.bytes.saturating_sub(bytes);
        if load.attempts == 0 {
            self.by_integration.remove(integration);
        }
    }

    /// The standing, with the share of bytes as a bound of what is in flight. One attempt may always run, and its end has the
    /// integration looked at again.
    pub fn bound(&self, integration: &IntegrationId, standing: Standing) -> Standing {
        match (standing, self.by_integration.get(integration)) {
            (Standing::Active { max_in_flight }, Some(load)) if load.bytes >= SHARE => {
                Standing::Active { max_in_flight: max_in_flight.min(load.attempts) }
            }
            (standing, _) => standing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integration_takes_no_more_than_its_share_of_the_bytes() {
        let (big, small) = (IntegrationId::parse("big").unwrap(), IntegrationId::parse("small").unwrap());
        let active = Standing::Active { max_in_flight: 64 };
        let mut flying = Flying::default();
        for _ in 0..4 {
            assert_eq!(flying.bound(&big, active), active);
            flying.begins(&big, 1 << 20);
        }
        assert_eq!(flying.bound(&big, active), Standing::Active { max_in_flight: 4 });
        assert_eq!(flying.bound(&big, Standing::Disabled), Standing::Disabled);
        assert_eq!(flying.bound(&small, active), active);
        assert!(!flying.is_full());
        flying.ends(&big, 1 << 20);
        assert_eq!(flying.bound(&big, active), active);
        (0..3).for_each(|_| flying.ends(&big, 1 << 20));
        assert!(flying.by_integration.is_empty() && flying.bytes == 0);
    }
}
