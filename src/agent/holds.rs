//! What people hold, laid over what each cluster's task is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use kube_overlay::LabelSelector;
use tracing::{error, info, warn};

use super::{as_told, fleet::Fleet, selection};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    layout,
    ledger::{ActionRow, Ledger, OfBundles},
    render::Rendering,
    rollout::Off,
    server::{Accepted, Action, HoldRequest, ReleaseRequest, selector},
    sync::{
        hold::{Held, Hold, Labels, Release, Scope},
        target::Desired,
    },
};

/// The holds that stand, and whom they hold.
#[derive(Default)]
pub(super) struct Holds {
    standing: Vec<Hold>,
    /// Of every cluster that is looked after.
    pub(super) labels: BTreeMap<String, Labels>,
    /// The objects on record, for each bundle that is held.
    there: OfBundles,
    /// What each cluster's task was last told.
    told: BTreeMap<String, Held>,
}

impl Holds {
    /// What is held at that time of a cluster that is told that rendering: what a rollout must not wait for, nor write. Without a
    /// rendering any bundle may be there.
    pub(super) fn of(&self, cluster: &str, rendering: Option<&Rendering>, now: Timestamp) -> Held {
        let Some(labels) = self.labels.get(cluster) else { return Held::default() };
        let objects = |clusters: &BTreeMap<_, Arc<_>>| clusters.get(cluster).cloned().unwrap_or_default();
        let on_record = |bundle: &str| self.there.get(bundle).map(objects);
        Held::of(&self.standing, labels, now).recorded(on_record).with(rendering)
    }

    /// What the cluster's task is told.
    pub(super) fn lay(&mut self, cluster: &str, desired: Desired) -> Desired {
        let held = self.of(cluster, desired.rendering.as_deref().ok(), Timestamp::now());
        self.told.insert(cluster.to_owned(), held.clone());
        as_told::held(desired, held)
    }

    fn bundles(&self) -> BTreeSet<String> {
        self.standing.iter().filter_map(|hold| hold.bundle.clone()).collect()
    }
}

/// Why a cluster does not count for its wave, as Git or people want it; none where it does.
pub(super) fn off(cluster: &layout::Cluster, held: &Held) -> Option<Off> {
    let paused = cluster.paused.clone().map(Off::Paused);
    let whole = || held.whole().map(|hold| Off::Held(hold.diagnostic().message));
    paused.or_else(whole).or_else(|| held.why().map(Off::Partly))
}

impl Fleet {
    /// Takes up what is held by the record, at the start and whenever that changed, and tells the clusters for which it is another.
    pub(super) async fn take_up_holds(&mut self) -> Result<(), Diagnostic> {
        let now = Timestamp::now();
        self.ledger.expire_holds(now).await?;
        let before = std::mem::replace(&mut self.holds.standing, self.ledger.holds(now).await?);
        // One more hold of a bundle is of clusters that have been written since another began.
        if before != self.holds.standing || !self.holds.bundles().iter().eq(self.holds.there.keys()) {
            self.find_held_bundles().await?;
        }
        self.waves.is_due = true;
        for (cluster, desired) in self.desired.clone() {
            if self.holds.told.get(&cluster) != Some(&self.held(&cluster, now)) {
                self.waves.unheard(&cluster);
                self.want(&cluster, desired).await?;
            }
        }
        Ok(())
    }

    /// What is held of a cluster at that time, with what its task was told to run.
    pub(super) fn held(&self, cluster: &str, now: Timestamp) -> Held {
        let desired = self.desired.get(cluster);
        self.holds.of(cluster, desired.and_then(|desired| desired.rendering.as_deref().ok()), now)
    }

