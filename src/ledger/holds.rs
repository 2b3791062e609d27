//! What people hold. Each change is on disk when the call returns, and the record of who made it with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use kube_overlay::LabelSelector;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    ClusterRow, Ledger, LedgerError,
    actions::{self, ActionRow},
    sql::At,
};
use crate::{
    manifest::ObjectId,
    sync::hold::{Hold, Labels, Release, Released, Scope, found_on, release, target},
};

/// The objects that are on record as applied, for each of some bundles and cluster.
pub type OfBundles = BTreeMap<String, BTreeMap<String, Arc<BTreeSet<ObjectId>>>>;

impl Ledger {
    /// The holds that stand at that time.
    pub async fn holds(&self, now: Timestamp) -> Result<Vec<Hold>, LedgerError> {
        self.ask(move |db| standing(db, now)).await
    }

    /// Holds the clusters that are selected and those that will be; which those are now. Where there are none, nothing is held.
    pub async fn hold(&self, hold: Hold) -> Result<Vec<String>, LedgerError> {
        let now = (self.clock)();
        self.ask(move |db| {
            let held = clusters(db)?.into_iter().filter(|(_, labels)| hold.holds(labels)).map(|(name, _)| name);
            let held: Vec<String> = held.collect();
            if !held.is_empty() {
                put(db, &hold, false)?;
                actions::record(db, &row(&hold.who, "hold", &hold, held.clone()), now)?;
            }
            Ok(held)
        })
        .await
    }

    /// The labels of the clusters that this agent looks after, by name.
    pub async fn cluster_labels(&self) -> Result<BTreeMap<String, Labels>, LedgerError> {
        self.ask(clusters).await
    }

