//! What `apply` is asked for, read while it comes: of a large body no more is kept than what it asks for.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::api::error::{ApiError, Code};
use crate::api::json::{broken_off, late, must_be_json, too_large};
use crate::catalog::apply::Desired;
use crate::catalog::fields::Fields;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::schema::describe;
use crate::model::ids::{Offset, ResourceId};
use crate::model::items::{Items, Malformed};
use crate::model::problem::{Problem, not_json};

/// Of a body, and of one resource in it.
pub(super) const MOST_BYTES: usize = 512 * 1_024 * 1_024;
const RESOURCE_BYTES: usize = 1_024 * 1_024;
/// Resources in one.
const MOST: usize = 1_000_000;
/// From the first byte of a body to its last: the largest at 1 MiB/s.
pub(super) const WITHIN: Duration = Duration::from_secs(512);
/// Within each of these times so much of it comes, or its end: a client that stalls keeps no others waiting for its turn.
pub(super) const LULL: Duration = Duration::from_secs(10);
const LEAST_BYTES: usize = 64 * 1_024;
/// More is not told: who mends the first ones sees the rest the next time.
const MAX_PROBLEMS: usize = 100;

/// What is asked of `apply`.
#[derive(Debug)]
pub(super) struct Ask {
    pub desired: Vec<Desired>,
    pub prune: bool,
    pub dry_run: bool,
    pub expected: Option<Offset>,
}

/// All but the resources.
struct How {
    prune: bool,
    dry_run: bool,
    expected: Option<Offset>,
}

/// One resource, for the documentation.
pub(super) fn resource() -> Value {
    let mut resource = Fields::sketch(desired);
    let about = [
        ("kind", "What it is."),
        ("id", "Its id; of an organization its `orgId`, of an org unit its `rid`."),
        ("spec", "Its fields, as its own route takes them, `orgId` included and its id left out."),
    ];
    describe(&mut resource, &about);
    resource
}

/// The body, for the documentation.
pub(super) fn body() -> Value {
    let mut body = Fields::sketch(how);
    body["properties"]["resources"]["items"] = resource();
    body["properties"]["resources"]["maxItems"] = MOST.into();
    let about = [
        (
            "resources",
            "What is to be there. What is there already, and so, stays as it is. They are one transaction: whether everything fits is \
             asked of the catalog as it is afterwards.",
        ),
        (
            "prune",
            "Whether to delete what else there is of the organizations that the resources are of, but for users and API keys.",
        ),
        ("dryRun", "Whether to say only what would be done."),
        ("expectedPosition", "The `position` that a plan was answered with: 409 where the catalog was changed since."),
    ];
    describe(&mut body, &about);
    body
}

fn how(fields: &mut Fields) -> Option<How> {
    fields.require("resources");
    // They were taken out on the way.
    fields.objects("resources", 0, |_| Some(()));
    Some(How {
        prune: fields.flag("prune").unwrap_or(false),
        dry_run: fields.flag("dryRun").unwrap_or(false),
        expected: fields.number("expectedPosition", 0..=i64::MAX as u64).map(|at| Offset(at as i64)),
    })
}

fn desired(fields: &mut Fields) -> Option<(Key, Value)> {
    for name in ["kind", "id", "spec"] {
        fields.require(name);
    }
    let kinds: Vec<(&str, Kind)> = Kind::configuration().map(|kind| (kind.name(), kind)).collect();
    let kind = fields.choice("kind", &kinds);
    let id = fields.id("id", ResourceId::parse);
    let spec = fields.map("spec").map(Value::Object);
    Some((Key { kind: kind?, id: id? }, spec?))
}

impl Ask {
    /// Reads the body. Integrations that do not say when they are tried again get `retry`.
    pub(super) async fn read(request: Request, retry: &Value) -> Result<Ask, ApiError> {
        must_be_json(request.headers())?;
        let said = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if said.is_some_and(|length: usize| length > MOST_BYTES) {
            return Err(too_large());
        }
        let mut reading = Reading { items: Items::of("resources", RESOURCE_BYTES), found: Found::default() };
        let malformed = take(request.into_body(), &mut reading, retry).await?;
        reading.finish(malformed)
    }
}

