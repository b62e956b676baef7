//! `tidegate user`.

mod prompt;

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::admin::{Collection, Listing, understood};
use super::client::Reach;
use super::columns::{Cell, Colour, Head, Look, or_dash};
use super::exit::Exit;
use super::output;
use super::{Common, runtime};
use crate::api::auth::password;
use crate::config::Flags;

/// Bytes of a line that is read from a pipe: more is no password.
const LONGEST: u64 = 4_096;
const LISTED_BY: &str = "tidegate user list";

/// People who log in: make an account, list them, set a password, put somebody out
#[derive(Args, Debug)]
#[command(
    long_about = "People who log in: make an account, list them, set a password, put somebody out.\n\n\
    A password is asked for on the terminal, twice and unseen, or is the first line of standard input; it is never an argument, which \
    others on the machine can read. It has 12 to 256 characters.\n\n\
    The API key is TIDEGATE_ADMIN_KEY, else what `tidegate dev` keeps in the data folder (.tidegate/admin.key).",
    after_help = "Examples:\n  \
    tidegate user create ada@clinic.example --role user --org 648 --name 'Ada Example'\n  \
    pass show clinic/ada | tidegate user create ada@clinic.example --role viewer --org 648\n  \
    tidegate user list --org 648\n  \
    tidegate user password ada@clinic.example\n  \
    tidegate user disable ada@clinic.example\n\n\
    Exit codes: 0 done, 1 there is no such user, or it was refused, 2 wrong usage, password or key, 3 no gateway answers."
)]
pub(super) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make an account
    #[command(after_help = "Examples:\n  \
        tidegate user create ada@clinic.example --role user --org 648 --name 'Ada Example'\n  \
        tidegate user create grace@tidegate.example --role admin\n  \
        pass show clinic/ada | tidegate user create ada@clinic.example --role viewer --org 648")]
    Create(Create),
    /// Show accounts
    #[command(after_help = "Examples:\n  tidegate user list --org 648\n  tidegate user list --role admin\n  \
        tidegate user list -o json | jq -r 'select(.isActive) | .email'")]
    List(List),
    /// Give an account another password; every session of the person ends
    #[command(after_help = "Examples:\n  tidegate user password ada@clinic.example\n  \
        pass show clinic/ada | tidegate user password ada@clinic.example")]
    Password(Named),
    /// Put somebody out; every session of the person ends
    #[command(after_help = "Examples:\n  tidegate user disable ada@clinic.example")]
    Disable(Named),
    /// Let somebody in again, who has to log in anew
    #[command(after_help = "Examples:\n  tidegate user enable ada@clinic.example")]
    Enable(Named),
}

#[derive(Args, Debug)]
struct Create {
    /// The address that they log in with
    #[arg(value_name = "EMAIL")]
    email: String,
    /// What they may do
    #[arg(long, value_enum, ignore_case = true)]
    role: Role,
    /// Their organization; an admin has none
    #[arg(long, value_name = "ID", required_if_eq_any = [("role", "user"), ("role", "viewer")])]
    org: Option<String>,
    /// What people call them
    #[arg(long)]
    name: Option<String>,
    /// An id of one's own [default: a UUID]
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args, Debug)]
struct List {
    /// Those with this role
    #[arg(long, value_enum, ignore_case = true)]
    role: Option<Role>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Args, Debug)]
struct Named {
    /// The email address, or the id
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Everything, in all organizations
    Admin,
    /// Reads and changes what the organization has
    User,
    /// Reads what the organization has, without payloads
    Viewer,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "ADMIN",
            Role::User => "USER",
            Role::Viewer => "VIEWER",
        }
    }
}

/// What is shown of an account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    id: String,
    email: String,
    #[serde(default)]
    name: String,
    role: String,
    org_id: Option<String>,
    is_active: bool,
    #[serde(default)]
    last_login_at: Option<String>,
}

pub(super) fn run(common: &Common, command: &User) -> Result<(), Exit> {
    let users = |reach: &Reach| {
        let api = reach.api(&common.load(Flags::new())?)?;
        Ok::<_, Exit>(Collection { api, path: "users", items: "users", noun: "user", listed_by: LISTED_BY })
    };
    match &command.action {
        Action::Create(new) => create(&users(&new.reach)?, new),
        Action::List(List { role, listing }) => {
            let mut query = listing.query();
            query.extend(role.map(|role| ("role", role.as_str().to_owned())));
            runtime()?.block_on(users(&listing.reach)?.show(&query, listing.output, (&COLUMNS, cells)))
        }
        Action::Password(named) => {
            let users = users(&named.reach)?;
            let body = json!({"password": ask_password(&named.user)?});
            runtime()?.block_on(async {
                let id = found(&users, &named.user).await?;
                users.change(Method::PATCH, &[&id], Some(&body)).await?;
                eprintln!("the password is another one; every session of {} has ended", output::one_line(&named.user));
                Ok(())
            })
        }
        Action::Disable(named) => switch(&users(&named.reach)?, &named.user, "disable"),
        Action::Enable(named) => switch(&users(&named.reach)?, &named.user, "enable"),
    }
}

