//! What people ask: where the clusters stand, what became of a commit, what happened on a cluster.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    LedgerError, actions,
    answers::{
        ClusterStatus, ErrorAnswer, History, Log, LogQuery, ObjectEntry, SCHEMA, Status, SyncEntry, Transition, WarningEntry, Where,
    },
    branch, clusters, file, rollout, source,
    sql::{At, Problem, Word},
    unheard, walk,
};
use crate::{
    codes,
    git::CommitId,
    rollout::YET_TO_COME,
    sync::{Phase, approval::fleet_plan},
};

/// Commits named where an abbreviation is not enough.
const CANDIDATES: u32 = 5;

/// Reads the ledger. Calls block on the disk and on each other; each sees one state of the record.
#[derive(Debug)]
pub struct Reader {
    connection: Mutex<Connection>,
}

impl Reader {
    pub(super) fn open(dir: &Path) -> Result<Self, LedgerError> {
        Ok(Self { connection: Mutex::new(file::open_to_read(dir)?) })
    }

    /// Where every cluster stands that this agent has looked after.
    pub fn status(&self) -> Result<Status, LedgerError> {
        self.read(|db| {
            let tip = db.prepare_cached("SELECT tip FROM fetches ORDER BY id DESC LIMIT 1")?.query_row([], |row| row.get(0)).optional()?;
            let mut waits = rollout::waits(db)?;
            let mut unheard = unheard::of_clusters(db)?;
            let mut clusters = statuses(db)?;
            for cluster in &mut clusters {
                cluster.unheard = unheard.remove(&cluster.name).unwrap_or_default();
                let wait = waits.remove(&cluster.name).unwrap_or_default();
                if let Some(error) = cluster.error.as_mut().filter(|error| error.code == codes::WAVE.id && !wait.reason.is_empty()) {
                    error.message = error.message.replacen(YET_TO_COME, &wait.reason, 1);
                }
                (cluster.reason, cluster.pinned) = (wait.reason, wait.pinned);
            }
            let mut plans: Vec<_> = clusters.iter().filter_map(|cluster| Some((cluster.name.as_str(), cluster.held_plan?))).collect();
            plans.sort_unstable();
            Ok(Status {
                schema: SCHEMA,
                commit: tip,
                held_plan: fleet_plan(plans),
                clusters,
                rollout: rollout::shown(db)?,
                repository: source::repository(db)?,
            })
        })
    }

    /// The newest commits of the branch, newest first, and what became of each on every cluster.
    pub fn log(&self, query: impl Into<LogQuery>) -> Result<Log, LedgerError> {
        self.read(|db| walk::log(db, &query.into()))
    }

    /// What became of a commit on every cluster.
    pub fn where_is(&self, commit: CommitId) -> Result<Where, LedgerError> {
        self.read(|db| walk::where_is(db, commit))
    }

