//! Versions as ETags: `"3-1763801234567"` is the third version of the resource that was made at that millisecond.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::catalog::change::{Condition, Tag};
use crate::catalog::resource::Revision;
use crate::model::time::Timestamp;

pub fn etag(revision: &Revision) -> HeaderValue {
    let tag = format!("\"{}-{}\"", revision.version, revision.created_at.0);
    // Digits and a dash in quotes are always a valid header value.
    HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The versions that `If-Match` names (RFC 9110, 13.1.1). A tag that was never given out matches nothing, but for the bare number
/// of a version, which is that version of whatever has the id. Weak tags count too: proxies that compress make strong ones weak.
pub fn if_match(headers: &HeaderMap) -> Condition {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        tags.extend(value.to_str().unwrap_or_default().split(',').map(str::trim));
    }
    if tags.is_empty() || tags.contains(&"*") {
        return Condition::None;
    }
    Condition::Versions(tags.into_iter().filter_map(tag).collect())
}

fn tag(text: &str) -> Option<Tag> {
    let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
    let (version, made_at) = match text.split_once('-') {
        Some((version, made_at)) => (version, Some(Timestamp(made_at.parse().ok()?))),
        None => (text, None),
    };
    Some(Tag { version: version.parse().ok()?, made_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_if_match_that_cannot_be_understood_never_lets_a_change_through() {
        let any = |version| Tag { version, made_at: None };
        let made = |version, at| Tag { version, made_at: Some(Timestamp(at)) };
        let cases: [(&[&str], Condition); 9] = [
            (&[], Condition::None),
            (&["*"], Condition::None),
            (&["\"3\""], Condition::Versions(vec![any(3)])),
            (&["\"3-17\", W/\"4-18\"", "5"], Condition::Versions(vec![made(3, 17), made(4, 18), any(5)])),
            (&["\"abc\""], Condition::Versions(vec![])),
            (&["\"-1\""], Condition::Versions(vec![])),
            (&["\"1-\""], Condition::Versions(vec![])),
            (&["\"1-2-3\""], Condition::Versions(vec![])),
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
