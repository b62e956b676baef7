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

on_kafka! {
    what_was_appended_is_read_back_whole_and_in_order,
    a_record_that_is_too_large_is_refused_and_the_rest_of_the_log_goes_on,
    outputs_and_offsets_are_committed_together,
    metadata_of_four_thousand_characters_comes_back_as_it_was,
    a_committed_offset_may_go_back,
    progress_behind_the_logs_end_is_that_of_another_log,
    a_reader_rewinds_and_starts_where_it_is_told,
    a_reader_whose_offset_is_gone_is_told_where_the_log_starts,
    a_reader_may_seek_as_often_and_end_as_soon_as_it_likes,
    a_member_whose_offset_is_gone_is_told_what_was_lost_and_goes_on,
    a_live_member_that_retention_overtakes_is_told_what_was_lost_and_goes_on,
    a_table_is_the_last_record_of_each_key_without_tombstones,
    a_stage_that_gives_no_room_back_is_given_no_more_than_its_bound,
    a_revoked_partition_is_left_out_and_the_others_are_committed,
    a_rebalance_waits_until_the_stage_has_drained,
    two_members_under_load_process_every_record_once_in_effect,
    of_two_that_take_a_seat_only_the_last_can_write,
}
