//! What went wrong, in the style of what arrives.

use crate::cli::output::one_line;
use crate::model::record::{Received, header};
use crate::model::topic::Topic;

/// Where it is told that an event goes no further.
pub(super) const TOPICS: &[Topic] = &[Topic::Rejected, Topic::Dlq];

/// Two lines about a record of one of `TOPICS`.
pub(super) fn lines(topic: Topic, received: &Received) -> String {
    let text = |name: &str| one_line(received.record.headers.text(name).unwrap_or("-"));
    let (event_type, event) = (text(header::CE_TYPE), text(header::CE_ID));
    match topic {
        Topic::Dlq => format!(
            "  !! dead letter  {event_type}  event {event}  delivery {}\n     {} gave up after attempt {}: {}",
            text(header::TG_DELIVERY),
            text(header::TG_INTEGRATION),
            text(header::TG_ATTEMPT),
            text(header::TG_ERROR),
        ),
        _ => format!(
            "  !! rejected  {event_type}  event {event}  at {}-{}, offset {}\n     {}: {}",
            text(header::ERRORS_TOPIC),
            text(header::ERRORS_PARTITION),
            text(header::ERRORS_OFFSET),
            text(header::ERRORS_CLASS),
            text(header::ERRORS_MESSAGE),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{Offset, Partition};
    use crate::model::record::Record;
    use crate::model::rejected::{Rejection, rejected};
    use crate::model::time::Timestamp;

    fn received(record: Record) -> Received {
        Received { partition: Partition(2), offset: Offset(7), timestamp: Timestamp(0), record }
    }

    #[test]
    fn what_goes_no_further_is_told_with_its_reason_and_no_more_than_two_lines() {
        let mut record = Record::default();
        record.headers.push(header::CE_TYPE, "patient.created");
        record.headers.push(header::CE_ID, "e1\n  <- POST /forged");
        let why =
            Rejection { stage: "match", topic: Topic::Events, reason: "unknown_org", message: "no organization 9" };
        assert_eq!(
            lines(Topic::Rejected, &received(rejected(&received(record.clone()), why).record)),
            "  !! rejected  patient.created  event e1\\n  <- POST /forged  at events-2, offset 7\n     unknown_org: no organization 9"
        );
        record.headers.set(header::CE_ID, "e2");
        for (name, value) in [
            (header::TG_DELIVERY, "d1"),
            (header::TG_INTEGRATION, "bills"),
            (header::TG_ATTEMPT, "7"),
            (header::TG_ERROR, "HTTP_ERROR: 500"),
        ] {
            record.headers.push(name, value);
        }
        assert_eq!(
            lines(Topic::Dlq, &received(record)),
            "  !! dead letter  patient.created  event e2  delivery d1\n     bills gave up after attempt 7: HTTP_ERROR: 500"
        );
    }
}
