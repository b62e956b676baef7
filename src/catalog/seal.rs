//! Secrets inside resources, sealed before they reach the log: AES-256-GCM (NIST SP 800-38D) under a key that is derived by
//! HKDF-SHA256 (RFC 5869) from the one that is configured. What is sealed is bound to the kind and the organization that it was
//! sealed for: moved to another's resource it does not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::catalog::kind::Kind;
use crate::model::hex::hex;
use crate::model::ids::OrgId;

/// What every sealed text begins with: `sealed:<key id>:<base64 of nonce, text and tag>`.
const SEALED: &str = "sealed:";
const KEY_BYTES: usize = 32;
/// The last part of the label: another way of sealing takes another.
const PURPOSE: &[u8] = b"tidegate catalog secrets 1";

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 bytes in base64: `openssl rand -base64 32` makes one")]
pub struct NotAKey;

/// Why a secret does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    #[error("is not a sealed secret: `sealed:<key id>:<base64>`")]
    Malformed,
    #[error(
        "is sealed under the key `{0}`, which this process does not have: TIDEGATE_SECRET_KEY_PREVIOUS takes older ones"
    )]
    UnknownKey(String),
    #[error("does not open: it was sealed for another organization or kind of resource, or was changed")]
    Broken,
}

/// Whose secret it is: what it is sealed for opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub kind: Kind,
    pub org: Option<&'a OrgId>,
}

impl Owner<'_> {
    fn bound(self) -> Vec<u8> {
        format!("{}\n{}", self.kind, self.org.map_or("", OrgId::as_str)).into_bytes()
    }
}

/// The key that seals, and older ones that still open.
pub struct Keyring {
    current: Key,
    previous: Vec<Key>,
}

struct Key {
    /// The first eight hex digits of a hash of it: it tells which key, and nothing about it.
    id: String,
    key: RandomizedNonceKey,
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl Key {
    fn parse(text: &str) -> Result<Key, NotAKey> {
        let derived = derive(text, PURPOSE)?;
        let hash = Sha256::digest([b"tidegate key id".as_slice(), &derived].concat());
        let id = hex(&hash[..4]);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &derived).map_err(|_| NotAKey)?;
        Ok(Key { id, key })
    }
}

/// The key for one purpose, of the one that is configured (32 bytes in base64): keys of different purposes tell nothing of each
/// other.
pub fn derive(text: &str, purpose: &[u8]) -> Result<[u8; KEY_BYTES], NotAKey> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| NotAKey)?;
    if bytes.len() != KEY_BYTES {
        return Err(NotAKey);
    }
    let mut derived = [0; KEY_BYTES];
    let secret = Salt::new(HKDF_SHA256, &[]).extract(&bytes);
    let filled = secret.expand(&[purpose], Length).and_then(|okm| okm.fill(&mut derived));
    filled.map(|()| derived).map_err(|_| NotAKey)
}

/// A new key: 32 random bytes in base64. Empty only where the machine has no randomness to give, which no keyring takes.
pub fn new_key() -> String {
    let mut bytes = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_or_else(|_| String::new(), |()| STANDARD.encode(bytes))
}

impl Keyring {
    /// From base64 texts of 32 bytes each.
    pub fn of(current: &str, previous: &[&str]) -> Result<Keyring, NotAKey> {
        let previous = previous.iter().map(|key| Key::parse(key)).collect::<Result<_, _>>()?;
        Ok(Keyring { current: Key::parse(current)?, previous })
    }

    pub fn is_sealed(text: &str) -> bool {
        text.starts_with(SEALED)
    }

    /// Is it sealed under the key that seals now?
    pub fn is_current(&self, sealed: &str) -> bool {
        parts(sealed).is_some_and(|(id, _)| id == self.current.id)
    }

    /// `None` only where the machine has no randomness to give.
    pub fn seal(&self, owner: Owner, clear: &str) -> Option<String> {
        let mut bytes = clear.as_bytes().to_vec();
        let nonce = self.current.key.seal_in_place_append_tag(Aad::from(owner.bound()), &mut bytes).ok()?;
        let whole = [nonce.as_ref().as_slice(), &bytes].concat();
        Some(format!("{SEALED}{}:{}", self.current.id, STANDARD_NO_PAD.encode(whole)))
    }

