//! How far a rollout is, and what people change of it while no agent runs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube_overlay::LabelSelector;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Ledger, LedgerError, Reader,
    actions::{self, ActionRow},
    answers::Members,
    notes,
    sql::At,
};
use crate::{
    git::CommitId,
    manifest::Digest,
    rollout::{
        Progress, Shown, WaveProgress,
        rows::{MEMBER, Row, SHOWN, WAIT, Wait, read},
    },
};

impl Ledger {
    /// What is remembered of the rollout.
    pub async fn rollout(&self) -> Result<Progress, LedgerError> {
        self.ask(progress).await
    }

    /// What each cluster runs, as far as is known: the newest commit that gives it, and the rendering's digest.
    pub async fn applied_everywhere(&self) -> Result<BTreeMap<String, (CommitId, Digest)>, LedgerError> {
        self.ask(|db| {
            let mut rows =
                db.prepare_cached("SELECT name, applied, rendering FROM clusters WHERE applied NOT NULL AND rendering NOT NULL")?;
            let rows = rows.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Puts these rows on record, all or none, and notes how waves went on.
    pub async fn record_rollout(&self, rows: Vec<Row>) -> Result<(), LedgerError> {
        let now = (self.clock)();
        self.ask(move |db| {
            let before = shown(db)?;
            write(db, &rows)?;
            notes::note_turns(db, before.as_ref(), shown(db)?.as_ref(), now)
        })
        .await
    }

    /// Approves what a wave asks for, with who did it; the clusters that it concerns. None where no wave asks for that.
    pub async fn approve_wave(&self, plan: Digest, who: &str, at: Timestamp) -> Result<Option<Vec<String>>, LedgerError> {
        let who = who.to_owned();
        self.ask(move |db| {
            let (wave, approved) = change(db, |progress| (asking(progress, plan), progress.approve(plan, &who, at)))?;
            if let Some(clusters) = &approved {
                approval(db, plan, &who, at)?;
                actions::record(db, &asked(who, "approve", format!("{plan} ({wave})"), String::new(), clusters.clone()), at)?;
            }
            Ok(approved)
        })
        .await
    }

    /// Who last approved a plan, be it of a wave or of deletions, and when.
    pub async fn approval(&self, plan: Digest) -> Result<Option<(String, Timestamp)>, LedgerError> {
        self.ask(move |db| {
            let mut approval = db.prepare_cached("SELECT who, at FROM approvals WHERE plan = ?")?;
            Ok(approval.query_row([plan], |row| Ok((row.get(0)?, row.get::<_, At>(1)?.0))).optional()?)
        })
        .await
    }

    /// Has the selected clusters tried again; those that were pinned or had failed. None where the selector selects no cluster.
    pub async fn retry_clusters(
        &self,
        selector: LabelSelector,
        who: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Option<Vec<String>>, LedgerError> {
        let (who, reason) = (who.to_owned(), reason.to_owned());
        self.ask(move |db| {
            let selected = selected(db, &selector)?;
            if selected.is_empty() {
                return Ok(None);
            }
            let retried = change(db, |progress| progress.retry(selected.iter().map(String::as_str)))?;
            actions::record(db, &asked(who, "retry", selector.to_string(), reason, selected), at)?;
            Ok(Some(retried))
        })
        .await
    }

    /// Pins the selected clusters to a commit. None where the selector selects none.
    pub async fn roll_back_clusters(
        &self,
        selector: LabelSelector,
        commit: CommitId,
        who: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Option<Vec<String>>, LedgerError> {
        let (who, reason) = (who.to_owned(), reason.to_owned());
        self.ask(move |db| {
            let selected = selected(db, &selector)?;
            if selected.is_empty() {
                return Ok(None);
            }
            change(db, |progress| selected.iter().for_each(|name| progress.roll_back(name, commit, &who, at)))?;
            actions::record(db, &asked(who, "rollback", format!("{selector} {commit}"), reason, selected.clone()), at)?;
            Ok(Some(selected))
        })
        .await
    }
}

/// What a person asked for of these clusters.
fn asked(who: String, what: &'static str, target: String, reason: String, clusters: Vec<String>) -> ActionRow {
    ActionRow { who, what, target, reason, outcome: "accepted".to_owned(), clusters }
}

/// The wave that asks for a plan, and the commit that it would bring.
fn asking(progress: &Progress, plan: Digest) -> String {
    let wave = progress.waves.iter().find(|(_, wave)| wave.asks.as_ref().is_some_and(|asks| asks.plan == plan));
    let named = |(name, wave): (&String, &WaveProgress)| {
        let commit = wave.target.as_ref().map(|target| format!(" with {}", target.commit.short())).unwrap_or_default();
        format!("wave {name}{commit}")
    };
    wave.map(named).unwrap_or_default()
}

fn progress(db: &Connection) -> Result<Progress, LedgerError> {
    let mut progress = Progress::default();
    let mut rows = db.prepare_cached("SELECT part, name, state FROM rollout WHERE part NOT IN (?, ?, ?)")?;
    let mut rows = rows.query(params![SHOWN, WAIT, MEMBER])?;
    while let Some(row) = rows.next()? {
        progress.take_up(
            row.get_ref(0)?.as_str().unwrap_or_default(),
            &row.get::<_, String>(1)?,
            row.get_ref(2)?.as_str().unwrap_or_default(),
        );
    }
    Ok(progress)
}

fn write(db: &Connection, rows: &[Row]) -> Result<(), LedgerError> {
    let mut put = db.prepare_cached(
        "INSERT INTO rollout (part, name, state) VALUES (?, ?, ?) ON CONFLICT (part, name) DO UPDATE SET state = excluded.state",
    )?;
    let mut remove = db.prepare_cached("DELETE FROM rollout WHERE part = ? AND name = ?")?;
    for Row { part, name, state } in rows {
        match state {
            Some(state) => put.execute(params![part, name, state])?,
            None => remove.execute(params![part, name])?,
        };
    }
    Ok(())
}

fn change<T>(db: &Connection, change: impl FnOnce(&mut Progress) -> T) -> Result<T, LedgerError> {
    let before = progress(db)?;
    let mut after = before.clone();
    let result = change(&mut after);
    write(db, &after.changes(&before))?;
    Ok(result)
}

fn approval(db: &Connection, plan: Digest, who: &str, at: Timestamp) -> Result<(), LedgerError> {
    db.prepare_cached(
        "INSERT INTO approvals (plan, who, at) VALUES (?, ?, ?) ON CONFLICT (plan) DO UPDATE SET who = excluded.who, at = excluded.at",
    )?
    .execute(params![plan, who, At(at)])?;
    Ok(())
}

/// The clusters of the repository that a selector selects.
fn selected(db: &Connection, selector: &LabelSelector) -> Result<Vec<String>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT name, labels FROM clusters WHERE in_repo ORDER BY name")?;
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut selected = Vec::new();
    for row in rows {
        let (name, labels) = row?;
        if read::<BTreeMap<String, String>>(&labels).is_some_and(|labels| selector.matches(&labels)) {
            selected.push(name);
        }
    }
    Ok(selected)
}

impl Reader {
    /// The clusters of each wave.
    pub fn members(&self) -> Result<Members, LedgerError> {
        self.read(|db| {
            let mut of_waves = Members::new();
            for (cluster, wave) in members(db)? {
                of_waves.entry(wave).or_default().push(cluster);
            }
            Ok(of_waves)
        })
    }
}

/// The wave of each cluster, by the cluster's name.
fn members(db: &Connection) -> Result<Vec<(String, String)>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT name, state FROM rollout WHERE part = ? ORDER BY name")?;
    let rows = rows.query_map([MEMBER], |row| Ok((row.get(0)?, read(&row.get::<_, String>(1)?).unwrap_or_default())))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Where the waves stand.
pub(super) fn shown(db: &Connection) -> Result<Option<Shown>, LedgerError> {
    let state =
        db.prepare_cached("SELECT state FROM rollout WHERE part = ?")?.query_row([SHOWN], |row| row.get::<_, String>(0)).optional()?;
    Ok(state.as_deref().and_then(read))
}

/// Why clusters do not run the newest commit.
pub(super) fn waits(db: &Connection) -> Result<BTreeMap<String, Wait>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT name, state FROM rollout WHERE part = ?")?;
    let rows = rows.query_map([WAIT], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut waits = BTreeMap::new();
    for row in rows {
        let (name, state) = row?;
        waits.extend(read(&state).map(|wait| (name, wait)));
    }
    Ok(waits)
}

/// What waves have for a cluster.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// What it is to run now.
    pub(super) told: Option<Digest>,
    /// What it may be told yet: the target of its own wave, and what the waves before that are at and have proved.
    pub(super) next: Vec<Digest>,
}

/// That of these clusters, by name. A cluster is never told by itself what is older than what it was told, or than its wave's target.
pub(super) fn dues<'n>(db: &Connection, names: impl Iterator<Item = &'n String>) -> Result<BTreeMap<String, Due>, LedgerError> {
    let mut names = names.peekable();
    if names.peek().is_none() {
        return Ok(BTreeMap::new());
    }
    let (progress, shown) = (progress(db)?, shown(db)?);
    let order: Vec<&str> = shown.iter().flat_map(|shown| &shown.waves).map(|wave| wave.name.as_str()).collect();
    let members: BTreeMap<String, String> = members(db)?.into_iter().collect();
    let due = |name: &String| {
        let told = progress.clusters.get(name).and_then(|cluster| cluster.admitted);
        let own = members.get(name).and_then(|own| order.iter().position(|wave| wave == own));
        let ways = own.map(|own| order[..=own].iter().filter_map(|wave| progress.waves.get(*wave)).collect::<Vec<_>>()).unwrap_or_default();
        let own = own.and_then(|own| progress.waves.get(order[own])?.target.as_ref()).map_or(0, |target| target.serial);
        let targets = ways.iter().flat_map(|wave| [&wave.target, &wave.proved]).flatten();
        let newer = targets.filter(|target| target.serial >= own && told.is_none_or(|told| target.serial > told.serial));
        let next = newer.filter_map(|target| target.digests.get(name).copied().flatten()).collect();
        Due { told: told.map(|told| told.digest), next }
    };
    Ok(names.map(|name| (name.clone(), due(name))).collect())
}