/// Takes the body to its end, also where something is wrong with it: a client that is still sending hears no answer.
async fn take(body: Body, reading: &mut Reading, retry: &Value) -> Result<Option<Malformed>, ApiError> {
    let (mut body, mut bytes, mut malformed) = (body.into_data_stream(), 0, None);
    let end = Instant::now() + WITHIN;
    let (mut until, mut enough) = (Instant::now() + LULL, LEAST_BYTES);
    while let Some(piece) = timeout_at(until.min(end), body.next()).await.map_err(|_| stalled(end))? {
        let piece = piece.map_err(|_| broken_off())?;
        bytes += piece.len();
        if bytes > MOST_BYTES {
            return Err(too_large());
        }
        if bytes >= enough {
            (until, enough) = (Instant::now() + LULL, bytes + LEAST_BYTES);
        }
        if malformed.is_none() {
            let found = &mut reading.found;
            malformed = reading.items.feed(&piece, |at, element| found.take(at, element, retry)).err();
        }
    }
    Ok(malformed)
}

fn stalled(end: Instant) -> ApiError {
    if Instant::now() >= end {
        return late(WITHIN);
    }
    let (least, lull) = (LEAST_BYTES / 1_024, LULL.as_secs());
    ApiError::new(
        Code::ValidationError,
        format!("less than {least} KiB of the body came within {lull} s; send it again"),
    )
}

struct Reading {
    items: Items,
    found: Found,
}

#[derive(Default)]
struct Found {
    desired: Vec<Desired>,
    problems: Vec<Problem>,
}

impl Found {
    fn take(&mut self, at: usize, element: &[u8], retry: &Value) {
        if at >= MOST {
            return;
        }
        let path = |path: &str| match path {
            "" => format!("resources[{at}]"),
            path => format!("resources[{at}].{path}"),
        };
        let read = serde_json::from_slice(element).map_err(|error| vec![Problem::new("", not_json(&error))]);
        let read = read.and_then(Fields::of).and_then(|mut fields| {
            let read = desired(&mut fields);
            fields.finish(read)
        });
        match read {
            Ok((key, mut spec)) => {
                let tried_again = key.kind == Kind::OutboundIntegration;
                if let Value::Object(fields) = &mut spec
                    && tried_again
                    && fields.get("retry").is_none_or(Value::is_null)
                {
                    fields.insert("retry".to_owned(), retry.clone());
                }
                self.desired.push(Desired::new(key, &spec));
            }
            Err(problems) => {
                let room = MAX_PROBLEMS.saturating_sub(self.problems.len());
                let told = problems.into_iter().take(room).map(|one| Problem::new(path(&one.path), one.message));
                self.problems.extend(told);
            }
        }
    }
}

impl Reading {
    fn finish(self, malformed: Option<Malformed>) -> Result<Ask, ApiError> {
        let Reading { items, found: Found { desired, mut problems } } = self;
        let rest = match malformed {
            Some(fault) => Err(fault),
            None => items.finish(),
        };
        let (rest, count) = rest.map_err(|fault| told(&fault))?;
        if count > MOST {
            problems.push(Problem::new("resources", format!("must have at most {MOST} elements")));
        }
        let rest = serde_json::from_slice(&rest)
            .map_err(|error| ApiError::invalid(vec![Problem::new("", format!("the body {}", not_json(&error)))]))?;
        let how = Fields::of(rest).and_then(|mut fields| {
            let how = how(&mut fields);
            fields.finish(how)
        });
        match how {
            Ok(How { prune, dry_run, expected }) if problems.is_empty() => {
                Ok(Ask { desired, prune, dry_run, expected })
            }
            Ok(_) => Err(ApiError::invalid(problems)),
            Err(mut others) => {
                others.append(&mut problems);
                Err(ApiError::invalid(others))
            }
        }
    }
}

