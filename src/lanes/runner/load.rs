//! A partition is taken over: its lanes are read, then its actor works. Either ends when the partition is given up.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::partition::{Actor, Mail, Means};
use crate::model::ids::{Offset, Partition};
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
    tokio::select! {
        () = as_new_as(&*means.log, means.changed.clone()) => {}
        () = given_up(&mut inbox, &mut early) => return Ok(()),
    }
    let mut actor = Actor::new(means, &assignment, &records)?;
    for mail in early {
        actor.mail(mail);
    }
    actor.run(inbox).await
}

/// Waits for a catalog that holds whatever was configured before the lanes were read: an integration that it lacks then was
/// deleted, and is not one that this process has yet to hear of.
async fn as_new_as(log: &dyn Log, mut catalog: watch::Receiver<Option<Offset>>) {
    let end = loop {
        match log.end(Topic::Catalog, Partition(0)).await {
            Ok(end) => break end,
            Err(error) => tracing::warn!(%error, "the catalog's end cannot be read; trying on"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    // The sender gone, the process is ending.
    let _ = catalog.wait_for(|at| at.unwrap_or_default() >= end).await;
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
