//! As much of HTTP/1.1 as a receiver of webhooks needs, and as much of its abuse.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(Box<str>, Box<str>)>,
    pub body: Vec<u8>,
}

/// Reads the requests of one connection.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The next request; `None` when the client has gone, or speaks something else.
    pub async fn next(&mut self, stream: &mut TcpStream) -> Option<Request> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more(stream).await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: Vec<(Box<str>, Box<str>)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_lowercase().into(), value.trim().into()))
            .collect();
        let value = |name: &str| headers.iter().find(|(n, _)| &**n == name).map(|(_, v)| &**v);
        assert_eq!(value("transfer-encoding"), None, "a delivery knows the length of its body");
        let length = value("content-length").map_or(0, |v| v.parse().expect("a length"));
        while self.buffer.len() < length {
            self.more(stream).await?;
        }
        let body = self.buffer.drain(..length).collect();
        Some(Request { method, path, headers, body })
    }

    async fn more(&mut self, stream: &mut TcpStream) -> Option<()> {
        let read = stream.read_buf(&mut self.buffer).await.ok()?;
        (read > 0).then_some(())
    }
}

/// Returns once the answer is the kernel's: it arrives even if this process or the client stops now.
pub async fn answer(stream: &mut TcpStream, status: u16, header: Option<(&str, &str)>) -> io::Result<()> {
    let more = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    let text = format!("HTTP/1.1 {status} Told\r\ncontent-type: text/plain\r\n{more}content-length: 4\r\n\r\ntold");
    stream.write_all(text.as_bytes()).await
}

pub async fn until_closed(stream: &mut TcpStream) {
    let mut rest = [0; 1_024];
    while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
}

pub fn reset(stream: TcpStream) {
    // Closing with a linger of zero sends RST.
    stream.set_zero_linger().expect("a TCP socket");
}

pub async fn endless(stream: &mut TcpStream, status: u16, begun: impl FnOnce()) {
    let head = format!("HTTP/1.1 {status} Told\r\ntransfer-encoding: chunked\r\n\r\n");
    if stream.write_all(head.as_bytes()).await.is_ok() {
        begun();
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    }
}