    pub fn open(&self, owner: Owner, sealed: &str) -> Result<String, NotOpened> {
        let (id, bytes) = parts(sealed).ok_or(NotOpened::Malformed)?;
        let key = [&self.current].into_iter().chain(&self.previous).find(|key| key.id == id);
        let key = key.ok_or_else(|| NotOpened::UnknownKey(id.chars().take(16).collect()))?;
        let bytes = STANDARD_NO_PAD.decode(bytes).map_err(|_| NotOpened::Malformed)?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN).ok_or(NotOpened::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOpened::Malformed)?;
        let mut text = text.to_vec();
        let opened = key.key.open_in_place(nonce, Aad::from(owner.bound()), &mut text);
        let clear = opened.map_err(|_| NotOpened::Broken)?;
        String::from_utf8(clear.to_vec()).map_err(|_| NotOpened::Broken)
    }
}

fn parts(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix(SEALED)?.split_once(':')
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous: Vec<&str> = self.previous.iter().map(|key| key.id.as_str()).collect();
        f.debug_struct("Keyring").field("current", &self.current.id).field("previous", &previous).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
    const TWO: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";

    fn org(id: &str) -> OrgId {
        OrgId::parse(id).unwrap()
    }

    #[test]
    fn a_secret_opens_where_it_was_sealed_for_and_nowhere_else() {
        let ring = Keyring::of(ONE, &[]).unwrap();
        let (ours, theirs) = (org("648"), org("649"));
        let owner = Owner { kind: Kind::AlertRule, org: Some(&ours) };
        let sealed = ring.seal(owner, "s3cret").unwrap();
        assert!(!sealed.contains("s3cret") && Keyring::is_sealed(&sealed) && ring.is_current(&sealed));
        assert_ne!(sealed, ring.seal(owner, "s3cret").unwrap(), "two of the same are told apart by nobody");
        assert_eq!(ring.open(owner, &sealed).as_deref(), Ok("s3cret"));
        for other in
            [Owner { org: Some(&theirs), ..owner }, Owner { org: None, ..owner }, Owner { kind: Kind::User, ..owner }]
        {
            assert_eq!(ring.open(other, &sealed), Err(NotOpened::Broken), "{other:?}");
        }
    }

    #[test]
    fn a_changed_or_foreign_text_never_opens() {
        let (ring, org) = (Keyring::of(ONE, &[]).unwrap(), org("648"));
        let owner = Owner { kind: Kind::AlertRule, org: Some(&org) };
        let sealed = ring.seal(owner, "s3cret").unwrap();
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(ring.open(owner, &changed).is_err(), "changed at {at}: {changed}");
        }
        for text in ["", "sealed:", "sealed::", "sealed:x", "sealed:x:y", "s3cret", "sealed:0:AAAA"] {
            assert!(ring.open(owner, text).is_err(), "{text}");
        }
    }

    #[test]
    fn after_a_rotation_old_and_new_secrets_open_until_the_old_key_is_dropped() {
        let org = org("648");
        let owner = Owner { kind: Kind::AlertRule, org: Some(&org) };
        let old = Keyring::of(ONE, &[]).unwrap().seal(owner, "old").unwrap();
        let both = Keyring::of(TWO, &[ONE]).unwrap();
        let new = both.seal(owner, "new").unwrap();
        assert_eq!((both.open(owner, &old).as_deref(), both.open(owner, &new).as_deref()), (Ok("old"), Ok("new")));
        assert!(both.is_current(&new) && !both.is_current(&old));
        let alone = Keyring::of(TWO, &[]).unwrap();
        assert_eq!(alone.open(owner, &new).as_deref(), Ok("new"));
        assert!(matches!(alone.open(owner, &old), Err(NotOpened::UnknownKey(_))));
    }

    #[test]
    fn a_new_key_is_one_and_no_two_are_the_same() {
        let keys = [new_key(), new_key()];
        assert!(keys.iter().all(|key| Keyring::of(key, &[]).is_ok()));
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for text in ["", "c2hvcnQ=", "not base64!", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNA=="] {
            assert!(Keyring::of(text, &[]).is_err(), "{text}");
            assert!(Keyring::of(ONE, &[text]).is_err(), "{text}");
        }
    }
}
