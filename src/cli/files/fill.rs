//! `${env:NAME}` and `${file:path}` in texts: what is not to stand in a file. `$${` stands for `${`.

use std::path::{Path, PathBuf};

use super::tree::{Node, Tree};

/// Where values come from.
pub(super) struct Fill<'a> {
    /// What paths of files begin at: the folder of the file that names them.
    folder: &'a Path,
    env: fn(&str) -> Option<String>,
}

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// It is not here: elsewhere it may be.
    Missing(String),
    Malformed(String),
}

/// A piece of a text.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Env(&'a str),
    File(&'a str),
}

impl<'a> Fill<'a> {
    pub fn of(folder: &'a Path) -> Fill<'a> {
        Fill { folder, env: |name| std::env::var(name).ok() }
    }

    #[cfg(test)]
    pub fn with(folder: &'a Path, env: fn(&str) -> Option<String>) -> Fill<'a> {
        Fill { folder, env }
    }

    /// Fills every text in, and tells of each that needed it: its path, its line, how it was written, and what it came to or why
    /// it came to nothing. Then it stays as it is written.
    pub fn within(&self, node: &mut Node, path: &str, tell: &mut impl FnMut(&str, u64, &str, Result<String, Lack>)) {
        match &mut node.tree {
            Tree::Plain(_) => {}
            Tree::List(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.within(item, &format!("{path}[{at}]"), tell);
                }
            }
            Tree::Fields(fields) => {
                for (name, field) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.within(field, &path, tell);
                }
            }
            Tree::Text(text) => {
                let Some(filled) = self.filled(text) else { return };
                tell(path, node.line, text, filled.clone());
                if let Ok(filled) = filled {
                    *text = filled;
                }
            }
        }
    }

    /// `None`: there is nothing to fill in.
    fn filled(&self, text: &str) -> Option<Result<String, Lack>> {
        if !text.contains("${") {
            return None;
        }
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(why) => return Some(Err(Lack::Malformed(why))),
        };
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) && !text.contains("$${") {
            return None;
        }
        let mut whole = String::with_capacity(text.len());
        for piece in pieces {
            let found = match piece {
                Piece::Text(text) => Ok(text.to_owned()),
                Piece::Env(name) => {
                    (self.env)(name).ok_or_else(|| format!("needs the environment variable {name}, which is not set"))
                }
                Piece::File(name) => self.file(name),
            };
            match found {
                Ok(text) => whole += &text,
                Err(why) => return Some(Err(Lack::Missing(why))),
            }
        }
        Some(Ok(whole))
    }

    /// Without the line break that editors put at the end.
    fn file(&self, name: &str) -> Result<String, String> {
        let path: PathBuf = self.folder.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("needs the file {}, which cannot be read: {e}", path.display()))?;
        Ok(text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text).to_owned())
    }
}

/// The text as a file has to have it to come to this one.
pub(super) fn escaped(text: &str) -> String {
    let nothing = |name: &str| Some(name.to_owned());
    let plain = Fill { folder: Path::new(""), env: nothing }.filled(text).is_none();
    if plain { text.to_owned() } else { text.replace("${", "$${") }
}

/// A text in pieces. `${` before anything but `env:` and `file:` is a text like any other: scripts have it.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inside = &from[2..];
        if let Some(before) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(before), Piece::Text("${")]);
            rest = inside;
            continue;
        }
        pieces.push(Piece::Text(before));
        let named = |of: &'static str| inside.strip_prefix(of);
        let (name, make): (&str, fn(&str) -> Piece<'_>) = match (named("env:"), named("file:")) {
            (Some(name), _) => (name, |name| Piece::Env(name)),
            (_, Some(name)) => (name, |name| Piece::File(name)),
            (None, None) => {
                pieces.push(Piece::Text("${"));
                rest = inside;
                continue;
            }
        };
        let Some((name, after)) = name.split_once('}').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err("has a `${` without a name and a `}`; write `$${` where it is meant as it is".to_owned());
        };
        pieces.push(make(name.trim()));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_looks_like_a_reference_comes_back_as_it_is() {
        let fill = Fill::of(Path::new(""));
        for text in ["${env:HOME}", "$${env:HOME}", "a $$${file:x", "${name} $${x}", "plain", "$", "${"] {
            let written = escaped(text);
            let back = fill.filled(&written).map_or(Ok(written.clone()), |filled| filled);
            assert_eq!(back.as_deref(), Ok(text), "{written}");
        }
    }

    #[test]
    fn a_value_from_elsewhere_is_filled_in_and_everything_else_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from a file\n").unwrap();
        let fill = Fill::with(folder.path(), |name| (name == "A").then(|| "of the environment".to_owned()));
        let cases = [
            ("plain", None),
            ("a ${name} of a script", None),
            ("${env:A}", Some(Ok("of the environment"))),
            ("Bearer ${env:A}!", Some(Ok("Bearer of the environment!"))),
            ("${file:token}/${ env }", Some(Ok("from a file/${ env }"))),
            ("$${env:A}", Some(Ok("${env:A}"))),
            ("${env:B}", Some(Err("needs the environment variable B, which is not set"))),
            ("${file:gone}", Some(Err("needs the file "))),
            ("${env:A", Some(Err("has a `${` without"))),
            ("${env:}", Some(Err("has a `${` without"))),
        ];
        for (text, expected) in cases {
            let found = fill.filled(text);
            match (&found, expected) {
                (None, None) => {}
                (Some(Ok(found)), Some(Ok(expected))) => assert_eq!(found, expected, "{text}"),
                (Some(Err(Lack::Missing(found) | Lack::Malformed(found))), Some(Err(expected))) => {
                    assert!(found.starts_with(expected), "{text}: {found}")
                }
                _ => panic!("{text}: {found:?}"),
            }
        }
    }
}