fn create(users: &Collection, new: &Create) -> Result<(), Exit> {
    if new.role == Role::Admin && new.org.is_some() {
        return Err(Exit::usage("an admin belongs to no organization: leave --org out"));
    }
    let mut body = json!({"email": new.email, "role": new.role.as_str(), "password": ask_password(&new.email)?});
    for (field, value) in [("orgId", &new.org), ("name", &new.name), ("id", &new.id)] {
        if let Some(value) = value {
            body[field] = value.as_str().into();
        }
    }
    let made: Account = runtime()?.block_on(users.make(&body))?;
    tell(&made)
}

fn switch(users: &Collection, user: &str, word: &str) -> Result<(), Exit> {
    runtime()?.block_on(async {
        let id = found(users, user).await?;
        let answer = users.change(Method::POST, &[&id, word], None).await?;
        tell(&understood(&answer.body)?)
    })
}

/// The id of whom a text names.
async fn found(users: &Collection, text: &str) -> Result<String, Exit> {
    if !text.contains('@') {
        return Ok(text.to_owned());
    }
    for item in users.all(&[("search", text.to_owned())]).await? {
        let account: Account = understood(item.get().as_bytes())?;
        if account.email.eq_ignore_ascii_case(text) {
            return Ok(account.id);
        }
    }
    let text = output::one_line(text);
    Err(Exit::Failed(format!("there is no user with the address {text}; `{LISTED_BY}` shows those there are")))
}

const COLUMNS: [Head; 7] =
    [("EMAIL", 28), ("ROLE", 6), ("ORG", 10), ("STATE", 8), ("LAST LOGIN", 24), ("ID", 36), ("NAME", 0)];

fn cells(account: &Account) -> [Cell<'_>; 7] {
    let (state, colour) = if account.is_active { ("active", Colour::Green) } else { ("disabled", Colour::Red) };
    [
        ((&account.email).into(), Colour::Bold),
        ((&account.role).into(), Colour::Cyan),
        (or_dash(account.org_id.as_deref()), Colour::Plain),
        (state.into(), colour),
        (or_dash(account.last_login_at.as_deref()), Colour::Dim),
        ((&account.id).into(), Colour::Dim),
        ((&account.name).into(), Colour::Plain),
    ]
}

/// The one account that something was done with.
fn tell(account: &Account) -> Result<(), Exit> {
    let look = Look::of_stdout();
    output::print(&(look.heading(&COLUMNS) + &look.row(&COLUMNS, cells(account))))
}

/// Asked for twice on a terminal, which does not show it; else the first line of standard input.
fn ask_password(whose: &str) -> Result<String, Exit> {
    if io::stdin().is_terminal() {
        return prompt::asked(whose);
    }
    let given = piped(io::stdin().lock())?;
    if given.is_empty() {
        return Err(Exit::usage(
            "there is no password on standard input: run this on a terminal, which asks for it, or give it as the first line, \
             such as `pass show clinic/ada | tidegate user ...`",
        ));
    }
    password::check(&given).map_err(|wrong| Exit::usage(format!("the password {wrong}")))?;
    Ok(given)
}

fn piped(input: impl io::BufRead) -> Result<String, Exit> {
    let mut text = String::new();
    let wrong = |error: io::Error| Exit::usage(format!("the password on standard input: {error}"));
    input.take(LONGEST).read_line(&mut text).map_err(wrong)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_password_of_a_pipe_is_its_first_line_and_nothing_else() {
        let long = "x".repeat(10_000);
        let cases = [
            ("correct horse\n", "correct horse"),
            ("correct horse", "correct horse"),
            (" spaces stay \r\nsecond\n", " spaces stay "),
            ("", ""),
            (&long, &long[..4_096]),
        ];
        for (text, expected) in cases {
            assert_eq!(piped(text.as_bytes()).unwrap(), expected);
        }
        assert!(piped(&b"\xff\xff\n"[..]).is_err());
    }

    #[test]
    fn an_account_of_no_organization_is_no_accident() {
        let parsed = |arguments: &[&str]| {
            Cli::try_parse_from([&["tidegate", "user", "create", "a@x.example"], arguments].concat())
        };
        for (arguments, is_right) in [
            (&["--role", "user", "--org", "648"][..], true),
            (&["--role", "ADMIN"], true),
            (&["--role", "user"], false),
            (&["--role", "VIEWER"], false),
            (&["--org", "648"], false),
            (&["--role", "user", "--org", "648", "--password", "x"], false),
        ] {
            assert_eq!(parsed(arguments).is_ok(), is_right, "{arguments:?}");
        }
    }
}
