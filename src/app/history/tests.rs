//! The stage on the embedded engine: restarts in the middle, a store that is away, a log that has forgotten.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::embedded::EmbeddedLog;
use crate::history::handle::Positions;
use crate::history::redrive::{RedriveError, Redrives};
use crate::history::rows::Batch;
use crate::history::store::{DeliveryFilter, Page, StoreError};
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::record::{Headers, Output, Record};
use crate::model::time::{ManualClock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::log::{From, Log};
use crate::topology::Declared;

const DEADLINE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

struct Scene {
    dir: tempfile::TempDir,
    log: Arc<EmbeddedLog>,
    clock: Arc<ManualClock>,
}

/// A stage that runs, and what it has told.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    history: Arc<History>,
    told: watch::Receiver<Option<Result<(), String>>>,
}

fn id(n: usize) -> DeliveryId {
    DeliveryId::parse(&format!("0197a0b2-3c4d-8e5f-8a6b-{n:012x}")).unwrap()
}

fn queued(n: usize) -> Output {
    let mut record = Record { key: Some(format!("bills/{n}").into()), value: Some("{}".into()), ..Record::default() };
    record.headers.push("tg_delivery", id(n).to_string());
    record.headers.push("tg_integration", "bills");
    Output { topic: Topic::Deliveries, partition: None, record }
}

fn delivered(n: usize) -> Output {
    let value = serde_json::json!({"kind": "attempt", "deliveryId": id(n), "attempt": 1, "outcome": "DELIVERED",
        "status": "SUCCESS", "startedAt": "2026-11-20T08:15:30.250Z", "durationMs": 1.0});
    let (key, value) = (Bytes::from(id(n).to_string()), Bytes::from(value.to_string()));
    Output {
        topic: Topic::Attempts,
        partition: None,
        record: Record { key: Some(key), value: Some(value), ..Record::default() },
    }
}

impl Scene {
    async fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_930_250)));
        let declared = Declared::built_in(Some("small")).unwrap();
        let log = Arc::new(EmbeddedLog::open(dir.path(), &declared, clock.clone()).await.unwrap());
        Scene { dir, log, clock }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("history.db")
    }

    async fn append(&self, outputs: impl Iterator<Item = Output>) {
        self.log.append(outputs.collect()).await.unwrap();
    }

    /// `fails`: while it is true the store cannot be opened.
    fn start(&self, fails: Arc<AtomicBool>) -> Running {
        let (tell, told) = watch::channel(None);
        let history = Arc::new(History::away("not yet"));
        let path = self.path();
        let project = Project {
            log: self.log.clone(),
            clock: self.clock.clone(),
            history: history.clone(),
            open: Box::new(move || opened(path.clone(), fails.clone()).boxed()),
            tell: Box::new(move |state| drop(tell.send_replace(Some(state)))),
            retention: Retention { events: DAY, deliveries: DAY, attempts: DAY, bodies: DAY, audit: DAY },
            pause: Duration::from_millis(1),
        };
        let stop = CancellationToken::new();
        Running { task: tokio::spawn(project.run(stop.clone())), stop, history, told }
    }
}

async fn opened(path: PathBuf, fails: Arc<AtomicBool>) -> Result<Arc<dyn Store>, StoreError> {
    match fails.load(Ordering::SeqCst) {
        true => Err(StoreError::Away("the disk is full".into())),
        false => Ok(Arc::new(SqliteStore::open(&path, "embedded").await?)),
    }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Looks whenever something was written, until just so many deliveries have this status.
    async fn count(&mut self, status: &str, wanted: usize) {
        let counted = tokio::time::timeout(DEADLINE, self.counted(status, wanted)).await;
        counted.unwrap_or_else(|_| panic!("there were not {wanted} deliveries that are {status} within {DEADLINE:?}"));
    }

    async fn counted(&mut self, status: &str, wanted: usize) {
        loop {
            let found = match self.history.store() {
                Ok(store) => statuses(&*store).await.into_iter().filter(|s| s == status).count(),
                Err(_) => 0,
            };
            if found == wanted {
                return;
            }
            self.told.changed().await.unwrap();
        }
    }
}

async fn statuses(store: &dyn Store) -> Vec<String> {
    let page = Page { limit: 10_000, ..Page::default() };
    let listed = store.deliveries(&DeliveryFilter::default(), &page).await.unwrap();
    listed.items.iter().map(|one| one.state.status.to_string()).collect()
}

fn well() -> Arc<AtomicBool> {
    Arc::default()
}

#[tokio::test]
async fn a_stage_stopped_in_the_middle_goes_on_where_its_rows_end() {
    let scene = Scene::new().await;
    for round in 1..=4 {
        let (from, to) = ((round - 1) * 700, round * 700);
        scene.append((from..to).map(queued)).await;
        let mut running = scene.start(well());
        if round % 2 == 0 {
            // Whenever that is: while it reads, writes or waits.
            running.told.changed().await.unwrap();
        } else {
            running.count("PENDING", to - (round - 1) * 350).await;
        }
        running.stop().await;
        scene.append((from..from + 350).map(delivered)).await;
    }
    let mut running = scene.start(well());
    running.count("SUCCESS", 4 * 350).await;
    running.count("PENDING", 4 * 350).await;
    running.stop().await;
}

