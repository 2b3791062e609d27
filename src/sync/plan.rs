//! What a cluster needs: its rendering against what is applied. Values in, values out.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::member::{Inventory, Member, Record};
use crate::{
    manifest::{Drift, ObjectId},
    render::{RenderedObject, Rendering},
};

/// Why an object is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is not a member: not there, or there and not ours.
    New,
    /// The rendering changed.
    Changed,
    /// Someone changed what we own.
    Drifted,
    /// Nothing says that it is as we left it: the record was lost.
    Unverified,
    /// The same where drift is not to be put back: it goes on record and stays as it is.
    Unrecorded,
    /// What it gave up has other owners now, so that the hand between can let go.
    Superseded,
}

impl Why {
    /// Whether Git says something that the object was not told yet.
    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::New | Self::Changed)
    }

    /// Whether nothing is done about it where drift is met in that way: Git has not changed the object, others have.
    pub(super) fn stays(self, mode: Drift) -> bool {
        mode != Drift::Repair && self == Self::Drifted
    }
}

/// One object to send.
#[derive(Debug, Clone)]
pub struct Write {
    /// What.
    pub object: Arc<RenderedObject>,
    /// Why.
    pub why: Why,
}

/// One object that left the rendering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deletion {
    /// Which.
    pub id: ObjectId,
    /// The uid it must still have.
    pub uid: String,
    /// The resourceVersion it must still have.
    pub resource_version: String,
    /// The bundle it belonged to, where known.
    pub bundle: Option<String>,
}

/// Everything that one sync would do.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Objects to send by bundle; a bundle with nothing to send is not here.
    pub writes: BTreeMap<Arc<str>, Vec<Write>>,
    /// Objects to delete, before the guards of [`super::prune`].
    pub deletions: Vec<Deletion>,
    /// Objects that others changed and that stay so: their drift is only reported, or they are fought over.
    pub left: u64,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.deletions.is_empty()
    }

    /// The objects that are sent because someone changed them.
    pub fn drifted(&self) -> impl Iterator<Item = &Write> {
        self.writes.values().flatten().filter(|write| write.why == Why::Drifted)
    }
}

/// What is done about changes by others of that object: it says so itself, or else its bundle, or else the cluster, whose word
/// (`default`) stands for those of its region, its environment and the fleet.
pub fn drift_mode(object: &RenderedObject, rendering: &Rendering, default: Drift) -> Drift {
    let bundle = || rendering.bundles.get(&*object.bundle).and_then(|settings| settings.drift);
    object.policy.drift.or_else(bundle).unwrap_or(default)
}

/// Compares. Objects of a paused bundle are neither sent nor deleted. Drift of objects that are fought over (`resting`) stays for now,
/// as does that of objects whose mode says so; `drift` is the cluster's.
pub fn plan(rendering: &Rendering, inventory: &Inventory, resting: &BTreeSet<ObjectId>, drift: Drift) -> Plan {
    let mut plan = Plan::default();
    for pair in pairs(rendering, inventory) {
        match pair {
            Pair::Wanted(object, member) => {
                let Some(why) = why(object, member).filter(|_| !rendering.is_paused(&object.bundle)) else { continue };
                let mode = drift_mode(object, rendering, drift);
                let why = if why == Why::Unverified && mode != Drift::Repair { Why::Unrecorded } else { why };
                if !(why.stays(mode) || (why == Why::Drifted && resting.contains(&object.id))) {
                    plan.writes.entry(object.bundle.clone()).or_default().push(Write { object: object.clone(), why });
                } else if why == Why::Drifted && mode != Drift::Off {
                    plan.left += 1;
                }
            }
            Pair::Left(id, member) => {
                if member.is_deleting() || !member.is_labelled() || member.bundle().is_some_and(|bundle| rendering.is_paused(bundle)) {
                    continue;
                }
                plan.deletions.push(Deletion {
                    id: id.clone(),
                    uid: member.uid(),
                    resource_version: member.resource_version(),
                    bundle: member.bundle().map(ToString::to_string),
                });
            }
        }
    }
    plan
}

