//! When all deletions of a cluster wait for approval because of what the whole fleet would lose, or because a layer vanished.
//!
//! [`super::prune`] judges by what one cluster shows. What is decided here takes a look at all of them, when the agent takes up a
//! revision, and at those that are told something else when it tells them.
//!
//! **What counts is what a cluster is told, not what the newest revision says.** With waves these differ. So a cluster has a *way*: what
//! it was told and what its waves may bring it to, in that order, before it comes to the newest revision. A caution stands until the
//! cluster's deletions are approved or put back, and nothing is lost on its way any more. A revision that deletes less does not end it,
//! and where there is a way, nor does one that deletes nothing: the cluster's own word does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::prune::Budget;
use crate::{manifest::ObjectId, render::Rendering};

/// Why the deletions of a cluster wait that has left the repository.
pub const LEFT: &str = "the cluster left the repository, whose last word on it is onRemoval: prune";

/// Why deletions wait where those of an earlier revision did, for a reason that is over.
pub const STANDS: &str = "deletions of an earlier commit waited here, and were neither approved nor all put back";

/// Why the deletions of a cluster wait that is kept at a commit without a layer.
pub fn behind(layer: &str) -> String {
    format!("the commit that the cluster is kept at is without the layer {layer}")
}

/// Why the deletions of a cluster wait that lost a layer.
pub fn vanished(layer: &str) -> String {
    format!("the cluster lost the layer {layer}")
}

/// What a revision would take from one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The cluster's name.
    pub cluster: String,
    /// Objects that are there, or will be before the revision is, and that it does not want any more.
    pub objects: usize,
    /// Those of them that nobody was asked about yet.
    pub unasked: usize,
    /// Those of them that are not there yet.
    pub to_come: usize,
    /// None of what is there goes as long as bundles are paused, and something does then.
    pub rests: bool,
    /// The caution that stands since an earlier revision.
    pub caution: Option<String>,
    /// Of a layer that the cluster had and has no more, in words.
    pub lost_layer: Option<String>,
}

/// What a cluster is told one after the other. Of what cannot be rendered for now it is not known what it takes.
pub type Way = [Option<Arc<Rendering>>];

/// An object that is on record as applied: which, the bundle from which it was, and whether somebody was asked if it may go.
pub type Applied<'a> = (&'a ObjectId, &'a str, bool);

