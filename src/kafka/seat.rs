//! A writer that is alone: a transactional id without a group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Engine;
use super::transaction::{Fault, Transactions};
use crate::model::record::Output;
use crate::stream::log::{LogError, Seat, SeatError};

pub(super) struct KafkaSeat {
    engine: Arc<Engine>,
    /// `None` once the outcome of a commit was unknown, or the seat was taken away.
    producer: Option<Transactions>,
    fenced: bool,
}

impl KafkaSeat {
    /// Takes the seat: settles and fences its last holder. Blocks.
    pub(super) fn take(engine: Arc<Engine>, (name, within): (&str, Duration)) -> Result<KafkaSeat, LogError> {
        let id = engine.config.group(name);
        let producer = Transactions::new(&engine.config, (&id, within), &engine.names, &engine.health)?;
        match producer.init() {
            Ok(()) => Ok(KafkaSeat { engine, producer: Some(producer), fenced: false }),
            Err(error) => {
                engine.threads.bury(producer);
                Err(error)
            }
        }
    }
}

impl Drop for KafkaSeat {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            self.engine.threads.bury(producer);
        }
    }
}

#[async_trait]
impl Seat for KafkaSeat {
    async fn commit(&mut self, outputs: Vec<Output>) -> Result<(), SeatError> {
        if self.fenced {
            return Err(SeatError::Fenced);
        }
        let lost = || SeatError::Log(LogError::UnknownOutcome("the seat must be taken again".into()));
        // Taken out for the call: a caller that gives up in the middle leaves a seat that must be taken again.
        let producer = self.producer.take().ok_or_else(lost)?;
        let committed = self.engine.ask(move |_| Ok(write(producer, &outputs.iter().collect::<Vec<_>>()))).await;
        match committed.map_err(SeatError::Log)? {
            (Some(producer), result) => {
                self.producer = Some(producer);
                result
            }
            (None, result) => {
                self.fenced = matches!(result, Err(SeatError::Fenced));
                result
            }
        }
    }
}

/// One transaction; gives the producer back where it is still good.
fn write(mut producer: Transactions, outputs: &[&Output]) -> (Option<Transactions>, Result<(), SeatError>) {
    let written = producer.begin().and_then(|()| producer.write(outputs)).map_err(|f| (f, false));
    let (fault, sent) = match written.and_then(|()| producer.commit().map_err(|f| (f, true))) {
        Ok(()) => return (Some(producer), Ok(())),
        Err(fault) => fault,
    };
    let refused = match fault {
        Fault::Fenced { .. } if sent => SeatError::Log(unknown()),
        Fault::Fenced { .. } => SeatError::Fenced,
        Fault::Replace(_) => SeatError::Log(unknown()),
        Fault::Permanent(error) => SeatError::Log(error),
        Fault::Abort(error) => SeatError::Log(LogError::Unavailable(format!("nothing was written: {error}"))),
    };
    if matches!(refused, SeatError::Fenced | SeatError::Log(LogError::UnknownOutcome(_))) || producer.abort().is_err() {
        return (None, Err(refused));
    }
    (Some(producer), Err(refused))
}

fn unknown() -> LogError {
    LogError::UnknownOutcome("the commit was not answered; the seat must be taken again".into())
}
