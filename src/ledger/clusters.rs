//! What is kept of each cluster: its state, its identity, what is applied to it, what it serves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    LedgerError, branch, notes,
    sql::{At, Count, Problem, Word},
};
use crate::{
    diagnostic::Diagnostic,
    git::CommitId,
    manifest::{Digest, ObjectId},
    sync::{Live, Phase, Recorded, Retry, State},
};

/// The columns that [`state_of`] reads.
pub(super) const STATE: &str = "phase, health, desired, applied, rendering, objects, drifted, held_deletions, held_plan, retry_at, \
     failures, would, ailing, error, since";

/// The state in the columns [`STATE`], and since when its phase holds; none before the first.
pub(super) fn state_of(row: &Row<'_>) -> rusqlite::Result<Option<(State, Timestamp)>> {
    let (Some(Word(phase)), Some(Word(health)), Some(At(since))) = (row.get("phase")?, row.get("health")?, row.get("since")?) else {
        return Ok(None);
    };
    let state = State {
        phase,
        health,
        desired: row.get("desired")?,
        applied: row.get("applied")?,
        rendering: row.get("rendering")?,
        wanted: None,
        objects: row.get::<_, Count>("objects")?.0,
        drifted: row.get::<_, Count>("drifted")?.0,
        held_deletions: row.get::<_, Count>("held_deletions")?.0,
        held_plan: row.get("held_plan")?,
        retry: retry_of(row)?,
        would: json_of(row, "would")?,
        ailing: json_of(row, "ailing")?.unwrap_or_default(),
        error: row.get::<_, Option<Problem>>("error")?.map(Diagnostic::from),
    };
    Ok(Some((state, since)))
}

fn retry_of(row: &Row<'_>) -> rusqlite::Result<Option<Retry>> {
    let (at, failures) = (row.get::<_, Option<At>>("retry_at")?, row.get::<_, Option<u32>>("failures")?);
    Ok(at.zip(failures).map(|(At(at), failures)| Retry { at, failures }))
}

/// What cannot be read, such as the form of another version, is learnt anew.
fn json_of<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<String>>(column)?.and_then(|json| serde_json::from_str(&json).ok()))
}

/// As it is kept; nothing where there is nothing.
fn json<T: Serialize>(value: Option<&T>) -> Option<String> {
    value.and_then(|value| serde_json::to_string(value).ok())
}

pub(super) fn id_of(db: &Connection, name: &str) -> Result<i64, LedgerError> {
    let id = db.prepare_cached("SELECT id FROM clusters WHERE name = ?")?.query_row([name], |row| row.get(0)).optional()?;
    id.ok_or_else(|| LedgerError::UnknownCluster(name.to_owned()))
}

