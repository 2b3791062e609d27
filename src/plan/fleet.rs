//! What a change takes from the fleet as a whole, by the rules of [`crate::sync::caution`].

use std::collections::BTreeMap;

use super::{
    Renderings,
    answer::{ClusterPlan, Delete, Fate},
};
use crate::{
    layout::{self, Cluster, OnRemoval},
    render::Rendering,
    sync::{
        caution::{Loss, cautions, lost_layer, vanished},
        prune::Budget,
    },
};

/// Why all deletions of a cluster wait whatever their number: the words for a layer that it has no more.
pub(super) fn lost(old: &Cluster, new: &Cluster) -> Option<String> {
    let paths = |cluster: &Cluster| cluster.layers.iter().map(|layer| layer.path.clone()).collect::<Vec<_>>();
    lost_layer(&paths(old), &paths(new)).map(|layer| vanished(layer))
}

/// The deletions of a cluster that leaves the fleet.
pub(super) fn removed(cluster: &Cluster, before: Option<&Rendering>) -> Vec<Delete> {
    let objects =
        before.filter(|_| cluster.on_removal == OnRemoval::Prune).map(|rendering| rendering.objects.as_slice()).unwrap_or_default();
    let delete = |object: &crate::render::RenderedObject| Delete {
        id: object.id.clone(),
        bundle: object.bundle.to_string(),
        fate: Fate::Held,
        reason: crate::sync::caution::LEFT.to_owned(),
    };
    objects.iter().map(|object| delete(object)).collect()
}

/// How many objects the clusters have before the change.
pub(super) fn objects(before: &Renderings<'_>) -> usize {
    before.values().filter_map(|(_, rendering)| rendering.as_ref().ok()).map(|rendering| rendering.objects.len()).sum()
}

/// Holds the deletions of every cluster where the fleet would lose more of its objects than it may.
pub(super) fn hold(clusters: &mut [ClusterPlan], all: usize, allowance: layout::Allowance) {
    let loss = |cluster: &ClusterPlan| {
        let objects = cluster.delete.iter().filter(|delete| delete.fate != Fate::Paused).count();
        let cluster = cluster.name.clone();
        Loss { cluster, objects, unasked: objects, to_come: 0, rests: false, caution: None, lost_layer: None }
    };
    let losses: Vec<Loss> = clusters.iter().map(loss).collect();
    let reasons: BTreeMap<String, String> = cautions(&losses, all, &Budget::from(allowance));
    for cluster in clusters {
        let Some(reason) = reasons.get(&cluster.name) else { continue };
        cluster.caution.get_or_insert_with(|| reason.clone());
        for delete in cluster.delete.iter_mut().filter(|delete| delete.fate == Fate::Deleted) {
            (delete.fate, delete.reason) = (Fate::Held, reason.clone());
        }
    }
}
