//! What every part of a process works with, and the stages that it may run.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use super::AppError;
use super::health;
use super::supervise::Tasks;
use super::tail::{self, Watch};
use super::views::CatalogView;
use crate::catalog::{Catalog, Follower};
use crate::deliver::stage::{Deliver, DeliverConfig};
use crate::lanes::runner::WorkRunner;
use crate::matching::Match;
use crate::model::time::Clock;
use crate::model::topic::Topic;
use crate::stream::log::{Log, Membership};
use crate::stream::map::MapRunner;

/// How often what metrics gathered is folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the parts of a process share.
pub(super) struct Gateway {
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub catalog: Arc<Catalog>,
    pub stop: CancellationToken,
    /// Cancelled once the last request has its answer: what requests ask stays until then.
    pub answered: CancellationToken,
}

impl Gateway {
    /// Until the last request has its answer: a change is answered once the snapshot holds it.
    pub fn follow_catalog(&self, tasks: &mut Tasks) {
        let (log, catalog, stop) = (self.log.clone(), self.catalog.clone(), self.answered.clone());
        tasks.stage("catalog", move || Follower::new(log.clone(), catalog.clone()).run(stop.clone()).boxed());
        tasks.board.set("snapshot", Err("the catalog is being read".into()));
        let (log, catalog, stop) = (self.log.clone(), self.catalog.clone(), self.answered.clone());
        let watched = health::Watched { log, catalog, clock: self.clock.clone(), board: tasks.board.clone() };
        tasks.task(async move {
            watched.watch(stop).await;
            Ok(())
        });
    }

    /// What histograms gather is folded into their buckets only by a scrape or by this; else it grows without end.
    pub fn keep_metrics(&self, tasks: &mut Tasks, metrics: PrometheusHandle) {
        let stop = self.stop.clone();
        tasks.task(async move {
            let mut tick = tokio::time::interval(UPKEEP);
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                metrics.run_upkeep();
            }
            Ok(())
        });
    }

    pub fn start_watch(&self, tasks: &mut Tasks, watch: Watch) {
        let (log, stop) = (self.log.clone(), self.stop.clone());
        tasks.task(async move {
            tail::follow(&*log, &watch, &stop).await;
            Ok(())
        });
    }

    pub fn start_match(&self, tasks: &mut Tasks) {
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

    pub fn start_deliver(&self, tasks: &mut Tasks, config: DeliverConfig) -> Result<(), AppError> {
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
}

/// Nothing is matched or delivered by an empty catalog.
async fn loaded(catalog: &Catalog, stop: &CancellationToken) {
    tokio::select! {
        () = catalog.loaded() => {}
        () = stop.cancelled() => {}
    }
}