pub(super) fn names(db: &Connection) -> Result<Vec<String>, LedgerError> {
    let mut names = db.prepare_cached("SELECT name FROM clusters ORDER BY name")?;
    Ok(names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

pub(super) fn state(db: &Connection, name: &str) -> Result<Option<State>, LedgerError> {
    let sql = format!("SELECT {STATE} FROM clusters WHERE name = ?");
    let state = db.prepare_cached(&sql)?.query_row([name], state_of).optional()?.flatten();
    Ok(state.map(|(state, _)| state))
}

pub(super) fn set_state(db: &Connection, name: &str, state: &State, at: Timestamp) -> Result<(), LedgerError> {
    let cluster = id_of(db, name)?;
    let sql = format!("SELECT {STATE} FROM clusters WHERE id = ?");
    let before = db.prepare_cached(&sql)?.query_row([cluster], state_of)?;
    let is_settled = matches!(state.phase, Phase::Synced | Phase::Held | Phase::Returned);
    if let (true, Some(applied), Some(rendering)) = (is_settled, state.applied, state.rendering) {
        branch::reached(db, cluster, applied, rendering, at)?;
    }
    let kept = State { wanted: None, ..state.clone() };
    if before.as_ref().is_some_and(|(before, _)| *before == kept) {
        return Ok(());
    }
    let same_phase = before.as_ref().filter(|(before, _)| before.phase == state.phase);
    let since = same_phase.map_or(at, |(_, since)| *since);
    let error = state.error.as_ref().map(Problem::text);
    db.prepare_cached(
        "UPDATE clusters SET phase = ?2, health = ?3, since = ?4, desired = ?5, applied = ?6, rendering = ?7, objects = ?8, \
         drifted = ?9, held_deletions = ?10, held_plan = ?11, retry_at = ?12, failures = ?13, error = ?14, would = ?15, ailing = ?16 WHERE id = ?1",
    )?
    .execute(params![
        cluster,
        Word(state.phase),
        Word(state.health),
        At(since),
        state.desired,
        state.applied,
        state.rendering,
        Count(state.objects),
        Count(state.drifted),
        Count(state.held_deletions),
        state.held_plan,
        state.retry.map(|retry| At(retry.at)),
        state.retry.map(|retry| retry.failures),
        error,
        json(state.would.as_ref()),
        json(Some(&state.ailing).filter(|ailing| !ailing.is_empty()))
    ])?;
    notes::note_left(db, cluster, state, at)?;
    // A newer commit that leaves everything as it is moves `desired` on every cluster: that is no transition.
    if same_phase.is_none_or(|(before, _)| before.error != state.error) {
        db.prepare_cached("INSERT INTO transitions (cluster, at, phase, desired, error) VALUES (?, ?, ?, ?, ?)")?.execute(params![
            cluster,
            At(at),
            Word(state.phase),
            state.desired,
            error
        ])?;
    }
    Ok(())
}

pub(super) fn uid(db: &Connection, name: &str) -> Result<Option<String>, LedgerError> {
    Ok(db.prepare_cached("SELECT uid FROM clusters WHERE name = ?")?.query_row([name], |row| row.get(0)).optional()?.flatten())
}

pub(super) fn set_uid(db: &Connection, name: &str, uid: &str) -> Result<(), LedgerError> {
    let cluster = id_of(db, name)?;
    let is_other = db
        .prepare_cached("SELECT uid IS NOT NULL AND uid <> ? FROM clusters WHERE id = ?")?
        .query_row(params![uid, cluster], |row| row.get::<_, bool>(0))?;
    db.prepare_cached("UPDATE clusters SET uid = ? WHERE id = ?")?.execute(params![uid, cluster])?;
    if is_other {
        // What was applied was applied to the cluster that it was before.
        db.prepare_cached("DELETE FROM objects WHERE cluster = ?")?.execute([cluster])?;
        db.prepare_cached("DELETE FROM held WHERE cluster = ?")?.execute([cluster])?;
        db.prepare_cached("UPDATE clusters SET applied = NULL, rendering = NULL WHERE id = ?")?.execute([cluster])?;
    }
    Ok(())
}

pub(super) fn objects(db: &Connection, name: &str) -> Result<Vec<Recorded>, LedgerError> {
    let mut objects = db.prepare_cached(
        "SELECT object, bundle, objects.uid, digest, fields, adopted FROM objects JOIN clusters ON clusters.id = cluster WHERE name = ?",
    )?;
    let found = objects.query_map([name], |row| {
        let id = row.get_ref(0)?.as_str()?.parse::<ObjectId>().map_err(rusqlite::types::FromSqlError::other)?;
        let live = Live { uid: row.get(2)?, digest: row.get(3)?, fields: row.get(4)? };
        Ok(Recorded { id, bundle: row.get(1)?, live, adopted: row.get(5)? })
    })?;
    let found = found.collect::<Result<_, _>>()?;
    drop(objects);
    // A task asks for them once; what their pages take would be some 250 bytes for each object.
    db.release_memory()?;
    Ok(found)
}

pub(super) fn forget_objects(db: &Connection, name: &str, ids: &[ObjectId]) -> Result<(), LedgerError> {
    let cluster = id_of(db, name)?;
    let mut forget = db.prepare_cached("DELETE FROM objects WHERE cluster = ? AND object = ?")?;
    for id in ids {
        forget.execute(params![cluster, id.to_string()])?;
    }
    Ok(())
}

/// What the cluster runs: the digest, and the newest commit that gives it.
pub(super) fn applied(db: &Connection, name: &str) -> Result<Option<(Digest, CommitId)>, LedgerError> {
    let mut applied =
        db.prepare_cached("SELECT rendering, applied FROM clusters WHERE name = ? AND rendering NOT NULL AND applied NOT NULL")?;
    Ok(applied.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

pub(super) fn set_facts(db: &Connection, name: &str, json: &str, at: Timestamp) -> Result<Digest, LedgerError> {
    let (cluster, digest) = (id_of(db, name)?, Digest::of(json.as_bytes()));
    let last: Option<Digest> = db
        .prepare_cached("SELECT digest FROM cluster_facts WHERE cluster = ? ORDER BY id DESC LIMIT 1")?
        .query_row([cluster], |row| row.get(0))
        .optional()?;
    if last != Some(digest) {
        db.prepare_cached("INSERT INTO facts (digest, json) VALUES (?, ?) ON CONFLICT DO NOTHING")?.execute(params![digest, json])?;
        db.prepare_cached("INSERT INTO cluster_facts (cluster, digest, at) VALUES (?, ?, ?)")?.execute(params![cluster, digest, At(at)])?;
    }
    Ok(digest)
}

pub(super) fn facts(db: &Connection) -> Result<BTreeMap<String, String>, LedgerError> {
    let mut facts = db.prepare_cached(
        "SELECT name, json FROM clusters \
         JOIN cluster_facts ON cluster_facts.id = (SELECT max(id) FROM cluster_facts WHERE cluster = clusters.id) \
         JOIN facts USING (digest)",
    )?;
    Ok(facts.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}
