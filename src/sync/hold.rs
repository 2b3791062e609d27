//! What people hold: clusters, or bundles on them, that are not written until somebody lets them go or the time is over.
//!
//! A hold is of a selector, so that a cluster that comes later is held too. It stands in the ledger and on the parent of every cluster
//! that it holds, from where an agent without a ledger has it back. Whether one stands is told by values and a time that come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use kube_overlay::LabelSelector;
use serde::{Deserialize, Serialize};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Digest, ObjectId},
    render::Rendering,
};

/// Labels of a cluster, `environment`, `region` and `cluster` among them.
pub type Labels = BTreeMap<String, String>;

/// The label of a cluster that says where it is.
pub const ENVIRONMENT: &str = "environment";

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Random, so that the same hold is known wherever it is found.
    pub id: String,
    /// Which clusters: a label selector.
    pub selector: String,
    /// Which of them were let go before the others: label selectors.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub except: BTreeSet<String>,
    /// The only bundle that is held; none where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// What is not done meanwhile.
    pub scope: Scope,
    /// Why, in the words of who holds.
    pub reason: String,
    /// Who: `name (uid N)`.
    pub who: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; none where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a hold stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// All writes.
    Writes,
    /// That changes by others are put back. Commits are carried out.
    Drift,
}

/// What a hold or a release is for, as the command says it: two holds that stop different things must not look the same later.
pub fn target(selector: &str, bundle: Option<&str>, scope: Scope) -> String {
    let bundle = bundle.map(|bundle| format!(" --bundle {bundle}")).unwrap_or_default();
    let drift = if scope == Scope::Drift { " --drift" } else { "" };
    format!("{selector}{bundle}{drift}")
}

impl Hold {
    /// Whether its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether a cluster with these labels is held by it.
    pub fn holds(&self, labels: &Labels) -> bool {
        let selects = |selector: &str| LabelSelector::parse(selector).is_ok_and(|selector| selector.matches(labels));
        selects(&self.selector) && !self.except.iter().any(|selector| selects(selector))
    }

    /// The error that a held cluster shows.
    pub fn diagnostic(&self) -> Diagnostic {
        let what = match (self.scope, &self.bundle) {
            (Scope::Writes, None) => String::new(),
            (Scope::Writes, Some(bundle)) => format!("bundle {bundle} is "),
            (Scope::Drift, None) => "drift is not put back: ".to_owned(),
            (Scope::Drift, Some(bundle)) => format!("drift of bundle {bundle} is not put back: "),
        };
        let until = self.until.map_or_else(|| "until it is released".to_owned(), |until| format!("until {until:.0}"));
        let message = format!("{what}held by {} since {:.0}, {until}: {}", self.who, self.since, self.reason);
        let bundle = self.bundle.as_ref().map(|bundle| format!(" --bundle {bundle}")).unwrap_or_default();
        let hint = format!("When the reason is gone: `evenkeel release '{}'{bundle}`.", self.selector);
        Diagnostic::new(codes::ON_HOLD, Place::Nowhere, message).with_hint(hint)
    }
}

/// The holds of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    all: Arc<[Hold]>,
    /// The held bundles that the cluster does not have.
    absent: BTreeSet<String>,
}

impl Held {
    /// Those of all holds that hold a cluster with these labels at that time.
    pub fn of(holds: &[Hold], labels: &Labels, now: Timestamp) -> Self {
        let all = holds.iter().filter(|hold| !hold.is_over(now) && hold.holds(labels)).cloned().collect();
        Self { all, absent: BTreeSet::new() }
    }

    /// The same on a cluster without objects of some of the bundles: holds of these stand there, and have no effect.
    #[must_use]
    pub fn without(self, is_absent: impl Fn(&str) -> bool) -> Self {
        let absent = self.all.iter().filter_map(|hold| hold.bundle.as_ref()).filter(|bundle| is_absent(bundle)).cloned().collect();
        Self { absent, ..self }
    }

