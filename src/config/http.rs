//! Who may ask over HTTP, from where, and how often.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::{Origin, Url};

use super::ConfigError;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Networks and addresses of proxies whose `X-Forwarded-For` is believed, and whose connections are not counted.
    pub trusted_proxies: Vec<String>,
    /// Origins whose pages may use the API from a browser: `https://console.example`.
    pub cors_origins: Vec<String>,
    /// Whether the API can be read and tried at `/swagger/index.html`.
    pub swagger_ui: bool,
}

impl Default for Http {
    fn default() -> Self {
        Http { trusted_proxies: Vec::new(), cors_origins: Vec::new(), swagger_ui: true }
    }
}

/// How often each may ask, in one process; 0: as often as they like. The catalog may say otherwise of an organization.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests a minute of one client address without a valid credential.
    pub address_per_minute: u32,
    /// Requests a minute of one organization, but those that bring events in.
    pub org_per_minute: u32,
    /// Events a second that one organization brings in.
    pub publish_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { address_per_minute: 1_000, org_per_minute: 100, publish_per_second: 10_000 }
    }
}

impl Http {
    pub fn proxies(&self) -> Result<Vec<IpNet>, ConfigError> {
        self.trusted_proxies.iter().map(|text| network(text)).collect()
    }

    /// As browsers write them.
    pub fn origins(&self) -> Result<Vec<String>, ConfigError> {
        self.cors_origins.iter().map(|text| origin(text)).collect()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.proxies()?;
        self.origins().map(drop)
    }
}

fn network(text: &str) -> Result<IpNet, ConfigError> {
    let net = text.parse::<IpNet>().map(|net| net.trunc());
    let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| {
        ConfigError(format!(
            "http.trusted_proxies (TIDEGATE_TRUSTED_PROXIES) `{text}`: must be a network such as 10.0.0.0/8, or an address"
        ))
    })
}

fn origin(text: &str) -> Result<String, ConfigError> {
    let wrong = || {
        ConfigError(format!(
            "http.cors_origins (TIDEGATE_CORS_ORIGINS) `{text}`: must be an origin such as https://console.example, without a path"
        ))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    match url.origin() {
        origin @ Origin::Tuple(..) if bare && url.username().is_empty() => Ok(origin.ascii_serialization()),
        _ => Err(wrong()),
    }
}
