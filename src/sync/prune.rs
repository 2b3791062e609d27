//! Which deletions may go through. Deletion is never a surprise: what the guards stop is held for the approval of exactly
//! that plan, and the rest of the change goes on.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    caution::STANDS,
    member::Inventory,
    plan::{Deletion, Plan},
};
use crate::{
    layout::Allowance,
    manifest::{Digest, ObjectId},
    render::Rendering,
};

/// How much may be deleted without approval: what exceeds both numbers is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Objects.
    pub objects: usize,
    /// Percent of the objects that are there.
    pub percent: usize,
    /// Why nothing at all may be, where something says so ([`super::caution`]).
    pub caution: Option<Arc<str>>,
}

impl From<Allowance> for Budget {
    fn from(allowance: Allowance) -> Self {
        Self { objects: allowance.objects as usize, percent: usize::from(allowance.percent), caution: None }
    }
}

impl Budget {
    /// Whether so many of all objects are more than may go.
    pub fn is_exceeded(&self, count: usize, all: usize) -> bool {
        count > self.objects && count * 100 > all * self.percent
    }
}

impl Default for Budget {
    /// 20 objects and 25 %, fixed by the design: a team's service may leave in one commit, a quarter of a cluster may not.
    fn default() -> Self {
        Self { objects: 20, percent: 25, caution: None }
    }
}

/// Where a plan is to be carried out; part of what an approval is for.
#[derive(Debug, Clone, Copy)]
pub struct Where<'a> {
    /// The fleet's name.
    pub fleet: &'a str,
    /// The uid of the cluster's kube-system namespace.
    pub cluster_uid: &'a str,
}

/// What becomes of the deletions of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Go through.
    pub delete: Vec<Deletion>,
    /// Wait for approval, each with the reason.
    pub held: Vec<(Deletion, String)>,
    /// Stay for good, each with the reason.
    pub kept: Vec<(Deletion, String)>,
    /// The hash that approves exactly what is held; none where nothing is.
    pub plan: Option<Digest>,
}

/// Namespaces that no cluster can be without.
const NEVER: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Judges the deletions of a plan. `approved` says whether a person approved one that would be held.
pub fn judge(
    plan: &Plan,
    rendering: &Rendering,
    inventory: &Inventory,
    budget: &Budget,
    place: Where<'_>,
    approved: impl Fn(&Deletion) -> bool,
) -> Verdict {
    let mut verdict = Verdict::default();
    for deletion in &plan.deletions {
        let member = inventory.get(&deletion.id);
        let annotation = member.and_then(|member| member.prune());
        if let Some(reason) = keep(&deletion.id, annotation) {
            verdict.kept.push((deletion.clone(), reason));
        } else if let Some(reason) = hold(&deletion.id, annotation, member.is_some_and(|member| member.is_adopted())) {
            verdict.held.push((deletion.clone(), reason));
        } else {
            verdict.delete.push(deletion.clone());
        }
    }
    if let Some(reason) = hold_all(&verdict.delete, rendering, inventory, budget) {
        verdict.held.extend(verdict.delete.drain(..).map(|deletion| (deletion, reason.clone())));
        verdict.held.sort();
    }
    verdict.delete.extend(verdict.held.extract_if(.., |(deletion, _)| approved(deletion)).map(|(deletion, _)| deletion));
    if !verdict.held.is_empty() {
        verdict.plan = Some(plan_hash(place, verdict.held.iter().map(|(deletion, _)| deletion)));
    }
    verdict
}

fn keep(id: &ObjectId, annotation: Option<&str>) -> Option<String> {
    if annotation == Some("never") {
        return Some("its annotation evenkeel.dev/prune says never".to_owned());
    }
    (id.is("", "Namespace") && NEVER.contains(&id.name.as_str())).then(|| "a namespace that Kubernetes needs".to_owned())
}

fn hold(id: &ObjectId, annotation: Option<&str>, adopted: bool) -> Option<String> {
    if adopted {
        return Some("it stood on the cluster before the fleet took it over".to_owned());
    }
    let takes_data_along = id.is("", "Namespace")
        || id.is("apiextensions.k8s.io", "CustomResourceDefinition")
        || id.is("", "PersistentVolume")
        || id.is("", "PersistentVolumeClaim");
    (takes_data_along && annotation != Some("allow")).then(|| format!("deleting a {} takes other objects or data with it", id.kind))
}

