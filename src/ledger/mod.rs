//! The durable record and its queries. Knows nothing of how things came about.
//!
//! One SQLite file in the state directory, written by one thread ([`Ledger`]) and read by anyone who may
//! ([`Reader`]). Rows stand for changes only: what a commit did to a cluster that it did not touch is derived (`fate`),
//! so a commit that changes nothing costs one row for the whole fleet.
//!
//! Whoever awaits a call has the change on disk when it returns. Results of objects, which nobody awaits, are committed
//! in groups; if one is lost, the sync that it belongs to hears of it at its next step.

pub mod answers;

mod actions;
mod branch;
mod clusters;
mod commits;
mod compact;
mod details;
mod error;
mod events;
mod evidence;
mod export;
mod fate;
mod fights;
mod file;
mod held;
mod holds;
mod journal;
mod last_words;
mod notes;
mod notices;
mod picked;
mod reader;
mod report_only;
mod retention;
mod rollout;
mod rules;
mod source;
mod sql;
mod standing;
mod syncs;
mod told;
mod under_way;
mod unheard;
mod verify;
mod walk;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

pub use self::{
    actions::ActionRow,
    branch::ClusterRow,
    compact::{Compacted, compact},
    details::TOUCHED_MAX,
    error::LedgerError,
    evidence::{Brought, Evidence, ObjectEnd, ObjectEvidence, Wanted},
    export::ExportError,
    fights::Fight,
    file::path,
    holds::OfBundles,
    last_words::{Known, LastWord, OnRecord},
    reader::Reader,
    retention::{Removed, Retention},
    standing::{BundleEnd, Drifted},
    told::{TOLD_OF, Telling, ToldRow},
    verify::{Fault, Verdict, verify},
};
use self::{branch::Fetch, writer::Writer};
use crate::{
    diagnostic::Diagnostic,
    git::{CommitId, CommitInfo},
    manifest::{Digest, ObjectId},
    sync::{Found, Recorded, State, approval::Asked, hold::Hold},
};

/// Tells the time; tests and benchmarks have their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A handle to the writer. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    writer: Writer,
    clock: Clock,
    /// Running syncs of which results could not be written, with the reason.
    lost: Arc<Mutex<BTreeMap<i64, LedgerError>>>,
    /// What running syncs found changed, until they tell what became of it.
    found: Arc<Mutex<BTreeMap<(i64, ObjectId), Found>>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// A ledger that is ready to be written.
#[derive(Debug)]
pub struct Opened {
    /// The ledger.
    pub ledger: Ledger,
    /// The file was damaged and is here now; this one is empty, and [`Ledger::report_only`] until [`Ledger::resume`].
    pub damaged: Option<PathBuf>,
}

impl Ledger {
    /// Opens the ledger of a state directory, making it if there is none. Syncs that an agent's death cut are marked.
    /// That no other agent does the same at the same time is the state directory's lock's business.
    pub fn open(dir: &Path) -> Result<Opened, LedgerError> {
        Self::open_with(dir, Arc::new(Timestamp::now))
    }

    /// The same by another clock than the machine's.
    pub fn open_with(dir: &Path, clock: Clock) -> Result<Opened, LedgerError> {
        let (connection, damaged) = file::open(dir, clock())?;
        syncs::interrupt_all(&connection)?;
        let instance = format!("{:032x}", rand::random::<u128>());
        connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('instance', ?)", [instance])?;
        let writer = Writer::start(connection, &file::path(dir))?;
        Ok(Opened { ledger: Self { writer, clock, lost: Arc::default(), found: Arc::default() }, damaged })
    }

    /// Opens the ledger of a state directory to read it, whether an agent runs there or not.
    pub fn reader(dir: &Path) -> Result<Reader, LedgerError> {
        Reader::open(dir)
    }

