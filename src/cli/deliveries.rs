//! Deliveries of a gateway's history: which ones are meant, and their pages.

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser as _};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Api;
use super::exit::Exit;
use super::moment::Moment;
use super::output;
use crate::model::ids::DeliveryId;
use crate::model::pattern::EventPattern;
use crate::model::time::Timestamp;

/// What the API gives at most in one page.
const PAGE: usize = 500;

const CATEGORIES: [&str; 12] = [
    "transform",
    "auth",
    "signing",
    "blocked",
    "network",
    "timeout",
    "http_3xx",
    "http_4xx",
    "http_5xx",
    "rate_limited",
    "circuit_open",
    "expired",
];

/// Which deliveries are meant: those for which everything that is named holds.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which deliveries")]
pub(super) struct Filter {
    /// Only of this organization
    #[arg(long, value_name = "ORG", value_parser = NonEmptyStringValueParser::new())]
    org: Option<String>,
    /// Only to this integration, by its id
    #[arg(short, long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    integration: Option<String>,
    /// Only of this event type
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = exact_type)]
    event_type: Option<String>,
    /// Only with this kind of error
    #[arg(long, value_name = "CATEGORY", ignore_case = true,
          value_parser = PossibleValuesParser::new(CATEGORIES).map(|word| word.to_uppercase()))]
    category: Option<String>,
    /// Only of this event, by its id
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    event: Option<String>,
    /// Only about this entity: `Patient/7`
    #[arg(long, value_name = "ENTITY", value_parser = NonEmptyStringValueParser::new())]
    entity: Option<String>,
    /// Only with this correlation id
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    correlation: Option<String>,
    /// Not older: a time in RFC 3339, a day, or so long ago: `10m`
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = Moment::parse)]
    from: Option<Moment>,
    /// Not younger; a day is the whole of it
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = Moment::parse)]
    to: Option<Moment>,
    /// Only with this id of event, entity, correlation or delivery, or with this in the integration's name or the error
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    search: Option<String>,
}

fn exact_type(text: &str) -> Result<String, String> {
    match EventPattern::parse(text) {
        Ok(pattern) if pattern.exact().is_some() => Ok(text.to_owned()),
        Ok(_) => Err("must be one event type: history is not asked for patterns, `tidegate tail` is".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The id of a delivery as it is written, else what is wrong.
pub(super) fn id(text: &str) -> Result<String, String> {
    let wrong =
        || format!("`{}` is no id of a delivery, such as 01a1ffb3-2102-8879-8232-fe37ac38a16c", output::one_line(text));
    DeliveryId::parse(text).map(|id| id.to_string()).map_err(|_| wrong())
}

impl Filter {
    /// As parameters of the API. An empty list means every delivery.
    pub fn query(&self, now: Timestamp) -> Result<Vec<(&'static str, String)>, Exit> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from.start(now) > to.start(now)
        {
            return Err(Exit::usage("--to is before --from"));
        }
        let moment = |moment: Option<Moment>| moment.map(|moment| moment.text(now));
        let all = [
            ("orgId", self.org.clone()),
            ("integrationId", self.integration.clone()),
            ("eventType", self.event_type.clone()),
            ("errorCategory", self.category.clone()),
            ("eventId", self.event.clone()),
            ("entityId", self.entity.clone()),
            ("correlationId", self.correlation.clone()),
            ("startDate", moment(self.from)),
            ("endDate", moment(self.to)),
            ("search", self.search.clone()),
        ];
        Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// Lists of the API that have deliveries in them, newest first.
#[derive(Clone, Copy)]
pub(super) enum Route {
    Logs,
    Dlq,
}

/// One page, each item as the gateway wrote it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    #[serde(alias = "logs", alias = "entries")]
    pub items: Vec<Box<RawValue>>,
    /// Of all pages.
    pub total: u64,
    /// There may be more than `total`.
    #[serde(default)]
    pub total_is_estimate: bool,
    next_cursor: Option<String>,
}

/// The pages of one list, up to a number of items.
pub(super) struct Pages<'a> {
    api: &'a Api,
    route: Route,
    query: Vec<(&'static str, String)>,
    /// Items that are still wanted.
    left: usize,
    cursor: Option<String>,
    begun: bool,
}

impl<'a> Pages<'a> {
    pub fn new(api: &'a Api, route: Route, (query, most): (Vec<(&'static str, String)>, usize)) -> Pages<'a> {
        Pages { api, route, query, left: most, cursor: None, begun: false }
    }

    /// The next page; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<Page>, Exit> {
        if self.left == 0 || (self.begun && self.cursor.is_none()) {
            return Ok(None);
        }
        let mut query = self.query.clone();
        query.push(("limit", self.left.min(PAGE).to_string()));
        query.extend(self.cursor.take().map(|cursor| ("cursor", cursor)));
        let route = match self.route {
            Route::Logs => "logs",
            Route::Dlq => "dlq",
        };
        let body = self.api.taken(self.api.ask(self.api.url(&[route], &query)).await?)?;
        let mut page: Page = understood(&body)?;
        page.items.truncate(self.left);
        self.left -= page.items.len();
        self.begun = true;
        self.cursor = page.next_cursor.take();
        Ok(Some(page))
    }
}

/// An answer of a gateway as what it should be.
pub(super) fn understood<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Exit> {
    serde_json::from_slice(body).map_err(|error| {
        Exit::Failed(format!("the answer is not understood ({error}): is it a gateway, and of this version?"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::history::facts::from_word;
    use crate::model::delivery::ErrorCategory;

    #[derive(Parser)]
    struct Filtered {
        #[command(flatten)]
        filter: Filter,
    }

    fn query(arguments: &[&str]) -> Result<String, String> {
        let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let parsed = Filtered::try_parse_from([&["x"], arguments].concat()).map_err(|e| e.to_string())?;
        let query = parsed.filter.query(now).map_err(|e| e.to_string())?;
        Ok(query.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn no_filter_is_lost_on_its_way_to_the_api() {
        let cases: [(&[&str], &str); 6] = [
            (&[], ""),
            (
                &["--org", "648", "-i", "bills", "-t", "bill.created"],
                "orgId=648&integrationId=bills&eventType=bill.created",
            ),
            (&["--category", "http_5xx"], "errorCategory=HTTP_5XX"),
            (
                &["--event", "e1", "--entity", "Patient/7", "--correlation", "c", "--search", "a b"],
                "eventId=e1&entityId=Patient/7&correlationId=c&search=a b",
            ),
            (&["--from", "10m"], "startDate=2026-11-20T07:50:00.000Z"),
            (&["--from", "2026-11-19", "--to", "2026-11-19"], "startDate=2026-11-19&endDate=2026-11-19"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(query(arguments).as_deref(), Ok(expected), "{arguments:?}");
        }
        for (wrong, said) in [
            (&["--from", "1h", "--to", "2h"][..], "--to is before --from"),
            (&["--type", "bill.*"], "one event type"),
            (&["--category", "http"], "http_5xx"),
            (&["--from", "yesterday"], "2026-11-20"),
        ] {
            let error = query(wrong).unwrap_err();
            assert!(error.contains(said), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn a_category_that_is_offered_is_one_that_the_api_knows() {
        for word in CATEGORIES {
            assert!(from_word::<ErrorCategory>(&word.to_uppercase()).is_some(), "{word}");
        }
    }
}
