//! Just enough of Rust's syntax for the rules: which characters are code, who is imported, where a statement ends.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file; `code` is its text with comments and the insides of literals blanked, line by line the same.
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
}

impl Source {
    /// Every Rust file of a folder of the repository, in the order of their paths.
    pub fn under(folder: &str) -> Vec<Source> {
        let mut found = Vec::new();
        let mut folders = vec![PathBuf::from(folder)];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let text = fs::read_to_string(&path).expect("a Rust file is UTF-8");
                    found.push(Source { path: path.display().to_string(), code: code_only(&text), text });
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// `src/deliver/http.rs` is in `deliver`, `src/app.rs` in `app`.
    pub fn room(&self) -> String {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").to_string()
    }

    /// Rooms named by `crate::` or, in the binary, `tidegate::`, each with its line.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for root in ["crate::", "tidegate::"] {
            for (start, _) in self.code.match_indices(root) {
                let inside_word = self.code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
                if inside_word {
                    continue;
                }
                let line = self.code[..start].matches('\n').count() + 1;
                found.extend(first_names(&self.code[start + root.len()..]).into_iter().map(|name| (line, name)));
            }
        }
        found
    }

    /// The line (from 0) where tests begin: 0 in a file of tests, past the end where there are none.
    pub fn tests_from(&self) -> usize {
        if self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return 0;
        }
        self.code.lines().position(|line| line.contains("#[cfg(test)]")).unwrap_or(usize::MAX)
    }
}

pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The first names of a path or of a group of them: `a::b` gives a, `{a::{b, c}, d}` gives a and d. Lower case ones only:
/// `crate::Error` names no room.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| {
        let word: String = text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        word.starts_with(|c: char| c.is_lowercase()).then_some(word)
    };
    let Some(group) = path.strip_prefix('{') else { return name(path).into_iter().collect() };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.extend(name(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// Is the call at `start` a statement of its own, or given to `_` or `drop`, so that its value is lost?
pub fn is_dropped_statement(code: &str, start: usize) -> bool {
    let path_start =
        code[..start].rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).map_or(0, |at| at + 1);
    let before = code[..path_start].trim_end();
    let after =
        code[start..].find('(').and_then(|open| after_parenthesis(&code[start + open..])).unwrap_or("").trim_start();
    if before.ends_with("drop(") || before.ends_with("let _ =") {
        return true;
    }
    (before.is_empty() || before.ends_with([';', '{', '}'])) && after.starts_with(';')
}

fn after_parenthesis(code: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&code[at + 1..]);
        }
    }
    None
}

/// Blanks comments and the insides of strings and characters; what is left can be searched without being fooled by text.
pub fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if first == 'r' && !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            raw_string(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skip == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..skip].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skip..];
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    text.find("*/").map_or(text.len(), |end| end + 2)
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `r"..."` or `r#"..."#` at the start; 0 where it is a name that begins with an r.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[2 + hashes..].find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len())
}

/// Length of `'x'` or `'\n'` at the start; 0 where it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => text[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 3),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}
