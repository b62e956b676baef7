//! `tidegate secret`.

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::client::{Api, Reach, cause};
use super::exit::Exit;
use super::output::{self, printable};
use super::{Common, runtime};
use crate::catalog::seal::new_key;
use crate::config::Flags;

/// The key that seals secrets: a new one, and everything under it
#[derive(Args, Debug)]
#[command(
    long_about = "The key that seals secrets: a new one, and everything under it.\n\n\
    Secrets inside resources are sealed under TIDEGATE_SECRET_KEY before they reach the log. To give another key:\n\n  \
    1. `tidegate secret new-key` makes one; keep it where the other one is kept.\n  \
    2. On every process set TIDEGATE_SECRET_KEY to the new key and TIDEGATE_SECRET_KEY_PREVIOUS to the old one, and start them\n     \
    again, one after the other: each opens what either sealed.\n  \
    3. Once all run with the new key, `tidegate secret rotate-key` seals everything under it.\n  \
    4. Start every process without TIDEGATE_SECRET_KEY_PREVIOUS, and drop the old key.",
    after_help = "Examples:\n  \
    tidegate secret new-key\n  \
    TIDEGATE_SECRET_KEY=$(tidegate secret new-key) tidegate serve\n  \
    tidegate secret rotate-key --api https://gateway.example\n\n\
    Exit codes: 0 done, 1 some resources could not be opened and stay as they are, 2 wrong usage or key, 3 no gateway answers."
)]
pub(super) struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Print a new key: 32 random bytes in base64. It goes nowhere else
    #[command(after_help = "Examples:\n  tidegate secret new-key\n  tidegate secret new-key > secret.key")]
    NewKey,
    /// Have a running gateway seal every secret under the key that it has now; see `tidegate secret --help` for what comes before
    #[command(
        after_help = "Examples:\n  tidegate secret rotate-key\n  tidegate secret rotate-key --api https://gateway.example"
    )]
    RotateKey {
        #[command(flatten)]
        reach: Reach,
    },
}

/// What the gateway answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    resealed: u64,
    unchanged: u64,
    failed_total: u64,
    failed: Vec<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    kind: String,
    id: String,
    message: String,
}

pub(super) fn run(common: &Common, command: &Secret) -> Result<(), Exit> {
    match &command.action {
        Action::NewKey => match new_key() {
            key if key.is_empty() => Err(Exit::failed("the system gives no randomness, so there is no key")),
            key => output::print(&format!("{key}\n")),
        },
        Action::RotateKey { reach } => {
            let api = reach.api(&common.load(Flags::new())?)?;
            let done = runtime()?.block_on(rotate(&api))?;
            output::print(&told(&done))?;
            match done.failed_total {
                0 => Ok(()),
                _ => Err(Exit::failed(
                    "some secrets could not be opened: keep TIDEGATE_SECRET_KEY_PREVIOUS as it is, give these resources their secrets \
                     anew or add the key that they are under, and run this again",
                )),
            }
        }
    }
}

async fn rotate(api: &Api) -> Result<Done, Exit> {
    let url = api.url(&["admin", "secrets", "reseal"], &[]);
    let sent = api.send(Method::POST, url, None).await;
    let answer = sent.map_err(|error| {
        let again = "; what is sealed anew already stays so: run this again";
        api.unreachable(&cause(&error)).and(again)
    })?;
    if answer.status != StatusCode::OK {
        return Err(api.refusal(&answer, "api"));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| Exit::failed(format!("the gateway answered what this version does not know: {error}")))
}

fn told(done: &Done) -> String {
    let mut text = format!("{} sealed anew, {} under the newest key already.\n", done.resealed, done.unchanged);
    for Failed { kind, id, message } in &done.failed {
        text.push_str(&printable(&format!("  {kind} {id}: {message}\n")));
    }
    if done.failed_total > done.failed.len() as u64 {
        text.push_str(&format!("  and {} more\n", done.failed_total - done.failed.len() as u64));
    }
    if done.failed_total == 0 {
        text.push_str(
            "Every secret is under it. Start every process without TIDEGATE_SECRET_KEY_PREVIOUS now, and drop the old key.\n\
             (If a process still ran with the old key until now, run this once more after it was started again.)\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_drop_a_key_that_is_still_needed() {
        let failed = || Failed { kind: "AlertRule".into(), id: "a\u{1b}[2J".into(), message: "no key".into() };
        let done = |failed_total: u64, failed| Done { resealed: 2, unchanged: 1, failed_total, failed };
        let good = told(&done(0, vec![]));
        assert!(good.contains("2 sealed anew, 1 under") && good.contains("drop the old key"), "{good}");
        let bad = told(&done(3, vec![failed()]));
        assert!(bad.contains("AlertRule a\\u{1b}[2J: no key") && bad.contains("and 2 more"), "{bad}");
        assert!(!bad.contains("drop"), "{bad}");
    }
}
