//! The gateway as a process: started with an environment, killed, stopped, asked how it ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::api::Api;
use super::broker::Broker;
use super::{SOON, scratch, unique, until};

pub const ADMIN_KEY: &str = "key-of-the-tests";
/// 32 bytes, base64.
const SECRET_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// How a gateway is started; the same settings start it again after a kill, at the same port.
#[derive(Clone)]
pub struct Setup {
    pub prefix: String,
    pub brokers: String,
    port: u16,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// What runs first and gives way to it.
    within: Vec<String>,
    log: PathBuf,
}

/// A gateway that runs. Killed when dropped; the end of its log is shown when its test fails.
pub struct Gateway {
    child: Child,
    pid: u32,
    setup: Setup,
}

/// How a process ended: its code (`None`: by a signal), and what it has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

impl Setup {
    /// All roles, few partitions, topics and groups of its own, dynamic membership, loopback receivers allowed.
    pub fn new(broker: &Broker, label: &str) -> Setup {
        let prefix = unique(label);
        let log = scratch().join(format!("{prefix}.log"));
        let setup = Setup {
            brokers: broker.address.clone(),
            port: free_port(),
            arguments: vec!["serve".to_owned()],
            environment: Vec::new(),
            within: Vec::new(),
            log,
            prefix,
        };
        let environment = [
            ("TIDEGATE_ADMIN_KEY", ADMIN_KEY),
            ("TIDEGATE_SECRET_KEY", SECRET_KEY),
            ("TIDEGATE_EGRESS_ALLOW", "127.0.0.0/8"),
            ("TIDEGATE_TOPOLOGY__PROFILE", "small"),
            ("TIDEGATE_LOG_FORMAT", "json"),
        ];
        let history = history(&setup.log);
        let setup = environment.into_iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        let setup = setup.env("DATABASE_URL", &history);
        match setup.data() {
            Some(dir) => setup.env("TIDEGATE_ENGINE", "embedded").env("TIDEGATE_DATA_DIR", &dir.display().to_string()),
            None => setup,
        }
    }

    /// The folder of an embedded log.
    pub fn data(&self) -> Option<PathBuf> {
        self.brokers.is_empty().then(|| scratch().join(format!("{}.data", self.prefix)))
    }

