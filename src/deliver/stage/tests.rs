use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use super::*;
use crate::deliver::testing::{DELIVERY, Does, NOW, OK, Receiver, delivery, integration};
use crate::model::time::ManualClock;
use crate::model::topic::Topic;

/// What the app would answer from its snapshot.
struct Known {
    integrations: Mutex<Vec<Arc<OutboundIntegration>>>,
    position: AtomicI64,
}

impl Integrations for Known {
    fn get(&self, id: &IntegrationId) -> Option<Arc<OutboundIntegration>> {
        lock(&self.integrations).iter().find(|i| i.id == *id).cloned()
    }

    fn position(&self) -> Offset {
        Offset(self.position.load(Ordering::SeqCst))
    }
}

struct Stage {
    known: Arc<Known>,
    deliver: Deliver,
}

fn stage(integrations: Vec<OutboundIntegration>, allow: &str) -> Stage {
    let integrations = Mutex::new(integrations.into_iter().map(Arc::new).collect());
    let known = Arc::new(Known { integrations, position: AtomicI64::new(40) });
    let config = DeliverConfig { allow: allow.parse().unwrap(), longest_wait: Duration::from_secs(144 * 3_600) };
    let deliver = Deliver::new(known.clone(), Arc::new(ManualClock::at(NOW)), config).unwrap();
    Stage { known, deliver }
}

fn job(record: &Received, attempt: u32) -> Job<'_> {
    Job { record, attempt, first_at: (attempt > 1).then_some(Timestamp(NOW.0 - 1_000)) }
}

/// Attempts the delivery once at a receiver on loopback.
async fn attempted(receiver: &Receiver, attempt: u32, change: impl FnOnce(&mut OutboundIntegration)) -> Attempted {
    let mut target = integration(&receiver.url());
    change(&mut target);
    let stage = stage(vec![target], "127.0.0.0/8");
    stage.deliver.attempt(job(&delivery(), attempt)).await
}

fn told(outputs: &[Output]) -> Value {
    assert_eq!(outputs[0].topic, Topic::Attempts);
    assert_eq!(outputs[0].record.key.as_deref(), Some(DELIVERY.as_bytes()));
    serde_json::from_slice(outputs[0].record.value.as_deref().unwrap()).unwrap()
}

fn retry_in(attempted: &Attempted) -> Duration {
    match &attempted.outcome {
        Outcome::Retry { due, .. } => due.since(NOW),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_delivery_arrives_with_its_payload_and_everything_that_names_it() {
    let receiver = Receiver::that(OK).await;
    let attempted = attempted(&receiver, 1, |i| {
        i.headers = vec![
            ("x-own".parse().unwrap(), "1".parse().unwrap()),
            ("host".parse().unwrap(), "elsewhere".parse().unwrap()),
            ("user-agent".parse().unwrap(), "mine".parse().unwrap()),
            ("idempotency-key".parse().unwrap(), "mine".parse().unwrap()),
            ("ce-id".parse().unwrap(), "mine".parse().unwrap()),
            ("content-length".parse().unwrap(), "1".parse().unwrap()),
        ];
    })
    .await;
    assert_eq!(attempted.outcome, Outcome::Delivered);
    let request = receiver.request();
    assert!(request.starts_with("POST /hook?a=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"amount\":101}"), "{request}");
    let lines: Vec<&str> = request.lines().collect();
    let address = format!("host: {}", receiver.address);
    let expected = [
        "ce-specversion: 1.0",
        "ce-id: e-1",
        "ce-type: bill.created",
        "ce-subject: Patient/7%20%C3%A9",
        "ce-correlationid: c%201",
        "x-correlation-id: c 1",
        "content-type: application/json",
        "content-length: 14",
        "x-own: 1",
        concat!("user-agent: Tidegate/", env!("CARGO_PKG_VERSION")),
        "idempotency-key: 0197a0b2-3c4d-8e5f-8a6b-7c8d9e0f1a2b",
        &address,
    ];
    for line in expected {
        let name = line.split_once(": ").unwrap().0;
        let found: Vec<_> = lines.iter().filter(|l| l.starts_with(&format!("{name}: "))).collect();
        assert_eq!(found, [&line], "{request}");
    }
    let trace = lines.iter().find_map(|l| l.strip_prefix("traceparent: ")).unwrap();
    assert!(trace.starts_with("00-0197a0b23c4d8e5f8a6b7c8d9e0f1a2b-") && trace.len() == 55, "{trace}");
    assert!(!request.contains("tg_") && !request.contains("elsewhere") && !request.contains("mine"), "{request}");
}
