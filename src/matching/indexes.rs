//! The indexes of the organizations whose events come by, kept in step with the catalog at the price of what changed.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::catalog::{OrgView, Snapshot};
use crate::matching::index::OrgIndex;
use crate::model::ids::OrgId;
use crate::model::integration::OutboundIntegration;

/// A tree of units is less deep; a circle, which only a broken record could make, ends here.
const DEEPEST: usize = 32;

/// An index for each organization that was asked for, and the view it was made from. One that got no event costs nothing.
#[derive(Debug, Default)]
pub struct Indexes {
    orgs: FxHashMap<OrgId, Indexed>,
}

/// The integrations of one organization, and its units.
#[derive(Debug)]
pub struct Indexed {
    view: Arc<OrgView>,
    index: OrgIndex,
}

impl Indexes {
    /// The index of an organization as it stands in the snapshot; `None` where there is no such organization.
    pub fn of(&mut self, snapshot: &Snapshot, org: &str) -> Option<&Indexed> {
        let view = snapshot.orgs().get(org).filter(|view| view.organization().is_some());
        let Some(view) = view else {
            self.orgs.remove(org);
            return None;
        };
        if !self.orgs.contains_key(org) {
            self.forget_deleted(snapshot);
            let id = view.organization()?.org_id.clone();
            let index = OrgIndex::of(view.integrations().values());
            self.orgs.insert(id, Indexed { view: Arc::clone(view), index });
        }
        let indexed = self.orgs.get_mut(org)?;
        indexed.follow(view);
        Some(indexed)
    }

    /// Keeps the indexes from outnumbering the organizations, so that deleted ones do not pile up.
    fn forget_deleted(&mut self, snapshot: &Snapshot) {
        if self.orgs.len() > snapshot.orgs().len() {
            self.orgs.retain(|org, _| snapshot.org(org).is_some());
        }
    }
}

impl Indexed {
    /// Appends the integrations that hear an event of this type and unit, each once.
    pub fn find<'a>(&'a self, event_type: &str, unit: Option<&str>, found: &mut Vec<&'a Arc<OutboundIntegration>>) {
        let Some(unit) = unit else { return self.index.find(event_type, &[], found) };
        // Most organizations have no tree.
        let mut line = vec![unit];
        let mut below = self.view.units().get(unit);
        while let Some(parent) = below.and_then(|unit| unit.parent.as_ref()).filter(|_| line.len() < DEEPEST) {
            line.push(parent.as_str());
            below = self.view.units().get(parent.as_str());
        }
        self.index.find(event_type, &line, found);
    }

    fn follow(&mut self, view: &Arc<OrgView>) {
        if Arc::ptr_eq(&self.view, view) {
            return;
        }
        let changes = view.integrations().changes_since(self.view.integrations(), Arc::ptr_eq);
        changes.removed.iter().for_each(|(_, old)| self.index.remove(old));
        changes.added.iter().for_each(|(_, new)| self.index.insert(new));
        drop(changes);
        self.view = Arc::clone(view);
    }
}
