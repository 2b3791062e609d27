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
pub(crate) mod tests;
