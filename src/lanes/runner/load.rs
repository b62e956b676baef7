//! A partition is taken over: its lanes are read, then its actor works. Either ends when the partition is given up.

use std::time::Duration;

use tokio::sync::mpsc;

use super::partition::{Actor, Mail, Means};
use crate::model::ids::Partition;
use crate::model::record::Received;
use crate::model::topic::Topic;
use crate::stream::log::{Assignment, Log, LogError};
use crate::stream::stage::Work;

/// Before lanes that could not be read are read again.
const PAUSE: Duration = Duration::from_secs(1);

/// Owns the partition until it is drained or its mailbox is closed.
pub(super) async fn serve<W: Work>(
    means: Means<W>,
    assignment: Assignment,
    mut inbox: mpsc::Receiver<Mail>,
) -> Result<(), LogError> {
    let mut early = Vec::new();
    // The load barrier may wait for a predecessor's transaction for longer than a revoke can.
    let records = tokio::select! {
        records = load(&*means.log, assignment.partition) => records?,
        () = given_up(&mut inbox, &mut early) => return Ok(()),
    };
    let mut actor = Actor::new(means, &assignment, &records)?;
    for mail in early {
        actor.mail(mail);
    }
    actor.run(inbox).await
}

/// Keeps what comes; returns when nothing is to be done with it any more.
async fn given_up(inbox: &mut mpsc::Receiver<Mail>, early: &mut Vec<Mail>) {
    while let Some(mail @ Mail::Records { .. }) = inbox.recv().await {
        early.push(mail);
    }
}

async fn load(log: &dyn Log, partition: Partition) -> Result<Vec<Received>, LogError> {
    loop {
        match log.load(Topic::Retry, partition).await {
            Ok(records) => return Ok(records),
            Err(error @ LogError::Unavailable(_)) => {
                tracing::warn!(partition = partition.0, %error, "what waits cannot be read; trying on");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
