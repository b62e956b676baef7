//! The whole system on a real Apache Kafka: gateways as processes, receivers on loopback, and what can happen to each.
//!
//! One binary, so that it is linked once; every test is named after the failure that it is about. Run with `make test`, or
//! while working on some of them: `scripts/with-kafka cargo test --test gateway -- killed`.

mod support;
mod topology;

#[path = "gateway/applied.rs"]
mod applied;
#[path = "gateway/backlog.rs"]
mod backlog;
#[path = "gateway/broker.rs"]
mod broker;
#[path = "gateway/cli.rs"]
mod cli;
#[path = "gateway/day.rs"]
mod day;
#[path = "gateway/dead.rs"]
mod dead;
#[path = "gateway/dev.rs"]
mod dev;
#[path = "gateway/harness.rs"]
mod harness;
#[path = "gateway/history.rs"]
mod history;
#[path = "gateway/instances.rs"]
mod instances;
#[path = "gateway/killed.rs"]
mod killed;
#[path = "gateway/people.rs"]
mod people;
#[path = "gateway/poison.rs"]
mod poison;
#[path = "gateway/receivers.rs"]
mod receivers;
#[path = "gateway/refused.rs"]
mod refused;
#[path = "gateway/sealed.rs"]
mod sealed;
#[path = "gateway/storage.rs"]
mod storage;
#[path = "gateway/switched.rs"]
mod switched;
#[path = "gateway/writers.rs"]
mod writers;
