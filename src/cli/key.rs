//! `tidegate key`.

use std::io::{self, IsTerminal as _};

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::admin::{Collection, Listing};
use super::client::Reach;
use super::columns::{Cell, Colour, Head, or_dash};
use super::exit::Exit;
use super::moment::Moment;
use super::output;
use super::{Common, runtime};
use crate::config::Flags;
use crate::model::time::{Clock as _, SystemClock, Timestamp};

const LISTED_BY: &str = "tidegate key list";

/// API keys of programs: make one, list them, revoke one
#[derive(Args, Debug)]
#[command(
    long_about = "API keys of programs: make one, list them, revoke one. A program sends its key in the header X-API-Key.\n\n\
    `create` writes the key to standard output, alone, and never again: the gateway keeps no more of it than what recognizes it. What \
    else there is to say goes to standard error. `revoke` deletes keys, which are refused from then on, everywhere.\n\n\
    The API key that this command uses is TIDEGATE_ADMIN_KEY, else what `tidegate dev` keeps in the data folder \
    (.tidegate/admin.key).",
    after_help = "Examples:\n  \
    tidegate key create --org 648 --name Till --scope publish\n  \
    KEY=$(tidegate key create --org 648 --name 'Nightly report' --scope read,bodies --expires 90d)\n  \
    tidegate key list --org 648\n  \
    tidegate key revoke 01a1ffb3-2102-7879-8232-fe37ac38a16c\n\n\
    Exit codes: 0 done, 1 there is no such key, or it was refused, 2 wrong usage or key, 3 no gateway answers."
)]
pub(super) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make a key and write it to standard output, once
    #[command(after_help = "Examples:\n  tidegate key create --org 648 --name Till --scope publish\n  \
        KEY=$(tidegate key create --org 648 --name 'Nightly report' --scope read,bodies --expires 90d)")]
    Create(Create),
    /// Show keys: whose, what for, until when; never the keys themselves
    #[command(after_help = "Examples:\n  tidegate key list --org 648\n  \
        tidegate key list -o json | jq -r 'select(.lastUsedAt == null) | .id'")]
    List(Listing),
    /// Delete keys: they are refused from then on
    #[command(after_help = "Examples:\n  tidegate key revoke 01a1ffb3-2102-7879-8232-fe37ac38a16c\n  \
        tidegate key revoke till nightly-report")]
    Revoke(Revoke),
}

#[derive(Args, Debug)]
struct Create {
    /// The organization that it opens
    #[arg(long, value_name = "ID")]
    org: String,
    /// What people call it
    #[arg(long)]
    name: String,
    /// What it may be used for
    #[arg(long, value_enum, value_name = "SCOPE,...", value_delimiter = ',', required = true, ignore_case = true)]
    scope: Vec<Scope>,
    /// From when on it is refused: a day (2027-01-01), a time, or so long from now (90d) [default: never]
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    expires: Option<String>,
    /// An id of one's own [default: a UUID]
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args, Debug)]
struct Revoke {
    /// Keys by their ids, as `list` shows them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Read, without payloads
    Read,
    /// Read, change, and bring events in
    Write,
    /// Bring events in, and nothing else
    Publish,
    /// See the payloads of what it may read; beside `read` or `write`
    Bodies,
}

impl Scope {
    const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Publish => "publish",
            Scope::Bodies => "bodies",
        }
    }
}

/// What is shown of a key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    name: String,
    prefix: String,
    org_id: String,
    scopes: Vec<String>,
    is_active: bool,
    expires_at: Option<String>,
    #[serde(default)]
    last_used_at: Option<String>,
}

/// What making one answers.
#[derive(Deserialize)]
struct Made {
    key: String,
    #[serde(flatten)]
    row: Row,
}

pub(super) fn run(common: &Common, command: &Key) -> Result<(), Exit> {
    let keys = |reach: &Reach| {
        let api = reach.api(&common.load(Flags::new())?)?;
        Ok::<_, Exit>(Collection { api, path: "api-keys", items: "apiKeys", noun: "key", listed_by: LISTED_BY })
    };
    match &command.action {
        Action::Create(new) => create(new, |reach| keys(reach)),
        Action::List(list) => {
            let now = SystemClock.now();
            runtime()?.block_on(keys(&list.reach)?.show(
                &list.query(),
                list.output,
                (&COLUMNS, |row: &Row| cells(row, now)),
            ))
        }
        Action::Revoke(revoke) => {
            let keys = keys(&revoke.reach)?;
            runtime()?.block_on(async {
                for id in &revoke.ids {
                    keys.change(Method::DELETE, &[id], None).await?;
                    eprintln!("{} is revoked", output::one_line(id));
                }
                Ok(())
            })
        }
    }
}

