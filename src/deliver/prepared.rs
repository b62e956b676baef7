//! What all requests of one version of an integration have in common, worked out once.

use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue};
use rustc_hash::FxHashMap;

use super::egress::{Egress, Refused, Wire};
use super::lock;
use crate::model::ids::IntegrationId;
use crate::model::integration::{OutboundIntegration, sends_body};

/// An integration ready to send.
#[derive(Debug)]
pub struct Prepared {
    pub integration: Arc<OutboundIntegration>,
    pub route: Result<Wire, Refused>,
    /// The configured headers, without those that are not for configuration.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// GET and HEAD go without a body.
    pub sends_body: bool,
}

impl Prepared {
    pub fn new(integration: Arc<OutboundIntegration>, egress: &Egress) -> Self {
        Prepared {
            route: egress.route(&integration.target_url),
            headers: integration.own_headers().cloned().collect(),
            sends_body: sends_body(integration.method.as_str()),
            integration,
        }
    }
}

/// Keeps the prepared integrations that are in use: those of the current generation, and of the one before until it is full.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: FxHashMap<IntegrationId, Arc<Prepared>>,
    old: FxHashMap<IntegrationId, Arc<Prepared>>,
}

const GENERATION: usize = 2_048;

impl Cache {
    pub fn get(&self, integration: &Arc<OutboundIntegration>, egress: &Egress) -> Arc<Prepared> {
        let same = |p: &&Arc<Prepared>| Arc::ptr_eq(&p.integration, integration);
        let mut generations = lock(&self.0);
        if let Some(prepared) = generations.young.get(&integration.id).filter(same) {
            return prepared.clone();
        }
        let known = generations.old.get(&integration.id).filter(same).cloned();
        let prepared = known.unwrap_or_else(|| Arc::new(Prepared::new(integration.clone(), egress)));
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(integration.id.clone(), prepared.clone());
        prepared
    }
}
