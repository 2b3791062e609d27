//! Components: the folders that a layer's overlays include, and those that these include.

use std::{collections::BTreeMap, sync::Arc};

use super::layer::LayerFiles;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::TreeId,
    layout::{Fleet, Layer, one_edit_apart},
};

/// How often the overlays of one layer may include components, so that a few that include each other cannot grow without end.
const INCLUDES_MAX: usize = 256;

/// One entry of `components` in an overlay.yaml.
pub(super) struct Include {
    /// The component's folder, from the root.
    pub(super) path: String,
    pub(super) place: Place,
    /// The bundle to which all of it belongs; none if the component's folders are bundles of their own.
    pub(super) bundle: Option<Arc<str>>,
}

/// The component that a file belongs to, by its path; none for what lies in no component.
pub(crate) fn component_of(place: &Place) -> Option<&str> {
    let Place::File { path, .. } = place else { return None };
    let inside = path.strip_prefix("components/")?.find('/')?;
    Some(&path[.."components/".len() + inside])
}

/// A component's folder, and the bundle that includes it.
type Use = (String, Option<Arc<str>>);

/// The components that a layer includes, directly or by another.
#[derive(Default)]
pub(super) struct Included {
    found: BTreeMap<Use, (TreeId, Arc<LayerFiles>)>,
    /// Entries that are left out, since they would include what includes them.
    cut: Vec<Place>,
    count: usize,
    pub(super) problems: Vec<Diagnostic>,
}

/// Reads a component as a part of that bundle.
pub(super) type Read<'a> = dyn Fn(&Layer, Option<&Arc<str>>) -> Arc<LayerFiles> + 'a;

impl Included {
    /// All components of a layer.
    pub(super) fn gather(files: &LayerFiles, fleet: &Fleet, read: &Read<'_>) -> Self {
        let mut included = Self::default();
        included.follow(files, &mut Vec::new(), fleet, read);
        included
    }

    fn follow(&mut self, files: &LayerFiles, trail: &mut Vec<String>, fleet: &Fleet, read: &Read<'_>) {
        for include in files.overlays.iter().flat_map(|overlay| &overlay.components) {
            if let Some(first) = trail.iter().position(|path| *path == include.path) {
                let circle = trail[first..].join(", which includes ");
                self.refuse(include, format!("a circle: {circle}, which includes {} again", include.path));
                self.cut.push(include.place.clone());
                continue;
            }
            let Some(component) = fleet.component(&include.path) else {
                self.missing(include, fleet);
                continue;
            };
            self.count += 1;
            if self.count > INCLUDES_MAX {
                self.refuse(include, format!("the layer includes components more than {INCLUDES_MAX} times"));
                self.cut.push(include.place.clone());
                return;
            }
            let files = read(component, include.bundle.as_ref());
            self.found.insert((include.path.clone(), include.bundle.clone()), (component.tree, Arc::clone(&files)));
            trail.push(include.path.clone());
            self.follow(&files, trail, fleet, read);
            trail.pop();
        }
    }

    fn missing(&mut self, include: &Include, fleet: &Fleet) {
        self.refuse(include, format!("there is no folder {}", include.path));
        let near = fleet.components.iter().find(|component| one_edit_apart(&component.path, &include.path));
        if let (Some(near), Some(problem)) = (near, self.problems.last_mut()) {
            problem.hint = format!("Was {} meant?", near.path);
        }
    }

    fn refuse(&mut self, include: &Include, message: String) {
        self.problems.push(Diagnostic::new(codes::COMPONENT, include.place.clone(), message));
    }

    /// What an entry includes; none where that was refused.
    pub(super) fn files(&self, include: &Include) -> Option<&LayerFiles> {
        if self.cut.contains(&include.place) {
            return None;
        }
        self.found.get(&(include.path.clone(), include.bundle.clone())).map(|(_, files)| &**files)
    }

    /// Whether the layer includes nothing, nor tries to.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.problems.is_empty()
    }

    /// The folders and their content, on which the layer depends as on its own.
    pub(super) fn trees(&self) -> impl Iterator<Item = (&str, TreeId)> {
        self.found.iter().map(|((path, _), (tree, _))| (path.as_str(), *tree))
    }

    /// What was read.
    pub(super) fn folders(&self) -> impl Iterator<Item = &LayerFiles> {
        self.found.values().map(|(_, files)| &**files)
    }
}
