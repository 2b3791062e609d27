//! What a sync would do to a cluster, in numbers, where none may: what `status` shows of a cluster that is only observed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    plan::{Plan, Why},
    preview::{Previewed, Standing, Tried},
    prune::Verdict,
};
use crate::diagnostic::Diagnostic;

/// Objects that a sync would write or delete. Each is in one of the numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Would {
    /// Not there.
    pub create: u64,
    /// The fleet's, and Git says something else.
    pub change: u64,
    /// The fleet's, and others changed them.
    pub put_back: u64,
    /// There, not the fleet's yet, and taken from others.
    pub take_over: u64,
    /// There, not the fleet's yet, and shared with others, who lose nothing.
    #[serde(default)]
    pub share: u64,
    /// The field managers from whom fields would be taken over, by name.
    pub from: BTreeSet<String>,
    /// The fleet's, and not in the repository.
    pub delete: u64,
    /// Likewise, and held for approval.
    pub hold: u64,
    /// Refused by the server, or not to be written.
    pub refused: u64,
}

impl Would {
    /// Whether a sync would do nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// `take over 2 (from helm), create 3`
    pub fn words(&self) -> String {
        let names: Vec<&str> = self.from.iter().map(String::as_str).collect();
        let from = if names.is_empty() { String::new() } else { format!(" (from {})", names.join(", ")) };
        let parts = [
            (self.delete, "delete", ""),
            (self.hold, "delete once approved", ""),
            (self.take_over, "take over", &*from),
            (self.share, "share", ""),
            (self.change, "change", ""),
            (self.put_back, "put back", ""),
            (self.create, "create", ""),
            (self.refused, "be refused", ""),
        ];
        let parts = parts.iter().filter(|(count, ..)| *count > 0).map(|(count, what, more)| format!("{what} {count}{more}"));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// What the API server said of objects that are not the fleet's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Strangers {
    create: u64,
    take_over: u64,
    share: u64,
    from: BTreeSet<String>,
    refused: u64,
    /// The first refusal, by object.
    pub(super) refusal: Option<Diagnostic>,
}

impl Strangers {
    /// Takes in one object.
    pub(super) fn add(mut self, previewed: &Previewed) -> Self {
        match (&previewed.tried, &previewed.standing) {
            (Tried::Refused(error), _) => {
                self.refused += 1;
                let is_first = self.refusal.as_ref().is_none_or(|first| error.place.to_string() < first.place.to_string());
                self.refusal = if is_first { Some(error.clone()) } else { self.refusal };
            }
            (_, Standing::Absent) => self.create += 1,
            (_, Standing::Stranger { from, .. }) if from.is_empty() => self.share += 1,
            (_, Standing::Stranger { from, .. }) => {
                self.take_over += 1;
                self.from.extend(from.iter().cloned());
            }
            // It became the fleet's, or another's, since the lists were read: the next look tells.
            (_, Standing::Member | Standing::OtherFleet) => {}
        }
        self
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        let refusals = self.refusal.into_iter().chain(other.refusal);
        Self {
            create: self.create + other.create,
            take_over: self.take_over + other.take_over,
            share: self.share + other.share,
            from: self.from.into_iter().chain(other.from).collect(),
            refused: self.refused + other.refused,
            refusal: refusals.min_by_key(|error| error.place.to_string()),
        }
    }
}

/// Puts together what lists and what questions told. Objects that are members are told by their marks and by what is on record.
pub(super) fn would(plan: &Plan, verdict: &Verdict, strangers: &Strangers) -> Would {
    let count = |is: fn(Why) -> bool| plan.writes.values().flatten().filter(|write| is(write.why)).count() as u64;
    Would {
        create: strangers.create,
        change: count(|why| why == Why::Changed),
        put_back: count(|why| why == Why::Drifted),
        take_over: strangers.take_over,
        share: strangers.share,
        from: strangers.from.clone(),
        delete: verdict.delete.len() as u64,
        hold: verdict.held.len() as u64,
        refused: strangers.refused,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        codes,
        diagnostic::Place,
        manifest::Drift,
        sync::plan::{
            plan,
            tests::{applied, id, rendering},
        },
    };

    fn previewed(standing: Standing, tried: Tried) -> Previewed {
        let object = rendering(&[("a", "one")], "1").objects[0].clone();
        Previewed { object, live: None, standing, tried, drifted: None, told: None }
    }

    fn refused(object: &str) -> Previewed {
        let error = Diagnostic::new(codes::REFUSED, Place::Object(object.to_owned()), "no");
        previewed(Standing::Absent, Tried::Refused(error))
    }

    #[test]
    fn each_object_is_counted_once_as_what_would_become_of_it() {
        let stranger = |from: &[&str]| {
            let from = from.iter().map(|name| (*name).to_owned()).collect();
            previewed(Standing::Stranger { from, with: Vec::new() }, Tried::Becomes(json!({})))
        };
        let strangers = [
            previewed(Standing::Absent, Tried::Becomes(json!({}))),
            previewed(Standing::Absent, Tried::Waits),
            stranger(&["helm"]),
            stranger(&[]),
            stranger(&["helm", "kustomize-controller"]),
            refused("b"),
            refused("a"),
        ];
        let strangers = strangers.iter().map(|one| Strangers::default().add(one)).fold(Strangers::default(), Strangers::and);
        assert_eq!(strangers.refusal.as_ref().map(|error| error.place.to_string()), Some("a".to_owned()));

        let old = rendering(&[("a", "changed"), ("a", "drifted"), ("a", "gone"), ("a", "same")], "1");
        let new = rendering(&[("a", "changed"), ("a", "drifted"), ("a", "same"), ("a", "new")], "2");
        let mut inventory = applied(&new);
        inventory.remove(&id("new"));
        inventory.insert(id("changed"), applied(&old)[&id("changed")].clone());
        inventory.insert(id("gone"), applied(&old)[&id("gone")].clone());
        inventory.get_mut(&id("drifted")).unwrap().edit(|known| known.fields = None);
        let plan = plan(&new, &inventory, &BTreeSet::new(), Drift::Repair);
        let verdict = Verdict { delete: plan.deletions.clone(), ..Verdict::default() };
        let would = would(&plan, &verdict, &strangers);
        let from = ["helm", "kustomize-controller"].map(str::to_owned).into();
        assert_eq!(would, Would { create: 2, change: 1, put_back: 1, take_over: 2, share: 1, from, delete: 1, hold: 0, refused: 2 });
        let words = "delete 1, take over 2 (from helm, kustomize-controller), share 1, change 1, put back 1, create 2, be refused 2";
        assert_eq!((would.words().as_str(), would.is_nothing()), (words, false));
    }

    #[test]
    fn a_cluster_in_sync_needs_nothing() {
        let rendering = rendering(&[("a", "one")], "1");
        let plan = plan(&rendering, &applied(&rendering), &BTreeSet::new(), Drift::Repair);
        assert!(would(&plan, &Verdict::default(), &Strangers::default()).is_nothing());
        assert_eq!(Would { take_over: 2, ..Would::default() }.words(), "take over 2");
    }
}
