//! Which addresses a delivery may reach: public ones, and those that the operator lets through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::Host;

/// `TIDEGATE_EGRESS_ALLOW`: networks, addresses and host names, separated by commas or spaces, that the guard lets through
/// although they are not public, with plain http too. A host name stands for itself, not for the names below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressAllow {
    nets: Vec<IpNet>,
    hosts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` in TIDEGATE_EGRESS_ALLOW is neither a network (`10.0.0.0/8`), an address nor a host name without port")]
pub struct AllowError(String);

impl FromStr for EgressAllow {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let mut allow = EgressAllow::default();
        for entry in text.split([',', ' ', '\t', '\n']).filter(|e| !e.is_empty()) {
            if let Ok(net) = entry.parse::<IpNet>() {
                allow.nets.push(net.trunc());
            } else if let Ok(address) = entry.parse::<IpAddr>() {
                allow.nets.push(address.into());
            } else {
                match Host::parse(entry) {
                    Ok(Host::Domain(name)) if !name.contains('/') => allow.hosts.push(bare(&name).to_owned()),
                    Ok(Host::Ipv6(address)) => allow.nets.push(IpAddr::V6(address).into()),
                    _ => return Err(AllowError(entry.to_owned())),
                }
            }
        }
        Ok(allow)
    }
}

impl EgressAllow {
    /// Is this host name, as `Url` normalises it, let through wherever it leads?
    pub fn host(&self, host: &str) -> bool {
        let host = bare(host);
        self.hosts.iter().any(|h| h == host)
    }

    pub fn address(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        self.nets.iter().any(|net| net.contains(&address) || net.contains(&plain))
    }
}

/// `example.org.` and `example.org` are the same host.
fn bare(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// What is not public in IPv4: the IANA special-purpose registry (RFC 6890 and successors), multicast, class E, and the
/// one cloud metadata address that lies in public space.
const SPECIAL_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([168, 63, 129, 16], 32),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// All that is public in IPv6 lies in here, except the `SPECIAL_V6` parts. Outside are loopback, link-local, unique
/// local, multicast, and the IPv4-mapped, IPv4-compatible and NAT64 ranges.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// IETF protocol assignments with Teredo, documentation, 6to4.
const SPECIAL_V6: [Ipv6Net; 4] =
    [v6([0x2001, 0, 0], 23), v6([0x2001, 0xdb8, 0], 32), v6([0x2002, 0, 0], 16), v6([0x3fff, 0, 0], 20)];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(start: [u16; 3], prefix: u8) -> Ipv6Net {
    let [a, b, c] = start;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Reachable over the public internet, and nothing but that: an IPv4 address inside an IPv6 one is never public.
pub fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|net| net.contains(&v4)),
        IpAddr::V6(v6) => GLOBAL_V6.contains(&v6) && !SPECIAL_V6.iter().any(|net| net.contains(&v6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(url: &str) -> IpAddr {
        match url::Url::parse(url).unwrap().host().unwrap() {
            Host::Ipv4(v4) => v4.into(),
            Host::Ipv6(v6) => v6.into(),
            Host::Domain(name) => panic!("{url} has the name {name}"),
        }
    }

    #[test]
    fn an_address_inside_the_house_is_not_public_however_it_is_written() {
        let inside = [
            "http://127.0.0.1",
            "http://127.1",
            "http://0x7f.1",
            "http://0177.0.0.1",
            "http://2130706433",
            "http://0x7f000001",
            "http://017700000001",
            "http://127.0.0.1.",
            "http://0",
            "http://0.0.0.0",
            "http://10.1.2.3",
            "http://012.1.2.3",
            "http://172.16.0.1",
            "http://172.31.255.255",
            "http://192.168.0.1",
            "http://192.168.257",
            "http://169.254.169.254",
            "http://0xA9FEA9FE",
            "http://100.64.0.1",
            "http://100.100.100.200",
            "http://168.63.129.16",
            "http://192.0.0.192",
            "http://192.0.2.1",
            "http://198.51.100.7",
            "http://203.0.113.9",
            "http://198.18.0.1",
            "http://198.19.255.255",
            "http://192.88.99.1",
            "http://224.0.0.1",
            "http://239.255.255.250",
            "http://240.0.0.1",
            "http://255.255.255.255",
            "http://127。0。0。1",
            "http://①②⑦.0.0.1",
            "http://[::]",
            "http://[::1]",
            "http://[0:0:0:0:0:0:0:1]",
            "http://[::ffff:127.0.0.1]",
            "http://[::ffff:7f00:1]",
            "http://[::ffff:8.8.8.8]",
            "http://[::127.0.0.1]",
            "http://[::8.8.8.8]",
            "http://[64:ff9b::7f00:1]",
            "http://[64:ff9b::8.8.8.8]",
            "http://[64:ff9b:1::a00:1]",
            "http://[2002:7f00:1::]",
            "http://[2002:0808:0808::1]",
            "http://[2001:0:4136:e378::1]",
            "http://[2001:db8::1]",
            "http://[3fff::1]",
            "http://[fe80::1]",
            "http://[fec0::1]",
            "http://[fc00::1]",
            "http://[fd00:ec2::254]",
            "http://[ff02::1]",
            "http://[100::1]",
            "http://[5f00::1]",
        ];
        for url in inside {
            assert!(!public(literal(url)), "{url}");
        }
    }

    #[test]
    fn a_public_address_is_public() {
        let outside = [
            "http://8.8.8.8",
            "http://1.1.1.1",
            "http://9.255.255.255",
            "http://11.0.0.0",
            "http://100.63.255.255",
            "http://100.128.0.0",
            "http://172.15.255.255",
            "http://172.32.0.0",
            "http://192.167.255.255",
            "http://223.255.255.255",
            "http://0x08080808",
            "http://[2606:4700::1111]",
            "http://[2001:4860:4860::8888]",
            "http://[2a00:1450::1]",
        ];
        for url in outside {
            assert!(public(literal(url)), "{url}");
        }
    }

    #[test]
    fn only_what_the_operator_names_is_let_through() {
        let allow: EgressAllow =
            "10.0.0.0/8, 192.168.7.9 [::1],fd00::/8\nReceiver.Internal.,localhost".parse().unwrap();
        let at = |text: &str| allow.address(text.parse().unwrap());
        assert!(at("10.200.0.1") && at("192.168.7.9") && at("::1") && at("fd12::5") && at("::ffff:10.0.0.1"));
        assert!(!at("11.0.0.1") && !at("192.168.7.10") && !at("::2") && !at("127.0.0.1") && !at("::ffff:127.0.0.1"));
        assert!(allow.host("receiver.internal") && allow.host("receiver.internal.") && allow.host("localhost"));
        assert!(!allow.host("a.receiver.internal") && !allow.host("internal") && !allow.host(""));
        assert_eq!("".parse(), Ok(EgressAllow::default()));
    }

    #[test]
    fn an_entry_that_means_nothing_is_refused_by_name() {
        for bad in ["10.0.0.0/33", "host:80", "http://host", "a/b", "[::1", "300.1.2.3"] {
            let error = format!("10.0.0.0/8,{bad}").parse::<EgressAllow>().unwrap_err();
            assert_eq!(error, AllowError(bad.to_owned()));
        }
    }
}
