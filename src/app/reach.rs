//! The way to the broker: configuration checked, topics made and compared, before anything runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::config::Config;
use crate::kafka::admin::{Admin, AdminError};
use crate::kafka::{KafkaConfig, KafkaLog};
use crate::stream::log::LogError;
use crate::topology::{Declared, Finding, check, report};

/// Between two tries to reach the broker.
const PAUSE: Duration = Duration::from_secs(1);

/// The topology of `--topology`, else the compiled-in one.
pub fn declared(config: &Config) -> Result<Declared, AppError> {
    let profile = config.topology.profile.as_deref();
    let declared = match &config.topology.file {
        Some(path) => Declared::parse(&read(path)?, profile),
        None => Declared::built_in(profile),
    };
    declared.map_err(|e| AppError::Configuration(e.to_string()))
}

fn read(path: &Path) -> Result<String, AppError> {
    std::fs::read_to_string(path).map_err(|e| AppError::Configuration(format!("topology file {}: {e}", path.display())))
}

/// An administration client under the same properties as every other, once a broker has answered: administration alone would
/// not say why none does.
pub async fn admin(config: &Config) -> Result<Admin, AppError> {
    connect(config).await?;
    unasked_admin(config)
}

fn unasked_admin(config: &Config) -> Result<Admin, AppError> {
    let mut properties: BTreeMap<String, String> = config.kafka.properties.clone();
    properties.insert("bootstrap.servers".into(), config.kafka.brokers.clone());
    Admin::new(&properties).map_err(admin_error)
}

pub fn admin_error(error: AdminError) -> AppError {
    match error {
        AdminError::Unreachable { .. } => AppError::Unreachable(error.to_string()),
        AdminError::Properties(_) => AppError::Configuration(error.to_string()),
        AdminError::Refused { .. } | AdminError::NotVisible { .. } => AppError::Failed(error.to_string()),
    }
}

/// Connects, tried for `within`; creates missing topics and refuses to run on topics that would lose records.
pub(super) async fn kafka(
    config: &Config,
    declared: &Declared,
    within: Duration,
    stop: &CancellationToken,
) -> Result<KafkaLog, AppError> {
    let deadline = Instant::now() + within;
    loop {
        match once(config, declared).await {
            Err(AppError::Unreachable(why)) if Instant::now() + PAUSE < deadline && !stop.is_cancelled() => {
                tracing::warn!(%why, "trying again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = stop.cancelled() => return Err(AppError::Unreachable(why)),
                }
            }
            result => return result,
        }
    }
}

async fn once(config: &Config, declared: &Declared) -> Result<KafkaLog, AppError> {
    // First of all: it tells a broker that is away from a configuration that never works.
    let log = connect(config).await?;
    topics(config, declared).await?;
    Ok(log)
}

/// Connects once, with a reason and what to do about it where no broker answers.
pub(super) async fn connect(config: &Config) -> Result<KafkaLog, AppError> {
    let kafka = KafkaConfig {
        instance: config.instance.clone(),
        properties: config.kafka.properties.clone(),
        ..KafkaConfig::new(&config.kafka.brokers, &config.kafka.topic_prefix, config.listen.port())
    };
    KafkaLog::connect(kafka).await.map_err(|error| match error {
        LogError::Unavailable(why) => AppError::Unreachable(why),
        other => AppError::Configuration(other.to_string()),
    })
}

async fn topics(config: &Config, declared: &Declared) -> Result<(), AppError> {
    let (admin, prefix) = (unasked_admin(config)?, &config.kafka.topic_prefix);
    let created = admin.create_missing(declared, prefix).await.map_err(admin_error)?;
    if !created.is_empty() {
        tracing::info!(topics = created.len(), prefix, "topics created");
    }
    let findings = check(declared, &admin.actual(prefix).await.map_err(admin_error)?);
    let (fatal, rest): (Vec<Finding>, Vec<Finding>) = findings.into_iter().partition(|f| f.difference.is_fatal());
    for finding in &rest {
        tracing::warn!("{finding}");
    }
    if fatal.is_empty() {
        return Ok(());
    }
    Err(AppError::Configuration(report(&fatal)))
}
