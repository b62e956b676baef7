//! What a client does not know and cannot send, kept as it is: hidden and given fields, and secrets that it sends back as `***`.

use serde_json::Value;

use crate::catalog::fields::MASK;
use crate::catalog::kind::Kind;
use crate::catalog::resource::Resource;
use crate::catalog::seal::{Keyring, Owner};
use crate::model::problem::Problem;

/// Fills in what `json` does not say.
pub fn keep(json: &mut Value, was: &Resource) {
    let (kind, was) = (was.kind(), was.to_json());
    if let (Value::Object(new), Value::Object(old)) = (&mut *json, &was) {
        for name in kind.hidden().iter().chain(kind.given()) {
            if let Some(value) = old.get(*name).filter(|_| !new.contains_key(*name)) {
                new.insert((*name).to_owned(), value.clone());
            }
        }
    }
    fill(kind, json, &was);
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

/// The same for what a record of another version of this program may hold: whatever is sealed is a secret, wherever it stands.
pub fn mask_recorded(kind: Kind, json: &mut Value) {
    mask(kind, json);
    each_sealed(json, &mut |secret| *secret = MASK.into());
}

/// Does `with` to each sealed text.
pub fn each_sealed(json: &mut Value, with: &mut impl FnMut(&mut Value)) {
    match json {
        Value::String(text) if Keyring::is_sealed(text) => with(json),
        Value::Array(items) => items.iter_mut().for_each(|item| each_sealed(item, with)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_sealed(field, with)),
        _ => {}
    }
}

/// Seals every secret that is in clear, and sees to it that the others open and are under the key that seals now.
pub fn seal(resource: Resource, keyring: Option<&Keyring>) -> Result<Resource, Vec<Problem>> {
    sealed(resource, |owner, text| match (keyring, Keyring::is_sealed(text)) {
        (None, _) => Err("cannot be kept: TIDEGATE_SECRET_KEY is not set, so nothing can be sealed".to_owned()),
        // An older version that comes back, or a file, may bring what is under an older key.
        (Some(ring), true) => renewed(ring, owner, text),
        (Some(ring), false) => newly(ring, owner, text),
    })
}

/// Seals every secret anew that is sealed under an older key.
pub fn reseal(resource: Resource, keyring: Option<&Keyring>) -> Result<Resource, Vec<Problem>> {
    let Some(ring) = keyring else { return Ok(resource) };
    sealed(resource, |owner, text| match ring.is_current(text) {
        true => Ok(None),
        false => renewed(ring, owner, text),
    })
}

/// `None`: it opens, and is under the key that seals now.
fn renewed(ring: &Keyring, owner: Owner, text: &str) -> Result<Option<String>, String> {
    let clear = ring.open(owner, text).map_err(|error| error.to_string())?;
    if ring.is_current(text) { Ok(None) } else { newly(ring, owner, &clear) }
}

fn newly(ring: &Keyring, owner: Owner, clear: &str) -> Result<Option<String>, String> {
    let sealed = ring.seal(owner, clear);
    sealed.map(Some).ok_or_else(|| "cannot be sealed: the system gives no randomness".to_owned())
}

/// Prepares an earlier version to take the place of `was`. Hidden fields stay as they are: a password that was changed does not
/// come back. Secrets come back where they still open; else the present one stays, as if the client had sent `***`.
///
/// # Errors
/// The secrets that neither open nor have a present one in their place.
pub fn revive(was: &Resource, json: &mut Value, keyring: Option<&Keyring>) -> Result<(), Vec<Problem>> {
    let (kind, present) = (was.kind(), was.to_json());
    if let Value::Object(fields) = json {
        for name in kind.hidden() {
            match present.get(*name) {
                Some(value) => fields.insert((*name).to_owned(), value.clone()),
                None => fields.shift_remove(*name),
            };
        }
    }
    let org = was.org().cloned();
    let owner = Owner { kind, org: org.as_ref() };
    let mut lost = Vec::new();
    for path in kind.secrets() {
        each(json, path, &mut |secret| {
            let sealed = secret.as_str().unwrap_or_default();
            if keyring.is_none_or(|ring| ring.open(owner, sealed).is_err()) {
                *secret = MASK.into();
            }
        });
    }
    fill(kind, json, &present);
    for path in kind.secrets() {
        each(json, path, &mut |secret| {
            if secret.as_str() == Some(MASK) {
                let why = "of that version cannot be opened any more, and there is none now in its place: read the version, \
                           put the secret in and send it with PUT";
                lost.push(Problem::new(path.clone(), why));
            }
        });
    }
    if lost.is_empty() { Ok(()) } else { Err(lost) }
}

/// Puts what is there now in the place of each mask. A secret of an element of a list is for what the rest of the element says
/// (`channels[].url`): it goes where all of that is the same, wherever in the list, and nowhere else. Masks that find none, or
/// are in a list within an element, stay, and no resource is read with one.
fn fill(kind: Kind, json: &mut Value, was: &Value) {
    if kind.secrets().is_empty() {
        return;
    }
    let (new_bare, old_bare) = (bare(kind, as_written(kind, json)), bare(kind, was.clone()));
    for path in kind.secrets() {
        let Some((list, rest)) = path.split_once("[].") else {
            unmask(json, was, path);
            continue;
        };
        let place = format!("/{}", list.replace('.', "/"));
        let at = |json| Value::pointer(json, &place).and_then(Value::as_array);
        let (Some(old), Some(new_bare), Some(old_bare)) = (at(was), at(&new_bare), at(&old_bare)) else { continue };
        let Some(Value::Array(new)) = json.pointer_mut(&place) else { continue };
        let masked: Vec<bool> = new.iter_mut().map(|element| is_masked(element, rest)).collect();
        for (to, from) in pairs((&masked, new_bare), old_bare) {
            unmask(&mut new[to], &old[from], rest);
        }
    }
}

/// As its record would hold it, so that what is the same is seen however a client writes it.
fn as_written(kind: Kind, json: &Value) -> Value {
    let mut whole = json.clone();
    for path in kind.secrets() {
        each(&mut whole, path, &mut |secret| *secret = "any".into());
    }
    kind.read(whole).map_or_else(|_| json.clone(), |resource| resource.to_json())
}

fn bare(kind: Kind, mut json: Value) -> Value {
    for path in kind.secrets() {
        each(&mut json, path, &mut |secret| *secret = MASK.into());
    }
    json
}

fn is_masked(element: &mut Value, path: &str) -> bool {
    let mut found = false;
    each(element, path, &mut |secret| found |= secret == MASK);
    found
}

/// Which masked element is which of the old ones: of several that are the same but for their secrets it cannot be known, for
/// one may have gone and another come.
fn pairs((masked, new): (&[bool], &[Value]), old: &[Value]) -> Vec<(usize, usize)> {
    let wanted: Vec<(usize, &Value)> =
        new.iter().enumerate().filter(|(at, _)| masked.get(*at) == Some(&true)).collect();
    let only = |(to, element): &(usize, &Value)| {
        let mut there = (0..old.len()).filter(|at| old[*at] == **element);
        let is_only = wanted.iter().filter(|(_, other)| other == element).count() == 1;
        there.next().filter(|_| is_only && there.next().is_none()).map(|from| (*to, from))
    };
    wanted.iter().filter_map(only).collect()
}

/// The JSON form with every secret in clear that opens: never to be shown, only to be compared.
pub fn opened(resource: &Resource, keyring: Option<&Keyring>) -> Value {
    let (kind, mut json) = (resource.kind(), resource.to_json());
    let owner = Owner { kind, org: resource.org() };
    for path in kind.secrets() {
        each(&mut json, path, &mut |secret| {
            let text = secret.as_str().filter(|text| Keyring::is_sealed(text));
            if let Some(clear) = text.and_then(|text| keyring?.open(owner, text).ok()) {
                *secret = clear.into();
            }
        });
    }
    json
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

/// Puts what was there in the place of a mask outside of lists.
fn unmask(json: &mut Value, was: &Value, path: &str) {
    let place = format!("/{}", path.replace('.', "/"));
    let Some(new) = json.pointer_mut(&place).filter(|new| *new == MASK) else { return };
    if let Some(old) = was.pointer(&place) {
        new.clone_from(old);
    }
}
