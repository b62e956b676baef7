//! The only place that builds engines and wires stages: a process is a set of roles.

mod health;
mod supervise;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Follower, Writer};
use crate::config::Config;
use crate::deliver::stage::{Deliver, DeliverConfig};
use crate::ingest::Ingest;
use crate::kafka::{KafkaConfig, KafkaLog};
use crate::lanes::WorkRunner;
use crate::matching::stage::Match;
use crate::model::time::{Clock, SystemClock};
use crate::model::topic::Topic;
use crate::stream::log::{Log, LogError, Membership};
use crate::stream::map::MapRunner;
use crate::{api, telemetry, topology};
use supervise::Tasks;
use views::CatalogView;

/// For how long a broker that is not there is tried before the process gives up.
const REACH_WITHIN: Duration = Duration::from_secs(30);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Takes events by REST
    Ingest,
    /// Matches events to integrations
    Match,
    /// Delivers
    Deliver,
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
