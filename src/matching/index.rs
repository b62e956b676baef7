//! Which integrations hear an event: found by what matches, not by looking through what exists.
//!
//! Every pattern is filed under its literal ends. `appointment.*` has the head `appointment.`, `*.created` the tail
//! `.created`, `a.*.z` both. An event type has few heads and tails (one a segment), so a look-up tries those alone. Below
//! that, integrations are parted by org unit, because thousands of units may each have one for the same type.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::ids::Rid;
use crate::model::integration::{OutboundIntegration, Scope};
use crate::model::pattern::EventPattern;

/// The integrations of one organization by what they listen to. Keys are chosen by tenants, so its maps are keyed
/// against crafted collisions.
#[derive(Debug, Default)]
pub struct OrgIndex {
    exact: HashMap<Box<str>, Units>,
    /// Patterns with a `*`, by the text before their first one.
    heads: HashMap<Box<str>, Tails>,
}

/// Patterns of one head by the text after their last `*`.
#[derive(Debug, Default)]
struct Tails(HashMap<Box<str>, Vec<Wildcard>>);

/// Integrations under one pattern.
#[derive(Debug)]
struct Wildcard {
    pattern: EventPattern,
    units: Units,
}

/// Integrations under one pattern by whose events they hear.
#[derive(Debug, Default)]
struct Units {
    /// Every event of the org.
    everywhere: Vec<Arc<OutboundIntegration>>,
    /// Events without a unit.
    org_only: Vec<Arc<OutboundIntegration>>,
    /// Events of one unit.
    of_unit: FxHashMap<Rid, Vec<Arc<OutboundIntegration>>>,
}

impl OrgIndex {
    pub fn of<'a>(integrations: impl IntoIterator<Item = &'a Arc<OutboundIntegration>>) -> OrgIndex {
        let mut index = OrgIndex::default();
        for integration in integrations {
            index.insert(integration);
        }
        index
    }

    pub fn insert(&mut self, integration: &Arc<OutboundIntegration>) {
        let types = &integration.event_types;
        for (_, pattern) in types.iter().enumerate().filter(|(n, pattern)| !types[..*n].contains(pattern)) {
            self.units_of(pattern).slot(integration).push(Arc::clone(integration));
        }
    }

    /// Takes out what was put in as this very value.
    pub fn remove(&mut self, integration: &Arc<OutboundIntegration>) {
        for pattern in &integration.event_types {
            match Ends::of(pattern) {
                None => remove_from(&mut self.exact, pattern.as_str(), |units| units.remove(integration)),
                Some(ends) => remove_from(&mut self.heads, ends.head, |tails| {
                    remove_from(&mut tails.0, ends.tail, |wildcards| {
                        wildcards.retain_mut(|w| w.pattern != *pattern || !w.units.remove(integration));
                        wildcards.is_empty()
                    });
                    tails.0.is_empty()
                }),
            }
        }
    }

    fn units_of(&mut self, pattern: &EventPattern) -> &mut Units {
        let Some(ends) = Ends::of(pattern) else { return self.exact.entry(pattern.as_str().into()).or_default() };
        let wildcards = self.heads.entry(ends.head.into()).or_default().0.entry(ends.tail.into()).or_default();
        let at = wildcards.iter().position(|w| w.pattern == *pattern).unwrap_or_else(|| {
            wildcards.push(Wildcard { pattern: pattern.clone(), units: Units::default() });
            wildcards.len() - 1
        });
        &mut wildcards[at].units
    }

    /// Appends the integrations that hear an event of this type, each once. `line`: the event's unit and those that it is a part
    /// of, from below to above; empty for an event of the organization itself.
    pub fn find<'a>(&'a self, event_type: &str, line: &[&str], found: &mut Vec<&'a Arc<OutboundIntegration>>) {
        let mut places = 0;
        let mut take = |units: &'a Units| places += usize::from(units.collect(line, found));
        if let Some(units) = self.exact.get(event_type) {
            take(units);
        }
        if !self.heads.is_empty() {
            for tails in ends_before(event_type).filter_map(|head| self.heads.get(head)) {
                tails.find(event_type, &mut take);
            }
        }
        if places > 1 {
            found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        }
    }
}

impl Tails {
    fn find<'a>(&'a self, event_type: &str, take: &mut impl FnMut(&'a Units)) {
        for wildcard in ends_after(event_type).filter_map(|tail| self.0.get(tail)).flatten() {
            if wildcard.pattern.matches(event_type) {
                take(&wildcard.units);
            }
        }
    }
}

impl Units {
    fn slot(&mut self, integration: &OutboundIntegration) -> &mut Vec<Arc<OutboundIntegration>> {
        match (&integration.org_unit, integration.scope) {
            (Some(unit), _) => self.of_unit.entry(unit.clone()).or_default(),
            (None, Scope::IncludeChildren) => &mut self.everywhere,
            (None, Scope::EntityOnly) => &mut self.org_only,
        }
    }

    /// True when nothing is left.
    fn remove(&mut self, integration: &Arc<OutboundIntegration>) -> bool {
        self.slot(integration).retain(|i| !Arc::ptr_eq(i, integration));
        if let Some(unit) = &integration.org_unit
            && self.of_unit.get(unit).is_some_and(Vec::is_empty)
        {
            self.of_unit.remove(unit);
        }
        self.everywhere.is_empty() && self.org_only.is_empty() && self.of_unit.is_empty()
    }