    /// The same where the cluster is told that rendering, whose bundles it is to have; without one it may have any.
    #[must_use]
    pub fn with(mut self, rendering: Option<&Rendering>) -> Self {
        self.absent.retain(|bundle| rendering.is_some_and(|rendering| !rendering.bundles.contains_key(bundle)));
        self
    }

    /// All of them, as they stand on the parent.
    pub fn all(&self) -> &[Hold] {
        &self.all
    }

    /// Those of them that are of something that the cluster has.
    pub fn in_effect(&self) -> impl Iterator<Item = &Hold> {
        self.all.iter().filter(|hold| hold.bundle.as_ref().is_none_or(|bundle| !self.absent.contains(bundle)))
    }

    /// The hold that stops every write to the cluster, where one does: nothing of a commit reaches it meanwhile.
    pub fn whole(&self) -> Option<&Hold> {
        self.writes().find(|hold| hold.bundle.is_none())
    }

    /// Why the cluster does not run all of a commit, in one sentence; none where nothing of it is held back.
    pub(crate) fn why(&self) -> Option<String> {
        self.writes().next().map(|hold| hold.diagnostic().message)
    }

    /// The bundles of which nothing is written, each with the hold that says so. The other bundles go on.
    pub fn bundles(&self) -> BTreeMap<&str, &Hold> {
        self.writes().filter_map(|hold| Some((hold.bundle.as_deref()?, hold))).collect()
    }

    /// The hold that keeps drift of the whole cluster or of a bundle from being put back, where one does.
    pub fn drift(&self) -> Option<&Hold> {
        self.in_effect().find(|hold| hold.scope == Scope::Drift)
    }

    fn writes(&self) -> impl Iterator<Item = &Hold> {
        self.in_effect().filter(|hold| hold.scope == Scope::Writes)
    }

    /// The rendering with the held bundles paused. Where the cluster has some of them its digest is another: who runs it does not run
    /// the commit's.
    pub(crate) fn lay(&self, rendering: &Arc<Rendering>) -> Arc<Rendering> {
        // Also those that left the repository, whose objects stay, and those that seem to be absent: what a write under way leaves
        // there comes on record later.
        let held = self.all.iter().filter(|hold| hold.scope == Scope::Writes);
        let held: Vec<_> = held.filter_map(|hold| Some((hold.bundle.as_ref()?, &hold.reason))).collect();
        if held.is_empty() {
            return Arc::clone(rendering);
        }
        let mut laid = Rendering::clone(rendering);
        laid.digest = self.laid(rendering.digest);
        for (bundle, reason) in held {
            laid.bundles.entry(bundle.clone()).or_default().paused = Some(reason.as_str().into());
        }
        Arc::new(laid)
    }

    /// The digest of that rendering with what is held laid over it.
    pub(crate) fn laid(&self, rendering: Digest) -> Digest {
        self.bundles().into_keys().fold(rendering, |digest, bundle| Digest::of(format!("{digest} without {bundle}").as_bytes()))
    }

    /// The objects whose drift is left as it is.
    pub(crate) fn left(&self, rendering: &Rendering) -> BTreeSet<ObjectId> {
        let drift: Vec<&Hold> = self.in_effect().filter(|hold| hold.scope == Scope::Drift).collect();
        if drift.is_empty() {
            return BTreeSet::new();
        }
        let held = |bundle: &str| drift.iter().any(|hold| hold.bundle.as_deref().is_none_or(|held| held == bundle));
        rendering.objects.iter().filter(|object| held(&object.bundle)).map(|object| object.id.clone()).collect()
    }
}

/// What a release does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// Holds that end, by id.
    pub ended: Vec<String>,
    /// Holds that go on for other clusters.
    pub changed: Vec<Hold>,
    /// The clusters that are let go, by name.
    pub clusters: BTreeSet<String>,
}

/// What is to be let go.
#[derive(Debug, Clone)]
pub struct Release {
    /// Which clusters.
    pub selector: LabelSelector,
    /// Only from holds of this bundle.
    pub bundle: Option<String>,
    /// The environments in which whoever asks may act; none where in all of them.
    pub environments: Option<BTreeSet<String>>,
}

