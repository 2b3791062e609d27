//! The file: versions, damage, full disks, readers without rights.

use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::process::CommandExt as _, process::Command};

use rusqlite::Connection;

use super::*;
use crate::{
    ledger::LedgerError,
    manifest::ObjectId,
    sync::{Action, Journal as _, Live, ObjectResult},
};

fn error(dir: &Path) -> LedgerError {
    Ledger::open(dir).unwrap_err()
}

#[tokio::test]
async fn a_newer_file_is_refused_and_left_alone() {
    let bed = Bed::new();
    bed.ledger.close().await.unwrap();
    let path = bed.dir.path().join("ledger.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(error(bed.dir.path()).code(), codes::LEDGER_NEWER);
    assert_eq!(Ledger::reader(bed.dir.path()).unwrap_err().code(), codes::LEDGER_NEWER);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_reader_does_not_migrate() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Ledger::reader(dir.path()).unwrap_err().code(), codes::NO_LEDGER);
    let connection = Connection::open(dir.path().join("ledger.db")).unwrap();
    connection.pragma_update(None, "application_id", 0x4556_4b4c).unwrap();
    drop(connection);
    assert!(matches!(Ledger::reader(dir.path()), Err(LedgerError::Older { found: 0, .. })));
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(error(dir.path()), LedgerError::NotALedger(_)));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside() {
    let not_a_database: fn(&mut Vec<u8>) = |bytes| bytes[..100].fill(b'x');
    let broken_page: fn(&mut Vec<u8>) = |bytes| bytes[4096..8192].fill(0xee);
    let broken_pages: fn(&mut Vec<u8>) = |bytes| bytes[8192..].fill(0);
    let truncated: fn(&mut Vec<u8>) = |bytes| bytes.truncate(8192);
    for damage in [not_a_database, broken_page, broken_pages, truncated] {
        let bed = Bed::new();
        let instance = bed.ledger.instance().await.unwrap();
        bed.fetch(&[1]).await;
        bed.ledger.close().await.unwrap();
        let path = bed.dir.path().join("ledger.db");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let opened = Ledger::open_with(bed.dir.path(), Arc::new(|| at(0))).unwrap();
        let aside = bed.dir.path().join("ledger.db.corrupt-20231114T221320.000Z");
        assert_eq!(opened.damaged.as_deref(), Some(&*aside));
        assert_eq!(opened.ledger.tip().await.unwrap(), None);
        assert_ne!(opened.ledger.instance().await.unwrap(), instance);
        assert_eq!(fs::read(aside).unwrap(), bytes);
        opened.ledger.close().await.unwrap();
        let again = Ledger::open(bed.dir.path()).unwrap();
        assert_eq!(again.damaged, None);
        assert!(again.ledger.report_only().await.unwrap(), "until someone resumes, not until the next start");
        assert!(again.ledger.resume("ada (uid 0)").await.unwrap());
        assert!(!again.ledger.report_only().await.unwrap());
        assert!(!again.ledger.resume("ada (uid 0)").await.unwrap(), "there is nothing more to resume");
    }
}

/// Killed after the damaged file was moved and before the new one took its place.
#[tokio::test]
async fn a_crash_while_a_damaged_file_is_replaced_makes_no_new_agent_of_it() {
    let bed = Bed::new();
    bed.ledger.close().await.unwrap();
    let path = bed.dir.path().join("ledger.db");
    fs::write(&path, "damaged beyond repair, and long enough to be looked at").unwrap();
    Ledger::open(bed.dir.path()).unwrap().ledger.close().await.unwrap();
    fs::rename(&path, bed.dir.path().join("ledger.db.new")).unwrap();
    let opened = Ledger::open(bed.dir.path()).unwrap();
    assert_eq!(opened.damaged, None);
    assert!(opened.ledger.report_only().await.unwrap());
    assert!(!bed.dir.path().join("ledger.db.new").exists());
}

#[test]
fn a_directory_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(error(&dir.path().join("missing")).code(), codes::LEDGER);
    fs::create_dir(dir.path().join("ledger.db")).unwrap();
    assert_eq!(error(dir.path()).code(), codes::LEDGER);
}

/// Lets the file grow by so many pages at most.
async fn limit(ledger: &Ledger, pages: i64) {
    ledger
        .ask(move |db| {
            let now: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
            Ok(db.pragma_update_and_check(None, "max_page_count", now + pages, |row| row.get::<_, i64>(0))?)
        })
        .await
        .unwrap();
}

fn big() -> ObjectResult {
    let id = format!("ConfigMap/{}", "x".repeat(100_000)).parse::<ObjectId>().unwrap();
    ObjectResult { id, action: Action::Failed, live: None, error: None }
}

