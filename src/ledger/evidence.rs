//! What is on record that may explain why a cluster, or an object on it, is as it is. Nothing is decided here.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{
    LedgerError, Reader,
    answers::{Content, ErrorAnswer, History, Status},
    branch, clusters,
    sql::{At, Problem, Word},
};
use crate::{
    git::CommitId,
    sync::{Ailing, Phase},
};

/// Entries of each kind that are looked at for what led here.
const HISTORY: u32 = 20;
/// Syncs that are looked at for what was last done to an object.
const SYNCS: u32 = 500;
/// Results of one object that are told.
const RESULTS: u32 = 3;

/// The recorded values that an explanation is made from.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The cluster in question; it is one of `status`.
    pub cluster: String,
    /// The fleet.
    pub status: Status,
    /// The newest commit has the cluster.
    pub in_repo: bool,
    /// It left, and what stands on it is to be deleted.
    pub is_emptied: bool,
    /// The commit that brought what stands on the cluster ([`ClusterStatus::stands_at`](super::answers::ClusterStatus::stands_at)); of one
    /// that left the repository, the one with which it left.
    pub brought: Option<Brought>,
    /// The commit that brought what it waits for.
    pub awaits: Option<Brought>,
    /// Objects that are not healthy, the worst first.
    pub ailing: Vec<Ailing>,
    /// What stands on it by the record, how its bundles ended, what others changed, and deletions that wait.
    pub content: Content,
    /// What led here.
    pub history: History,
    /// The object in question, where one is.
    pub object: Option<ObjectEvidence>,
}

/// A commit that brought something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// The commit.
    pub commit: CommitId,
    /// Its author's name.
    pub author: String,
    /// Its author's date.
    pub time: Timestamp,
    /// First line of its message.
    pub subject: String,
    /// Commits that came with it, in one push; what it brought may be of one of those.
    pub beside: u64,
}

/// What was done to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEnd {
    /// When the sync began that did it.
    pub at: Timestamp,
    /// The commit that was to be reached.
    pub commit: CommitId,
    /// Created, Changed, Adopted, Repaired, Pruned, Held, Kept, Refused or Failed.
    pub action: String,
    /// What went wrong.
    pub error: Option<ErrorAnswer>,
}

/// What is known of one object.
#[derive(Debug, Clone, Default)]
pub struct ObjectEvidence {
    /// As it was asked for.
    pub asked: String,
    /// `Kind.group/namespace/name`, where there is one that can be meant.
    pub id: Option<String>,
    /// The commit of which the rest is said; none where nothing is to run there.
    pub commit: Option<CommitId>,
    /// What Git says of it; none where the rendering does not have it.
    pub wanted: Option<Wanted>,
    /// Why nobody knows what Git says: the commit cannot be rendered.
    pub unrendered: Option<ErrorAnswer>,
    /// The bundle from which it was applied, where it stands on the cluster by the record.
    pub standing: Option<String>,
    /// Objects with nearly that name.
    pub near: Vec<String>,
    /// What was done to it, newest first.
    pub ends: Vec<ObjectEnd>,
}

/// What Git says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its bundle.
    pub bundle: String,
    /// `path:line:column` of the document that first gives it.
    pub place: String,
    /// What changes it after that, in that order: `path:line:column` of patches, entries of overlays.
    pub changed_at: Vec<String>,
    /// Fields that are left to others.
    pub given_up: Vec<String>,
}

impl Reader {
    /// What is on record that may explain how a cluster stands. EK1018 for one that this agent never looked after.
    pub fn evidence(&self, cluster: &str) -> Result<Evidence, LedgerError> {
        let (status, content, history) = (self.status()?, self.content(cluster)?, self.history(cluster, HISTORY)?);
        let Some(standing) = status.clusters.iter().find(|standing| standing.name == cluster) else {
            return Err(LedgerError::UnknownCluster(cluster.to_owned()));
        };
        let (stands_at, waits) = (standing.stands_at(None), !standing.reason.is_empty() && !standing.pinned);
        self.read(|db| {
            let id = clusters::id_of(db, cluster)?;
            let mut known = db.prepare_cached(
                "SELECT in_repo, ailing, NOT in_repo AND phase <> ?2 AND on_removal = 'prune' FROM clusters \
                 LEFT JOIN last_words ON cluster = id WHERE id = ?1",
            )?;
            let (in_repo, ailing, is_emptied) = known.query_row(params![id, Word(Phase::Detached)], |row| {
                let ailing = row.get::<_, Option<String>>(1)?.and_then(|json| serde_json::from_str(&json).ok());
                Ok((row.get::<_, bool>(0)?, ailing.unwrap_or_default(), row.get::<_, Option<bool>>(2)?.unwrap_or_default()))
            })?;
            let by = |commit: Option<CommitId>| Ok::<_, LedgerError>(commit.map(|commit| brought(db, id, commit)).transpose()?.flatten());
            let brought = by(if in_repo { stands_at } else { status.commit })?;
            let awaits = by(status.commit.filter(|_| waits))?;
            let cluster = cluster.to_owned();
            Ok(Evidence { cluster, in_repo, is_emptied, brought, awaits, ailing, content, history, status, object: None })
        })
    }

