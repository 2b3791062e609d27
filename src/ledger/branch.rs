//! What is written when the branch moves: commits, the fleet, renderings.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    LedgerError,
    fate::Place,
    holds,
    sql::{At, Problem},
};
use crate::{
    diagnostic::Diagnostic,
    git::{CommitId, CommitInfo},
    manifest::Digest,
    sync::hold::Hold,
};

/// Bytes of an author, address or subject that are kept. Git sets no limit, and whoever may push chooses them.
const TEXT_MAX: usize = 1000;
/// Until where a cluster's absence holds: no commit is needed to go on with it.
pub(super) const OPEN_END: Place = Place::MAX;

/// What a fetch brought.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    /// Oldest first.
    pub(super) commits: Vec<CommitInfo>,
    pub(super) tip: CommitId,
    pub(super) was: Option<CommitId>,
    pub(super) rewritten: bool,
    pub(super) at: Timestamp,
}

/// A cluster of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRow {
    /// The folder's name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Its region.
    pub region: String,
    /// metadata.labels of its cluster.yaml.
    pub labels: BTreeMap<String, String>,
}

pub(super) fn record_fetch(db: &Connection, fetch: &Fetch) -> Result<(), LedgerError> {
    let last: Option<(Place, CommitId)> = db
        .prepare_cached("SELECT id, tip FROM fetches ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let was = fetch.was.or(last.map(|(_, tip)| tip));
    let place = match last {
        Some((place, tip)) if tip == fetch.tip => place,
        _ => {
            db.prepare_cached("INSERT INTO fetches (tip, was, rewritten, at) VALUES (?, ?, ?, ?)")?.execute(params![
                fetch.tip,
                was,
                fetch.rewritten,
                At(fetch.at)
            ])?;
            db.last_insert_rowid()
        }
    };
    for commit in unknown_commits(db, fetch)? {
        insert_commit(db, commit, fetch.at, place)?;
    }
    // A tip of which nothing is told (fetched by an agent that died before it wrote it down) still has its place.
    db.prepare_cached(
        "INSERT OR IGNORE INTO commits (id, author, email, time, subject, seen, arrived) VALUES (?1, '', '', ?2, '', ?2, ?3)",
    )?
    .execute(params![fetch.tip, At(fetch.at), place])?;
    mark_rewritten(db, fetch, was.filter(|_| fetch.rewritten))
}

/// The commits to record. After a force-push the whole history may be given: what is older than a known commit, or than
/// a known commit's parent, was on the branch before the first look at it.
fn unknown_commits<'f>(db: &Connection, fetch: &'f Fetch) -> Result<&'f [CommitInfo], LedgerError> {
    if !fetch.rewritten {
        return Ok(&fetch.commits);
    }
    let mut known = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM commits WHERE id = ?1 AND subject <> '' OR parent = ?1)")?;
    for (at, commit) in fetch.commits.iter().enumerate().rev() {
        if known.query_row([commit.id], |row| row.get(0))? {
            let from = if commit.id == fetch.tip { at } else { at + 1 };
            return Ok(&fetch.commits[from..]);
        }
    }
    Ok(&fetch.commits)
}

fn insert_commit(db: &Connection, commit: &CommitInfo, seen: Timestamp, arrived: Place) -> Result<(), LedgerError> {
    db.prepare_cached(
        "INSERT INTO commits (id, parent, author, email, time, subject, seen, arrived) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, author = excluded.author, email = excluded.email, \
         time = excluded.time, subject = excluded.subject",
    )?
    .execute(params![
        commit.id,
        commit.parent,
        bounded(&commit.author),
        bounded(&commit.email),
        At(commit.time),
        bounded(&commit.subject),
        At(seen),
        arrived
    ])?;
    Ok(())
}

