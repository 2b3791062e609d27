//! No question and no step of a sync looks through a table that grows with commits.
//!
//! Each statement is caught while it runs, and SQLite says how it goes about it. What that is follows from the indexes, not from the
//! number of rows, so a small ledger tells what becomes of one of years.

use std::{collections::BTreeSet, sync::Mutex};

use rusqlite::{
    Connection,
    trace::{TraceEvent, TraceEventCodes},
};

use super::*;
use crate::{
    ledger::{branch, clusters, file, held, retention, syncs, told},
    manifest::ObjectId,
    sync::{Action, BundleOutcome, ObjectResult, approval::Asked},
};

/// Tables that have more rows with every commit.
const GROWING: [&str; 13] = [
    "fetches",
    "commits",
    "transitions",
    "renderings",
    "syncs",
    "bundles",
    "object_results",
    "warnings",
    "notes",
    "told",
    "actions",
    "action_clusters",
    "cluster_facts",
];

/// Statements that a connection has run.
#[derive(Clone, Default)]
struct Caught(Arc<Mutex<BTreeSet<String>>>);

impl Caught {
    fn listen(&self, connection: &mut Connection) {
        let caught = self.0.clone();
        let note = move |event: TraceEvent<'_>| {
            if let TraceEvent::Stmt(statement, _) = event {
                caught.lock().unwrap().insert(statement.sql().into_owned());
            }
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note)).unwrap();
    }

    /// Each statement that looks through a growing table, with SQLite's word for it.
    fn scans(&self, db: &Connection) -> Vec<String> {
        let statements = std::mem::take(&mut *self.0.lock().unwrap());
        let statements =
            statements.iter().filter(|sql| ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|verb| sql.starts_with(verb)));
        let statements: Vec<&String> = statements.collect();
        assert!(statements.len() >= 5, "hardly anything was caught: {statements:?}");
        let mut scans = Vec::new();
        for sql in statements {
            let mut explained = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            // Parameters without values say nothing about which index there is.
            let mut lines = explained.raw_query();
            while let Some(line) = lines.next().unwrap() {
                let detail: String = line.get("detail").unwrap();
                let mut words = detail.split(' ');
                let scanned = words.next().filter(|word| *word == "SCAN").and_then(|_| words.next());
                // Indexes of a few rows: what runs, and what was refused.
                let is_few = ["syncs_running", "renderings_refused"].iter().any(|index| detail.contains(index));
                if scanned.is_some_and(|table| GROWING.contains(&table) && !ends_soon(sql, table)) && !is_few {
                    scans.push(format!("{detail}: {sql}"));
                }
            }
        }
        scans
    }
}

/// A look at the newest or oldest rows by their number, and at no others, ends at once.
fn ends_soon(sql: &str, table: &str) -> bool {
    ["id", "seq"].iter().any(|number| {
        sql.contains(&format!("FROM {table} ORDER BY {number} DESC LIMIT")) || sql.contains(&format!("max({number}) FROM {table}"))
    })
}

async fn some_history() -> Bed {
    let bed = Bed::new();
    bed.fleet(&["a", "b"]).await;
    for commit in 1..=3 {
        bed.fetch(&[commit]).await;
        bed.render(commit, &[("a", Some(commit)), ("b", None)]).await;
        bed.synced("a", commit, commit).await;
    }
    bed
}

#[tokio::test]
async fn no_question_looks_through_what_grows() {
    let bed = some_history().await;
    bed.ledger.begin_telling("statuses").await.unwrap();
    let (reader, caught) = (bed.reader(), Caught::default());
    caught.listen(&mut reader.connection());
    reader.status().unwrap();
    reader.log(20).unwrap();
    reader.where_is(id(1)).unwrap();
    reader.find_commit(&id(2).to_string()[..40]).unwrap();
    reader.history("a", 20).unwrap();
    reader.content("a").unwrap();
    reader.touched(id(2), None).unwrap();
    reader.commit(id(2)).unwrap();
    reader.search("change", 20).unwrap();
    assert_ne!(reader.telling("statuses", 20).unwrap(), []);
    assert_eq!(caught.scans(&reader.connection()), Vec::<String>::new());
    // The guard sees what it is there for, a limit or not.
    reader.status().unwrap();
    for scan in ["SELECT count(*) FROM syncs WHERE rendering = ?1", "SELECT id FROM syncs WHERE rendering = ?1 LIMIT 1"] {
        reader.read(|db| Ok(db.prepare(scan)?.exists([digest_of(1)])?)).unwrap();
    }
    assert_eq!(caught.scans(&reader.connection()).len(), 2);
}

#[tokio::test]
async fn no_step_of_a_sync_looks_through_what_grows() {
    let bed = some_history().await;
    bed.ledger.close().await.unwrap();
    let (mut db, caught) = (file::open_sound(&bed.dir.path().join("ledger.db")).unwrap(), Caught::default());
    caught.listen(&mut db);
    let fetch = branch::Fetch { commits: vec![commit(4)], tip: id(4), was: None, rewritten: false, at: at(4) };
    branch::record_fetch(&db, &fetch).unwrap();
    branch::record_fleet(&db, &[row("a"), row("b")], at(4)).unwrap();
    branch::record_rendering(&db, id(4), &vec![("a".to_owned(), Ok(digest_of(4)))], at(4)).unwrap();
    syncs::interrupt_all(&db).unwrap();
    let sync = syncs::begin(&db, &start("a", 4, 4), at(5)).unwrap();
    syncs::begin_bundle(&db, sync, "shop", 1, 0, at(5)).unwrap();
    let object: ObjectId = "ConfigMap/shop/x".parse().unwrap();
    syncs::object(&db, sync, "shop", &ObjectResult { id: object.clone(), action: Action::Pruned, live: None, error: None }).unwrap();
    syncs::warning(&db, sync, &object, "old").unwrap();
    syncs::end_bundle(&db, sync, "shop", &BundleOutcome::Applied, at(6)).unwrap();
    syncs::end(&db, sync, None, at(6)).unwrap();
    let (applied, rendering) = (Some(id(4)), Some(digest_of(4)));
    clusters::set_state(&db, "a", &State { desired: applied, applied, rendering, ..state(Phase::Synced) }, at(7)).unwrap();
    held::write(&db, "a", &Asked::default()).unwrap();
    told::record(&db, "statuses", &[(id(4), "prod".to_owned(), "Success")], None, at(8)).unwrap();
    retention::remove_some(&db, 1, crate::ledger::Retention::default(), at(8)).unwrap();
    assert_eq!(caught.scans(&db), Vec::<String>::new());
}