impl Loss {
    /// What a rendering takes from a cluster with that record, when it has come to the end of its way. What is not known on it counts
    /// as an object that goes: it may have been put there.
    pub fn of(cluster: &str, record: &[Applied<'_>], way: &Way, after: &Rendering) -> Self {
        let there = || record.iter().map(|(id, bundle, _)| (*id, *bundle));
        let lost = unwanted(there(), after);
        let ids: BTreeSet<&ObjectId> = there().map(|(id, _)| id).collect();
        let given = way.iter().flatten().flat_map(|rendering| rendering.objects.iter().map(|object| (&object.id, &*object.bundle)));
        let to_come = unwanted(given.filter(|(id, _)| !ids.contains(id)), after).len();
        let unknown = way.iter().filter(|rendering| rendering.is_none()).count();
        let unasked = record.iter().filter(|(id, _, asked)| !asked && lost.contains(id)).count();
        Self {
            cluster: cluster.to_owned(),
            objects: lost.len() + to_come + unknown,
            unasked: unasked + to_come,
            to_come,
            rests: lost.is_empty() && ids.iter().any(|id| after.object(id).is_none()),
            caution: None,
            lost_layer: None,
        }
    }

    /// Whether something goes, now or once pauses end.
    pub fn is_some(&self) -> bool {
        self.objects > 0 || self.rests
    }
}

/// Why all deletions of a cluster wait, for those where they do. `all` is the number of objects on record over the fleet.
pub fn cautions(losses: &[Loss], all: usize, budget: &Budget) -> BTreeMap<String, String> {
    let fresh: usize = losses.iter().filter(|loss| loss.caution.is_none()).map(|loss| loss.unasked).sum();
    let all = all + losses.iter().map(|loss| loss.to_come).sum::<usize>();
    let exceeded = budget.is_exceeded(fresh, all).then(|| {
        let (objects, percent) = (budget.objects, budget.percent);
        format!("{fresh} of {all} objects of the fleet would go with one revision, more than {objects} and {percent} %")
    });
    let why = |loss: &Loss| {
        // What rests may be more when it goes, and is counted then.
        let new = || loss.lost_layer.clone().or_else(|| exceeded.clone().filter(|_| loss.objects > 0));
        loss.caution.clone().or_else(new).filter(|_| loss.is_some())
    };
    losses.iter().filter_map(|loss| Some((loss.cluster.clone(), why(loss)?))).collect()
}

/// Which of the objects on record (with the bundles from which they were applied) a rendering does not want any more, as
/// [`super::plan`] sees it.
pub fn unwanted<'a>(record: impl IntoIterator<Item = (&'a ObjectId, &'a str)>, rendering: &Rendering) -> BTreeSet<&'a ObjectId> {
    let left = record.into_iter().filter(|(id, bundle)| rendering.object(id).is_none() && !rendering.is_paused(bundle));
    left.map(|(id, _)| id).collect()
}

/// Whether one rendering may take objects that stand where another was told: it lacks one of its objects, or it goes on with a bundle
/// that was paused and whose objects could not go. Objects are sorted, and mostly shared.
pub fn loses(before: &Rendering, after: &Rendering) -> bool {
    let mut others = after.objects.iter();
    let mut lacks =
        || !before.objects.iter().all(|object| others.by_ref().any(|other| Arc::ptr_eq(object, other) || object.id == other.id));
    let goes_on = || before.bundles.keys().any(|bundle| before.is_paused(bundle) && !after.is_paused(bundle));
    before.digest != after.digest && (goes_on() || lacks())
}

/// Whether a cluster deletes something on its way.
pub fn loses_on(way: &Way) -> bool {
    let known: Option<Vec<&Rendering>> = way.iter().map(Option::as_deref).collect();
    known.is_none_or(|way| (0..way.len()).any(|at| way[at + 1..].iter().any(|later| loses(way[at], later))))
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
        Loss { cluster: cluster.to_owned(), objects, unasked: objects, to_come: 0, rests: false, caution: None, lost_layer: None }
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

    type Objects<'a> = &'a [(&'a str, &'a str)];

    const ONE: Objects<'_> = &[("a", "one")];
    const TWO: Objects<'_> = &[("a", "one"), ("a", "two")];
    const OTHER: Objects<'_> = &[("a", "one"), ("a", "other")];

    fn way(renderings: &[Option<Objects<'_>>]) -> Vec<Option<Arc<Rendering>>> {
        renderings.iter().map(|objects| objects.map(|objects| rendering(objects, "1"))).collect()
    }

    #[test]
    fn what_is_lost_on_the_way_is_what_a_later_one_lacks() {
        for (renderings, loses) in [
            (&[][..], false),
            (&[Some(TWO)], false),
            (&[Some(ONE), Some(TWO)], false),
            (&[Some(TWO), Some(ONE)], true),
            (&[Some(TWO), Some(ONE), Some(TWO)], true),
            (&[Some(ONE), Some(TWO), Some(OTHER)], true),
            (&[Some(ONE), Some(ONE)], false),
            (&[Some(ONE), None], true),
        ] {
            assert_eq!(loses_on(&way(renderings)), loses, "{renderings:?}");
        }
    }

    #[test]
    fn a_loss_is_of_what_is_there_and_of_what_comes_before_it() {
        let (one, two) = (id("one"), id("two"));
        let there = |asked| vec![(&one, "a", false), (&two, "a", asked)];
        // The record, the way, the revision; objects, unasked, to come, on the way.
        let cases: [(_, &[Option<Objects<'_>>], Objects<'_>, _); 8] = [
            (there(false), &[], ONE, (1, 1, 0, false)),
            (there(true), &[], ONE, (1, 0, 0, false)),
            (there(false), &[], TWO, (0, 0, 0, false)),
            (there(false), &[Some(ONE)], TWO, (0, 0, 0, false)),
            (there(false), &[Some(TWO), Some(OTHER)], ONE, (2, 2, 1, false)),
            (vec![(&one, "a", false)], &[Some(TWO)], ONE, (1, 1, 1, false)),
            (vec![(&one, "a", false)], &[Some(TWO)], TWO, (0, 0, 0, false)),
            (vec![(&one, "a", false)], &[None], ONE, (1, 0, 0, false)),
        ];
        for (record, told, after, expected) in cases {
            let loss = Loss::of("a", &record, &way(told), &rendering(after, "1"));
            assert_eq!((loss.objects, loss.unasked, loss.to_come, loss.rests), expected, "{record:?} {told:?} {after:?}");
        }
    }

    #[test]
    fn a_lost_layer_holds_whatever_the_number() {
        let names = |layers: &[&str]| layers.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (before, after) =
            (names(&["base", "environments/prod/base", "environments/prod/eu/one"]), names(&["base", "environments/prod/eu/one"]));
        let lost = lost_layer(&before, &after).cloned();
        assert_eq!((lost.as_deref(), lost_layer(&after, &before)), (Some("environments/prod/base"), None));
        let found = cautions(&[Loss { lost_layer: lost.as_deref().map(vanished), ..loss("a", 1) }], 1000, &budget());
        assert_eq!(found["a"], "the cluster lost the layer environments/prod/base");
        assert_eq!(
            cautions(&[Loss { lost_layer: lost.as_deref().map(vanished), ..loss("a", 0) }], 1000, &budget()),
            BTreeMap::new(),
            "all of it moved elsewhere"
        );
    }

    #[test]
    fn a_pause_puts_nothing_back() {
        let mut paused = Rendering::clone(&rendering(ONE, "1"));
        paused.bundles.entry("a".to_owned()).or_default().paused = Some("base/a/bundle.yaml".into());
        let (one, two) = (id("one"), id("two"));
        let loss = |record: &[Applied<'_>]| Loss::of("a", record, &[], &paused);
        let stays = loss(&[(&one, "a", false), (&two, "a", false)]);
        assert_eq!((stays.objects, stays.rests), (0, true));
        let before = Loss { caution: Some("as before".to_owned()), ..stays.clone() };
        assert_eq!(cautions(&[before], 100, &budget())["a"], "as before");
        let layer = Loss { lost_layer: Some(vanished("base")), ..stays };
        assert_eq!(cautions(&[layer], 100, &budget())["a"], "the cluster lost the layer base");
        assert!(!loss(&[(&one, "a", false)]).is_some());
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
        paused.digest = crate::manifest::Digest::of(b"paused");
        assert!(loses(&paused, &less) && !loses(&less, &paused), "what could not go while it was paused goes now");
    }
}