    /// True when something was appended.
    fn collect<'a>(&'a self, line: &[&str], found: &mut Vec<&'a Arc<OutboundIntegration>>) -> bool {
        let before = found.len();
        let Some((own, above)) = line.split_first() else {
            found.extend(self.everywhere.iter().chain(&self.org_only));
            return found.len() > before;
        };
        let of = |rid: &&str| self.of_unit.get(*rid).into_iter().flatten();
        let below = above.iter().flat_map(of).filter(|i| i.scope == Scope::IncludeChildren);
        let all = self.everywhere.iter().chain(of(own)).chain(below);
        found.extend(all.filter(|i| i.excluded_entity_rids.iter().all(|excluded| excluded.as_str() != *own)));
        found.len() > before
    }
}

/// The literal text around the stars of a pattern, dots included; `None` for a pattern without one.
struct Ends<'a> {
    head: &'a str,
    tail: &'a str,
}

impl<'a> Ends<'a> {
    fn of(pattern: &'a EventPattern) -> Option<Ends<'a>> {
        let text = pattern.as_str();
        let (first, last) = (text.find('*')?, text.rfind('*')?);
        Some(Ends { head: &text[..first], tail: &text[last + 1..] })
    }
}

/// Every head that a pattern matching this type can have: `a.b.c` gives ``, `a.`, `a.b.`.
fn ends_before(event_type: &str) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(event_type.match_indices('.').map(|(at, _)| &event_type[..=at]))
}

/// Every tail that a pattern matching this type can have: `a.b.c` gives ``, `.b.c`, `.c`.
fn ends_after(event_type: &str) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(event_type.match_indices('.').map(|(at, _)| &event_type[at..]))
}

/// Takes out of the entry of `key`, and the entry itself where `emptied` says that nothing is left of it.
fn remove_from<V>(map: &mut HashMap<Box<str>, V>, key: &str, emptied: impl FnOnce(&mut V) -> bool)
where
    Box<str>: Eq + Hash,
{
    if map.get_mut(key).is_some_and(emptied) {
        map.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::samples;
    use proptest::prelude::*;

    fn integration(id: &str, event_types: &[&str]) -> OutboundIntegration {
        let event_types = event_types.iter().map(|t| EventPattern::parse(t).unwrap()).collect();
        OutboundIntegration { event_types, ..samples::integration("648", id) }
    }

    fn ids(index: &OrgIndex, event_type: &str, line: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        index.find(event_type, line, &mut found);
        let mut ids: Vec<String> = found.into_iter().map(|i| i.id.to_string()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn an_event_of_a_unit_reaches_only_integrations_whose_scope_covers_it() {
        let with = |id: &str, org_unit: Option<&str>, scope, excluded: &[&str]| {
            let rid = |text: &str| Rid::parse(text).unwrap();
            let excluded_entity_rids = excluded.iter().map(|r| rid(r)).collect();
            Arc::new(OutboundIntegration {
                org_unit: org_unit.map(rid),
                scope,
                excluded_entity_rids,
                ..integration(id, &["t"])
            })
        };
        let all = [
            with("org-and-below", None, Scope::IncludeChildren, &[]),
            with("all-but-u1", None, Scope::IncludeChildren, &["u1"]),
            with("org-only", None, Scope::EntityOnly, &[]),
            with("u1-only", Some("u1"), Scope::EntityOnly, &[]),
            with("u1-and-below", Some("u1"), Scope::IncludeChildren, &[]),
            with("u1-but-u3", Some("u1"), Scope::IncludeChildren, &["u3"]),
        ];
        let index = OrgIndex::of(&all);
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &["all-but-u1", "org-and-below", "org-only"]),
            (&["u1"], &["org-and-below", "u1-and-below", "u1-but-u3", "u1-only"]),
            (&["u2"], &["all-but-u1", "org-and-below"]),
            (&["u3", "u1"], &["all-but-u1", "org-and-below", "u1-and-below"]),
            (&["u4", "u3", "u1"], &["all-but-u1", "org-and-below", "u1-and-below", "u1-but-u3"]),
        ];
        for (line, expected) in cases {
            assert_eq!(ids(&index, "t", line), expected, "{line:?}");
        }
    }

    #[test]
    fn an_integration_that_hears_a_type_in_several_ways_is_found_once() {
        let all = [Arc::new(integration("i", &["a.b", "a.b", "a.*", "*", "*.b", "a.*"]))];
        let mut index = OrgIndex::of(&all);
        assert_eq!(ids(&index, "a.b", &[]), ["i"]);
        index.remove(&all[0]);
        assert!(index.exact.is_empty() && index.heads.is_empty(), "something stayed behind: {index:?}");
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_look_through_everything_finds(
            patterns in proptest::collection::vec(
                proptest::collection::vec("(\\*|[ab](\\.[ab*]){0,3}|\\*(\\.[ab]){1,2})", 1..4), 0..12),
            gone in proptest::collection::vec(any::<bool>(), 12),
            event_type in "[ab](\\.[ab]){0,4}",
        ) {
            let texts = |p: &Vec<String>| integration("x", &p.iter().map(String::as_str).collect::<Vec<_>>()).event_types;
            let all: Vec<_> = patterns.iter().enumerate().map(|(n, p)| {
                Arc::new(OutboundIntegration { event_types: texts(p), ..integration(&format!("i{n:02}"), &[]) })
            }).collect();
            let mut index = OrgIndex::of(&all);
            let mut left = Vec::new();
            for (integration, gone) in all.iter().zip(gone) {
                if gone { index.remove(integration) } else { left.push(integration) }
            }
            let expected: Vec<String> = left.iter()
                .filter(|i| i.event_types.iter().any(|p| p.matches(&event_type)))
                .map(|i| i.id.to_string()).collect();
            prop_assert_eq!(ids(&index, &event_type, &[]), expected);
        }
    }
}
