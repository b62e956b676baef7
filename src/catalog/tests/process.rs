//! A process for tests: a writer and a follower with a catalog of their own, on a log that fails on demand.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition, Tag};
use crate::catalog::fake::SharedFake;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::samples::{integration, organization};
use crate::catalog::seal::Keyring;
use crate::catalog::writer::{Limits, WriteError, Writer};
use crate::catalog::{Catalog, Follower};
use crate::model::record::Record;
use crate::model::time::{ManualClock, Timestamp};
use crate::stream::log::LogError;

pub const SOON: Duration = Duration::from_secs(5);

/// One process with a catalog of its own on a shared log.
pub struct Process {
    pub log: SharedFake,
    pub catalog: Arc<Catalog>,
    pub writer: Writer,
    pub clock: Arc<ManualClock>,
    pub follower: JoinHandle<Result<(), LogError>>,
    pub running: DropGuard,
}

pub fn process(log: &SharedFake) -> Process {
    let limits = Limits { patience: SOON, pause_ms: 0..=1, ..Limits::default() };
    process_with(log, limits)
}

pub fn process_with(log: &SharedFake, limits: Limits) -> Process {
    let (catalog, running) = (Arc::new(Catalog::default()), CancellationToken::new());
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let follower = Follower::new(Arc::new(log.clone()), Arc::clone(&catalog));
    let follower = tokio::spawn(follower.run(running.clone()));
    let writer = Writer::new(Arc::new(log.clone()), Arc::clone(&catalog), clock.clone(), limits);
    Process { log: log.clone(), catalog, writer, clock, follower, running: running.drop_guard() }
}

pub fn create(resource: Resource) -> Change {
    Change { key: resource.key(), of: None, condition: Condition::None, action: Action::Create(resource.to_json()) }
}

pub fn somebody() -> Origin {
    Origin { actor: "user:ada".to_owned(), address: None, request_id: None }
}

pub fn org(id: &str) -> Resource {
    organization(id).into()
}

pub fn bills() -> Resource {
    integration("648", "bills").into()
}

pub fn change(key: Key, action: Action) -> Change {
    Change { key, of: None, condition: Condition::None, action }
}

pub fn record(resource: &Resource) -> Record {
    let key = Some(resource.key().to_string().into());
    Record { key, value: Some(resource.to_bytes()), ..Record::default() }
}

pub fn bills_key() -> Key {
    Key::of(Kind::OutboundIntegration, "bills").unwrap()
}

pub fn org_key() -> Key {
    Key::of(Kind::Organization, "648").unwrap()
}

impl Process {
    /// With organization 648, and these keys.
    pub async fn sealing(log: &SharedFake, keyring: Option<Arc<Keyring>>) -> Self {
        let process = process(log);
        let process = Process { writer: process.writer.sealing_with(keyring), ..process };
        // Another process may have made it.
        let _ = process.write(create(org("648"))).await;
        process
    }

    pub async fn with_org(self) -> Self {
        self.write(create(org("648"))).await.unwrap();
        self
    }

    pub async fn write(&self, change: Change) -> Result<Resource, WriteError> {
        self.writer.write(change, &somebody()).await
    }

    pub fn has_bills(&self) -> bool {
        self.catalog.snapshot().get(&bills_key()).is_some()
    }
}

/// One of these versions, whichever resource has the id.
pub fn at(versions: &[u64]) -> Condition {
    Condition::Versions(versions.iter().map(|version| Tag { version: *version, made_at: None }).collect())
}
