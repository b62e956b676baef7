//! Who may use the machine: two cores carry the broker, the gateways, the receivers and the tests.

use std::sync::LazyLock;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);

/// Beside other tests.
pub async fn beside() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}

/// With no other test running: for those that measure time, or that load both cores.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}