#[tokio::test]
async fn a_full_disk_surfaces() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    let sync = bed.ledger.begin_sync(start("a", 1, 1)).await.unwrap();
    limit(&bed.ledger, 0).await;
    bed.ledger.object(sync, "shop", big());
    let refused = bed.ledger.begin_bundle(sync, "shop", 1, 0).await.unwrap_err();
    assert_eq!(refused.0.code, codes::LEDGER, "no write to the cluster after that");
    assert!(refused.to_string().contains("full"), "{refused}");
    assert_eq!(bed.ledger.end_sync(sync, None).await.unwrap_err().0.code, codes::LEDGER, "the sync hears that a result is lost");
    let started = async || bed.ledger.begin_sync(start("a", 1, 1)).await;
    let mut failed = None;
    for _ in 0..10_000 {
        match started().await {
            Ok(_) => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    assert_eq!(failed.unwrap().0.code, codes::LEDGER);
    limit(&bed.ledger, 1000).await;
    let sync = started().await.unwrap();
    bed.ledger.object(sync, "shop", big());
    bed.ledger.end_sync(sync, None).await.unwrap();
    let history = bed.reader().history("a", 1).unwrap();
    assert_eq!((history.syncs[0].result.as_str(), history.syncs[0].objects.len()), ("Succeeded", 1), "it works again when there is room");
}

#[tokio::test]
async fn a_command_that_fails_leaves_the_others_of_its_group() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    let sync = bed.ledger.begin_sync(start("a", 1, 1)).await.unwrap();
    let result = |name: &str| ObjectResult {
        id: format!("ConfigMap/shop/{name}").parse().unwrap(),
        action: Action::Created,
        live: Some(Live { uid: "u".to_owned(), digest: digest_of(1), fields: digest_of(2) }),
        error: None,
    };
    let unknown = crate::sync::SyncId(999);
    bed.ledger.object(sync, "shop", result("one"));
    bed.ledger.object(unknown, "shop", result("lost"));
    bed.ledger.object(sync, "shop", result("two"));
    bed.ledger.end_sync(sync, None).await.unwrap();
    assert_eq!(bed.reader().history("a", 1).unwrap().syncs[0].objects.len(), 2);
    assert_eq!(bed.ledger.end_sync(unknown, None).await.unwrap_err().0.code, codes::LEDGER);
}

#[tokio::test]
async fn results_are_committed_without_anyone_waiting() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    let sync = bed.ledger.begin_sync(start("a", 1, 1)).await.unwrap();
    bed.ledger.object(sync, "shop", big());
    let reader = bed.reader();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while reader.history("a", 1).unwrap().syncs[0].objects.is_empty() {
        assert!(std::time::Instant::now() < deadline, "not committed in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_writer_that_does_not_keep_up_is_told() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    let sync = bed.ledger.begin_sync(start("a", 1, 1)).await.unwrap();
    // Another process holds the lock, so that nothing leaves the queue.
    let mut other = Connection::open(bed.dir.path().join("ledger.db")).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let object: ObjectId = "ConfigMap/shop/x".parse().unwrap();
    for _ in 0..10_000 {
        bed.ledger.warning(sync, &object, "warned");
    }
    drop(lock);
    let failed = bed.ledger.end_sync(sync, None).await.unwrap_err();
    assert!(failed.to_string().contains("did not keep up"), "{failed}");
    assert_eq!(bed.reader().history("a", 1).unwrap().syncs[0].result, "Failed");
}

#[tokio::test]
async fn after_close_nothing_is_written() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.ledger.close().await.unwrap();
    assert!(matches!(bed.ledger.tip().await, Err(LedgerError::Closed)));
    assert!(!bed.dir.path().join("ledger.db-wal").exists(), "the log is folded into the file");
}

#[tokio::test]
async fn a_reader_sees_what_was_acknowledged_while_the_agent_writes() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    let reader = bed.reader();
    for n in 1..50 {
        bed.fetch(&[n]).await;
        assert_eq!(reader.status().unwrap().commit, Some(id(n)));
    }
}

/// Set for the child of [`a_reader_needs_no_right_to_write`].
const READ_DIR: &str = "EVENKEEL_TEST_READ_DIR";

#[test]
fn child_that_reads() {
    if let Ok(dir) = std::env::var(READ_DIR) {
        let denied = fs::write(Path::new(&dir).join("probe"), "").unwrap_err();
        assert_eq!(denied.kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(Ledger::open(Path::new(&dir)).unwrap_err().code(), codes::LEDGER);
        let status = Ledger::reader(Path::new(&dir)).unwrap().status().unwrap();
        assert_eq!(status.commit, Some(id(1)));
    }
}

#[tokio::test]
async fn a_reader_needs_no_right_to_write() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    let program = bed.dir.path().join("reader");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let read = || {
        for entry in fs::read_dir(bed.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::set_permissions(&path, fs::Permissions::from_mode(if path == program { 0o555 } else { 0o444 })).unwrap();
        }
        fs::set_permissions(bed.dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let mut child = Command::new(&program);
        child.args(["--exact", "ledger::tests::file::child_that_reads"]).env(READ_DIR, bed.dir.path()).current_dir("/");
        if rustix::process::geteuid().is_root() {
            child.uid(65534).gid(65534);
        }
        let output = child.output().unwrap();
        fs::set_permissions(bed.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    };
    read();
    bed.ledger.close().await.unwrap();
    read();
}
