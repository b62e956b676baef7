//! The two HTTP clients and how they connect.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tower::{BoxError, Service};

use super::CONNECT_TIMEOUT;
use super::resolve::GuardedResolver;

type Http = HttpConnector<GuardedResolver>;
pub(super) type PlainClient = Client<InTime<Http>, Full<Bytes>>;
pub(super) type TlsClient = Client<InTime<HttpsConnector<Http>>, Full<Bytes>>;

/// Below the 5 s after which Node, uvicorn and Apache close an idle connection, lest a request meets the closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const IDLE_PER_HOST: usize = 256;
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const HTTP2_PING: Duration = Duration::from_secs(15);

pub(super) fn plain(resolver: GuardedResolver) -> PlainClient {
    pool().build(InTime(http(resolver)))
}

/// With the certificates of authorities that the system trusts.
pub(super) fn tls(resolver: GuardedResolver) -> Result<TlsClient, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    let mut http = http(resolver);
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_all_versions();
    Ok(pool().build(InTime(https.wrap_connector(http))))
}

fn http(resolver: GuardedResolver) -> Http {
    let mut http = HttpConnector::new_with_resolver(resolver);
    http.set_nodelay(true);
    http.set_keepalive(Some(TCP_KEEPALIVE));
    http
}

fn pool() -> hyper_util::client::legacy::Builder {
    let mut pool = Client::builder(TokioExecutor::new());
    pool.timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http2_keep_alive_interval(HTTP2_PING)
        .http2_keep_alive_timeout(CONNECT_TIMEOUT);
    pool
}

/// A connector that gives up in time. The client finishes a connection that nobody waits for any more in the background, so
/// the time-out of the request is not enough.
#[derive(Clone, Debug)]
pub(super) struct InTime<C>(C);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection took too long")]
pub(super) struct ConnectTimedOut;

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<C::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.0.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(ConnectTimedOut.into()),
            }
        })
    }
}
