//! A command on a terminal of its own, which `script` makes: what is typed there goes through it, ctrl-C included.

use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::gateway::{ADMIN_KEY, Setup};
use super::{SOON, repository};

pub struct Terminal {
    keys: ChildStdin,
    screen: ChildStdout,
    /// Everything that was shown.
    pub shown: String,
    /// Up to here it was looked at.
    seen: usize,
    _child: Child,
}

impl Terminal {
    /// Runs a line of the shell, in which `tidegate` is the command.
    pub fn of(setup: &Setup, line: &str) -> Terminal {
        let line = format!("trap : INT; tidegate() {{ '{}' \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_tidegate"));
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(repository()).kill_on_drop(true);
        command.env("SHELL", "/bin/sh").env("TERM", "xterm").env("TIDEGATE_ADMIN_KEY", ADMIN_KEY);
        command.env("TIDEGATE_API", format!("http://{}", setup.address()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script can be run");
        let (keys, screen) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Terminal { keys, screen, shown: String::new(), seen: 0, _child: child }
    }

    /// Waits until this is shown, behind what was waited for before.
    pub async fn shows(&mut self, text: &str) {
        let reading = async {
            loop {
                if let Some(at) = self.shown[self.seen..].find(text) {
                    self.seen += at + text.len();
                    return true;
                }
                let mut bytes = [0; 4_096];
                match self.screen.read(&mut bytes).await {
                    Ok(0) | Err(_) => return false,
                    Ok(read) => self.shown += &String::from_utf8_lossy(&bytes[..read]),
                }
            }
        };
        let found = timeout(SOON, reading).await;
        assert!(matches!(found, Ok(true)), "{text} is not shown:\n{}", self.shown);
    }

    pub async fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.expect("it runs");
        self.keys.flush().await.expect("it runs");
    }
}
