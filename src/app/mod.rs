//! The only place that builds engines and wires stages: a process is a set of roles.

mod edge;
mod engine;
pub mod first_admin;
mod gateway;
mod health;
mod history;
mod http;
pub mod reach;
mod role;
mod served;
mod supervise;
pub mod tail;
pub mod view;
mod views;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::catalog::seal::Keyring;
use crate::config::Config;
use crate::deliver::egress::{AllowError, EgressAllow};
use crate::deliver::stage::DeliverConfig;
use crate::history::History;
use crate::model::time::{Clock, SystemClock};
use crate::model::topic::Topic;
use crate::telemetry;
use crate::topology::{Cleanup, Declared};
pub use history::drop_history;
pub use role::{Role, Roles};

use engine::Engine;
use gateway::Gateway;
use served::Served;
use supervise::Tasks;
use tail::Watch;

/// The groups are left within this time at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// For how long a broker that is not there is tried before the process gives up.
const REACH_WITHIN: Duration = Duration::from_secs(30);
/// File descriptors below which a process is warned: each request to a receiver takes one, and so does each client.
const FEW_FILES: u64 = 16_384;

/// Why a process ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// What the user can put right.
    #[error("{0}")]
    Configuration(String),
    /// What it needs could not be reached in time.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Failed(String),
}

/// What a process begins with: what can be wrong with its start has been looked at, and nothing was touched.
pub struct Ground {
    listener: TcpListener,
    declared: Declared,
    allow: EgressAllow,
    fresh: bool,
}

impl Ground {
    /// `fresh`: begin with an empty log and an empty history, once nothing else stands in the way of the start. A secret key that
    /// is missing may yet be made.
    pub async fn of(config: &Config, fresh: bool) -> Result<Ground, AppError> {
        let listener = listen(config).await?;
        let declared = reach::declared(config)?;
        let allow =
            config.egress.allow.join(",").parse().map_err(|e: AllowError| AppError::Configuration(e.to_string()))?;
        if config.secret_key.is_some() {
            keyring(config)?;
        }
        if fresh {
            engine::may_start_over(config)?;
        }
        Ok(Ground { listener, declared, allow, fresh })
    }
}

/// Runs the gateway until `stop`, then drains. What `watch` asks for is told meanwhile.
pub async fn serve(
    config: Config,
    Ground { listener, declared, allow, fresh }: Ground,
    (roles, watch): (Roles, Option<Watch>),
    stop: CancellationToken,
) -> Result<(), AppError> {
    let keyring = keyring(&config)?;
    raise_file_limit();
    let metrics = telemetry::metrics::install().map_err(|e| AppError::Failed(e.to_string()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if fresh {
        engine::start_over(&config)?;
    }
    let engine = Engine::open(&config, &declared, (clock.clone(), REACH_WITHIN), &stop).await?;
    let mut tasks = Tasks::new(stop.clone());
    let gateway =
        Gateway { log: engine.log(), clock, catalog: Arc::default(), stop, answered: CancellationToken::new() };
    gateway.keep_metrics(&mut tasks, metrics.clone());
    gateway.follow_catalog(&mut tasks);
    if let Some(watch) = watch {
        gateway.start_watch(&mut tasks, watch);
    }
    if roles.has(Role::Match) {
        gateway.start_match(&mut tasks);
    }
    if roles.has(Role::Deliver) {
        gateway.start_deliver(&mut tasks, DeliverConfig { allow, longest_wait: longest_wait(&declared) })?;
    }
    let history = match roles.has(Role::Project) {
        true => history::start(&gateway, &mut tasks, (&config, engine.origin(&config)))?,
        false => Arc::new(History::elsewhere()),
    };
    let served = Served { config: &config, roles: &roles, declared: &declared, keyring, history, metrics };
    served.start(&gateway, &mut tasks, listener)?;
    tell_of(&config, &roles);
    drop(gateway);
    let ended = tasks.join().await;
    engine.close(LEAVE_WITHIN).await;
    tracing::info!("stopped");
    ended
}

async fn listen(config: &Config) -> Result<TcpListener, AppError> {
    TcpListener::bind(config.listen).await.map_err(|e| {
        AppError::Configuration(format!(
            "cannot listen on {}: {e}; is another process there? TIDEGATE_LISTEN or --listen sets another address",
            config.listen
        ))
    })
}

/// That the process is up, and what its configuration may not mean to leave out.
fn tell_of(config: &Config, roles: &Roles) {
    if config.admin_key.is_none() && (roles.has(Role::Api) || roles.has(Role::Ingest)) {
        tracing::info!("no TIDEGATE_ADMIN_KEY is set: the API takes keys that were made in it, and people who log in");
    }
    if config.engine == crate::config::Engine::Embedded && !(roles.has(Role::Match) && roles.has(Role::Deliver)) {
        tracing::warn!(
            "no other process can match and deliver what this one accepts: the embedded engine is one process's alone"
        );
    }
    tracing::info!(listen = %config.listen, prefix = config.kafka.topic_prefix, %roles, "tidegate is up");
}

/// A receiver that hangs holds a file descriptor for each of its requests: with the soft limit of a plain shell a few such
/// receivers would leave none for the others.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < FEW_FILES => {
            tracing::warn!(
                limit,
                "few files may be open at once; raise the limit (LimitNOFILE, ulimit -n) to {FEW_FILES} or more"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files is not known"),
    }
}

/// A delivery that still waits a day before the log would delete it is given up, so that it ends as a dead letter.
fn longest_wait(declared: &Declared) -> Duration {
    match declared.topic(Topic::Deliveries).cleanup {
        Cleanup::Delete { retention, .. } => retention.saturating_sub(Duration::from_secs(24 * 3_600)),
        Cleanup::Compact { .. } => Duration::from_secs(6 * 24 * 3_600),
    }
}

/// What seals and opens the secrets of the catalog.
fn keyring(config: &Config) -> Result<Arc<Keyring>, AppError> {
    let Some(current) = config.secret_key.as_deref() else {
        return Err(AppError::Configuration(
            "TIDEGATE_SECRET_KEY is not set: it seals the secrets of integrations, and every process of a gateway has the same. \
             `openssl rand -base64 32` makes one; keep it, without it what is sealed cannot be opened"
                .to_owned(),
        ));
    };
    let previous: Vec<&str> = config.secret_key_previous.iter().flat_map(|keys| keys.split(',')).collect();
    let wrong = |name: &str, error| AppError::Configuration(format!("{name}: {error}"));
    // Alone first, so that the error names the variable.
    Keyring::of(current, &[]).map_err(|e| wrong("TIDEGATE_SECRET_KEY", e))?;
    let ring = Keyring::of(current, &previous).map_err(|e| wrong("TIDEGATE_SECRET_KEY_PREVIOUS", e))?;
    Ok(Arc::new(ring))
}
