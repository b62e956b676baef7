//! Pages of a list: `{<items>, total, page, limit, hasMore, nextCursor?}`.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::api::door::Param;
use crate::api::params::Params;
use crate::catalog::resource::Resource;

pub(super) const DEFAULT_LIMIT: usize = 50;
pub(super) const MAX_LIMIT: usize = 500;
/// Deep enough for anything that can be in the catalog, and small enough to be multiplied.
pub(super) const MAX_PAGE: usize = 1_000_000;

/// The parameters that `Listing` reads.
pub(super) fn params() -> Vec<Param> {
    vec![
        Param::text("name", "Those whose name has this part, whatever its case."),
        Param::text("search", "Those whose id, or whatever else they are known by, has this part, whatever its case."),
        Param::number("page", "Which page, from 1.", (1, MAX_PAGE)),
        Param::number("limit", "How many items a page has.", (DEFAULT_LIMIT, MAX_LIMIT)),
        Param::text("label", "Those that have this label: `team`, or with its value `team:erp`.").many(),
    ]
}

/// Which page is asked for, and the filters that every list has.
#[derive(Debug)]
pub struct Listing {
    page: usize,
    limit: usize,
    /// In lower case, as the next one.
    name: Option<String>,
    search: Option<String>,
    /// `team:erp`, `team=erp` or `team`, which has to be there with any value.
    labels: Vec<String>,
}

impl Listing {
    pub fn of(params: &mut Params) -> Self {
        let mut part = |name| params.text(name).map(|text| text.to_lowercase());
        let (name, search) = (part("name"), part("search"));
        Listing {
            page: params.number("page", 1, MAX_PAGE),
            limit: params.number("limit", DEFAULT_LIMIT, MAX_LIMIT),
            name,
            search,
            labels: labels(params),
        }
    }

    /// Do the filters let it through?
    pub fn takes(&self, resource: &Resource) -> bool {
        let labelled = |asked: &String| {
            let is = |(name, value): (&String, &String)| {
                let rest = asked.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix([':', '=']) == Some(value))
            };
            resource.labels().iter().any(is)
        };
        let named = |part: &String| resource.names().iter().any(|name| name.to_lowercase().contains(part));
        let known = |part: &String| named(part) || resource.key().id.as_str().to_lowercase().contains(part);
        self.labels.iter().all(labelled) && self.name.iter().all(named) && self.search.iter().all(known)
    }

    /// The page of `all`, of which only its own items are turned into their form.
    pub fn page<T, F>(&self, key: &'static str, all: impl Iterator<Item = T>, form: impl Fn(T) -> F) -> Page<F> {
        let skip = (self.page - 1) * self.limit;
        let mut page = Page { limit: self.limit, ..Page::new(key, self.page) };
        for item in all {
            if page.total >= skip && page.items.len() < self.limit {
                page.items.push(form(item));
            }
            page.total += 1;
        }
        page.has_more = self.page * self.limit < page.total;
        page
    }
}

/// One page. Its items are written as they are alone: in the same order of fields.
#[derive(Debug)]
pub struct Page<F> {
    pub(super) key: &'static str,
    pub(super) items: Vec<F>,
    pub(super) total: usize,
    /// There may be more than `total`, which says so.
    pub(super) is_estimate: bool,
    pub(super) page: usize,
    pub(super) limit: usize,
    pub(super) has_more: bool,
    /// Where the next page begins, of lists that grow while they are read.
    pub(super) next_cursor: Option<String>,
}

impl<F> Page<F> {
    pub(super) fn new(key: &'static str, page: usize) -> Self {
        Page {
            key,
            items: Vec::new(),
            total: 0,
            is_estimate: false,
            page,
            limit: 0,
            has_more: false,
            next_cursor: None,
        }
    }
}

impl<F: Serialize> Serialize for Page<F> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry(self.key, &self.items)?;
        map.serialize_entry("total", &self.total)?;
        if self.is_estimate {
            map.serialize_entry("totalIsEstimate", &true)?;
        }
        map.serialize_entry("page", &self.page)?;
        map.serialize_entry("limit", &self.limit)?;
        map.serialize_entry("hasMore", &self.has_more)?;
        if let Some(cursor) = &self.next_cursor {
            map.serialize_entry("nextCursor", cursor)?;
        }
        map.end()
    }
}

fn labels(params: &mut Params) -> Vec<String> {
    let given = params.all("label");
    if given.iter().any(String::is_empty) {
        params.wrong("label", "must not be empty; leave it out");
    }
    given
}
