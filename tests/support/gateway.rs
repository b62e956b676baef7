//! `tidegate serve` as a child process: started, killed, stopped, and spoken to by its API.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use super::{scratch, unique};

pub const ADMIN_KEY: &str = "key-of-the-tests";
/// 32 bytes, base64.
const SECRET_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// How to start one. The same settings start it again after a kill: same port, same instance name.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    pub port: u16,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
}

impl Settings {
    /// All roles, few partitions, topics under `prefix`, loopback receivers allowed.
    pub fn new(brokers: &str, prefix: &str) -> Settings {
        let port = free_port();
        let settings = Settings { name: unique("gateway"), port, args: Vec::new(), env: BTreeMap::new() };
        let listen = format!("127.0.0.1:{port}");
        [
            ("KAFKA_BROKERS", brokers),
            ("KAFKA_TOPIC_PREFIX", prefix),
            ("TIDEGATE_LISTEN", &listen),
            ("TIDEGATE_ADMIN_KEY", ADMIN_KEY),
            ("TIDEGATE_SECRET_KEY", SECRET_KEY),
            ("TIDEGATE_EGRESS_ALLOW", "127.0.0.0/8"),
            ("TIDEGATE_TOPOLOGY__PROFILE", "small"),
            ("TIDEGATE_LOG_FORMAT", "json"),
        ]
        .into_iter()
        .fold(settings, |settings, (name, value)| settings.env(name, value))
    }

    pub fn env(mut self, name: &str, value: &str) -> Settings {
        self.env.insert(name.to_string(), value.to_string());
        self
    }

    /// A stable instance name: static membership, a session of 30 s.
    pub fn instance(self, name: &str) -> Settings {
        self.env("TIDEGATE_INSTANCE", name)
    }

    pub fn roles(mut self, roles: &str) -> Settings {
        self.args.extend(["--roles".to_string(), roles.to_string()]);
        self
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&self) -> Gateway {
        let log = scratch().join(format!("{}.log", self.name));
        std::fs::create_dir_all(scratch()).expect("a scratch folder");
        let out = File::options().create(true).append(true).open(&log).expect("a log file");
        let err = out.try_clone().expect("the log file twice");
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("serve")
            .args(&self.args)
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be run");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
        Gateway { settings: self.clone(), child, client, log }
    }

    /// Starts it and returns when it is ready.
    pub async fn start(&self) -> Gateway {
        let mut gateway = self.spawn();
        gateway.ready(Duration::from_secs(60)).await;
        gateway
    }
}

/// A running gateway; killed when dropped, its log shown if the test failed.
#[derive(Debug)]
pub struct Gateway {
    pub settings: Settings,
    child: Child,
    client: reqwest::Client,
    log: PathBuf,
}

/// Why a call did not answer 2xx.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{status}: {body}")]
    Refused { status: u16, body: Value },
    /// Whether the gateway has done it is not known.
    #[error(transparent)]
    NoAnswer(#[from] reqwest::Error),
}

impl Gateway {
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.settings.port)
    }

    pub fn pid(&self) -> Pid {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        Pid::from_raw(id.expect("the process was not waited for yet"))
    }

    /// Returns when `/health/ready` answers 200; fails the test if the process ends before, or it takes longer.
    pub async fn ready(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut tick = interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                status = self.child.wait() => panic!("the gateway ended while it started: {status:?}"),
                _ = tick.tick() => {}
            }
            if self.is_ready().await {
                return;
            }
            assert!(Instant::now() < deadline, "the gateway is not ready after {within:?}");
        }
    }

    pub async fn is_ready(&self) -> bool {
        let asked = self.client.get(self.url("/health/ready")).timeout(Duration::from_secs(2)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    }

    /// SIGKILL, and gone when this returns.
    pub async fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.exited(Duration::from_secs(10)).await;
    }

    /// SIGTERM; returns how it ended after its drain.
    pub async fn sigterm(&mut self, within: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.exited(within).await
    }

    /// Waits for the end of the process.
    pub async fn exited(&mut self, within: Duration) -> ExitStatus {
        let ended = timeout(within, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("the gateway still runs after {within:?}")).expect("a child can be waited for")
    }

    pub fn sigstop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn sigcont(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{signal} to the gateway: {error}"));
    }

    /// What it has logged so far, in all its lives.
    pub fn logged(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The value of a metric; `series` with its labels, as `/metrics` prints it.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let text = self.client.get(self.url("/metrics")).send().await.ok()?.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok())
    }

    pub async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<Value, CallError> {
        let request = self.client.request(method, self.url(path)).header("x-api-key", ADMIN_KEY);
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_success() { Ok(body) } else { Err(CallError::Refused { status: status.as_u16(), body }) }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        self.call(reqwest::Method::POST, path, body).await
    }

    pub async fn create_org(&self, org: &str) {
        let body = json!({ "orgId": org, "name": format!("Organisation {org}") });
        self.post("/api/v1/admin/organizations", &body)
            .await
            .unwrap_or_else(|error| panic!("organisation {org}: {error}"));
    }

    /// `fields` over `{name, eventType: "*", targetUrl}`; returns the integration as answered.
    pub async fn create_integration(&self, org: &str, target: &str, fields: Value) -> Value {
        let mut body = json!({ "name": unique("integration"), "eventType": "*", "targetUrl": target });
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        let path = format!("/api/v1/outbound-integrations?orgId={org}");
        self.post(&path, &body).await.unwrap_or_else(|error| panic!("integration {body}: {error}"))
    }

    /// Publishes one event; its id, once it was accepted.
    pub async fn publish(&self, org: &str, event: &Value) -> Result<String, CallError> {
        let answer = self.post(&format!("/api/v1/events?orgId={org}"), event).await?;
        Ok(answer["id"].as_str().unwrap_or_default().to_string())
    }

    /// Publishes up to 1,000 events; the ids of those that were accepted.
    pub async fn publish_batch(&self, org: &str, events: &[Value]) -> Result<Vec<String>, CallError> {
        let answer = self.post(&format!("/api/v1/events/batch?orgId={org}"), &json!({ "events": events })).await?;
        let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        let accepted = results.iter().filter(|result| result["status"] == "accepted");
        Ok(accepted.filter_map(|result| result["id"].as_str().map(str::to_string)).collect())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logged = self.logged();
            let lines: Vec<&str> = logged.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("---- the last lines of {} ----\n{}\n----", self.log.display(), tail.join("\n"));
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    listener.local_addr().expect("a bound socket has an address").port()
}