    /// The commit that brought what a commit gives for a cluster.
    pub fn brought(&self, cluster: &str, commit: CommitId) -> Result<Option<Brought>, LedgerError> {
        self.read(|db| brought(db, clusters::id_of(db, cluster)?, commit))
    }

    /// What was last done to an object of a cluster, newest first.
    pub fn object_ends(&self, cluster: &str, object: &str) -> Result<Vec<ObjectEnd>, LedgerError> {
        self.read(|db| {
            let mut rows = db.prepare_cached(
                "SELECT started, target, action, object_results.error FROM \
                 (SELECT * FROM syncs WHERE cluster = ?1 ORDER BY id DESC LIMIT ?3) AS syncs \
                 CROSS JOIN object_results ON sync = syncs.id WHERE object = ?2 ORDER BY object_results.id DESC LIMIT ?4",
            )?;
            let end = |row: &Row<'_>| {
                Ok(ObjectEnd { at: row.get::<_, At>(0)?.0, commit: row.get(1)?, action: row.get(2)?, error: error(row, 3)? })
            };
            Ok(rows.query_map(params![clusters::id_of(db, cluster)?, object, SYNCS, RESULTS], end)?.collect::<Result<_, _>>()?)
        })
    }

    /// What the cluster was last seen to serve, as JSON; none for one that was never reached.
    pub fn facts(&self, cluster: &str) -> Result<Option<String>, LedgerError> {
        self.read(|db| {
            let mut facts = db.prepare_cached(
                "SELECT json FROM cluster_facts JOIN facts USING (digest) WHERE cluster = ? ORDER BY cluster_facts.id DESC LIMIT 1",
            )?;
            Ok(facts.query_row([clusters::id_of(db, cluster)?], |row| row.get(0)).optional()?)
        })
    }
}

/// The commit with which what a cluster must run at another began. One that never was the branch's tip, to which a person put the
/// cluster, stands for itself.
fn brought(db: &Connection, cluster: i64, commit: CommitId) -> Result<Option<Brought>, LedgerError> {
    let Some(place) = branch::place_of(db, commit)? else { return itself(db, commit) };
    let mut rows = db.prepare_cached(
        "SELECT commits.id, author, time, subject, (SELECT count(*) FROM commits AS beside WHERE beside.arrived = fetches.id) - 1, \
         (SELECT min(id) FROM fetches) = fetches.id \
         FROM renderings JOIN fetches ON fetches.id = from_fetch JOIN commits ON commits.id = tip \
         WHERE cluster = ?1 AND from_fetch <= ?2 AND until >= ?2 ORDER BY renderings.id DESC LIMIT 1",
    )?;
    let brought = |row: &Row<'_>| {
        let (At(time), beside, is_first) = (row.get(2)?, row.get::<_, i64>(4)?, row.get::<_, bool>(5)?);
        // The first fetch brings the branch as it was: not all of it in one push.
        let beside = if is_first { 0 } else { u64::try_from(beside).unwrap_or(0) };
        Ok(Brought { commit: row.get(0)?, author: row.get(1)?, time, subject: row.get(3)?, beside })
    };
    Ok(rows.query_row(params![cluster, place], brought).optional()?)
}

fn itself(db: &Connection, commit: CommitId) -> Result<Option<Brought>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT author, time, subject FROM commits WHERE id = ?")?;
    let brought = |row: &Row<'_>| {
        let At(time) = row.get(1)?;
        Ok(Brought { commit, author: row.get(0)?, time, subject: row.get(2)?, beside: 0 })
    };
    Ok(rows.query_row([commit], brought).optional()?)
}

fn error(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<ErrorAnswer>> {
    Ok(row.get::<_, Option<Problem>>(at)?.map(ErrorAnswer::from))
}