/// An identity that the rendering has, or the cluster, or both.
enum Pair<'a> {
    Wanted(&'a Arc<RenderedObject>, Option<&'a Member>),
    Left(&'a ObjectId, &'a Member),
}

/// Goes through both at once, as both are sorted by identity: to look each object up in the other would take most of an attempt's time.
fn pairs<'a>(rendering: &'a Rendering, inventory: &'a Inventory) -> impl Iterator<Item = Pair<'a>> {
    let mut wanted = rendering.objects.iter().peekable();
    let mut there = inventory.iter().peekable();
    std::iter::from_fn(move || {
        let order = match (wanted.peek(), there.peek()) {
            (Some(object), Some((id, _))) => object.id.cmp(id),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let member = if order == Ordering::Less { None } else { Some(there.next()?) };
        match (wanted.next_if(|_| order != Ordering::Greater), member) {
            (Some(object), member) => Some(Pair::Wanted(object, member.map(|(_, member)| &**member))),
            (None, member) => member.map(|(id, member)| Pair::Left(id, member)),
        }
    })
}

/// Why the object must be sent; none where the cluster has it as it should be.
pub(super) fn why(object: &RenderedObject, member: Option<&Member>) -> Option<Why> {
    if object.policy.hook.is_some() {
        // A run, and no state to be kept.
        return None;
    }
    let Some(member) = member else { return Some(Why::New) };
    if member.digest() != Some(object.digest) {
        return Some(Why::Changed);
    }
    match member.record() {
        Record::None => Some(Why::Unverified),
        Record::Other(live) if live.digest != object.digest => Some(Why::Changed),
        // Which bundle it belongs to must be on record: deletions go by it.
        _ if member.bundle() != Some(&object.bundle) => Some(Why::Changed),
        // Another uid, or other fields.
        Record::Other(_) => Some(Why::Drifted),
        Record::AsSeen => member.is_superseded().then_some(Why::Superseded),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        git::MemorySource,
        layout,
        manifest::{Digest, DigestKey},
        render::{Facts, Renderer},
        sync::{Live, member::Known},
    };

    /// What a cluster must run when these ConfigMaps (bundle and name) are in the repository.
    pub(crate) fn rendering(objects: &[(&str, &str)], value: &str) -> Arc<Rendering> {
        let own =
            |kind: &str, name: &str| json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}).to_string();
        let mut files = vec![
            ("evenkeel.yaml".to_owned(), own("Fleet", "shop")),
            ("environments/test/eu/one/cluster.yaml".to_owned(), own("Cluster", "one")),
        ];
        for (bundle, name) in objects {
            let object =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": {"v": value}});
            files.push((format!("base/{bundle}/{name}.yaml"), object.to_string()));
        }
        let source = MemorySource::new(files).unwrap();
        let fleet = layout::read(&source).unwrap();
        let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
        renderer.render(&source, &fleet, fleet.cluster("one").unwrap(), &Facts::default()).unwrap()
    }

    /// The inventory of a cluster that runs exactly that.
    pub(crate) fn applied(rendering: &Rendering) -> Inventory {
        let known = |object: &Arc<RenderedObject>| Known {
            uid: format!("uid of {}", object.id),
            resource_version: "1".to_owned(),
            digest: Some(object.digest),
            fields: Some(Digest::of(b"fields")),
            recorded: Some(Live { uid: format!("uid of {}", object.id), digest: object.digest, fields: Digest::of(b"fields") }),
            bundle: Some(object.bundle.clone()),
            labelled: true,
            ..Known::default()
        };
        rendering.objects.iter().map(|object| (object.id.clone(), known(object).into())).collect()
    }

    pub(crate) fn id(name: &str) -> ObjectId {
        format!("ConfigMap/shop/{name}").parse().unwrap()
    }

    fn whys(plan: &Plan) -> Vec<(String, Why)> {
        plan.writes.values().flatten().map(|write| (write.object.id.name.clone(), write.why)).collect()
    }

    #[test]
    fn an_applied_rendering_needs_nothing() {
        let rendering = rendering(&[("a", "one"), ("b", "two")], "1");
        assert!(plan(&rendering, &applied(&rendering), &BTreeSet::new(), Drift::Repair).is_empty());
    }

    #[test]
    fn each_difference_has_its_reason() {
        let old = rendering(&[("a", "changed")], "1");
        let new =
            rendering(&[("a", "changed"), ("a", "drifted"), ("a", "new"), ("a", "recreated"), ("a", "same"), ("a", "unrecorded")], "2");
        let mut inventory = applied(&new);
        inventory.remove(&id("new"));
        inventory.insert(id("changed"), applied(&old)[&id("changed")].clone());
        inventory.get_mut(&id("drifted")).unwrap().edit(|known| known.fields = Some(Digest::of(b"someone took a field")));
        inventory.get_mut(&id("recreated")).unwrap().edit(|known| known.uid = "another".to_owned());
        inventory.get_mut(&id("unrecorded")).unwrap().edit(|known| known.recorded = None);
        let plan = plan(&new, &inventory, &BTreeSet::new(), Drift::Repair);
        let expected = [
            ("changed", Why::Changed),
            ("drifted", Why::Drifted),
            ("new", Why::New),
            ("recreated", Why::Drifted),
            ("unrecorded", Why::Unverified),
        ];
        assert_eq!(whys(&plan), expected.map(|(name, why)| (name.to_owned(), why)));
        assert_eq!(plan.drifted().count(), 2);
    }

    #[test]
    fn drift_stays_where_it_is_only_reported_or_fought_over() {
        let wanted = rendering(&[("a", "one")], "1");
        let with = |drift| {
            let mut rendering = Rendering::clone(&wanted);
            let mut object = RenderedObject::clone(&rendering.objects[0]);
            object.policy.drift = Some(drift);
            rendering.objects[0] = Arc::new(object);
            rendering
        };
        let mut drifted = applied(&wanted);
        drifted.get_mut(&id("one")).unwrap().edit(|known| known.fields = None);
        let resting = BTreeSet::from([id("one")]);
        for (drift, resting, writes, left) in [
            (Drift::Repair, &BTreeSet::new(), 1, 0),
            (Drift::Repair, &resting, 0, 1),
            (Drift::Report, &BTreeSet::new(), 0, 1),
            (Drift::Off, &BTreeSet::new(), 0, 0),
        ] {
            let plan = plan(&with(drift), &drifted, resting, Drift::Repair);
            assert_eq!((plan.writes.len(), plan.left), (writes, left), "{drift:?}");
        }
        drifted.get_mut(&id("one")).unwrap().edit(|known| known.digest = None);
        for drift in [Drift::Repair, Drift::Report, Drift::Off] {
            assert_eq!(plan(&with(drift), &drifted, &resting, Drift::Repair).writes.len(), 1, "what Git changes is written, {drift:?}");
        }
    }

    #[test]
    fn the_most_specific_mode_of_drift_decides() {
        let base = rendering(&[("a", "one")], "1");
        let mut drifted = applied(&base);
        drifted.get_mut(&id("one")).unwrap().edit(|known| known.fields = None);
        for (object, bundle, cluster, expected) in [
            (None, None, Drift::Repair, Drift::Repair),
            (None, None, Drift::Report, Drift::Report),
            (None, Some(Drift::Off), Drift::Report, Drift::Off),
            (Some(Drift::Repair), Some(Drift::Off), Drift::Report, Drift::Repair),
            (Some(Drift::Report), None, Drift::Off, Drift::Report),
        ] {
            let mut rendering = Rendering::clone(&base);
            Arc::make_mut(&mut rendering.objects[0]).policy.drift = object;
            rendering.bundles.get_mut("a").unwrap().drift = bundle;
            assert_eq!(drift_mode(&rendering.objects[0], &rendering, cluster), expected);
            let plan = plan(&rendering, &drifted, &BTreeSet::new(), cluster);
            let (written, counted) = (expected == Drift::Repair, expected == Drift::Report);
            assert_eq!((plan.writes.len() == 1, plan.left == 1), (written, counted), "{object:?} {bundle:?} {cluster:?}");
        }
    }

    #[test]
    fn what_is_not_on_record_is_written_only_where_drift_is_put_back() {
        let rendering = rendering(&[("a", "one")], "1");
        let mut inventory = applied(&rendering);
        inventory.get_mut(&id("one")).unwrap().edit(|known| known.recorded = None);
        for (mode, why) in [(Drift::Repair, Why::Unverified), (Drift::Report, Why::Unrecorded), (Drift::Off, Why::Unrecorded)] {
            assert_eq!(whys(&plan(&rendering, &inventory, &BTreeSet::new(), mode)), [("one".to_owned(), why)]);
        }
    }

    #[test]
    fn what_others_took_over_is_let_go_in_every_mode() {
        let rendering = rendering(&[("a", "one")], "1");
        let mut inventory = applied(&rendering);
        inventory.get_mut(&id("one")).unwrap().edit(|known| known.superseded = true);
        for mode in [Drift::Repair, Drift::Report, Drift::Off] {
            assert_eq!(whys(&plan(&rendering, &inventory, &BTreeSet::new(), mode)), [("one".to_owned(), Why::Superseded)]);
        }
        inventory.get_mut(&id("one")).unwrap().edit(|known| known.fields = None);
        assert_eq!(whys(&plan(&rendering, &inventory, &BTreeSet::new(), Drift::Repair)), [("one".to_owned(), Why::Drifted)]);
    }

    #[test]
    fn a_move_between_bundles_deletes_nothing() {
        let before = rendering(&[("a", "one")], "1");
        let after = rendering(&[("b", "one")], "1");
        let plan = plan(&after, &applied(&before), &BTreeSet::new(), Drift::Repair);
        assert!(plan.deletions.is_empty(), "the same object in another bundle");
        assert_eq!(whys(&plan), [("one".to_owned(), Why::Changed)], "its new bundle is put on record");
    }

    #[test]
    fn what_was_taken_out_of_the_set_is_not_deleted() {
        let before = rendering(&[("a", "one"), ("a", "two")], "1");
        let mut inventory = applied(&before);
        inventory.get_mut(&id("two")).unwrap().edit(|known| known.labelled = false);
        assert!(plan(&rendering(&[("a", "one")], "1"), &inventory, &BTreeSet::new(), Drift::Repair).deletions.is_empty());
    }

    #[test]
    fn what_is_being_deleted_is_not_deleted_again() {
        let before = rendering(&[("a", "one"), ("a", "two")], "1");
        let mut inventory = applied(&before);
        inventory.get_mut(&id("two")).unwrap().edit(|known| known.deleting = true);
        assert!(plan(&rendering(&[("a", "one")], "1"), &inventory, &BTreeSet::new(), Drift::Repair).deletions.is_empty());
    }

    proptest! {
        /// Nothing is deleted that is not a member, nor anything that the rendering wants.
        #[test]
        fn only_members_that_left_are_deleted(wanted in prop::collection::btree_set(0u8..12, 0..12), there in prop::collection::btree_set(0u8..12, 0..12)) {
            let names: Vec<String> = (0..12).map(|n| format!("n{n}")).collect();
            let of = |set: &BTreeSet<u8>| rendering(&set.iter().map(|n| ("a", names[usize::from(*n)].as_str())).collect::<Vec<_>>(), "1");
            let inventory = applied(&of(&there));
            let plan = plan(&of(&wanted), &inventory, &BTreeSet::new(), Drift::Repair);
            let deleted: BTreeSet<ObjectId> = plan.deletions.iter().map(|deletion| deletion.id.clone()).collect();
            let expected: BTreeSet<ObjectId> = there.difference(&wanted).map(|n| id(&names[usize::from(*n)])).collect();
            prop_assert_eq!(deleted, expected);
        }
    }
}
