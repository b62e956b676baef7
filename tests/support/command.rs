//! Commands, as somebody types them beside a gateway.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::gateway::{ADMIN_KEY, Setup};
use super::{LATER, repository};

pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A command as somebody types it beside this gateway.
pub async fn tidegate(setup: &Setup, arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).current_dir(repository()).env_clear().kill_on_drop(true);
    command.env("TIDEGATE_ADMIN_KEY", ADMIN_KEY).env("TIDEGATE_API", format!("http://{}", setup.address()));
    command.env("ONCALL_SECRET", "s3cret-of-the-example");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be run");
    let mut pipe = child.stdin.take().expect("a pipe");
    let feed = async move {
        // A command that does not read it has ended, which its code tells.
        let _ = pipe.write_all(input.as_bytes()).await;
    };
    let (ended, ()) = tokio::join!(timeout(LATER, child.wait_with_output()), feed);
    let ended = ended.expect("it ends").expect("a child");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ended = Ended { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) };
    eprintln!("tidegate {arguments:?}: {:?}\n{}{}", ended.code, ended.out, ended.err);
    ended
}
