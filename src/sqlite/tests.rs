//! What becomes of a file whose process dies, and of one that is not what it should be.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::*;

const ONE: &str = "CREATE TABLE things (name TEXT NOT NULL) STRICT;";
const TWO: &str = "CREATE INDEX things_name ON things (name);";

const fn kind(steps: &'static [&'static str]) -> Kind {
    Kind {
        name: "heap",
        application: 7_777,
        steps,
        connections: Connections { synchronous: SqliteSynchronous::Full, statements: 8, rows: 8 },
        advice: Advice { setting: "HEAP", taken: "wait", freed: "go on", mend: "begin anew" },
    }
}

static FIRST: Kind = kind(&[ONE]);
static SECOND: Kind = kind(&[ONE, TWO]);
static BROKEN: Kind = kind(&[ONE, "CREATE NONSENSE;"]);

fn file(dir: &Path, kind: &'static Kind) -> SqliteFile {
    SqliteFile::new(dir.join("made/heap.db"), kind)
}

async fn things(opened: &Opened) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM things").fetch_one(&opened.readers).await.unwrap()
}

async fn run(opened: &mut Opened, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut opened.writer).await.unwrap();
}

async fn close(opened: Opened) {
    opened.readers.close().await;
    opened.writer.close().await.unwrap();
}

async fn refusal(file: &SqliteFile) -> Fault {
    match file.open().await {
        Ok(_) => panic!("it was opened"),
        Err(fault) => fault,
    }
}

#[tokio::test]
async fn a_making_that_ends_half_way_leaves_no_file_that_has_to_be_understood() {
    let dir = tempfile::tempdir().unwrap();
    refusal(&file(dir.path(), &BROKEN)).await;
    assert!(!file(dir.path(), &BROKEN).path().exists(), "it has its name before it is whole");
    assert!(dir.path().join("made/heap.db.new").exists(), "what a process leaves that dies now");
    let mut opened = file(dir.path(), &SECOND).open().await.unwrap();
    run(&mut opened, "INSERT INTO things VALUES ('a')").await;
    assert_eq!(things(&opened).await, 1);
}

#[tokio::test]
async fn a_process_that_died_while_it_made_the_file_leaves_nothing_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), &FIRST);
    let folder = file.path().parent().unwrap();
    std::fs::create_dir(folder).unwrap();
    for name in ["heap.db.new", "heap.db.new-journal", "heap.db.new-wal"] {
        std::fs::write(folder.join(name), vec![0x5a_u8; 5_000]).unwrap();
    }
    std::fs::write(file.path(), b"").unwrap();
    let opened = file.open().await.unwrap();
    assert_eq!(things(&opened).await, 0);
    close(opened).await;
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("new")), "{left:?}");
}

#[tokio::test]
async fn the_write_ahead_log_of_a_file_that_is_gone_is_not_taken_for_the_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), &FIRST);
    let mut opened = file.open().await.unwrap();
    run(&mut opened, "INSERT INTO things VALUES ('old')").await;
    let wal = file.beside("-wal");
    let old = std::fs::read(&wal).unwrap();
    assert!(!old.is_empty());
    close(opened).await;
    std::fs::remove_file(file.path()).unwrap();
    std::fs::write(&wal, &old).unwrap();
    let opened = file.open().await.unwrap();
    assert_eq!(things(&opened).await, 0);
}

#[tokio::test]
async fn an_older_format_is_brought_up_and_a_newer_one_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = file(dir.path(), &FIRST).open().await.unwrap();
    run(&mut opened, "INSERT INTO things VALUES ('a')").await;
    close(opened).await;
    let opened = file(dir.path(), &SECOND).open().await.unwrap();
    assert_eq!(things(&opened).await, 1);
    let indexes = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_schema WHERE name = 'things_name'");
    assert_eq!(indexes.fetch_one(&opened.readers).await.unwrap(), 1);
    close(opened).await;
    let newer = refusal(&file(dir.path(), &FIRST)).await;
    assert_eq!(newer.why, Why::Newer(2));
    let told = newer.to_string();
    assert!(told.contains("format 2, this one knows 1") && told.contains("begin anew"), "{told}");
    assert_eq!(file(dir.path(), &FIRST).look(1).await.err().map(|f| f.why), Some(Why::Newer(2)));
}

#[tokio::test]
async fn somebody_elses_file_is_neither_changed_nor_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteFile::new(dir.path().join("theirs.db"), &FIRST);
    let theirs = SqliteConnectOptions::new().filename(file.path()).create_if_missing(true);
    let mut theirs = theirs.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (x); PRAGMA user_version = 1").execute(&mut theirs).await.unwrap();
    theirs.close().await.unwrap();
    let before = std::fs::read(file.path()).unwrap();
    assert_eq!(refusal(&file).await.why, Why::Foreign);
    assert_eq!(file.claim(Place::Usual).unwrap_err().why, Why::Foreign);
    assert_eq!(std::fs::read(file.path()).unwrap(), before);
}

