//! `/swagger/index.html`: the document to read and to try, in a browser. Its files are compiled in; nothing is fetched from elsewhere.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use utoipa_swagger_ui::{Config, serve};

use crate::api::door::{Access, Door, get};
use crate::api::error::{ApiError, Code};

/// What the pages need and nothing else: their own scripts, styles that they set themselves, pictures within those styles, and
/// this gateway to ask.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// They change with the release only.
const KEPT: &str = "private, max-age=3600";
const INDEX: &str = "/swagger/index.html";

type Ui = Arc<Config<'static>>;

/// They come in after the document was made: they are pages, and no part of the API.
pub(super) fn routes(door: &mut Door) {
    // A validator of others would be sent the address of the document.
    let config = Config::from("../openapi.json").validator_url("none").display_request_duration(true).filter(true);
    for path in ["/swagger", "/swagger/"] {
        door.add(get(path, Access::Open), || async { Redirect::permanent(INDEX) }, ());
    }
    door.add(get("/swagger/{file}", Access::Open), file, Arc::new(config));
}

async fn file(State(config): State<Ui>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = serve(&name, config).map_err(|error| {
        tracing::error!(%error, name, "a page of Swagger UI cannot be made");
        ApiError::new(Code::InternalError, "this page cannot be made; the log says more")
    })?;
    let found = found.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no page `{name}`")))?;
    let headers = [
        (header::CONTENT_TYPE, found.content_type.as_str()),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, KEPT),
    ];
    Ok((headers, found.bytes.into_owned()).into_response())
}
