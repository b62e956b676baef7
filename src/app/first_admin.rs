//! The first administrator: made where there is no user at all, so that somebody can log in.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::Auth;
use crate::api::auth::password;
use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition, Refusal};
use crate::catalog::kind::{Key, Kind};
use crate::catalog::kinds::User;
use crate::catalog::{Catalog, WriteError, Writer};
use crate::config::Config;

/// The same in every process: of several that begin at once, one makes it.
const ID: &str = "admin";
/// Where nobody says otherwise.
pub const EMAIL: &str = "admin@tidegate.example";
/// Between two tries while the log is away.
const AGAIN: Duration = Duration::from_secs(5);

/// Who is to be made.
pub(super) struct FirstAdmin {
    email: String,
    /// `None`: one is made up, and told once.
    password: Option<String>,
}

/// What they work with.
pub(super) struct Means {
    pub catalog: Arc<Catalog>,
    pub writer: Arc<Writer>,
    pub auth: Arc<Auth>,
}

impl FirstAdmin {
    pub fn of(config: &Config) -> FirstAdmin {
        let email = config.admin_email.clone().unwrap_or_else(|| EMAIL.to_owned());
        FirstAdmin { email, password: config.admin_password.clone() }
    }

    /// Makes the account, however long it takes: nothing waits for it. `told` gets a password that was made up.
    pub async fn make(self, means: Means, stop: &CancellationToken, told: impl Fn(&str, &str)) {
        let work = async {
            means.catalog.loaded().await;
            while means.catalog.snapshot().all(Kind::User).is_empty() {
                match self.try_once(&means).await {
                    Ok(Some(made_up)) => return told(&self.email, &made_up),
                    Ok(None) => return,
                    Err(error) => tracing::warn!(error, "the first administrator is not made yet; it is tried again"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// The password, where it was made up and is the one.
    async fn try_once(&self, means: &Means) -> Result<Option<String>, String> {
        let made_up = match self.password {
            Some(_) => None,
            None => Some(password::random().ok_or("the system gives no randomness")?),
        };
        let Some(clear) = self.password.clone().or(made_up.clone()) else { return Ok(None) };
        let hash = means.auth.passwords.hash(clear).await.map_err(|error| error.message)?;
        let user = json!({"id": ID, "email": self.email, "name": "First administrator", "role": "ADMIN",
            "passwordHash": hash, "epoch": User::new_epoch()});
        let key = Key::of(Kind::User, ID).ok_or("the id of the first administrator is none")?;
        let change = Change { key, of: None, condition: Condition::None, action: Action::Create(user) };
        let by = Origin { actor: "first-start".to_owned(), address: None, request_id: None };
        match means.writer.write(change, &by).await {
            Ok(_) => {
                tracing::info!(email = self.email, "the first administrator was made");
                Ok(made_up)
            }
            // Another process was first, and has told its password.
            Err(WriteError::Refused { refusal: Refusal::Exists(_), .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Not in the log, which is kept and read by many: for whoever started the process.
pub(super) fn tell(email: &str, password: &str) {
    eprintln!(
        "\ntidegate: there was no user, so an administrator was made: {email}, password {password}\n\
         This is shown once. Log in with it (POST /api/v1/auth/login) and change it (POST /api/v1/auth/password).\n"
    );
}
