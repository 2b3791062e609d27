//! Layers to objects: what each cluster must run at a revision. Knows nothing of clusters' state.
//!
//! A rendering is a function of what the layout found, the content of the cluster's layers and the cluster's facts, and of nothing
//! else. Everything on the way is kept by content id and shared by clusters and commits: files, layers, what a stack of layers gives
//! down to each step, finished objects. So a commit costs what it changes.

mod all;
mod blame;
mod cache;
mod complete;
mod component;
mod content;
mod depend;
mod generate;
mod given_up;
mod layer;
mod lines;
mod names;
mod overlay;
mod seal;
mod stack;
mod step;
mod trace;
mod tree;
mod validate;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube_overlay::{Scope, Table};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    codes,
    diagnostic::Diagnostic,
    git::{Source, TreeId},
    layout::{Cluster, Fleet, HealthRules, Layer, Level},
    manifest::{ApplySet, Body, Digest, DigestKey, Drift, GroupKind, KeyId, ObjectId, Origin, Policy},
};

pub use blame::{Blame, Line};
pub(crate) use component::component_of;
pub(crate) use content::without_marks;

use cache::{Cache, User, Users};
use component::Included;
use layer::{FileKey, Files, LayerFiles, ReadFile};
use seal::{Last, Seal};
use stack::Stack;
use step::Step;

pub use validate::{Validated, Validator};

/// Goes up with every change of what the same repository renders to, so that such a change is rolled out like a commit.
const RENDERER_VERSION: u32 = 2;

/// What is known of a cluster that a rendering may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The API server's version, such as `v1.36.3`; empty for a cluster that was never seen.
    pub version: String,
    /// Kinds that the server serves, and whether they live in namespaces. What is not here is looked up in the bundled table and in
    /// the CustomResourceDefinitions of the rendering itself.
    #[serde(with = "scopes")]
    pub scopes: BTreeMap<GroupKind, bool>,
}

/// Kinds as texts, since a JSON key is one.
mod scopes {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::manifest::GroupKind;

