//! Verifying, exporting and compacting a ledger.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::*;
use crate::{
    ledger::{Compacted, LedgerError, Retention, compact, verify},
    sync::{Action, BundleOutcome, Journal as _, Live, ObjectResult},
};

/// A ledger with some of everything.
async fn kept() -> Bed {
    let bed = Bed::new();
    bed.fleet(&["a", "b"]).await;
    for commit in 1..=4 {
        bed.fetch(&[commit]).await;
        bed.render(commit, &[("a", Some(commit)), ("b", (commit != 2).then_some(1))]).await;
        let sync = bed.ledger.begin_sync(start("a", commit, commit)).await.unwrap();
        bed.ledger.begin_bundle(sync, "shop", 1, 0).await.unwrap();
        let live = Live { uid: "u".to_owned(), digest: digest_of(commit), fields: digest_of(1) };
        let result = ObjectResult { id: "ConfigMap/shop/x".parse().unwrap(), action: Action::Changed, live: Some(live), error: None };
        bed.ledger.object(sync, "shop", result);
        bed.ledger.end_bundle(sync, "shop", BundleOutcome::Applied);
        bed.ledger.end_sync(sync, (commit == 3).then(|| problem("https://user:hunter2@example.org: gone"))).await.unwrap();
        bed.synced("a", commit, commit).await;
    }
    // A cluster that left, and came back at the commit at which it did.
    bed.fetch(&[5]).await;
    bed.fleet(&["a"]).await;
    bed.fleet(&["a", "b"]).await;
    bed.render(5, &[("a", Some(5)), ("b", Some(5))]).await;
    bed.render(5, &[("a", Some(6)), ("b", Some(5))]).await;
    bed.fleet(&["a"]).await;
    bed
}

#[tokio::test]
async fn a_ledger_that_was_only_written_by_the_agent_is_whole() {
    let bed = kept().await;
    let verdict = verify(bed.dir.path()).unwrap();
    assert_eq!(verdict.faults, []);
    assert_eq!((verdict.rows["commits"], verdict.rows["syncs"], verdict.rows["clusters"]), (5, 4, 2));
    assert!(verdict.bytes > 50_000 && verdict.set_back == 0);
}

