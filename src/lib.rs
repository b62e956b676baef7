//! Tidegate, a Kafka-native event gateway. Begin reading at `app`, then follow an event: `ingest`, `matching`, `lanes`,
//! `deliver`.

pub mod bench;
pub mod catalog;
pub mod config;
pub mod matching;
pub mod model;
pub mod stream;
pub mod telemetry;
