//! Gathers what the partitions of a stage want to commit into few transactions: while one commits, the next fills up.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::stream::log::{Committer, LogError, Part};
use crate::telemetry::metrics::TRANSACTION_SECONDS;

/// A transaction takes parts until it has so many outputs or bytes.
const MAX_OUTPUTS: usize = 5_000;
const MAX_BYTES: usize = 16 << 20;

/// What became of a part.
#[derive(Clone, Debug)]
pub enum PartResult {
    Committed,
    /// Its partition is no longer ours; nothing of it was written.
    LeftOut,
    Failed(LogError),
}

struct Request {
    part: Part,
    reply: oneshot::Sender<PartResult>,
}

/// Where partitions hand in their parts; the flusher ends when all of these are dropped.
#[derive(Clone)]
pub struct FlushQueue(mpsc::Sender<Request>);

/// Owns the committer of a stage. Run it beside the partitions.
pub struct Flusher {
    stage: &'static str,
    committer: Arc<dyn Committer>,
    inbox: mpsc::Receiver<Request>,
    /// Taken from the inbox, but no room in this transaction.
    next: Option<Request>,
}

impl FlushQueue {
    /// Hands the part in and waits for its transaction.
    pub async fn flush(self, part: Part) -> PartResult {
        let (reply, answer) = oneshot::channel();
        let gone = || PartResult::Failed(LogError::Unavailable("the stage is stopping".into()));
        if self.0.send(Request { part, reply }).await.is_err() {
            return gone();
        }
        answer.await.unwrap_or_else(|_| gone())
    }
}

impl Flusher {
    /// `partitions`: how many parts may wait, one a partition.
    pub fn new(stage: &'static str, committer: Arc<dyn Committer>, partitions: usize) -> (FlushQueue, Flusher) {
        let (sender, inbox) = mpsc::channel(partitions.max(1));
        (FlushQueue(sender), Flusher { stage, committer, inbox, next: None })
    }

    /// Commits until every queue handle is gone, or the log has failed for good.
    pub async fn run(mut self) -> Result<(), LogError> {
        while let Some(requests) = self.gather().await {
            let split = |r: Request| ((r.part.commit.partition, r.part.commit.epoch), r.part, r.reply);
            let (parts, replies): (Vec<_>, Vec<_>) =
                requests.into_iter().map(split).map(|(id, part, reply)| (part, (id, reply))).unzip();
            let since = Instant::now();
            let result = self.committer.commit(parts).await;
            metrics::histogram!(TRANSACTION_SECONDS, "stage" => self.stage).record(since.elapsed().as_secs_f64());
            for (id, reply) in replies {
                // A partition that has stopped waiting was revoked: nothing is left to tell it.
                let _ = reply.send(match &result {
                    Ok(flushed) if flushed.left_out.contains(&id) => PartResult::LeftOut,
                    Ok(_) => PartResult::Committed,
                    Err(error) => PartResult::Failed(error.clone()),
                });
            }
            result?;
        }
        Ok(())
    }

    /// The next part and all that wait behind it, as far as a transaction takes them.
    async fn gather(&mut self) -> Option<Vec<Request>> {
        let first = match self.next.take() {
            Some(request) => request,
            None => self.inbox.recv().await?,
        };
        let (mut outputs, mut bytes) = weight(&first.part);
        let mut requests = vec![first];
        while let Ok(request) = self.inbox.try_recv() {
            let (n, b) = weight(&request.part);
            if outputs + n > MAX_OUTPUTS || bytes + b > MAX_BYTES {
                self.next = Some(request);
                break;
            }
            (outputs, bytes) = (outputs + n, bytes + b);
            requests.push(request);
        }
        Some(requests)
    }
}

fn weight(part: &Part) -> (usize, usize) {
    (part.outputs.len(), part.outputs.iter().map(|o| o.record.size()).sum())
}
