//! Pages of a list: `{<items>, total, page, limit, hasMore}`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::params::Params;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;
/// Deep enough for anything that can be in the catalog, and small enough to be multiplied.
const MAX_PAGE: usize = 1_000_000;

/// Which page is asked for, and the filters that every list has.
#[derive(Debug)]
pub struct Listing {
    page: usize,
    limit: usize,
    /// In lower case.
    search: Vec<String>,
    /// `(name, value)`; without a value the label has to be there.
    labels: Vec<(String, Option<String>)>,
}

impl Listing {
    pub fn of(params: &mut Params) -> Self {
        let search = [params.text("name"), params.text("search")];
        Listing {
            page: params.number("page", 1, MAX_PAGE),
            limit: params.number("limit", DEFAULT_LIMIT, MAX_LIMIT),
            search: search.into_iter().flatten().map(|text| text.to_lowercase()).collect(),
            labels: params.all("label").iter().map(|label| parse_label(label)).collect(),
        }
    }

    /// Do the filters let through what has this name and these labels?
    pub fn takes(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let name = name.to_lowercase();
        let labelled = |(key, value): &(String, Option<String>)| {
            labels.get(key).is_some_and(|is| value.as_ref().is_none_or(|value| value == is))
        };
        self.search.iter().all(|part| name.contains(part)) && self.labels.iter().all(labelled)
    }

    /// The page of `all`, of which only its own items are turned into JSON.
    pub fn page<T, F: Serialize>(&self, key: &str, all: impl Iterator<Item = T>, form: impl Fn(T) -> F) -> Value {
        let skip = (self.page - 1) * self.limit;
        let mut total = 0;
        let mut items = Vec::new();
        for item in all {
            if total >= skip && items.len() < self.limit {
                items.push(json!(form(item)));
            }
            total += 1;
        }
        let mut body = Map::new();
        body.insert(key.to_owned(), Value::Array(items));
        body.insert("total".to_owned(), total.into());
        body.insert("page".to_owned(), self.page.into());
        body.insert("limit".to_owned(), self.limit.into());
        body.insert("hasMore".to_owned(), (skip + self.limit < total).into());
        Value::Object(body)
    }
}

/// `team:erp`, `team=erp` or `team`.
fn parse_label(text: &str) -> (String, Option<String>) {
    match text.split_once([':', '=']) {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}
