//! The catalog as each part of the process wants to see it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::catalog::Catalog;
use crate::deliver::stage::Integrations;
use crate::ingest::accept::KnownOrgs;
use crate::model::ids::{IntegrationId, Offset, OrgId};
use crate::model::integration::OutboundIntegration;
use crate::stream::log::Log;

/// How long a client waits for the catalog when it names an organization that is not known.
const CATCH_UP: Duration = Duration::from_secs(2);

/// A view of the newest snapshot.
#[derive(Clone, Debug)]
pub(super) struct CatalogView(pub Arc<Catalog>);

impl Integrations for CatalogView {
    fn get(&self, id: &IntegrationId) -> Option<Arc<OutboundIntegration>> {
        self.0.snapshot().integration(id).cloned()
    }

    fn is_unreadable(&self, id: &IntegrationId) -> bool {
        self.0.snapshot().is_unreadable(&id.into())
    }

    fn position(&self) -> Offset {
        self.0.snapshot().position()
    }
}

/// The organizations of the newest snapshot, and the log that says whether it is the newest.
pub(super) struct Organizations {
    pub catalog: Arc<Catalog>,
    pub log: Arc<dyn Log>,
}

#[async_trait]
impl KnownOrgs for Organizations {
    fn knows(&self, org: &OrgId) -> bool {
        self.catalog.snapshot().organization(org).is_some()
    }

    fn position(&self) -> Offset {
        self.catalog.snapshot().position()
    }

    async fn catch_up(&self) -> bool {
        self.catalog.catch_up(&*self.log, CATCH_UP).await.is_ok()
    }
}
