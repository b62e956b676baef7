//! A password asked for on a terminal, which does not show it and is left as it was, ctrl-C included.

use std::io::{self, BufRead as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::auth::password;
use crate::cli::exit::Exit;
use crate::cli::{output, runtime};

/// How often it is asked for until both are the same and it is one.
const TRIES: usize = 3;

/// Asked for twice; again where the two differ, or it is none that is taken.
pub(super) fn asked(whose: &str) -> Result<String, Exit> {
    if !output::can_ask() {
        return Err(Exit::usage("there is no terminal to ask for the password on: give it on standard input"));
    }
    let whose = output::one_line(whose);
    let mut wrong = String::new();
    for _ in 0..TRIES {
        if !wrong.is_empty() {
            eprintln!("{wrong}; once more");
        }
        let first = unseen(format!("Password for {whose}, 12 characters or more: "))?;
        if let Err(why) = password::check(&first) {
            wrong = format!("the password {why}");
        } else if unseen("The same again: ".to_owned())? == first {
            return Ok(first);
        } else {
            wrong = "these are two different passwords".to_owned();
        }
    }
    Err(Exit::usage(format!("{wrong}; nothing was changed")))
}

/// A line that is not shown. Whoever ends the command meanwhile must not be left with a terminal that shows nothing any more.
fn unseen(question: String) -> Result<String, Exit> {
    let before = tcgetattr(io::stdin()).map_err(Exit::failed)?;
    let runtime = runtime()?;
    let answer = runtime.block_on(async {
        let told = |kind| signal(kind).map_err(Exit::failed);
        let (mut interrupted, mut terminated) = (told(SignalKind::interrupt())?, told(SignalKind::terminate())?);
        let modes = before.clone();
        let reading = tokio::task::spawn_blocking(move || read(&question, modes));
        tokio::select! {
            answer = reading => answer.map_err(Exit::failed)?.map_err(Exit::failed),
            _ = interrupted.recv() => Ok(None),
            _ = terminated.recv() => Ok(None),
        }
    });
    let restored = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    eprintln!();
    // A thread that waits for a line still is left behind.
    runtime.shutdown_background();
    restored.map_err(Exit::failed)?;
    answer?.ok_or_else(|| Exit::failed("nothing was changed"))
}

/// `None`: the end of input (ctrl-D).
fn read(question: &str, mut modes: Termios) -> io::Result<Option<String>> {
    // Not before the terminal shows nothing: who sees the question may type at once.
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
    eprint!("{question}");
    io::stderr().flush()?;
    let mut line = String::new();
    let ended = io::stdin().lock().read_line(&mut line)? == 0;
    Ok((!ended).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}
