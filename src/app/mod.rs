//! The only place that builds engines and wires stages: a process is a set of roles.

mod edge;
mod engine;
pub mod first_admin;
mod health;
mod history;
mod http;
pub mod reach;
mod supervise;
pub mod tail;
pub mod view;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use futures_util::FutureExt as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{self, AdminKey, ApiState, Auth, Credentials, Door, Edge, Uses};
use crate::catalog::seal::Keyring;
use crate::catalog::writer::Limits as WriterLimits;
use crate::catalog::{Catalog, Follower, Writer};
use crate::config::Config;
use crate::deliver::egress::AllowError;
use crate::deliver::stage::{Deliver, DeliverConfig};
use crate::history::History;
use crate::history::redrive::Redrives;
use crate::ingest::accept::Ingest;
use crate::lanes::runner::WorkRunner;
use crate::matching::Match;
use crate::model::time::{Clock, SystemClock};
use crate::model::topic::Topic;
use crate::stream::log::{Log, Membership};
use crate::stream::map::MapRunner;
use crate::telemetry;
use crate::topology::{Cleanup, Declared};
pub use history::drop_history;

use engine::Engine;
use first_admin::{FirstAdmin, Means};
use supervise::Tasks;
use tail::Watch;
use views::{CatalogView, Organisations};

/// The groups are left within this time at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of events that may wait for the log's acknowledgement; above it publishers are told to come back.
const INGEST_BUDGET: usize = 64 << 20;
/// For how long a broker that is not there is tried before the process gives up.
const REACH_WITHIN: Duration = Duration::from_secs(30);

/// How long putting a dead letter back waits for its turn, and for history to know what was put back before.
const REDRIVEN_WITHIN: Duration = Duration::from_secs(3);
/// How often what metrics gathered is folded.
const UPKEEP: Duration = Duration::from_secs(5);
/// File descriptors below which a process is warned: each request to a receiver takes one, and so does each client.
const FEW_FILES: u64 = 16_384;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Takes events by REST
    Ingest,
    /// Matches events to integrations
    Match,
    /// Delivers
    Deliver,
    /// Keeps the history that the API answers from; one process
    Project,
    /// Serves the admin API
    Api,
}

/// The roles of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    pub fn of(roles: &[Role]) -> Self {
        Roles(roles.iter().copied().collect())
    }

    pub fn all() -> Self {
        Roles::of(Role::value_variants())
    }

    fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

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

/// What a process does beside its roles.
#[derive(Default)]
pub struct Extras {
    pub watch: Option<Watch>,
    /// Begin with an empty log and an empty history, once nothing else stands in the way of the start.
    pub fresh: bool,
}

