//! Every metric's name and description. Labels are bounded: no label takes its values from what a producer sends.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub const EVENTS_ACCEPTED: &str = "tidegate_events_accepted_total";
pub const EVENTS_MATCHED: &str = "tidegate_events_matched_total";
pub const EVENTS_SKIPPED: &str = "tidegate_events_skipped_total";
pub const REJECTED: &str = "tidegate_rejected_total";
pub const DELIVERIES: &str = "tidegate_deliveries_total";
pub const ATTEMPT_SECONDS: &str = "tidegate_delivery_attempt_seconds";
pub const EVENT_TO_DELIVERY_SECONDS: &str = "tidegate_event_to_delivery_seconds";
pub const RETRIES: &str = "tidegate_retries_total";
pub const DEAD_LETTERS: &str = "tidegate_dead_letters_total";
pub const INTEGRATION_FAILURES: &str = "tidegate_integration_failures_total";
pub const LANES: &str = "tidegate_lanes";
pub const WINDOW_FILL: &str = "tidegate_window_fill";
pub const IN_FLIGHT: &str = "tidegate_deliveries_in_flight";
pub const TRANSACTION_SECONDS: &str = "tidegate_transaction_seconds";
pub const HTTP_REQUEST_SECONDS: &str = "tidegate_http_request_seconds";
pub const CONNECTIONS_REFUSED: &str = "tidegate_http_connections_refused_total";
pub const CATALOG_POSITION: &str = "tidegate_catalog_position";
pub const CATALOG_UNREADABLE: &str = "tidegate_catalog_unreadable_total";
pub const LOG_SKIPPED: &str = "tidegate_log_skipped_records_total";
pub const STAGE_RESTARTS: &str = "tidegate_stage_restarts_total";
pub const TRANSACTION_ABORTS: &str = "tidegate_transaction_aborts_total";
pub const PRODUCERS_REPLACED: &str = "tidegate_transaction_producers_replaced_total";
pub const REJOINS: &str = "tidegate_rejoins_total";
pub const BROKERS_UP: &str = "tidegate_kafka_brokers_up";
pub const QUEUED_MESSAGES: &str = "tidegate_kafka_queued_messages";
pub const REQUEST_TIMEOUTS: &str = "tidegate_kafka_request_timeouts_total";
pub const CONNECTION_ERRORS: &str = "tidegate_kafka_connection_errors_total";
pub const HISTORY_RECORDS: &str = "tidegate_history_records_total";
pub const HISTORY_UNREADABLE: &str = "tidegate_history_unreadable_total";
pub const HISTORY_LAG: &str = "tidegate_history_lag_records";
pub const HISTORY_WRITE_SECONDS: &str = "tidegate_history_write_seconds";
pub const HISTORY_PRUNED: &str = "tidegate_history_pruned_rows_total";
pub const DEAD_LETTERS_KEPT: &str = "tidegate_dead_letters";
pub const OLDEST_UNFINISHED: &str = "tidegate_oldest_unfinished_seconds";
pub const STORE_POOL: &str = "tidegate_store_pool";
pub const CONSUMER_LAG: &str = "kafka_consumergroup_lag";

/// Seconds, from half a millisecond (a receiver next door) to the longest time-out and the longest wait.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Installs the recorder; the handle renders the text format.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!(EVENTS_ACCEPTED, "Events accepted and durable, by kind of source");
    describe_counter!(EVENTS_MATCHED, "Events that matched at least one integration");
    describe_counter!(
        EVENTS_SKIPPED,
        "Events, or their match with an integration, that ended without a delivery, by reason"
    );
    describe_counter!(
        REJECTED,
        "Records that could not be understood and went to the rejected topic, by stage and reason"
    );
    describe_counter!(DELIVERIES, "Deliveries that ended, by delivery status and error category");
    describe_histogram!(ATTEMPT_SECONDS, Unit::Seconds, "Time of one attempt, request to answer");
    describe_histogram!(
        EVENT_TO_DELIVERY_SECONDS,
        Unit::Seconds,
        "Time from the timestamp of a delivery's record in the log to its success, for deliveries that an event caused"
    );
    describe_counter!(RETRIES, "Retries planned, by the size of their delay");
    describe_counter!(DEAD_LETTERS, "Deliveries that went to the dead-letter topic");
    describe_counter!(INTEGRATION_FAILURES, "Failed attempts by integration (the first 1,000 that fail)");
    describe_gauge!(LANES, "Lanes that wait, by reason");
    describe_gauge!(
        WINDOW_FILL,
        "How much of the window of unfinished offsets is used, 0 to 1, by topic and partition"
    );
    describe_gauge!(IN_FLIGHT, "Requests under way");
    describe_histogram!(TRANSACTION_SECONDS, Unit::Seconds, "Time of one committed flush, by stage");
    describe_histogram!(
        HTTP_REQUEST_SECONDS,
        Unit::Seconds,
        "Time of a request to the API, by route, method and status"
    );
    describe_counter!(
        CONNECTIONS_REFUSED,
        "Connections that were closed because their address holds as many as one may"
    );
    describe_gauge!(CATALOG_POSITION, "Offset of the catalog that this process has reached");
    describe_counter!(CATALOG_UNREADABLE, "Catalog records that could not be read and were passed over");
    describe_counter!(LOG_SKIPPED, "Records lost to retention before they were read, by topic");
    describe_counter!(TRANSACTION_ABORTS, "Flushes that were aborted and written again, by stage");
    describe_counter!(PRODUCERS_REPLACED, "Transactional producers that had to be made anew, by stage");
    describe_counter!(REJOINS, "Times a member left its group to join it again, by stage");
    describe_gauge!(BROKERS_UP, "Brokers that a client is connected to");
    describe_gauge!(QUEUED_MESSAGES, "Messages in the queues of a client");
    describe_counter!(REQUEST_TIMEOUTS, "Requests to brokers that timed out, by client");
    describe_counter!(CONNECTION_ERRORS, "Connections to brokers that failed, by client");
    describe_counter!(STAGE_RESTARTS, "Restarts of a stage after a failure, by stage");
    describe_counter!(HISTORY_RECORDS, "Records projected into the history store, by topic");
    describe_counter!(HISTORY_UNREADABLE, "Records that tell history nothing, such as events that are none");
    describe_gauge!(HISTORY_LAG, "Records that the history store is behind the log, by topic");
    describe_histogram!(
        HISTORY_WRITE_SECONDS,
        Unit::Seconds,
        "Time until a batch was in the history store, waiting for a store that is away included"
    );
    describe_counter!(HISTORY_PRUNED, "Rows that retention deleted from the history store, or freed of their bodies");
    describe_gauge!(
        DEAD_LETTERS_KEPT,
        "Dead letters that the history store has and nobody has put back, 100,000 at most"
    );
    describe_gauge!(
        OLDEST_UNFINISHED,
        Unit::Seconds,
        "Age of the oldest delivery that the history store knows of and that has not ended, by topic; 0: none"
    );
    describe_gauge!(STORE_POOL, "Connections that read the history store, by state");
    describe_gauge!(CONSUMER_LAG, "Records between the committed and the last offset, by group, topic and partition");
}
