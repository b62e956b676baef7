//! Tokens of people who have logged in: JWT (RFC 7519) with HS256, under a key that is derived from `TIDEGATE_SECRET_KEY`. What
//! a token says is who and until when; what they may do is asked of the catalog each time.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::catalog::kind::{Key, Kind};
use crate::catalog::seal::{NotAKey, derive};
use crate::model::time::Timestamp;

/// How long a token is good for.
const LASTS: Duration = Duration::from_secs(7 * 24 * 3_600);
const PURPOSE: &[u8] = b"tidegate session tokens 1";

/// Makes tokens and reads them. Those under previous keys are read, so that turning the key logs nobody out.
pub struct Tokens {
    sign: EncodingKey,
    read: Vec<DecodingKey>,
    rules: Validation,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.read.len()).finish()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// The id of a user.
    sub: String,
    /// Seconds.
    iat: i64,
    /// Seconds.
    exp: i64,
    /// Since when tokens of the user counted as the login was made that this one comes of, in milliseconds.
    from: i64,
    /// Which of the accounts that had the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
}

/// What a token says that is one of ours and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub user: Key,
    pub from: Timestamp,
    /// `None`: of an account from before they had one.
    pub epoch: Option<String>,
}

/// A new token, and when it is over.
#[derive(Debug)]
pub struct Issued {
    pub token: String,
    pub expires_at: Timestamp,
}

const INVALID: &str = "the token is not valid; log in to get one";
const EXPIRED: &str = "the token has expired; log in again";

impl Tokens {
    /// From base64 texts of 32 bytes each.
    pub fn of(current: &str, previous: &[&str]) -> Result<Tokens, NotAKey> {
        let own = derive(current, PURPOSE)?;
        let mut read = vec![DecodingKey::from_secret(&own)];
        for key in previous {
            read.push(DecodingKey::from_secret(&derive(key, PURPOSE)?));
        }
        let mut rules = Validation::new(Algorithm::HS256);
        // The time is a parameter here.
        rules.validate_exp = false;
        Ok(Tokens { sign: EncodingKey::from_secret(&own), read, rules })
    }

    /// `None` only where the machine cannot sign.
    pub fn issue(&self, Token { user, from, epoch }: &Token, now: Timestamp) -> Option<Issued> {
        // Whole seconds, as the token has them.
        let exp = now.plus(LASTS).0.div_euclid(1_000);
        let (sub, iat) = (user.id.to_string(), now.0.div_euclid(1_000));
        let claims = Claims { sub, iat, exp, from: from.0, epoch: epoch.clone() };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.sign).ok()?;
        Some(Issued { token, expires_at: Timestamp(exp.saturating_mul(1_000)) })
    }

    /// # Errors
    /// Why it is none, for its bearer: nothing that they do not know.
    pub fn read(&self, token: &str, now: Timestamp) -> Result<Token, &'static str> {
        let mut read = self.read.iter().filter_map(|key| decode::<Claims>(token, key, &self.rules).ok());
        let claims = read.next().ok_or(INVALID)?.claims;
        if claims.exp.saturating_mul(1_000) <= now.0 {
            return Err(EXPIRED);
        }
        let user = Key::of(Kind::User, &claims.sub).ok_or(INVALID)?;
        Ok(Token { user, from: Timestamp(claims.from), epoch: claims.epoch })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const ONE: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
    const TWO: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";
    const NOW: Timestamp = Timestamp(1_763_712_930_250);

    fn of_ada() -> Token {
        Token { user: Key::of(Kind::User, "ada").unwrap(), from: Timestamp(7), epoch: Some("e".to_owned()) }
    }

    fn issued(tokens: &Tokens) -> Issued {
        tokens.issue(&of_ada(), NOW).unwrap()
    }

    #[test]
    fn a_token_is_good_for_seven_days_and_under_a_key_that_was_turned() {
        let one = Tokens::of(ONE, &[]).unwrap();
        let Issued { token, expires_at } = issued(&one);
        let expected = Ok(of_ada());
        assert_eq!(expires_at, Timestamp(1_763_712_930_000).plus(LASTS));
        assert_eq!(one.read(&token, Timestamp(expires_at.0 - 1)), expected);
        assert_eq!(one.read(&token, expires_at), Err(EXPIRED));
        assert_eq!(Tokens::of(TWO, &[ONE]).unwrap().read(&token, NOW), expected);
        assert_eq!(Tokens::of(TWO, &[]).unwrap().read(&token, NOW), Err(INVALID));
    }

    #[test]
    fn nothing_but_our_own_signature_makes_a_token() {
        let tokens = Tokens::of(ONE, &[]).unwrap();
        let good = issued(&tokens).token;
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = part(json!({"sub": "ada", "iat": 0, "exp": 9_999_999_999_i64, "from": 7}));
        let (head, rest) = good.split_once('.').unwrap();
        let (body, signature) = rest.split_once('.').unwrap();
        let key = EncodingKey::from_secret(&derive(ONE, PURPOSE).unwrap());
        let with = |claims: serde_json::Value, algorithm| encode(&Header::new(algorithm), &claims, &key).unwrap();
        let whole = json!({"sub": "ada", "iat": 0, "exp": 9_999_999_999_i64, "from": 7});
        assert!(tokens.read(&with(whole.clone(), Algorithm::HS256), NOW).is_ok());
        let cases = [
            String::new(),
            "x".to_owned(),
            "..".to_owned(),
            format!("{}.{claims}.", part(json!({"alg": "none", "typ": "JWT"}))),
            format!("{}.{body}.", part(json!({"alg": "none"}))),
            format!("{}.{body}.{signature}", part(json!({"alg": "None"}))),
            format!("{}.{body}.{signature}", part(json!({"alg": "RS256"}))),
            format!("{head}.{claims}.{signature}"),
            format!("{head}.{body}."),
            format!("{good}x"),
            format!("{good}.x"),
            with(whole, Algorithm::HS512),
            with(json!({"sub": "ada", "iat": 0, "from": 7}), Algorithm::HS256),
            with(json!({"sub": "a b", "iat": 0, "exp": 9_999_999_999_i64, "from": 7}), Algorithm::HS256),
        ];
        for token in cases {
            assert_eq!(tokens.read(&token, NOW), Err(INVALID), "{token}");
        }
    }
}
