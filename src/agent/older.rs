//! What an older commit gives, for clusters that still run it, are about to, or are put to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::losses::layers;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, Mirror},
    layout,
    manifest::Digest,
    render::{Facts, Renderer, Rendering},
};

/// What an older commit gives for some clusters.
pub(super) struct Older {
    pub(super) commit: CommitId,
    /// The clusters that were asked for and are in it.
    pub(super) renderings: BTreeMap<String, Result<Arc<Rendering>, Vec<Diagnostic>>>,
    /// Why nothing can be said of it for now.
    pub(super) unread: Option<Diagnostic>,
    pub(super) asked: BTreeSet<String>,
    /// The layers of the clusters that it gives something for.
    layers: BTreeMap<String, Vec<String>>,
}

impl Older {
    /// What it gives, each with the layers of which that is made.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&str, Digest, &[String])> {
        let layers = |name: &String| self.layers.get(name).map(Vec::as_slice);
        self.renderings.iter().filter_map(move |(name, given)| Some((name.as_str(), given.as_ref().ok()?.digest, layers(name)?)))
    }
}

/// Reads and renders an older commit for some clusters; on a thread of its own.
pub(super) fn older(
    commit: CommitId,
    asked: BTreeSet<String>,
    mirror: &Mirror,
    renderer: &Renderer,
    facts: &BTreeMap<String, Facts>,
) -> Older {
    let mut older = Older { commit, renderings: BTreeMap::new(), unread: None, asked, layers: BTreeMap::new() };
    let tree = match mirror.tree(commit) {
        Ok(tree) => tree,
        Err(error) => {
            let error = error.diagnostic();
            if error.code == codes::GIT_BROKEN {
                older.unread = Some(error);
                return older;
            }
            return refused(older, &[error]);
        }
    };
    let fleet = match layout::read(&tree) {
        Ok(fleet) => fleet,
        Err(errors) => return refused(older, &errors),
    };
    let default = Facts::default();
    let clusters = fleet.clusters.iter().filter(|cluster| older.asked.contains(&cluster.name));
    let clusters: Vec<_> = clusters.map(|cluster| (cluster, facts.get(&cluster.name).unwrap_or(&default))).collect();
    let renderings = renderer.render_all(&tree, &fleet, &clusters);
    older.layers = clusters.iter().map(|(cluster, _)| (cluster.name.clone(), layers(cluster))).collect();
    older.renderings = clusters.iter().zip(renderings).map(|((cluster, _), rendering)| (cluster.name.clone(), rendering)).collect();
    older
}

/// Those of these clusters that a commit does not have; all, with the reason, where it is no fleet.
pub(super) fn lacking(mirror: &Mirror, commit: CommitId, clusters: &[String]) -> Result<Vec<String>, Diagnostic> {
    let fleet = mirror.tree(commit).map_err(|error| error.diagnostic()).and_then(|tree| {
        let first = |errors: Vec<Diagnostic>| errors.into_iter().next();
        layout::read(&tree).map_err(|errors| first(errors).unwrap_or_else(|| Diagnostic::new(codes::NO_WAY_BACK, Place::Nowhere, "")))
    })?;
    let has = |name: &String| fleet.clusters.iter().any(|cluster| cluster.name == *name);
    Ok(clusters.iter().filter(|name| !has(name)).cloned().collect())
}

/// The commit gives nothing for any cluster.
fn refused(mut older: Older, errors: &[Diagnostic]) -> Older {
    older.renderings = older.asked.iter().map(|name| (name.clone(), Err(errors.to_vec()))).collect();
    older
}
