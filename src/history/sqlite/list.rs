//! Lists: what is asked of a table, and the statements that answer it without a look at every row.
//!
//! Conditions that only few rows meet have an index each, those on columns of `kinds` have one together. What is asked decides which
//! of them lead; the rest is looked at row by row.

use sqlx::QueryBuilder;
use sqlx::sqlite::Sqlite;

use super::conditions::{Condition, Conditions, Value, text};
use crate::history::store::{Cursor, Page};

/// A list: where it is read, and by what it is sorted, newest first.
#[derive(Debug)]
pub(super) struct List {
    pub(super) columns: &'static str,
    pub(super) table: &'static str,
    pub(super) at: &'static str,
    /// What tells rows of one moment apart.
    pub(super) id: &'static str,
    /// The same of a cursor's row, by its id and its moment. NULL where that row is gone: no row of the moment is before it then.
    after: &'static str,
    /// Of its kinds, as a condition on `kinds`.
    kinds: &'static str,
    by_kind: &'static str,
    /// Conditions on ids that a search looks for as a whole.
    ids: &'static [&'static str],
    /// Of errors that a search looks into.
    by_error: Option<&'static str>,
}

pub(super) const EVENTS: List = List {
    columns: "org, source, id, type, entity_id, entity_rid, correlation_id, causation_id, namespace, dataschema, trace_id, \
              time, at, partition, record, content_type, NULL AS payload",
    table: "events",
    at: "at",
    id: "rowid",
    after: "(SELECT max(rowid) FROM events WHERE partition || '-' || record = ? AND at = ?)",
    kinds: "status IS NULL AND action IS NULL",
    by_kind: "events_kind",
    ids: &["id = ?", "entity_id = ?", "correlation_id = ?"],
    by_error: None,
};
pub(super) const DELIVERIES: List = List {
    columns: "*",
    table: "deliveries",
    at: "created_at",
    id: "rowid",
    after: "(SELECT rowid FROM deliveries WHERE id = unhex(?, '-'))",
    kinds: "status IS NOT NULL",
    by_kind: "deliveries_kind",
    ids: &["id = unhex(?, '-')", "event_id = ?", "entity_id = ?", "correlation_id = ?"],
    by_error: Some("deliveries_error"),
};
pub(super) const REJECTED: List = List {
    columns: "*",
    table: "rejected",
    at: "at",
    id: "record",
    after: "?",
    kinds: "false",
    by_kind: "rejected_at",
    ids: &[],
    by_error: None,
};

pub(super) const AUDIT: List = List {
    columns: "*",
    table: "audit",
    at: "at",
    id: "id",
    after: "?",
    kinds: "action IS NOT NULL",
    by_kind: "audit_kind",
    ids: &[],
    by_error: None,
};
/// Of one resource: clocks of those who wrote may differ, versions do not.
pub(super) const VERSIONS: List = List { at: "version", ..AUDIT };

/// Rows that may be read for one page by way of each kind; kinds that are few.
const READ: usize = 5_000;
/// Rows that may be sorted for one page.
const SORTED: u64 = 20_000;
/// Below so many rows of the kinds these lead, and the ids are compared row by row: an id that is rare as a rule may have more.
pub(super) const FEWER: u64 = 5_000;

/// Rows that are found in one way. A search has several, of which no two find the same row.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// By the indexes of columns, whichever SQLite takes.
    Columns,
    /// Of these kinds.
    Kinds(Vec<i64>),
    /// Errors that have the text in them; of other kinds than these.
    Errors(Vec<i64>),
    /// Ids that are the text; of other kinds than these, and without it in their error.
    Ids(Vec<i64>),
}

impl Source {
    /// Of so few kinds that the newest rows of each are read.
    fn is_small(&self, page: &Page) -> bool {
        matches!(self, Source::Kinds(kinds) if kinds.len().saturating_mul(page.whole()) <= READ)
    }
}

impl Page {
    /// Rows up to the end of the page, and one more.
    fn whole(&self) -> usize {
        self.skip.saturating_add(self.limit).saturating_add(1)
    }
}

impl Conditions {
    /// Whether kinds decide; then they are asked for first.
    pub(super) fn by_kind(&self) -> bool {
        self.few.is_empty() && (self.search.is_some() || !self.kind.is_empty())
    }

    /// Whether kinds may decide: where they have few rows, or none.
    pub(super) fn may_be_by_kind(&self) -> bool {
        !self.few.is_empty() && self.search.is_none() && !self.kind.is_empty()
    }

    /// `kinds`: those that the conditions let through; in a search those whose name has the text in it.
    pub(super) fn sources(&self, list: &List, kinds: Vec<i64>) -> Vec<Source> {
        match (self.by_kind(), &self.search) {
            (false, _) => vec![Source::Columns],
            (true, None) => vec![Source::Kinds(kinds)],
            (true, Some(_)) => {
                let errors = list.by_error.map(|_| Source::Errors(kinds.clone()));
                let ids = Source::Ids(kinds.clone());
                [Source::Kinds(kinds)].into_iter().chain(errors).chain([ids]).collect()
            }
        }
    }
}

