//! Processes that are killed and stopped. The child is this test binary, told by the environment what to be.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal as Unix, kill};
use nix::unistd::Pid;
use tidegate::kafka::{KafkaConfig, KafkaLog};
use tidegate::model::ids::Partition;
use tidegate::model::topic::Topic;
use tidegate::stream::log::{Log, Part};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{Stage, World as _, output, part, text, texts, within};
use crate::kafka::Kafka;

const ROLE: &str = "TIDEGATE_CONFORMANCE_CHILD";

/// A process that is a member of the group.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(world: &Kafka, role: &str, instance: &str) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kafka_processes::child_process", "--nocapture"])
            .env(ROLE, format!("{role} {} {} {instance}", world.brokers, world.prefix))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines }
    }

    fn signal(&self, signal: Unix) {
        let pid = i32::try_from(self.child.id().expect("the child runs")).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// The rest of the next line that the child wrote about `subject`.
    async fn says(&mut self, subject: &str) -> String {
        within(&format!("the child says {subject}"), async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the child ended");
                if let Some((_, rest)) = line.split_once(&format!("child: {subject} ")) {
                    return rest.to_owned();
                }
            }
        })
        .await
    }
}

/// Not a test: what a child process does. Does nothing where nobody told it what to be.
#[tokio::test(flavor = "multi_thread")]
async fn child_process() {
    let Ok(told) = std::env::var(ROLE) else { return };
    let told: Vec<_> = told.split(' ').collect();
    let mut config = KafkaConfig::new(told[1], told[2], 0);
    // The name of a copying process is the user's: its membership is static, and it is back at once.
    match told[0] {
        "copy" => config.instance = Some(told[3].to_owned()),
        _ => config.default_instance = told[3].to_owned(),
    }
    config.properties.insert("session.timeout.ms".into(), "6000".into());
    let log: Arc<dyn Log> = Arc::new(KafkaLog::connect(config).await.unwrap());
    let stage = Stage::join(&log, Topic::Events).await;
    match told[0] {
        "copy" => copy_for_ever(stage).await,
        _ => notice_a_stall(stage).await,
    }
}

/// Copies events to deliveries, a transaction for whatever has come.
async fn copy_for_ever(mut stage: Stage) {
    let mut flushes = 0;
    loop {
        stage.step(Duration::from_millis(50)).await;
        let mut parts: Vec<Part> = Vec::new();
        for r in std::mem::take(&mut stage.records) {
            let copied = output(Topic::Deliveries, r.partition.0, "k", &text(&r));
            match parts.iter_mut().find(|p| p.commit.partition == r.partition) {
                Some(p) => {
                    p.commit.offset = r.offset.next();
                    p.outputs.push(copied);
                }
                None => {
                    flushes += 1;
                    let metadata = format!("{flushes} of {}", std::process::id());
                    parts.push(part(
                        r.partition,
                        stage.epoch(r.partition.0),
                        r.offset.next().0,
                        &metadata,
                        vec![copied],
                    ));
                }
            }
        }
        if !parts.is_empty() {
            println!("child: copies {}", parts.iter().map(|p| p.outputs.len()).sum::<usize>());
            stage.member.committer.commit(parts).await.unwrap();
        }
    }
}

/// Watches the clock; after a gap it asks whether it may act, and tries to commit: at once, and once it is a member again.
async fn notice_a_stall(mut stage: Stage) {
    stage.until("everything is assigned", |s| s.held.len() == 4).await;
    let old: Vec<_> = stage.held.iter().map(|(p, h)| (*p, h.epoch)).collect();
    let zombie = |n: i64| -> Vec<Part> {
        let of = |p: Partition| vec![output(Topic::Deliveries, 0, "zombie", &format!("zombie {n} {p}"))];
        old.iter().map(|(p, e)| part(*p, *e, 0, &format!("zombie {n}"), of(*p))).collect()
    };
    // From one beat to the next without a moment between: the stop may come anywhere, as early as in the announcement.
    let mut last = Instant::now();
    println!("child: holds {}", old.len());
    loop {
        let now = Instant::now();
        if now - last > Duration::from_secs(2) {
            break;
        }
        last = now;
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let may_act = old.iter().filter(|(p, e)| stage.member.committer.may_act(*p, *e)).count();
    println!("child: may_act {may_act}");
    let refused = stage.member.committer.commit(zombie(1)).await.unwrap();
    println!("child: left_out {}", refused.left_out.len());
    stage.until("the loss is told", |s| s.lost.len() == 4).await;
    stage.until("new partitions", |s| !s.held.is_empty()).await;
    let refused = stage.member.committer.commit(zombie(2)).await.unwrap();
    println!("child: left_out {}", refused.left_out.len());
    stage.until("the end", |_| false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_commits_nothing_not_even_after_it_polled_and_rejoined() {
    let world = Kafka::create().await;
    let mut zombie = Process::start(&world, "stall", "zombie");
    assert_eq!(zombie.says("holds").await, "4");
    zombie.signal(Unix::SIGSTOP);

    let log = world.open("heir").await;
    let mut heir = Stage::join(&log, Topic::Events).await;
    heir.until("the zombie's partitions", |s| s.held.len() == 4).await;
    let flush = |s: &Stage, n: i64| part(Partition(0), s.epoch(0), n, &format!("heir {n}"), vec![]);
    heir.member.committer.commit(vec![flush(&heir, 0)]).await.unwrap();
    zombie.signal(Unix::SIGCONT);
    assert_eq!(zombie.says("may_act").await, "0");
    assert_eq!(heir.during("its commit", zombie.says("left_out")).await, "4");
    // It has joined again, has partitions and a generation that the broker takes, and tries with its old epochs.
    assert_eq!(heir.during("its second commit", zombie.says("left_out")).await, "4");
    assert_eq!(texts(&log, Topic::Deliveries, 0).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_its_successor_settles_what_it_left_and_nothing_is_repeated() {
    const EVENTS: usize = 20_000;
    let world = Kafka::create().await;
    let log = world.open("watch").await;
    for chunk in 0..20 {
        let events = (0..1_000).map(|i| chunk * 1_000 + i).map(|i| output(Topic::Events, i % 4, "k", &format!("{i}")));
        log.append(events.collect()).await.unwrap();
    }
    for kills in 0..6_u64 {
        let mut process = Process::start(&world, "copy", "same");
        process.says("copies").await;
        if kills < 5 {
            // Anywhere in the flush that it has just announced.
            tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_micros(kills * 1_500)).await;
            process.signal(Unix::SIGKILL);
            process.child.wait().await.unwrap();
            continue;
        }
        within("everything is copied", async {
            let mut total = 0;
            while total < EVENTS {
                total = 0;
                for p in 0..4 {
                    let mut reader =
                        log.read(Topic::Deliveries, Partition(p), tidegate::stream::log::From::Start).await.unwrap();
                    let end = log.end(Topic::Deliveries, Partition(p)).await.unwrap();
                    let mut at = tidegate::model::ids::Offset(0);
                    while at < end {
                        let batch = reader.next(10_000, Duration::from_millis(200)).await.unwrap();
                        total += batch.records.len();
                        at = batch.position;
                    }
                }
            }
        })
        .await;
    }
    let mut seen: Vec<usize> = Vec::new();
    for p in 0..4 {
        seen.extend(texts(&log, Topic::Deliveries, p).await.iter().map(|t| t.parse::<usize>().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..EVENTS).collect::<Vec<_>>());
}