    /// Takes up which holds go on for clusters that have other labels now, before these are.
    pub(super) async fn keep_holds(&mut self, kept: &[(Hold, Vec<String>)], fleet: &layout::Fleet) -> Result<(), Diagnostic> {
        for (hold, clusters) in kept {
            let (selector, bundle, who, clusters) = (&hold.selector, &hold.bundle, &hold.who, clusters.join(","));
            warn!(
                selector,
                bundle, who, clusters, "the labels of held clusters are others now; they stay held until somebody releases them"
            );
        }
        // Also after a revision that could not be taken up to its end. The names that stand in holds go with these labels and no others.
        self.holds.standing = self.ledger.holds(Timestamp::now()).await?;
        for cluster in &fleet.clusters {
            if self.holds.labels.get(&cluster.name) != Some(&cluster.labels) {
                self.holds.labels.insert(cluster.name.clone(), cluster.labels.clone());
            }
        }
        Ok(())
    }

    /// Learns what of held bundles is on record: when one is held, and with each commit, which may have clusters held that were not. What
    /// is written meanwhile is of bundles that clusters are told to have, or is not held there.
    pub(super) async fn find_held_bundles(&mut self) -> Result<(), Diagnostic> {
        let bundles = self.holds.bundles();
        self.holds.there = if bundles.is_empty() { OfBundles::new() } else { self.ledger.applied_from(bundles).await? };
        Ok(())
    }

    /// Ends the holds whose time is over.
    pub(super) async fn end_holds(&mut self, now: Timestamp) {
        if !self.holds.standing.iter().any(|hold| hold.is_over(now)) {
            return;
        }
        for hold in self.holds.standing.iter().filter(|hold| hold.is_over(now)) {
            info!(selector = hold.selector, bundle = hold.bundle, who = hold.who, "the time of a hold is over");
        }
        if let Err(error) = self.take_up_holds().await {
            error!(code = %error.code, "a hold whose time is over could not be ended, which is tried again: {error}");
        }
    }

    pub(super) async fn hold(&mut self, request: &HoldRequest, who: &str) -> Result<Accepted, Diagnostic> {
        let clusters = hold(&self.ledger, request, who, Timestamp::now(), &self.bundles(&request.selector)).await?;
        warn!(who, selector = request.selector, bundle = request.bundle, reason = request.reason, clusters = clusters.join(","), "held");
        self.take_up_holds().await?;
        Ok(clusters.into())
    }

    /// The bundles that the selected clusters are to have.
    fn bundles(&self, selector: &str) -> BTreeSet<String> {
        let Ok(selector) = selector.parse::<LabelSelector>() else { return BTreeSet::new() };
        let selected = self.desired.iter().filter(|(name, _)| self.holds.labels.get(*name).is_some_and(|labels| selector.matches(labels)));
        selected
            .filter_map(|(_, desired)| desired.rendering.as_ref().ok())
            .flat_map(|rendering| rendering.bundles.keys().cloned())
            .collect()
    }

    pub(super) async fn release(
        &mut self,
        request: &ReleaseRequest,
        environments: Option<BTreeSet<String>>,
        who: &str,
    ) -> Result<Accepted, Diagnostic> {
        let clusters = release(&self.ledger, request, environments, who).await?;
        warn!(who, selector = request.selector, bundle = request.bundle, clusters = clusters.join(","), "released");
        self.take_up_holds().await?;
        Ok(clusters.into())
    }

    /// Puts on record what a person did. What changes the record itself is put there with the change.
    pub(super) async fn audit(&self, action: &Action, result: &Result<Accepted, Diagnostic>) {
        let recorded = matches!(action, Action::Hold { .. } | Action::Release { .. } | Action::Approve { .. } | Action::Resume { .. });
        let outcome = match result {
            Ok(_) if recorded => return,
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{} {}", error.code, error.message),
        };
        let clusters = result.as_ref().map(|accepted| accepted.clusters.clone()).unwrap_or_default();
        let mut row = row(action, outcome, clusters);
        // What else a commit is known by may be another commit tomorrow.
        if let (Action::Rollback { request, .. }, Ok(Accepted { commit: Some(commit), .. })) = (action, result) {
            row.target = format!("{} {commit}", request.selector);
        }
        let (what, who) = (row.what, row.who.clone());
        if let Err(error) = self.ledger.record_action(row).await {
            error!(what, who, code = %error.code(), "what was asked for is not on record: {error}");
        }
    }