/// Each rule is broken by hand and found, and nothing else is.
#[tokio::test]
async fn each_fault_is_found_and_named() {
    let cases = [
        (
            "renderings-apart",
            "UPDATE renderings SET from_fetch = 1, until = 3 WHERE cluster = 1 AND from_fetch = 2",
            "a: renderings 1 and 3",
        ),
        (
            "renderings-ranges",
            "UPDATE renderings SET until = 99 WHERE id = (SELECT max(id) FROM renderings WHERE cluster = 1)",
            "rendering ",
        ),
        (
            "renderings-open",
            "UPDATE renderings SET digest = x'0000000000000000000000000000000000000000000000000000000000000000' WHERE until > 99",
            "rendering ",
        ),
        ("renderings-kinds", "UPDATE renderings SET refusal = '[]' WHERE id = 1", "rendering 1"),
        ("syncs-one-at-a-time", "UPDATE syncs SET result = 'Running', ended = NULL WHERE id IN (1, 2)", "a: 2 syncs"),
        ("syncs-ends", "UPDATE syncs SET ended = NULL WHERE id = 2", "sync 2"),
        ("syncs-results", "UPDATE syncs SET result = 'Done' WHERE id = 2", "sync 2: Done"),
        ("syncs-whole", "UPDATE bundles SET outcome = 'Refused' WHERE sync = 2", "sync 2, bundle shop"),
        ("commits-in-order", "UPDATE commits SET arrived = 4 WHERE seq = 2", "commit abab"),
        ("tips-known", "UPDATE fetches SET tip = x'0102030405060708090a0b0c0d0e0f1011121314' WHERE id = 2", "fetch 2"),
        ("tip-on-branch", "UPDATE commits SET rewritten = 1 WHERE seq = 5", "commit abab"),
        ("states-whole", "UPDATE clusters SET since = NULL WHERE name = 'a'", "a"),
        ("hashes", "UPDATE objects SET digest = x'00'", "objects of cluster 1 ConfigMap/shop/x"),
        ("times", "UPDATE syncs SET started = 9e15 WHERE id = 1", "syncs 1"),
        ("texts", "UPDATE transitions SET error = '{' WHERE id = 1", "transitions 1"),
        ("references", "UPDATE transitions SET cluster = 77 WHERE id = 1", "transitions 1 names no row of clusters"),
        ("answers", "UPDATE clusters SET phase = 'Happy' WHERE name = 'a'", "Happy"),
    ];
    for (rule, damage, place) in cases {
        let bed = kept().await;
        bed.ledger.close().await.unwrap();
        let db = rusqlite::Connection::open(bed.dir.path().join("ledger.db")).unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        assert!(db.execute(damage, []).unwrap() > 0, "{rule}");
        drop(db);
        let faults = verify(bed.dir.path()).unwrap().faults;
        let found = faults.iter().find(|fault| fault.rule == rule).unwrap_or_else(|| panic!("{rule}: {faults:?}"));
        assert!(found.places[0].contains(place), "{rule}: {:?}", found.places);
        // A value that cannot be read also keeps an answer from being given.
        assert!(faults.iter().all(|fault| fault.rule == rule || fault.rule == "answers"), "{rule}: {faults:?}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_a_fault_and_no_ledger_is_an_error() {
    let bed = kept().await;
    bed.ledger.close().await.unwrap();
    let path = bed.dir.path().join("ledger.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // Pages of an index and of rows; the first is left, without which it would be no database.
    bytes[8192..40_960].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let faults = verify(bed.dir.path()).unwrap().faults;
    assert_eq!(faults[0].rule, "file");
    assert!(!faults[0].places.is_empty() && faults[0].places.len() <= 20, "{faults:?}");
    std::fs::write(&path, "no database at all, but long enough to be taken for one").unwrap();
    assert_eq!(verify(bed.dir.path()).unwrap().faults[0].rule, "file");
    assert!(matches!(verify(&bed.dir.path().join("nowhere")).unwrap_err(), LedgerError::Missing(_)));
}

#[tokio::test]
async fn an_export_has_every_row_and_no_credentials() {
    let bed = kept().await;
    let mut out = Vec::new();
    bed.reader().export(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("https://***@example.org") && !text.contains("hunter2"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["table"], &lines[0]["schema"]), (&"ledger".into(), &1.into()));
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for line in &lines[1..] {
        *rows.entry(line["table"].as_str().unwrap().to_owned()).or_default() += 1;
        for (column, value) in line["row"].as_object().unwrap() {
            // Milliseconds since 1970 would be a time that nobody said is one.
            assert!(value.as_i64().is_none_or(|number| number < 1_000_000_000_000), "{column}: {line}");
        }
    }
    let counted = verify(bed.dir.path()).unwrap().rows;
    assert_eq!(rows, counted.into_iter().filter(|(_, count)| *count > 0).collect());
    let sync = &lines.iter().find(|line| line["table"] == "syncs").unwrap()["row"];
    assert_eq!((&sync["target"], &sync["result"]), (&id(1).to_string().into(), &"Succeeded".into()));
    assert!(sync["started"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{sync}");
    let absent = lines.iter().rfind(|line| line["table"] == "renderings").unwrap();
    assert_eq!(absent["row"]["until"], Value::Null, "a range without an end: {absent}");
}

const KEEP: Retention = Retention { time: Duration::from_hours(1), newest: 1 };

#[tokio::test]
async fn compacting_removes_what_is_too_old_and_keeps_the_rest() {
    let bed = kept().await;
    let told = |bed: &Bed| {
        let mut log = bed.reader().log(10).unwrap();
        // Where a commit once failed is told by the syncs that are kept.
        log.commits.iter_mut().for_each(|entry| entry.failed.clear());
        (bed.reader().status().unwrap(), log)
    };
    let before = told(&bed);
    for _ in 0..300 {
        let sync = bed.ledger.begin_sync(start("a", 5, 6)).await.unwrap();
        bed.ledger.end_sync(sync, None).await.unwrap();
    }
    bed.ledger.close().await.unwrap();
    let Compacted { syncs, before: bytes, after, .. } = compact(bed.dir.path(), KEEP, at(100_000), |_| Ok(1 << 30)).unwrap();
    assert!(syncs == 303 && after < bytes, "{syncs} syncs, {bytes} bytes, then {after}");
    assert_eq!(verify(bed.dir.path()).unwrap().faults, []);
    assert_eq!(told(&bed), before);
    assert_eq!(std::fs::read_dir(bed.dir.path()).unwrap().count(), 1, "nothing is left beside the file");
    let opened = Ledger::open(bed.dir.path()).unwrap();
    assert_eq!(opened.damaged, None);
    opened.ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_file_in_use_and_a_full_disk_leave_the_ledger_as_it_is() {
    let bed = kept().await;
    let error = compact(bed.dir.path(), KEEP, at(100_000), |_| Ok(1 << 30)).unwrap_err();
    assert_eq!(error.code(), codes::LEDGER_IN_USE, "{error}");
    bed.ledger.close().await.unwrap();
    let path = bed.dir.path().join("ledger.db");
    let error = compact(bed.dir.path(), Retention::default(), at(100_000), |_| Ok(4096)).unwrap_err();
    assert_eq!(error.code(), codes::LEDGER_NO_ROOM, "{error}");
    assert!(error.to_string().contains("the disk has 4096"), "{error}");
    let size = std::fs::metadata(&path).unwrap().len();
    // What an earlier one left when it was killed is in nobody's way.
    std::fs::write(bed.dir.path().join("ledger.db.compact"), "half").unwrap();
    assert!(compact(bed.dir.path(), Retention::default(), at(100_000), |_| Ok(1 << 30)).unwrap().after <= size);
    assert_eq!(bed.reader().history("a", 10).unwrap().syncs.len(), 4);
}

/// Root may compact the ledger of an agent that is not root.
#[tokio::test]
async fn a_compacted_ledger_is_still_its_owners() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let bed = Bed::new();
    bed.ledger.close().await.unwrap();
    let path = crate::ledger::path(bed.dir.path());
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(&path, Some(65534), Some(65533)).unwrap();
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let whose = || std::fs::metadata(&path).map(|it| (it.ino(), it.uid(), it.gid(), it.mode() & 0o7777)).unwrap();
    let before = whose();
    compact(bed.dir.path(), KEEP, at(100_000), |_| Ok(1 << 30)).unwrap();
    let after = whose();
    assert_ne!(before.0, after.0, "it is a new file");
    assert_eq!((before.1, before.2, before.3), (after.1, after.2, after.3));
    assert!(!is_root || after.1 == 65534);
}