impl Release {
    /// Whether a hold may end by it: it is for no cluster, not even one to come, where whoever asks may not act.
    fn may_end(&self, hold: &Hold) -> bool {
        let confined = |names: &BTreeSet<String>| {
            LabelSelector::parse(&hold.selector).is_ok_and(|selector| selector.confines(ENVIRONMENT, |name| names.contains(name)))
        };
        self.environments.as_ref().is_none_or(confined)
    }
}

/// Lets the selected clusters go. With a bundle, only from holds of that bundle. A hold of which no cluster is left ends, where it may;
/// any other goes on without those that were selected.
pub fn release(holds: &[Hold], clusters: &BTreeMap<String, Labels>, wanted: &Release) -> Released {
    let Release { selector, bundle, .. } = wanted;
    let mut released = Released::default();
    for hold in holds.iter().filter(|hold| bundle.is_none() || hold.bundle == *bundle) {
        let (go, stay): (Vec<_>, Vec<_>) =
            clusters.iter().filter(|(_, labels)| hold.holds(labels)).partition(|(_, labels)| selector.matches(labels));
        let is_the_same = hold.selector == selector.to_string();
        if go.is_empty() && !is_the_same {
            continue;
        }
        released.clusters.extend(go.into_iter().map(|(name, _)| name.clone()));
        if (stay.is_empty() || is_the_same) && wanted.may_end(hold) {
            released.ended.push(hold.id.clone());
        } else {
            let mut hold = hold.clone();
            hold.except.insert(selector.to_string());
            released.changed.push(hold);
        }
    }
    released
}

