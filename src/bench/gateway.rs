//! The gateway under measure: this very binary as a child process, so that its memory and its CPU time are its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::bench::broker::Broker;
use crate::bench::sample::{FAN, INTEGRATIONS, ORG};
use crate::telemetry::metrics::HISTORY_RECORDS;

/// How the child is told what it needs.
#[derive(Clone, Debug)]
pub struct Setup {
    pub brokers: String,
    pub prefix: String,
    pub key: String,
    /// Before its command.
    pub flags: Vec<String>,
    /// Its log and its files.
    pub folder: PathBuf,
    /// As `TIDEGATE_ENGINE` names it.
    engine: &'static str,
    roles: &'static str,
    instance: &'static str,
}

/// Every role but `project`, which the bare pipeline has nothing like.
const PLAIN: &str = "ingest,match,deliver,api";
const EVERY: &str = "ingest,match,deliver,api,project";
/// Keeps history and answers from it.
const HISTORY: &str = "api,project";

/// A running `tidegate serve`. Killed when dropped.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    setup: Setup,
    http: reqwest::Client,
}

/// What `/proc` says of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// MiB resident now.
    pub resident: f64,
    /// MiB resident at most, ever.
    pub peak: f64,
    /// CPU time spent, user and system.
    pub cpu: Duration,
}

impl Setup {
    pub fn new(broker: &Broker, prefix: String, flags: Vec<String>) -> anyhow::Result<Setup> {
        let folder = std::env::temp_dir().join(&prefix);
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let key = uuid::Uuid::new_v4().simple().to_string();
        Ok(Setup {
            brokers: broker.brokers.clone(),
            prefix,
            key,
            flags,
            folder,
            engine: "kafka",
            roles: PLAIN,
            instance: "bench",
        })
    }

    fn beside(&self, name: &str) -> anyhow::Result<Setup> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Setup { folder, ..self.clone() })
    }

    /// With every role, on topics of its own.
    pub fn with_history(&self, prefix: String) -> anyhow::Result<Setup> {
        Ok(Setup { prefix, roles: EVERY, ..self.beside("history")? })
    }

    /// Makes history anew from the same topics, and does nothing else.
    pub fn rebuilding(&self) -> anyhow::Result<Setup> {
        Ok(Setup { roles: HISTORY, ..self.beside("rebuilt")? })
    }

    /// With no role but `api`, on topics of its own, under a name of its own.
    pub fn with_catalog(&self, prefix: String, instance: &'static str) -> anyhow::Result<Setup> {
        Ok(Setup { prefix, roles: "api", instance, ..self.beside(instance)? })
    }

    /// Answers from a history that is in its folder already.
    pub fn answering(&self) -> anyhow::Result<Setup> {
        Ok(Setup { roles: HISTORY, engine: "embedded", ..self.beside("logs")? })
    }

    /// The same on the embedded engine, which keeps its file in the folder.
    pub fn embedded(&self) -> Setup {
        Setup { engine: "embedded", ..self.clone() }
    }

    fn serve(&self, listen: SocketAddr) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("this program's own path is not known")?);
        command
            .args(&self.flags)
            .arg("serve")
            .env("TIDEGATE_LISTEN", listen.to_string())
            .env("KAFKA_BROKERS", &self.brokers)
            .env("KAFKA_TOPIC_PREFIX", &self.prefix)
            .env("TIDEGATE_ENGINE", self.engine)
            .env("TIDEGATE_INSTANCE", self.instance)
            .env("TIDEGATE_ADMIN_KEY", &self.key)
            .env("TIDEGATE_SECRET_KEY", "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMTI=")
            .env("TIDEGATE_EGRESS_ALLOW", "127.0.0.1/32")
            .env("TIDEGATE_DATA_DIR", &self.folder)
            // A line for each attempt is a matter of taste; the figures are without.
            .env_remove("DATABASE_URL")
            .env("TIDEGATE_LOG", "warn")
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log()?);
        Ok(command)
    }

    fn log(&self) -> anyhow::Result<std::fs::File> {
        let path = self.folder.join("gateway.log");
        let file = std::fs::File::options().create(true).append(true).open(&path);
        file.with_context(|| format!("{} cannot be written", path.display()))
    }

    /// What the child said last, for an error message.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("gateway.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Starts the gateway with its roles and waits until it is ready. It makes its topics where they are missing.
    pub async fn start(&self) -> anyhow::Result<Gateway> {
        self.start_as(&["--roles", self.roles]).await
    }

    /// Starts an instance that takes events in and does nothing else with them.
    pub async fn start_ingest(&self) -> anyhow::Result<Gateway> {
        self.start_as(&["--roles", "ingest"]).await
    }

    async fn start_as(&self, arguments: &[&str]) -> anyhow::Result<Gateway> {
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = self.serve(address)?.args(arguments).spawn()?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build()?;
        let mut gateway = Gateway { child, address, setup: self.clone(), http };
        gateway.ready().await?;
        Ok(gateway)
    }
}

