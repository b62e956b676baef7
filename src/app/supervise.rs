//! Every task of the process has an owner here: a name, a health, and what happens when it fails or when we stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::stream::log::LogError;
use crate::telemetry::metrics::STAGE_RESTARTS;

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A stage that ran so long before it failed starts over with the first delay.
const SOUND_AFTER: Duration = Duration::from_secs(60);

/// How each part of the process stands: `Ok`, or what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<&'static str, Result<(), String>>>);

impl Board {
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(part, state);
    }

    pub fn states(&self) -> BTreeMap<&'static str, Result<(), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The tasks of the process. They end together: when told to stop, or when one of them cannot go on.
pub(super) struct Tasks {
    running: JoinSet<Result<(), AppError>>,
    pub board: Arc<Board>,
    stop: CancellationToken,
}

impl Tasks {
    pub fn new(stop: CancellationToken) -> Self {
        Tasks { running: JoinSet::new(), board: Arc::new(Board::default()), stop }
    }

    /// Runs a stage for as long as the process lives: made anew after a failure, with growing pauses.
    pub fn stage<F>(&mut self, name: &'static str, make: F)
    where
        F: Fn() -> BoxFuture<'static, Result<(), LogError>> + Send + 'static,
    {
        let (board, stop) = (self.board.clone(), self.stop.clone());
        board.set(name, Err("starting".into()));
        self.running.spawn(keep_running(name, make, board, stop));
    }

    /// Runs a task whose failure ends the process.
    pub fn task(&mut self, task: impl Future<Output = Result<(), AppError>> + Send + 'static) {
        self.running.spawn(task);
    }

    /// Waits for the end of all; the first failure stops the rest and is what is returned.
    pub async fn join(mut self) -> Result<(), AppError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let ended = ended.unwrap_or_else(|e| Err(AppError::Failed(format!("a task broke: {e}"))));
            self.stop.cancel();
            if outcome.is_ok() {
                outcome = ended;
            }
        }
        outcome
    }
}

async fn keep_running<F>(
    name: &'static str,
    make: F,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<(), AppError>
where
    F: Fn() -> BoxFuture<'static, Result<(), LogError>> + Send,
{
    let mut delay = FIRST_DELAY;
    loop {
        let started = Instant::now();
        board.set(name, Ok(()));
        let error = match make().await {
            _ if stop.is_cancelled() => return Ok(()),
            Err(LogError::InstanceShared(instance)) => {
                return Err(AppError::Configuration(LogError::InstanceShared(instance).to_string()));
            }
            Err(error) => error.to_string(),
            Ok(()) => "it ended without being asked to".to_owned(),
        };
        if started.elapsed() > SOUND_AFTER {
            delay = FIRST_DELAY;
        }
        tracing::error!(stage = name, %error, restart_in_s = delay.as_secs(), "stage failed");
        metrics::counter!(STAGE_RESTARTS, "stage" => name).increment(1);
        // Probes are open to everyone, and the cause may name what is a tenant's.
        board.set(name, Err("failed and is tried again; the log of the process says why".to_owned()));
        tokio::select! {
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(LONGEST_DELAY),
            () = stop.cancelled() => return Ok(()),
        }
    }
}