#[tokio::test]
async fn a_batch_that_was_written_before_a_crash_and_is_read_again_changes_nothing() {
    let scene = Scene::new().await;
    scene.append((0..50).map(queued).chain((0..20).map(delivered))).await;
    let mut running = scene.start(well());
    running.count("SUCCESS", 20).await;
    running.count("PENDING", 30).await;
    running.stop().await;
    // As if the rows had been written and the offsets lost.
    let store = SqliteStore::open(&scene.path(), "embedded").await.unwrap();
    let zero = store.offsets().await.unwrap().into_keys().map(|place| (place, Offset(0))).collect();
    store.write(&Batch { offsets: zero, ..Batch::default() }).await.unwrap();
    drop(store);
    let mut running = scene.start(well());
    // What comes behind all of that is there: then all of it was read again.
    scene.append((50..60).map(queued)).await;
    running.count("PENDING", 40).await;
    running.count("SUCCESS", 20).await;
    running.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_caught_up_with() {
    let scene = Scene::new().await;
    let fails = Arc::new(AtomicBool::new(true));
    let mut running = scene.start(fails.clone());
    scene.append((0..10).map(queued)).await;
    let told = running.told.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!(told, Some(Err("the disk is full".to_owned())));
    let why = running.history.store().err();
    assert_eq!(why, Some(StoreError::Away("the disk is full".into())), "who asks is told the same");
    fails.store(false, Ordering::SeqCst);
    running.count("PENDING", 10).await;
    assert_eq!(*running.told.borrow(), Some(Ok(())));
    running.stop().await;
}

#[tokio::test]
async fn what_the_log_has_forgotten_is_a_gap_and_not_the_end() {
    let scene = Scene::new().await;
    let own = |n: usize| Output { partition: Some(Partition(0)), ..queued(n) };
    scene.append((0..10).map(own)).await;
    let mut running = scene.start(well());
    running.count("PENDING", 10).await;
    running.stop().await;
    scene.append((10..30).map(own)).await;
    scene.log.delete_before(Topic::Deliveries, Partition(0), Offset(25)).await.unwrap();
    let mut running = scene.start(well());
    running.count("PENDING", 15).await;
    running.stop().await;
}

#[tokio::test]
async fn a_store_that_was_dropped_comes_to_the_same_rows() {
    let scene = Scene::new().await;
    scene.append((0..100).map(queued).chain((0..60).map(delivered))).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut running = scene.start(well());
        running.count("SUCCESS", 60).await;
        running.count("PENDING", 40).await;
        seen.push(statuses(&*running.history.store().unwrap()).await);
        running.stop().await;
        rebuilt(&scene.path());
    }
    assert_eq!(seen[0], seen[1]);
    assert!(scene.log.read(Topic::Deliveries, Partition(0), From::Start).await.is_ok());
}

fn rebuilt(path: &Path) {
    assert!(SqliteStore::claim(path, Place::Usual).unwrap().delete().unwrap());
}

#[tokio::test]
async fn a_history_that_is_still_being_opened_is_told() {
    let scene = Scene::new().await;
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    let (log, clock, answered) = (scene.log.clone(), scene.clock.clone(), stop.clone());
    let gateway = Gateway { log, clock, catalog: Arc::default(), stop: stop.clone(), answered };
    let config = Config { data_dir: scene.dir.path().to_owned(), ..Config::default() };
    // Nothing of it has run yet.
    let history = start(&gateway, &mut tasks, (&config, Origin::from("embedded"))).unwrap();
    assert_eq!(tasks.board.states().remove(PART), Some(Err("it is being opened".to_owned())));
    assert!(history.store().is_err());
    stop.cancel();
    tasks.join().await.unwrap();
}

fn died(n: usize) -> [Output; 2] {
    let value = serde_json::json!({"kind": "attempt", "deliveryId": id(n), "attempt": 1, "outcome": "DEAD",
        "status": "FAILED", "startedAt": "2026-11-20T08:15:30.250Z", "durationMs": 1.0});
    let mut attempt = delivered(n);
    attempt.record.value = Some(value.to_string().into());
    let mut letter = Output { topic: Topic::Dlq, ..queued(n) };
    letter.record.headers.push("tg_attempt", "1");
    letter.record.headers.push("tg_status", "FAILED");
    [letter, attempt]
}

/// What is written with a letter.
fn beside() -> Output {
    let record = Record { key: None, value: Some("{}".into()), headers: Headers::default() };
    Output { topic: Topic::Audit, partition: None, record }
}

impl Scene {
    /// The store as it is now, read by a process that does not follow the log: history is behind from now on.
    async fn frozen(&self) -> Arc<History> {
        let store = Arc::new(SqliteStore::open(&self.path(), "embedded").await.unwrap());
        let history = History::away("not yet");
        history.reached(store.offsets().await.unwrap());
        history.set(Ok(store));
        Arc::new(history)
    }