    /// Writes what is under way and closes the file. Every later call fails.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.writer.close().await
    }

    /// Whether nothing may be written to any cluster, since the record of what was applied was lost.
    pub async fn report_only(&self) -> Result<bool, LedgerError> {
        self.ask(report_only::holds).await
    }

    /// Clusters may be written again; whether they might not before.
    pub async fn resume(&self, who: &str) -> Result<bool, LedgerError> {
        let (who, now) = (who.to_owned(), (self.clock)());
        self.ask(move |db| {
            let ended = report_only::end(db, &who, now)?;
            if ended {
                let (target, reason, outcome) = (String::new(), String::new(), "accepted".to_owned());
                actions::record(db, &ActionRow { who, what: "resume", target, reason, outcome, clusters: clusters::names(db)? }, now)?;
            }
            Ok(ended)
        })
        .await
    }

    /// The random name that this ledger would have its agent take.
    pub async fn instance(&self) -> Result<String, LedgerError> {
        self.ask(|db| Ok(db.query_row("SELECT value FROM meta WHERE key = 'instance'", [], |row| row.get(0))?)).await
    }

    /// The newest tip on record.
    pub async fn tip(&self) -> Result<Option<CommitId>, LedgerError> {
        self.ask(|db| Ok(db.query_row("SELECT tip FROM fetches ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).optional()?)).await
    }

    /// The branch was fetched. `new_commits` are those that it did not have before, oldest first, the tip among them;
    /// `rewritten` where the old tip is no ancestor of the new one. The same tip again is no change.
    pub async fn record_fetch(
        &self,
        new_commits: Vec<CommitInfo>,
        tip: CommitId,
        was: Option<CommitId>,
        rewritten: bool,
        at: Timestamp,
    ) -> Result<(), LedgerError> {
        let fetch = Fetch { commits: new_commits, tip, was, rewritten, at };
        self.ask(move |db| branch::record_fetch(db, &fetch)).await
    }

    /// The clusters that the repository has at the newest tip. Others that are known are marked as out of it. The holds that go on for
    /// clusters although their labels are others now, and those clusters.
    pub async fn record_fleet(&self, clusters: Vec<ClusterRow>) -> Result<Vec<(Hold, Vec<String>)>, LedgerError> {
        let now = (self.clock)();
        self.ask(move |db| branch::record_fleet(db, &clusters, now)).await
    }

    /// What a commit gives for these clusters: the digest of the rendering, or why there is none. Call it again where a
    /// cluster's facts change what the same commit gives. Clusters out of the repository are passed over.
    pub async fn record_rendering(
        &self,
        commit: CommitId,
        results: Vec<(String, Result<Digest, Vec<Diagnostic>>)>,
    ) -> Result<(), LedgerError> {
        let now = (self.clock)();
        self.ask(move |db| branch::record_rendering(db, commit, &results, now)).await
    }

    /// The names of all clusters that were ever in the repository.
    pub async fn cluster_names(&self) -> Result<Vec<String>, LedgerError> {
        self.ask(clusters::names).await
    }

    /// The state last told of a cluster.
    pub async fn state(&self, cluster: &str) -> Result<Option<State>, LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| clusters::state(db, &cluster)).await
    }

    /// Stores a cluster's state; a transition where its phase or error differ from before. `since` moves with the phase.
    pub async fn set_state(&self, cluster: &str, state: State, at: Timestamp) -> Result<(), LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| clusters::set_state(db, &cluster, &state, at)).await
    }

    /// What a cluster runs: the rendering's digest and the newest commit that gives it.
    pub async fn applied(&self, cluster: &str) -> Result<Option<(Digest, CommitId)>, LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| clusters::applied(db, &cluster)).await
    }

    /// The objects that are applied to a cluster.
    pub async fn applied_objects(&self, cluster: &str) -> Result<Vec<Recorded>, LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| clusters::objects(db, &cluster)).await
    }

    /// These objects no longer stand on the cluster.
    pub async fn forget_objects(&self, cluster: &str, ids: Vec<ObjectId>) -> Result<(), LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| clusters::forget_objects(db, &cluster, &ids)).await
    }

    /// The uid of the cluster's kube-system namespace when it was first reached, or last accepted.
    pub async fn cluster_uid(&self, cluster: &str) -> Result<Option<String>, LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| clusters::uid(db, &cluster)).await
    }

    /// From now on this uid is the cluster. Where it had another, what was applied to that one is forgotten.
    pub async fn set_cluster_uid(&self, cluster: &str, uid: &str) -> Result<(), LedgerError> {
        let (cluster, uid) = (cluster.to_owned(), uid.to_owned());
        self.ask(move |db| clusters::set_uid(db, &cluster, &uid)).await
    }

    /// Exactly these deletions are approved, on the clusters that are returned: those that hold them. None where nobody does.
    pub async fn approve(&self, plan: Digest, who: &str, at: Timestamp) -> Result<Vec<String>, LedgerError> {
        let who = who.to_owned();
        self.ask(move |db| held::approve(db, plan, &who, at)).await
    }

    /// The clusters that hold the deletions of this plan, with their environments.
    pub async fn holders(&self, plan: Digest) -> Result<Vec<(String, String)>, LedgerError> {
        self.ask(move |db| held::holders(db, plan)).await
    }

    /// The deletions that are held on a cluster or were, and whether they are approved.
    pub async fn asked(&self, cluster: &str) -> Result<Asked, LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| held::read(db, &cluster)).await
    }

    /// The deletions that matter from now on. Whether they are approved is [`Self::approve`]'s to say.
    pub async fn set_asked(&self, cluster: &str, asked: Asked) -> Result<(), LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| held::write(db, &cluster, &asked)).await
    }

    /// What a cluster serves, as JSON. Returns the digest under which the snapshot is kept.
    pub async fn set_facts(&self, cluster: &str, json: String) -> Result<Digest, LedgerError> {
        let (cluster, now) = (cluster.to_owned(), (self.clock)());
        self.ask(move |db| clusters::set_facts(db, &cluster, &json, now)).await
    }

    /// The newest facts of every cluster that was ever reached, as JSON by cluster.
    pub async fn facts(&self) -> Result<BTreeMap<String, String>, LedgerError> {
        self.ask(clusters::facts).await
    }

    /// Removes what is older than it must be, in small transactions between which others write.
    pub async fn clean_up(&self, keep: Retention) -> Result<Removed, LedgerError> {
        let now = (self.clock)();
        let clusters: Vec<i64> =
            self.ask(|db| Ok(db.prepare("SELECT id FROM clusters")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)).await?;
        let mut removed = Removed::default();
        for cluster in clusters {
            // Each round removes rows or is the last, so this ends.
            loop {
                let some = self.ask(move |db| retention::remove_some(db, cluster, keep, now)).await?;
                removed.syncs += some.syncs;
                removed.transitions += some.transitions;
                if some == Removed::default() {
                    break;
                }
            }
        }
        loop {
            match self.ask(move |db| retention::remove_notes(db, keep, now)).await? {
                0 => return Ok(removed),
                some => removed.notes += some,
            }
        }
    }

    async fn ask<T, W>(&self, work: W) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        self.writer.ask(work).await
    }
}
