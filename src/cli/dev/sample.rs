//! The sample: an organization, an integration, an event that arrives, and what to try next.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Kept;
use super::access::{Key, Login};
use super::made::{Made, REQUEST, Step, TARGET};
use super::receiver::Shown;
use crate::catalog::{self, Kind};
use crate::cli::output::say;
use crate::config::Config;

const ORG: &str = "648";

struct Integration {
    id: &'static str,
    name: &'static str,
    event_type: &'static str,
    /// At the receiver, which refuses each delivery to `/flaky` twice.
    path: &'static str,
}

const INTEGRATIONS: [Integration; 3] = [
    Integration {
        id: "sample-patients",
        name: "Patients to the sample receiver",
        event_type: "patient.*",
        path: "/patients",
    },
    Integration {
        id: "sample-appointments",
        name: "Appointments to the sample receiver",
        event_type: "appointment.*",
        path: "/appointments",
    },
    Integration {
        id: FLAKY,
        name: "New patients to a receiver that fails twice",
        event_type: "patient.created",
        path: "/flaky",
    },
];
/// Of those, what the event of the start goes to.
const SENT_TO: [&str; 2] = ["sample-patients", FLAKY];
const FLAKY: &str = "sample-flaky";
/// A gateway that is new to its Kafka makes topics and joins groups first.
const READY_WITHIN: Duration = Duration::from_secs(60);
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

pub(super) struct Sample<'a> {
    pub config: &'a Config,
    pub api: &'a str,
    pub key: &'a Key,
    pub login: &'a Login,
    /// Its base URL.
    pub receiver: String,
}