    /// Another process of the same gateway: the same topics, a port and a log of its own.
    pub fn another(&self, label: &str) -> Setup {
        let log = self.log.with_extension(format!("{label}.log"));
        let history = history(&log);
        Setup { port: free_port(), log, ..self.clone() }.env("DATABASE_URL", &history)
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Setup {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// A stable name: group membership is static, so that it is back at once after a kill.
    pub fn instance(self, name: &str) -> Setup {
        self.env("TIDEGATE_INSTANCE", name)
    }

    /// Its folder is a file system of its own, which only it sees: so many MiB, 4 of them taken by a file `ballast`. `options` as
    /// mount(8) has them.
    pub fn on_a_disk_of(mut self, mib: u32, options: &str) -> Setup {
        let dir = self.data().expect("the embedded engine");
        let dir = dir.display();
        let script = format!(
            "mkdir -p '{dir}' && mount -t tmpfs -o size={mib}m tmpfs '{dir}' && head -c 4M /dev/zero > '{dir}/ballast' && \
             mount -o remount,{options} '{dir}' && exec \"$@\""
        );
        self.within = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
        self
    }

    /// A file that is larger than it may be is an error for it, and not its end: see `Gateway::limit_files`.
    pub fn outliving_limits(mut self) -> Setup {
        self.within = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
        self
    }

    /// Its standard output is a pipe that nobody reads any more.
    pub fn through_a_closed_pipe(mut self) -> Setup {
        self.within = ["bash", "-c", "exec \"$@\" > >(exec true)", "bash"].map(str::to_owned).to_vec();
        self
    }

    /// Another command or more flags.
    pub fn arguments(mut self, arguments: &[&str]) -> Setup {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// The topic's name on the broker; a stage's group is named in the same way.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn api(&self) -> Api {
        Api::new(format!("http://{}", self.address()))
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&self) -> Gateway {
        let mut gateway = self.spawn();
        gateway.ready().await;
        gateway
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&self) -> Gateway {
        // What earlier lives said is above; a test that fails wants all of it.
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let mut line = self.within.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_tidegate")]);
        let mut command = Command::new(line.next().expect("the binary at least"));
        command.args(line).args(&self.arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let ours = |name: &String| ["TIDEGATE_", "KAFKA_", "DATABASE_"].iter().any(|p| name.starts_with(p));
        for name in std::env::vars().map(|(name, _)| name).filter(ours) {
            command.env_remove(name);
        }
        // Away from a `tidegate.toml` that the working directory may hold.
        command.current_dir(scratch()).env("TIDEGATE_LISTEN", self.address());
        if self.data().is_none() {
            command.env("KAFKA_BROKERS", &self.brokers).env("KAFKA_TOPIC_PREFIX", &self.prefix);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().expect("the binary can be run");
        let pid = child.id().expect("it was not waited for");
        Gateway { child, pid, setup: self.clone() }
    }

    /// Runs it to its end.
    pub async fn run(&self, within: Duration) -> Ended {
        self.spawn().ended(within).await
    }
}

impl Gateway {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn api(&self) -> Api {
        self.setup.api()
    }

    /// Waits until `/health/ready` says 200.
    pub async fn ready(&mut self) {
        let api = self.api();
        let (child, log) = (&mut self.child, &self.setup.log);
        until("the gateway is ready", SOON, async || {
            if let Some(status) = child.try_wait().expect("a child") {
                panic!("the gateway ended while it started, {status}:\n{}", tail(log, 20));
            }
            api.is_ready().await.then_some(())
        })
        .await;
    }

    /// Waits until it has said this.
    pub async fn says(&self, text: &str) {
        let said = async || fs::read_to_string(&self.setup.log).ok().filter(|log| log.contains(text)).map(drop);
        until(&format!("the gateway says `{text}`"), SOON, said).await;
    }

    /// SIGKILL, as if the machine had lost its power; returns when the process is gone.
    pub async fn kill9(mut self) {
        self.signal(Signal::SIGKILL);
        timeout(SOON, self.child.wait()).await.expect("it is gone").expect("a child");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: it stands still, its sockets stay open. Returns once every thread of it does: a signal is not awaited by who sends
    /// it, and an answer that came before it took hold would be acted upon.
    pub async fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        until("every thread stands still", SOON, async || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("a process");
            let still = |stat: &str| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            // One that has ended meanwhile does nothing any more.
            let mut stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
            stats.all(|stat| still(&stat)).then_some(())
        })
        .await;
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self, within: Duration) -> Ended {
        let log = &self.setup.log;
        match timeout(within, self.child.wait()).await {
            Ok(status) => Ended { code: status.expect("a child").code(), log: tail(log, 200) },
            Err(_) => panic!("the process did not end within {within:?}"),
        }
    }

    /// No file of it grows beyond so many bytes from now on; `None`: as they like.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let pid = i32::try_from(self.pid).expect("a process id");
        let limits = (bytes.unwrap_or(rlimit::INFINITY), rlimit::INFINITY);
        rlimit::prlimit(pid, rlimit::Resource::FSIZE, Some(limits), None).expect("a process of this user");
    }

    /// The most memory that it has had, in MiB.
    pub fn memory_high(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process lives");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux tells it");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1_024
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).expect("a process id"));
        kill(pid, signal).expect("the process is there until it is waited for");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            let log = &self.setup.log;
            eprintln!("---- the end of {} (process {})\n{}", log.display(), self.pid, tail(log, 40));
        }
    }
}

/// The file of its history, beside the log of the process that keeps it.
pub fn history_file(setup: &Setup) -> PathBuf {
    setup.log.with_extension("history.db")
}

fn history(log: &Path) -> String {
    format!("sqlite://{}", log.with_extension("history.db").display())
}

/// The last lines, and before them those that warn: one line an attempt would hide what matters.
fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let loud = |line: &&&str| ["WARN", "ERROR", "panicked", "tidegate:"].iter().any(|word| line.contains(word));
    let (before, last) = all.split_at(all.len().saturating_sub(lines / 2));
    let mut told: Vec<&str> = before.iter().filter(loud).rev().take(lines).copied().collect();
    told.reverse();
    told.extend(last);
    told.join("\n")
}

/// Below the ports that the system gives to outgoing connections and those that `compose/local` takes. A port is given
/// once, so that two tests never want the same.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 8_000).expect("small");
    loop {
        let port = 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 9_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
