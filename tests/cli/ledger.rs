//! `evenkeel ledger`, on files as an agent leaves them.

use std::{collections::BTreeMap, path::Path};

use evenkeel::{
    git::{CommitId, CommitInfo},
    ledger::{ClusterRow, Ledger},
    manifest::Digest,
    sync::{Journal as _, SyncStart, Trigger},
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{fleet, run};

/// A state directory whose agent is stopped.
fn stopped() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let clock = || fleet::now() - jiff::SignedDuration::from_hours(1);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let ledger = Ledger::open_with(dir.path(), std::sync::Arc::new(clock)).unwrap().ledger;
        let (id, rendering) = (CommitId([0xc3; 20]), Digest([7; 32]));
        let (author, email, subject) = ("Ada".to_owned(), "ada@example.org".to_owned(), "Begin".to_owned());
        let commit = CommitInfo { id, parent: None, author, email, time: clock(), subject };
        ledger.record_fetch(vec![commit], id, None, false, clock()).await.unwrap();
        let (name, environment, region) = ("prod-eu-1".to_owned(), "prod".to_owned(), "eu".to_owned());
        ledger.record_fleet(vec![ClusterRow { name: name.clone(), environment, region, labels: BTreeMap::new() }]).await.unwrap();
        ledger.record_rendering(id, vec![(name.clone(), Ok(rendering))]).await.unwrap();
        let sync = ledger.begin_sync(SyncStart { cluster: name, commit: id, rendering, trigger: Trigger::Commit }).await.unwrap();
        ledger.end_sync(sync, None).await.unwrap();
        ledger.close().await.unwrap();
    });
    dir
}

/// What a command says of that folder.
fn said(line: &str, dir: &Path) -> String {
    let whole = run(&format!("evenkeel ledger {line} --state-dir {}", dir.display())).whole();
    whole.replace(&dir.display().to_string(), "DIR")
}

fn without_sizes() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+(\.\d)? [KM]?i?B", "SIZE");
    settings.bind_to_scope()
}

#[test]
fn a_ledger_is_verified() {
    let _sizes = without_sizes();
    let dir = stopped();
    insta::assert_snapshot!("whole", said("verify", dir.path()));
    let db = Connection::open(dir.path().join("ledger.db")).unwrap();
    db.execute("UPDATE syncs SET ended = NULL", []).unwrap();
    insta::assert_snapshot!("one-rule-broken", said("verify", dir.path()));
    db.execute("UPDATE syncs SET target = x'00'", []).unwrap();
    let output = run(&format!("evenkeel ledger verify -o json --state-dir {}", dir.path().display()));
    assert_eq!(output.code, 1);
    assert!(output.err.starts_with("error[EK5010]: the ledger is not whole: 3 rules do not hold\n"), "{}", output.err);
    let verdict: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(crate::schemas::misfit("ledger-verify", &verdict), "");
    insta::assert_snapshot!("no-ledger", said("verify", &dir.path().join("nowhere")));
}

#[test]
fn a_ledger_is_exported() {
    let dir = stopped();
    let output = run(&format!("evenkeel ledger export --state-dir {}", dir.path().display()));
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    // The agent's name is random, and the version grows.
    let lines = output.out.lines().filter(|line| !line.contains("\"meta\"") && !line.contains("\"version\""));
    insta::assert_snapshot!("export", lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_ledger_is_compacted_while_nobody_uses_it() {
    let _sizes = without_sizes();
    let dir = stopped();
    insta::assert_snapshot!("compact", said("compact", dir.path()));
    assert_eq!(run(&format!("evenkeel ledger verify --state-dir {}", dir.path().display())).code, 0);
    let lock = std::fs::File::create(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    insta::assert_snapshot!("compact-beside-an-agent", said("compact", dir.path()));
    drop(lock);
    let output = run(&format!("evenkeel ledger compact -o json --state-dir {}", dir.path().display()));
    let compacted: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(crate::schemas::misfit("ledger-compact", &compacted), "");
    insta::assert_snapshot!("compact-nothing", said("compact", &dir.path().join("nowhere")));
    assert!(!dir.path().join("nowhere").exists(), "nothing was made there");
}