/// Why all deletions of the cluster wait, if they do.
fn hold_all(deletions: &[Deletion], rendering: &Rendering, inventory: &Inventory, budget: &Budget) -> Option<String> {
    if deletions.is_empty() {
        return None;
    }
    // What an earlier commit was about says less than what this one is.
    if let Some(caution) = budget.caution.as_ref().filter(|caution| ***caution != *STANDS) {
        return Some(caution.to_string());
    }
    if rendering.objects.is_empty() {
        return Some("the commit leaves nothing on the cluster".to_owned());
    }
    if let Some(unknown) = deletions.iter().find(|deletion| deletion.bundle.is_none()) {
        return Some(format!("the bundle of {} is not on record, so that all of it may have left", unknown.id));
    }
    let left: BTreeSet<&str> = rendering.objects.iter().map(|object| &*object.bundle).collect();
    if let Some(gone) = deletions.iter().filter_map(|deletion| deletion.bundle.as_deref()).find(|bundle| !left.contains(bundle)) {
        return Some(format!(
            "the whole bundle {gone} left the cluster: its files are gone, or its targets do not select the cluster any more"
        ));
    }
    if let Some(caution) = &budget.caution {
        return Some(caution.to_string());
    }
    let (count, all) = (deletions.len(), inventory.len());
    budget
        .is_exceeded(count, all)
        .then(|| format!("{count} of {all} objects would go, more than {} and {} %", budget.objects, budget.percent))
}

