//! What people are asked before it is deleted, and what they approved.
//!
//! A person approves a whole plan by its hash; what is kept of it is its lines, each an object and its uid. So an approval
//! outlives a sync that was cut after half of the deletions, and is over for each object that is gone or is wanted again.

use std::collections::{BTreeMap, BTreeSet};

use super::{plan::Deletion, prune::Verdict};
use crate::manifest::{Digest, ObjectId};

/// Deletions that were held on one cluster, as far as they still matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked(pub BTreeMap<(ObjectId, String), Answer>);

/// How one deletion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The hash of the plan that it was last held with.
    pub plan: Digest,
    /// A person approved a plan with it.
    pub approved: bool,
}

/// What a person can do about deletions that are held on a cluster. Where the cluster is kept at a commit, what is put back in Git does
/// not come to it.
pub fn way_out(cluster: &str, plan: Digest, is_pinned: bool) -> String {
    if is_pinned {
        format!(
            "It is kept at a commit without them: `evenkeel retry cluster={cluster}` has it follow the branch again; or `evenkeel approve {plan}`."
        )
    } else {
        format!("Put the files back, or `evenkeel approve {plan}`.")
    }
}

impl Asked {
    /// Whether this deletion was approved.
    pub fn approves(&self, deletion: &Deletion) -> bool {
        self.0.get(&line(deletion)).is_some_and(|answer| answer.approved)
    }

    /// What is asked after this verdict, and which approvals stand: those of deletions that are about to be made.
    #[must_use]
    pub fn after(&self, verdict: &Verdict) -> Self {
        let due: BTreeSet<_> = verdict.delete.iter().map(line).collect();
        let approved = self.0.iter().filter(|(line, answer)| answer.approved && due.contains(line));
        let approved = approved.map(|(line, answer)| (line.clone(), *answer));
        let held = verdict.plan.into_iter().flat_map(|plan| verdict.held.iter().map(move |(held, _)| (plan, held)));
        Self(approved.chain(held.map(|(plan, held)| (line(held), Answer { plan, approved: false }))).collect())
    }
}

/// The hash that stands for the plans of all clusters that hold deletions (by name), where there are several: approving it approves
/// each of them, and one that changes changes it.
pub fn fleet_plan<'a>(plans: impl IntoIterator<Item = (&'a str, Digest)>) -> Option<Digest> {
    let lines: Vec<String> = plans.into_iter().map(|(cluster, plan)| format!("{cluster} {plan}")).collect();
    (lines.len() > 1).then(|| Digest::of(format!("fleet\n{}", lines.join("\n")).as_bytes()))
}

fn line(deletion: &Deletion) -> (ObjectId, String) {
    (deletion.id.clone(), deletion.uid.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::manifest::Drift;
    use crate::sync::{
        member::Inventory,
        plan::{
            plan,
            tests::{applied, id, rendering},
        },
        prune::{Budget, Where, judge},
    };

    type Objects<'a> = &'a [(&'a str, &'a str)];

    const ALL: Objects<'_> = &[("a", "one"), ("b", "two"), ("b", "three")];
    const LEFT: Objects<'_> = &[("a", "one")];

    fn judged(asked: &Asked, inventory: &Inventory, after: Objects<'_>) -> (Verdict, Asked) {
        let after = rendering(after, "1");
        let place = Where { fleet: "shop", cluster_uid: "u" };
        let plan = plan(&after, inventory, &BTreeSet::new(), Drift::Repair);
        let verdict = judge(&plan, &after, inventory, &Budget::default(), place, |deletion| asked.approves(deletion));
        let asked = asked.after(&verdict);
        (verdict, asked)
    }

    /// The deletion of the bundle `b`, held and approved.
    fn approved(inventory: &Inventory) -> Asked {
        let (verdict, mut asked) = judged(&Asked::default(), inventory, LEFT);
        assert_eq!((verdict.delete.len(), verdict.held.len(), asked.0.len()), (0, 2, 2));
        assert!(asked.0.values().all(|answer| Some(answer.plan) == verdict.plan && !answer.approved));
        asked.0.values_mut().for_each(|answer| answer.approved = true);
        asked
    }

    #[test]
    fn what_is_left_of_an_approved_plan_needs_no_second_approval() {
        let mut inventory = applied(&rendering(ALL, "1"));
        let (verdict, asked) = judged(&approved(&inventory), &inventory, LEFT);
        assert_eq!((verdict.delete.len(), verdict.held.len(), verdict.plan), (2, 0, None));
        inventory.remove(&id("two"));
        let (verdict, asked) = judged(&asked, &inventory, LEFT);
        assert_eq!((verdict.delete.len(), asked.0.len()), (1, 1), "the sync was cut");
        inventory.remove(&id("three"));
        assert_eq!(judged(&asked, &inventory, LEFT).1, Asked::default(), "all of it is done");
    }

    #[test]
    fn an_approval_ends_where_the_object_is_wanted_again_or_is_another() {
        let inventory = applied(&rendering(ALL, "1"));
        let (_, asked) = judged(&approved(&inventory), &inventory, ALL);
        assert_eq!(asked, Asked::default(), "reverted before it ran");
        assert_eq!(judged(&asked, &inventory, LEFT).0.held.len(), 2, "deleted again by mistake");

        let mut recreated = inventory.clone();
        recreated.get_mut(&id("two")).unwrap().edit(|known| known.uid = "new".to_owned());
        let (verdict, asked) = judged(&approved(&inventory), &recreated, LEFT);
        assert_eq!((verdict.delete.len(), verdict.held.len()), (1, 1));
        assert_eq!(asked.0.values().filter(|answer| answer.approved).count(), 1);
    }
}
