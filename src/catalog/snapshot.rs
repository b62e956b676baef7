//! The catalog as it stood at one offset: immutable, shared, and cheap to follow by the next one.

use std::sync::Arc;

use crate::catalog::shared::SharedMap;
use crate::model::ids::{IntegrationId, Offset, OrgId};
use crate::model::integration::OutboundIntegration;
use crate::model::org::Organization;

/// Everything configured, as of `position`. A clone shares all that is not changed afterwards.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    position: Offset,
    orgs: SharedMap<OrgId, Arc<OrgView>>,
    integrations: SharedMap<IntegrationId, Arc<OutboundIntegration>>,
    /// Whose newest record could not be read, by a version of this program that is older than its writer as a rule.
    unreadable: SharedMap<IntegrationId, ()>,
}

/// One organisation and what is its own. The same `Arc` as long as nothing of the organisation changes: what was derived
/// from it is good while `Arc::ptr_eq` holds.
#[derive(Clone, Debug, Default)]
pub struct OrgView {
    organization: Option<Arc<Organization>>,
    integrations: SharedMap<IntegrationId, Arc<OutboundIntegration>>,
}

impl OrgView {
    /// `None` while only integrations of it are known: the log may hold them before it.
    pub fn organization(&self) -> Option<&Arc<Organization>> {
        self.organization.as_ref()
    }

    /// In the order of their ids.
    pub fn integrations(&self) -> &SharedMap<IntegrationId, Arc<OutboundIntegration>> {
        &self.integrations
    }
}

impl Snapshot {
    /// The next offset of the catalog topic that it does not hold: everything below is in it.
    pub fn position(&self) -> Offset {
        self.position
    }

    pub fn organization(&self, id: &OrgId) -> Option<&Arc<Organization>> {
        self.orgs.get(id)?.organization()
    }

    pub fn org(&self, id: &OrgId) -> Option<&Arc<OrgView>> {
        self.orgs.get(id)
    }

    /// In the order of their ids.
    pub fn orgs(&self) -> &SharedMap<OrgId, Arc<OrgView>> {
        &self.orgs
    }

    pub fn integration(&self, id: &IntegrationId) -> Option<&Arc<OutboundIntegration>> {
        self.integrations.get(id)
    }

    /// Is its newest record one that could not be read?
    pub fn is_unreadable(&self, id: &IntegrationId) -> bool {
        self.unreadable.get(id).is_some()
    }

    pub fn set_unreadable(&mut self, id: &IntegrationId) {
        self.unreadable.insert(id.clone(), ());
    }

    /// Of all organisations, in the order of their ids.
    pub fn integrations(&self) -> &SharedMap<IntegrationId, Arc<OutboundIntegration>> {
        &self.integrations
    }

    pub fn advance(&mut self, position: Offset) {
        self.position = position;
    }

    pub fn put_organization(&mut self, organization: impl Into<Arc<Organization>>) {
        let organization = organization.into();
        let id = organization.org_id.clone();
        self.edit_org(&id, |view| view.organization = Some(organization));
    }

    pub fn remove_organization(&mut self, id: &OrgId) {
        if self.orgs.get(id).is_some() {
            self.edit_org(id, |view| view.organization = None);
        }
    }

    pub fn put_integration(&mut self, integration: impl Into<Arc<OutboundIntegration>>) {
        let integration = integration.into();
        self.remove_integration_elsewhere(&integration);
        let id = integration.id.clone();
        self.unreadable.remove(&id);
        self.integrations.insert(id.clone(), Arc::clone(&integration));
        let org = integration.org_id.clone();
        self.edit_org(&org, |view| view.integrations.insert(id, integration));
    }

    pub fn remove_integration(&mut self, id: &IntegrationId) {
        self.unreadable.remove(id);
        if let Some(old) = self.integrations.remove(id) {
            self.edit_org(&old.org_id, |view| {
                view.integrations.remove(id);
            });
        }
    }

    /// An id that was deleted and made again may have come to another organisation; compaction hides the tombstone.
    fn remove_integration_elsewhere(&mut self, integration: &OutboundIntegration) {
        let moved = self.integrations.get(&integration.id).is_some_and(|old| old.org_id != integration.org_id);
        if moved {
            self.remove_integration(&integration.id);
        }
    }

    /// Takes the view out, so that it is copied only where a published snapshot still holds it.
    fn edit_org(&mut self, id: &OrgId, edit: impl FnOnce(&mut OrgView)) {
        let mut view = self.orgs.remove(id).unwrap_or_default();
        edit(Arc::make_mut(&mut view));
        if view.organization.is_some() || !view.integrations.is_empty() {
            self.orgs.insert(id.clone(), view);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::samples::{integration, organization};

    fn org(id: &str) -> OrgId {
        OrgId::parse(id).unwrap()
    }

    fn two_orgs() -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.put_organization(organization("a"));
        snapshot.put_organization(organization("b"));
        snapshot.put_integration(integration("a", "a1"));
        snapshot.put_integration(integration("b", "b1"));
        snapshot
    }

    #[test]
    fn a_change_in_one_organisation_keeps_the_views_of_all_others() {
        let before = two_orgs();
        let mut after = before.clone();
        after.put_integration(integration("a", "a2"));
        assert!(!Arc::ptr_eq(before.org(&org("a")).unwrap(), after.org(&org("a")).unwrap()));
        assert!(Arc::ptr_eq(before.org(&org("b")).unwrap(), after.org(&org("b")).unwrap()));
        assert_eq!(before.org(&org("a")).unwrap().integrations().len(), 1, "a published snapshot never changes");
        assert_eq!(after.org(&org("a")).unwrap().integrations().len(), 2);
    }

    #[test]
    fn an_integration_made_again_in_another_organisation_leaves_the_first() {
        let mut snapshot = two_orgs();
        snapshot.put_integration(integration("b", "a1"));
        assert!(snapshot.org(&org("a")).unwrap().integrations().is_empty());
        assert_eq!(snapshot.org(&org("b")).unwrap().integrations().len(), 2);
        assert_eq!(snapshot.integrations().len(), 2);
    }

    #[test]
    fn what_is_deleted_is_gone_from_every_view() {
        let mut snapshot = two_orgs();
        snapshot.remove_integration(&IntegrationId::parse("a1").unwrap());
        snapshot.remove_organization(&org("a"));
        assert!(snapshot.org(&org("a")).is_none());
        assert_eq!((snapshot.orgs().len(), snapshot.integrations().len()), (1, 1));
    }

    #[test]
    fn integrations_read_before_their_organisation_are_kept() {
        let mut snapshot = Snapshot::default();
        snapshot.put_integration(integration("a", "a1"));
        assert!(snapshot.organization(&org("a")).is_none());
        snapshot.put_organization(organization("a"));
        assert_eq!(snapshot.org(&org("a")).unwrap().integrations().len(), 1);
    }
}
