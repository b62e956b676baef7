//! A record of `deliveries`, read: what it asks for, or why it is none.

use bytes::Bytes;
use uuid::Uuid;

use crate::model::event::{MAX_HEADERS, MAX_PAYLOAD};
use crate::model::ids::{DeliveryId, IdError, IntegrationId, Offset};
use crate::model::record::{Headers, Received, header};
use crate::model::trace::trace_id;

/// Bytes that key and headers of a delivery may have: those of an event, and room for what the gateway says about the
/// delivery and its end. Within this and `MAX_PAYLOAD` a dead letter always fits the log, whose records hold 2 MiB at least.
const MAX_ABOUT: usize = MAX_HEADERS + (16 << 10);

/// One delivery as its record tells it. The payload is not looked at.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    pub id: DeliveryId,
    pub integration: IntegrationId,
    /// The catalog position that the match used.
    pub catalog: Option<Offset>,
    /// Attempts made before it was dead and redriven; counting goes on from there.
    pub earlier_attempts: u32,
    /// How often it was dead and redriven.
    pub redrives: u32,
    pub received: &'a Received,
}

/// Why a record is no delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADelivery {
    #[error("the header `{0}` is missing or not UTF-8")]
    Missing(&'static str),
    #[error("the header `{0}` {1}")]
    Invalid(&'static str, IdError),
    #[error("the key must be the integration's id `{0}` or begin with `{0}/`: its partition decides who delivers it")]
    ForeignKey(IntegrationId),
    #[error("the {part} has {bytes} bytes and may have {limit}: its dead letter might not fit the log")]
    TooLarge { part: &'static str, bytes: usize, limit: usize },
}

impl NotADelivery {
    /// The reason in `rejected`.
    pub const fn reason(&self) -> &'static str {
        match self {
            NotADelivery::Missing(_) => "missing_header",
            NotADelivery::Invalid(..) => "invalid_header",
            NotADelivery::ForeignKey(_) => "foreign_key",
            NotADelivery::TooLarge { .. } => "too_large",
        }
    }
}

impl<'a> Delivery<'a> {
    pub fn read(received: &'a Received) -> Result<Self, NotADelivery> {
        fits(received)?;
        let headers = &received.record.headers;
        let text = |name: &'static str| headers.text(name).ok_or(NotADelivery::Missing(name));
        let integration = IntegrationId::parse(text(header::TG_INTEGRATION)?)
            .map_err(|e| NotADelivery::Invalid(header::TG_INTEGRATION, e))?;
        let id =
            DeliveryId::parse(text(header::TG_DELIVERY)?).map_err(|e| NotADelivery::Invalid(header::TG_DELIVERY, e))?;
        let key = received.record.key.as_deref().unwrap_or_default();
        if !matches!(key.strip_prefix(integration.as_str().as_bytes()), Some([] | [b'/', ..])) {
            return Err(NotADelivery::ForeignKey(integration));
        }
        let number = |name| headers.text(name).and_then(|v| v.parse().ok());
        let count = |name| number(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Ok(Delivery {
            id,
            integration,
            catalog: number(header::TG_CATALOG).map(Offset),
            earlier_attempts: count(header::TG_ATTEMPT),
            redrives: count(header::TG_REDRIVES),
            received,
        })
    }

    pub fn headers(&self) -> &'a Headers {
        &self.received.record.headers
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.headers().text(name)
    }

    pub fn payload(&self) -> Bytes {
        self.received.record.value.clone().unwrap_or_default()
    }

    /// The trace that it belongs to: the event's, else one of its own, the same for each of its attempts.
    pub fn trace_id(&self) -> Uuid {
        self.text(header::TRACEPARENT).and_then(trace_id).unwrap_or(self.id.0)
    }
}

fn fits(received: &Received) -> Result<(), NotADelivery> {
    let record = &received.record;
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let parts = [
        ("payload", len(&record.value), MAX_PAYLOAD),
        ("key with the headers", len(&record.key) + record.headers.size(), MAX_ABOUT),
    ];
    match parts.into_iter().find(|(_, bytes, limit)| bytes > limit) {
        Some((part, bytes, limit)) => Err(NotADelivery::TooLarge { part, bytes, limit }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Partition;
    use crate::model::record::Record;
    use crate::model::time::Timestamp;

    const ID: &str = "0197a0b2-3c4d-8e5f-8a6b-7c8d9e0f1a2b";

    fn received(key: Option<&'static str>, headers: &[(&'static str, &'static str)]) -> Received {
        let mut record = Record { key: key.map(Into::into), value: Some("{}".into()), ..Record::default() };
        for (name, value) in headers {
            record.headers.push(*name, *value);
        }
        Received { partition: Partition(3), offset: Offset(17), timestamp: Timestamp(5), record }
    }

    #[test]
    fn a_record_under_a_foreign_key_is_no_delivery() {
        let headers = [("tg_integration", "bills"), ("tg_delivery", ID)];
        for good in ["bills", "bills/Patient/7", "bills/"] {
            assert!(Delivery::read(&received(Some(good), &headers)).is_ok(), "{good}");
        }
        let foreign = NotADelivery::ForeignKey(IntegrationId::parse("bills").unwrap());
        for bad in [None, Some(""), Some("bill"), Some("bills2"), Some("other/bills"), Some("Bills")] {
            assert_eq!(Delivery::read(&received(bad, &headers)).unwrap_err(), foreign, "{bad:?}");
        }
    }

    #[test]
    fn a_record_without_its_headers_is_no_delivery() {
        use NotADelivery::{Invalid, Missing};
        let cases = [
            (vec![], Missing("tg_integration")),
            (vec![("tg_integration", "bills")], Missing("tg_delivery")),
            (vec![("tg_integration", "a/b"), ("tg_delivery", ID)], Invalid("tg_integration", IdError::Identifier)),
            (vec![("tg_integration", "bills"), ("tg_delivery", "7")], Invalid("tg_delivery", IdError::Uuid)),
        ];
        for (headers, expected) in cases {
            assert_eq!(Delivery::read(&received(Some("bills"), &headers)).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_record_whose_dead_letter_might_not_fit_the_log_is_no_delivery() {
        let good = [("tg_integration", "bills"), ("tg_delivery", ID)];
        let sized = |key: usize, payload: usize, header: usize| {
            let mut received = received(None, &good);
            received.record.key = Some(format!("bills/{}", "k".repeat(key)).into());
            received.record.value = Some(vec![b'v'; payload].into());
            received.record.headers.push("x", vec![b'h'; header]);
            Delivery::read(&received).map(|_| ()).map_err(|why| match why {
                NotADelivery::TooLarge { part, .. } => part,
                other => panic!("{other}"),
            })
        };
        let about = Err("key with the headers");
        let cases = [
            ((10, MAX_PAYLOAD, MAX_HEADERS), Ok(())),
            ((10, MAX_PAYLOAD + 1, 0), Err("payload")),
            ((10, 0, MAX_ABOUT), about),
            ((MAX_ABOUT, 0, 0), about),
            ((MAX_ABOUT / 2, 0, MAX_ABOUT / 2), about),
            ((10, 4 << 20, 0), Err("payload")),
        ];
        for ((key, payload, header), expected) in cases {
            assert_eq!(sized(key, payload, header), expected, "{key} {payload} {header}");
        }
    }
}
