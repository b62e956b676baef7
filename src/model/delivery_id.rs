//! The id of a delivery, worked out and never drawn: whoever matches the same event again arrives at the same id, so that a
//! receiver that knows the id can tell a repeat.
//!
//! UUIDv8 (RFC 9562, section 5.8): 48 bits of milliseconds, then 74 bits of SHA-256. In time order, because indexes of
//! the history store are four times faster that way.

use sha2::{Digest, Sha256};
use uuid::{Uuid, Variant, Version};

use crate::model::event::EventHeaders;
use crate::model::ids::{DeliveryId, IntegrationId};

/// What else tells deliveries of one event to one integration apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part<'a> {
    /// The action's name; empty for an integration without actions.
    pub action: &'a str,
    /// The occurrence of a recurring delivery, or the place in a batch.
    pub index: Option<u64>,
}

/// The id of the delivery of this event to this integration.
pub fn delivery_id(event: &EventHeaders<'_>, integration: &IntegrationId, part: Part<'_>) -> DeliveryId {
    let mut hash = Sha256::new();
    // With its length in front of each, no two lists of texts are the same bytes.
    for text in [event.org, event.source, &event.id, integration.as_str(), part.action] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    if let Some(index) = part.index {
        hash.update(index.to_be_bytes());
    }
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&milliseconds(event).to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&hash.finalize()[..10]);
    DeliveryId(Uuid::new_v8(bytes))
}

/// 48 bits: of the event's id if that is a UUIDv7, else of its time; times before 1970 count as 1970.
fn milliseconds(event: &EventHeaders<'_>) -> u64 {
    const MAX: u64 = (1 << 48) - 1;
    match Uuid::try_parse(&event.id) {
        Ok(id) if id.get_version() == Some(Version::SortRand) && id.get_variant() == Variant::RFC4122 => {
            let b = id.as_bytes();
            u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]])
        }
        _ => u64::try_from(event.time.as_millis()).unwrap_or(0).min(MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::model::event::Attributes;
    use crate::model::time::Timestamp;

    fn event<'a>(org: &'a str, source: &'a str, id: &'a str) -> EventHeaders<'a> {
        let attributes = Attributes {
            specversion: Some("1.0"),
            event_type: Some("patient.created"),
            orgid: Some(org),
            source: Some(source),
            id: Some(id),
            ..Attributes::default()
        };
        attributes.check(String::new, || Timestamp(1_763_712_000_250)).unwrap()
    }

    fn id_of(org: &str, source: &str, id: &str, integration: &str, part: Part<'_>) -> String {
        delivery_id(&event(org, source, id), &IntegrationId::parse(integration).unwrap(), part).to_string()
    }

    #[test]
    fn an_id_never_changes_from_one_release_to_the_next() {
        const V7: &str = "0199f3a4-5b6c-7def-8123-456789abcdef";
        let none = Part::default();
        let cases = [
            (id_of("648", "/his", "e1", "bills", none), "019aa56d-60fa-8de0-b5fb-95b8929918aa"),
            (id_of("648", "/his", V7, "bills", none), "0199f3a4-5b6c-864d-92ac-95d23d0d4b30"),
            (
                id_of("648", "/his", "e1", "bills", Part { action: "notify", index: None }),
                "019aa56d-60fa-8dcd-bd18-3dad865cad39",
            ),
            (
                id_of("648", "/his", "e1", "bills", Part { action: "notify", index: Some(0) }),
                "019aa56d-60fa-86a9-93b0-afb41acab8df",
            ),
        ];
        for (id, expected) in cases {
            assert_eq!(id, expected);
        }
    }

    #[test]
    fn a_uuidv7_gives_its_own_time_and_anything_else_the_events_time() {
        let part = Part::default();
        let prefix = |id: &str| id_of("648", "/his", id, "bills", part)[..13].to_owned();
        assert_eq!(prefix("0199f3a4-5b6c-7def-8123-456789abcdef"), "0199f3a4-5b6c");
        let by_time = prefix("e1");
        assert_eq!(i64::from_str_radix(&by_time.replace('-', ""), 16), Ok(1_763_712_000_250));
        assert_eq!(prefix("0199f3a4-5b6c-4def-8123-456789abcdef"), by_time, "a UUIDv4 has no time");
        let mut old = event("648", "/his", "e1");
        old.time = Timestamp(-5);
        let old = delivery_id(&old, &IntegrationId::parse("bills").unwrap(), part);
        assert!(old.to_string().starts_with("00000000-0000-8"));
    }

    proptest! {
        #[test]
        fn two_deliveries_never_share_an_id(
            a in ("[ab:]{1,4}", "[ab:]{1,4}", "[ab:]{1,4}", "[ab:]{1,4}", "[ab:]{0,4}", proptest::option::of(0..3u64)),
            b in ("[ab:]{1,4}", "[ab:]{1,4}", "[ab:]{1,4}", "[ab:]{1,4}", "[ab:]{0,4}", proptest::option::of(0..3u64)),
        ) {
            let id = |t: &(String, String, String, String, String, Option<u64>)| {
                id_of(&t.0, &t.1, &t.2, &t.3, Part { action: &t.4, index: t.5 })
            };
            prop_assert_eq!(a == b, id(&a) == id(&b));
        }

        #[test]
        fn an_id_is_a_uuidv8_in_time_order(early in 0..1i64 << 47, later in 1..1i64 << 20) {
            let at = |ms: i64| {
                let mut event = event("648", "/his", "e1");
                (event.time, event.id) = (Timestamp(ms), Cow::Owned(format!("e{ms}")));
                delivery_id(&event, &IntegrationId::parse("bills").unwrap(), Part::default())
            };
            prop_assert_eq!(at(early).0.get_version(), Some(Version::Custom));
            prop_assert_eq!(at(early).0.get_variant(), Variant::RFC4122);
            prop_assert!(at(early) < at(early + later));
        }
    }
}
