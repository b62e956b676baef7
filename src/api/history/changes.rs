//! Changes of the catalog by pages that are bounded in bytes, not in count alone: each may hold two states of 1 MiB.

use crate::history::rows::Audited;
use crate::history::store::{AuditFilter, Cursor, Lifetime, Listed, Page, Store, StoreError};
use crate::model::time::Timestamp;

/// Bytes of states after which a page ends.
const PAGE_BYTES: usize = 4 << 20;
/// Changes that are read at once: what is read too much is bounded by them.
const AT_ONCE: usize = 20;

/// Which changes.
pub(in crate::api) enum Changes<'a> {
    Of(&'a AuditFilter),
    /// Of one resource, by version.
    Versions(&'a Lifetime),
}

impl Changes<'_> {
    /// Where a page goes on that ends with this one.
    pub(in crate::api) fn place(&self, row: &Audited) -> Option<Cursor> {
        let at = match self {
            Changes::Of(_) => row.at,
            Changes::Versions(_) => Timestamp(i64::try_from(row.version).unwrap_or(i64::MAX)),
        };
        Some(Cursor { at, id: row.name() })
    }

    /// A page that ends early where its states would be too many bytes: it says that there is more, and has one item at least.
    pub(in crate::api) async fn page(&self, store: &dyn Store, page: &Page) -> Result<Listed<Audited>, StoreError> {
        let mut listed = self.ask(store, Page { limit: page.limit.min(AT_ONCE), ..page.clone() }).await?;
        loop {
            let fitting = fitting(&listed.items);
            if fitting < listed.items.len() {
                listed.items.truncate(fitting);
                listed.has_more = true;
                return Ok(listed);
            }
            let after = listed.items.last().and_then(|row| self.place(row));
            let rest = page.limit.saturating_sub(listed.items.len());
            if !listed.has_more || rest == 0 || after.is_none() {
                return Ok(listed);
            }
            let next = self.ask(store, Page { skip: 0, limit: rest.min(AT_ONCE), after }).await?;
            listed.has_more = next.has_more;
            listed.items.extend(next.items);
        }
    }

    async fn ask(&self, store: &dyn Store, page: Page) -> Result<Listed<Audited>, StoreError> {
        match self {
            Changes::Of(filter) => store.audit(filter, &page).await,
            Changes::Versions(of) => store.versions(of, &page).await,
        }
    }
}

/// How many of them a page holds.
fn fitting(rows: &[Audited]) -> usize {
    let size = |row: &Audited| [&row.before, &row.after].into_iter().flatten().map(String::len).sum::<usize>();
    let mut bytes = 0;
    let fits = rows.iter().take_while(|row| {
        bytes += size(row);
        bytes <= PAGE_BYTES
    });
    fits.count().max(1)
}
