//! Apache Kafka through `compose/local`: one that all suites share, and ones that a test may stop and kill.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command as Blocking;

use tokio::process::Command;

use super::{scratch, unique};

fn script() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compose/local");
    std::env::var_os("TIDEGATE_TEST_KAFKA_CTL").map_or_else(default, PathBuf::from)
}

/// The address of a broker that must not be stopped: `TIDEGATE_TEST_KAFKA`, else one that is started now and left running
/// for the next run (`compose/local --name test down` ends it).
pub async fn shared() -> String {
    match std::env::var("TIDEGATE_TEST_KAFKA") {
        Ok(address) => address,
        Err(_) => address(&run("test", "up").await),
    }
}

/// A broker of one's own, ended with its data when dropped.
#[derive(Debug)]
pub struct Broker {
    pub address: String,
    name: String,
}

impl Broker {
    pub async fn start_new(name: &str) -> Broker {
        let name = unique(name);
        let address = address(&run(&name, "up").await);
        Broker { address, name }
    }

    /// In order: it says goodbye to its clients. Data and port stay.
    pub async fn stop(&self) {
        run(&self.name, "stop").await;
    }

    /// SIGKILL. Data and port stay.
    pub async fn kill(&self) {
        run(&self.name, "kill").await;
    }

    /// Again with its data and port; returns when it answers.
    pub async fn start(&self) {
        run(&self.name, "start").await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let ended =
            Blocking::new(script()).args(["--name", &self.name, "down"]).env("TIDEGATE_SCRATCH", scratch()).output();
        if let Err(error) = ended {
            eprintln!("broker {} could not be ended: {error}", self.name);
        }
    }
}

async fn run(name: &str, command: &str) -> String {
    let args = ["--name", name, command].map(OsStr::new);
    let output = Command::new(script()).args(args).env("TIDEGATE_SCRATCH", scratch()).output().await;
    let output = output.expect("compose/local can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "compose/local --name {name} {command}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn address(printed: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix("KAFKA_BROKERS="));
    line.expect("compose/local prints KAFKA_BROKERS=...").to_string()
}
