//! What a stack of layers gives: objects, each with its bundle and origin.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use kube_overlay::{LabelSelector, Merged, Table, strategic_merge};
use serde_json::Value;

use super::{
    component::{Included, component_of},
    depend::Dependencies,
    layer::{DEFAULT_BUNDLE, HALVES_MIN, LayerFiles, Piece},
    trace::{Cause, Trace},
    tree::Content,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    layout::{HealthRules, Level, one_edit_apart, sort_problems},
    manifest::{self, Drift, ObjectId},
};

/// The objects that the layers so far give together, and all that was found wrong with them.
#[derive(Clone)]
pub(super) struct Stack {
    /// Sorted by identity, each once.
    pub(super) pieces: Vec<Arc<Piece>>,
    pub(super) bundles: BTreeMap<Arc<str>, Bundle>,
    /// The built-in kinds and those of the CustomResourceDefinitions among the objects.
    pub(super) table: Table,
    pub(super) problems: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
    /// What changed the objects, where that is asked for.
    pub(super) trace: Option<Trace>,
    /// What changes nothing here, as often as it was tried. In a layer of many clusters it may do something for another one.
    pub(super) idle: Vec<Diagnostic>,
    /// How often each component was laid, by its path.
    pub(super) laid: BTreeMap<Arc<str>, usize>,
}

/// A bundle's settings over the layers so far.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Bundle {
    /// The file that says so; the outermost.
    pub(super) paused: Option<Arc<str>>,
    /// What is done about changes by others; a deeper layer's word replaces those above.
    pub(super) drift: Option<Drift>,
    /// Which clusters run it; a deeper layer's word replaces those above.
    pub(super) targets: Option<LabelSelector>,
    /// Where that word stands.
    pub(super) targets_place: Place,
    /// What it waits for: all that any layer names.
    pub(super) depends_on: Dependencies,
    /// How long others wait for it; a deeper layer's word replaces those above.
    pub(super) deadline: Option<Duration>,
    /// How the objects of some kinds do; a deeper layer's rule for a kind replaces those above.
    pub(super) health: HealthRules,
    /// The file that spoke of it last.
    pub(super) file: Option<Arc<str>>,
}

impl Default for Stack {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            bundles: BTreeMap::new(),
            table: Table::bundled().clone(),
            problems: Vec::new(),
            warnings: Vec::new(),
            trace: None,
            idle: Vec::new(),
            laid: BTreeMap::new(),
        }
    }
}

impl Stack {
    /// What it gives with one more layer on top.
    pub(super) fn with(mut self, layer: &LayerFiles, included: &Included) -> Self {
        self.problems.extend(included.problems.iter().cloned());
        self.lay(layer, included);
        self.refuse_incomplete(layer, included);
        sort_problems(&mut self.problems);
        sort_problems(&mut self.warnings);
        self
    }

    /// Lays a folder over what is there: a layer, or a component in the midst of the overlay that includes it.
    pub(super) fn lay(&mut self, layer: &LayerFiles, included: &Included) {
        self.problems.extend(layer.problems.iter().cloned());
        self.warnings.extend(layer.warnings.iter().cloned());
        self.bundles(layer);
        let known = self.definitions();
        let patches = self.add(layer);
        // Definitions first: how the lists of a custom resource merge is theirs to say.
        let (definitions, others): (Vec<_>, Vec<_>) = patches.into_iter().partition(|patch| is_definition(&patch.id));
        self.merge(&definitions);
        self.read_definitions(&known);
        self.merge(&others);
        for overlay in &*layer.overlays {
            overlay.apply(self, included);
        }
    }

    fn bundles(&mut self, layer: &LayerFiles) {
        for (name, file) in &*layer.bundles {
            let bundle = self.bundles.entry(Arc::clone(name)).or_default();
            let Some(file) = file else { continue };
            bundle.file = Some(Arc::clone(&file.path));
            if file.paused {
                bundle.paused.get_or_insert_with(|| Arc::clone(&file.path));
            }
            for (needed, place) in &file.depends_on {
                bundle.depends_on.entry(Arc::clone(needed)).or_insert_with(|| place.clone());
            }
            bundle.deadline = file.deadline.or(bundle.deadline);
            bundle.health.overlay(&file.health);
            bundle.drift = file.drift.or(bundle.drift);
            if let Some(targets) = &file.targets {
                bundle.targets = Some(targets.clone());
                bundle.targets_place.clone_from(&file.targets_place);
            }
        }
    }