    pub(super) fn serialize<S: Serializer>(scopes: &BTreeMap<GroupKind, bool>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(scopes.iter().map(|(kind, namespaced)| (kind.to_string(), namespaced)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<GroupKind, bool>, D::Error> {
        let scopes = BTreeMap::<String, bool>::deserialize(deserializer)?;
        Ok(scopes.into_iter().map(|(kind, namespaced)| (kind.parse().unwrap_or_else(|never| match never {}), namespaced)).collect())
    }
}

impl Facts {
    /// Changes exactly when a fact does.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        part(&mut hash, &self.version);
        for (kind, namespaced) in &self.scopes {
            part(&mut hash, &kind.to_string());
            hash.update([u8::from(*namespaced)]);
        }
        Digest(hash.finalize().into())
    }

    /// Whether a kind lives in namespaces; none if nobody knows.
    fn namespaced(&self, id: &ObjectId, table: &Table) -> Option<bool> {
        let told = || self.scopes.get(&id.group_kind()).copied();
        table.scope(&id.group, &id.kind).map(|scope| scope == Scope::Namespaced).or_else(told)
    }
}

/// What a cluster must run.
#[derive(Debug, Clone)]
pub struct Rendering {
    /// Over the renderer's version, the fleet's mark, every object's identity, bundle and digest, and the bundles' settings.
    pub digest: Digest,
    /// Sorted by identity.
    pub objects: Vec<Arc<RenderedObject>>,
    /// The bundles that have objects here.
    pub bundles: BTreeMap<String, BundleSettings>,
    /// The set whose label the objects carry; none where there are none. A fleet that is renamed has another from then on, and clusters
    /// that do not follow yet stay with theirs.
    pub set: Option<ApplySet>,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Patches, overlay entries and targets that do nothing for this cluster; where none of the clusters that read them needs them,
    /// they are worth a word.
    pub idle: Vec<Diagnostic>,
    /// Bundles with settings and without objects here; where no cluster has objects of one, it is worth a word.
    pub empty: BTreeMap<Arc<str>, Diagnostic>,
}

impl Rendering {
    /// No objects: what a cluster runs that is none of the fleet's any more.
    pub fn nothing() -> Self {
        Self {
            digest: Digest::of(b"nothing"),
            objects: Vec::new(),
            bundles: BTreeMap::new(),
            set: None,
            warnings: Vec::new(),
            idle: Vec::new(),
            empty: BTreeMap::new(),
        }
    }

    /// The object of that identity.
    pub fn object(&self, id: &ObjectId) -> Option<&Arc<RenderedObject>> {
        self.objects.binary_search_by(|object| object.id.cmp(id)).ok().map(|at| &self.objects[at])
    }

    /// Whether nothing of that bundle is written or deleted.
    pub fn is_paused(&self, bundle: &str) -> bool {
        self.bundles.get(bundle).is_some_and(|settings| settings.paused.is_some())
    }
}

/// What bundle.yaml says of a bundle, over all layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BundleSettings {
    /// The file that says `paused: true`, if one does.
    pub paused: Option<Arc<str>>,
    /// The bundles with objects here that must be written and healthy before it is written.
    pub depends_on: BTreeSet<Arc<str>>,
    /// How long those that depend on it wait until it is healthy, if a bundle.yaml says so.
    pub deadline: Option<Duration>,
    /// How the objects of some kinds do. What is sent does not depend on it, and neither does the rendering's digest.
    pub health: HealthRules,
    /// What is done about changes by others; none where the cluster decides.
    pub drift: Option<Drift>,
}

/// One object as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedObject {
    /// Its identity.
    pub id: ObjectId,
    /// The API version without its group.
    pub version: String,
    /// The bundle that first gave it.
    pub bundle: Arc<str>,
    /// Of the canonical bytes as Git gives them; keyed for Secrets.
    pub digest: Digest,
    /// Over its identity, bundle and digest: what it adds to the rendering's digest.
    pub(crate) mark: Digest,
    /// Canonical JSON with the fleet's marks, without the fields that it gives up.
    pub body: Body,
    /// What its annotations ask for.
    pub policy: Policy,
    /// Where it was first given.
    pub origin: Origin,
    /// What it gives up to others, where it gives something up.
    pub given_up: Option<Arc<GivenUp>>,
}

/// The fields that an object gives up to others by `evenkeel.dev/ignore`. Its digest and its body are without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// JSON pointers.
    pub pointers: Vec<String>,
    /// The body with the values that Git gives these fields, which an object is created with.
    pub whole: Body,
}

/// Renders clusters. One for all of them: it is what they share.
pub struct Renderer {
    namespace: String,
    key: DigestKey,
    caches: Mutex<Caches>,
    bodies: seal::Bodies,
    /// There are trees that are not packed.
    loose: AtomicBool,
}

/// A layer or component, by its path and content and the ignore file's, and the bundle that includes it as a part of itself.
type LayerKey = (String, TreeId, Digest, Option<Arc<str>>);
/// Made by the first that asks for it, while others who ask wait: what clusters share is never worked out twice at the same time.
type Once<V> = Arc<OnceLock<Arc<V>>>;

struct Caches {
    revisions: Users<TreeId>,
    files: Cache<FileKey, Once<ReadFile>>,
    layers: Cache<LayerKey, Once<LayerFiles>>,
    steps: Cache<Digest, Once<Step>>,
    /// The last step of each sequence of layers, by their paths, which the next commit changes a little.
    last_steps: Cache<Digest, Arc<Step>>,
    renderings: Cache<Digest, Arc<Rendering>>,
    /// The last rendering of each sequence of layers.
    last_renderings: Cache<Digest, Arc<Last>>,
}

/// Of how many revisions all is kept: the newest, and one that clusters are still at.
const REVISIONS_KEPT: u8 = 2;

