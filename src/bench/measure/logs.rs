//! Pages of deliveries from a large store, by each filter that people use.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::Measuring;
use crate::bench::gateway::Gateway;
use crate::history::rows::{About, Batch, Fact, Rank, State, Tried};
use crate::history::sqlite::SqliteStore;
use crate::history::store::Store as _;
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::DeliveryId;
use crate::model::time::{Clock as _, SystemClock, Timestamp};

/// Of one transaction.
const BATCH: u32 = 2_000;
/// How often each page is asked for, after the first time.
const TIMES: u32 = 20;
/// Deliveries are spread over so much time.
const SPAN: Duration = Duration::from_secs(20 * 86_400);
const INTEGRATIONS: u32 = 200;
const ORGS: u32 = 20;
const TYPES: u32 = 40;

/// How long one filter's page took.
pub(super) struct Asked {
    name: &'static str,
    pub(super) first_ms: f64,
    pub(super) p50_ms: f64,
    p99_ms: f64,
    total: u64,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { name, first_ms, p50_ms, p99_ms, total } = self;
        write!(f, "{name}: first {first_ms:.1}, p50 {p50_ms:.1}, p99 {p99_ms:.1} ms ({total} found)")
    }
}

impl Measuring {
    pub(super) async fn logs(&mut self) -> anyhow::Result<()> {
        let Some(setups) = &self.gateway else { return Ok(()) };
        self.progress.step("a large history: making it");
        let setup = setups.plain.answering()?;
        let now = SystemClock.now();
        // Makes the log, whose history is then filled: that of another log would be refused.
        let gateway = setup.start().await?;
        gateway.logs("eventId=none").await?;
        gateway.stop().await?;
        self.fill(&setup.folder.join("history.db"), now).await?;
        self.progress.step("a large history: pages");
        let gateway = setup.start().await?;
        // The history may be opened a moment after the rest is ready.
        gateway.logs("eventId=none").await?;
        for (name, query) in self.queries(now) {
            let asked = ask(&gateway, (name, &query)).await.with_context(|| format!("{name}: {query}"))?;
            self.extra.pages.push(asked);
        }
        gateway.stop().await?;
        Ok(())
    }

    async fn fill(&self, path: &Path, now: Timestamp) -> anyhow::Result<()> {
        let store = SqliteStore::open(path, &*log_of(path).await?).await?;
        let rows = self.extent.logs;
        for first in (0..rows).step_by(BATCH as usize) {
            let facts = (first..rows.min(first + BATCH)).map(|n| sample(n, (rows, now))).collect();
            store.write(&Batch { facts, ..Batch::default() }).await?;
            self.progress.detail(first.into(), rows.into());
        }
        Ok(())
    }

    /// What people look for: often much, rarely something, and what is not there at all.
    fn queries(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let some = self.extent.logs / 3;
        let one = sample(some, (self.extent.logs, now));
        let elsewhere = (integration(some) + 1) % TYPES;
        let of = |value: Option<String>| value.unwrap_or_default();
        let about = one.about;
        let (org, bills, kind) = (of(about.org), of(about.integration_id), of(about.event_type));
        let day = |before: i64| Timestamp(now.0 - before * 86_400_000).to_string();
        vec![
            ("newest", String::new()),
            ("page 200", "page=200".into()),
            ("status", "status=SUCCESS".into()),
            ("status, few", "status=RETRYING".into()),
            ("status, none", "status=CANCELLED".into()),
            ("several statuses", "status=PENDING,RETRYING,ABANDONED".into()),
            ("dead letters", "status=FAILED,ABANDONED".into()),
            ("org and status", format!("orgId={org}&status=SUCCESS")),
            ("org and status, few", format!("orgId={org}&status=FAILED")),
            ("integration", format!("integrationId={bills}")),
            ("integration and status, few", format!("integrationId={bills}&status=RETRYING")),
            ("org and type", format!("orgId={org}&eventType={kind}")),
            ("org, status and type", format!("orgId={org}&status=SUCCESS&eventType={kind}")),
            ("org, status and type, few", format!("orgId={org}&status=ABANDONED&eventType={kind}")),
            ("org and type that never meet", format!("orgId={org}&eventType=kind.{elsewhere}")),
            ("error category", "errorCategory=TIMEOUT".into()),
            ("error category and type", format!("errorCategory=HTTP_5XX&eventType={kind}")),
            ("dates", format!("startDate={}&endDate={}", day(12), day(11))),
            ("dates, org and status", format!("startDate={}&endDate={}&orgId={org}&status=SUCCESS", day(18), day(2))),
            ("old dates, status, few", format!("endDate={}&status=RETRYING", day(17))),
            ("event", format!("eventId={}", of(about.event_id.clone()))),
            ("entity", format!("entityId={}", of(about.entity_id.clone()))),
            ("correlation", format!("correlationId={}", of(about.correlation_id.clone()))),
            ("search event id", format!("search={}", of(about.event_id))),
            ("search entity id", format!("search={}", of(about.entity_id))),
            ("search correlation id", format!("search={}", of(about.correlation_id))),
            ("search delivery id", format!("search={}", one.id)),
            ("search part of a name", "search=billing 17".into()),
            ("search part of many names", "search=billing".into()),
            ("search part of an error", "search=upstream".into()),
            ("search part of one error", format!("search=request r{}", some - some % 100 + 3)),
            ("search in vain", "search=zeppelin".into()),
            ("search in vain, org and status", format!("search=zeppelin&orgId={org}&status=FAILED")),
        ]
    }
}

