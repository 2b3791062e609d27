//! One time line of what happened, in the form that `-o json` prints and the API sends.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    diagnostic::ErrorAnswer,
    git::CommitId,
    rollout::WaveWord,
    sync::{Departure, Health, Phase},
};

/// `evenkeel events`: what happened, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// [`super::SCHEMA`]
    pub schema: u32,
    /// Oldest first.
    pub events: Vec<Event>,
    /// Where to read on: what was on record of the question up to there is told.
    pub cursor: Cursor,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The place behind it, to read on from.
    pub cursor: Cursor,
    /// When.
    pub at: Timestamp,
    /// The clusters concerned, by name; none where it is of the whole fleet.
    pub clusters: Vec<String>,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// How often, where it happened again within an hour.
    pub repeats: Option<Repeats>,
    /// The same for people, in one sentence.
    pub text: String,
}

impl Event {
    /// Makes the sentence anew, after what happened is told otherwise.
    pub(crate) fn say(&mut self) {
        self.text = super::say::text(&self.what, self.repeats.as_ref());
    }
}

/// That something happened again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How often.
    pub times: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time so far.
    pub last: Timestamp,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum What {
    /// The branch has a new tip.
    Commits {
        /// The tip.
        commit: CommitId,
        /// Its author's name.
        author: String,
        /// First line of its message.
        subject: String,
        /// How many commits came, the tip among them.
        count: u64,
    },
    /// The branch was forced to another tip.
    ForcePush {
        /// The new tip.
        commit: CommitId,
        /// The one before.
        was: Option<CommitId>,
        /// The new tip's author.
        author: String,
        /// First line of its message.
        subject: String,
    },
    /// A cluster's phase is another, or what is wrong with it.
    Phase {
        /// The phase.
        phase: Phase,
        /// The one before; none for the first.
        was: Option<Phase>,
        /// The commit that the cluster should be at.
        desired: Option<CommitId>,
        /// What is wrong.
        error: Option<ErrorAnswer>,
    },
    /// What runs does badly now, or well again, and nothing else changed.
    Health {
        /// Degraded, or Healthy where it no longer is.
        health: Health,
        /// The commit that the cluster should be at.
        desired: Option<CommitId>,
        /// What is wrong.
        error: Option<ErrorAnswer>,
    },
    /// A sync began.
    SyncBegan {
        /// Its number.
        sync: i64,
        /// The commit that is to be reached.
        commit: CommitId,
        /// Commit, Start, Drift, Retry, Health or Asked.
        trigger: String,
        /// It never ended: the agent died in it.
        cut: bool,
    },
    /// A sync ended.
    SyncEnded {
        /// Its number.
        sync: i64,
        /// The commit that was to be reached.
        commit: CommitId,
        /// Commit, Start, Drift, Retry, Health or Asked.
        trigger: String,
        /// Succeeded, Waiting, Refused, Failed or Interrupted.
        result: String,
        /// How many objects were treated how.
        done: Vec<Done>,
        /// The first thing that went wrong.
        error: Option<ErrorAnswer>,
    },
    /// Someone had changed an object, and a sync met that.
    Drift {
        /// `Kind.group/namespace/name`
        object: String,
        /// Repaired (put back), Created (made anew), Failed or Refused.
        outcome: String,
        /// What became of the fleet's own marks on the object, where that is how it was noticed; empty otherwise.
        lost: String,
        /// What was changed, and by whom.
        fields: Vec<Departure>,
    },
    /// How many objects depart from the rendering and are left so.
    Left {
        /// That many; none where all are as they should be again.
        objects: u64,
    },
    /// So much happened on a cluster within an hour that the rest is counted only.
    More,
    /// A person did something, or the agent ended what a person had begun.
    Action {
        /// `name (uid N)`, or `evenkeel`.
        who: String,
        /// The command, such as `hold`.
        action: String,
        /// What it was for: a selector, a hash, a name.
        target: String,
        /// In the words of who did it.
        reason: String,
        /// `accepted`, or why not.
        outcome: String,
    },
    /// A wave of the rollout went on, or stands.
    Wave {
        /// Its name.
        wave: String,
        /// Its state.
        state: WaveWord,
        /// The commit that its clusters are brought to.
        commit: Option<CommitId>,
        /// The cluster on which the commit failed, where that is why it stands.
        failed: Option<String>,
        /// What it waits for, in one sentence.
        reason: String,
        /// What a person can do; empty where nothing needs to be done.
        way_out: String,
    },
}

/// Objects of a sync that were treated in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Created, Changed, Adopted, Repaired, Pruned, Held, Kept, Refused or Failed.
    pub action: String,
    /// How many.
    pub objects: u64,
}

/// Which events are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// The name of a cluster, or a label selector; none for the whole fleet.
    pub clusters: Option<String>,
    /// Where whoever asks may not see all: the clusters that he may see. What is of the fleet is left out then, but for commits.
    pub within: Option<BTreeSet<String>>,
    /// What happened before is left out.
    pub since: Option<Timestamp>,
    /// Only what was told after that place, oldest first; otherwise the newest.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}

/// How many streams the time line is read from.
pub(super) const STREAMS: usize = 6;

/// A place in the time line of one ledger. What happened is in several tables, and a row may come to be on record after another
/// that is younger; so a place is not a time but how far each table was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which ledger: a place in another one is before all that this one has.
    pub(super) ledger: u32,
    /// The last row that was told of each.
    pub(super) told: [i64; STREAMS],
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.ledger)?;
        self.told.iter().try_for_each(|told| write!(f, ".{told}"))
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no cursor of an earlier answer");
        let mut parts = text.split('.');
        let ledger = parts.next().and_then(|part| u32::from_str_radix(part, 16).ok()).ok_or_else(wrong)?;
        let told: Vec<i64> = parts.map_while(|part| part.parse().ok().filter(|told| *told >= 0)).collect();
        let told: [i64; STREAMS] = told.try_into().map_err(|_| wrong())?;
        let cursor = Self { ledger, told };
        if cursor.to_string() == text { Ok(cursor) } else { Err(wrong()) }
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