impl Caches {
    fn enter(&mut self, revision: TreeId) -> User {
        let (user, forgotten) = self.revisions.enter(revision);
        if forgotten {
            self.files.forget(user);
            self.layers.forget(user);
            self.steps.forget(user);
            self.last_steps.forget(user);
            self.renderings.forget(user);
            self.last_renderings.forget(user);
        }
        user
    }
}

impl Renderer {
    /// `namespace` is where the parent of a fleet's objects stands, `evenkeel-system`.
    pub fn new(namespace: impl Into<String>, key: DigestKey) -> Self {
        let caches = Caches {
            revisions: Users::new(REVISIONS_KEPT),
            files: Cache::new(),
            layers: Cache::new(),
            steps: Cache::new(),
            last_steps: Cache::new(),
            renderings: Cache::new(),
            last_renderings: Cache::new(),
        };
        Self {
            namespace: namespace.into(),
            key,
            caches: Mutex::new(caches),
            bodies: seal::Bodies::default(),
            loose: AtomicBool::new(false),
        }
    }

    /// One that renders the same and shares nothing with this one.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(self.namespace.clone(), self.key.clone())
    }

    /// The key of the Secrets' digests.
    pub fn key_id(&self) -> KeyId {
        self.key.id()
    }

    /// What the cluster must run, or every mistake in what its rendering reads.
    pub fn render(&self, source: &dyn Source, fleet: &Fleet, cluster: &Cluster, facts: &Facts) -> Result<Arc<Rendering>, Vec<Diagnostic>> {
        if !cluster.problems.is_empty() {
            return Err(cluster.problems.clone());
        }
        let start = self.start(fleet);
        let user = self.caches().enter(source.root());
        let run = Run { renderer: self, source, fleet, user };
        let layers = run.layers(cluster);
        let terms = terms(start, cluster, facts);
        let way = Way::of(&layers, start);
        let key = way.with(terms);
        let (known, news) = {
            let renderings = &mut self.caches().renderings;
            let news = renderings.touch(&key, user).is_some();
            (renderings.get(&key, user), news)
        };
        if let Some(rendering) = known {
            if news {
                run.keep(&way);
            }
            return Ok(rendering);
        }
        let step = run.step(&layers, &way);
        let set = ApplySet::new(&fleet.name, &*self.namespace);
        let seal = Seal { set: &set, key: &self.key, bodies: &self.bodies, facts };
        let last = self.caches().last_renderings.get(&way.paths(), user);
        let followed = last.filter(|last| last.terms == terms).and_then(|last| seal.follow(&last, &step));
        let rendering = match followed {
            Some(rendering) => rendering,
            None => seal.finish(&step.stack, &cluster.labels).inspect_err(|problems| self.distrust(problems))?,
        };
        let rendering = Arc::new(rendering);
        let mut caches = self.caches();
        caches.renderings.put(key, Arc::clone(&rendering), user);
        caches.last_renderings.put(way.paths(), Arc::new(Last { step, terms, rendering: Arc::clone(&rendering) }), user);
        Ok(rendering)
    }

    /// As [`Self::render`], for a program that renders this one cluster: what it is made of is not kept, so that objects are changed in
    /// place from layer to layer.
    pub fn render_alone(&self, source: &dyn Source, fleet: &Fleet, cluster: &Cluster, facts: &Facts) -> Result<Rendering, Vec<Diagnostic>> {
        if !cluster.problems.is_empty() {
            return Err(cluster.problems.clone());
        }
        let user = self.caches().enter(source.root());
        let layers = Run { renderer: self, source, fleet, user }.layers(cluster);
        {
            let caches = &mut *self.caches();
            caches.files.clear();
            caches.layers.clear();
        }
        let stack = layers.into_iter().fold(Stack::default(), |stack, layer| stack.with(&layer.files, &layer.included));
        let set = ApplySet::new(&fleet.name, &*self.namespace);
        Seal { set: &set, key: &self.key, bodies: &self.bodies, facts }.finish(&stack, &cluster.labels)
    }

    /// Packs what is kept for the next commit, once this one's renderings are made.
    pub fn pack(&self) {
        if !self.loose.swap(false, Ordering::AcqRel) {
            return;
        }
        let (files, steps) = {
            let caches = self.caches();
            let files: Vec<_> = caches.files.values().filter_map(|cell| cell.get().cloned()).collect();
            let shared = caches.steps.values().filter_map(|cell| cell.get().cloned());
            (files, shared.chain(caches.last_steps.values().cloned()).collect::<Vec<Arc<Step>>>())
        };
        let of_files = files.iter().flat_map(|file| &file.pieces);
        of_files.chain(steps.iter().flat_map(|step| &step.stack.pieces)).for_each(|piece| piece.pack());
    }

    /// The paths of the components that the cluster's layers include, directly or by another.
    pub fn components(&self, source: &dyn Source, fleet: &Fleet, cluster: &Cluster) -> BTreeSet<String> {
        let user = self.caches().enter(source.root());
        let run = Run { renderer: self, source, fleet, user };
        let layers = run.layers(cluster);
        let all = layers.iter().flat_map(|read| read.included.trees()).map(|(path, _)| path.to_owned());
        all.collect()
    }

    /// A file that could not be read may be readable the next time, so nothing that may lack it is kept.
    fn distrust(&self, problems: &[Diagnostic]) {
        if problems.iter().any(|problem| problem.code == codes::GIT_BROKEN) {
            let mut caches = self.caches();
            caches.files.clear();
            caches.layers.clear();
            caches.steps.clear();
            caches.last_steps.clear();
            caches.last_renderings.clear();
        }
    }

    /// Names all that a step depends on besides the layers.
    fn start(&self, fleet: &Fleet) -> Digest {
        let mut hash = Sha256::new();
        part(&mut hash, &fleet.name);
        part(&mut hash, &self.namespace);
        hash.update(fleet.ignored.digest().0);
        Digest(hash.finalize().into())
    }

    fn caches(&self) -> std::sync::MutexGuard<'_, Caches> {
        // A panic elsewhere leaves the caches whole: an entry is put in one step.
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A layer, and all that it includes.
struct ReadLayer<'a> {
    layer: &'a Layer,
    files: Arc<LayerFiles>,
    included: Included,
}

