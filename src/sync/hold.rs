//! What people hold: clusters, or bundles on them, that are not written until somebody lets them go or the time is over.
//!
//! A hold is of a selector, so that a cluster that comes later is held too. It is a person's: no commit ends it. A cluster whose labels
//! change is held on by its name, and an object that a commit moves to another bundle is held with the bundle from which it was applied.
//! A hold stands in the ledger and on the parent of every cluster that it holds, from where an agent without a ledger has it back.
//! Whether one stands is told by values and a time that come in.

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
    render::{BundleSettings, RenderedObject, Rendering},
};

/// Labels of a cluster, `environment`, `region` and `cluster` among them.
pub type Labels = BTreeMap<String, String>;

/// The label of a cluster that says where it is.
pub const ENVIRONMENT: &str = "environment";

/// The label of a cluster that is its name.
const CLUSTER: &str = "cluster";

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
    /// Which clusters that it does not select any more: they were held when a commit gave them other labels, and only people let clusters
    /// go. On a parent that is its own cluster at most.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
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
        self.names(labels).is_some() || self.selects(labels)
    }

    /// The name of a cluster with these labels, where it is held by that.
    fn names(&self, labels: &Labels) -> Option<&String> {
        self.named.get(labels.get(CLUSTER)?)
    }

    fn selects(&self, labels: &Labels) -> bool {
        is_of(&self.selector, labels) && !self.except.iter().any(|selector| is_of(selector, labels))
    }

    /// As it stands on a cluster with these labels: of its names, the cluster's own.
    fn on(&self, labels: &Labels) -> Self {
        Self { named: self.names(labels).cloned().into_iter().collect(), ..self.clone() }
    }

    /// The same once clusters that had the one labels have the others: who was held is. Clusters without a name of their own are none.
    #[must_use]
    pub fn relabelled<'a>(&self, changes: impl IntoIterator<Item = (&'a Labels, &'a Labels)>) -> Self {
        let mut now = self.clone();
        for (before, after) in changes {
            let Some(name) = after.get(CLUSTER) else { continue };
            if self.selects(after) {
                now.named.remove(name);
            } else if self.holds(before) {
                now.named.insert(name.clone());
            }
        }
        now
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
        let release = |selector: &str| format!("When the reason is gone: `evenkeel release '{selector}'{bundle}`.");
        let hint = match self.named.first() {
            None => release(&self.selector),
            Some(name) => {
                let own = release(&format!("{CLUSTER}={name}"));
                format!("It was held as '{}'; a commit has given it other labels since, which ends no hold. {own}", self.selector)
            }
        };
        Diagnostic::new(codes::ON_HOLD, Place::Nowhere, message).with_hint(hint)
    }
}

/// Whether a label selector, as it stands on record, selects a cluster with these labels.
fn is_of(selector: &str, labels: &Labels) -> bool {
    LabelSelector::parse(selector).is_ok_and(|selector| selector.matches(labels))
}

/// The holds of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    all: Arc<[Hold]>,
    /// The held bundles that the cluster does not have.
    absent: BTreeSet<String>,
    /// The objects that were applied from held bundles, as far as they are on record.
    applied: BTreeMap<String, Arc<BTreeSet<ObjectId>>>,
}

impl Held {
    /// Those of all holds that hold a cluster with these labels at that time.
    pub fn of(holds: &[Hold], labels: &Labels, now: Timestamp) -> Self {
        let all = holds.iter().filter(|hold| !hold.is_over(now) && hold.holds(labels)).map(|hold| hold.on(labels)).collect();
        Self { all, ..Self::default() }
    }