impl Sample<'_> {
    /// Sets the sample up, sends an event, waits until the receiver has it, and says what to try.
    pub async fn run(&self, receiver: &mut Shown, kept: &Kept) -> anyhow::Result<()> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        self.ready(&client).await?;
        let login = self.login.line(self.can_log_in(&client).await?);
        let (key, engine) = (self.key.shown(), kept.engine());
        say(&format!("Tidegate is up at {}  (admin key: {key})\n{login}\n{engine}\n", self.api));
        let waiting = self.set_up(&client).await?;
        if waiting.is_empty() {
            say(&format!(
                "No event is sent: nothing of the sample sends to {} any more, as you left it.",
                self.receiver
            ));
        } else {
            let refuses = if waiting.contains(&FLAKY) { ", which refuses the last twice" } else { "" };
            let to = waiting.join(" and ");
            say(&format!("One event, on its way to {to} at {}{refuses}:", self.receiver));
            let event = json!({"eventType": "patient.created", "entityId": "Patient/1", "payload": {"id": 1, "name": "Ada Sample"}});
            // What is set up so that it is refused, or goes elsewhere, is no reason to stop.
            if let Err(error) = self.done(&client, (Method::POST, &format!("events?orgId={ORG}")), &event).await {
                say(&format!("It was not accepted: {error:#}"));
            } else if !receiver.first(ARRIVES_WITHIN).await {
                say(&format!("It was accepted but has not arrived after {ARRIVES_WITHIN:?}: `logs` below tells why."));
            }
        }
        say(&self.what_to_try(kept));
        Ok(())
    }

    /// Whether the first administrator may have the password still that they were made with.
    async fn can_log_in(&self, client: &Client) -> anyhow::Result<bool> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let there = self.get(client, "admin/users?limit=1").await?;
            // They are made beside what is ready.
            let is_made = there.is_some_and(|page| page["users"].as_array().is_some_and(|users| !users.is_empty()));
            if is_made || Instant::now() > deadline {
                break;
            }
        }
        let login = json!({"email": self.login.email, "password": self.login.password});
        Ok(self.call(client, (Method::POST, "auth/login"), Some(&login)).await?.0 != StatusCode::UNAUTHORIZED)
    }

    /// What to do next, ready to be copied.
    fn what_to_try(&self, kept: &Kept) -> String {
        let (api, key) = (self.api, self.key.shown());
        // As it was called, so that the line works where nothing is installed.
        let program = std::env::args().next().unwrap_or_else(|| "tidegate".to_owned());
        let story = match kept {
            Kept::Kafka { brokers, prefix } => format!(
                "  kcat -b {brokers} -C -t {prefix}.attempts -o beginning -e -q -f '%h\\n'      the story of each attempt\n"
            ),
            Kept::Folder(_) => String::new(),
        };
        format!(
            "\nTry it:\n\n  curl -X POST '{api}/api/v1/events?orgId={ORG}' -H \"X-API-Key: {key}\" -H 'content-type: application/json' \\\n    \
             -d '{{\"eventType\":\"appointment.created\",\"entityId\":\"Appointment/2\",\"payload\":{{\"id\":2,\"patient\":\"Grace Example\"}}}}'\n\n\
             {story}  {program} logs --api {api}      what became of it\n  curl {api}/metrics\n\nctrl-C ends it.\n"
        )
    }

    async fn ready(&self, client: &Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let answer = client.get(format!("{}/health/ready", self.api)).send().await;
            if answer.as_ref().is_ok_and(|a| a.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the gateway is not ready after {READY_WITHIN:?}: {answer:?}");
            }
        }
    }

    /// Makes of the sample what never was; what was changed or deleted stays so. Answers what the event of the start goes to.
    async fn set_up(&self, client: &Client) -> anyhow::Result<Vec<&'static str>> {
        let made = Made::read(self.config).await.context("what earlier runs made cannot be read")?;
        let org = key(Kind::Organization, ORG)?;
        let path = format!("admin/organizations/{ORG}");
        if self.get(client, &path).await?.is_none() {
            if made.was(&org) {
                return Ok(Vec::new());
            }
            let body = json!({"orgId": ORG, "name": "City Clinic"});
            self.done(client, (Method::POST, "admin/organizations"), &body).await?;
        }
        let mut waiting = Vec::new();
        for integration in &INTEGRATIONS {
            if self.integration(client, integration, &made).await? && SENT_TO.contains(&integration.id) {
                waiting.push(integration.id);
            }
        }
        Ok(waiting)
    }

    /// Whether it sends to the receiver.
    async fn integration(&self, client: &Client, it: &Integration, made: &Made) -> anyhow::Result<bool> {
        let path = format!("outbound-integrations/{}?orgId={ORG}", it.id);
        let there = self.get(client, &path).await?;
        let target = format!("{}{}", self.receiver, it.path);
        let now = there.as_ref().map(|there| there[TARGET].as_str().unwrap_or_default());
        match made.step(&key(Kind::OutboundIntegration, it.id)?, now, &target) {
            Step::Create => {
                let body = json!({
                    "id": it.id, "orgId": ORG, "name": it.name, "eventType": it.event_type, TARGET: target,
                    "retry": {"maxAttempts": 5, "delays": ["1s", "3s", "10s"], "jitter": 0.0},
                });
                let many = format!("outbound-integrations?orgId={ORG}");
                self.done(client, (Method::POST, &many), &body).await?;
                Ok(true)
            }
            Step::Readdress => {
                self.done(client, (Method::PATCH, &path), &json!({TARGET: target})).await?;
                Ok(is_active(there.as_ref()))
            }
            Step::Leave => Ok(now == Some(&*target) && is_active(there.as_ref())),
        }
    }

    /// The resource, where it is there.
    async fn get(&self, client: &Client, path: &str) -> anyhow::Result<Option<Value>> {
        match self.call(client, (Method::GET, path), None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::OK, answer) => Ok(Some(serde_json::from_str(&answer)?)),
            (status, answer) => bail!("{path} was answered {status}: {answer}"),
        }
    }

    async fn done(&self, client: &Client, (method, path): (Method, &str), body: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.call(client, (method, path), Some(body)).await?;
        if !status.is_success() {
            bail!("{path} was answered {status}: {answer}");
        }
        Ok(())
    }

    async fn call(
        &self,
        client: &Client,
        (method, path): (Method, &str),
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = client.request(method, format!("{}/api/v1/{path}", self.api));
        request = request.header("X-API-Key", self.key.secret()).header("X-Request-Id", REQUEST);
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }
}

fn is_active(integration: Option<&Value>) -> bool {
    integration.is_some_and(|integration| integration["isActive"] == true)
}

fn key(kind: Kind, id: &str) -> anyhow::Result<catalog::Key> {
    catalog::Key::of(kind, id).with_context(|| format!("{id} is no id"))
}
