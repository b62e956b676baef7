//! The catalog as it stood at one offset: immutable, shared, and cheap to follow by the next one.

use std::sync::Arc;

use crate::catalog::kind::{Key, Kind};
use crate::catalog::kinds::OrgUnit;
use crate::catalog::resource::{Body, Resource};
use crate::catalog::shared::SharedMap;
use crate::model::ids::{IntegrationId, Offset, OrgId, ResourceId, Rid};
use crate::model::integration::OutboundIntegration;
use crate::model::org::Organization;
use crate::model::time::Timestamp;

/// Everything configured, as of `position`. A clone shares all that is not changed afterwards.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    position: Offset,
    changed: Offset,
    /// By kind.
    resources: [SharedMap<ResourceId, Resource>; Kind::ALL.len()],
    orgs: SharedMap<OrgId, Arc<OrgView>>,
    /// Whose newest record could not be read, by a version of this program that is older than its writer as a rule.
    unreadable: SharedMap<Key, ()>,
    /// Who refers to what: `(to, from)`.
    references: SharedMap<(Key, Key), ()>,
    /// Who has what only one may have. While changes of one write are weighed, and where older rules wrote them, two may.
    holders: SharedMap<(Box<str>, Key), ()>,
}

/// One organization and what is its own. The same `Arc` as long as nothing of the organization changes: what was derived
/// from it is good while `Arc::ptr_eq` holds.
#[derive(Clone, Debug, Default)]
pub struct OrgView {
    organization: Option<Arc<Organization>>,
    created_at: Timestamp,
    integrations: SharedMap<IntegrationId, Arc<OutboundIntegration>>,
    units: SharedMap<Rid, Arc<OrgUnit>>,
}

impl OrgView {
    /// `None` while only what it owns is known: the log may hold that before it.
    pub fn organization(&self) -> Option<&Arc<Organization>> {
        self.organization.as_ref()
    }

    /// When the organization was made.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// In the order of their ids.
    pub fn integrations(&self) -> &SharedMap<IntegrationId, Arc<OutboundIntegration>> {
        &self.integrations
    }

    pub fn units(&self) -> &SharedMap<Rid, Arc<OrgUnit>> {
        &self.units
    }

    fn is_empty(&self) -> bool {
        self.organization.is_none() && self.integrations.is_empty() && self.units.is_empty()
    }

    fn put(&mut self, resource: &Resource) {
        match &resource.body {
            Body::Organization(org) => {
                self.organization = Some(Arc::clone(org));
                self.created_at = resource.revision.created_at;
            }
            Body::OutboundIntegration(one) => self.integrations.insert(one.id.clone(), Arc::clone(one)),
            Body::OrgUnit(unit) => self.units.insert(unit.rid.clone(), Arc::clone(unit)),
            _ => {}
        }
    }

    fn remove(&mut self, resource: &Resource) {
        match &resource.body {
            Body::Organization(_) => self.organization = None,
            Body::OutboundIntegration(one) => drop(self.integrations.remove(&one.id)),
            Body::OrgUnit(unit) => drop(self.units.remove(&unit.rid)),
            _ => {}
        }
    }

    /// Does the view of its organization show what this resource holds?
    fn shows(resource: &Resource) -> bool {
        matches!(resource.kind(), Kind::Organization | Kind::OutboundIntegration | Kind::OrgUnit)
    }
}

impl Snapshot {
    /// The next offset of the catalog topic that it does not hold: everything below is in it.
    pub fn position(&self) -> Offset {
        self.position
    }

    pub fn advance(&mut self, position: Offset) {
        self.position = position;
    }

    /// The offset after the newest change of the configuration in it: unlike `position` it moves neither with users and keys nor
    /// with what transactions leave in the log beside their records.
    pub fn changed(&self) -> Offset {
        self.changed
    }

    /// It holds the change of the configuration at this offset.
    pub fn has(&mut self, offset: Offset) {
        self.changed = Offset(offset.0 + 1);
    }

    pub fn get(&self, key: &Key) -> Option<&Resource> {
        self.all(key.kind).get(&key.id)
    }

    /// The resources of a kind, in the order of their ids.
    pub fn all(&self, kind: Kind) -> &SharedMap<ResourceId, Resource> {
        &self.resources[kind as usize]
    }

    /// Which resource of this kind has what only one may have.
    pub fn holder(&self, kind: Kind, value: &str) -> Option<&Key> {
        self.holders(kind, value).next()
    }

