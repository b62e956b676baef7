//! Tidegate, a Kafka-native event gateway. Begin reading at `app`, then follow an event: `ingest`, `matching`, `lanes`,
//! `deliver`.

pub mod api;
pub mod app;
pub mod bench;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod deliver;
pub mod embedded;
pub mod history;
pub mod ingest;
pub mod kafka;
pub mod lanes;
pub mod matching;
pub mod model;
pub mod sqlite;
pub mod stream;
pub mod telemetry;
pub mod topology;
