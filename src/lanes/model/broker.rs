//! What survives, and the ways a flush may go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::world::{Checked, End, Fault, Out, Owner, Tx, World};
use crate::lanes::Entry;
use crate::model::ids::Offset;
use crate::stream::metadata::Progress;

/// What survives.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub progress: Progress,
    pub retry: BTreeMap<String, Entry>,
    pub attempts: BTreeMap<Offset, u32>,
    pub ended: BTreeMap<Offset, End>,
}

impl World {
    pub(super) fn commit(&mut self, tx: &Tx, outputs: bool) -> Checked {
        self.broker.progress = tx.flush.progress.clone();
        if !outputs {
            return Ok(());
        }
        for (name, entry) in &tx.flush.entries {
            match entry {
                Some(entry) => self.broker.retry.insert(name.to_string(), entry.clone()),
                None => self.broker.retry.remove(&name.to_string()),
            };
        }
        for (o, out) in &tx.outs {
            match *out {
                Out::Attempt(n) => {
                    let before = self.broker.attempts.insert(*o, n).unwrap_or(0);
                    if n != before + 1 {
                        return Err(format!("{o}: attempt {n} recorded after {before}"));
                    }
                }
                Out::Final(end) => {
                    if let Some(before) = self.broker.ended.insert(*o, end) {
                        return Err(format!("{o} ends twice: {before:?}, {end:?}"));
                    }
                    self.first_end(*o, end)?;
                }
            }
        }
        self.say(|| {
            let mut text = format!("commit {:?}", tx.flush.progress);
            for (name, entry) in &tx.flush.entries {
                let _ = match entry {
                    Some(e) => write!(text, " {name}={}/{}/{}/{:?}/{:?}", e.from, e.due.0, e.attempt, e.reason, e.done),
                    None => write!(text, " {name}=gone"),
                };
            }
            write!(text, " outs={:?}", tx.outs).map(|()| text).unwrap_or_default()
        });
        Ok(())
    }

    /// One try of the outstanding flush: committed, aborted (the same again), or its outcome hidden (then read back).
    pub(super) fn flush_end(&mut self, ow: &mut Owner) -> Checked {
        let (x, Some(tx)) = (self.r.f64(), ow.tx.take()) else { return Ok(()) };
        let mut done = true;
        if x < self.p.abort {
            done = false;
        } else if x < self.p.abort + self.p.unknown {
            if self.r.bool() {
                self.commit(&tx, true)?;
            }
            let (there, sent) = (&self.broker.progress, &tx.flush.progress);
            done = there.watermark == sent.watermark
                && there.done == sent.done
                && (self.out == Some(Fault::Number) || there.flush == sent.flush);
        } else {
            self.commit(&tx, true)?;
        }
        self.say(|| format!("flush {}: {}", tx.flush.progress.flush, if done { "done" } else { "again" }));
        if done {
            ow.core.committed();
        } else {
            ow.tx = Some(tx);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, ow: &mut Owner) -> Checked {
        if ow.tx.is_some() {
            return Ok(());
        }
        match ow.core.flush() {
            Some(flush) => ow.tx = Some(Tx { flush, outs: std::mem::take(&mut ow.outs) }),
            None if ow.outs.is_empty() => return Ok(()),
            None => return Err(format!("outputs without a flush: {:?}", ow.outs)),
        }
        self.check_bounds(ow)
    }
}
