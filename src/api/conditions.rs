//! Versions as ETags: `"3"` is the third version of a resource.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::catalog::change::Condition;

pub fn etag(version: u64) -> HeaderValue {
    // Digits in quotes are always a valid header value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The versions that `If-Match` names (RFC 9110, 13.1.1). A tag that was never given out matches nothing. Weak tags count too:
/// proxies that compress make strong ones weak.
pub fn if_match(headers: &HeaderMap) -> Condition {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        tags.extend(value.to_str().unwrap_or_default().split(',').map(str::trim));
    }
    if tags.is_empty() || tags.contains(&"*") {
        return Condition::None;
    }
    let version = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse().ok();
    Condition::Versions(tags.into_iter().filter_map(version).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_if_match_that_cannot_be_understood_never_lets_a_change_through() {
        let cases: [(&[&str], Condition); 7] = [
            (&[], Condition::None),
            (&["*"], Condition::None),
            (&["\"3\""], Condition::Versions(vec![3])),
            (&["\"3\", W/\"4\"", "5"], Condition::Versions(vec![3, 4, 5])),
            (&["\"abc\""], Condition::Versions(vec![])),
            (&["\"-1\""], Condition::Versions(vec![])),
            (&[""], Condition::Versions(vec![])),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, value.parse().unwrap());
            }
            assert_eq!(if_match(&headers), expected, "{values:?}");
        }
    }
}
