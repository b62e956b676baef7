//! The receiver at the end of the line: answers 200 at once, and keeps count of what came, how often and how late.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::bench::sample;

/// Listens on loopback until it is dropped, on a thread of its own.
pub struct Receiver {
    pub address: SocketAddr,
    tally: Arc<Mutex<Tally>>,
    blank: Histogram<u64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What came of the events that are expected now; all others are answered and not counted.
#[derive(Clone, Debug)]
pub struct Tally {
    numbers: Range<u64>,
    copies: u64,
    seen: Vec<u8>,
    /// Requests, repeats included.
    pub requests: u64,
    /// Deliveries that came at least once.
    pub arrived: u64,
    pub first: Option<Instant>,
    pub last: Option<Instant>,
    /// From due to answered, in microseconds, of events that were due at `from` or later.
    pub latency: Histogram<u64>,
    from: Instant,
}

impl Tally {
    /// `blank` is an empty histogram of microseconds.
    fn expecting(numbers: Range<u64>, copies: u64, from: Instant, blank: Histogram<u64>) -> Tally {
        let events = usize::try_from(numbers.end - numbers.start).unwrap_or(0);
        Tally {
            numbers,
            copies,
            seen: vec![0; events],
            requests: 0,
            arrived: 0,
            first: None,
            last: None,
            latency: blank,
            from,
        }
    }

    fn note(&mut self, payload: &[u8], now: Instant) {
        let Some((number, due)) = sample::read(payload).filter(|(n, _)| self.numbers.contains(n)) else { return };
        let Some(seen) = usize::try_from(number - self.numbers.start).ok().and_then(|at| self.seen.get_mut(at)) else {
            return;
        };
        self.requests += 1;
        self.first.get_or_insert(now);
        if u64::from(*seen) < self.copies {
            *seen += 1;
            self.arrived += 1;
            self.last = Some(now);
            if due >= self.from {
                let micros = now.saturating_duration_since(due).as_micros();
                self.latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
            }
        }
    }

    pub fn expected(&self) -> u64 {
        (self.numbers.end - self.numbers.start) * self.copies
    }

    /// Deliveries that came again.
    pub fn repeats(&self) -> u64 {
        self.requests - self.arrived
    }

    /// Deliveries a second between the first and the last.
    pub fn rate(&self) -> f64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) if last > first => self.arrived as f64 / (last - first).as_secs_f64(),
            _ => 0.0,
        }
    }
}

impl Receiver {
    pub fn start() -> anyhow::Result<Receiver> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the receiver")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // Up to five minutes, exact to a thousandth.
        let blank = Histogram::new_with_bounds(1, 300_000_000, 3)?;
        let tally = Arc::new(Mutex::new(Tally::expecting(0..0, 1, Instant::now(), blank.clone())));
        let (stop, stopped) = oneshot::channel();
        let noted = Arc::clone(&tally);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("bench-receiver".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = serve(listener, noted) => {}
                }
            });
        })?;
        Ok(Receiver { address, tally, blank, stop: Some(stop), thread: Some(thread) })
    }

    /// Counts afresh: these events, each so many times, their latency from `from` on.
    pub fn expect(&self, numbers: Range<u64>, copies: u64, from: Instant) {
        *self.lock() = Tally::expecting(numbers, copies, from, self.blank.clone());
    }

    /// How many have arrived, of how many.
    pub fn progress(&self) -> (u64, u64) {
        let tally = self.lock();
        (tally.arrived, tally.expected())
    }

    pub fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Waits until everything expected has arrived, `each` being told how far it is. Gives up when nothing has come for
    /// `patience`.
    pub async fn complete(&self, patience: Duration, each: impl Fn(u64, u64)) -> anyhow::Result<Tally> {
        let (mut before, mut moved) = (0, Instant::now());
        loop {
            let (arrived, expected) = self.progress();
            each(arrived, expected);
            if arrived == expected {
                return Ok(self.tally());
            }
            if arrived > before {
                (before, moved) = (arrived, Instant::now());
            }
            anyhow::ensure!(
                moved.elapsed() < patience,
                "only {arrived} of {expected} deliveries arrived, and none in the last {} s",
                patience.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the receiver was printed when it happened.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, tally: Arc<Mutex<Tally>>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, Arc::clone(&tally)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, tally: Arc<Mutex<Tally>>) {
    // Answers are one small write each; without this they may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let tally = Arc::clone(&tally);
        async move {
            if let Ok(body) = request.into_body().collect().await {
                let body = body.to_bytes();
                tally.lock().unwrap_or_else(PoisonError::into_inner).note(&body, Instant::now());
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    // A peer that hangs up is no concern of the receiver.
    let _ = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_strangers_are_not_counted_as_deliveries() {
        sample::start_clock();
        let start = Instant::now();
        let blank = Histogram::new_with_bounds(1, 300_000_000, 3).unwrap();
        let mut tally = Tally::expecting(10..12, 2, start + Duration::from_secs(1), blank);
        let at = |seconds| start + Duration::from_secs(seconds);
        for (number, due) in [(10, 0), (10, 1), (10, 1), (11, 1), (11, 2), (12, 1)] {
            tally.note(&sample::payload(number, at(due)), at(3));
        }
        tally.note(b"not of this run", at(3));
        assert_eq!((tally.arrived, tally.expected(), tally.repeats()), (4, 4, 1));
        assert_eq!(tally.latency.len(), 3, "an event of the warm-up was measured");
        assert!(tally.latency.equivalent(tally.latency.max(), 2_000_000), "{}", tally.latency.max());
    }
}