/// By its place in the request.
fn told(fault: &Malformed) -> ApiError {
    let of = |at: usize, message: String| ApiError::invalid(vec![Problem::new(format!("resources[{at}]"), message)]);
    match fault {
        Malformed::Large(at) => of(*at, format!("must not be longer than {RESOURCE_BYTES} bytes")),
        Malformed::Syntax(0) => of(0, "is not JSON".to_owned()),
        Malformed::Syntax(at) => of(at - 1, "is not JSON, or what comes after it is not".to_owned()),
        Malformed::Rest => ApiError::new(Code::PayloadTooLarge, "what stands beside `resources` is too large"),
        Malformed::Twice => ApiError::invalid(vec![Problem::new("resources", "is there twice")]),
        Malformed::Early => ApiError::invalid(vec![Problem::new("", "the body is not JSON: it ends too early")]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn read(body: impl Into<Body>) -> Result<Ask, ApiError> {
        let request = Request::builder().header("content-type", "application/json").body(body.into()).unwrap();
        Ask::read(request, &json!({"maxAttempts": 3})).await
    }

    fn unit(id: &str) -> Value {
        json!({"kind": "OrgUnit", "id": id, "spec": {"orgId": "648", "name": id}})
    }

    #[tokio::test]
    async fn what_is_asked_for_is_read_wherever_it_stands() {
        let resources = [unit("a"), json!({"kind": "OutboundIntegration", "id": 7, "spec": {"name": "x"}})];
        let ask =
            read(json!({"prune": true, "resources": resources, "expectedPosition": 9}).to_string()).await.unwrap();
        assert_eq!((ask.prune, ask.dry_run, ask.expected, ask.desired.len()), (true, false, Some(Offset(9)), 2));
        assert_eq!(ask.desired[1].key.to_string(), "OutboundIntegration/7");
        assert_eq!(ask.desired[1].spec(), json!({"name": "x", "retry": {"maxAttempts": 3}}));
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_by_its_place() {
        let large = "x".repeat(RESOURCE_BYTES);
        let cases = [
            (json!([]).to_string(), " must be a JSON object"),
            (json!({"prune": 1}).to_string(), "resources is required"),
            (json!({"resources": 5}).to_string(), "resources must be"),
            (json!({"resources": [unit("a"), 5]}).to_string(), "resources[1] must be a JSON object"),
            (
                json!({"resources": [{"kind": "User", "id": "a", "spec": {}}]}).to_string(),
                "resources[0].kind must be one of",
            ),
            (json!({"resources": [unit("a"), {"kind": "Lookup"}]}).to_string(), "resources[1].id is required"),
            (
                json!({"resources": [unit("a")], "purne": true}).to_string(),
                "purne is not a known field; did you mean `prune`?",
            ),
            (r#"{"resources": [{"kind": }]}"#.to_owned(), "resources[0] is not JSON"),
            (r#"{"resources": [{"kind": "Lookup""#.to_owned(), " the body is not JSON: it ends too early"),
            (r#"{"resources": []"#.to_owned(), " the body is not JSON: it ends too early"),
            (r#"{"resources": [], "resources": []}"#.to_owned(), "resources is there twice"),
            (json!({"resources": [unit("a"), unit(&large)]}).to_string(), "resources[1] must not be longer"),
        ];
        for (body, expected) in cases {
            let error = read(body.clone()).await.unwrap_err();
            let found = error.details.first().map(|one| format!("{} {}", one.path, one.message)).unwrap_or_default();
            assert!(found.starts_with(expected), "{}: {error:?}", &body[..body.len().min(80)]);
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_by_what_it_says_and_by_what_it_is() {
        let said = Request::builder()
            .header("content-type", "application/json")
            .header("content-length", (MOST_BYTES + 1).to_string())
            .body(Body::empty());
        assert_eq!(Ask::read(said.unwrap(), &Value::Null).await.unwrap_err().code, Code::PayloadTooLarge);
        let piece = axum::body::Bytes::from(vec![b' '; 1 << 20]);
        let endless = futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(piece));
        assert_eq!(read(Body::from_stream(endless)).await.unwrap_err().code, Code::PayloadTooLarge);
    }

    /// Pieces of a body, with so much time before each.
    fn slow(pieces: impl Iterator<Item = String> + Send + 'static, pause: Duration) -> Body {
        let pieces = futures_util::stream::iter(pieces).then(move |piece| async move {
            tokio::time::advance(pause).await;
            Ok::<_, std::convert::Infallible>(piece)
        });
        Body::from_stream(pieces)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_or_trickles_is_given_up_and_one_that_comes_slowly_is_read() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut large = unit("large");
        large["spec"]["name"] = "x".repeat(LEAST_BYTES).into();
        let large = format!("{large},");
        let ends = |text: String| std::iter::once(text);
        let pieces = ends(r#"{"resources": ["#.to_owned()).chain(std::iter::repeat_n(large, 50));
        let ask = read(slow(pieces.chain(ends(format!("{}]}}", unit("a")))), LULL - second)).await.unwrap();
        assert_eq!((ask.desired.len(), begin.elapsed()), (51, (LULL - second) * 52));
        for (bytes, given_up) in [(1, LULL), (LEAST_BYTES / 20, LULL), (LEAST_BYTES / 5, WITHIN)] {
            let begin = Instant::now();
            let error = read(slow(std::iter::repeat_n(" ".repeat(bytes), 1_000), second)).await.unwrap_err();
            let told = if given_up == WITHIN { "within 512 s" } else { "64 KiB of the body came within 10 s" };
            assert!(error.code == Code::ValidationError && error.message.contains(told), "{bytes}: {}", error.message);
            assert!(begin.elapsed() >= given_up && begin.elapsed() <= given_up + second, "{:?}", begin.elapsed());
        }
    }
}
