//! What a filter asks of rows. Conditions fall into those that only few rows meet (an entity's id), those on columns of `kinds` (see
//! there), a span of time, and a search.

use crate::history::store::{AuditFilter, DeliveryFilter, EventFilter, Lifetime, RejectedFilter};

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

/// A text with `?` for its values.
pub(super) type Condition = (String, Vec<Value>);

/// Conditions that all hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// Of columns that `kinds` has, too.
    pub(super) kind: Vec<Condition>,
    /// Each met by few rows, which an index finds.
    pub(super) few: Vec<Condition>,
    pub(super) span: Vec<Condition>,
    pub(super) search: Option<String>,
}

pub(super) fn text(condition: &str, value: Option<impl ToString>) -> Option<Condition> {
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
