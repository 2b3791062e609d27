//! Who can answer: the ledger, or an agent that is asked over its socket.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    ledger::{
        Evidence,
        answers::{Content, ErrorAnswer, EventQuery, Events, History, Log, LogEntry, LogQuery, Members, Status, Touched, UnderWay, Where},
    },
    manifest::mask_urls,
    why::{Why, explain},
};

/// The questions that the record answers. Calls block; the server makes them on threads of their own.
pub trait Answers {
    /// Where every cluster stands.
    fn status(&self) -> Result<Status, Diagnostic>;
    /// The newest commits of the branch that are asked for.
    fn log(&self, query: &LogQuery) -> Result<Log, Diagnostic>;
    /// What became of a commit, given by at least 7 characters of its hash.
    fn where_is(&self, rev: &str) -> Result<Where, Diagnostic>;
    /// The newest syncs and transitions of a cluster, at most `limit` of each.
    fn history(&self, cluster: &str, limit: u32) -> Result<History, Diagnostic>;
    /// What happened over the fleet, oldest first.
    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic>;

    /// Why a cluster is as it is, or an object on it, given as `kind[.group]/[namespace/]name`.
    fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, Diagnostic>;
}

/// What the pages ask besides.
pub trait Details: Answers {
    /// What stands on a cluster, by the record.
    fn content(&self, cluster: &str) -> Result<Content, Diagnostic>;
    /// The syncs that run now.
    fn under_way(&self) -> Result<UnderWay, Diagnostic>;

    /// What may explain why a cluster, or an object on it, is as it is.
    fn evidence(&self, cluster: &str, object: Option<&str>) -> Result<Evidence, Diagnostic>;
    /// What the syncs to a commit did, by cluster; only on these clusters, where there are any given.
    fn touched(&self, commit: CommitId, within: Option<&BTreeSet<String>>) -> Result<Vec<Touched>, Diagnostic>;
    /// The clusters of each wave; none where it is not known.
    fn members(&self) -> Result<Members, Diagnostic>;
    /// A commit by itself, without the clusters; none where it is not on record.
    fn commit(&self, commit: CommitId) -> Result<Option<LogEntry>, Diagnostic>;
    /// The newest commits of which the hash begins with that text, or the subject or author has it; without the clusters. An empty
    /// text finds all.
    fn search(&self, text: &str, limit: u32) -> Result<Vec<LogEntry>, Diagnostic>;
}

/// How the agent stands with the config repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceState {
    /// The remote's address; credentials in it are masked when it is sent.
    #[serde(serialize_with = "masked")]
    pub remote: String,
    /// The branch that is followed.
    pub branch: String,
    /// Its tip as last fetched.
    pub tip: Option<CommitId>,
    /// When a fetch last succeeded.
    pub last_fetch: Option<Timestamp>,
    /// Why the last fetch failed.
    pub error: Option<ErrorAnswer>,
    /// What of the repository's settings the agent cannot do; the rest goes on.
    #[serde(default)]
    pub warnings: Vec<ErrorAnswer>,
}

fn masked<S: Serializer>(remote: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mask_urls(remote))
}

/// The explanation that follows from the evidence.
pub(crate) fn explained(evidence: &Evidence) -> Result<Why, Diagnostic> {
    let unknown = || Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {}", evidence.cluster));
    explain(evidence).ok_or_else(unknown)
}
