//! What is wrong with an input, and where: the `details` of an error answer.

use schemars::JsonSchema;
use serde::Serialize;

/// The longest path and message that are told; both may carry text of a client.
const MAX_CHARS: usize = 300;

/// One thing that is wrong. `path` is empty where it is the input as a whole: `retry.delays[1]`, `headers.x-a`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// The field or parameter; empty: the whole.
    pub path: String,
    /// What is wrong with it, to be read after the path.
    pub message: String,
}

impl Problem {
    /// Cuts both texts at 300 characters.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { path: cut(path.into()), message: cut(message.into()) }
    }
}

/// The first of what is wrong, and how much more there is, for a message beside `details`.
pub fn summary(problems: &[Problem]) -> String {
    let Some((first, rest)) = problems.split_first() else { return "the request is not valid".to_owned() };
    let more = if rest.is_empty() { String::new() } else { format!("; and {} more, see `details`", rest.len()) };
    match first.path.as_str() {
        "" => format!("{}{more}", first.message),
        path => format!("`{path}` {}{more}", first.message),
    }
}

/// What keeps a text from being JSON, and where, to be read after what the text is: "the body ...".
pub fn not_json(error: &serde_json::Error) -> String {
    format!("is not JSON: {}", json_fault(error))
}

/// The fault alone, without what the JSON library calls things.
pub fn json_fault(error: &serde_json::Error) -> String {
    let place = format!("at line {}, column {}", error.line(), error.column());
    let said = error.to_string();
    let what = match said.split(" at line ").next().unwrap_or_default() {
        _ if error.is_eof() => "it ends too early,",
        "recursion limit exceeded" => "it is nested too deep,",
        what => what,
    };
    format!("{what} {place}")
}

/// Cuts a text that may come from a client at 300 characters.
pub fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_text_never_makes_an_error_long() {
        let problem = Problem::new("é".repeat(5_000), "short");
        assert_eq!(problem.path.chars().count(), MAX_CHARS + 1);
        assert_eq!(problem.message, "short");
    }
}
