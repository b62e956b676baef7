//! The Kafka engine under the suite.

use std::sync::Arc;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::TopicPartitionList;
use tidegate::kafka::{KafkaConfig, KafkaLog};
use tidegate::model::ids::{Offset, Partition};
use tidegate::model::topic::Topic;
use tidegate::stream::log::Log;

use crate::cases;
use crate::harness::{World, within};

/// The broker that `TIDEGATE_TEST_KAFKA` names.
pub fn brokers() -> String {
    match std::env::var("TIDEGATE_TEST_KAFKA") {
        Ok(brokers) if !brokers.is_empty() => brokers,
        _ => panic!(
            "TIDEGATE_TEST_KAFKA is not set: it names the Kafka broker to test against, host:port; \
             `compose/local up` starts one, `make test` sets it"
        ),
    }
}

/// Topics of its own on the broker.
pub struct Kafka {
    pub brokers: String,
    pub prefix: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Kafka {
    pub async fn create() -> Kafka {
        let brokers = brokers();
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        let world = Kafka { brokers, prefix, admin };
        let names: Vec<_> = Topic::ALL.iter().map(|t| t.full_name(&world.prefix)).collect();
        let topics: Vec<_> = names
            .iter()
            .map(|n| NewTopic::new(n, 4, TopicReplication::Fixed(1)).set("max.message.bytes", "4194304"))
            .collect();
        let made = within("the topics are created", world.admin.create_topics(&topics, &AdminOptions::new())).await;
        assert!(made.unwrap().iter().all(Result::is_ok), "topics could not be created");
        within("the brokers know the topics", async {
            let log = world.open("setup").await;
            for topic in Topic::ALL {
                while log.end(topic, Partition(3)).await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        world
    }

    /// The configuration of a process of this name: dynamic membership, the shortest session that brokers take.
    pub fn config(&self, instance: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new(&self.brokers, &self.prefix, 0);
        config.default_instance = instance.to_owned();
        config.properties.insert("session.timeout.ms".into(), "6000".into());
        config
    }
}

#[async_trait]
impl World for Kafka {
    async fn open(&self, instance: &str) -> Arc<dyn Log> {
        Arc::new(within("the broker answers", KafkaLog::connect(self.config(instance))).await.unwrap())
    }

    async fn delete_before(&self, topic: Topic, partition: Partition, offset: Offset) {
        let mut list = TopicPartitionList::new();
        let name = topic.full_name(&self.prefix);
        list.add_partition_offset(&name, partition.0, rdkafka::Offset::Offset(offset.0)).unwrap();
        let deleted = self.admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
        assert!(deleted.elements().iter().all(|e| e.error().is_ok()));
    }
}

macro_rules! on_kafka {
    ($($case:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            cases::$case(&Kafka::create().await).await;
        })*
    };
}

cases::each!(on_kafka);