    /// The commit whose hash begins with these 7 to 40 hexadecimal digits.
    pub fn find_commit(&self, prefix: &str) -> Result<CommitId, LedgerError> {
        let (low, high) = range(prefix).ok_or_else(|| LedgerError::BadPrefix(prefix.to_owned()))?;
        let found: Vec<CommitId> = self.read(|db| {
            let mut commits = db.prepare_cached("SELECT id FROM commits WHERE id BETWEEN ? AND ? LIMIT ?")?;
            Ok(commits.query_map(params![low, high, CANDIDATES], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })?;
        match found[..] {
            [] => Err(LedgerError::UnknownCommit(prefix.to_owned())),
            [commit] => Ok(commit),
            _ => {
                let candidates = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(LedgerError::Ambiguous { prefix: prefix.to_owned(), candidates })
            }
        }
    }

    /// The newest syncs and transitions of a cluster, at most so many of each.
    pub fn history(&self, cluster: &str, limit: u32) -> Result<History, LedgerError> {
        self.read(|db| {
            let id = clusters::id_of(db, cluster)?;
            Ok(History {
                schema: SCHEMA,
                cluster: cluster.to_owned(),
                syncs: syncs(db, id, limit)?,
                transitions: transitions(db, id, limit)?,
                actions: actions::of_cluster(db, id, limit)?,
            })
        })
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads in one transaction, so that all parts of an answer are of the same moment.
    pub(super) fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        query(&transaction)
    }
}

/// The lowest and the highest id with this beginning.
fn range(prefix: &str) -> Option<(CommitId, CommitId)> {
    if !(7..=40).contains(&prefix.len()) || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((format!("{prefix:0<40}").parse().ok()?, format!("{prefix:f<40}").parse().ok()?))
}

fn statuses(db: &Connection) -> Result<Vec<ClusterStatus>, LedgerError> {
    // A cluster that was never rendered is another agent's (`--only`): nothing is known of it here.
    let sql = format!(
        "SELECT name, environment, region, {STATE}, \
         (SELECT at FROM renderings WHERE cluster = clusters.id ORDER BY id DESC LIMIT 1) AS rendered, \
         (SELECT tip FROM renderings JOIN fetches ON fetches.id = until WHERE cluster = clusters.id ORDER BY renderings.id DESC LIMIT 1) AS tip, \
         (SELECT tip FROM renderings JOIN fetches ON fetches.id = from_fetch \
          WHERE NOT in_repo AND cluster = clusters.id AND until = {OPEN_END} ORDER BY renderings.id DESC LIMIT 1) AS left_with \
         FROM clusters WHERE phase NOT NULL OR (in_repo AND rendered NOT NULL) ORDER BY environment, region, name",
        STATE = clusters::STATE,
        OPEN_END = branch::OPEN_END
    );
    let mut clusters = db.prepare_cached(&sql)?;
    let clusters = clusters.query_map([], status)?;
    Ok(clusters.collect::<Result<_, _>>()?)
}

fn status(row: &Row<'_>) -> rusqlite::Result<ClusterStatus> {
    let (name, environment, region) = (row.get::<_, String>("name")?, row.get("environment")?, row.get("region")?);
    let left = row.get("left_with")?;
    let Some((state, since)) = clusters::state_of(row)? else {
        // Its task has not spoken yet.
        let (desired, At(since)) = (row.get("tip")?, row.get("rendered")?);
        return Ok(ClusterStatus { environment, region, desired, left, ..ClusterStatus::blank(name, Phase::Waiting, since) });
    };
    Ok(ClusterStatus {
        environment,
        region,
        desired: state.desired,
        applied: state.applied,
        health: state.health,
        objects: state.objects,
        drifted: state.drifted,
        held_deletions: state.held_deletions,
        held_plan: state.held_plan,
        retry: state.retry,
        would: state.would,
        error: state.error.as_ref().map(ErrorAnswer::from),
        left,
        ..ClusterStatus::blank(name, state.phase, since)
    })
}

fn syncs(db: &Connection, cluster: i64, limit: u32) -> Result<Vec<SyncEntry>, LedgerError> {
    let mut syncs = db.prepare_cached(
        "SELECT id, target, rendering, cause, started, ended, result, error FROM syncs WHERE cluster = ? ORDER BY id DESC LIMIT ?",
    )?;
    let syncs = syncs.query_map(params![cluster, limit], |row| {
        Ok(SyncEntry {
            id: row.get(0)?,
            commit: row.get(1)?,
            rendering: row.get(2)?,
            trigger: row.get(3)?,
            started: row.get::<_, At>(4)?.0,
            ended: row.get::<_, Option<At>>(5)?.map(|at| at.0),
            result: row.get(6)?,
            error: answer(row, 7)?,
            objects: Vec::new(),
            warnings: Vec::new(),
        })
    })?;
    let mut syncs: Vec<SyncEntry> = syncs.collect::<Result<_, _>>()?;
    let mut objects = db.prepare_cached("SELECT object, bundle, action, error FROM object_results WHERE sync = ? ORDER BY id")?;
    let mut warnings = db.prepare_cached("SELECT object, text FROM warnings WHERE sync = ? ORDER BY id")?;
    for sync in &mut syncs {
        let entry = |row: &Row<'_>| Ok(ObjectEntry { id: row.get(0)?, bundle: row.get(1)?, action: row.get(2)?, error: answer(row, 3)? });
        sync.objects = objects.query_map([sync.id], entry)?.collect::<Result<_, _>>()?;
        let entry = |row: &Row<'_>| Ok(WarningEntry { id: row.get(0)?, text: row.get(1)? });
        sync.warnings = warnings.query_map([sync.id], entry)?.collect::<Result<_, _>>()?;
    }
    Ok(syncs)
}

fn transitions(db: &Connection, cluster: i64, limit: u32) -> Result<Vec<Transition>, LedgerError> {
    let mut transitions =
        db.prepare_cached("SELECT at, phase, desired, error FROM transitions WHERE cluster = ? ORDER BY id DESC LIMIT ?")?;
    let transitions = transitions.query_map(params![cluster, limit], |row| {
        let (At(at), Word(phase)) = (row.get(0)?, row.get(1)?);
        Ok(Transition { at, phase, desired: row.get(2)?, error: answer(row, 3)? })
    })?;
    Ok(transitions.collect::<Result<_, _>>()?)
}

fn answer(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<ErrorAnswer>> {
    Ok(row.get::<_, Option<Problem>>(at)?.map(ErrorAnswer::from))
}
