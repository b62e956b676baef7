//! What a process answers over HTTP: the routes of its roles and what they work with.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::first_admin::{self, FirstAdmin, Means};
use super::gateway::Gateway;
use super::role::{Role, Roles};
use super::supervise::Tasks;
use super::views::Organizations;
use super::{AppError, edge, http, longest_wait};
use crate::api::{self, AdminKey, ApiState, Auth, Credentials, Door, Uses};
use crate::catalog::Writer;
use crate::catalog::seal::Keyring;
use crate::catalog::writer::Limits as WriterLimits;
use crate::config::Config;
use crate::history::History;
use crate::history::redrive::Redrives;
use crate::ingest::accept::Ingest;
use crate::topology::Declared;

/// Bytes of events that may wait for the log's acknowledgement; above it publishers are told to come back.
const INGEST_BUDGET: usize = 64 << 20;
/// How long putting a dead letter back waits for its turn, and for history to know what was put back before.
const REDRIVEN_WITHIN: Duration = Duration::from_secs(3);
/// For the last word on when keys were used.
const USES_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Served<'a> {
    pub config: &'a Config,
    pub roles: &'a Roles,
    pub declared: &'a Declared,
    pub keyring: Arc<Keyring>,
    pub history: Arc<History>,
    pub metrics: PrometheusHandle,
}

impl Served<'_> {
    /// Serves until the gateway stops and every request has its answer, and tells `answered` then.
    pub fn start(self, gateway: &Gateway, tasks: &mut Tasks, listener: TcpListener) -> Result<(), AppError> {
        let uses = Arc::new(Uses::default());
        let state = self.state(gateway, tasks, uses.clone())?;
        let app = (self.app(gateway, &state), state.edge.proxies.clone());
        self.make_first_admin(gateway, tasks, &state);
        let (stop, kept, history) = (gateway.stop.clone(), uses.clone(), self.history.clone());
        tasks.task(async move {
            kept.keep(&history, &stop).await;
            Ok(())
        });
        let (stop, answered, history) = (gateway.stop.clone(), gateway.answered.clone().drop_guard(), self.history);
        tasks.task(async move {
            let served = http::serve(listener, app, stop).await;
            if timeout(USES_WITHIN, uses.flush(&history)).await.is_err() {
                tracing::warn!("when keys were used in the last seconds was not written in time");
            }
            drop(answered);
            served.map_err(|e| AppError::Failed(format!("the HTTP server ended: {e}")))
        });
        Ok(())
    }

    fn state(&self, gateway: &Gateway, tasks: &Tasks, uses: Arc<Uses>) -> Result<ApiState, AppError> {
        let (catalog, clock, log) = (gateway.catalog.clone(), gateway.clock.clone(), gateway.log.clone());
        let credentials = Credentials {
            admin_key: AdminKey::of(self.config.admin_key.as_deref()),
            tokens: Arc::new(edge::tokens(self.config)?),
            catalog: catalog.clone(),
            clock: clock.clone(),
            uses,
        };
        let edge = edge::edge(self.config, catalog.clone(), clock.clone())?;
        let writer = Writer::new(log.clone(), catalog.clone(), clock, WriterLimits::default());
        let process = metrics_process::Collector::default();
        process.describe();
        let metrics = self.metrics.clone();
        Ok(ApiState {
            catalog,
            writer: Arc::new(writer.sealing_with(Some(self.keyring.clone()))),
            credentials,
            auth: Arc::new(Auth::default()),
            edge,
            retry: self.declared.retry.clone(),
            longest_wait: longest_wait(self.declared),
            log: log.clone(),
            redrives: Arc::new(Redrives::new(log, self.history.clone(), REDRIVEN_WITHIN)),
            history: self.history.clone(),
            views: Arc::default(),
            health: tasks.board.clone(),
            metrics: Arc::new(move || {
                process.collect();
                metrics.render()
            }),
        })
    }

    fn app(&self, gateway: &Gateway, state: &ApiState) -> axum::Router {
        let mut door = Door::default();
        if self.roles.has(Role::Api) {
            api::admin(&mut door, state);
        }
        if self.roles.has(Role::Ingest) {
            let orgs = Arc::new(Organizations { catalog: gateway.catalog.clone(), log: gateway.log.clone() });
            let ingest = Ingest::new(gateway.log.clone(), orgs, gateway.clock.clone(), INGEST_BUDGET);
            api::events::routes(&mut door, &Arc::new(ingest));
        }
        api::router(door, state)
    }

    fn make_first_admin(&self, gateway: &Gateway, tasks: &mut Tasks, state: &ApiState) {
        if !self.roles.has(Role::Api) {
            return;
        }
        let (admin, stop) = (FirstAdmin::of(self.config), gateway.stop.clone());
        let (catalog, writer, auth) = (state.catalog.clone(), state.writer.clone(), state.auth.clone());
        tasks.task(async move {
            admin.make(Means { catalog, writer, auth }, &stop, first_admin::tell).await;
            // A task that ends is one that failed.
            stop.cancelled().await;
            Ok(())
        });
    }
}