    /// The same where there may be several.
    pub fn holders(&self, kind: Kind, value: &str) -> impl Iterator<Item = &Key> + use<'_> {
        let start = (Box::from(value), Key { kind, id: ResourceId::least() });
        let found = self.holders.iter_from(&start).map(|(pair, ())| pair);
        found.take_while(move |(held, by)| *held == start.0 && by.kind == kind).map(|(_, by)| by)
    }

    /// Who refers to it, in the order of kinds and ids.
    pub fn referrers<'a>(&'a self, to: &'a Key) -> impl Iterator<Item = &'a Key> {
        // No kind and no id sorts before these.
        let start = (to.clone(), Key { kind: Kind::Organization, id: ResourceId::least() });
        let found = self.references.iter_from(&start).map(|(pair, ())| pair);
        found.take_while(move |(target, _)| target == to).map(|(_, by)| by)
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
        match &self.all(Kind::OutboundIntegration).get(id.as_str())?.body {
            Body::OutboundIntegration(one) => Some(one),
            _ => None,
        }
    }

    /// Is its newest record one that could not be read?
    pub fn is_unreadable(&self, key: &Key) -> bool {
        self.unreadable.get(key).is_some()
    }

    /// Its newest record cannot be read here. What was known of it stays, and its absence says nothing.
    pub fn set_unreadable(&mut self, key: &Key) {
        self.unreadable.insert(key.clone(), ());
    }

    pub fn put(&mut self, resource: impl Into<Resource>) {
        let resource = resource.into();
        let key = resource.key();
        // An id that was deleted and made again may have come to another organization; compaction hides the tombstone.
        self.take_out(&key, Some(&resource));
        self.unreadable.remove(&key);
        for reference in resource.references() {
            self.references.insert((reference.to, key.clone()), ());
        }
        if let Some((_, value)) = resource.unique() {
            self.holders.insert((value.into(), key.clone()), ());
        }
        if let Some(org) = resource.org().filter(|_| OrgView::shows(&resource)) {
            self.edit_org(&org.clone(), |view| view.put(&resource));
        }
        self.resources[key.kind as usize].insert(key.id, resource);
    }

    pub fn remove(&mut self, key: &Key) {
        self.unreadable.remove(key);
        self.take_out(key, None);
        self.resources[key.kind as usize].remove(&key.id);
    }

    /// Forgets what was derived from a resource, but for what `by` says again.
    fn take_out(&mut self, key: &Key, by: Option<&Resource>) {
        let Some(old) = self.get(key).cloned() else { return };
        for reference in old.references() {
            self.references.remove(&(reference.to, key.clone()));
        }
        if let Some((_, value)) = old.unique() {
            self.holders.remove(&(Box::from(value), key.clone()));
        }
        let stays = by.is_some_and(|new| new.org() == old.org());
        if let Some(org) = old.org().filter(|_| OrgView::shows(&old) && !stays) {
            self.edit_org(&org.clone(), |view| view.remove(&old));
        }
    }

    /// Takes the view out, so that it is copied only where a published snapshot still holds it.
    fn edit_org(&mut self, id: &OrgId, edit: impl FnOnce(&mut OrgView)) {
        let mut view = self.orgs.remove(id).unwrap_or_default();
        edit(Arc::make_mut(&mut view));
        if !view.is_empty() {
            self.orgs.insert(id.clone(), view);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::samples::{integration, organization, unit};

    fn org(id: &str) -> OrgId {
        OrgId::parse(id).unwrap()
    }

    fn key(kind: Kind, id: &str) -> Key {
        Key::of(kind, id).unwrap()
    }

    fn two_orgs() -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.put(organization("a"));
        snapshot.put(organization("b"));
        snapshot.put(integration("a", "a1"));
        snapshot.put(integration("b", "b1"));
        snapshot
    }

    #[test]
    fn a_change_in_one_organization_keeps_the_views_of_all_others() {
        let before = two_orgs();
        let mut after = before.clone();
        after.put(integration("a", "a2"));
        assert!(!Arc::ptr_eq(before.org(&org("a")).unwrap(), after.org(&org("a")).unwrap()));
        assert!(Arc::ptr_eq(before.org(&org("b")).unwrap(), after.org(&org("b")).unwrap()));
        assert_eq!(before.org(&org("a")).unwrap().integrations().len(), 1, "a published snapshot never changes");
        assert_eq!(after.org(&org("a")).unwrap().integrations().len(), 2);
    }

    #[test]
    fn an_integration_made_again_in_another_organization_leaves_the_first() {
        let mut snapshot = two_orgs();
        snapshot.put(integration("b", "a1"));
        assert!(snapshot.org(&org("a")).unwrap().integrations().is_empty());
        assert_eq!(snapshot.org(&org("b")).unwrap().integrations().len(), 2);
        assert_eq!(snapshot.all(Kind::OutboundIntegration).len(), 2);
        let of = |org: &str| snapshot.referrers(&key(Kind::Organization, org)).map(Key::to_string).collect::<Vec<_>>();
        assert_eq!(
            (of("a"), of("b")),
            (vec![], vec!["OutboundIntegration/a1".into(), "OutboundIntegration/b1".into()])
        );
    }

    #[test]
    fn what_is_deleted_is_gone_from_every_view() {
        let mut snapshot = two_orgs();
        snapshot.remove(&key(Kind::OutboundIntegration, "a1"));
        snapshot.remove(&key(Kind::Organization, "a"));
        assert!(snapshot.org(&org("a")).is_none());
        assert_eq!((snapshot.orgs().len(), snapshot.all(Kind::OutboundIntegration).len()), (1, 1));
        assert_eq!(snapshot.referrers(&key(Kind::Organization, "a")).count(), 0);
    }

    #[test]
    fn integrations_read_before_their_organization_are_kept() {
        let mut snapshot = Snapshot::default();
        snapshot.put(integration("a", "a1"));
        assert!(snapshot.organization(&org("a")).is_none());
        snapshot.put(organization("a"));
        assert_eq!(snapshot.org(&org("a")).unwrap().integrations().len(), 1);
    }

    #[test]
    fn who_refers_to_a_resource_is_found_among_many() {
        let mut snapshot = two_orgs();
        for i in 0..2_000 {
            snapshot.put(integration("b", &format!("many-{i:04}")));
        }
        snapshot.put(unit("a", "ward", None));
        snapshot.put(unit("a", "room", Some("ward")));
        let of = |kind, id| snapshot.referrers(&key(kind, id)).map(Key::to_string).collect::<Vec<_>>();
        assert_eq!(of(Kind::Organization, "a"), ["OrgUnit/room", "OrgUnit/ward", "OutboundIntegration/a1"]);
        assert_eq!(of(Kind::OrgUnit, "ward"), ["OrgUnit/room"]);
        assert_eq!(of(Kind::Organization, "b").len(), 2_001);
        assert_eq!(of(Kind::Organization, "c").len(), 0);
    }
}