/// Marks what a force-push took off the branch, and what it put (back) on it.
fn mark_rewritten(db: &Connection, fetch: &Fetch, was: Option<CommitId>) -> Result<(), LedgerError> {
    let Some(was) = was else {
        let mut back = db.prepare_cached("UPDATE commits SET rewritten = 0 WHERE id = ? AND rewritten")?;
        for commit in fetch.commits.iter().map(|commit| commit.id).chain([fetch.tip]) {
            back.execute([commit])?;
        }
        return Ok(());
    };
    db.prepare_cached(
        "WITH RECURSIVE \
         new(id) AS (SELECT ?1 UNION SELECT parent FROM commits JOIN new USING (id) WHERE parent IS NOT NULL), \
         old(id) AS (SELECT ?2 UNION SELECT parent FROM commits JOIN old USING (id) WHERE parent IS NOT NULL) \
         UPDATE commits SET rewritten = id NOT IN (SELECT id FROM new) \
         WHERE id IN (SELECT id FROM old) OR id IN (SELECT id FROM new)",
    )?
    .execute([fetch.tip, was])?;
    Ok(())
}

fn bounded(text: &str) -> &str {
    let end = (0..=TEXT_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

pub(super) fn record_fleet(db: &Connection, clusters: &[ClusterRow], now: Timestamp) -> Result<Vec<(Hold, Vec<String>)>, LedgerError> {
    let kept = holds::keep(db, clusters, now)?;
    let mut upsert = db.prepare_cached(
        "INSERT INTO clusters (name, environment, region, labels, in_repo) VALUES (?, ?, ?, ?, 1) \
         ON CONFLICT (name) DO UPDATE SET environment = excluded.environment, region = excluded.region, \
         labels = excluded.labels, in_repo = 1",
    )?;
    for ClusterRow { name, environment, region, labels } in clusters {
        let labels = serde_json::json!(labels).to_string();
        upsert.execute(params![name, environment, region, labels])?;
    }
    let here: std::collections::BTreeSet<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let mut known = db.prepare_cached("SELECT id, name FROM clusters WHERE in_repo")?;
    let known: Vec<(i64, String)> = known.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (id, _) in known.iter().filter(|(_, name)| !here.contains(name.as_str())) {
        db.prepare_cached("UPDATE clusters SET in_repo = 0 WHERE id = ?")?.execute([id])?;
        let place: Option<Place> = db.prepare_cached("SELECT max(id) FROM fetches")?.query_row([], |row| row.get(0))?;
        // It may have come back and gone again without being rendered.
        if let (Some(place), Some(last)) = (place, last_rendering(db, *id)?.filter(|last| last.given != Given::Absent)) {
            add_rendering(db, *id, place, Some(&last), &Given::Absent, now)?;
        }
    }
    Ok(kept)
}

/// What a tip gave for a cluster.
#[derive(PartialEq, Eq)]
enum Given {
    Digest(Digest),
    Refusal(String),
    Absent,
}

/// The newest row of a cluster.
struct Last {
    id: i64,
    from: Place,
    until: Place,
    given: Given,
}

/// Results of one commit for some clusters, by cluster.
pub(super) type Rendered = Vec<(String, Result<Digest, Vec<Diagnostic>>)>;

pub(super) fn record_rendering(db: &Connection, commit: CommitId, results: &Rendered, now: Timestamp) -> Result<(), LedgerError> {
    let place = place_of(db, commit)?.ok_or_else(|| LedgerError::UnknownCommit(commit.to_string()))?;
    db.prepare_cached("UPDATE fetches SET rendered_at = ? WHERE id = ? AND rendered_at IS NULL")?.execute(params![At(now), place])?;
    for (name, result) in results {
        let (cluster, in_repo): (i64, bool) = db
            .prepare_cached("SELECT id, in_repo FROM clusters WHERE name = ?")?
            .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or_else(|| LedgerError::UnknownCluster(name.clone()))?;
        let last = last_rendering(db, cluster)?;
        // A rendering that comes late says nothing any more; one of a cluster that left is not carried out.
        if !in_repo || last.as_ref().is_some_and(|last| place < last.from || (place < last.until && last.until != OPEN_END)) {
            continue;
        }
        let given = match result {
            Ok(digest) => Given::Digest(*digest),
            Err(diagnostics) => Given::Refusal(Problem::texts(diagnostics)),
        };
        match last {
            Some(last) if last.given == given => {
                db.prepare_cached("UPDATE renderings SET until = ? WHERE id = ?")?.execute([place, last.id])?;
            }
            last => add_rendering(db, cluster, place, last.as_ref(), &given, now)?,
        }
    }
    Ok(())
}

/// The last place where a commit was the tip.
pub(super) fn place_of(db: &Connection, commit: CommitId) -> Result<Option<Place>, LedgerError> {
    Ok(db.prepare_cached("SELECT max(id) FROM fetches WHERE tip = ?")?.query_row([commit], |row| row.get(0))?)
}

fn last_rendering(db: &Connection, cluster: i64) -> Result<Option<Last>, LedgerError> {
    let mut last =
        db.prepare_cached("SELECT id, from_fetch, until, digest, refusal FROM renderings WHERE cluster = ? ORDER BY id DESC LIMIT 1")?;
    let last = last.query_row([cluster], |row| {
        let given = match (row.get(3)?, row.get(4)?) {
            (Some(digest), _) => Given::Digest(digest),
            (None, Some(refusal)) => Given::Refusal(refusal),
            (None, None) => Given::Absent,
        };
        Ok(Last { id: row.get(0)?, from: row.get(1)?, until: row.get(2)?, given })
    });
    Ok(last.optional()?)
}

fn add_rendering(
    db: &Connection,
    cluster: i64,
    place: Place,
    last: Option<&Last>,
    given: &Given,
    now: Timestamp,
) -> Result<(), LedgerError> {
    if let Some(last) = last.filter(|last| last.until == OPEN_END) {
        db.prepare_cached("UPDATE renderings SET until = ? WHERE id = ?")?.execute([last.from.max(place - 1), last.id])?;
    }
    let by_commit = last.is_none_or(|last| last.until == OPEN_END || last.until < place);
    let (until, digest, refusal) = match given {
        Given::Digest(digest) => (place, Some(digest), None),
        Given::Refusal(refusal) => (place, None, Some(refusal)),
        Given::Absent => (OPEN_END, None, None),
    };
    db.prepare_cached("INSERT INTO renderings (cluster, from_fetch, until, digest, refusal, by_commit, at) VALUES (?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![cluster, place, until, digest, refusal, by_commit, At(now)])?;
    Ok(())
}

/// Marks the rendering that a cluster runs as reached.
pub(super) fn reached(db: &Connection, cluster: i64, commit: CommitId, rendering: Digest, now: Timestamp) -> Result<(), LedgerError> {
    let Some(place) = place_of(db, commit)? else { return Ok(()) };
    let mut row = db.prepare_cached(
        "SELECT id FROM renderings WHERE cluster = ?1 AND from_fetch <= ?2 AND until >= ?2 AND digest = ?3 \
         ORDER BY id DESC LIMIT 1",
    )?;
    if let Some(id) = row.query_row(params![cluster, place, rendering], |row| row.get::<_, i64>(0)).optional()? {
        db.prepare_cached("UPDATE renderings SET reached_at = ? WHERE id = ? AND reached_at IS NULL")?.execute(params![At(now), id])?;
    }
    Ok(())
}

/// The commit that brought what this one gives for a cluster: itself, or an older one where it changed nothing there. One that was never
/// rendered as the tip stands for itself.
pub(super) fn brought_by(db: &Connection, commit: CommitId, cluster: &str) -> Result<CommitId, LedgerError> {
    let mut brought = db.prepare_cached(
        "SELECT tip FROM (SELECT id, cluster, from_fetch FROM renderings WHERE cluster = (SELECT id FROM clusters WHERE name = ?2) \
         AND by_commit AND from_fetch <= ?1 ORDER BY from_fetch DESC LIMIT 1) AS origin JOIN fetches ON fetches.id = origin.from_fetch \
         WHERE EXISTS (SELECT 1 FROM renderings WHERE cluster = origin.cluster AND renderings.id >= origin.id AND ?1 BETWEEN from_fetch AND until)",
    )?;
    let Some(place) = place_of(db, commit)? else { return Ok(commit) };
    Ok(brought.query_row(params![place, cluster], |row| row.get(0)).optional()?.unwrap_or(commit))
}