    /// The same on a cluster with these objects on record for each bundle, and none where that is not known. Holds of bundles without
    /// any stand there, and have no effect.
    #[must_use]
    pub fn recorded(self, objects: impl Fn(&str) -> Option<Arc<BTreeSet<ObjectId>>>) -> Self {
        let bundles: BTreeSet<&String> = self.all.iter().filter_map(|hold| hold.bundle.as_ref()).collect();
        let known = bundles.into_iter().filter_map(|bundle| Some((bundle.clone(), objects(bundle)?)));
        let (absent, applied): (BTreeMap<_, _>, _) = known.partition(|(_, objects)| objects.is_empty());
        Self { absent: absent.into_keys().collect(), applied, ..self }
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

    /// The rendering with the held bundles paused, and what was applied from them in them wherever the commit has it: to move or to
    /// rename is no way around a hold. Where the cluster has some of them its digest is another: who runs it does not run the commit's.
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
            if let Some(applied) = self.applied.get(bundle) {
                put_back(&mut laid, bundle, applied);
            }
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

/// Has these objects in that bundle. A bundle that is left with nothing but hooks is one under a new name: they would run for what they
/// do not find.
fn put_back(rendering: &mut Rendering, bundle: &str, applied: &BTreeSet<ObjectId>) {
    let moves = |object: &RenderedObject| *object.bundle != *bundle && applied.contains(&object.id);
    let is_hook = |object: &RenderedObject| object.policy.hook.is_some();
    let mut left: BTreeSet<Arc<str>> =
        rendering.objects.iter().filter(|object| moves(object)).map(|object| object.bundle.clone()).collect();
    for object in rendering.objects.iter().filter(|object| !moves(object) && !is_hook(object)) {
        left.remove(&object.bundle);
    }
    let back: Arc<str> = bundle.into();
    for object in rendering.objects.iter_mut().filter(|object| moves(object) || (is_hook(object) && left.contains(&object.bundle))) {
        // They are judged as in the bundle that they are in by now, where theirs is no more.
        if let Some(settings) = rendering.bundles.get(&*object.bundle).filter(|_| !rendering.bundles.contains_key(bundle)).cloned() {
            rendering.bundles.insert(bundle.to_owned(), BundleSettings { depends_on: BTreeSet::new(), ..settings });
        }
        *object = Arc::new(RenderedObject { bundle: back.clone(), ..RenderedObject::clone(object) });
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
    /// Whether whoever asks may act on a cluster with these labels.
    fn may_act_on(&self, labels: &Labels) -> bool {
        self.environments.as_ref().is_none_or(|names| labels.get(ENVIRONMENT).is_some_and(|name| names.contains(name)))
    }

    /// Whether a hold may end by it: it is for no cluster, not even one to come, where whoever asks may not act.
    fn may_end(&self, hold: &Hold) -> bool {
        let confined = |names: &BTreeSet<String>| {
            LabelSelector::parse(&hold.selector).is_ok_and(|selector| selector.confines(ENVIRONMENT, |name| names.contains(name)))
        };
        self.environments.as_ref().is_none_or(confined)
    }
}

/// Lets the selected clusters go, and by a hold's own selector all that it holds. With a bundle, only from holds of that bundle. A hold
/// of which no cluster is left ends, where it may; any other goes on without those that were let go.
pub fn release(holds: &[Hold], clusters: &BTreeMap<String, Labels>, wanted: &Release) -> Released {
    let Release { selector, bundle, .. } = wanted;
    let mut released = Released::default();
    for hold in holds.iter().filter(|hold| bundle.is_none() || hold.bundle == *bundle) {
        let is_the_same = hold.selector == selector.to_string();
        let goes = |labels: &Labels| selector.matches(labels) || (is_the_same && wanted.may_act_on(labels));
        let (go, stay): (Vec<_>, Vec<_>) = clusters.iter().filter(|(_, labels)| hold.holds(labels)).partition(|(_, labels)| goes(labels));
        if go.is_empty() && !is_the_same {
            continue;
        }
        released.clusters.extend(go.iter().map(|(name, _)| (*name).clone()));
        if stay.is_empty() && wanted.may_end(hold) {
            released.ended.push(hold.id.clone());
        } else {
            let mut hold = hold.clone();
            hold.named.retain(|name| !go.iter().any(|(gone, _)| *gone == name));
            // Who is not selected by it has to be let go by name, since its own parent may still say that it is held.
            let others = go.iter().filter(|(_, labels)| !selector.matches(labels)).map(|(name, _)| format!("{CLUSTER}={name}"));
            hold.except.extend(others.chain([selector.to_string()]));
            released.changed.push(hold);
        }
    }
    released
}

/// A hold that was found on a cluster with these labels, with what is known of it: who was let go before stays so. The cluster is held
/// whatever its labels are by now, and also where it has got another name, unless it has been let go since it was last told.
#[must_use]
pub fn found_on(labels: Option<&Labels>, known: Option<&Hold>, found: &Hold) -> Hold {
    let mut hold = known.unwrap_or(found).clone();
    hold.except.extend(found.except.iter().cloned());
    let was_let_go = |labels| known.is_some_and(|known| known.except.difference(&found.except).any(|selector| is_of(selector, labels)));
    if let Some(name) = labels.filter(|labels| !hold.holds(labels) && !was_let_go(labels)).and_then(|labels| labels.get(CLUSTER)) {
        hold.named.insert(name.clone());
    }
    hold
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
            named: BTreeSet::new(),
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
        let objects = |is_on_record: bool| Arc::new(is_on_record.then(|| id("two")).into_iter().collect::<BTreeSet<_>>());
        let held = |is_on_record: bool, rendering| {
            let held = Held::of(&holds, &labels("b", "prod"), at(0)).recorded(|_| Some(objects(is_on_record))).with(rendering);
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
        let others =
            Held::of(&[hold("3", "cluster=b")], &labels("b", "prod"), at(0)).recorded(|_| Some(objects(false))).with(Some(&without));
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

    fn moved_to(cluster: &str, environment: &str) -> BTreeMap<String, Labels> {
        clusters().into_iter().chain([(cluster.to_owned(), labels(cluster, environment))]).collect()
    }

    #[test]
    fn who_is_held_stays_so_whatever_its_labels_become() {
        let change = |hold: &Hold, cluster: &str, from: &str, to: &str| hold.relabelled([(&labels(cluster, from), &labels(cluster, to))]);
        let held = hold("1", "environment=prod");
        let kept = change(&held, "b", "prod", "dev");
        assert_eq!((kept.holds(&labels("b", "dev")), kept.holds(&labels("a", "dev"))), (true, false));
        assert_eq!(change(&kept, "b", "dev", "test").named, ["b".to_owned()].into(), "once more");
        assert_eq!(change(&kept, "b", "dev", "prod"), held, "back again");
        assert_eq!(change(&held, "a", "dev", "test"), held, "it was not held");
        assert!(held.holds(&labels("a", "prod")), "who comes to be selected joins");
        let except = Hold { except: ["environment=dev".to_owned()].into(), ..hold("2", "") };
        assert!(change(&except, "b", "prod", "dev").holds(&labels("b", "dev")), "nor does it end by what was let go of others");
        assert_eq!(change(&except, "a", "dev", "dev"), except);

        let many = Hold { named: ["b", "c"].map(str::to_owned).into(), ..hold("3", "environment=prod") };
        let only = |labels: &Labels| Held::of(std::slice::from_ref(&many), labels, at(0)).all()[0].named.clone();
        assert_eq!((only(&labels("b", "dev")), only(&labels("new", "prod"))), (["b".to_owned()].into(), BTreeSet::new()), "on its parent");
    }

    #[test]
    fn who_is_held_by_name_is_released_by_any_selector_and_by_the_one_of_the_hold() {
        let kept = || Hold { named: ["b".to_owned()].into(), ..hold("1", "environment=prod") };
        let clusters = moved_to("b", "dev");
        let go = |selector: &str, environments: Option<&str>| {
            let environments = environments.map(|name| [name.to_owned()].into());
            release(&[kept()], &clusters, &Release { selector: selector.parse().unwrap(), bundle: None, environments })
        };
        assert_eq!((go("environment=prod", None).ended.len(), go("environment=prod", None).clusters.len()), (1, 2), "b and c");
        for (selector, environments) in [("cluster=b", None), ("environment=dev", None), ("environment=dev", Some("dev"))] {
            let released = go(selector, environments);
            assert_eq!((released.ended.len(), released.clusters), (0, ["b".to_owned()].into()), "{selector}");
            let rest = &released.changed[0];
            assert_eq!((rest.holds(&clusters["b"]), rest.holds(&clusters["c"])), (false, true), "{selector}");
            assert!(!found_on(Some(&clusters["b"]), Some(rest), &kept()).holds(&clusters["b"]), "its parent was not told yet");
        }
        let released = go("environment=prod", Some("prod"));
        assert_eq!((released.ended.len(), released.clusters), (0, ["c".to_owned()].into()), "b is where it may not be let go");
        assert!(released.changed[0].holds(&clusters["b"]) && !released.changed[0].holds(&clusters["c"]));

        let own = |labels: &Labels| Held::of(&[kept()], labels, at(0)).whole().unwrap().diagnostic().hint;
        let expected = "It was held as 'environment=prod'; a commit has given it other labels since, which ends no hold. \
                        When the reason is gone: `evenkeel release 'cluster=b'`.";
        assert_eq!(own(&clusters["b"]), expected);
        assert_eq!(own(&clusters["c"]), "When the reason is gone: `evenkeel release 'environment=prod'`.");
    }

    #[test]
    fn a_hold_that_stands_on_a_cluster_holds_it() {
        let found = hold("1", "environment=prod");
        let on = |labels: &Labels, known: Option<&Hold>| found_on(Some(labels), known, &found);
        assert_eq!(on(&labels("b", "prod"), None), found);
        let b = on(&labels("b", "dev"), None);
        assert_eq!(b.named, ["b".to_owned()].into(), "its labels changed while nothing was on record");
        assert_eq!(on(&labels("c", "dev"), Some(&b)).named, ["b", "c"].map(str::to_owned).into(), "and so did those of another");
        assert_eq!(on(&labels("renamed", "prod"), Some(&hold("1", "cluster=b"))).named, ["renamed".to_owned()].into());
        let let_go = Hold { except: ["environment=dev".to_owned()].into(), ..found.clone() };
        assert_eq!(on(&labels("b", "dev"), Some(&let_go)), let_go, "since it was last told");
        let held = found_on(Some(&labels("b", "dev")), None, &let_go);
        assert!(held.holds(&labels("b", "dev")), "it was held when others were let go");
    }

    #[test]
    fn what_was_applied_from_a_held_bundle_is_held_wherever_a_commit_has_it() {
        let before = rendering(&[("net", "one"), ("net", "two"), ("shop", "web")], "1");
        let held = |objects: &[&str]| {
            let hold = Hold { bundle: Some("net".to_owned()), ..hold("1", "cluster=b") };
            let objects = Arc::new(objects.iter().map(|name| id(name)).collect::<BTreeSet<_>>());
            Held::of(&[hold], &labels("b", "prod"), at(0)).recorded(move |_| Some(Arc::clone(&objects)))
        };
        for (what, after, written) in [
            ("moved", rendering(&[("net", "one"), ("shop", "two"), ("shop", "web")], "2"), vec!["web"]),
            ("renamed", rendering(&[("new", "one"), ("new", "two"), ("shop", "web")], "2"), vec!["web"]),
            ("with another", rendering(&[("new", "one"), ("new", "three"), ("shop", "web")], "2"), vec!["three", "web"]),
        ] {
            let held = held(&["one", "two"]).with(Some(&after));
            let laid = held.lay(&after);
            let plan = plan(&laid, &applied(&before), &BTreeSet::new(), Drift::Repair);
            let writes: Vec<&str> = plan.writes.values().flatten().map(|write| &*write.object.id.name).collect();
            assert_eq!((writes, plan.deletions.len(), plan.left), (written, 0, 0), "{what}");
            assert!(laid.digest != after.digest && held.why().is_some(), "it does not run all of the commit: {what}");
            assert!(laid.objects.is_sorted_by(|a, b| a.id < b.id));
        }
        let after = rendering(&[("net", "one"), ("shop", "two")], "2");
        assert_eq!(held(&["one"]).lay(&after).object(&id("two")).unwrap().bundle, "shop".into(), "it was applied from there");
    }

    #[test]
    fn a_hook_of_a_bundle_under_a_new_name_does_not_run() {
        let hook = |rendering: &Rendering, name: &str| {
            let mut rendering = rendering.clone();
            let at = rendering.objects.iter().position(|object| object.id == id(name)).unwrap();
            Arc::make_mut(&mut rendering.objects[at]).policy.hook = Some(crate::manifest::Hook::PreSync);
            Arc::new(rendering)
        };
        let hold = Hold { bundle: Some("net".to_owned()), ..hold("1", "cluster=b") };
        let held = Held::of(&[hold], &labels("b", "prod"), at(0)).recorded(|_| Some(Arc::new([id("one")].into())));
        let renamed = held.lay(&hook(&rendering(&[("new", "job"), ("new", "one")], "2"), "job"));
        assert!(renamed.objects.iter().all(|object| &*object.bundle == "net") && renamed.is_paused("net"));
        let moved = held.lay(&hook(&rendering(&[("new", "job"), ("new", "one"), ("new", "own")], "2"), "job"));
        assert_eq!(moved.object(&id("job")).unwrap().bundle, "new".into(), "the bundle has something of its own");
    }

    #[test]
    fn what_is_found_again_keeps_who_was_let_go() {
        let found = Hold { except: ["cluster=b".to_owned()].into(), ..hold("1", "environment=prod") };
        assert_eq!(found_on(None, Some(&hold("1", "environment=prod")), &found), found);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Hold>(&text).unwrap(), found);
        assert_eq!(
            hold("1", "environment=prod").diagnostic().to_string(),
            "error[EK4050]: held by ada (uid 7) since 1970-01-01T00:00:00Z, until it is released: the disk is full"
        );
    }
}
