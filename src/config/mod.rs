//! Configuration: `tidegate.toml` < environment < flags. Everything is checked before anything is touched.

mod address;
mod history;
mod http;
mod keys;
mod origin;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::telemetry::logs::LogFormat;
pub use history::History;
pub use http::{Http, Limits};
use keys::Environment;
pub use origin::{Origin, Setting};

/// What is wrong with the configuration, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Which engine keeps the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A Kafka cluster, shared by any number of processes.
    Kafka,
    /// One file in the data folder, of this process alone.
    Embedded,
}

/// Everything that can be set. Field names are the keys of `tidegate.toml`. It holds secrets, so that it has no `Debug`.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub engine: Engine,
    /// Address of API, probes and metrics: `host:port`.
    #[serde(deserialize_with = "address::listen")]
    pub listen: SocketAddr,
    /// A stable name for this process, part of its transactional ids; set, it also makes group membership static. 1-128 of
    /// `A-Z a-z 0-9 . _ -`.
    pub instance: Option<String>,
    /// An `X-API-Key` with the role ADMIN, of 8 characters or more.
    pub admin_key: Option<String>,
    /// Who logs in first, made where there is no user yet. Without a password one is made up and shown once.
    pub admin_email: Option<String>,
    /// Their password, of 12 characters or more.
    pub admin_password: Option<String>,
    /// Seals secrets inside resources, and signs tokens: 32 bytes in base64.
    pub secret_key: Option<String>,
    /// Keys that sealed before, separated by commas: they open what is not sealed anew yet.
    pub secret_key_previous: Option<String>,
    /// Where a single-process set-up keeps its files.
    pub data_dir: PathBuf,
    pub kafka: Kafka,
    pub egress: Egress,
    pub history: History,
    pub http: Http,
    pub limits: Limits,
    pub log: Log,
    pub topology: Topology,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Bootstrap servers, comma-separated.
    pub brokers: String,
    /// What every topic's name begins with: 1-200 of `A-Z a-z 0-9 . _ -`.
    pub topic_prefix: String,
    /// Any librdkafka property, passed through to every client.
    pub properties: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// CIDRs and hosts that are reached although they are not public, by plain http too.
    pub allow: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub filter: String,
    /// `pretty` or `json`; by default pretty on a terminal and JSON elsewhere.
    pub format: Option<LogFormat>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Replaces the compiled-in `topologies/gateway.yaml`.
    pub file: Option<PathBuf>,
    /// A profile of the topology file, such as `small`.
    pub profile: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            engine: Engine::Kafka,
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            instance: None,
            admin_key: None,
            admin_email: None,
            admin_password: None,
            secret_key: None,
            secret_key_previous: None,
            data_dir: PathBuf::from(".tidegate"),
            kafka: Kafka {
                brokers: "localhost:9092".into(),
                topic_prefix: "tidegate".into(),
                properties: BTreeMap::new(),
            },
            egress: Egress { allow: Vec::new() },
            history: History::default(),
            http: Http::default(),
            limits: Limits::default(),
            log: Log { filter: "info".into(), format: None },
            topology: Topology { file: None, profile: None },
        }
    }
}

/// A configuration and what its reader should be told once logs are up.
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<String>,
    /// Every setting with the place that it came from.
    pub settings: Vec<Setting>,
}

impl Loaded {
    /// Did nobody say anything about this key?
    pub fn is_default(&self, key: &str) -> bool {
        self.settings.iter().all(|setting| setting.key != key || setting.from == Origin::Default)
    }
}

/// Values from the command line, by key (`kafka.brokers`); they win over all else.
pub type Flags = BTreeMap<&'static str, String>;

/// Reads `defaults`, the file, the environment and flags, in rising order, and checks the result. Without `file`,
/// `tidegate.toml` in the working directory is read where there is one.
pub fn load(
    defaults: &Config,
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Loaded, ConfigError> {
    let path = file.unwrap_or(Path::new("tidegate.toml"));
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if path.exists() {
        figment = figment.merge(Toml::file_exact(path));
    } else if file.is_some() {
        return Err(ConfigError(format!("{}: there is no such file", path.display())));
    }
    let Environment { values, warnings, contradiction } = keys::read(environment);
    if let Some(text) = contradiction {
        return Err(ConfigError(text));
    }
    for (origin, path, value) in values {
        figment = figment.merge(keys::Single { origin, path, value });
    }
    for (path, value) in flags {
        figment = figment.merge(keys::Single { origin: keys::FLAG.into(), path: (*path).into(), value: value.clone() });
    }
    let config: Config = figment.extract().map_err(|e| ConfigError(keys::explain(e)))?;
    check(&config, |key, variable| keys::flag_of(key).filter(|_| flags.contains_key(key)).unwrap_or(variable))?;
    let settings = origin::settings(&figment)?;
    Ok(Loaded { config, warnings, settings })
}

/// `name`: what people typed to set a key that this variable may set too.
fn check(config: &Config, name: impl Fn(&str, &'static str) -> &'static str) -> Result<(), ConfigError> {
    let prefix = &config.kafka.topic_prefix;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if prefix.is_empty() || prefix.len() > 200 || !prefix.bytes().all(legal) {
        return Err(ConfigError(format!(
            "{} `{prefix}`: must be 1-200 of A-Z a-z 0-9 . _ - (what Kafka takes in a topic name)",
            name("kafka.topic_prefix", "KAFKA_TOPIC_PREFIX")
        )));
    }
    if config.kafka.brokers.split(',').any(|b| b.trim().is_empty()) {
        let name = name("kafka.brokers", "KAFKA_BROKERS");
        return Err(ConfigError(format!("{name}: must be `host:port`, several separated by commas")));
    }
    if let Some(name) = &config.instance
        && (name.is_empty() || name.len() > 128 || !name.bytes().all(legal))
    {
        return Err(ConfigError(format!("TIDEGATE_INSTANCE `{name}`: must be 1-128 of A-Z a-z 0-9 . _ -")));
    }
    config.history.check(&config.data_dir).map_err(ConfigError)?;
    if let Some(key) = &config.admin_key
        && key.len() < 8
    {
        return Err(ConfigError("TIDEGATE_ADMIN_KEY: must have at least 8 characters".into()));
    }
    config.http.check()?;
    check_admin(config)
}

/// Found out here rather than at the first start without a user.
fn check_admin(config: &Config) -> Result<(), ConfigError> {
    let sound = |email: &str| {
        let parts = email.split_once('@');
        let whole = parts.is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
        whole && email.len() <= 254 && !email.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if let Some(email) = &config.admin_email
        && !sound(email)
    {
        return Err(ConfigError(format!("TIDEGATE_ADMIN_EMAIL `{email}`: must be an address like name@example.org")));
    }
    if let Some(password) = &config.admin_password
        && !(12..=256).contains(&password.chars().count())
    {
        return Err(ConfigError("TIDEGATE_ADMIN_PASSWORD: must be 12 to 256 characters long".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