#[tokio::test]
async fn nobody_else_can_read_what_is_kept_although_it_was_put_back_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), &FIRST);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for _ in 0..2 {
        let mut opened = file.open().await.unwrap();
        run(&mut opened, "INSERT INTO things VALUES ('a patient')").await;
        for path in [file.path().to_owned(), file.beside("-wal"), file.beside(".lock")] {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        close(opened).await;
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert_eq!(mode(file.path().parent().unwrap()), 0o700);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_told_with_its_name_and_the_setting() {
    let blocked = tempfile::NamedTempFile::new().unwrap();
    for place in [Path::new("/proc/heap/heap.db"), &blocked.path().join("heap.db")] {
        let told = refusal(&SqliteFile::new(place.to_owned(), &FIRST)).await.to_string();
        let says = [place.to_str().unwrap(), "cannot be made", "name another place with HEAP"];
        assert!(says.iter().all(|word| told.contains(word)), "{told}");
    }
}

#[tokio::test]
async fn what_never_was_ours_is_not_deleted_and_not_told_to_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteFile::new(dir.path().join("heap.db"), &FIRST);
    let long = "no database, \u{20ac} ".repeat(1_000);
    for text in ["tgdev_0123456789abcdef\n", &long] {
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(refusal(&file).await.why, Why::Foreign);
        for place in [Place::Usual, Place::Given] {
            let told = file.claim(place).unwrap_err().to_string();
            assert!(told.contains("heap.db: it is not a heap of tidegate") && told.contains("remove it"), "{told}");
        }
    }
    // What a disk makes of a file that is ours, and what may be a picture.
    for byte in [0, 0xa5] {
        std::fs::write(file.path(), vec![byte; 4_096]).unwrap();
        assert_eq!(refusal(&file).await.why, Why::Foreign);
        assert_eq!(file.claim(Place::Given).unwrap_err().why, Why::Foreign);
        assert!(file.claim(Place::Usual).unwrap().delete().unwrap());
    }
}

#[tokio::test]
async fn a_link_to_a_disk_that_is_not_mounted_is_no_reason_to_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteFile::new(dir.path().join("heap.db"), &FIRST);
    let far = dir.path().join("disk/heap.db");
    std::os::unix::fs::symlink(&far, file.path()).unwrap();
    std::fs::write(file.beside("-wal"), b"what it had").unwrap();
    for fault in [refusal(&file).await, file.claim(Place::Usual).unwrap_err()] {
        let told = fault.to_string();
        let says = ["it cannot be opened (it is a link to", far.to_str().unwrap(), "is its disk there"];
        assert!(says.iter().all(|word| told.contains(word)), "{told}");
    }
    assert!(file.path().is_symlink() && file.beside("-wal").exists(), "it was put aside");
    assert!(!file.is_there());
}

#[tokio::test]
async fn a_device_is_not_replaced_by_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteFile::new(dir.path().join("heap.db"), &FIRST);
    let socket = std::os::unix::net::UnixListener::bind(file.path()).unwrap();
    assert_eq!(refusal(&file).await.why, Why::Foreign);
    assert!(file.claim(Place::Usual).is_err() && !file.path().is_file());
    drop(socket);
}

#[tokio::test]
async fn two_processes_do_not_share_a_file_by_two_names() {
    let dir = tempfile::tempdir().unwrap();
    let real = file(dir.path(), &FIRST);
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(real.path(), &link).unwrap();
    let opened = real.open().await.unwrap();
    let linked = SqliteFile::new(link.clone(), &FIRST);
    assert_eq!(refusal(&linked).await.why, Why::Taken);
    assert_eq!(linked.claim(Place::Usual).unwrap_err().why, Why::Taken);
    close(opened).await;
    let mut opened = linked.open().await.unwrap();
    run(&mut opened, "INSERT INTO things VALUES ('a')").await;
    assert_eq!(refusal(&real).await.why, Why::Taken);
    close(opened).await;
    // The link stays, and leads to the next one.
    assert!(linked.claim(Place::Usual).unwrap().delete().unwrap());
    let next = SqliteFile::new(link.clone(), &FIRST);
    assert!(link.is_symlink() && !next.is_there());
    assert_eq!(things(&next.open().await.unwrap()).await, 0);
    assert!(link.is_symlink() && real.is_there());
}
