//! A field that is never shown.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::catalog::seal::Keyring;

/// What stands for a secret wherever one is read. Sent back, it means the one that is there; in an element of a list, the
/// one of the element that is otherwise the same.
pub const MASK: &str = "***";
/// A secret: in clear on its way from a client to the seal, sealed everywhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret in clear (1 to 4,096 bytes), or sealed.
    pub(super) fn parse(text: &str) -> Result<Secret, String> {
        if text == MASK {
            return Err(format!(
                "is `{MASK}`, which stands for a secret that is there already: there is none here, or it is not clear which \
                 is meant; send the secret again, and with those that differ by their secrets alone a `name` for each"
            ));
        }
        let longest = if Keyring::is_sealed(text) { 8_192 } else { 4_096 };
        if text.is_empty() || text.len() > longest {
            return Err("must be 1 to 4096 characters long".to_owned());
        }
        Ok(Secret(text.to_owned()))
    }

    /// As its record holds it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
