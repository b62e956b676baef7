//! Lines of columns, with colours where people look.

use std::borrow::Cow;
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

/// A column of a list: its heading, and how many characters it has at least.
pub(super) type Head = (&'static str, usize);

/// What a line has in a column.
pub(super) type Cell<'a> = (Cow<'a, str>, Colour);

/// What is not there has a dash in its column.
pub(super) fn or_dash<'a>(text: Option<impl Into<Cow<'a, str>>>) -> Cow<'a, str> {
    text.map_or(Cow::Borrowed("-"), Into::into)
}

/// How lines look: people get headings and colours, cut to their terminal; pipes get every line plain and whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub colours: bool,
    pub headings: bool,
    /// Characters in a line of the terminal; `None`: nothing is cut.
    pub width: Option<usize>,
}

impl Look {
    pub fn of_stdout() -> Look {
        let size = terminal_size::terminal_size_of(io::stdout());
        Look {
            colours: colours(),
            headings: io::stdout().is_terminal(),
            width: size.map(|(width, _)| usize::from(width.0)),
        }
    }

    /// A pipe that wants no colours.
    #[cfg(test)]
    pub const PIPE: Look = Look { colours: false, headings: false, width: None };

    pub fn line(self) -> Line {
        Line::within(self.colours, self.width)
    }

    /// The line above a list; nothing for a pipe.
    pub fn heading(self, columns: &[Head]) -> String {
        let mut line = self.line();
        columns.iter().for_each(|(name, width)| line.column(Some(name), *width, Colour::Dim));
        if self.headings { line.finish() } else { String::new() }
    }

    pub fn row<const N: usize>(self, columns: &[Head; N], cells: [Cell; N]) -> String {
        let mut line = self.line();
        for ((_, width), (text, colour)) in columns.iter().zip(&cells) {
            line.column(Some(text), *width, *colour);
        }
        line.finish()
    }
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
    fn people_are_told_what_a_column_is_and_a_pipe_gets_lines_alone() {
        let columns = [("ID", 4), ("NAME", 0)];
        let people = Look { headings: true, ..Look::PIPE };
        assert_eq!(people.heading(&columns), "ID    NAME\n");
        assert_eq!(people.row(&columns, [("a".into(), Colour::Red), ("Ada".into(), Colour::Plain)]), "a     Ada\n");
        assert_eq!(Look::PIPE.heading(&columns), "");
    }

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