fn create(new: &Create, keys: impl Fn(&Reach) -> Result<Collection, Exit>) -> Result<(), Exit> {
    let now = SystemClock.now();
    let expires = new.expires.as_deref().map(|text| expiry(text, now)).transpose().map_err(Exit::Usage)?;
    let scopes: Vec<_> = new.scope.iter().map(|scope| scope.as_str()).collect();
    let mut body = json!({"orgId": new.org, "name": new.name, "scopes": scopes});
    if let Some(expires) = expires {
        body["expiresAt"] = expires.to_string().into();
    }
    if let Some(id) = &new.id {
        body["id"] = id.as_str().into();
    }
    let keys = keys(&new.reach)?;
    let Made { key, row } = runtime()?.block_on(keys.make(&body))?;
    tell(&key, &row)
}

/// The key to standard output; if nobody reads that, it is lost, and its maker has to know.
fn tell(key: &str, row: &Row) -> Result<(), Exit> {
    if !output::print_more(&format!("{key}\n"))? {
        let id = output::one_line(&row.id);
        return Err(Exit::Failed(format!(
            "nobody read the key, and it is told only once: `tidegate key revoke {id}`, and make another"
        )));
    }
    if io::stderr().is_terminal() {
        let until = row.expires_at.as_deref().map_or("for good".to_owned(), |end| format!("until {end}"));
        let text = format!("{} of {} ({}), {until}; id {}", row.name, row.org_id, row.scopes.join(","), row.id);
        eprintln!("{}\nThis is the only time that the key is told.", output::one_line(&text));
    }
    Ok(())
}

/// A duration is one from now on. What is over already is a mistake.
fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let at = match Moment::find(text).filter(|_| !text.starts_with('-')) {
        Some(Moment::Ago(after)) => now.plus(after),
        Some(moment) => moment.start(now),
        None => {
            return Err(format!(
                "--expires `{}` must be a day such as 2027-01-01, a time, or a duration from now such as 90d",
                output::one_line(text)
            ));
        }
    };
    if at > now { Ok(at) } else { Err(format!("--expires {at} is over already")) }
}

const COLUMNS: [Head; 8] = [
    ("ID", 36),
    ("KEY", 8),
    ("ORG", 10),
    ("SCOPES", 13),
    ("STATE", 8),
    ("EXPIRES", 24),
    ("LAST USED", 24),
    ("NAME", 0),
];

fn cells(row: &Row, now: Timestamp) -> [Cell<'_>; 8] {
    let over = row.expires_at.as_deref().and_then(Timestamp::parse).is_some_and(|end| end <= now);
    let (word, colour) = match (row.is_active, over) {
        (false, _) => ("disabled", Colour::Red),
        (true, true) => ("expired", Colour::Yellow),
        (true, false) => ("active", Colour::Green),
    };
    [
        ((&row.id).into(), Colour::Bold),
        ((&row.prefix).into(), Colour::Plain),
        ((&row.org_id).into(), Colour::Plain),
        (row.scopes.join(",").into(), Colour::Cyan),
        (word.into(), colour),
        (row.expires_at.as_deref().unwrap_or("never expires").into(), Colour::Plain),
        (or_dash(row.last_used_at.as_deref()), Colour::Dim),
        ((&row.name).into(), Colour::Plain),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::columns::Look;

    #[test]
    fn a_key_never_expires_before_it_is_made() {
        let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let cases = [
            ("90d", Some("2027-02-18T08:00:00.000Z")),
            ("2027-01-01", Some("2027-01-01T00:00:00.000Z")),
            ("2027-01-01T12:00:00+01:00", Some("2027-01-01T11:00:00.000Z")),
            ("2026-11-20", None),
            ("-90d", None),
            ("0s", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(expiry(text, now).ok().map(|at| at.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_list_tells_which_keys_are_good_and_its_names_do_nothing_to_a_terminal() {
        let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let row = |active: bool, end: Option<&str>| Row {
            id: "till".to_owned(),
            name: "Till\u{1b}[2J".to_owned(),
            prefix: "tg_ab12".to_owned(),
            org_id: "648".to_owned(),
            scopes: vec!["read".to_owned(), "bodies".to_owned()],
            is_active: active,
            expires_at: end.map(str::to_owned),
            last_used_at: None,
        };
        let cases = [
            (true, None, "active"),
            (true, Some("2026-11-20T08:00:00Z"), "expired"),
            (true, Some("2026-11-20T08:00:01Z"), "active"),
            (false, Some("2026-11-19T08:00:00Z"), "disabled"),
        ];
        for (active, end, word) in cases {
            let row = row(active, end);
            let shown = Look::PIPE.row(&COLUMNS, cells(&row, now));
            assert!(shown.contains(word) && shown.contains("read,bodies") && !shown.contains('\u{1b}'), "{shown}");
        }
    }
}
