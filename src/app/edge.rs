//! What the configuration says of requests, as the API wants it.

use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use crate::api::{Edge, Limits, Origins, Proxies, Rate, Rates, Tokens};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::model::time::Clock;

pub(super) fn edge(config: &Config, catalog: Arc<Catalog>, clock: Arc<dyn Clock>) -> Result<Edge, AppError> {
    let wrong = |error: crate::config::ConfigError| AppError::Configuration(error.to_string());
    let every = |most, seconds| Rate { most, per: Duration::from_secs(seconds) };
    let rates = Rates {
        address: every(config.limits.address_per_minute, 60),
        org: every(config.limits.org_per_minute, 60),
        publish: every(config.limits.publish_per_second, 1),
    };
    Ok(Edge {
        limits: Arc::new(Limits::new(rates, catalog, clock)),
        proxies: Arc::new(Proxies(config.http.proxies().map_err(wrong)?)),
        origins: Arc::new(Origins(config.http.origins().map_err(wrong)?)),
        swagger_ui: config.http.swagger_ui,
    })
}

/// Keys that were checked before: a keyring was made of the same.
pub(super) fn tokens(config: &Config) -> Result<Tokens, AppError> {
    let previous: Vec<&str> = config.secret_key_previous.iter().flat_map(|keys| keys.split(',')).collect();
    let tokens = Tokens::of(config.secret_key.as_deref().unwrap_or_default(), &previous);
    tokens.map_err(|error| AppError::Configuration(format!("TIDEGATE_SECRET_KEY: {error}")))
}
