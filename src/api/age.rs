//! How old an answer may be that was made of the catalog while the log could not be asked.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::catalog::Catalog;
use crate::model::time::Clock;

/// Which answers are made of the catalog, and what tells their age.
#[derive(Clone)]
pub struct Ages {
    pub paths: Arc<HashSet<String>>,
    pub catalog: Arc<Catalog>,
    pub clock: Arc<dyn Clock>,
}

/// Tells the age in `Age` (RFC 9111, 5.1), where the catalog is not known to be current.
pub async fn aged(State(ages): State<Ages>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let told = reads && path.is_some_and(|path| ages.paths.contains(path));
    let mut response = next.run(request).await;
    if told
        && response.status().is_success()
        && let Some(age) = ages.catalog.age(ages.clock.now())
    {
        response.headers_mut().insert(header::AGE, age.as_secs().into());
    }
    response
}