    /// Adds the layer's objects that are not there yet, and returns what is left: patches of those that are, in the order in which
    /// they are to be laid over.
    fn add(&mut self, layer: &LayerFiles) -> Vec<Arc<Piece>> {
        let mut patches = Vec::new();
        let mut added = Vec::new();
        let known = Lookup::new(&self.pieces);
        for piece in &layer.manifests {
            let target = known.find(&piece.id, piece.own_bundle());
            if let Target::At(at) = target
                && self.pieces[at].origin == piece.origin
            {
                let message = format!("{} is there already: the component is included twice", piece.id);
                let problem = Diagnostic::new(codes::DUPLICATE_OBJECT, piece.origin.place(), message);
                self.problems.push(problem.with_hint("Include it once, in the outermost layer that needs it."));
            } else if target.is_found() {
                patches.push(Arc::clone(piece));
            } else if let Some(directive) = &piece.directive {
                let problem = self.without_target(piece, &format!("there is no {} above it, and {directive} makes it a patch", piece.id));
                self.problems.push(problem);
            } else {
                added.push(Arc::clone(piece));
            }
        }
        if layer.level > Level::Base {
            for piece in &added {
                if let Some(near) = self.near(&piece.id) {
                    let message =
                        format!("{} is new here, and nearly has the name of {}, given at {}", piece.id, near.id, near.origin.place());
                    self.warnings.push(Diagnostic::new(codes::NEAR_MISS, piece.origin.place(), message));
                }
            }
        }
        added.sort_by(|a, b| a.id.cmp(&b.id));
        added.dedup_by(|a, b| a.id == b.id); // a double is refused where the layer is read
        if let Some(trace) = &mut self.trace {
            for piece in &added {
                trace.note(None, piece, Cause::Document(piece.origin.clone()));
            }
        }
        self.pieces.extend(added);
        self.pieces.sort_by(|a, b| a.id.cmp(&b.id));
        patches.extend(layer.patches.iter().cloned());
        patches
    }

    fn without_target(&self, patch: &Piece, message: &str) -> Diagnostic {
        let problem = Diagnostic::new(codes::PATCH_WITHOUT_TARGET, patch.origin.place(), message);
        match self.near(&patch.id) {
            Some(near) => problem.with_hint(format!("Was {} meant, given at {}?", near.id, near.origin.place())),
            None => problem,
        }
    }

    /// An object whose name or namespace is one edit away from this one's.
    pub(super) fn near(&self, id: &ObjectId) -> Option<&Arc<Piece>> {
        let start = self.pieces.partition_point(|piece| (&piece.id.group, &piece.id.kind) < (&id.group, &id.kind));
        let same_kind = self.pieces[start..].iter().take_while(|piece| piece.id.group == id.group && piece.id.kind == id.kind);
        same_kind.into_iter().find(|piece| {
            let (theirs, ours) = (piece.id.namespace.as_deref().unwrap_or_default(), id.namespace.as_deref().unwrap_or_default());
            (theirs == ours && one_edit_apart(&piece.id.name, &id.name)) || (piece.id.name == id.name && one_edit_apart(theirs, ours))
        })
    }