    /// The bundles of which objects are on record as applied to the selected clusters.
    pub async fn bundles_on_record(&self, selector: LabelSelector) -> Result<BTreeSet<String>, LedgerError> {
        self.ask(move |db| {
            let mut bundles =
                db.prepare_cached("SELECT DISTINCT bundle FROM objects WHERE cluster = (SELECT id FROM clusters WHERE name = ?)")?;
            let mut found = BTreeSet::new();
            for (cluster, _) in clusters(db)?.iter().filter(|(_, labels)| selector.matches(labels)) {
                found.extend(bundles.query_map([cluster], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?);
            }
            Ok(found)
        })
        .await
    }

    /// The objects that are on record as applied from each of these bundles.
    pub async fn applied_from(&self, bundles: BTreeSet<String>) -> Result<OfBundles, LedgerError> {
        self.ask(move |db| {
            let mut objects = db.prepare_cached("SELECT name, object FROM objects JOIN clusters ON id = cluster WHERE bundle = ?")?;
            let mut found = OfBundles::new();
            for bundle in bundles {
                let mut there: BTreeMap<String, BTreeSet<ObjectId>> = BTreeMap::new();
                let rows = objects.query_map([&bundle], |row| {
                    let id = row.get_ref(1)?.as_str()?.parse::<ObjectId>().map_err(rusqlite::types::FromSqlError::other)?;
                    Ok((row.get::<_, String>(0)?, id))
                })?;
                for row in rows {
                    let (cluster, id) = row?;
                    there.entry(cluster).or_default().insert(id);
                }
                found.insert(bundle, there.into_iter().map(|(cluster, objects)| (cluster, Arc::new(objects))).collect());
            }
            Ok(found)
        })
        .await
    }

    /// Lets the selected clusters go; which those are. None where nothing was held.
    pub async fn release(&self, wanted: Release, who: &str) -> Result<Option<Vec<String>>, LedgerError> {
        let (who, now) = (who.to_owned(), (self.clock)());
        self.ask(move |db| {
            let released = release(&standing(db, now)?, &clusters(db)?, &wanted);
            if released == Released::default() {
                return Ok(None);
            }
            carry_out(db, &released, now)?;
            let clusters: Vec<String> = released.clusters.into_iter().collect();
            let target = target(&wanted.selector.to_string(), wanted.bundle.as_deref(), Scope::Writes);
            let (reason, outcome) = (String::new(), "accepted".to_owned());
            let action = ActionRow { who, what: "release", target, reason, outcome, clusters: clusters.clone() };
            actions::record(db, &action, now)?;
            Ok(Some(clusters))
        })
        .await
    }

    /// Ends the holds whose time is over; whether there were any.
    pub async fn expire_holds(&self, now: Timestamp) -> Result<bool, LedgerError> {
        self.ask(move |db| {
            let mut over = db.prepare_cached("SELECT hold FROM holds WHERE ended IS NULL AND until <= ?")?;
            let over = read(&mut over, params![At(now)])?;
            let clusters = clusters(db)?;
            for hold in &over {
                end(db, &hold.id, now)?;
                let held = clusters.iter().filter(|(_, labels)| hold.holds(labels)).map(|(name, _)| name.clone());
                actions::record(db, &row("evenkeel", "expire", hold, held.collect()), now)?;
            }
            Ok(!over.is_empty())
        })
        .await
    }

    /// Takes up holds that were found on a cluster; those of them that hold it. One that ended before stays so.
    pub async fn find_holds(&self, cluster: &str, found: Vec<Hold>, now: Timestamp) -> Result<Vec<Hold>, LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| {
            let labels = clusters(db)?.remove(&cluster);
            for hold in found.iter().filter(|hold| !hold.is_over(now)) {
                let known = known(db, &hold.id)?;
                if known.is_some() && !standing(db, now)?.iter().any(|standing| standing.id == hold.id) {
                    continue;
                }
                let now_known = found_on(labels.as_ref(), known.as_ref(), hold);
                if known.as_ref() == Some(&now_known) {
                    continue;
                }
                put(db, &now_known, true)?;
                match known {
                    None => actions::record(db, &row("evenkeel", "find", hold, vec![cluster.clone()]), now)?,
                    Some(known) if known.named != now_known.named => kept(db, &now_known, vec![cluster.clone()], now)?,
                    Some(_) => {}
                }
            }
            let mut standing = standing(db, now)?;
            // Of a cluster that is not known its own word is taken.
            let holds = |hold: &Hold| labels.as_ref().is_none_or(|labels| hold.holds(labels));
            standing.retain(|hold| holds(hold) && found.iter().any(|found| found.id == hold.id));
            Ok(standing)
        })
        .await
    }

    /// Another agent holds a cluster, and says nothing there of these holds: it has let the cluster go. Those of them that were found, and
    /// so are that agent's, end for the cluster; whether there were any.
    pub async fn lose_holds(&self, cluster: &str, lost: Vec<String>) -> Result<bool, LedgerError> {
        let (cluster, now) = (cluster.to_owned(), (self.clock)());
        self.ask(move |db| {
            let mut found = db.prepare_cached("SELECT hold FROM holds WHERE found AND ended IS NULL")?;
            let mut found = read(&mut found, &[])?;
            found.retain(|hold| lost.contains(&hold.id));
            // A cluster's name is a label's value.
            let Ok(selector) = LabelSelector::parse(&format!("cluster={cluster}")) else { return Ok(false) };
            let wanted = Release { selector, bundle: None, environments: None };
            let released = release(&found, &clusters(db)?, &wanted);
            carry_out(db, &released, now)?;
            let gone = released.clusters.contains(&cluster);
            if gone {
                let (who, target) = ("evenkeel".to_owned(), wanted.selector.to_string());
                let (reason, outcome) = ("the agent that holds the cluster has let it go".to_owned(), "accepted".to_owned());
                actions::record(db, &ActionRow { who, what: "release", target, reason, outcome, clusters: vec![cluster] }, now)?;
            }
            Ok(gone)
        })
        .await
    }
}

/// Holds that nobody has ended, with the labels of the clusters that they may hold.
pub(super) struct NotEnded {
    holds: Vec<Hold>,
    clusters: BTreeMap<String, Labels>,
}

pub(super) fn not_ended(db: &Connection) -> Result<NotEnded, LedgerError> {
    let mut holds = db.prepare_cached("SELECT hold FROM holds WHERE ended IS NULL ORDER BY id")?;
    Ok(NotEnded { holds: read(&mut holds, &[])?, clusters: clusters(db)? })
}

impl NotEnded {
    /// The hold of a cluster that is on record as such an action, in one sentence.
    pub(super) fn told(&self, cluster: &str, who: &str, of: &str, reason: &str) -> Option<String> {
        let labels = self.clusters.get(cluster)?;
        let is_it = |hold: &&Hold| {
            (hold.who == who && hold.reason == reason)
                && target(&hold.selector, hold.bundle.as_deref(), hold.scope) == of
                && hold.holds(labels)
        };
        self.holds.iter().find(is_it).map(|hold| hold.diagnostic().message)
    }
}

fn carry_out(db: &Connection, released: &Released, now: Timestamp) -> Result<(), LedgerError> {
    released.ended.iter().try_for_each(|id| end(db, id, now))?;
    released.changed.iter().try_for_each(|hold| put(db, hold, false))
}

