//! Passwords as argon2id (RFC 9106), in PHC form. A hash takes 19 MiB and some 20 ms: few are made at once, away from the
//! threads that answer.

use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::error::ApiError;

/// Hashes at once.
const AT_ONCE: usize = 2;
/// How long one waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// Characters of a new password.
pub const LEAST: usize = 12;
const MOST: usize = 256;
/// Stands in for the hash of somebody who is not there, so that looking takes as long. No password has it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Makes hashes and compares with them, a few at a time.
#[derive(Debug)]
pub struct Passwords {
    turns: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords { turns: Semaphore::new(AT_ONCE) }
    }
}

/// What is wrong with a new password, to be read after its name.
pub fn check(password: &str) -> Result<(), String> {
    match password.chars().count() {
        LEAST..=MOST => Ok(()),
        _ => Err(format!("must be {LEAST} to {MOST} characters long")),
    }
}

/// A password that nobody guesses; `None` only where the machine has no randomness to give.
pub fn random() -> Option<String> {
    let mut bytes = [0; 18];
    aws_lc_rs::rand::fill(&mut bytes).ok().map(|()| URL_SAFE_NO_PAD.encode(bytes))
}

impl Passwords {
    /// The hash of a password, each time another.
    pub async fn hash(&self, password: String) -> Result<String, ApiError> {
        let hash = move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string());
        self.in_turn(hash).await?.map_err(|error| {
            tracing::error!(%error, "a password was not hashed");
            ApiError::unavailable("the password could not be kept; try again in a moment")
        })
    }

    /// Is it the password with this hash? Without one never, and no sooner.
    pub async fn is(&self, password: String, hash: Option<&str>) -> Result<bool, ApiError> {
        let hash = hash.unwrap_or(NOBODY).to_owned();
        self.in_turn(move || {
            let known = PasswordHash::new(&hash);
            known.is_ok_and(|known| Argon2::default().verify_password(password.as_bytes(), &known).is_ok())
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let busy = || ApiError::unavailable("too many passwords are looked at now; try again in a moment");
        let _turn = match timeout(TURN_WITHIN, self.turns.acquire()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => return Err(busy()),
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "looking at a password broke");
            busy()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_opens_its_own_hash_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !hash.contains("horse"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse battery".to_owned()).await.unwrap());
        for (password, known, opens) in [
            ("correct horse battery", Some(hash.as_str()), true),
            ("correct horse batterz", Some(hash.as_str()), false),
            ("", Some(hash.as_str()), false),
            ("correct horse battery", None, false),
            ("correct horse battery", Some("not a hash"), false),
        ] {
            assert_eq!(passwords.is(password.to_owned(), known).await.unwrap(), opens, "{password} {known:?}");
        }
    }

    #[test]
    fn looking_for_nobody_costs_what_looking_for_somebody_does() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let known = Argon2::default().hash_password(b"x").unwrap();
        assert_eq!((&nobody.algorithm, nobody.version), (&known.algorithm, known.version));
        assert_eq!(nobody.params.to_string(), known.params.to_string());
        let lengths = |hash: &PasswordHash| (hash.salt.unwrap().len(), hash.hash.unwrap().len());
        assert_eq!(lengths(&nobody), lengths(&known));
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        for (password, ok) in [("", false), ("elevenchars", false), ("twelve chars", true), (&"x".repeat(257), false)] {
            assert_eq!(check(password).is_ok(), ok, "{password}");
        }
        let (one, two) = (random().unwrap(), random().unwrap());
        assert!(one != two && check(&one).is_ok(), "{one} {two}");
    }
}
