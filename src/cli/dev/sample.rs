//! The sample: an organization, an integration, an event that arrives, and what to try next.

use std::time::Duration;

use anyhow::bail;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::receiver::Shown;
use super::{Kept, Key};

const ORG: &str = "648";
/// Id, name, event type and path at the receiver, which refuses each delivery to `/flaky` twice.
const INTEGRATIONS: [(&str, &str, &str, &str); 3] = [
    ("sample-patients", "Patients to the sample receiver", "patient.*", "/patients"),
    ("sample-appointments", "Appointments to the sample receiver", "appointment.*", "/appointments"),
    ("sample-flaky", "New patients to a receiver that fails twice", "patient.created", "/flaky"),
];
/// A gateway that is new to its Kafka makes topics and joins groups first.
const READY_WITHIN: Duration = Duration::from_secs(60);
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

pub(super) struct Sample<'a> {
    pub api: &'a str,
    pub key: &'a Key,
    /// Who may log in, as a line.
    pub login: &'a str,
    pub receiver: &'a str,
}

impl Sample<'_> {
    /// Sets the sample up, sends an event and waits until the receiver has it.
    pub async fn run(&self, receiver: &mut Shown, kept: &Kept) -> anyhow::Result<()> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        self.ready(&client).await?;
        println!(
            "Tidegate is up at {}  (admin key: {})\n{}\n{}\n",
            self.api,
            self.key.shown(),
            self.login,
            kept.engine()
        );
        let org = json!({"orgId": ORG, "name": "City Clinic"});
        self.ensure(&client, ("admin/organizations", ORG, ""), &org).await?;
        let query = format!("?orgId={ORG}");
        for (id, name, event_type, path) in INTEGRATIONS {
            let integration = json!({
                "id": id, "orgId": ORG, "name": name, "eventType": event_type, "targetUrl": format!("{}{path}", self.receiver),
                "retry": {"maxAttempts": 5, "delays": ["1s", "3s", "10s"], "jitter": 0.0},
            });
            self.ensure(&client, ("outbound-integrations", id, &query), &integration).await?;
        }
        println!("One event, on its way to two integrations at {}, one of which fails twice:", self.receiver);
        let event = json!({"eventType": "patient.created", "entityId": "Patient/1", "payload": {"id": 1, "name": "Ada Sample"}});
        let (status, answer) = self.call(&client, Method::POST, &format!("events?orgId={ORG}"), Some(&event)).await?;
        if status != StatusCode::ACCEPTED {
            bail!("the event was answered {status}: {answer}");
        }
        if !receiver.first(ARRIVES_WITHIN).await {
            bail!("the event was accepted but has not arrived after {ARRIVES_WITHIN:?}; look at the log above");
        }
        Ok(())
    }

    /// What to do next, ready to be copied.
    pub fn what_to_try(&self, kept: &Kept) -> String {
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

    /// Creates the resource, or replaces what an earlier run left.
    async fn ensure(&self, client: &Client, (kind, id, query): (&str, &str, &str), body: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.call(client, Method::POST, &format!("{kind}{query}"), Some(body)).await?;
        let (status, answer) = match status {
            StatusCode::CONFLICT => self.call(client, Method::PUT, &format!("{kind}/{id}{query}"), Some(body)).await?,
            _ => (status, answer),
        };
        if !status.is_success() {
            bail!("{kind}/{id} was answered {status}: {answer}");
        }
        Ok(())
    }

    async fn call(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let mut request =
            client.request(method, format!("{}/api/v1/{path}", self.api)).header("X-API-Key", self.key.secret());
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }
}
