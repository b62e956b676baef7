//! Publishing over REST and nothing around it: who asks, what is asked and what is known already do not matter.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::join_all;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bench::broker::Broker;
use crate::model::topic::Topic;

/// Takes events until it is stopped or dropped.
pub struct BarePublish {
    pub address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

struct Producing {
    producer: FutureProducer,
    topic: String,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

impl BarePublish {
    pub async fn start(broker: &Broker, prefix: &str) -> anyhow::Result<BarePublish> {
        let producer = broker.producer(None).create()?;
        let state = Arc::new(Producing { producer, topic: Topic::Events.full_name(prefix) });
        let routes = Router::new()
            .route("/api/v1/events", post(one))
            .route("/api/v1/events/batch", post(batch))
            .with_state(state);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        Ok(BarePublish { address, stop, server: tokio::spawn(serve.into_future()) })
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.server.await.context("the bare publisher panicked")??)
    }
}

async fn one(State(to): State<Arc<Producing>>, body: Bytes) -> Response {
    answer(to.produce([&body[..]]).await)
}

async fn batch(State(to): State<Arc<Producing>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Batch<'_>>(&body) {
        Ok(batch) => answer(to.produce(batch.events.iter().map(|event| event.get().as_bytes())).await),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn answer(produced: anyhow::Result<usize>) -> Response {
    match produced {
        Ok(accepted) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (StatusCode::ACCEPTED, json, format!(r#"{{"accepted":{accepted}}}"#)).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}")).into_response(),
    }
}

impl Producing {
    /// How many events the log has now.
    async fn produce(&self, events: impl IntoIterator<Item = &[u8]>) -> anyhow::Result<usize> {
        let mut reports = Vec::new();
        for event in events {
            reports.push(self.send(event)?);
        }
        let sent = reports.len();
        for report in join_all(reports).await {
            report?.map_err(|(error, _)| error)?;
        }
        Ok(sent)
    }

    fn send(&self, event: &[u8]) -> anyhow::Result<DeliveryFuture> {
        let record = FutureRecord::<[u8], [u8]>::to(&self.topic).payload(event);
        Ok(self.producer.send_result(record).map_err(|(error, _)| error)?)
    }
}
