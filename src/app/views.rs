//! The catalog as each part of the process wants to see it.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::deliver::stage::Integrations;
use crate::ingest::accept::KnownOrgs;
use crate::model::ids::{IntegrationId, Offset, OrgId};
use crate::model::integration::OutboundIntegration;

/// A view of the newest snapshot.
#[derive(Clone, Debug)]
pub(super) struct CatalogView(pub Arc<Catalog>);

impl Integrations for CatalogView {
    fn get(&self, id: &IntegrationId) -> Option<Arc<OutboundIntegration>> {
        self.0.snapshot().integration(id).cloned()
    }

    fn position(&self) -> Offset {
        self.0.snapshot().position()
    }
}

impl KnownOrgs for CatalogView {
    fn knows(&self, org: &OrgId) -> bool {
        self.0.snapshot().organization(org).is_some()
    }
}