    /// Lays patches over their targets, in this order.
    fn merge(&mut self, patches: &[Arc<Piece>]) {
        if patches.is_empty() {
            return;
        }
        let known = Lookup::new(&self.pieces);
        let mut found = Vec::with_capacity(patches.len());
        let mut problems = Vec::new();
        for patch in patches {
            match known.find(&patch.id, patch.own_bundle()) {
                Target::At(at) => found.push((at, patch)),
                Target::Missing => problems.push(self.without_target(patch, &format!("there is no {} for this patch", patch.id))),
                Target::Several => {
                    let message = format!("several objects were written as {}; give metadata.namespace to tell them apart", patch.id);
                    problems.push(Diagnostic::new(codes::PATCH_WITHOUT_TARGET, patch.origin.place(), message));
                }
            }
        }
        drop(known);
        let mut targets: Vec<Option<Arc<Piece>>> = std::mem::take(&mut self.pieces).into_iter().map(Some).collect();
        // Where half of the work lies on each side: patches of a kind lie close together.
        let middle = if found.len() < HALVES_MIN || self.trace.is_some() {
            0
        } else {
            let mut positions: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
            let half = positions.len() / 2;
            *positions.select_nth_unstable(half).1
        };
        let (one, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|(at, _)| *at < middle);
        let (left, right) = targets.split_at_mut(middle);
        let (table, trace) = (&self.table, self.trace.as_mut());
        let laid = std::thread::scope(|scope| {
            let one = (!one.is_empty()).then(|| scope.spawn(|| lay_all(left, 0, &one, table, None)));
            let other = lay_all(right, middle, &other, table, trace);
            [one.map(std::thread::ScopedJoinHandle::join), Some(Ok(other))]
        });
        for laid in laid.into_iter().flatten() {
            match laid {
                Ok(laid) => {
                    problems.extend(laid.problems);
                    self.idle.extend(laid.idle);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        self.pieces = targets.into_iter().flatten().collect();
        self.problems.extend(problems);
    }

    /// Reads the CustomResourceDefinitions again if they are others than before.
    fn read_definitions(&mut self, before: &[Arc<Piece>]) {
        let now = self.definitions();
        if now.iter().map(Arc::as_ptr).eq(before.iter().map(Arc::as_ptr)) {
            return;
        }
        let trees: Vec<Arc<Value>> = now.iter().map(|piece| piece.value.tree()).collect();
        let trees: Vec<&Value> = trees.iter().map(|tree| &**tree).collect();
        self.table = Table::bundled().with_definitions(&trees);
    }

    fn definitions(&self) -> Vec<Arc<Piece>> {
        self.pieces.iter().filter(|piece| is_definition(&piece.id)).cloned().collect()
    }
}

pub(super) fn is_definition(id: &ObjectId) -> bool {
    id.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// What is to be told of patches that were laid.
#[derive(Default)]
struct Laid {
    problems: Vec<Diagnostic>,
    idle: Vec<Diagnostic>,
}

/// Lays patches over those objects, the first of which has that position.
fn lay_all(
    targets: &mut [Option<Arc<Piece>>],
    first: usize,
    patches: &[(usize, &Arc<Piece>)],
    table: &Table,
    mut trace: Option<&mut Trace>,
) -> Laid {
    let mut laid = Laid::default();
    for (at, patch) in patches {
        let target = &mut targets[at - first];
        let Some(piece) = target else {
            let message = format!("{} is deleted by a patch before this one", patch.id);
            laid.problems.push(Diagnostic::new(codes::PATCH_WITHOUT_TARGET, patch.origin.place(), message));
            continue;
        };
        // A trace looks at what was there before, which then stays as it is.
        let before = trace.as_ref().map(|_| Arc::clone(piece));
        match lay_over(piece, patch, table) {
            Ok(Merged::Unchanged) => {
                let message = format!("the patch of {} changes nothing: what it sets is so already", piece.id);
                laid.idle.push(Diagnostic::new(codes::IDLE, patch.origin.place(), message));
            }
            Ok(Merged::Changed) => {
                if let Some(trace) = &mut trace {
                    trace.note(before.as_ref(), piece, Cause::Document(patch.origin.clone()));
                }
            }
            Ok(Merged::Deleted) => *target = None,
            Err(found) => laid.problems.extend(found),
        }
    }
    laid
}

/// One patch over one object, which is changed, or is to be taken away. After a mistake it may be partly changed.
fn lay_over(piece: &mut Arc<Piece>, patch: &Piece, table: &Table) -> Result<Merged, Vec<Diagnostic>> {
    let refuse = |code, message: String| vec![Diagnostic::new(code, patch.origin.place(), message)];
    if !patch.in_root && patch.bundle != piece.bundle {
        let message = format!(
            "{} is of bundle {}, given at {}; this folder is bundle {}",
            piece.id,
            piece.bundle,
            piece.origin.place(),
            patch.bundle
        );
        return Err(refuse(codes::BUNDLE_MISMATCH, message));
    }
    let tree = patch.value.tree();
    let mut laid = std::borrow::Cow::Borrowed(&*tree);
    if piece.id.namespace != patch.id.namespace {
        // Found by the identity that it was written with: the namespace it was moved to stays.
        if let Some(metadata) = laid.to_mut().get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("namespace");
        }
    }
    let change = |value: &mut Value, id: &ObjectId| {
        let merged = strategic_merge(value, &laid, table).map_err(|error| {
            let at = if error.path.is_empty() { String::new() } else { format!("at {}: ", error.path) };
            refuse(codes::MERGE, format!("{at}{}", error.message))
        })?;
        let problems = if merged == Merged::Changed { manifest::scrub(value, id) } else { Vec::new() };
        let problems = problems.into_iter().flat_map(|(code, pointer, message)| refuse(code, format!("{pointer}: {message}")));
        let problems: Vec<Diagnostic> = problems.collect();
        if problems.is_empty() { Ok(merged) } else { Err(problems) }
    };
    Piece::edit(piece, change)
}

impl Piece {
    /// The bundle whose folder it stands in; none in a layer's root folder, from where any bundle may be patched.
    pub(super) fn own_bundle(&self) -> Option<&Arc<str>> {
        (!self.in_root).then_some(&self.bundle)
    }

    /// Changes its content by what `change` does to it, which says whether it did: in place if nobody else holds the object.
    fn edit<E>(this: &mut Arc<Self>, change: impl FnOnce(&mut Value, &ObjectId) -> Result<Merged, E>) -> Result<Merged, E> {
        if let Some(own) = Arc::get_mut(this)
            && let Some(value) = own.value.own()
        {
            let merged = change(value, &own.id)?;
            if merged == Merged::Changed {
                own.renew();
            }
            return Ok(merged);
        }
        let mut copy = this.value.copy();
        let merged = change(&mut copy, &this.id)?;
        if merged == Merged::Changed {
            *this = Arc::new(this.changed(copy));
        }
        Ok(merged)
    }

    /// Lets go of the trees of what is kept; see [`Content`].
    pub(super) fn pack(&self) {
        let sealed = self.sealed.get().map(|(_, object)| object).filter(|object| object.given_up.is_none());
        self.value.pack(sealed.map(|object| &object.body));
        if let Some((_, finished)) = self.finished.get() {
            finished.pack();
        }
    }

    /// Its content is another: what was made of it is not, and it is no patch any more.
    pub(super) fn renew(&mut self) {
        self.directive = None;
        self.finished = OnceLock::new();
        self.sealed = OnceLock::new();
    }

    /// The same object with other content.
    pub(super) fn changed(&self, value: impl Into<Content>) -> Self {
        Self {
            id: self.id.clone(),
            written: self.written.clone(),
            value: value.into(),
            origin: self.origin.clone(),
            bundle: Arc::clone(&self.bundle),
            in_root: self.in_root,
            directive: None,
            naming: self.naming,
            finished: OnceLock::new(),
            sealed: OnceLock::new(),
        }
    }
}

/// Where an identity is found.
pub(super) enum Target {
    At(usize),
    Missing,
    /// Objects of several namespaces were written with it.
    Several,
}

impl Target {
    fn is_found(&self) -> bool {
        !matches!(self, Self::Missing)
    }
}

/// Finds objects by identity, or else by the one that they were written with.
pub(super) struct Lookup<'a> {
    pieces: &'a [Arc<Piece>],
    written: HashMap<&'a ObjectId, Vec<usize>>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(pieces: &'a [Arc<Piece>]) -> Self {
        let mut written: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, piece) in pieces.iter().enumerate() {
            if let Some(id) = piece.written.as_deref() {
                written.entry(id).or_default().push(at);
            }
        }
        Self { pieces, written }
    }

