//! The log is away: what is read is answered from what was read before, and says how old it may be; what is written is refused.

use std::time::Duration;

use super::*;

const AGED: [&str; 4] =
    [ORGS, "/api/v1/outbound-integrations", "/api/v1/outbound-integrations/bills", "/api/v1/admin/catalog/export"];

#[tokio::test]
async fn with_the_log_away_reads_are_answered_with_their_age_and_writes_are_refused() {
    let api = Api::with_bills().await;
    api.catalog.is_current(api.clock.now());
    for uri in AGED {
        assert_eq!(api.get(uri).await.header("age"), "", "{uri} is current");
    }
    api.log.0.go_away(true);
    api.clock.advance(Duration::from_secs(42));
    for uri in AGED {
        let answer = api.get(uri).await;
        assert_eq!((answer.status.as_u16(), answer.header("age")), (200, "42"), "{uri}: {}", answer.text);
    }
    assert_eq!(api.get("/api/v1/lookups/none").await.header("age"), "", "what is not there has no age");
    assert_eq!(api.get("/health").await.header("age"), "", "it is not made of the catalog");
    for (method, uri, body) in [
        ("POST", ORGS.to_owned(), json!({"orgId": "650", "name": "New"})),
        ("PATCH", format!("{INTEGRATIONS}/bills"), json!({"timeoutMs": 500})),
        ("DELETE", format!("{INTEGRATIONS}/bills"), json!({})),
        ("POST", format!("{INTEGRATIONS}/bills/disable"), json!({})),
        ("POST", "/api/v1/admin/catalog/apply".to_owned(), json!({"resources": [], "dryRun": true})),
    ] {
        let answer = api.write(method, &uri, &[], body.to_string()).await;
        assert_error(&answer, 503, "SERVICE_UNAVAILABLE");
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|s| s >= 1), "{method} {uri}");
        assert_eq!(answer.header("age"), "", "{method} {uri}");
    }
    api.log.0.go_away(false);
    api.catalog.is_current(api.clock.now());
    assert_eq!(api.get(ORGS).await.header("age"), "");
}
