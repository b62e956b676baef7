//! Where a request comes from: the address of the connection, or what trusted proxies say of it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

const FORWARDED: &str = "x-forwarded-for";

/// The other end of the connection, among a request's extensions: the server puts it there.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Whose request it is, as far as can be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

/// Proxies whose word is taken for whom they speak.
#[derive(Clone, Debug, Default)]
pub struct Proxies(pub Vec<IpNet>);

impl Proxies {
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// `X-Forwarded-For` is read from its end, where the nearest proxy writes: the first that is no trusted proxy is the client.
    /// What stands before it, the client may have made up.
    pub fn client(&self, peer: Option<&Peer>, headers: &HeaderMap) -> ClientAddress {
        let Some(Peer(peer)) = peer else { return ClientAddress(None) };
        let mut client = peer.to_canonical();
        // What is no text ends the search: to leave it out would let a client hide what proxies wrote beside it.
        let said = headers.get_all(FORWARDED).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let said: Vec<_> = said.collect();
        for hop in said.iter().flat_map(|value| value.split(',')).rev() {
            if !self.trusts(client) {
                break;
            }
            match parse(hop.trim()) {
                Some(before) => client = before.to_canonical(),
                None => break,
            }
        }
        ClientAddress(Some(client))
    }
}

/// Some proxies write the port too.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// What counts as one client: in IPv6 everybody has a whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn nobody_chooses_their_own_address() {
        let proxies = Proxies(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let cases: [(&str, &[&str], &str); 12] = [
            ("198.51.100.7", &[], "198.51.100.7"),
            ("198.51.100.7", &["203.0.113.1"], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("::ffff:10.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.1"], "203.0.113.1"),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.1, 10.9.9.9"], "203.0.113.1"),
            ("10.0.0.1", &["1.2.3.4", "203.0.113.1, 10.9.9.9"], "203.0.113.1"),
            ("10.0.0.1", &["203.0.113.1:4711"], "203.0.113.1"),
            ("fd00::1", &["[2001:db8::5]:443"], "2001:db8::5"),
            ("10.0.0.1", &["203.0.113.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ];
        for (peer, said, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(FORWARDED, value.parse().unwrap());
            }
            let client = proxies.client(Some(&Peer(peer.parse().unwrap())), &headers);
            assert_eq!(client, ClientAddress(Some(expected.parse().unwrap())), "{peer} {said:?}");
        }
        assert_eq!(proxies.client(None, &HeaderMap::new()), ClientAddress(None));
    }

    #[test]
    fn what_a_proxy_wrote_is_not_hidden_by_what_is_no_text() {
        let proxies = Proxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED, "198.51.100.66".parse().unwrap());
        headers.append(FORWARDED, HeaderValue::from_bytes(b"\xff, 203.0.113.1").unwrap());
        let client = proxies.client(Some(&Peer("10.0.0.1".parse().unwrap())), &headers);
        assert_eq!(client, ClientAddress(Some("203.0.113.1".parse().unwrap())));
    }

    #[test]
    fn whoever_has_a_network_of_ipv6_is_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:198.51.100.7"), of("198.51.100.7"));
        assert_ne!(of("198.51.100.7"), of("198.51.100.8"));
    }
}
