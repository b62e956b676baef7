//! The one door: every route comes in through it, with who may use it and what it is, so that none can be without either.

mod access;
mod address;
mod caller;
mod guard;
mod openapi;
mod route;
mod trust;

pub use access::{Access, Principal};
pub use address::{ClientAddress, Peer, Proxies, network};
pub use caller::{AdminKey, Credentials, KEY_BEGINS, Known, hex, identify};
pub use guard::{Bound, answered};
pub use openapi::{document, form};
pub use route::{Answer, Budget, Param, Route, delete, get, patch, post, put};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::on;

/// Routes on their way into a router, and what is said of each.
#[derive(Default)]
pub struct Door {
    router: Router,
    routes: Vec<Route>,
}

impl Door {
    /// Opens a route to those who may use it.
    pub fn add<H, T, S>(&mut self, route: Route, handler: H, state: S)
    where
        H: Handler<T, S>,
        T: 'static,
        S: Clone + Send + Sync + 'static,
    {
        let mut guarded = on(route.filter(), handler).with_state(state);
        if let Some(bytes) = route.takes {
            guarded = guarded.layer(DefaultBodyLimit::max(bytes));
        }
        let rule = guard::Rule { access: route.access, budget: route.budget };
        let guarded = guarded.route_layer(from_fn_with_state(rule, guard::check));
        self.router = std::mem::take(&mut self.router).route(&route.path, guarded);
        self.routes.push(route);
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// For tests of what is behind it: every caller is the administrator.
    #[cfg(test)]
    pub fn for_the_administrator(self) -> Router {
        let principal = Principal::with_the_admin_key();
        self.router.layer(axum::Extension(caller::Caller(Ok(principal))))
    }

    pub fn into_parts(self) -> (Router, Vec<Route>) {
        (self.router, self.routes)
    }
}
