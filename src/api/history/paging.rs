//! Pages of what the store keeps: by number, or behind a cursor, which does not shift while new rows come.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::api::door::Param;
use crate::api::listing::{DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE, Page};
use crate::api::params::Params;
use crate::history::store::{self, Cursor, Listed};
use crate::model::time::Timestamp;

#[derive(Debug)]
pub(in crate::api) struct Paging {
    page: usize,
    limit: usize,
    after: Option<Cursor>,
}

/// The parameters that `Paging` reads.
pub(in crate::api) fn params(with_cursor: bool) -> Vec<Param> {
    let cursor = Param::cursor("The `nextCursor` of the page before; `page` is then left out.");
    let numbered = [
        Param::number("page", "Which page, from 1.", (1, MAX_PAGE)),
        Param::number("limit", "How many items a page has.", (DEFAULT_LIMIT, MAX_LIMIT)),
    ];
    with_cursor.then_some(cursor).into_iter().chain(numbered).collect()
}

impl Paging {
    pub(in crate::api) fn numbered(params: &mut Params) -> Paging {
        let (page, limit) = (params.number("page", 1, MAX_PAGE), params.number("limit", DEFAULT_LIMIT, MAX_LIMIT));
        Paging { page, limit, after: None }
    }

    pub(in crate::api) fn with_cursor(params: &mut Params) -> Paging {
        let after = params.parsed("cursor", |text| parse(text).ok_or("must be the `nextCursor` of a page"));
        let paging = Paging { after, ..Paging::numbered(params) };
        if paging.after.is_some() && paging.page > 1 {
            params.wrong("cursor", "says where the page begins; leave `page` out");
        }
        paging
    }

    pub(in crate::api) fn asked(&self) -> store::Page {
        store::Page { skip: (self.page - 1) * self.limit, limit: self.limit, after: self.after.clone() }
    }

    /// The page as it is answered. `at` tells what its last item is sorted by; `None`: this list has no cursor.
    pub(in crate::api) fn answer<T, F>(
        &self,
        key: &'static str,
        listed: Listed<T>,
        at: impl Fn(&T) -> Option<Cursor>,
        form: impl Fn(T) -> F,
    ) -> Page<F> {
        let last = listed.items.last().filter(|_| listed.has_more).and_then(at);
        Page {
            items: listed.items.into_iter().map(form).collect(),
            total: usize::try_from(listed.total).unwrap_or(usize::MAX),
            is_estimate: listed.is_estimate,
            limit: self.limit,
            has_more: listed.has_more,
            next_cursor: last.map(|c| URL_SAFE_NO_PAD.encode(format!("{};{}", c.at.0, c.id))),
            ..Page::new(key, self.page)
        }
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let told = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (at, id) = told.split_once(';')?;
    Some(Cursor { at: Timestamp(at.parse().ok()?), id: id.to_owned() })
}
