//! A TCP proxy that knows as much of Kafka's protocol as it takes to lose the right message.
//!
//! One broker stands behind it. Where a response names the broker's address (Metadata, FindCoordinator) the port is replaced by
//! the proxy's, so that every connection of a client comes through here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const INIT_PRODUCER_ID: i16 = 22;
const END_TXN: i16 = 26;

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lose {
    Nothing,
    /// Commits and aborts arrive, their answers do not, until a producer is initialised.
    AnswersToEndTxn,
    /// Commits and aborts do not arrive, until a producer is initialised.
    EndTxn,
    /// Nothing, but answers to Produce are held back for as long as this is in force.
    HoldProduce,
    /// Every connection ends at once, and none is made.
    Everything,
}

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

struct Shared {
    broker: SocketAddr,
    port: u16,
    rule: watch::Sender<Lose>,
    lost: Mutex<usize>,
}

type Asked = Arc<Mutex<VecDeque<i16>>>;

impl Proxy {
    pub async fn start(broker: &str) -> Proxy {
        let broker = tokio::net::lookup_host(broker).await.unwrap().find(SocketAddr::is_ipv4).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rule = watch::Sender::new(Lose::Nothing);
        let shared = Arc::new(Shared { broker, port: address.port(), rule, lost: Mutex::new(0) });
        let accepting = shared.clone();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                serving.spawn(accepting.clone().serve(client));
            }
        });
        Proxy { address, shared, _running: running }
    }

    pub fn lose(&self, what: Lose) {
        self.shared.rule.send_replace(what);
    }

    /// Waits until a message has been lost or held.
    pub async fn has_struck(&self) {
        while self.lost() == 0 {
            tokio::task::yield_now().await;
        }
    }

    pub fn lost(&self) -> usize {
        *self.shared.lost.lock().unwrap()
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, client: TcpStream) {
        let mut cut = self.rule.subscribe();
        if *cut.borrow() == Lose::Everything {
            return;
        }
        let Ok(broker) = TcpStream::connect(self.broker).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let asked = Asked::default();
        tokio::select! {
            _ = self.requests(from_client, to_broker, &asked) => {}
            _ = self.responses(from_broker, to_client, &asked) => {}
            _ = cut.wait_for(|r| *r == Lose::Everything) => {}
        }
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, asked: &Asked) -> Option<()> {
        loop {
            let frame = read(&mut from).await?;
            let api = i16::from_be_bytes([*frame.first()?, *frame.get(1)?]);
            let rule = *self.rule.borrow();
            if api == INIT_PRODUCER_ID && matches!(rule, Lose::EndTxn | Lose::AnswersToEndTxn) && self.lost_any() {
                self.rule.send_replace(Lose::Nothing);
            }
            if api == END_TXN && rule == Lose::EndTxn {
                *self.lost.lock().unwrap() += 1;
                continue;
            }
            asked.lock().unwrap().push_back(api);
            write(&mut to, &frame).await?;
        }
    }

    async fn responses(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, asked: &Asked) -> Option<()> {
        loop {
            let mut frame = read(&mut from).await?;
            // A broker answers the requests of a connection in their order.
            let api = asked.lock().unwrap().pop_front()?;
            if api == END_TXN && *self.rule.borrow() == Lose::AnswersToEndTxn {
                *self.lost.lock().unwrap() += 1;
                continue;
            }
            if api == PRODUCE && *self.rule.borrow() == Lose::HoldProduce {
                *self.lost.lock().unwrap() += 1;
                self.rule.subscribe().wait_for(|r| *r != Lose::HoldProduce).await.ok()?;
            }
            if matches!(api, METADATA | FIND_COORDINATOR) {
                self.readdress(&mut frame);
            }
            write(&mut to, &frame).await?;
        }
    }

    fn lost_any(&self) -> bool {
        *self.lost.lock().unwrap() > 0
    }

    /// Replaces the port where the broker's host and port stand next to each other.
    fn readdress(&self, frame: &mut [u8]) {
        for host in [self.broker.ip().to_string(), "localhost".to_owned()] {
            let mut there = host.into_bytes();
            let port_at = there.len();
            there.extend(i32::from(self.broker.port()).to_be_bytes());
            let mut at = 0;
            while at + there.len() <= frame.len() {
                if frame[at..at + there.len()] == there[..] {
                    frame[at + port_at..at + there.len()].copy_from_slice(&i32::from(self.port).to_be_bytes());
                }
                at += 1;
            }
        }
    }
}

async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let len = from.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(len).ok()?];
    from.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

async fn write(to: &mut OwnedWriteHalf, frame: &[u8]) -> Option<()> {
    to.write_i32(i32::try_from(frame.len()).ok()?).await.ok()?;
    to.write_all(frame).await.ok()
}