/// The name of the log that the history in this file is of.
async fn log_of(path: &Path) -> anyhow::Result<String> {
    let mut file = SqliteConnectOptions::new().filename(path).read_only(true).connect().await?;
    let row = sqlx::query("SELECT log FROM origin").fetch_one(&mut file).await?;
    let log = row.try_get(0)?;
    file.close().await?;
    Ok(log)
}

/// One in twenty-five has gone wrong or is not done; the rest was delivered.
fn sample(n: u32, (rows, now): (u32, Timestamp)) -> Fact {
    use DeliveryStatus::{Abandoned, Failed, Pending, Retrying, Success};
    let (status, category) = match n % 100 {
        0 => (Pending, None),
        1 => (Retrying, Some(ErrorCategory::Timeout)),
        2 => (Failed, Some(ErrorCategory::Http4xx)),
        3 => (Abandoned, Some(ErrorCategory::Http5xx)),
        _ => (Success, None),
    };
    let age = SPAN.as_millis() as i64 * i64::from(rows - n) / i64::from(rows);
    let at = Timestamp(now.0 - age);
    let integration = integration(n);
    let text = |text: String| Some(text);
    let id = DeliveryId(uuid::Uuid::new_v8((u128::from(at.0.unsigned_abs()) << 80 | u128::from(n)).to_be_bytes()));
    Fact {
        id,
        about: About {
            org: text(format!("org-{}", integration % ORGS)),
            event_id: text(format!("event-{n}")),
            source: text("/bench".into()),
            event_type: text(format!("kind.{}", integration % TYPES)),
            entity_id: text(format!("Patient/{}", n % 50_000)),
            entity_rid: None,
            correlation_id: text(format!("correlation-{}", n / 3)),
            trace_id: text(id.0.simple().to_string()),
            integration_id: text(format!("integration-{integration}")),
            action: None,
            trigger: text("EVENT".into()),
        },
        tried: Some(Tried {
            integration_name: text(format!("Billing {integration}")),
            target_url: text(format!("https://receiver.example/{integration}/hook")),
            http_method: text("POST".into()),
            max_attempts: Some(5),
        }),
        state: State {
            status,
            category,
            error: category.map(|_| format!("answered 503: upstream is away, request r{n}")),
            response_status: Some(if category.is_some() { 503 } else { 200 }),
            duration_ms: Some(12.5),
            attempts: 1,
            next_attempt_at: None,
            delivered_at: (status == Success).then_some(at),
        },
        at,
        rank: Rank { attempts: 1, redrives: 0, step: 2, offset: i64::from(n) },
    }
}

/// Of delivery `n`. It is of one organization and hears one type.
fn integration(n: u32) -> u32 {
    n.wrapping_mul(2_654_435_761) / 7 % INTEGRATIONS
}

async fn ask(gateway: &Gateway, (name, query): (&'static str, &str)) -> anyhow::Result<Asked> {
    let query = query.replace(' ', "%20");
    let path = format!("/api/v1/logs?limit=50&{query}");
    let page = async || {
        let begun = Instant::now();
        gateway.get(&path).await.map(|_| begun.elapsed())
    };
    let first = page().await?;
    let mut all = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    for _ in 0..TIMES {
        all.saturating_record(u64::try_from(page().await?.as_micros()).unwrap_or(u64::MAX));
    }
    let ms = |q: f64| all.value_at_quantile(q) as f64 / 1_000.0;
    let total = gateway.logs(&query).await?;
    Ok(Asked { name, first_ms: first.as_secs_f64() * 1_000.0, p50_ms: ms(0.5), p99_ms: ms(0.99), total })
}
