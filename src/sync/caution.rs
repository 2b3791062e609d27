//! When all deletions of a cluster wait for approval because of what the whole fleet would lose, or because a layer vanished.
//!
//! [`super::prune`] judges by what one cluster shows. What is decided here takes a look at all of them, when the agent takes up a
//! revision. A caution stands until the cluster's deletions are approved or put back: later revisions, which delete less, do not end it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::prune::Budget;
use crate::{manifest::ObjectId, render::Rendering};

/// Why the deletions of a cluster wait that has left the repository.
pub const LEFT: &str = "the cluster left the repository, whose last word on it is onRemoval: prune";

/// Why the deletions of a cluster wait that lost a layer.
pub fn vanished(layer: &str) -> String {
    format!("the cluster lost the layer {layer}")
}

/// What a revision would take from one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The cluster's name.
    pub cluster: String,
    /// Objects on record that the revision does not want any more.
    pub objects: usize,
    /// Those of them that nobody was asked about yet.
    pub unasked: usize,
    /// The caution that stands since an earlier revision.
    pub caution: Option<String>,
    /// A layer that the cluster had and has no more.
    pub lost_layer: Option<String>,
}

/// Why all deletions of a cluster wait, for those where they do. `all` is the number of objects on record over the fleet.
pub fn cautions(losses: &[Loss], all: usize, budget: &Budget) -> BTreeMap<String, String> {
    let fresh: usize = losses.iter().filter(|loss| loss.caution.is_none()).map(|loss| loss.unasked).sum();
    let exceeded = budget.is_exceeded(fresh, all).then(|| {
        let (objects, percent) = (budget.objects, budget.percent);
        format!("{fresh} of {all} objects of the fleet would go with one revision, more than {objects} and {percent} %")
    });
    let why = |loss: &Loss| {
        let layer = || loss.lost_layer.as_deref().map(vanished);
        loss.caution.clone().or_else(layer).or_else(|| exceeded.clone())
    };
    let losing = losses.iter().filter(|loss| loss.objects > 0);
    losing.filter_map(|loss| Some((loss.cluster.clone(), why(loss)?))).collect()
}

/// Which of the objects on record (with the bundles from which they were applied) a rendering does not want any more, as
/// [`super::plan`] sees it.
pub fn unwanted<'a>(record: impl IntoIterator<Item = (&'a ObjectId, &'a str)>, rendering: &Rendering) -> BTreeSet<&'a ObjectId> {
    let paused = |bundle: &str| rendering.bundles.get(bundle).is_some_and(|settings| settings.paused.is_some());
    let left = record.into_iter().filter(|(id, bundle)| rendering.object(id).is_none() && !paused(bundle));
    left.map(|(id, _)| id).collect()
}

/// Whether one rendering lacks an object of another. Both are sorted, and mostly share their objects.
pub fn loses(before: &Rendering, after: &Rendering) -> bool {
    let mut after = after.objects.iter();
    !before.objects.iter().all(|object| after.by_ref().any(|other| Arc::ptr_eq(object, other) || object.id == other.id))
}

/// The first layer of a cluster that it has no more.
pub fn lost_layer<'a>(before: &'a [String], after: &[String]) -> Option<&'a String> {
    before.iter().find(|layer| !after.contains(layer))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::sync::plan::tests::{id, rendering};

    fn budget() -> Budget {
        Budget { objects: 50, percent: 25, caution: None }
    }

    fn loss(cluster: &str, objects: usize) -> Loss {
        Loss { cluster: cluster.to_owned(), objects, unasked: objects, caution: None, lost_layer: None }
    }

    #[test]
    fn a_revision_that_exceeds_number_and_share_over_the_fleet_holds_all_that_lose_something() {
        let of = |counts: [usize; 3], all| {
            let losses: Vec<Loss> = ["a", "b", "c"].iter().zip(counts).map(|(name, count)| loss(name, count)).collect();
            cautions(&losses, all, &budget()).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(of([17, 17, 17], 100), ["a", "b", "c"], "no cluster exceeds its own budget");
        assert_eq!(of([17, 17, 16], 100), [""; 0], "50 are allowed");
        assert_eq!(of([30, 30, 0], 240), [""; 0], "60 of 240 are 25 %");
        assert_eq!(of([30, 0, 31], 240), ["a", "c"]);
    }

    #[test]
    fn what_was_asked_before_is_no_part_of_this_revision() {
        let asked = Loss { unasked: 0, ..loss("a", 60) };
        assert_eq!(cautions(&[asked.clone(), loss("b", 3)], 100, &budget()), BTreeMap::new());
        assert_eq!(cautions(&[asked, loss("b", 51)], 100, &budget()).len(), 2, "a plan that was approved is let through all the same");
    }

    #[test]
    fn a_caution_stands_until_nothing_is_to_be_deleted() {
        let stands = Loss { caution: Some("as before".to_owned()), ..loss("a", 40) };
        let found = cautions(&[stands.clone(), loss("b", 40)], 100, &budget());
        assert_eq!(found, BTreeMap::from([("a".to_owned(), "as before".to_owned())]), "and is not counted again");
        assert_eq!(cautions(&[Loss { objects: 0, unasked: 0, ..stands }], 100, &budget()), BTreeMap::new(), "put back");
    }

    #[test]
    fn a_lost_layer_holds_whatever_the_number() {
        let names = |layers: &[&str]| layers.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (before, after) =
            (names(&["base", "environments/prod/base", "environments/prod/eu/one"]), names(&["base", "environments/prod/eu/one"]));
        let lost = lost_layer(&before, &after).cloned();
        assert_eq!((lost.as_deref(), lost_layer(&after, &before)), (Some("environments/prod/base"), None));
        let found = cautions(&[Loss { lost_layer: lost.clone(), ..loss("a", 1) }], 1000, &budget());
        assert_eq!(found["a"], "the cluster lost the layer environments/prod/base");
        assert_eq!(cautions(&[Loss { lost_layer: lost, ..loss("a", 0) }], 1000, &budget()), BTreeMap::new(), "all of it moved elsewhere");
    }

    #[test]
    fn what_is_paused_or_only_moved_is_not_lost() {
        let (before, after) = (rendering(&[("a", "one"), ("b", "two")], "1"), rendering(&[("a", "one"), ("c", "two")], "2"));
        assert!(!loses(&before, &after), "to another bundle");
        let less = rendering(&[("a", "one")], "1");
        assert!(loses(&before, &less) && !loses(&less, &before));
        let (one, two) = (id("one"), id("two"));
        let record = [(&one, "a"), (&two, "b")];
        assert_eq!(unwanted(record, &less), [&two].into());
        let mut paused = Rendering::clone(&less);
        let file = Some("base/b/bundle.yaml".into());
        paused.bundles.entry("b".to_owned()).or_default().paused = file;
        assert_eq!(unwanted(record, &paused), BTreeSet::new());
    }
}
