//! Lists: what is asked of a table, and the statements that answer it without a look at every row.
//!
//! Conditions fall into those that only few rows meet (an entity's id), which have an index each, those on columns of `kinds`
//! (see there), a span of time, and a search. What is asked decides which of them lead; the rest is looked at row by row.

use sqlx::QueryBuilder;
use sqlx::sqlite::Sqlite;

use crate::history::store::{AuditFilter, Cursor, DeliveryFilter, EventFilter, Lifetime, Page, RejectedFilter};

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
    by_time: &'static str,
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
    after: "(SELECT min(rowid) FROM events WHERE id = ? AND at = ?)",
    kinds: "status IS NULL AND action IS NULL",
    by_kind: "events_kind",
    by_time: "events_at",
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
    by_time: "deliveries_created",
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
    by_time: "rejected_at",
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
    by_time: "audit_at",
    ids: &[],
    by_error: None,
};
/// Of one resource: clocks of those who wrote may differ, versions do not.
pub(super) const VERSIONS: List = List { at: "version", ..AUDIT };

/// Rows that may be read for one page by way of each kind, and sorted for one page.
const READ: usize = 5_000;
const SORTED: u64 = 20_000;

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Number(i64),
}

/// A text with `?` for its values.
type Condition = (String, Vec<Value>);

/// Conditions that all hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// Of columns that `kinds` has, too.
    kind: Vec<Condition>,
    /// Each met by few rows, which an index finds.
    few: Vec<Condition>,
    span: Vec<Condition>,
    pub(super) search: Option<String>,
}

fn text(condition: &str, value: Option<impl ToString>) -> Option<Condition> {
    let values = value.map(|v| vec![Value::Text(v.to_string()); condition.matches('?').count()])?;
    Some((condition.to_owned(), values))
}

fn span(at: &str, since: Option<i64>, until: Option<i64>) -> Vec<Condition> {
    let bound = |compare: &str, value: Option<i64>| Some((format!("{at} {compare} ?"), vec![Value::Number(value?)]));
    [bound(">=", since), bound("<", until)].into_iter().flatten().collect()
}

pub(super) fn events(filter: &EventFilter) -> Conditions {
    let kind = [text("org = ?", filter.org.as_ref()), text("type = ?", filter.event_type.as_ref())];
    let few =
        [text("entity_id = ?", filter.entity_id.as_ref()), text("correlation_id = ?", filter.correlation_id.as_ref())];
    Conditions {
        kind: kind.into_iter().flatten().collect(),
        few: few.into_iter().flatten().collect(),
        span: span("at", filter.since.map(|at| at.0), filter.until.map(|at| at.0)),
        search: filter.search.clone(),
    }
}

pub(super) fn deliveries(filter: &DeliveryFilter) -> Conditions {
    let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
    let status = vec!["?"; statuses.len()].join(",");
    let status = (!statuses.is_empty()).then(|| {
        let words = statuses.into_iter().map(|word| Value::Text(word.to_owned()));
        (format!("status IN ({status})"), words.collect())
    });
    let kind = [
        text("org = ?", filter.org.as_ref()),
        text("integration_id = ?", filter.integration_id.as_ref()),
        text("type = ?", filter.event_type.as_ref()),
        text("category = ?", filter.category.map(|c| c.as_str())),
        status,
    ];
    let few = [
        text("event_id = ?", filter.event_id.as_ref()),
        text("entity_id = ?", filter.entity_id.as_ref()),
        text("correlation_id = ?", filter.correlation_id.as_ref()),
    ];
    Conditions {
        kind: kind.into_iter().flatten().collect(),
        few: few.into_iter().flatten().collect(),
        span: span("created_at", filter.since.map(|at| at.0), filter.until.map(|at| at.0)),
        search: filter.search.clone(),
    }
}

pub(super) fn rejected(filter: &RejectedFilter) -> Conditions {
    let few = [
        text("org = ?", filter.org.as_ref()),
        text("stage = ?", filter.stage.as_ref()),
        text("reason = ?", filter.reason.as_ref()),
    ];
    Conditions {
        few: few.into_iter().flatten().collect(),
        span: span("at", filter.since.map(|at| at.0), filter.until.map(|at| at.0)),
        ..Conditions::default()
    }
}

