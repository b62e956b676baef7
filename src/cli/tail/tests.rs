//! Tails of a log that a gateway has open and writes to meanwhile.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser as _;
use tokio::time::timeout;

use super::*;
use crate::app::AppError;
use crate::app::view::tests::{EmbeddedLog, start_over, writer};
use crate::cli::Cli;
use crate::config::Engine;
use crate::model::record::{Output, Record, header};
use crate::model::time::ManualClock;
use crate::stream::log::Log;

/// Shows ids of events, up to a bound.
#[derive(Clone, Default)]
struct Ids {
    seen: Arc<Mutex<Vec<String>>>,
    most: usize,
    org: Option<&'static str>,
}

impl Watcher for Ids {
    fn wants(&self, received: &Received) -> bool {
        self.org.is_none_or(|org| received.record.headers.text(header::CE_ORGID) == Some(org))
    }

    fn show(&mut self, received: &Received) -> bool {
        let mut seen = self.seen.lock().unwrap();
        seen.push(received.record.headers.text(header::CE_ID).unwrap().to_owned());
        seen.len() < self.most
    }

    fn pause(&mut self) -> bool {
        true
    }

    fn away(&mut self, error: &LogError) {
        panic!("{error}");
    }

    fn replaced(&mut self) {
        self.seen.lock().unwrap().push("over".to_owned());
    }
}

struct Place {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    log: EmbeddedLog,
}

impl Place {
    async fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_000_000)));
        let log = writer(dir.path(), clock.clone()).await;
        Place { dir, clock, log }
    }

    /// Events `from..to`, one a second, over all partitions; every third of another organization.
    async fn write(&self, from: usize, to: usize) {
        for n in from..to {
            let mut record = Record { key: Some(format!("k{n}").into()), ..Record::default() };
            record.headers.push(header::CE_ID, n.to_string());
            record.headers.push(header::CE_ORGID, if n.is_multiple_of(3) { "712" } else { "648" });
            record.value = Some("{}".into());
            self.clock.advance(Duration::from_secs(1));
            self.log.append(vec![Output { topic: Topic::Events, partition: None, record }]).await.unwrap();
        }
    }

    async fn tail(&self, begin: Begin, follow: bool, mut ids: Ids) -> Vec<String> {
        let view = View::open(&config(self.dir.path())).await.unwrap();
        let tail = Tail { view: &view, topic: Topic::Events };
        timeout(Duration::from_secs(60), tail.run(begin, follow, &mut ids)).await.unwrap().unwrap();
        ids.seen.lock().unwrap().clone()
    }
}

fn config(dir: &Path) -> Config {
    Config { engine: Engine::Embedded, data_dir: dir.to_owned(), ..Config::default() }
}

fn all() -> Ids {
    Ids { most: usize::MAX, ..Ids::default() }
}