    /// Puts on record that a person may not do what was asked for.
    pub(super) async fn audit_refused(&self, action: &Action, why: &Diagnostic) {
        let row = row(action, format!("{} {}", why.code, why.message), Vec::new());
        let (what, who) = (row.what, row.who.clone());
        warn!(what, who, code = %why.code, "refused: {}", why.message);
        if let Err(error) = self.ledger.record_refusal(row).await {
            error!(what, who, code = %error.code(), "what was refused is not on record: {error}");
        }
    }
}

fn row(action: &Action, outcome: String, clusters: Vec<String>) -> ActionRow {
    let (what, target, reason, who) = action.told();
    ActionRow { who: who.to_owned(), what, target, reason, outcome, clusters }
}

/// Longer reasons are not read by anybody who was woken up.
const REASON_LEN_MAX: usize = 1000;
const TOO_LONG: &str = "a reason has at most 1000 bytes";

/// The reason of an action that needs none, as it goes on record. EK6001 for one that is too long.
pub(super) fn reason(given: Option<&str>) -> Result<&str, Diagnostic> {
    let reason = given.unwrap_or_default().trim();
    if reason.len() > REASON_LEN_MAX { Err(Diagnostic::new(codes::USAGE, Place::Nowhere, TOO_LONG)) } else { Ok(reason) }
}

/// Puts a hold on record; the clusters that are held by it now. `bundles` are those that there may be beside the ones on record.
pub(super) async fn hold(
    ledger: &Ledger,
    request: &HoldRequest,
    who: &str,
    now: Timestamp,
    bundles: &BTreeSet<String>,
) -> Result<Vec<String>, Diagnostic> {
    let refuse = |message: String| Err(Diagnostic::new(codes::HOLD, Place::Nowhere, message));
    if request.reason.trim().is_empty() {
        return refuse("a hold needs a reason: whoever finds it wants to know".to_owned());
    }
    if request.reason.len() > REASON_LEN_MAX {
        return refuse(TOO_LONG.to_owned());
    }
    if let Some(until) = request.until.filter(|until| *until <= now) {
        return refuse(format!("{until} is over"));
    }
    let selector = selector(&request.selector)?;
    if let Some(bundle) = request.bundle.as_ref().filter(|bundle| !bundles.contains(*bundle)) {
        let there: BTreeSet<String> = ledger.bundles_on_record(selector.clone()).await?.union(bundles).cloned().collect();
        if !there.contains(bundle) {
            let there = there.into_iter().collect::<Vec<_>>().join(", ");
            return refuse(format!("no cluster that {:?} selects has a bundle {bundle}; there are: {there}", request.selector));
        }
    }
    let hold = Hold {
        id: format!("{:032x}", rand::random::<u128>()),
        selector: selector.to_string(),
        except: BTreeSet::new(),
        named: BTreeSet::new(),
        bundle: request.bundle.clone(),
        scope: if request.drift { Scope::Drift } else { Scope::Writes },
        reason: request.reason.trim().to_owned(),
        who: who.to_owned(),
        since: now,
        until: request.until,
    };
    let clusters = ledger.hold(hold).await?;
    if clusters.is_empty() {
        return Err(selection::none(&selector, &ledger.cluster_labels().await?));
    }
    Ok(clusters)
}

/// Lets clusters go on the record; which those are. With environments, only there, and holds that reach beyond go on.
pub(super) async fn release(
    ledger: &Ledger,
    request: &ReleaseRequest,
    environments: Option<BTreeSet<String>>,
    who: &str,
) -> Result<Vec<String>, Diagnostic> {
    let wanted = Release { selector: selector(&request.selector)?, bundle: request.bundle.clone(), environments };
    let released = ledger.release(wanted, who).await?;
    released.ok_or_else(|| {
        let bundle = request.bundle.as_ref().map(|bundle| format!(" of bundle {bundle}")).unwrap_or_default();
        Diagnostic::new(codes::NOT_HELD, Place::Nowhere, format!("nothing{bundle} is held that {:?} selects", request.selector))
    })
}
