//! What commands write for people and for pipes: text that cannot do anything to a terminal, and the end of a pipe.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::Exit;

/// Between two lines about how far it is, where there is no terminal for a bar.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// A bar on standard error, which only a terminal gets.
pub(super) fn bar(bar: ProgressBar, template: &str) -> ProgressBar {
    let terminal = std::io::stderr().is_terminal();
    bar.set_draw_target(if terminal { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() });
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    bar
}

/// Writes to standard output. A pipe that was closed (`| head`) has what it wanted: that ends a command quietly.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    print_more(text).map(drop)
}

/// The same where more would follow; false: nobody wants more.
pub(super) fn print_more(text: &str) -> Result<bool, Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Exit::Failed(format!("standard output: {e}"))),
    }
}

/// Lines of a process that goes on: whoever does not listen any more misses them.
pub(super) fn say(lines: &str) {
    // The end of a pipe is no reason to stop, and there is nobody to tell of another fault.
    let _ = print_more(&format!("{lines}\n"));
}

/// Does a terminal do something at this character other than to show it? Controls, and the marks that turn the direction of the
/// text around (UAX #9), behind which a text can look like another.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Is there somebody to be asked?
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks; whatever is not a yes is a no. Until ctrl-C nothing has happened, and it ends the command as anywhere.
pub(super) fn agreed(question: &str) -> Result<bool, Exit> {
    let mut said = String::new();
    eprint!("{question} [y/N] ");
    io::stderr().flush().and_then(|()| io::stdin().read_line(&mut said)).map_err(Exit::failed)?;
    Ok(matches!(said.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Whoever produces an event must not be able to write to the terminal of whoever looks at it.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) && c != '\n' {
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

/// JSON on one line that does nothing to a terminal: it lets DEL and the controls from U+0080 on stand in a text as they are,
/// which a terminal obeys; line breaks stand only between its values, where they mean nothing.
pub(super) fn harmless(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => {}
            c if is_obeyed(c) => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_cannot_write_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc \u{9b}é"), "a\\u{1b}[2Jb\nc \\u{9b}é");
        assert_eq!(one_line("a\nb\r"), "a\\nb\\r");
        assert_eq!(one_line("a\u{202e}b\u{2066}"), "a\\u{202e}b\\u{2066}");
        assert_eq!(harmless("\"\u{202e}\u{7f}\""), "\"\\u202e\\u007f\"");
    }
}