struct Query(QueryBuilder<Sqlite>);

impl Query {
    fn conditions<'a>(&mut self, all: impl IntoIterator<Item = &'a Condition>) {
        for (condition, values) in all {
            self.0.push(" AND ");
            let mut parts = condition.split('?');
            self.0.push(parts.next().unwrap_or_default());
            for (part, value) in parts.zip(values) {
                match value {
                    Value::Text(text) => self.0.push_bind(text.clone()),
                    Value::Number(number) => self.0.push_bind(*number),
                };
                self.0.push(part);
            }
        }
    }

    fn number(&mut self, number: usize) {
        self.0.push_bind(i64::try_from(number).unwrap_or(i64::MAX));
    }

    fn kinds(&mut self, condition: &str, kinds: &[i64]) {
        self.0.push(condition).push("(SELECT value FROM json_each(").push_bind(json(kinds)).push("))");
    }
}

fn json(kinds: &[i64]) -> String {
    let numbers: Vec<String> = kinds.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}

impl List {
    /// The numbers of kinds that conditions let through; of a search those whose integration's name has the text in it.
    pub(super) fn kinds(&self, conditions: &Conditions) -> QueryBuilder<Sqlite> {
        let mut query = Query(QueryBuilder::new(format!("SELECT id FROM kinds WHERE {}", self.kinds)));
        query.conditions(&conditions.kind);
        query.conditions(&text("instr(lower(integration_name), lower(?)) > 0", conditions.search.as_ref()));
        query.0
    }

    /// How many there are, counted up to `most`.
    pub(super) fn count(&self, conditions: &Conditions, sources: &[Source], most: u64) -> QueryBuilder<Sqlite> {
        let mut query = Query(QueryBuilder::new("SELECT count(*) FROM ("));
        for (at, source) in sources.iter().enumerate() {
            query.0.push(if at == 0 { "" } else { " UNION ALL " });
            self.rows(&mut query, "1", (conditions, source));
        }
        query.0.push(" LIMIT ");
        query.number(usize::try_from(most).unwrap_or(usize::MAX));
        query.0.push(")");
        query.0
    }

    /// A moment that no row of a page is older than, which has rows of these kinds; NULL where they have few. The page is then
    /// found among the rows from that moment on, of which there are some more than it needs, where by time alone all rows newer than
    /// its own would be looked at.
    ///
    /// Of each kind the moment of its n-th row is a seek in the index by kind. If so many kinds have n rows from a moment on that
    /// they fill the page, so does all that is newer. Twice: all kinds are alike, or one has most of the rows.
    pub(super) fn floor(&self, conditions: &Conditions, kinds: &[i64], page: &Page) -> QueryBuilder<Sqlite> {
        let List { table, at, by_kind, .. } = self;
        let whole = page.whole();
        let alike = (2 * whole / kinds.len().max(1)).max(1);
        let most = (kinds.len() <= READ).then_some((whole, 1));
        let mut query = Query(QueryBuilder::new("SELECT max(at) FROM ("));
        for (n, (rows, of)) in [(alike, whole.div_ceil(alike))].into_iter().chain(most).enumerate() {
            query.0.push(if n > 0 { " UNION ALL SELECT * FROM (" } else { "SELECT * FROM (" });
            query.0.push(format!("SELECT (SELECT {at} FROM {table} INDEXED BY {by_kind} WHERE kind = k.value"));
            query.conditions(&conditions.span);
            self.behind(&mut query, page.after.as_ref());
            query.0.push(format!(" ORDER BY {at} DESC LIMIT 1 OFFSET "));
            query.number(rows - 1);
            query
                .0
                .push(") AS at FROM json_each(")
                .push_bind(json(kinds))
                .push(") AS k ORDER BY at DESC LIMIT 1 OFFSET ");
            query.number(of - 1);
            query.0.push(")");
        }
        query.0.push(")");
        query.0
    }

