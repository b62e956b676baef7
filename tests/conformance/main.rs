//! The conformance suite of the log port. `cases` hold every engine to the promises of `stream::log`; the engines' own files
//! run them, and add the failures that only that engine can have.
//!
//! Kafka: a broker is named by `TIDEGATE_TEST_KAFKA` (`host:port`). Every test has a prefix of its own.

mod cases;
mod embedded;
mod harness;
mod kafka;
mod kafka_failures;
mod kafka_processes;
mod proxy;