impl Gateway {
    async fn ready(&mut self) -> anyhow::Result<()> {
        let (url, begun) = (format!("http://{}/health/ready", self.address), Instant::now());
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway ended with {status}:\n{}", self.setup.last_words());
            }
            if self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let patient = begun.elapsed() < Duration::from_secs(45);
            ensure!(patient, "the gateway was not ready within 45 s:\n{}", self.setup.last_words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One organization, an integration for each event type, and ten for the fan-out, all to the receiver.
    pub async fn configure(&self, receiver: SocketAddr) -> anyhow::Result<()> {
        self.post("/api/v1/admin/organizations", json!({"orgId": ORG, "name": "Bench"})).await?;
        let spread = (0..INTEGRATIONS).map(|n| (format!("spread-{n}"), format!("bench.event.{n}")));
        let fan = (0..FAN).map(|n| (format!("fan-{n}"), "bench.fan".to_owned()));
        for (id, event_type) in spread.chain(fan) {
            let body = json!({
                "id": id, "name": id, "eventType": event_type, "httpMethod": "POST", "maxInFlight": 64,
                "targetUrl": format!("http://{receiver}/{id}"),
            });
            self.post(&format!("/api/v1/outbound-integrations?orgId={ORG}"), body).await?;
        }
        Ok(())
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<()> {
        self.send(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> anyhow::Result<()> {
        self.send(Method::PUT, path, body).await
    }

    /// Tried again for as long as the gateway says 503: topics that were made just now may have no leader yet.
    async fn send(&self, method: Method, path: &str, body: Value) -> anyhow::Result<()> {
        let (url, begun) = (format!("http://{}{path}", self.address), Instant::now());
        loop {
            let request = self.http.request(method.clone(), &url).header("x-api-key", &self.setup.key);
            let request = request.header("content-type", "application/json").body(body.to_string());
            let answer = request.send().await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let again = status == StatusCode::SERVICE_UNAVAILABLE && begun.elapsed() < Duration::from_secs(10);
            ensure!(again, "{path} answered {status}: {}", answer.text().await.unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The body of an answer of status 200. Tried again for as long as the history is being opened.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let (url, begun) = (format!("http://{}{path}", self.address), Instant::now());
        loop {
            let answer = self.http.get(&url).header("x-api-key", &self.setup.key).send().await?;
            let status = answer.status();
            let body = answer.text().await?;
            if status == StatusCode::OK {
                return Ok(body);
            }
            let again = status == StatusCode::SERVICE_UNAVAILABLE && begun.elapsed() < Duration::from_secs(30);
            ensure!(again, "{path} answered {status}: {body}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// How many deliveries a filter lets through, counted up to 100,000.
    pub async fn logs(&self, filter: &str) -> anyhow::Result<u64> {
        let body: Value = serde_json::from_str(&self.get(&format!("/api/v1/logs?limit=1&{filter}")).await?)?;
        body.get("total").and_then(Value::as_u64).context("a page of deliveries has no total")
    }

    /// Records that are in the history by this process.
    pub async fn projected(&self) -> anyhow::Result<u64> {
        let samples = self.get("/metrics").await?;
        let of = samples.lines().filter_map(|line| {
            let value = line.strip_prefix(HISTORY_RECORDS)?.rsplit(' ').next()?;
            value.parse::<f64>().ok()
        });
        Ok(of.sum::<f64>() as u64)
    }

    pub fn key(&self) -> &str {
        &self.setup.key
    }

    /// Zeros where there is no `/proc`.
    pub fn usage(&self) -> Usage {
        let Some(pid) = self.child.id() else { return Usage::default() };
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        Usage::parse(&read("status"), &read("stat"))
    }

    /// Lets it drain, as an operator would.
    pub async fn stop(mut self) -> anyhow::Result<Usage> {
        let usage = self.usage();
        if let Some(pid) = self.child.id() {
            // The shell's own `kill`: the command is missing from small images.
            Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid.to_string()]).status().await?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = ended.context("the gateway did not end within 30 s of SIGTERM")??;
        ensure!(status.success(), "the gateway ended with {status}:\n{}", self.setup.last_words());
        Ok(usage)
    }
}

impl Usage {
    fn parse(status: &str, stat: &str) -> Usage {
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
        };
        // proc(5): the name may hold spaces and ends with the last `)`; utime and stime are fields 14 and 15, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        Usage { resident: mib("VmRSS:"), peak: mib("VmHWM:"), cpu: Duration::from_millis((ticks(11) + ticks(12)) * 10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_the_right_fields() {
        let status = "Name:\tx\nVmHWM:\t  307200 kB\nVmRSS:\t   51200 kB\n";
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 7 20 0 9 0 1 2 3";
        let usage = Usage::parse(status, stat);
        assert_eq!((usage.resident, usage.peak, usage.cpu), (50.0, 300.0, Duration::from_secs(3)));
        assert_eq!(Usage::parse("", "").cpu, Duration::ZERO);
    }
}
