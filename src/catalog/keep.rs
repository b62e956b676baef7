//! What a client does not know and cannot send, kept as it is: hidden and given fields, and secrets that it sends back as `***`.

use serde_json::Value;

use crate::catalog::fields::MASK;
use crate::catalog::kind::Kind;
use crate::catalog::resource::Resource;
use crate::catalog::seal::{Keyring, Owner};
use crate::model::problem::Problem;

/// Fills in what `json` does not say.
pub fn keep(kind: Kind, json: &mut Value, was: Option<&Resource>) {
    let Some(was) = was.map(Resource::to_json) else { return };
    if let (Value::Object(new), Value::Object(old)) = (&mut *json, &was) {
        for name in kind.hidden().iter().chain(kind.given()) {
            if let Some(value) = old.get(*name).filter(|_| !new.contains_key(*name)) {
                new.insert((*name).to_owned(), value.clone());
            }
        }
    }
    for path in kind.secrets() {
        unmask(json, &was, path);
    }
}

/// Takes the secrets out of an answer, and the fields that nobody sees.
pub fn mask(kind: Kind, json: &mut Value) {
    if let Value::Object(fields) = json {
        kind.hidden().iter().for_each(|name| drop(fields.shift_remove(*name)));
    }
    for path in kind.secrets() {
        each(json, path, &mut |secret| *secret = MASK.into());
    }
}

/// Seals every secret that is in clear, and sees to it that the others open.
pub fn seal(resource: Resource, keyring: Option<&Keyring>) -> Result<Resource, Vec<Problem>> {
    sealed(resource, |owner, text| match (keyring, Keyring::is_sealed(text)) {
        (None, _) => Err("cannot be kept: TIDEGATE_SECRET_KEY is not set, so nothing can be sealed".to_owned()),
        (Some(ring), true) => ring.open(owner, text).map(|_| None).map_err(|error| error.to_string()),
        (Some(ring), false) => match ring.seal(owner, text) {
            Some(sealed) => Ok(Some(sealed)),
            None => Err("cannot be sealed: the system gives no randomness".to_owned()),
        },
    })
}

/// Seals every secret anew that is sealed under an older key.
pub fn reseal(resource: Resource, keyring: Option<&Keyring>) -> Result<Resource, Vec<Problem>> {
    let Some(ring) = keyring else { return Ok(resource) };
    sealed(resource, |owner, text| match ring.is_current(text) {
        true => Ok(None),
        false => {
            let clear = ring.open(owner, text).map_err(|error| error.to_string())?;
            ring.seal(owner, &clear)
                .map(Some)
                .ok_or_else(|| "cannot be sealed: the system gives no randomness".to_owned())
        }
    })
}

/// The resource with each secret as `with` makes it; `None` leaves one as it is.
fn sealed(
    resource: Resource,
    mut with: impl FnMut(Owner, &str) -> Result<Option<String>, String>,
) -> Result<Resource, Vec<Problem>> {
    let kind = resource.kind();
    if kind.secrets().is_empty() {
        return Ok(resource);
    }
    let org = resource.org().cloned();
    let owner = Owner { kind, org: org.as_ref() };
    let (mut json, mut problems) = (resource.to_json(), Vec::new());
    for path in kind.secrets() {
        each(&mut json, path, &mut |secret| match with(owner, secret.as_str().unwrap_or_default()) {
            Ok(Some(sealed)) => *secret = sealed.into(),
            Ok(None) => {}
            Err(message) => problems.push(Problem::new(path.clone(), message)),
        });
    }
    if problems.is_empty() { kind.read(json) } else { Err(problems) }
}

/// Does `with` to each text at the path: `channels[].secret`.
pub fn each(json: &mut Value, path: &str, with: &mut impl FnMut(&mut Value)) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, many) = first.strip_suffix("[]").map_or((first, false), |name| (name, true));
    let Some(found) = json.get_mut(name) else { return };
    let mut go = |value: &mut Value| match rest {
        Some(rest) => each(value, rest, with),
        None if value.is_string() => with(value),
        None => {}
    };
    match found {
        Value::Array(items) if many => items.iter_mut().for_each(&mut go),
        other => go(other),
    }
}

/// Puts what was there in the place of each mask. Elements of lists are known by their place.
fn unmask(json: &mut Value, was: &Value, path: &str) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, many) = first.strip_suffix("[]").map_or((first, false), |name| (name, true));
    let (Some(new), Some(old)) = (json.get_mut(name), was.get(name)) else { return };
    let go = |new: &mut Value, old: &Value| match rest {
        Some(rest) => unmask(new, old, rest),
        None if new.as_str() == Some(MASK) => *new = old.clone(),
        None => {}
    };
    match (new, old) {
        (Value::Array(new), Value::Array(old)) if many => new.iter_mut().zip(old).for_each(|(new, old)| go(new, old)),
        (new, old) => go(new, old),
    }
}