    /// The one that was written with the identity is looked for in that bundle alone, where one is given: each bundle may move what it
    /// names alike to a namespace of its own.
    pub(super) fn find(&self, id: &ObjectId, bundle: Option<&Arc<str>>) -> Target {
        if let Ok(at) = self.pieces.binary_search_by(|piece| piece.id.cmp(id)) {
            return Target::At(at);
        }
        let concerned = |at: &&usize| bundle.is_none_or(|bundle| *bundle == self.pieces[**at].bundle);
        let mut written = self.written.get(id).into_iter().flatten().filter(concerned);
        match (written.next(), written.next()) {
            (Some(at), None) => Target::At(*at),
            (Some(_), Some(_)) => Target::Several,
            (None, _) => Target::Missing,
        }
    }
}

impl Stack {
    /// What changes nothing each time that it is tried: a part of a component may do something in one of its places alone.
    pub(super) fn always_idle(&self) -> Vec<Diagnostic> {
        let mut tries: HashMap<&Place, usize> = HashMap::new();
        for idle in &self.idle {
            *tries.entry(&idle.place).or_default() += 1;
        }
        let laid = |place: &Place| component_of(place).and_then(|component| self.laid.get(component)).copied().unwrap_or(1);
        self.idle.iter().filter(|idle| tries[&idle.place] >= laid(&idle.place)).cloned().collect()
    }

    /// Bundles whose targets leave a cluster with these labels out.
    pub(super) fn untargeted(&self, labels: &BTreeMap<String, String>) -> impl Iterator<Item = Diagnostic> {
        let out = self.bundles.iter().filter(|(_, bundle)| bundle.targets.as_ref().is_some_and(|targets| !targets.matches(labels)));
        out.map(|(name, bundle)| {
            Diagnostic::new(codes::IDLE, bundle.targets_place.clone(), format!("the targets of bundle {name} select no cluster"))
        })
    }

    /// The bundles that have a bundle.yaml and no objects, and what is to be said of each.
    pub(super) fn empty_bundles(&self) -> BTreeMap<Arc<str>, Diagnostic> {
        let used: std::collections::BTreeSet<&str> = self.pieces.iter().map(|piece| &*piece.bundle).collect();
        let idle = self.bundles.iter().filter(|(name, _)| !used.contains(&***name) && &***name != DEFAULT_BUNDLE);
        idle.filter_map(|(name, bundle)| {
            let place = Place::file(&**bundle.file.as_ref()?);
            let near = used.iter().find(|other| one_edit_apart(other, name));
            let meant = near.map(|near| format!("; was {near} meant?")).unwrap_or_default();
            Some((Arc::clone(name), Diagnostic::new(codes::NEAR_MISS, place, format!("bundle {name} has no objects{meant}"))))
        })
        .collect()
    }
}
