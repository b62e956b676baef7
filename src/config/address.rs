//! Addresses to listen on, as people type them: `localhost:8080` too.

use std::net::{SocketAddr, ToSocketAddrs as _};

use serde::{Deserialize as _, Deserializer, de::Error};

const EXAMPLES: &str = "such as 127.0.0.1:8080 or localhost:8080, or 0.0.0.0:8080 for every network";

pub(super) fn listen<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    parse(&String::deserialize(d)?).map_err(D::Error::custom)
}

/// A name is looked up; of several addresses an IPv4 one is taken, which is what clients of a name try at the latest.
fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = |port: &str| port.parse::<u16>().ok();
    let Some((host, port)) = text.rsplit_once(':').and_then(|(host, given)| Some((host, port(given)?))) else {
        return Err(format!("`{text}` must be host:port, {EXAMPLES}"));
    };
    if host.is_empty() || host.contains(':') {
        return Err(format!("`{text}` must be host:port, {EXAMPLES}; an IPv6 address stands in brackets: [::1]:8080"));
    }
    let unknown = |why: String| format!("`{text}`: no address is known for `{host}` ({why}); give one, {EXAMPLES}");
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|e| unknown(e.to_string()))?.collect();
    let chosen = found.iter().find(|address| address.is_ipv4()).or(found.first());
    chosen.copied().ok_or_else(|| unknown("none was found".to_owned()))
}