fn names(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn the_past_is_shown_in_the_order_of_time_whichever_partition_it_is_in() {
    let place = Place::new().await;
    place.write(0, 700).await;
    assert_eq!(place.tail(Begin::Beginning, false, all()).await, names(0..700));
    assert_eq!(place.tail(Begin::Last(10), false, all()).await, names(690..700));
    assert_eq!(place.tail(Begin::Last(0), false, all()).await, names(0..0));
    assert_eq!(place.tail(Begin::End, false, all()).await, names(0..0));
    let since = Timestamp(1_763_712_000_000 + 601_000);
    assert_eq!(place.tail(Begin::Since(since), false, all()).await, names(600..700));
    let later = Timestamp(1_763_712_000_000 + 900_000);
    assert_eq!(place.tail(Begin::Since(later), false, all()).await, names(0..0));
}

#[tokio::test]
async fn the_last_that_are_wanted_are_found_however_far_back_they_are() {
    let place = Place::new().await;
    place.write(0, 10).await;
    let rare = || Ids { org: Some("712"), ..all() };
    assert_eq!(place.tail(Begin::Last(3), false, rare()).await, ["3", "6", "9"]);
    for batch in 0..4 {
        let many = (0..900).map(|n| {
            let mut record = Record { key: Some(format!("{batch}-{n}").into()), ..Record::default() };
            record.headers.push(header::CE_ORGID, "648");
            record.headers.push(header::CE_ID, "x");
            Output { topic: Topic::Events, partition: None, record }
        });
        place.log.append(many.collect()).await.unwrap();
    }
    assert_eq!(place.tail(Begin::Last(3), false, rare()).await, ["3", "6", "9"]);
    assert_eq!(place.tail(Begin::Last(50), false, rare()).await, ["0", "3", "6", "9"]);
}

#[tokio::test]
async fn what_a_gateway_writes_meanwhile_is_shown_once_and_nothing_is_left_out() {
    let place = Place::new().await;
    place.write(0, 20).await;
    let ids = Ids { most: 125, ..Ids::default() };
    let shown = ids.seen.clone();
    let writing = async {
        while shown.lock().unwrap().len() < 5 {
            tokio::task::yield_now().await;
        }
        place.write(20, 140).await;
    };
    let (mut seen, ()) = tokio::join!(place.tail(Begin::Last(5), true, ids), writing);
    seen.sort_by_key(|id| id.parse::<usize>().unwrap());
    assert_eq!(seen, names(15..140));
}

#[tokio::test]
async fn a_log_that_is_started_over_is_noticed_and_the_new_one_is_shown() {
    let mut place = Place::new().await;
    place.write(0, 3).await;
    let mut ids = Ids { most: 6, ..Ids::default() };
    let shown = ids.seen.clone();
    let config = config(place.dir.path());
    let starting_over = async {
        while shown.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        place.log = start_over(&place.log, place.dir.path(), place.clock.clone()).await;
        place.write(7, 9).await;
    };
    let tailing = timeout(Duration::from_secs(60), tail(&config, Topic::Events, (Begin::Beginning, true), &mut ids));
    let (ended, ()) = tokio::join!(tailing, starting_over);
    ended.unwrap().unwrap();
    assert_eq!(shown.lock().unwrap().clone(), ["0", "1", "2", "over", "7", "8"]);
}

#[tokio::test]
async fn a_closed_pipe_ends_it_without_a_word() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::BrokenPipe.into())
        }
    }
    let place = Place::new().await;
    place.write(0, 20).await;
    let view = View::open(&config(place.dir.path())).await.unwrap();
    let style = Style { format: Format::Text, look: Look::PIPE };
    let (topic, filter) = (Topic::Events, Filter::default());
    let mut screen = Screen { out: Closed, topic, filter, style, any: false, failed: None, away: false };
    Tail { view: &view, topic }.run(Begin::Beginning, true, &mut screen).await.unwrap();
    screen.ended().unwrap();
}

#[tokio::test]
async fn a_folder_without_a_log_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = View::open(&config(dir.path())).await.err().unwrap();
    assert!(matches!(&error, AppError::Unreachable(why) if why.contains("tidegate dev")), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking leaves nothing behind");
}

#[test]
fn where_to_begin_is_read_as_people_write_it() {
    let now = Timestamp(1_763_712_000_000);
    let begin = |arguments: &[&str]| {
        let cli = Cli::try_parse_from([&["tidegate", "tail", "events"], arguments].concat()).ok()?;
        match cli.command {
            crate::cli::Command::Tail(command) => Some(command.begin(now)),
            _ => None,
        }
    };
    let cases: [(&[&str], Option<Begin>); 10] = [
        (&[], Some(Begin::Last(10))),
        (&["-n", "3"], Some(Begin::Last(3))),
        (&["-n", "10001"], None),
        (&["--from", "beginning"], Some(Begin::Beginning)),
        (&["--from", "end"], Some(Begin::End)),
        (&["--from", "10m"], Some(Begin::Since(Timestamp(now.0 - 600_000)))),
        (&["--from=-1h"], Some(Begin::Since(Timestamp(now.0 - 3_600_000)))),
        (&["--from", "2025-11-21T09:00:00+01:00"], Some(Begin::Since(now))),
        (&["--from", "yesterday"], None),
        (&["--from", "end", "-n", "3"], None),
    ];
    for (arguments, expected) in cases {
        assert_eq!(begin(arguments), expected, "{arguments:?}");
    }
}
