//! Apache Kafka through `compose/local`: one that all tests share, and ones that a test may stop and kill.

use std::path::PathBuf;
use std::process::{Command as Blocking, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::{LATER, repository, scratch, unique};

/// Names the engine of tests that run on both.
pub const ENGINE: &str = "TIDEGATE_TEST_ENGINE";

pub struct Broker {
    /// Empty: the embedded engine.
    pub address: String,
    /// Of one's own: ended with its data when dropped.
    own: Option<String>,
}

impl Broker {
    /// One that must not be harmed: `TIDEGATE_TEST_KAFKA`, else one that is started now and left running for the next run
    /// (`compose/local --name test down` ends it).
    pub async fn shared() -> Broker {
        let address = match std::env::var("TIDEGATE_TEST_KAFKA") {
            Ok(address) => address,
            Err(_) => address(&local("test", "up").await),
        };
        Broker { address, own: None }
    }

    /// What the run is about: the embedded engine where `TIDEGATE_TEST_ENGINE` says so, else `shared`.
    pub async fn any() -> Broker {
        match std::env::var(ENGINE).as_deref() {
            Ok("embedded") => Broker::none(),
            Ok(other) if other != "kafka" => panic!("{ENGINE} is `{other}`: kafka or embedded"),
            _ => Broker::shared().await,
        }
    }

    /// None at all: the embedded engine.
    pub fn none() -> Broker {
        Broker { address: String::new(), own: None }
    }

    pub async fn start_new(name: &str) -> Broker {
        let name = unique(name);
        let address = address(&local(&name, "up").await);
        Broker { address, own: Some(name) }
    }

    /// In order: it says goodbye to its clients. Data and port stay.
    pub async fn stop(&self) {
        local(self.name(), "stop").await;
    }

    /// SIGKILL. Data and port stay.
    pub async fn kill(&self) {
        local(self.name(), "kill").await;
    }

    /// Again with its data and port; returns when it answers.
    pub async fn start(&self) {
        local(self.name(), "start").await;
    }

    fn name(&self) -> &str {
        self.own.as_deref().expect("only a broker of its own is stopped or killed by a test")
    }

    /// One of Kafka's own tools: `groups --describe --all-groups`.
    pub async fn tool(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(script());
        command.arg("kafka-tool").args(arguments).env("KAFKA_BROKERS", &self.address);
        output(command).await
    }

    /// `kcat` on this broker, reading `input`.
    pub async fn kcat(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("kcat");
        command.args(["-b", &self.address]).args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("kcat can be run; scripts/setup installs it");
        let mut stdin = child.stdin.take().expect("a pipe");
        let write = async move {
            // Dropped at the end, so that kcat sees the end of its input.
            stdin.write_all(input).await
        };
        let (written, ended) = tokio::join!(write, timeout(LATER, child.wait_with_output()));
        let ended = ended.expect("kcat ends in time").expect("kcat ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && written.is_ok(), "kcat {arguments:?}: {written:?} {said}");
        String::from_utf8_lossy(&ended.stdout).into_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(name) = &self.own {
            let mut down = Blocking::new(script());
            let ended = down.args(["--name", name, "down"]).env("TIDEGATE_SCRATCH", scratch()).output();
            if !ended.as_ref().is_ok_and(|output| output.status.success()) {
                eprintln!("broker {name} could not be ended: {ended:?}");
            }
        }
    }
}

fn script() -> PathBuf {
    std::env::var_os("TIDEGATE_TEST_KAFKA_CTL").map_or_else(|| repository().join("compose/local"), PathBuf::from)
}

async fn local(name: &str, verb: &str) -> String {
    let mut command = Command::new(script());
    command.args(["--name", name, verb]);
    output(command).await
}

async fn output(mut command: Command) -> String {
    command.env("TIDEGATE_SCRATCH", scratch()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(LATER, command.output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{command:?} did not end within {LATER:?}")).expect("it can be run");
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

fn address(printed: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix("KAFKA_BROKERS="));
    line.expect("compose/local prints KAFKA_BROKERS=...").to_owned()
}
