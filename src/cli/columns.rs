//! Lines of columns, with colours where people look.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use super::output::one_line;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Colour::Plain => "",
            Colour::Bold => "\x1b[1m",
            Colour::Dim => "\x1b[2m",
            Colour::Red => "\x1b[31m",
            Colour::Green => "\x1b[32m",
            Colour::Yellow => "\x1b[33m",
            Colour::Cyan => "\x1b[36m",
        }
    }

    /// Of an outcome, a status, or a reason to wait.
    pub fn of_outcome(outcome: &str) -> Colour {
        match outcome {
            "DELIVERED" | "SUCCESS" | "DONE" => Colour::Green,
            "RETRY" | "RETRYING" | "PENDING" | "BUSY" | "RATE_LIMITED" | "ORDER" => Colour::Yellow,
            "SKIPPED" | "CANCELLED" | "DISCARDED" => Colour::Dim,
            _ => Colour::Red,
        }
    }
}

/// Whether standard output is a terminal whose user has nothing against colours (<https://no-color.org>).
pub(super) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Characters in a line of the terminal; `None`: there is none, and nothing is cut.
pub(super) fn width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(width.0))
}

/// One line on its way.
pub(super) struct Line {
    text: String,
    colours: bool,
    /// Characters that are there, and how many there may be.
    shown: usize,
    most: usize,
}

impl Line {
    pub fn new(colours: bool) -> Line {
        Line::within(colours, None)
    }

    /// A line that is cut where it would be longer.
    pub fn within(colours: bool, most: Option<usize>) -> Line {
        Line { text: String::with_capacity(160), colours, shown: 0, most: most.unwrap_or(usize::MAX) }
    }

    /// At least so wide; what is longer is not cut by that, for it may be what somebody wants to copy.
    pub fn column(&mut self, text: Option<&str>, width: usize, colour: Colour) {
        let text = one_line(text.unwrap_or("-"));
        let (text, count) = cut(text, self.most.saturating_sub(self.shown));
        let (on, off) = if self.colours && !colour.code().is_empty() { (colour.code(), "\x1b[0m") } else { ("", "") };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{on}{text}{off}{:pad$}  ", "", pad = width.saturating_sub(count));
        self.shown = self.shown.saturating_add(count.max(width) + 2);
    }

    /// The line and its end.
    pub fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text + "\n"
    }
}

/// The text within so many characters, and how many it has.
fn cut(text: String, most: usize) -> (String, usize) {
    let count = text.chars().count();
    if count <= most {
        return (text, count);
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    if most == 0 { (String::new(), 0) } else { (kept + "…", most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_terminal_would_break_it_and_a_pipe_gets_all() {
        let line = |most| {
            let mut line = Line::within(true, most);
            line.column(Some("ab"), 4, Colour::Red);
            line.column(Some("a longer text"), 0, Colour::Plain);
            line.column(Some("more"), 0, Colour::Plain);
            line.finish()
        };
        assert_eq!(line(None), "\x1b[31mab\x1b[0m    a longer text  more\n");
        assert_eq!(line(Some(12)), "\x1b[31mab\x1b[0m    a lon…\n");
        assert_eq!(line(Some(1)), "\x1b[31m…\x1b[0m\n");
    }
}