/// Runs the gateway until `stop`, then drains. What `watch` asks for is told meanwhile.
pub async fn serve(config: Config, roles: Roles, extras: Extras, stop: CancellationToken) -> Result<(), AppError> {
    let listener = TcpListener::bind(config.listen).await.map_err(|e| {
        AppError::Configuration(format!(
            "cannot listen on {}: {e}; is another process there? TIDEGATE_LISTEN or --listen sets another address",
            config.listen
        ))
    })?;
    raise_file_limit();
    let metrics = telemetry::metrics::install().map_err(|e| AppError::Failed(e.to_string()))?;
    let declared = reach::declared(&config)?;
    let allow =
        config.egress.allow.join(",").parse().map_err(|e: AllowError| AppError::Configuration(e.to_string()))?;
    let keyring = keyring(&config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if extras.fresh {
        engine::start_over(&config)?;
    }
    let engine = Engine::open(&config, &declared, (clock.clone(), REACH_WITHIN), &stop).await?;
    let gateway = Gateway { log: engine.log(), clock, catalog: Arc::new(Catalog::default()), stop: stop.clone() };
    let mut tasks = Tasks::new(stop.clone());
    let kept = metrics.clone();
    tasks.task(async move {
        // What histograms gather is folded into their buckets only by a scrape or by this; else it grows without end.
        let mut tick = tokio::time::interval(UPKEEP);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            kept.run_upkeep();
        }
        Ok(())
    });
    gateway.follow_catalog(&mut tasks);
    if let Some(watch) = extras.watch {
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
    let admin_key = AdminKey::of(config.admin_key.as_deref());
    let tokens = Arc::new(edge::tokens(&config)?);
    let uses = Arc::new(Uses::default());
    let (catalog, clock) = (gateway.catalog.clone(), gateway.clock.clone());
    let credentials = Credentials { admin_key, tokens, catalog, clock, uses: uses.clone() };
    gateway.keep_uses(&mut tasks, uses, history.clone());
    let edge = edge::edge(&config, gateway.catalog.clone(), gateway.clock.clone())?;
    let served = Served { credentials, edge, declared: &declared, history, keyring };
    let means = gateway.start_http(&mut tasks, listener, served, (metrics, roles.clone()));
    if roles.has(Role::Api) {
        let (admin, stop) = (FirstAdmin::of(&config), gateway.stop.clone());
        tasks.task(async move {
            admin.make(means, &stop, first_admin::tell).await;
            // A task that ends is one that failed.
            stop.cancelled().await;
            Ok(())
        });
    }
    if config.admin_key.is_none() && (roles.has(Role::Api) || roles.has(Role::Ingest)) {
        tracing::info!("no TIDEGATE_ADMIN_KEY is set: the API takes keys that were made in it, and people who log in");
    }
    if config.engine == crate::config::Engine::Embedded && !(roles.has(Role::Match) && roles.has(Role::Deliver)) {
        tracing::warn!(
            "no other process can match and deliver what this one accepts: the embedded engine is one process's alone"
        );
    }
    tracing::info!(listen = %config.listen, prefix = config.kafka.topic_prefix, roles = ?roles.0, "tidegate is up");
    drop(gateway);
    let ended = tasks.join().await;
    engine.close(LEAVE_WITHIN).await;
    tracing::info!("stopped");
    ended
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

/// What the HTTP side of a process answers with.
struct Served<'a> {
    credentials: Credentials,
    edge: Edge,
    declared: &'a Declared,
    history: Arc<History>,
    keyring: Arc<Keyring>,
}

/// What the parts of a process share.
struct Gateway {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    catalog: Arc<Catalog>,
    stop: CancellationToken,
}

impl Gateway {
    fn follow_catalog(&self, tasks: &mut Tasks) {
        let (log, catalog, stop) = (self.log.clone(), self.catalog.clone(), self.stop.clone());
        tasks.stage("catalog", move || Follower::new(log.clone(), catalog.clone()).run(stop.clone()).boxed());
        tasks.board.set("snapshot", Err("the catalog is being read".into()));
        let (log, catalog, stop) = (self.log.clone(), self.catalog.clone(), self.stop.clone());
        let watched = health::Watched { log, catalog, clock: self.clock.clone(), board: tasks.board.clone() };
        tasks.task(async move {
            watched.watch(stop).await;
            Ok(())
        });
    }

    fn keep_uses(&self, tasks: &mut Tasks, uses: Arc<Uses>, history: Arc<History>) {
        let stop = self.stop.clone();
        tasks.task(async move {
            uses.keep(&history, &stop).await;
            Ok(())
        });
    }

    fn start_watch(&self, tasks: &mut Tasks, watch: Watch) {
        let (log, stop) = (self.log.clone(), self.stop.clone());
        tasks.task(async move {
            tail::follow(&*log, &watch, &stop).await;
            Ok(())
        });
    }

    fn start_match(&self, tasks: &mut Tasks) {
        let (log, clock, catalog, stop) =
            (self.log.clone(), self.clock.clone(), self.catalog.clone(), self.stop.clone());
        tasks.stage("match", move || {
            let (log, clock, catalog, stop) = (log.clone(), clock.clone(), catalog.clone(), stop.clone());
            async move {
                loaded(&catalog, &stop).await;
                let stage = Match::new(catalog, log.clone());
                let membership =
                    Membership { stage: "match", topic: Topic::Events, max_records: 10_000, max_bytes: 32 << 20 };
                MapRunner::new(log, clock, membership, stage).run(stop).await
            }
            .boxed()
        });
    }

    fn start_deliver(&self, tasks: &mut Tasks, config: DeliverConfig) -> Result<(), AppError> {
        let view = Arc::new(CatalogView(self.catalog.clone()));
        let work =
            Deliver::new(view, self.clock.clone(), config).map_err(|e| AppError::Configuration(e.to_string()))?;
        let work = Arc::new(work);
        let (log, clock, catalog, stop) =
            (self.log.clone(), self.clock.clone(), self.catalog.clone(), self.stop.clone());
        tasks.stage("deliver", move || {
            let (catalog, stop) = (catalog.clone(), stop.clone());
            let runner = WorkRunner {
                log: log.clone(),
                clock: clock.clone(),
                membership: Membership {
                    stage: "deliver",
                    topic: Topic::Deliveries,
                    max_records: 10_000,
                    max_bytes: 32 << 20,
                },
                work: work.clone(),
                changed: catalog.changed(),
            };
            async move {
                loaded(&catalog, &stop).await;
                runner.run(stop).await
            }
            .boxed()
        });
        Ok(())
    }

    fn start_http(
        &self,
        tasks: &mut Tasks,
        listener: TcpListener,
        Served { credentials, edge, declared, history, keyring }: Served<'_>,
        (metrics, roles): (PrometheusHandle, Roles),
    ) -> Means {
        let writer = Writer::new(self.log.clone(), self.catalog.clone(), self.clock.clone(), WriterLimits::default());
        let writer = Arc::new(writer.sealing_with(Some(keyring)));
        let auth = Arc::new(Auth::default());
        let means = Means { catalog: self.catalog.clone(), writer: writer.clone(), auth: auth.clone() };
        let ingest = Ingest::new(
            self.log.clone(),
            Arc::new(Organisations { catalog: self.catalog.clone(), log: self.log.clone() }),
            self.clock.clone(),
            INGEST_BUDGET,
        );
        let process = metrics_process::Collector::default();
        process.describe();
        let state = ApiState {
            catalog: self.catalog.clone(),
            writer,
            credentials,
            auth,
            edge,
            retry: declared.retry.clone(),
            longest_wait: longest_wait(declared),
            log: self.log.clone(),
            redrives: Arc::new(Redrives::new(self.log.clone(), history.clone(), REDRIVEN_WITHIN)),
            history,
            views: Arc::default(),
            health: tasks.board.clone(),
            metrics: Arc::new(move || {
                process.collect();
                metrics.render()
            }),
        };
        let mut door = Door::default();
        if roles.has(Role::Api) {
            api::admin(&mut door, &state);
        }
        if roles.has(Role::Ingest) {
            api::events::routes(&mut door, &Arc::new(ingest));
        }
        let app = (api::router(door, &state), state.edge.proxies.clone());
        let stop = self.stop.clone();
        tasks.task(async move {
            let served = http::serve(listener, app, stop).await;
            served.map_err(|e| AppError::Failed(format!("the HTTP server ended: {e}")))
        });
        means
    }
}

/// Nothing is matched or delivered by an empty catalog.
async fn loaded(catalog: &Catalog, stop: &CancellationToken) {
    tokio::select! {
        () = catalog.loaded() => {}
        () = stop.cancelled() => {}
    }
}