/// The hash over fleet, cluster and the sorted identities and uids of the deletions: the same deletions in another commit
/// are the same plan, one more or one recreated is another.
fn plan_hash<'a>(place: Where<'_>, deletions: impl Iterator<Item = &'a Deletion>) -> Digest {
    let mut lines: Vec<String> = deletions.map(|deletion| format!("{} {}", deletion.id, deletion.uid)).collect();
    lines.sort();
    Digest::of(format!("{}\n{}\n{}", place.fleet, place.cluster_uid, lines.join("\n")).as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::Drift;
    use crate::sync::plan::{
        plan,
        tests::{applied, id, rendering},
    };

    const PLACE: Where<'_> = Where { fleet: "shop", cluster_uid: "u" };

    fn judged(before: &[(&str, &str)], after: &[(&str, &str)], change: impl Fn(&mut Inventory)) -> Verdict {
        let mut inventory = applied(&rendering(before, "1"));
        change(&mut inventory);
        let after = rendering(after, "1");
        judge(&plan(&after, &inventory, &BTreeSet::new(), Drift::Repair), &after, &inventory, &Budget::default(), PLACE, |_| false)
    }

    #[test]
    fn what_goes_now_is_told_before_what_an_earlier_commit_was_about() {
        let (more, inventory) =
            (&[("a", "one"), ("a", "three")][..], applied(&rendering(&[("a", "one"), ("a", "two"), ("b", "four")], "1")));
        let reason = |after, caution: &str| {
            let (after, budget) = (rendering(after, "1"), Budget { caution: Some(caution.into()), ..Budget::default() });
            let plan = plan(&after, &inventory, &BTreeSet::new(), Drift::Repair);
            judge(&plan, &after, &inventory, &budget, PLACE, |_| false).held[0].1.clone()
        };
        assert_eq!(reason(more, "the cluster lost the layer base"), "the cluster lost the layer base");
        assert!(reason(more, STANDS).starts_with("the whole bundle b left"));
        assert_eq!(reason(&[("a", "one"), ("b", "four")], STANDS), STANDS);
    }

    fn many(count: usize) -> Vec<(&'static str, String)> {
        (0..count).map(|n| ("a", format!("n{n}"))).collect()
    }

    fn refs<'a>(names: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
        names.iter().map(|(bundle, name)| (*bundle, name.as_str())).collect()
    }

    #[test]
    fn one_of_a_bundle_goes_and_a_whole_bundle_waits() {
        let verdict = judged(&[("a", "one"), ("a", "two")], &[("a", "one")], |_| {});
        assert_eq!((verdict.delete.len(), verdict.held.len(), verdict.plan), (1, 0, None));
        let verdict = judged(&[("a", "one"), ("b", "two")], &[("a", "one")], |_| {});
        assert_eq!((verdict.delete.len(), verdict.held.len()), (0, 1));
        assert!(verdict.held[0].1.contains("bundle b"));
        let verdict = judged(&[("a", "one")], &[], |_| {});
        assert!(verdict.held[0].1.contains("nothing"), "an empty rendering: {verdict:?}");
    }

    #[test]
    fn the_budget_is_a_number_and_a_share() {
        let before = many(80);
        let verdict = |left: usize| judged(&refs(&before), &refs(&before[..left]), |_| {});
        assert_eq!(verdict(60).delete.len(), 20, "20 of 80 is 25 %, and neither is exceeded");
        assert_eq!(verdict(59).held.len(), 21);
        let before = many(200);
        let verdict = judged(&refs(&before), &refs(&before[..160]), |_| {});
        assert_eq!(verdict.delete.len(), 40, "40 of 200 is under 25 %");
    }

    #[test]
    fn annotations_and_adoption_decide() {
        let with = |change: fn(&mut crate::sync::member::Known)| {
            judged(&[("a", "one"), ("a", "two")], &[("a", "one")], |inventory| inventory.get_mut(&id("two")).unwrap().edit(change))
        };
        assert_eq!(with(|known| known.prune = Some("never".to_owned())).kept.len(), 1);
        assert_eq!(with(|known| known.adopted = true).held.len(), 1);
    }

    #[test]
    fn kinds_that_take_others_along_wait_unless_they_say_otherwise() {
        for (text, annotation, held, kept) in [
            ("Namespace/shop", None, true, false),
            ("Namespace/shop", Some("allow"), false, false),
            ("Namespace/kube-system", Some("allow"), false, true),
            ("PersistentVolumeClaim/shop/data", None, true, false),
            ("CustomResourceDefinition.apiextensions.k8s.io/a.b", None, true, false),
            ("ConfigMap/shop/a", None, false, false),
        ] {
            let id = text.parse().unwrap();
            assert_eq!(keep(&id, annotation).is_some(), kept, "{text} {annotation:?}");
            assert_eq!(keep(&id, annotation).is_none() && hold(&id, annotation, false).is_some(), held, "{text} {annotation:?}");
        }
    }

    #[test]
    fn a_plan_is_of_one_cluster_and_of_these_objects() {
        let after = rendering(&[("a", "one")], "1");
        let inventory = applied(&rendering(&[("a", "one"), ("b", "two")], "1"));
        let hash = |inventory: &Inventory, cluster_uid: &str| {
            let place = Where { fleet: "shop", cluster_uid };
            judge(&plan(&after, inventory, &BTreeSet::new(), Drift::Repair), &after, inventory, &Budget::default(), place, |_| false)
                .plan
                .unwrap()
        };
        assert_eq!(hash(&inventory, "u"), hash(&inventory, "u"));
        assert_ne!(hash(&inventory, "u"), hash(&inventory, "another cluster"));
        let mut recreated = inventory.clone();
        recreated.get_mut(&id("two")).unwrap().edit(|known| known.uid = "new".to_owned());
        assert_ne!(hash(&inventory, "u"), hash(&recreated, "u"));
    }

    proptest! {
        /// Every deletion of the plan ends in exactly one list, and none comes from nowhere.
        #[test]
        fn nothing_is_lost_and_nothing_added(left in 0usize..40, adopted in prop::collection::vec(any::<bool>(), 40), approve in any::<bool>()) {
            let before = many(40);
            let mut inventory = applied(&rendering(&refs(&before), "1"));
            for (member, adopted) in inventory.values_mut().zip(adopted) {
                member.edit(|known| known.adopted = adopted);
            }
            let after = rendering(&refs(&before[..left]), "1");
            let plan = plan(&after, &inventory, &BTreeSet::new(), Drift::Repair);
            let verdict = judge(&plan, &after, &inventory, &Budget::default(), PLACE, |_| approve);
            let mut all: Vec<Deletion> = verdict.delete.clone();
            all.extend(verdict.held.iter().chain(&verdict.kept).map(|(deletion, _)| deletion.clone()));
            all.sort();
            let mut planned = plan.deletions.clone();
            planned.sort();
            prop_assert_eq!(all, planned);
            if !approve {
                prop_assert!(verdict.delete.iter().all(|deletion| !inventory[&deletion.id].is_adopted()));
            }
        }
    }
}