/// The rendering of one cluster at one revision.
struct Run<'a> {
    renderer: &'a Renderer,
    source: &'a dyn Source,
    fleet: &'a Fleet,
    user: User,
}

impl Run<'_> {
    /// Reads the layers. Only then is it known which components they stand on too.
    fn layers<'a>(&self, cluster: &'a Cluster) -> Vec<ReadLayer<'a>> {
        let read = |layer: &'a Layer| {
            let files = self.layer(layer, None);
            let included = Included::gather(&files, self.fleet, &|component, bundle| self.layer(component, bundle));
            ReadLayer { layer, files, included }
        };
        cluster.layers.iter().map(read).collect()
    }

    /// What the layers give together. Each step above the cluster's own folder is kept, since other clusters stand on it too.
    fn step(&self, layers: &[ReadLayer<'_>], way: &Way) -> Arc<Step> {
        let mut below = None;
        for (ReadLayer { layer, files, included }, (key, paths)) in layers.iter().zip(&way.0[1..]) {
            let make = || {
                let last = self.renderer.caches().last_steps.get(paths, self.user);
                self.renderer.loose.store(true, Ordering::Release);
                Arc::new(Step::new(below.as_ref(), files, included, last.as_deref()))
            };
            let step = match layer.level {
                Level::Cluster => make(),
                _ => self.once(|caches| &mut caches.steps, key, make),
            };
            self.renderer.caches().last_steps.put(*paths, Arc::clone(&step), self.user);
            below = Some(step);
        }
        below.unwrap_or_default()
    }

    /// Notes for all that a rendering stands on that this revision uses it. Otherwise what a rendering was made of would be forgotten
    /// while the rendering itself serves, and the next change would have to read all of it again.
    fn keep(&self, way: &Way) {
        let caches = &mut *self.renderer.caches();
        for (key, paths) in &way.0 {
            caches.steps.touch(key, self.user);
            caches.last_steps.touch(paths, self.user);
        }
        caches.last_renderings.touch(&way.paths(), self.user);
    }

    fn layer(&self, layer: &Layer, bundle: Option<&Arc<str>>) -> Arc<LayerFiles> {
        let key = (layer.path.clone(), layer.tree, self.fleet.ignored.digest(), bundle.cloned());
        self.take_over(&key);
        self.once(|caches| &mut caches.layers, &key, || Arc::new(layer::read(self.source, &self.fleet.ignored, layer, bundle, self)))
    }

    /// A layer that this revision has from another has its files from there too.
    fn take_over(&self, key: &LayerKey) {
        let caches = &mut *self.renderer.caches();
        let known = caches.layers.touch(key, self.user);
        for file in known.as_ref().and_then(|cell| cell.get()).into_iter().flat_map(|files| &files.files) {
            caches.files.touch(file, self.user);
        }
    }

    /// What is kept under the key, or else what `make` gives, kept from now on.
    fn once<K: Hash + Eq + Clone, V>(
        &self,
        cache: impl Fn(&mut Caches) -> &mut Cache<K, Once<V>>,
        key: &K,
        make: impl FnOnce() -> Arc<V>,
    ) -> Arc<V> {
        let cell = cache(&mut self.renderer.caches()).get_or_put(key, self.user);
        Arc::clone(cell.get_or_init(make))
    }
}