    /// The kinds whose floor a page needs.
    pub(super) fn needs_floor<'s>(
        &self,
        (sources, total): (&'s [Source], Option<u64>),
        page: &Page,
    ) -> Option<&'s [i64]> {
        match sources.first() {
            Some(source @ Source::Kinds(kinds)) if !kinds.is_empty() && !source.is_small(page) => {
                total.is_none_or(|total| total > SORTED).then_some(kinds)
            }
            _ => None,
        }
    }

    /// Rows of kinds are from `floor` on, where there is one.
    pub(super) fn page(
        &self,
        conditions: &Conditions,
        (sources, floor): (&[Source], Option<i64>),
        page: &Page,
    ) -> QueryBuilder<Sqlite> {
        let whole = page.whole();
        let each = |source: &Source| source.is_small(page);
        // Of several, any may have all of the page and of what is passed before it.
        let alone = matches!(sources, [one] if !each(one));
        let (most, inner, outer) = if alone { (page.limit + 1, page.skip, 0) } else { (whole, 0, page.skip) };
        let after = page.after.as_ref();
        // Candidates are sorted by their keys alone; then the page's rows are read.
        let List { columns, table, at, id, .. } = self;
        let mut query = Query(QueryBuilder::new(format!(
            "SELECT {columns} FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE rowid IN ("
        )));
        for (n, source) in sources.iter().enumerate() {
            query.0.push(if n == 0 { "SELECT * FROM (" } else { ") UNION ALL SELECT * FROM (" });
            match source {
                Source::Kinds(kinds) if each(source) => self.of_each(&mut query, kinds, (conditions, after, most)),
                _ => {
                    self.rows(&mut query, "rowid", (conditions, source));
                    if let (Source::Kinds(_), Some(floor)) = (source, floor) {
                        query.conditions([&(format!("{at} >= ?"), vec![Value::Number(floor)])]);
                    }
                    self.newest(&mut query, (after, most, inner));
                }
            }
        }
        query.0.push("))");
        // One more than asked for tells whether there are more.
        self.order(&mut query, (page.limit + 1, outer));
        query.0.push(format!(") ORDER BY {at} DESC, {id} DESC"));
        query.0
    }

    /// A statement's beginning: these rows, in no order.
    fn rows(&self, query: &mut Query, what: &str, (conditions, source): (&Conditions, &Source)) {
        let index = match source {
            Source::Kinds(_) => Some(self.by_kind),
            Source::Errors(_) => self.by_error,
            Source::Columns | Source::Ids(_) => None,
        };
        query.0.push(format!("SELECT {what} FROM {}", self.table));
        if let Some(index) = index {
            query.0.push(" INDEXED BY ").push(index);
        }
        query.0.push(" WHERE true");
        match source {
            Source::Kinds(kinds) => {
                query.kinds(" AND kind IN ", kinds);
                query.conditions(&conditions.few);
            }
            Source::Columns => {
                query.conditions(conditions.few.iter().chain(&conditions.kind));
                query.conditions(&self.searched(conditions.search.as_ref()));
            }
            Source::Errors(but) => {
                query.conditions(&text(
                    "error IS NOT NULL AND instr(lower(error), lower(?)) > 0",
                    conditions.search.as_ref(),
                ));
                query.kinds(" AND kind NOT IN ", but);
                query.conditions(&conditions.kind);
            }
            Source::Ids(but) => {
                let each = self.ids.iter().map(|id| format!("SELECT rowid FROM {} WHERE {id}", self.table));
                let each = format!("rowid IN ({})", each.collect::<Vec<_>>().join(" UNION ALL "));
                query.conditions(&text(&each, conditions.search.as_ref()));
                query.kinds(" AND kind NOT IN ", but);
                if self.by_error.is_some() {
                    let not = "coalesce(instr(lower(error), lower(?)), 0) = 0";
                    query.conditions(&text(not, conditions.search.as_ref()));
                }
                query.conditions(&conditions.kind);
            }
        }
        query.conditions(&conditions.span);
    }

    /// Ids as a whole, names and errors in part, without regard to the case of ASCII letters.
    fn searched(&self, search: Option<&String>) -> Option<Condition> {
        let ids = self.ids.iter().map(|id| (*id).to_owned());
        let parts = ["integration_name", "error"].map(|column| format!("instr(lower({column}), lower(?)) > 0"));
        let parts = parts.into_iter().filter(|_| self.by_error.is_some());
        text(&format!("({})", ids.chain(parts).collect::<Vec<_>>().join(" OR ")), search)
    }

    /// The newest of each kind.
    fn of_each(
        &self,
        query: &mut Query,
        kinds: &[i64],
        (conditions, after, most): (&Conditions, Option<&Cursor>, usize),
    ) {
        let List { table, by_kind, .. } = self;
        query.0.push("SELECT d.rowid FROM json_each(").push_bind(json(kinds));
        query.0.push(format!(
            ") AS k CROSS JOIN {table} AS d WHERE d.rowid IN (SELECT rowid FROM {table} INDEXED BY {by_kind} WHERE kind = k.value"
        ));
        query.conditions(conditions.few.iter().chain(&conditions.span));
        self.newest(query, (after, most, 0));
        query.0.push(")");
    }

    fn newest(&self, query: &mut Query, (after, most, skip): (Option<&Cursor>, usize, usize)) {
        self.behind(query, after);
        self.order(query, (most, skip));
    }

    fn behind(&self, query: &mut Query, after: Option<&Cursor>) {
        if let Some(Cursor { at, id }) = after {
            let before = format!("({}, {}) < (?, {})", self.at, self.id, self.after);
            query.conditions([&(before, vec![Value::Number(at.0), Value::Text(id.clone()), Value::Number(at.0)])]);
        }
    }

    fn order(&self, query: &mut Query, (most, skip): (usize, usize)) {
        query.0.push(format!(" ORDER BY {} DESC, {} DESC LIMIT ", self.at, self.id));
        query.number(most);
        query.0.push(" OFFSET ");
        query.number(skip);
    }
}
