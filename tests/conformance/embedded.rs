//! The embedded engine under the suite.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use tidegate::embedded::EmbeddedLog;
use tidegate::model::ids::{Offset, Partition};
use tidegate::model::time::SystemClock;
use tidegate::model::topic::Topic;
use tidegate::stream::log::Log;
use tidegate::topology::{BUILT_IN, Declared};

use crate::cases;
use crate::harness::World;

/// A file of its own; every instance is the one process that has it.
struct Embedded {
    log: Arc<EmbeddedLog>,
    _dir: TempDir,
}

/// The built-in topology with four partitions where there are several, as the cases want them.
fn declared() -> Declared {
    let four = |line: &str| match line.split_once("partitions:") {
        Some((indent, count)) if indent.trim().is_empty() && count.trim() != "1" => format!("{indent}partitions: 4"),
        _ => line.to_owned(),
    };
    let text = BUILT_IN.lines().map(four).collect::<Vec<_>>().join("\n");
    Declared::parse(&text, None).expect("the topology with other partitions")
}

impl Embedded {
    async fn create() -> Embedded {
        let dir = tempfile::tempdir().expect("a folder");
        let log = EmbeddedLog::open(dir.path(), &declared(), Arc::new(SystemClock)).await.expect("a new log");
        Embedded { log: Arc::new(log), _dir: dir }
    }
}

#[async_trait]
impl World for Embedded {
    async fn open(&self, _instance: &str) -> Arc<dyn Log> {
        self.log.clone()
    }

    async fn delete_before(&self, topic: Topic, partition: Partition, offset: Offset) {
        self.log.delete_before(topic, partition, offset).await.unwrap();
    }
}

macro_rules! on_embedded {
    ($($case:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            cases::$case(&Embedded::create().await).await;
        })*
    };
}

cases::each!(on_embedded);
