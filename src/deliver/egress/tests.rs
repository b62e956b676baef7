use std::sync::atomic::{AtomicUsize, Ordering};

use tower::ServiceExt;

use super::*;
use crate::deliver::testing::{Does, Receiver};

const WAIT: Duration = Duration::from_secs(20);

fn to(receiver: &Receiver) -> Request {
    Request::new(http::Method::POST, receiver.url().parse().unwrap())
}

/// Ten answers whose bodies come after their heads; how many connections that took.
async fn connections_for_ten(keep: bool) -> usize {
    let receiver = Receiver::that(Does::Halves("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "ok")).await;
    let egress = Egress::new("127.0.0.1".parse().unwrap()).unwrap();
    for _ in 0..10 {
        let response = egress.send(Wire::Plain, || to(&receiver), WAIT).await.unwrap();
        receiver.go.notify_one();
        if keep {
            response.discard(WAIT).await;
        }
    }
    receiver.connections.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_small_body_is_read_to_its_end_so_that_its_connection_serves_again() {
    assert!(connections_for_ten(true).await <= 5);
    assert_eq!(connections_for_ten(false).await, 10);
}

/// A client whose first connections find no file descriptor.
fn short_of_room(times: usize) -> Egress {
    let left = Arc::new(AtomicUsize::new(times));
    let resolver = GuardedResolver { allow: Arc::default(), wire: Wire::Plain, lookups: Arc::default() };
    let short = tower::layer::layer_fn(move |connector| {
        let left = left.clone();
        ServiceExt::<_>::map_future(connector, move |connection| {
            let none = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            async move { if none { Err(io::Error::from_raw_os_error(24).into()) } else { connection.await } }
        })
    });
    let plain = builder(resolver).connector_layer(short).build().unwrap();
    Egress { allow: Arc::default(), plain, tls: Err(String::new()) }
}

#[tokio::test]
async fn want_of_file_descriptors_is_no_fault_of_the_receivers_and_is_waited_for() {
    let receiver = Receiver::that(Does::Halves("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "ok")).await;
    assert!(short_of_room(3).send(Wire::Plain, || to(&receiver), WAIT).await.is_ok());
    let ended = short_of_room(usize::MAX).send(Wire::Plain, || to(&receiver), 3 * NO_ROOM_PAUSE).await;
    assert!(matches!(&ended, Err(SendError::NoRoom(why)) if why.contains("os error 24")), "{ended:?}");
    // Whoever was reached in the end answers for themselves.
    let silent = Receiver::that(Does::Halves("", "")).await;
    let ended = short_of_room(1).send(Wire::Plain, || to(&silent), 6 * NO_ROOM_PAUSE).await;
    assert!(matches!(&ended, Err(SendError::Timeout(_))), "{ended:?}");
}

#[test]
fn a_target_is_judged_by_its_text_before_anything_is_sent() {
    let egress = Egress::new("10.0.0.0/8".parse().unwrap()).unwrap();
    let plain = |host: &str| Err(Refused::Plain(host.to_owned()));
    let private = |host: &str| Err(Refused::NotPublic(host.to_owned()));
    let cases = [
        ("https://erp.example/x", Ok(Wire::Tls)),
        ("http://erp.example/x", Ok(Wire::Plain)),
        ("https://8.8.8.8/", Ok(Wire::Tls)),
        ("http://8.8.8.8/", plain("8.8.8.8")),
        ("http://10.1.2.3/", Ok(Wire::Plain)),
        ("https://012.1.2.3/", Ok(Wire::Tls)),
        ("https://192.168.0.1/", private("192.168.0.1")),
        ("https://2130706433/", private("127.0.0.1")),
        ("https://user@0x7f.1/", private("127.0.0.1")),
        ("https://[::ffff:10.0.0.1]/", Ok(Wire::Tls)),
        ("https://[::ffff:192.168.0.1]/", private("[::ffff:c0a8:1]")),
        ("https://[64:ff9b::a9fe:a9fe]/", private("[64:ff9b::a9fe:a9fe]")),
        ("ftp://erp.example/", Err(Refused::Scheme("ftp".to_owned()))),
        ("file:///etc/passwd", Err(Refused::Scheme("file".to_owned()))),
    ];
    for (target, expected) in cases {
        assert_eq!(egress.route(&target.parse().unwrap()), expected, "{target}");
    }
}