/// A hold that was found on a cluster laid over what is known of it: who was let go before stays so.
#[must_use]
pub fn joined(known: &Hold, found: &Hold) -> Hold {
    Hold { except: known.except.union(&found.except).cloned().collect(), ..known.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        manifest::Drift,
        sync::plan::plan,
        sync::plan::tests::{applied, id, rendering},
    };

    pub(crate) fn hold(id: &str, selector: &str) -> Hold {
        Hold {
            id: id.to_owned(),
            selector: selector.to_owned(),
            except: BTreeSet::new(),
            bundle: None,
            scope: Scope::Writes,
            reason: "the disk is full".to_owned(),
            who: "ada (uid 7)".to_owned(),
            since: at(0),
            until: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn labels(cluster: &str, environment: &str) -> Labels {
        [("cluster", cluster), ("environment", environment)].map(|(label, value)| (label.to_owned(), value.to_owned())).into()
    }

    fn clusters() -> BTreeMap<String, Labels> {
        [("a", "dev"), ("b", "prod"), ("c", "prod")].map(|(name, environment)| (name.to_owned(), labels(name, environment))).into()
    }

    fn held(holds: &[Hold], now: i64) -> Vec<String> {
        clusters().into_iter().filter(|(_, labels)| Held::of(holds, labels, at(now)).whole().is_some()).map(|(name, _)| name).collect()
    }

    fn let_go(holds: &[Hold], selector: &str, bundle: Option<&str>) -> Released {
        let bundle = bundle.map(str::to_owned);
        release(holds, &clusters(), &Release { selector: selector.parse().unwrap(), bundle, environments: None })
    }

    #[test]
    fn a_hold_that_reaches_beyond_who_releases_goes_on_there() {
        let scoped = |hold: Hold, selector: &str| {
            let environments = Some(["dev".to_owned()].into());
            release(&[hold], &clusters(), &Release { selector: selector.parse().unwrap(), bundle: None, environments })
        };
        let wide = Hold { except: ["environment=prod".to_owned()].into(), ..hold("1", "") };
        let released = scoped(wide, "environment=dev");
        assert_eq!((&*released.ended, released.clusters), (&[][..], ["a".to_owned()].into()), "nobody is held now");
        assert_eq!(held(&released.changed, 0), [""; 0]);
        let later = |environment: &str| !Held::of(&released.changed, &labels("new", environment), at(0)).all().is_empty();
        assert_eq!((later("test"), later("dev")), (true, false), "a cluster that comes later");
        for within in ["environment=dev", "cluster=a,environment in (dev)"] {
            assert_eq!(scoped(hold("2", within), "environment=dev").ended, ["2"], "{within}");
        }
    }

    #[test]
    fn a_hold_is_of_its_selector_and_time() {
        let holds = [Hold { until: Some(at(10)), ..hold("1", "environment=prod") }];
        assert_eq!((held(&holds, 9), held(&holds, 10)), (vec!["b".to_owned(), "c".to_owned()], vec![]));
        assert!(Held::of(&holds, &labels("new", "prod"), at(0)).whole().is_some(), "a cluster that comes later");
        assert_eq!(held(&[hold("1", "no selector at all=")], 0), [""; 0]);
    }

    #[test]
    fn who_is_released_goes_and_the_others_stay() {
        let holds = [hold("1", "environment=prod")];
        let released = let_go(&holds, "cluster=b", None);
        assert_eq!((released.ended.len(), released.clusters), (0, ["b".to_owned()].into()));
        assert_eq!(held(&released.changed, 0), ["c"]);
        let rest = let_go(&released.changed, "cluster in (a,c)", None);
        assert_eq!((rest.ended, rest.changed, rest.clusters), (vec!["1".to_owned()], vec![], ["c".to_owned()].into()), "none is left");
        assert_eq!(let_go(&holds, "environment=prod", None).ended, ["1"]);
        assert_eq!(let_go(&holds, "environment=dev", None), Released::default());
        let of_nobody = [hold("2", "environment=later")];
        assert_eq!(let_go(&of_nobody, "environment=later", None).ended, ["2"], "by its own selector");
    }

    proptest! {
        /// Whatever is held and let go in whatever order: who is let go is held no more, and for nobody else anything changes.
        #[test]
        fn a_release_is_of_whom_it_selects(steps in prop::collection::vec((any::<bool>(), 0usize..5), 1..12)) {
            let selectors = ["", "environment=prod", "environment!=prod", "cluster=b", "cluster in (a,c)"];
            let mut holds: BTreeMap<String, Hold> = BTreeMap::new();
            for (nth, (is_hold, selector)) in steps.into_iter().enumerate() {
                let selector = selectors[selector];
                if is_hold {
                    holds.insert(nth.to_string(), hold(&nth.to_string(), selector));
                    continue;
                }
                let all: Vec<Hold> = holds.values().cloned().collect();
                let before = held(&all, 0);
                let released = let_go(&all, selector, None);
                released.ended.iter().for_each(|id| drop(holds.remove(id)));
                holds.extend(released.changed.iter().map(|hold| (hold.id.clone(), hold.clone())));
                let selected = LabelSelector::parse(selector).unwrap();
                let (gone, stay): (Vec<_>, Vec<_>) = before.into_iter().partition(|name| selected.matches(&clusters()[name]));
                prop_assert_eq!(released.clusters.into_iter().collect::<Vec<_>>(), gone);
                prop_assert_eq!(held(&holds.values().cloned().collect::<Vec<_>>(), 0), stay);
            }
        }
    }

    #[test]
    fn a_bundle_is_released_by_its_name_or_with_the_cluster() {
        let holds = [hold("1", "cluster=b"), Hold { bundle: Some("web".to_owned()), ..hold("2", "cluster=b") }];
        assert_eq!(let_go(&holds, "cluster=b", Some("web")).ended, ["2"]);
        assert_eq!(let_go(&holds, "cluster=b", Some("db")), Released::default());
        assert_eq!(let_go(&holds, "cluster=b", None).ended, ["1", "2"]);
    }

    #[test]
    fn nothing_of_a_held_bundle_is_written_or_deleted() {
        let before = rendering(&[("a", "one"), ("b", "two"), ("c", "three")], "1");
        let after = rendering(&[("a", "one"), ("b", "two")], "2");
        let of = |bundle: &str| Hold { bundle: Some(bundle.to_owned()), ..hold(bundle, "cluster=b") };
        let held = Held::of(&[of("b"), of("c")], &labels("b", "prod"), at(0));
        let laid = held.lay(&after);
        let plan = plan(&laid, &applied(&before), &BTreeSet::new(), Drift::Repair);
        let written: Vec<&str> = plan.writes.keys().map(|bundle| &**bundle).collect();
        assert_eq!((written, plan.deletions.len()), (vec!["a"], 0), "the bundle c has left the repository");
        assert_ne!(laid.digest, after.digest);
        assert!(held.whole().is_none() && held.left(&after).is_empty());
        assert_eq!(Held::default().lay(&after).digest, after.digest);
    }

    #[test]
    fn a_bundle_is_held_where_it_is_or_is_to_be() {
        let (with, without) = (rendering(&[("a", "one"), ("b", "two")], "1"), rendering(&[("a", "one")], "1"));
        let of = |id: &str, scope| Hold { bundle: Some("b".to_owned()), scope, ..hold(id, "cluster=b") };
        let holds = [of("1", Scope::Writes), of("2", Scope::Drift)];
        let held = |is_on_record: bool, rendering| {
            let held = Held::of(&holds, &labels("b", "prod"), at(0)).without(|bundle| bundle == "b" && !is_on_record).with(rendering);
            assert_eq!(held.all(), holds, "it stands on every cluster that it selects");
            held
        };
        let counts = |held: &Held| (held.in_effect().count(), held.bundles().len(), held.why().is_some(), held.drift().is_some());
        for (is_on_record, rendering) in [(true, Some(&*without)), (false, Some(&*with)), (true, Some(&*with)), (false, None)] {
            let held = held(is_on_record, rendering);
            assert_eq!(counts(&held), (2, 1, true, true), "on record: {is_on_record}");
            assert_ne!(held.laid(with.digest), with.digest);
        }
        let held = held(false, Some(&without));
        assert_eq!((counts(&held), held.lay(&without).digest), ((0, 0, false, false), without.digest));
        assert_eq!(counts(&held.clone().with(Some(&with))), (2, 1, true, true), "a commit brings it");
        let plan = plan(&held.lay(&without), &applied(&with), &BTreeSet::new(), Drift::Repair);
        assert_eq!(plan.deletions.len(), 0, "what a write under way has left there stays all the same");
        let others = Held::of(&[hold("3", "cluster=b")], &labels("b", "prod"), at(0)).without(|_| true).with(Some(&without));
        assert!(others.whole().is_some(), "a cluster is held whatever it has");
    }

    #[test]
    fn drift_is_left_where_it_is_held() {
        let wanted = rendering(&[("a", "one"), ("b", "two")], "1");
        let drift = |bundle: Option<&str>| {
            let hold = Hold { scope: Scope::Drift, bundle: bundle.map(str::to_owned), ..hold("1", "cluster=b") };
            let held = Held::of(&[hold], &labels("b", "prod"), at(0));
            assert!(held.whole().is_none() && held.bundles().is_empty() && held.drift().is_some());
            held.left(&wanted)
        };
        assert_eq!(drift(None), [id("one"), id("two")].into());
        assert_eq!(drift(Some("b")), [id("two")].into());
    }

    #[test]
    fn what_is_found_again_keeps_who_was_let_go() {
        let found = Hold { except: ["cluster=b".to_owned()].into(), ..hold("1", "environment=prod") };
        assert_eq!(joined(&hold("1", "environment=prod"), &found), found);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Hold>(&text).unwrap(), found);
        assert_eq!(
            hold("1", "environment=prod").diagnostic().to_string(),
            "error[EK4050]: held by ada (uid 7) since 1970-01-01T00:00:00Z, until it is released: the disk is full"
        );
    }
}
