//! `tidegate logs`.

mod detail;
mod list;

use std::io::{self, IsTerminal as _};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use serde_json::value::RawValue;

use super::client::{Api, Reach};
use super::columns::{self, Look};
use super::deliveries::{Filter, Page, Pages, Route, id, understood};
use super::exit::Exit;
use super::{Common, output, runtime};
use crate::config::Flags;
use crate::model::time::{Clock as _, SystemClock};
use list::{Layout, Row};

/// `dead` is both of the words for dead letters.
const STATUSES: [&str; 9] =
    ["pending", "retrying", "success", "failed", "abandoned", "skipped", "cancelled", "discarded", "dead"];

/// Show deliveries and what became of them, or one of them whole
#[derive(Args, Debug)]
#[command(
    long_about = "Show deliveries and what became of them, or one of them whole: facts, attempts, the last answer, and the request as a \
    curl command. The newest come first.\n\n\
    The gateway is asked, which answers from its history; that is a second or so behind. `tidegate tail` reads the records \
    themselves, as they come.\n\n\
    The API key is TIDEGATE_ADMIN_KEY, else what `tidegate dev` keeps in the data folder (.tidegate/admin.key).",
    after_help = "Examples:\n  \
    tidegate logs\n  \
    tidegate logs --status dead --integration bills --from 1h\n  \
    tidegate logs --status retrying,pending --entity Patient/7\n  \
    tidegate logs 01a1ffb3-2102-8879-8232-fe37ac38a16c\n  \
    tidegate logs --from 2026-11-20 --to 2026-11-20 --limit 5000 -o json | jq -r .errorMessage | sort | uniq -c\n\n\
    Exit codes: 0 shown, 1 there is no such delivery, 2 wrong usage or key, 3 no gateway answers, or its history is away."
)]
pub(super) struct Logs {
    /// The one delivery to show whole
    #[arg(value_name = "DELIVERY", conflicts_with_all = ["status", "limit"])]
    id: Option<String>,
    /// Only with one of these statuses; `dead` is failed and abandoned
    #[arg(short, long, value_name = "STATUS,...", value_delimiter = ',', ignore_case = true,
          value_parser = PossibleValuesParser::new(STATUSES).map(|word| word.to_uppercase()))]
    status: Vec<String>,
    /// So many at most
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns; on a narrow terminal two lines for each delivery
    Text,
    /// One JSON object a line, as the API gives it
    Json,
}

pub(super) fn run(common: &Common, command: &Logs) -> Result<(), Exit> {
    let api = command.reach.api(&common.load(Flags::new())?)?;
    let mut query = command.filter.query(SystemClock.now())?;
    if let Some(given) = &command.id {
        if query.iter().any(|(name, _)| *name != "orgId") {
            return Err(Exit::usage(
                "one delivery is named, so that a filter has nothing to choose: leave out one of them",
            ));
        }
        let id = id(given).map_err(Exit::Usage)?;
        return runtime()?.block_on(one(&api, (&id, &query), command.output));
    }
    if !command.status.is_empty() {
        query.push(("status", statuses(&command.status)));
    }
    let most = usize::try_from(command.limit).unwrap_or(usize::MAX);
    let filtered = !query.is_empty();
    runtime()?.block_on(all(Pages::new(&api, Route::Logs, (query, most)), command.output, filtered))
}

/// As the API wants them.
fn statuses(given: &[String]) -> String {
    let words = given.iter().map(|word| if word == "DEAD" { "FAILED,ABANDONED" } else { word });
    words.collect::<Vec<_>>().join(",")
}

async fn one(api: &Api, (id, query): (&str, &[(&str, String)]), format: Format) -> Result<(), Exit> {
    let answer = api.ask(api.url(&["logs", id], query)).await?;
    if answer.is_unknown(id) {
        return Err(Exit::Failed(format!("there is no such delivery{}; `tidegate logs` lists them", answer.said())));
    }
    let body = api.taken(answer)?;
    let shown = match format {
        Format::Json => json_line(understood(&body)?),
        Format::Text => detail::text((&understood(&body)?, &understood(&body)?), columns::colours()),
    };
    output::print(&shown)
}

/// Page by page, so that the first is there at once and nothing has to hold them all.
async fn all(mut pages: Pages<'_>, format: Format, filtered: bool) -> Result<(), Exit> {
    let layout = Layout(Look::of_stdout());
    let (mut shown, mut last) = (0, None);
    while let Some(page) = pages.next().await? {
        let first = format == Format::Text && shown == 0 && !page.items.is_empty();
        let mut text = if first { layout.heading() } else { String::new() };
        for item in &page.items {
            match format {
                Format::Json => text.push_str(&json_line(item)),
                Format::Text => text.push_str(&layout.lines(&understood::<Row>(item.get().as_bytes())?)),
            }
        }
        if !output::print_more(&text)? {
            return Ok(());
        }
        shown += page.items.len();
        last = Some(page);
    }
    if let Some(said) = last.and_then(|page| closing(shown, &page, filtered)).filter(|_| format == Format::Text) {
        eprintln!("{said}");
    }
    Ok(())
}

/// What is said below the list, to people.
fn closing(shown: usize, page: &Page, filtered: bool) -> Option<String> {
    match shown {
        0 if filtered => {
            Some("no delivery is like that; what has just happened is in the history a moment later".to_owned())
        }
        0 => Some("there are no deliveries yet".to_owned()),
        shown if !(io::stdout().is_terminal() && io::stderr().is_terminal()) || shown as u64 >= page.total => None,
        shown => Some(format!(
            "{} of {}{}; --limit shows more, `tidegate logs ID` one of them whole",
            HumanCount(shown as u64),
            if page.total_is_estimate { "more than " } else { "" },
            HumanCount(page.total)
        )),
    }
}

fn json_line(item: &RawValue) -> String {
    output::harmless(item.get()) + "\n"
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::history::facts::from_word;
    use crate::model::delivery::DeliveryStatus;

    fn asked(arguments: &[&str]) -> Result<String, String> {
        let cli = Cli::try_parse_from([&["tidegate", "logs"], arguments].concat()).map_err(|e| e.to_string())?;
        let Command::Logs(command) = cli.command else { panic!("not logs") };
        Ok(statuses(&command.status))
    }

    #[test]
    fn a_status_in_any_case_is_what_the_api_knows_and_a_wrong_one_is_told_with_the_right_ones() {
        assert_eq!(
            asked(&["--status", "Dead,retrying", "-s", "PENDING"]).as_deref(),
            Ok("FAILED,ABANDONED,RETRYING,PENDING")
        );
        assert!(asked(&["--status", "broken"]).unwrap_err().contains("abandoned"));
        assert!(asked(&["some-id", "--status", "dead"]).is_err());
        for status in STATUSES.into_iter().filter(|word| *word != "dead") {
            assert!(from_word::<DeliveryStatus>(&status.to_uppercase()).is_some(), "{status}");
        }
    }
}