    fn redrives(&self, history: &Arc<History>) -> Redrives {
        Redrives::new(self.log.clone(), history.clone(), Duration::ZERO)
    }

    /// How many records `deliveries` has.
    async fn queued(&self) -> i64 {
        let mut all = 0;
        for partition in (0..self.log.partitions(Topic::Deliveries).await.unwrap()).map(Partition) {
            all += self.log.end(Topic::Deliveries, partition).await.unwrap().0;
        }
        all
    }
}

#[tokio::test]
async fn a_dead_letter_is_put_back_once_by_all_processes_that_there_ever_are() {
    let scene = Scene::new().await;
    scene.append((0..3).map(queued).chain((0..3).flat_map(died))).await;
    let mut running = scene.start(well());
    running.count("FAILED", 3).await;
    running.stop().await;
    let history = scene.frozen().await;
    let first = scene.redrives(&history);
    first.put_back(id(0), beside()).await.unwrap();
    let twice = first.put_back(id(0), beside()).await;
    assert!(matches!(twice, Err(RedriveError::JustNow)), "{twice:?}");
    first.put_back(id(1), beside()).await.unwrap();
    // Another one, or the same after a restart: history has not read what the first did.
    let second = scene.redrives(&history);
    for n in 0..3 {
        let behind = second.put_back(id(n), beside()).await;
        assert!(matches!(behind, Err(RedriveError::Behind(2))), "{n}: {behind:?}");
    }
    // The seat is the second one's now: what the first remembers is not all any more.
    let behind = first.put_back(id(2), beside()).await;
    assert!(matches!(behind, Err(RedriveError::Behind(2))), "{behind:?}");
    assert_eq!(scene.queued().await, 5);
    drop((first, second, history));

    let mut running = scene.start(well());
    running.count("RETRYING", 2).await;
    let third = Redrives::new(scene.log.clone(), running.history.clone(), DEADLINE);
    for n in 0..2 {
        let alive = third.put_back(id(n), beside()).await;
        assert!(matches!(alive, Err(RedriveError::NotDead(_))), "{n}: {alive:?}");
    }
    third.put_back(id(2), beside()).await.unwrap();
    running.count("RETRYING", 3).await;
    assert_eq!(scene.queued().await, 6);
    running.stop().await;
}

/// `dlq` keeps records for longer than the topics that tell what became of them.
#[tokio::test]
async fn a_history_made_anew_of_what_is_left_of_the_log_puts_nothing_back_a_second_time() {
    let scene = Scene::new().await;
    let [letter, attempt] = died(0);
    scene.append([letter].into_iter()).await;
    let mut running = scene.start(well());
    running.count("FAILED", 1).await;
    let redrives = Redrives::new(scene.log.clone(), running.history.clone(), DEADLINE);
    let alone = redrives.put_back(id(0), beside()).await;
    assert!(matches!(alone, Err(RedriveError::LetterAlone)), "{alone:?}");
    scene.append([attempt].into_iter()).await;
    let read = |at: &Positions| at.iter().any(|((topic, _), next)| *topic == Topic::Attempts && next.0 > 0);
    tokio::time::timeout(DEADLINE, running.history.positions().wait_for(read)).await.unwrap().unwrap();
    redrives.put_back(id(0), beside()).await.unwrap();
    running.stop().await;
}

/// One that expires again has as many attempts as its first letter.
#[tokio::test]
async fn a_delivery_that_died_again_is_not_put_back_by_its_former_letter() {
    let scene = Scene::new().await;
    scene.append([queued(1)].into_iter().chain(died(1))).await;
    let mut running = scene.start(well());
    running.count("FAILED", 1).await;
    let redrives = Redrives::new(scene.log.clone(), running.history.clone(), DEADLINE);
    redrives.put_back(id(1), beside()).await.unwrap();
    running.count("RETRYING", 1).await;
    let expired = serde_json::json!({"kind": "expired", "deliveryId": id(1), "attempt": 1, "redrives": 1, "outcome": "DEAD",
        "status": "ABANDONED", "startedAt": "2026-11-20T08:15:30.250Z"});
    let mut told = delivered(1);
    told.record.value = Some(expired.to_string().into());
    scene.append([told].into_iter()).await;
    running.count("ABANDONED", 1).await;
    let early = redrives.put_back(id(1), beside()).await;
    assert!(matches!(early, Err(RedriveError::NotYet)), "{early:?}");
    let [mut letter, _] = died(1);
    letter.record.headers.push("tg_redrives", "1");
    scene.append([letter].into_iter()).await;
    let letters = |known: &Positions| {
        known.iter().filter(|((topic, _), _)| *topic == Topic::Dlq).map(|(_, next)| next.0).sum::<i64>()
    };
    running.history.positions().wait_for(|known| letters(known) == 2).await.unwrap();
    redrives.put_back(id(1), beside()).await.unwrap();
    running.count("RETRYING", 1).await;
    running.stop().await;
}
