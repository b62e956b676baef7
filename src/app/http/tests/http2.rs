//! Clients of HTTP/2 (RFC 9113), frame by frame: libraries behave too well.

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Of the answer to a PING.
const ACK: u8 = 1;
/// Of the last frame of an answer.
const END: u8 = 1;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// It answers each PING.
struct Client {
    stream: TcpStream,
    seen: Vec<Frame>,
}

impl Client {
    /// Of each answer may `window` bytes be sent.
    async fn of(address: SocketAddr, window: u32) -> Client {
        let mut client = Client { stream: TcpStream::connect(address).await.unwrap(), seen: Vec::new() };
        client.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let initial_window_size = [&[0, 4], &window.to_be_bytes()[..]].concat();
        client.send((SETTINGS, 0), 0, &initial_window_size).await.unwrap();
        client
    }

    async fn send(&mut self, (kind, flags): (u8, u8), stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.stream.write_all(&frame).await
    }

    /// GET http://x/<path>.
    async fn ask(&mut self, stream: u32, path: &str) {
        let head = [&[0x82, 0x86, 0x04, path.len() as u8], path.as_bytes(), &[0x41, 1, b'x']].concat();
        self.send((HEADERS, 5), stream, &head).await.unwrap();
    }

    async fn give(&mut self, stream: u32, window: u32) {
        self.send((WINDOW_UPDATE, 0), stream, &window.to_be_bytes()).await.unwrap();
    }

    async fn take(&mut self) -> io::Result<()> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await?;
        if (kind, flags) == (PING, 0) {
            self.send((PING, ACK), 0, &payload).await?;
        }
        self.seen.push(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload });
        Ok(())
    }

    async fn take_until(&mut self, is_it: impl Fn(&Frame) -> bool) -> io::Result<()> {
        let mut looked_at = 0;
        loop {
            while let Some(frame) = self.seen.get(looked_at) {
                if is_it(frame) {
                    return Ok(());
                }
                looked_at += 1;
            }
            self.take().await?;
        }
    }

    /// Until the server has answered one.
    async fn ping(&mut self, number: u64) -> io::Result<()> {
        let payload = number.to_be_bytes();
        self.send((PING, 0), 0, &payload).await?;
        self.take_until(|frame| (frame.kind, frame.flags) == (PING, ACK) && frame.payload == payload).await
    }

    fn answer(&self, stream: u32) -> Vec<u8> {
        let of_it = self.seen.iter().filter(|frame| (frame.kind, frame.stream) == (DATA, stream));
        of_it.flat_map(|frame| frame.payload.clone()).collect()
    }
}

#[tokio::test]
async fn an_idle_client_that_answers_pings_does_not_keep_its_connection() {
    let (address, stop, server) = started(Router::new().route("/", get(|| async { "small" }))).await;
    let mut client = Client::of(address, 65_535).await;
    let began = Instant::now();
    let mut pings = 0;
    // Whoever asks now and then is not idle.
    for stream in [1, 3, 5] {
        client.ask(stream, "/").await;
        client.take_until(|frame| frame.stream == stream && frame.flags & END == END).await.unwrap();
        assert_eq!(client.answer(stream), b"small");
        for _ in 0..5 {
            pass(STEP).await;
            pings += 1;
            client.ping(pings).await.unwrap();
        }
    }
    while client.ping(pings).await.is_ok() {
        assert!(began.elapsed() <= HEAD_WITHIN * 6, "it is held for ever");
        pass(STEP).await;
        pings += 1;
    }
    assert!(began.elapsed() >= HEAD_WITHIN * 3 - STEP * 2, "{:?}", began.elapsed());
    assert!(client.seen.iter().any(|frame| frame.kind == GOAWAY), "it is not told");
    stop.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_is_given_no_window_ends_alone() {
    // Nothing of it, some of a piece, some pieces.
    for window in [0, 1, 20_000] {
        let (app, ended) = endless();
        let (address, stop, server) = started(app.route("/small", get(|| async { "small" }))).await;
        let mut client = Client::of(address, window).await;
        client.ask(1, "/").await;
        client.take_until(|frame| frame.stream == 1).await.unwrap();
        let began = Instant::now();
        let mut pings = 0;
        while !ended.is_cancelled() {
            assert!(began.elapsed() <= TAKEN_WITHIN * 3, "{window}: it is held for ever");
            pass(STEP).await;
            pings += 1;
            client.ping(pings).await.unwrap();
        }
        assert!(began.elapsed() >= TAKEN_WITHIN, "{:?}", began.elapsed());
        assert_eq!(client.answer(1).len(), window as usize);
        client.take_until(|frame| (frame.kind, frame.stream) == (RESET, 1)).await.unwrap();
        // Others behind the same connection are served.
        client.ask(3, "/small").await;
        client.give(3, 100).await;
        client.take_until(|frame| frame.stream == 3 && frame.flags & END == END).await.unwrap();
        assert_eq!(client.answer(3), b"small");
        drop(client);
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_comes_whole() {
    const PIECE: u32 = 8 * 1_024;
    const PIECES: u32 = 14;
    let whole: Vec<u8> = (0..PIECE * PIECES).map(|n| (n % 251) as u8).collect();
    let answer = whole.clone();
    let (address, stop, server) = started(Router::new().route("/", get(|| async { answer }))).await;
    let mut client = Client::of(address, 0).await;
    client.give(0, PIECE * PIECES).await;
    client.ask(1, "/").await;
    let began = Instant::now();
    for piece in 1..=PIECES {
        for part in 0..3 {
            pass(STEP).await;
            client.ping(u64::from(piece * 3 + part)).await.unwrap();
        }
        client.give(1, PIECE).await;
        while client.answer(1).len() < (piece * PIECE) as usize {
            client.take().await.unwrap();
        }
    }
    client.take_until(|frame| frame.stream == 1 && frame.flags & END == END).await.unwrap();
    assert!(began.elapsed() > TAKEN_WITHIN * 6 && client.answer(1) == whole);
    drop(client);
    stop.cancel();
    server.await.unwrap().unwrap();
}
