//! Tidegate, a Kafka-native event gateway. Begin reading at `app`, then follow an event: `ingest`, `matching`, `lanes`,
//! `deliver`.

pub mod lanes;
pub mod model;
pub mod stream;
