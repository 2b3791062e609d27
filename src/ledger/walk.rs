//! `log` and `where`: reads a part of the time line and of each cluster's renderings, and derives from them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use super::{
    LedgerError,
    answers::{CommitOnCluster, CommitOnly, CommitPhase, ErrorAnswer, Log, LogQuery, SCHEMA, Where},
    branch, clusters,
    fate::{Fate, Kind, Place, Row, Standing, Tip, Tips, fate},
    picked::picked,
    rollout::{self, Due},
    sql::{At, Problem},
};
use crate::{
    git::CommitId,
    manifest::Digest,
    rollout::rows::Wait,
    sync::{Phase, State},
};

/// What `where` and `log` know of a cluster beside its renderings.
struct Cluster {
    id: i64,
    name: String,
    in_repo: bool,
    state: Option<(State, Timestamp)>,
    /// Where on the time line its desired commit stands.
    desired: Option<Place>,
    /// Why it does not run the newest commit.
    wait: Option<Wait>,
    /// What its waves have for it.
    due: Due,
}

pub(super) fn where_is(db: &Connection, commit: CommitId) -> Result<Where, LedgerError> {
    let standing = standing(db, commit)?.ok_or_else(|| LedgerError::UnknownCommit(commit.to_string()))?;
    let tips = tips(db, standing.first())?;
    let mut answer = Where { schema: SCHEMA, commit, clusters: Vec::new() };
    for cluster in clusters(db)? {
        let rows = rows(db, cluster.id, standing.place, standing.place)?;
        answer.clusters.push(cluster.describe(commit, fate(&rows, &tips, &standing)));
    }
    Ok(answer)
}

pub(super) fn log(db: &Connection, query: &LogQuery) -> Result<Log, LedgerError> {
    let mut commits = picked(db, query)?;
    let standings: Vec<Standing> = commits
        .iter()
        .map(|entry| standing(db, entry.commit)?.ok_or_else(|| LedgerError::UnknownCommit(entry.commit.to_string())))
        .collect::<Result<_, _>>()?;
    let places = || standings.iter().map(|standing| standing.place);
    let (Some(first), Some(last)) = (places().min(), places().max()) else { return Ok(Log { schema: SCHEMA, commits }) };
    let tips = tips(db, standings.iter().map(Standing::first).min().unwrap_or(first))?;
    for cluster in clusters(db)? {
        let rows = rows(db, cluster.id, first, last)?;
        for (entry, standing) in commits.iter_mut().zip(&standings) {
            entry.clusters.push(cluster.describe(entry.commit, fate(&rows, &tips, standing)));
        }
    }
    Ok(Log { schema: SCHEMA, commits })
}

