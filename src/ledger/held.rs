//! Deletions that people are asked about, and what they approved.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    LedgerError,
    actions::{self, ActionRow},
    clusters::id_of,
    sql::At,
};
use crate::{
    manifest::{Digest, ObjectId},
    sync::approval::{Answer, Asked, fleet_plan},
};

pub(super) fn read(db: &Connection, cluster: &str) -> Result<Asked, LedgerError> {
    let mut rows =
        db.prepare_cached("SELECT object, held.uid, plan, approved FROM held JOIN clusters ON clusters.id = cluster WHERE name = ?")?;
    let rows = rows.query_map([cluster], |row| {
        let id = row.get_ref(0)?.as_str()?.parse::<ObjectId>().map_err(rusqlite::types::FromSqlError::other)?;
        Ok(((id, row.get(1)?), Answer { plan: row.get(2)?, approved: row.get(3)? }))
    })?;
    Ok(Asked(rows.collect::<Result<_, _>>()?))
}

/// Replaces what is held. An approval that came since it was read stands.
pub(super) fn write(db: &Connection, cluster: &str, asked: &Asked) -> Result<(), LedgerError> {
    let before = read(db, cluster)?;
    let cluster = id_of(db, cluster)?;
    let mut remove = db.prepare_cached("DELETE FROM held WHERE cluster = ? AND object = ? AND uid = ?")?;
    for (id, uid) in before.0.keys().filter(|line| !asked.0.contains_key(line)) {
        remove.execute(params![cluster, id.to_string(), uid])?;
    }
    let mut put = db.prepare_cached(
        "INSERT INTO held (cluster, object, uid, plan) VALUES (?, ?, ?, ?) \
         ON CONFLICT (cluster, object, uid) DO UPDATE SET plan = excluded.plan",
    )?;
    for ((id, uid), answer) in asked.0.iter().filter(|(line, answer)| before.0.get(line).is_none_or(|before| before.plan != answer.plan)) {
        put.execute(params![cluster, id.to_string(), uid, answer.plan])?;
    }
    Ok(())
}

/// The clusters on which people are asked about a plan. One that is compared just now does not show it meanwhile; what it found before
/// still holds, and whether that is so is judged again before anything is deleted.
const ASKED: &str = "SELECT cluster FROM held JOIN clusters ON clusters.id = cluster \
     WHERE plan = ?1 AND (held_plan = ?1 OR phase = 'Syncing')";

/// The clusters of which `status` shows this plan, with their environments.
pub(super) fn holders(db: &Connection, plan: Digest) -> Result<Vec<(String, String)>, LedgerError> {
    let mut rows = db.prepare_cached(&format!("SELECT name, environment FROM clusters WHERE id IN ({ASKED}) ORDER BY name"))?;
    Ok(rows.query_map([plan], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}

/// Approves a plan on the clusters of which `status` shows it, or all plans of the fleet by the hash that stands for them. Which
/// clusters those are.
pub(super) fn approve(db: &Connection, plan: Digest, who: &str, at: Timestamp) -> Result<Vec<String>, LedgerError> {
    let mut plans = db.prepare_cached("SELECT name, held_plan FROM clusters WHERE held_plan NOT NULL ORDER BY name")?;
    let plans: Vec<(String, Digest)> = plans.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let all = fleet_plan(plans.iter().map(|(name, plan)| (name.as_str(), *plan))) == Some(plan);
    let each: BTreeSet<Digest> = if all { plans.into_iter().map(|(_, plan)| plan).collect() } else { [plan].into() };
    let mut clusters = Vec::new();
    for plan in each {
        clusters.extend(approve_one(db, plan, who, at)?);
    }
    clusters.sort();
    if !clusters.is_empty() {
        let (who, target, outcome) = (who.to_owned(), plan.to_string(), "accepted".to_owned());
        let action = ActionRow { who, what: "approve", target, reason: String::new(), outcome, clusters: clusters.clone() };
        actions::record(db, &action, at)?;
    }
    Ok(clusters)
}

fn approve_one(db: &Connection, plan: Digest, who: &str, at: Timestamp) -> Result<Vec<String>, LedgerError> {
    let mut names = db.prepare_cached(&format!("SELECT name FROM clusters WHERE id IN ({ASKED}) ORDER BY name"))?;
    let names: Vec<String> = names.query_map([plan], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let lines = db.prepare_cached(&format!("UPDATE held SET approved = 1 WHERE plan = ?1 AND cluster IN ({ASKED})"))?.execute([plan])?;
    if lines == 0 {
        return Ok(Vec::new());
    }
    db.prepare_cached(
        "INSERT INTO approvals (plan, who, at) VALUES (?, ?, ?) ON CONFLICT (plan) DO UPDATE SET who = excluded.who, at = excluded.at",
    )?
    .execute(params![plan, who, At(at)])?;
    Ok(names)
}
