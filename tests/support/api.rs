//! The gateway's API as a client of it sees it.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::gateway::ADMIN_KEY;
use super::{SOON, until};

/// A client; it outlives the process and talks to its successor.
#[derive(Clone)]
pub struct Api {
    base: String,
    http: Client,
}

/// An answer: status and body, `Null` where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Api {
    pub fn new(base: String) -> Api {
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client");
        Api { base, http }
    }

    pub async fn is_ready(&self) -> bool {
        let asked = self.http.get(format!("{}/health/ready", self.base)).timeout(Duration::from_secs(2)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    }

    /// A text as it is served: `/metrics`, `/health`.
    pub async fn text(&self, path: &str) -> Result<(u16, String), reqwest::Error> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Any call below `/api/v1`.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, reqwest::Error> {
        let body = body.map(|b| b.to_string().into_bytes());
        self.send(method, path, body, "application/json").await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        content_type: &str,
    ) -> Result<Reply, reqwest::Error> {
        let mut request =
            self.http.request(method, format!("{}/api/v1/{path}", self.base)).header("x-api-key", ADMIN_KEY);
        if let Some(body) = body {
            request = request.header("content-type", content_type).body(body);
        }
        read(request.send().await?).await
    }

    /// The headers of an answer, whatever it is.
    pub async fn heard(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, HeaderMap) {
        let mut request =
            self.http.request(method, format!("{}/api/v1/{path}", self.base)).header("x-api-key", ADMIN_KEY);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer in time");
        (answer.status().as_u16(), answer.headers().clone())
    }

    /// RFC 7396, where it is still at this version.
    pub async fn patch(&self, path: &str, body: &Value, version: Option<u64>) -> Result<Reply, reqwest::Error> {
        let mut request = self.http.patch(format!("{}/api/v1/{path}", self.base)).header("x-api-key", ADMIN_KEY);
        if let Some(version) = version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        let request = request.header("content-type", "application/merge-patch+json").body(body.to_string());
        read(request.send().await?).await
    }

    pub async fn org(&self, id: &str) {
        let body = json!({"orgId": id, "name": format!("Organization {id}")});
        self.expect(201, Method::POST, "admin/organizations", Some(&body)).await;
    }

    /// Creates an integration: `fields` beside id, org, name and target.
    pub async fn integration(&self, id: &str, target: &str, fields: Value) {
        let mut body = json!({"id": id, "orgId": "648", "name": id, "eventType": "*", "targetUrl": target});
        let known = body.as_object_mut().expect("an object");
        known.extend(fields.as_object().expect("fields").clone());
        self.expect(201, Method::POST, "outbound-integrations", Some(&body)).await;
    }

    pub async fn enable(&self, id: &str) {
        self.expect(200, Method::POST, &format!("outbound-integrations/{id}/enable"), None).await;
    }

    pub async fn disable(&self, id: &str) {
        self.expect(200, Method::POST, &format!("outbound-integrations/{id}/disable"), None).await;
    }

    pub async fn delete(&self, id: &str) {
        self.expect(204, Method::DELETE, &format!("outbound-integrations/{id}"), None).await;
    }

    /// Publishes one event that must be accepted.
    pub async fn publish(&self, event: &Value) {
        self.expect(202, Method::POST, "events?orgId=648", Some(event)).await;
    }

    /// Publishes events that must all be accepted.
    pub async fn publish_all(&self, events: &[Value]) {
        let reply = self.expect(202, Method::POST, "events/batch?orgId=648", Some(&json!({"events": events}))).await;
        assert_eq!(reply.body["accepted"], events.len(), "{:.600}", reply.body);
    }

    /// Publishes events; were they all accepted? Not an answer is not a yes.
    pub async fn try_publish(&self, events: &[Value]) -> bool {
        let body = json!({"events": events});
        let reply = self.call(Method::POST, "events/batch?orgId=648", Some(&body)).await;
        reply.is_ok_and(|r| r.status == 202 && r.body["accepted"] == events.len())
    }

    /// Until the API gives this status. A gateway whose catalog seat is elsewhere, or whose broker is just back, may say 503
    /// for a moment and asks to be asked again; anything else is a failure at once.
    pub async fn expect(&self, status: u16, method: Method, path: &str, body: Option<&Value>) -> Reply {
        until(&format!("{method} {path}: {status}"), SOON, async || {
            let reply = self.call(method.clone(), path, body).await;
            let reply = reply.unwrap_or_else(|e| panic!("{method} {path}: {e:?}"));
            let passes = reply.status == 503 && status != 503;
            assert!(passes || reply.status == status, "{method} {path}: {} {:.600}", reply.status, reply.body);
            (!passes).then_some(reply)
        })
        .await
    }
}

async fn read(answer: reqwest::Response) -> Result<Reply, reqwest::Error> {
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(if text.is_empty() { Value::Null } else { Value::String(text) });
    Ok(Reply { status, body })
}

/// An event as a client writes it.
pub fn event(id: &str, event_type: &str) -> Value {
    json!({"id": id, "eventType": event_type, "entityId": format!("Patient/{id}"), "payload": {"id": id, "note": "as sent"}})
}

/// `<label>-00000`, `<label>-00001`, ...
pub fn ids(label: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{label}-{n:05}")).collect()
}

/// One event for each id.
pub fn events(ids: &[String], event_type: &str) -> Vec<Value> {
    ids.iter().map(|id| event(id, event_type)).collect()
}