fn standing(db: &Connection, commit: CommitId) -> Result<Option<Standing>, LedgerError> {
    let mut tips = db.prepare_cached("SELECT id FROM fetches WHERE tip = ? ORDER BY id")?;
    let tips: Vec<Place> = tips.query_map([commit], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let place = match tips.last() {
        Some(place) => Some(*place),
        None => db.prepare_cached("SELECT arrived FROM commits WHERE id = ?")?.query_row([commit], |row| row.get(0)).optional()?,
    };
    Ok(place.map(|place| Standing { place, tips }))
}

fn tips(db: &Connection, from: Place) -> Result<Tips, LedgerError> {
    let mut tips = db.prepare_cached("SELECT id, tip, at, rendered_at NOT NULL FROM fetches WHERE id >= ? ORDER BY id")?;
    let tips = tips.query_map([from], |row| {
        let At(at) = row.get(2)?;
        Ok(Tip { place: row.get(0)?, commit: row.get(1)?, at, rendered: row.get(3)? })
    })?;
    Ok(Tips(tips.collect::<Result<_, _>>()?))
}

/// The rows that decide about commits which stand between `first` and `last`: from the one that a tip brought at or before
/// the first, to the first that a tip brought after the last.
fn rows(db: &Connection, cluster: i64, first: Place, last: Place) -> Result<Vec<Row>, LedgerError> {
    let mut rows = db.prepare_cached(
        "SELECT from_fetch, until, digest, refusal, by_commit, reached_at FROM renderings WHERE cluster = ?1 \
         AND id >= coalesce((SELECT id FROM renderings WHERE cluster = ?1 AND by_commit AND from_fetch <= ?2 ORDER BY from_fetch DESC LIMIT 1), 0) \
         AND id <= coalesce((SELECT id FROM renderings WHERE cluster = ?1 AND by_commit AND from_fetch > ?3 ORDER BY from_fetch LIMIT 1), ?4) \
         ORDER BY id",
    )?;
    let rows = rows.query_map(params![cluster, first, last, i64::MAX], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let kind = match (row.get(2)?, row.get::<_, Option<String>>(3)?) {
        (Some(digest), _) => Kind::Rendered(digest),
        (None, Some(refusal)) => Kind::Refused(Problem::first_message(&refusal)),
        (None, None) => Kind::Absent,
    };
    let reached = row.get::<_, Option<At>>(5)?.map(|at| at.0);
    Ok(Row { from: row.get(0)?, until: row.get(1)?, kind, by_commit: row.get(4)?, reached })
}

fn clusters(db: &Connection) -> Result<Vec<Cluster>, LedgerError> {
    let sql = format!("SELECT id, name, in_repo, {} FROM clusters ORDER BY environment, region, name", clusters::STATE);
    let mut clusters = db.prepare_cached(&sql)?;
    let clusters = clusters.query_map([], |row| {
        let state = clusters::state_of(row)?;
        Ok(Cluster {
            id: row.get("id")?,
            name: row.get("name")?,
            in_repo: row.get("in_repo")?,
            state,
            desired: None,
            wait: None,
            due: Due::default(),
        })
    })?;
    let mut clusters: Vec<Cluster> = clusters.collect::<Result<_, _>>()?;
    let mut waits = rollout::waits(db)?;
    let mut dues = rollout::dues(db, waits.keys())?;
    for cluster in &mut clusters {
        cluster.wait = waits.remove(&cluster.name);
        cluster.due = dues.remove(&cluster.name).unwrap_or_default();
    }
    // Nearly always all clusters are at one or two commits.
    let mut places: BTreeMap<CommitId, Option<Place>> = BTreeMap::new();
    for cluster in &mut clusters {
        let Some(desired) = cluster.state.as_ref().and_then(|(state, _)| state.desired) else { continue };
        cluster.desired = match places.get(&desired) {
            Some(place) => *place,
            None => *places.entry(desired).or_insert(branch::place_of(db, desired)?),
        };
    }
    Ok(clusters)
}

impl Cluster {
    /// The fate in the words of the answer, with the cluster's own phase where the commit is its present.
    fn describe(&self, commit: CommitId, fate: Fate) -> CommitOnCluster {
        let only = |phase| CommitOnCluster {
            name: self.name.clone(),
            phase: CommitPhase::Commit(phase),
            since: None,
            reason: String::new(),
            superseded_by: None,
        };
        match fate {
            Fate::Pending if self.in_repo => {
                CommitOnCluster { reason: "fetched, and not rendered yet".to_owned(), ..only(CommitOnly::Pending) }
            }
            Fate::Pending | Fate::NotAffected => only(CommitOnly::NotAffected),
            Fate::Applied(since) => CommitOnCluster { since, ..only(CommitOnly::Applied) },
            // Overtaken on the branch, and still what the waves bring this cluster to.
            Fate::Superseded { gave, .. } if self.is_told(commit, &gave) => self.present(),
            Fate::Superseded { gave, .. } if self.waits_for(commit, &gave) => self.waiting(),
            Fate::Superseded { by, at, refused, .. } => {
                CommitOnCluster { since: at, reason: refused, superseded_by: by, ..only(CommitOnly::Superseded) }
            }
            Fate::Current { removed: false, .. } if self.is_kept() => {
                let present = self.present();
                CommitOnCluster { reason: self.waiting().reason, ..present }
            }
            Fate::Current { since, removed } => match &self.state {
                Some((state, _)) if state.phase == Phase::Waiting && self.wait.is_some() => self.waiting(),
                Some((state, _)) if self.has_begun(state, since, removed) => self.present(),
                _ if self.wait.as_ref().is_some_and(|wait| !wait.reason.is_empty()) => self.waiting(),
                _ => CommitOnCluster { reason: "rendered, and not taken up yet".to_owned(), ..only(CommitOnly::Pending) },
            },
        }
    }

    /// The cluster's own phase: the commit is what it is told.
    fn present(&self) -> CommitOnCluster {
        let state = self.state.as_ref();
        let error = state.and_then(|(state, _)| state.error.as_ref()).map(|error| ErrorAnswer::from(error).message);
        CommitOnCluster {
            name: self.name.clone(),
            phase: state.map_or(CommitPhase::Commit(CommitOnly::Pending), |(state, _)| CommitPhase::Cluster(state.phase)),
            since: state.map(|(_, since)| *since),
            reason: error.unwrap_or_default(),
            superseded_by: None,
        }
    }

    /// It was put back, and stays there.
    fn is_kept(&self) -> bool {
        self.wait.is_some() && self.state.as_ref().is_some_and(|(state, _)| state.phase == Phase::Returned)
    }

    fn waiting(&self) -> CommitOnCluster {
        CommitOnCluster {
            name: self.name.clone(),
            phase: CommitPhase::Commit(CommitOnly::WaitingForWave),
            since: None,
            reason: self.wait.as_ref().map(|wait| wait.reason.clone()).unwrap_or_default(),
            superseded_by: None,
        }
    }

    /// It is on its way to the commit, or to another that gives the same. What it runs already was reached.
    fn is_told(&self, commit: CommitId, gave: &[Digest]) -> bool {
        let Some((state, _)) = self.state.as_ref().filter(|_| self.wait.is_some()) else { return false };
        let gives_it = self.due.told.is_some_and(|told| gave.contains(&told) && state.rendering != Some(told));
        gives_it || (state.desired == Some(commit) && state.applied != Some(commit))
    }

    fn waits_for(&self, commit: CommitId, gave: &[Digest]) -> bool {
        let Some(wait) = &self.wait else { return false };
        wait.next == Some(commit) || self.due.next.iter().any(|next| gave.contains(next))
    }

    /// The cluster's task has taken the commit up, or a later one that asks for the same.
    fn has_begun(&self, state: &State, since: Place, removed: bool) -> bool {
        if state.phase == Phase::Detached {
            return removed;
        }
        if removed {
            // Where its objects are to go too, its task goes on.
            return self.desired.is_some_and(|desired| desired >= since);
        }
        state.desired.is_none() || self.desired.is_some_and(|desired| desired >= since)
    }
}