pub(super) fn audit(filter: &AuditFilter) -> Conditions {
    let kind = [
        text("org = ?", filter.org.as_ref()),
        text("type = ?", filter.kind.as_ref()),
        text("actor = ?", filter.actor.as_ref()),
        text("action = ?", filter.action.as_ref()),
    ];
    Conditions {
        kind: kind.into_iter().flatten().collect(),
        few: text("resource = ?", filter.id.as_ref()).into_iter().collect(),
        span: span("at", filter.since.map(|at| at.0), filter.until.map(|at| at.0)),
        search: None,
    }
}

/// Those that led to these versions; none: all.
pub(super) fn versions(of: &Lifetime, versions: &[i64]) -> Conditions {
    let number = |condition: String, values: &[i64]| (condition, values.iter().copied().map(Value::Number).collect());
    let org = text("org = ?", of.org.as_ref()).unwrap_or_else(|| ("org IS NULL".to_owned(), Vec::new()));
    let wanted = vec!["?"; versions.len()].join(",");
    let wanted = (!versions.is_empty()).then(|| number(format!("version IN ({wanted})"), versions));
    let few = [
        text("resource = ?", Some(&of.id)),
        text("type = ?", Some(&of.kind)),
        Some(org),
        Some(number("made_at = ?".to_owned(), &[of.made_at.0])),
        wanted,
    ];
    Conditions { few: few.into_iter().flatten().collect(), ..Conditions::default() }
}

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

impl Conditions {
    /// Whether kinds decide; then they are asked for first.
    pub(super) fn by_kind(&self) -> bool {
        self.few.is_empty() && (self.search.is_some() || !self.kind.is_empty())
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
            self.rows(&mut query, "1", (conditions, source, self.by_kind));
        }
        query.0.push(" LIMIT ");
        query.number(usize::try_from(most).unwrap_or(usize::MAX));
        query.0.push(")");
        query.0
    }

    /// `total` rows are let through, where they could all be counted.
    pub(super) fn page(
        &self,
        conditions: &Conditions,
        (sources, total): (&[Source], Option<u64>),
        page: &Page,
    ) -> QueryBuilder<Sqlite> {
        let whole = page.skip + page.limit + 1;
        let each =
            |source: &Source| matches!(source, Source::Kinds(kinds) if kinds.len().saturating_mul(whole) <= READ);
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
                    let index = if total.is_some_and(|total| total <= SORTED) { self.by_kind } else { self.by_time };
                    self.rows(&mut query, "rowid", (conditions, source, index));
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

    /// A statement's beginning: these rows, in no order. `by` is the index for those of some kinds.
    fn rows(&self, query: &mut Query, what: &str, (conditions, source, by): (&Conditions, &Source, &'static str)) {
        let index = match source {
            Source::Kinds(_) => Some(by),
            Source::Errors(_) => self.by_error,
            Source::Columns | Source::Ids(_) => None,
        };
        query.0.push(format!("SELECT {what} FROM {}", self.table));
        if let Some(index) = index {
            query.0.push(" INDEXED BY ").push(index);
        }
        query.0.push(" WHERE true");
        match source {
            Source::Kinds(kinds) => query.kinds(" AND kind IN ", kinds),
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
        query.conditions(&conditions.span);
        self.newest(query, (after, most, 0));
        query.0.push(")");
    }

    fn newest(&self, query: &mut Query, (after, most, skip): (Option<&Cursor>, usize, usize)) {
        if let Some(Cursor { at, id }) = after {
            let before = format!("({}, {}) < (?, {})", self.at, self.id, self.after);
            query.conditions([&(before, vec![Value::Number(at.0), Value::Text(id.clone()), Value::Number(at.0)])]);
        }
        self.order(query, (most, skip));
    }

    fn order(&self, query: &mut Query, (most, skip): (usize, usize)) {
        query.0.push(format!(" ORDER BY {} DESC, {} DESC LIMIT ", self.at, self.id));
        query.number(most);
        query.0.push(" OFFSET ");
        query.number(skip);
    }
}
