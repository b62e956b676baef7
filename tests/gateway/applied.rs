//! Configuration as code between two gateways: out of one, into the other, and files that are wrong.

use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::broker::Broker;
use crate::support::gateway::{ADMIN_KEY, Setup};
use crate::support::{LATER, repository, scratch, turn, unique};

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A command as somebody types it beside this gateway.
async fn tidegate(setup: &Setup, arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).current_dir(repository()).env_clear().kill_on_drop(true);
    command.env("TIDEGATE_ADMIN_KEY", ADMIN_KEY).env("TIDEGATE_API", format!("http://{}", setup.address()));
    command.env("ONCALL_SECRET", "s3cret-of-the-example");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be run");
    let mut pipe = child.stdin.take().expect("a pipe");
    let feed = async move {
        // A command that does not read it has ended, which its code tells.
        let _ = pipe.write_all(input.as_bytes()).await;
    };
    let (ended, ()) = tokio::join!(timeout(LATER, child.wait_with_output()), feed);
    let ended = ended.expect("it ends").expect("a child");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ended = Ended { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) };
    eprintln!("tidegate {arguments:?}: {:?}\n{}{}", ended.code, ended.out, ended.err);
    ended
}

/// What the gateway holds, as the API exports it, secrets sealed.
async fn catalog(setup: &Setup) -> Value {
    setup.api().expect(200, Method::GET, "admin/catalog/export", None).await.body["resources"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_from_one_gateway_makes_another_the_same_and_a_bad_file_changes_nothing() {
    let _turn = turn::beside().await;
    let broker = Broker::any().await;
    let (one, two) = (Setup::new(&broker, "out"), Setup::new(&broker, "in"));
    let (_first, _second) = (one.start().await, two.start().await);
    let example = "topologies/examples/webhook-fanout";

    // Nobody is there to be asked, and nobody said yes.
    let unasked = tidegate(&one, &["apply", "-f", example], "").await;
    assert_eq!((unasked.code, catalog(&one).await), (Some(2), Value::Array(Vec::new())));
    let dry = tidegate(&one, &["apply", "-f", example, "--dry-run"], "").await;
    assert_eq!((dry.code, catalog(&one).await), (Some(0), Value::Array(Vec::new())));
    assert!(dry.out.contains("+ create Organization/shop-1") && dry.out.contains("12 to create"), "{}", dry.out);
    let done = tidegate(&one, &["apply", "-f", example, "--yes"], "").await;
    assert_eq!(done.code, Some(0));
    assert!(!(done.out + &dry.out).contains("s3cret"));
    let again = tidegate(&one, &["apply", "-f", example, "--prune", "--yes"], "").await;
    assert_eq!((again.code, again.out.as_str()), (Some(0), "nothing to change: 12 unchanged\n"));

    // By a pipe, and by files.
    let stream = tidegate(&one, &["export"], "").await;
    assert!(!stream.out.contains("s3cret") && stream.out.contains("sealed:"), "{}", stream.out);
    assert_eq!(tidegate(&two, &["apply", "-f", "-", "--yes"], &stream.out).await.code, Some(0));
    assert_eq!(catalog(&two).await, catalog(&one).await);
    let folder = scratch().join(unique("exported"));
    let path = folder.to_str().expect("UTF-8");
    assert_eq!(tidegate(&one, &["export", "-o", path], "").await.code, Some(0));
    assert_eq!(tidegate(&one, &["validate", "-f", path], "").await.code, Some(0));
    let same = tidegate(&two, &["apply", "-f", path, "--prune", "--yes"], "").await;
    assert_eq!(same.out, "nothing to change: 12 unchanged\n");

    bad_files_change_nothing(&two, &folder).await;
    assert_eq!(catalog(&two).await, catalog(&one).await);

    // What is in no file any more goes, and only on request.
    std::fs::remove_file(folder.join("OutboundIntegration/search.yaml")).expect("it was exported");
    let kept = tidegate(&two, &["apply", "-f", path, "--yes"], "").await;
    assert_eq!((kept.code, kept.out.as_str()), (Some(0), "nothing to change: 11 unchanged\n"));
    let pruned = tidegate(&two, &["apply", "-f", path, "--prune", "--yes"], "").await;
    assert!(pruned.code == Some(0) && pruned.out.contains("- delete OutboundIntegration/search"), "{}", pruned.out);
    assert_eq!(catalog(&two).await.as_array().map(Vec::len), Some(11));
    std::fs::remove_dir_all(&folder).expect("it was there");
}

/// Each beside good changes that are not made either.
async fn bad_files_change_nothing(setup: &Setup, folder: &Path) {
    let path = folder.to_str().expect("UTF-8");
    let (bad, good) = (folder.join("bad.yaml"), folder.join("good.yaml"));
    std::fs::write(&good, "kind: OrgUnit\nid: new\nspec: {orgId: shop-1, name: New}\n").expect("a file");
    let cases = [
        (
            "kind: OrgUnit\nid: bad\nspec:\n  orgId: shop-1\n  nmae: Bad\n",
            "bad.yaml:5: OrgUnit/bad: spec.nmae is not a known field",
        ),
        (
            "kind: OrgUnit\nid: bad\nspec:\n  name: Bad\n  orgId: nobody\n",
            "bad.yaml:5: OrgUnit/bad: spec.orgId names organization `nobody`",
        ),
        (
            "kind: OrgUnit\nid: bad\nspec:\n  orgId: shop-1\n  name: ${env:NO_SUCH}\n",
            "bad.yaml:5: OrgUnit/bad: spec.name needs the environment variable NO_SUCH",
        ),
        ("kind: [\n", "bad.yaml:1: is not YAML"),
    ];
    for (text, expected) in cases {
        std::fs::write(&bad, text).expect("a file");
        let refused = tidegate(setup, &["apply", "-f", path, "--yes"], "").await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{text}");
        assert!(refused.err.contains(expected) && refused.err.contains("nothing was changed"), "{text}");
    }
    std::fs::remove_file(bad).expect("it was there");
    std::fs::remove_file(good).expect("it was there");
}
