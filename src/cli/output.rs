//! What commands write for people and for pipes: text that cannot do anything to a terminal, and the end of a pipe.

use std::io::{ErrorKind, Write as _};

use super::exit::Exit;

/// Writes to standard output. A pipe that was closed (`| head`) has what it wanted: that ends a command quietly.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Exit::Failed(format!("standard output: {e}"))),
        _ => Ok(()),
    }
}

/// Whoever produces an event must not be able to write to the terminal of whoever looks at it.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same on one line.
pub(super) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_cannot_write_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc \u{9b}é"), "a\\u{1b}[2Jb\nc \\u{9b}é");
        assert_eq!(one_line("a\nb\r"), "a\\nb\\r");
    }
}