impl Files for Run<'_> {
    fn file(&self, key: &FileKey, read: &dyn Fn() -> ReadFile) -> Arc<ReadFile> {
        self.once(
            |caches| &mut caches.files,
            key,
            || {
                self.renderer.loose.store(true, Ordering::Release);
                Arc::new(read())
            },
        )
    }
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Names of the steps of a stack, from the one before the first layer: each by all that was read for it, and by its layers' paths alone.
struct Way(Vec<(Digest, Digest)>);

impl Way {
    fn of(layers: &[ReadLayer<'_>], start: Digest) -> Self {
        let mut way = vec![(start, start)];
        let (mut key, mut paths) = (start, start);
        for ReadLayer { layer, included, .. } in layers {
            let mut hash = Sha256::new();
            hash.update(key.0);
            part(&mut hash, &layer.path);
            hash.update(layer.tree.0);
            hash.update([layer.level as u8]);
            for (path, tree) in included.trees() {
                part(&mut hash, path);
                hash.update(tree.0);
            }
            key = Digest(hash.finalize().into());
            let mut hash = Sha256::new();
            hash.update(paths.0);
            part(&mut hash, &layer.path);
            paths = Digest(hash.finalize().into());
            way.push((key, paths));
        }
        Self(way)
    }

    /// The last step's layers by their paths.
    fn paths(&self) -> Digest {
        self.0[self.0.len() - 1].1
    }

    /// Names all that a rendering on these terms reads.
    fn with(&self, terms: Digest) -> Digest {
        let mut hash = Sha256::new();
        hash.update(self.0[self.0.len() - 1].0.0);
        hash.update(terms.0);
        Digest(hash.finalize().into())
    }
}

/// Names all that a rendering depends on besides the layers.
fn terms(start: Digest, cluster: &Cluster, facts: &Facts) -> Digest {
    let mut hash = Sha256::new();
    hash.update(start.0);
    hash.update(facts.digest().0);
    for (label, value) in &cluster.labels {
        part(&mut hash, label);
        part(&mut hash, value);
    }
    Digest(hash.finalize().into())
}

/// Hashes a text so that no two sequences of texts look alike.
fn part(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

#[cfg(test)]
mod tests;
