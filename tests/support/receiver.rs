//! An HTTP receiver on loopback that does as it is told, path by path, and remembers every request.
//!
//! It speaks HTTP/1.1 by hand: a reset in the middle, an answer that never ends, and the moment at which an answer has left
//! are not to be had from a server that means well.

mod http;
mod log;
mod owner;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

pub use log::{Log, Seen, hash};

/// What a path does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// A status and one more header.
    With(u16, &'static str, String),
    /// The status, after so long.
    After(Duration, u16),
    /// The status, once the path is released.
    Held(u16),
    /// Nothing, for as long as the client waits.
    Hang,
    /// The connection is reset (RST).
    Reset,
    /// The status, and a body that never ends.
    Endless(u16),
}

type Behaviour = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// Answers 200 until told otherwise.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Dropped with the receiver, and every connection with it.
    _tasks: JoinSet<()>,
}

struct Shared {
    log: Mutex<Log>,
    changed: watch::Sender<u64>,
    paths: Mutex<HashMap<String, Behaviour>>,
    /// How often a path was released; who is held waits for the next time.
    released: watch::Sender<HashMap<String, u64>>,
    /// Processes by which requests are told apart, where a test asks for it.
    suspects: Mutex<Vec<u32>>,
    port: u16,
}

impl Receiver {
    pub async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            changed: watch::Sender::new(0),
            paths: Mutex::default(),
            released: watch::Sender::new(HashMap::new()),
            suspects: Mutex::default(),
            port: address.port(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Receiver { address, shared, _tasks: tasks }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on `path` does what `behaviour` says of each request.
    pub fn on(&self, path: &str, behaviour: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        lock(&self.shared.paths).insert(path.to_owned(), Arc::new(behaviour));
    }

    pub fn always(&self, path: &str, answer: Answer) {
        self.on(path, move |_| answer.clone());
    }

    /// Each delivery is given these statuses, one a request; the last one stays.
    pub fn sequence(&self, path: &str, statuses: &'static [u16]) {
        self.on(path, move |seen| Answer::Status(statuses[(seen.nth - 1).min(statuses.len() - 1)]));
    }

    /// Every request held on `path` is answered now. Those that come later are held again, unless the path does something else
    /// by then.
    pub fn release(&self, path: &str) {
        self.shared.released.send_modify(|released| *released.entry(path.to_owned()).or_default() += 1);
    }

    /// From now on each new connection tells which of these processes made it.
    pub fn tell_apart(&self, processes: &[u32]) {
        *lock(&self.shared.suspects) = processes.to_vec();
    }

    /// Looks at what has come so far.
    pub fn look<T>(&self, at: impl FnOnce(&Log) -> T) -> T {
        at(&lock(&self.shared.log))
    }

    /// Waits until `holds`; asked after every request and every answer, so it should be cheap.
    pub async fn wait_for(&self, what: &str, within: Duration, mut holds: impl FnMut(&Log) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let held = timeout(within, async {
            while !self.look(&mut holds) {
                changed.changed().await.expect("the receiver lives");
            }
        });
        if held.await.is_err() {
            panic!("{what}: not within {within:?}; so far {}", self.look(Log::summary));
        }
    }

    /// Waits until `path` has seen so many different events.
    pub async fn wait_events(&self, path: &str, events: usize, within: Duration) {
        self.wait_for(&format!("{events} events at {path}"), within, |log| log.events(path) >= events).await;
    }
}

impl Shared {
    fn record(&self, seen: Seen) -> (usize, Behaviour) {
        let behaviour = lock(&self.paths).get(&seen.path).cloned();
        let index = lock(&self.log).add(seen);
        self.changed.send_modify(|n| *n += 1);
        (index, behaviour.unwrap_or_else(|| Arc::new(|_| Answer::Status(200))))
    }

    fn answered(&self, index: usize) {
        lock(&self.log).answered(index);
        self.changed.send_modify(|n| *n += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, peer)) = listener.accept() => {
                let suspects = lock(&shared.suspects).clone();
                let process = owner::of(peer.port(), shared.port, &suspects);
                connections.spawn(serve(stream, process, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, process: Option<u32>, shared: Arc<Shared>) {
    // Without it a small answer may wait for the client's acknowledgement of the one before.
    stream.set_nodelay(true).expect("a TCP socket");
    let mut reader = http::Reader::default();
    while let Some(request) = reader.next(&mut stream).await {
        let path = request.path.clone();
        // Before the request is known to anyone: a release that follows the sight of it must not be missed.
        let released = Released::of(&shared, &path);
        let (index, behaviour) = shared.record(Seen::of(request, process));
        let answer = behaviour(&lock(&shared.log)[index]);
        let sent = match answer {
            Answer::Status(status) => http::answer(&mut stream, status, None).await,
            Answer::With(status, name, value) => http::answer(&mut stream, status, Some((name, &value))).await,
            Answer::After(delay, status) => {
                sleep_until(Instant::now() + delay).await;
                http::answer(&mut stream, status, None).await
            }
            Answer::Held(status) => {
                released.again().await;
                http::answer(&mut stream, status, None).await
            }
            Answer::Hang => return http::until_closed(&mut stream).await,
            Answer::Reset => return http::reset(stream),
            Answer::Endless(status) => return http::endless(&mut stream, status, || shared.answered(index)).await,
        };
        if sent.is_err() {
            return;
        }
        shared.answered(index);
    }
    // The client has gone; whether it hears of this does not matter.
    let _ = stream.shutdown().await;
}

/// How often a path had been released at some moment.
struct Released {
    released: watch::Receiver<HashMap<String, u64>>,
    path: String,
    before: Option<u64>,
}

impl Released {
    fn of(shared: &Shared, path: &str) -> Released {
        let mut released = shared.released.subscribe();
        let before = released.borrow_and_update().get(path).copied();
        Released { released, path: path.to_owned(), before }
    }

    /// Waits until it is released once more.
    async fn again(mut self) {
        // An error means that the receiver is gone, and nobody waits any more.
        let _ = self.released.wait_for(|released| released.get(&self.path).copied() != self.before).await;
    }
}

/// A test that fails while it looks at the log must not silence what is told of it afterwards.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