fn row(who: &str, what: &'static str, hold: &Hold, clusters: Vec<String>) -> ActionRow {
    let target = target(&hold.selector, hold.bundle.as_deref(), hold.scope);
    ActionRow { who: who.to_owned(), what, target, reason: hold.reason.clone(), outcome: "accepted".to_owned(), clusters }
}

/// Keeps held which of these clusters are, before what a revision says of their labels is put on record: the holds that go on for some
/// of them by name from now on, and those.
pub(super) fn keep(db: &Connection, rows: &[ClusterRow], now: Timestamp) -> Result<Vec<(Hold, Vec<String>)>, LedgerError> {
    let (standing, mut going_on) = (standing(db, now)?, Vec::new());
    if standing.is_empty() {
        return Ok(going_on);
    }
    // Also those that had left the repository: they come back as they went.
    let before = read_labels(db, "SELECT name, labels FROM clusters WHERE EXISTS (SELECT 1 FROM renderings WHERE cluster = clusters.id)")?;
    let changes: Vec<(&Labels, &Labels)> =
        rows.iter().filter_map(|row| Some((before.get(&row.name)?, &row.labels))).filter(|(before, after)| before != after).collect();
    for hold in standing {
        let now_held = hold.relabelled(changes.iter().copied());
        if now_held == hold {
            continue;
        }
        put(db, &now_held, false)?;
        let clusters: Vec<String> = now_held.named.difference(&hold.named).cloned().collect();
        if !clusters.is_empty() {
            kept(db, &now_held, clusters.clone(), now)?;
            going_on.push((now_held, clusters));
        }
    }
    Ok(going_on)
}

/// Puts on record that a hold goes on for clusters that it does not select any more.
fn kept(db: &Connection, hold: &Hold, clusters: Vec<String>, now: Timestamp) -> Result<(), LedgerError> {
    let row = row("evenkeel", "keep", hold, clusters);
    let reason = format!("other labels end no hold: {}", row.reason);
    actions::record(db, &ActionRow { reason, ..row }, now)
}

/// The clusters of the repository that are this agent's, and those that left it and are still looked after. One that was never
/// rendered is another agent's (`--only`).
fn clusters(db: &Connection) -> Result<BTreeMap<String, Labels>, LedgerError> {
    read_labels(
        db,
        "SELECT name, labels FROM clusters LEFT JOIN last_words ON cluster = clusters.id \
         WHERE (in_repo AND EXISTS (SELECT 1 FROM renderings WHERE cluster = clusters.id)) OR on_removal = 'prune'",
    )
}

/// The labels of clusters by name, as that question gives them.
fn read_labels(db: &Connection, sql: &str) -> Result<BTreeMap<String, Labels>, LedgerError> {
    let mut clusters = db.prepare_cached(sql)?;
    let clusters = clusters.query_map([], |row| {
        let labels = serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(rusqlite::types::FromSqlError::other)?;
        Ok((row.get(0)?, labels))
    })?;
    Ok(clusters.collect::<Result<_, _>>()?)
}

fn standing(db: &Connection, now: Timestamp) -> Result<Vec<Hold>, LedgerError> {
    let mut holds = db.prepare_cached("SELECT hold FROM holds WHERE ended IS NULL AND (until IS NULL OR until > ?) ORDER BY id")?;
    read(&mut holds, params![At(now)])
}

fn known(db: &Connection, id: &str) -> Result<Option<Hold>, LedgerError> {
    Ok(db.prepare_cached("SELECT hold FROM holds WHERE id = ?")?.query_row([id], hold_of).optional()?)
}

fn read(statement: &mut rusqlite::CachedStatement<'_>, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Hold>, LedgerError> {
    Ok(statement.query_map(values, hold_of)?.collect::<Result<_, _>>()?)
}

fn hold_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Hold> {
    Ok(serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(rusqlite::types::FromSqlError::other)?)
}

/// Keeps a hold; `found` says where one that is new comes from.
fn put(db: &Connection, hold: &Hold, found: bool) -> Result<(), LedgerError> {
    db.prepare_cached(
        "INSERT INTO holds (id, hold, until, found) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET hold = excluded.hold",
    )?
    .execute(params![hold.id, serde_json::json!(hold).to_string(), hold.until.map(At), found])?;
    Ok(())
}

fn end(db: &Connection, id: &str, now: Timestamp) -> Result<(), LedgerError> {
    db.prepare_cached("UPDATE holds SET ended = ? WHERE id = ?")?.execute(params![At(now), id])?;
    Ok(())
}
