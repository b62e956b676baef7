//! How one gets in: a key and a login, made once and kept in the data folder.

use std::io;

use super::keys;
use crate::api::auth::password;
use crate::app::first_admin::EMAIL;
use crate::catalog::seal;
use crate::cli::exit::Exit;
use crate::config::Config;

pub(super) struct Access {
    pub key: Key,
    pub login: Login,
}

/// The key of the API: one that `dev` made is shown, one that was configured may be worth more.
pub(super) enum Key {
    Made(String),
    Theirs(String),
}

/// The first administrator, and the password that they were made with. One who changed it since knows it.
pub(super) struct Login {
    pub email: String,
    pub password: String,
    made: bool,
}

impl Access {
    /// Makes what the configuration does not have, and gives it that.
    pub fn of(config: &mut Config) -> Result<Access, Exit> {
        let folder = config.data_dir.display().to_string();
        Access::kept(config).map_err(|e: io::Error| {
            Exit::usage(format!("{folder}: {e}; set TIDEGATE_DATA_DIR to a folder that can be written"))
        })
    }

    fn kept(config: &mut Config) -> io::Result<Access> {
        let key = match &config.admin_key {
            Some(key) => Key::Theirs(key.clone()),
            None => Key::Made(keys::kept(&config.data_dir, "admin.key", keys::new_admin_key)?),
        };
        config.admin_key = Some(key.secret().to_owned());
        let made = config.admin_password.is_none();
        let password = match config.admin_password.clone() {
            Some(password) => password,
            None => keys::kept(&config.data_dir, "admin.password", || password::random().unwrap_or_default())?,
        };
        config.admin_password = Some(password.clone());
        if config.secret_key.is_none() {
            config.secret_key = Some(keys::kept(&config.data_dir, "secret.key", seal::new_key)?);
        }
        let email = config.admin_email.clone().unwrap_or_else(|| EMAIL.to_owned());
        Ok(Access { key, login: Login { email, password, made } })
    }
}

impl Key {
    pub fn secret(&self) -> &str {
        match self {
            Key::Made(key) | Key::Theirs(key) => key,
        }
    }

    /// As it stands in a command to be copied.
    pub fn shown(&self) -> &str {
        match self {
            Key::Made(key) => key,
            Key::Theirs(_) => "$TIDEGATE_ADMIN_KEY",
        }
    }
}

impl Login {
    /// A line for people. `good`: the password is taken still.
    pub fn line(&self, good: bool) -> String {
        let password = match (good, self.made) {
            (false, _) => "whose password is another one by now".to_owned(),
            (true, true) => format!("password {}", self.password),
            (true, false) => "with $TIDEGATE_ADMIN_PASSWORD".to_owned(),
        };
        format!("login: {}, {password}", self.email)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_where_it_was_made_here_and_works_still() {
        for (made, good, expected) in [
            (true, true, "login: a@b.example, password 123456789012"),
            (true, false, "login: a@b.example, whose password is another one by now"),
            (false, true, "login: a@b.example, with $TIDEGATE_ADMIN_PASSWORD"),
            (false, false, "login: a@b.example, whose password is another one by now"),
        ] {
            let login = Login { email: "a@b.example".to_owned(), password: "123456789012".to_owned(), made };
            assert_eq!(login.line(good), expected);
        }
    }
}
