//! One dead letter on its way back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::NO_LONGER_DEAD;
use crate::cli::client::{Answer, Api, cause};
use crate::cli::exit::Exit;
use crate::cli::output::one_line;

/// For how long one is tried again where the gateway asks for that.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of one, the last two with a sentence that names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    PutBack,
    NoLongerDead(String),
    Failed(String),
}

pub(super) struct Gateway {
    api: Api,
    /// Whether it has let one wait in vain, so that the next need not.
    weary: AtomicBool,
    /// Whether somebody was told that it asks to wait.
    away: AtomicBool,
    told: Box<dyn Fn(&str) + Send + Sync>,
}

impl Gateway {
    pub(super) fn new(api: Api, told: impl Fn(&str) + Send + Sync + 'static) -> Gateway {
        Gateway { api, weary: AtomicBool::new(false), away: AtomicBool::new(false), told: Box::new(told) }
    }

    /// An error ends all of them: no gateway, or one that does not take the key.
    pub(super) async fn put_back(&self, id: &str, stop: &CancellationToken) -> Result<Outcome, Exit> {
        let url = self.api.url(&["dlq", id, "retry"], &[]);
        let patience = if self.weary.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let deadline = Instant::now() + patience;
        loop {
            let answer = match self.api.send(Method::POST, url.clone(), None).await {
                Ok(answer) => answer,
                Err(error) if error.is_connect() || error.is_builder() => {
                    return Err(self.api.unreachable(&cause(&error)));
                }
                Err(error) => {
                    let why = cause(&error);
                    return Ok(Outcome::Failed(format!(
                        "{id}: whether it was put back is not known ({why}); `tidegate logs {id}` tells"
                    )));
                }
            };
            // Without a time nothing is said about whether it was done.
            let wait = answer.again.filter(|_| matches!(answer.status.as_u16(), 429 | 503));
            match wait {
                Some(wait) if Instant::now() + wait <= deadline => {
                    if !self.away.swap(true, Ordering::Relaxed) {
                        (self.told)(&one_line(answer.said().trim_start_matches(": ")));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = stop.cancelled() => return Ok(Outcome::Failed(format!("{id}: interrupted while it waited"))),
                    }
                }
                waits => {
                    self.weary.store(waits.is_some(), Ordering::Relaxed);
                    self.away.fetch_and(waits.is_some(), Ordering::Relaxed);
                    return self.outcome(id, &answer);
                }
            }
        }
    }

    fn outcome(&self, id: &str, answer: &Answer) -> Result<Outcome, Exit> {
        let error = one_line(&answer.words().error);
        let named = |why: &str| if why.contains(id) { why.to_owned() } else { format!("{id}: {why}") };
        match answer.status {
            StatusCode::ACCEPTED => Ok(Outcome::PutBack),
            StatusCode::CONFLICT if error.contains(NO_LONGER_DEAD) => Ok(Outcome::NoLongerDead(named(&error))),
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE if !error.is_empty() => {
                Ok(Outcome::Failed(named(&error)))
            }
            _ if answer.is_unknown(id) => Ok(Outcome::Failed(named(&error))),
            _ => Err(self.api.refusal(answer, "api")),
        }
    }
}
