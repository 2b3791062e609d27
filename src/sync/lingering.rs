//! Objects whose deletion does not come to an end, because nobody removes their finalizers. The cluster is in sync all the same:
//! all that Git asks was done. On-call must hear of it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::member::Inventory;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::ObjectId,
};

/// So long a deletion may take before it is told. Most finalizers are gone within seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The deletions of one cluster that wait. Time is since the task began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lingering(BTreeMap<ObjectId, Wait>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wait {
    uid: String,
    since: Duration,
    /// What it waits for, once that was asked.
    told: Option<String>,
}

impl Lingering {
    /// Takes in what stands on the cluster. True where something that was told is over.
    pub(super) fn see(&mut self, inventory: &Inventory, now: Duration) -> bool {
        let waits = |id: &ObjectId, uid: &str| inventory.get(id).is_some_and(|member| member.is_deleting() && member.has_uid(uid));
        let told = self.0.values().filter(|wait| wait.told.is_some()).count();
        self.0.retain(|id, wait| waits(id, &wait.uid));
        let left = self.0.values().filter(|wait| wait.told.is_some()).count();
        for (id, member) in inventory.iter().filter(|(_, member)| member.is_deleting()) {
            self.0.entry(id.clone()).or_insert_with(|| Wait { uid: member.uid(), since: now, told: None });
        }
        left < told
    }

    /// When one has waited long enough to be told.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.values().filter(|wait| wait.told.is_none()).map(|wait| wait.since + PATIENCE).min()
    }

    /// Those that have waited long enough and were not told yet.
    pub(super) fn due(&self, now: Duration) -> Vec<ObjectId> {
        let is_due = |wait: &Wait| wait.told.is_none() && wait.since + PATIENCE <= now;
        self.0.iter().filter(|(_, wait)| is_due(wait)).map(|(id, _)| id.clone()).collect()
    }

    /// Takes in what a look at the object showed, none where it is gone or could not be looked at, and says what it waits for.
    pub(super) fn tell(&mut self, id: &ObjectId, live: Option<&Value>, now: Duration) -> Option<&str> {
        let wait = self.0.get_mut(id)?;
        wait.told = live.map(waits_for);
        if wait.told.is_none() {
            // It is asked after again, and forgotten when the inventory says that it is gone.
            wait.since = now;
        }
        wait.told.as_deref()
    }

    /// The first one, for `status`.
    pub(super) fn problem(&self) -> Option<Diagnostic> {
        let mut told = self.0.iter().filter_map(|(id, wait)| Some((id, wait.told.as_ref()?)));
        let (id, what) = told.next()?;
        let more = told.count();
        let more = if more > 0 { format!("; {more} more wait") } else { String::new() };
        Some(Diagnostic::new(codes::LINGERING, Place::Object(id.to_string()), format!("deleted, and does not go: {what}{more}")))
    }
}

/// What keeps a deleted object: its finalizers, or of a namespace what the server says is left in it.
fn waits_for(live: &Value) -> String {
    let finalizers = live.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    let finalizers: Vec<&str> = finalizers.filter_map(Value::as_str).collect();
    if !finalizers.is_empty() {
        return format!("it waits for its finalizers {}", finalizers.join(", "));
    }
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let words: Vec<&str> =
        conditions.filter(|condition| condition["status"] == "True").filter_map(|condition| condition["message"].as_str()).collect();
    if words.is_empty() { "nobody ends its deletion".to_owned() } else { words.join("; ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sync::plan::tests::{applied, id, rendering};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn deleting(names: &[&str]) -> Inventory {
        let mut inventory = applied(&rendering(&[("a", "one"), ("a", "two")], "1"));
        for name in names {
            inventory.get_mut(&id(name)).unwrap().edit(|known| known.deleting = true);
        }
        inventory
    }

    #[test]
    fn a_deletion_is_told_when_it_takes_too_long_and_again_when_it_ended() {
        let mut lingering = Lingering::default();
        assert!(!lingering.see(&deleting(&["one"]), at(0)));
        assert_eq!((lingering.next(), lingering.due(at(29))), (Some(PATIENCE), vec![]));
        assert!(!lingering.see(&deleting(&["one", "two"]), at(20)), "the clock of the first goes on");
        assert_eq!(lingering.due(at(30)), [id("one")]);
        let what = lingering.tell(&id("one"), Some(&json!({"metadata": {"finalizers": ["a.org/b"]}})), at(30));
        assert_eq!(what, Some("it waits for its finalizers a.org/b"));
        assert_eq!((lingering.due(at(31)), lingering.next()), (vec![], Some(at(50))));
        let problem = lingering.problem().unwrap();
        assert_eq!(problem.message, "deleted, and does not go: it waits for its finalizers a.org/b");
        assert!(lingering.see(&deleting(&["two"]), at(40)));
        assert_eq!(lingering.problem(), None);
    }

    #[test]
    fn what_cannot_be_looked_at_is_asked_after_later() {
        let mut lingering = Lingering::default();
        lingering.see(&deleting(&["one"]), at(0));
        assert_eq!(lingering.tell(&id("one"), None, at(30)), None);
        assert_eq!((lingering.problem(), lingering.next()), (None, Some(at(60))));
    }

    #[test]
    fn one_that_was_recreated_and_deleted_again_waits_anew() {
        let mut lingering = Lingering::default();
        lingering.see(&deleting(&["one"]), at(0));
        let mut again = deleting(&["one"]);
        again.get_mut(&id("one")).unwrap().edit(|known| known.uid = "new".to_owned());
        lingering.see(&again, at(10));
        assert_eq!(lingering.next(), Some(at(40)));
    }

    #[test]
    fn a_namespace_says_what_is_left_in_it() {
        let namespace = json!({"status": {"conditions": [
            {"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining: pods. has 1 resource instances"},
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "All resources successfully discovered"},
        ]}});
        assert_eq!(waits_for(&namespace), "Some resources are remaining: pods. has 1 resource instances");
        assert_eq!(waits_for(&json!({})), "nobody ends its deletion");
    }
}
