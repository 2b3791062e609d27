//! One layer's folder, read: its manifests, patches, bundle settings and overlays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::{HashMap, HashMapExt as _};
use kube_overlay::{LabelSelector, Rename, Scope, Table};
use serde_json::Value;

use super::{
    RenderedObject,
    depend::Dependencies,
    overlay::{self, LayerOverlay},
    tree::Content,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{BlobId, Node as GitNode, Source, TreeId},
    layout::{BUNDLE, HealthRules, Ignored, Layer, Level, Own, is_label, span},
    manifest::{self, Drift, ObjectId, Origin},
};

/// How deep folders may lie in a layer.
const DEPTH_MAX: usize = 32;
/// The bundle of what stands in no bundle's folder.
pub(super) const DEFAULT_BUNDLE: &str = "default";

/// An object on its way through the layers, or a patch of one. Shared by every cluster that it reaches unchanged.
pub(super) struct Piece {
    pub(super) id: ObjectId,
    /// The identity that it had before an overlay moved it to a namespace: deeper layers may go on using that one.
    pub(super) written: Option<Box<ObjectId>>,
    pub(super) value: Content,
    pub(super) origin: Origin,
    pub(super) bundle: Arc<str>,
    /// Whether it stands in the layer's root folder, from where any bundle may be patched.
    pub(super) in_root: bool,
    /// The JSON pointer of a `$patch` or the like.
    pub(super) directive: Option<String>,
    /// How it comes to its name in a cluster.
    pub(super) naming: Naming,
    /// The object as it is in the end, where others have these new names.
    pub(super) finished: OnceLock<(Vec<Rename>, Arc<Piece>)>,
    /// What is sent for it by the members of a set, which this names; made once.
    pub(super) sealed: OnceLock<(Arc<str>, Arc<RenderedObject>)>,
}

/// How an object comes to the name that it has in a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Naming {
    /// It is the one in its manifest.
    Written,
    /// It is the one that its generator has.
    Generated,
    /// Its generator's, with a suffix for its content.
    Hashed,
}

/// A layer's folder, or a component's.
#[derive(Default)]
pub(super) struct LayerFiles {
    pub(super) level: Level,
    /// Objects to add, or to lay over those of the layers above; by path, then as they stand in the file.
    pub(super) manifests: Vec<Arc<Piece>>,
    /// What `*.patch.yaml` files hold.
    pub(super) patches: Vec<Arc<Piece>>,
    /// The files of both.
    pub(super) files: Vec<FileKey>,
    /// All other files, which bundles' settings and overlays are read from.
    pub(super) others: Vec<(String, BlobId)>,
    /// Every bundle's folder, with its bundle.yaml where it has one.
    pub(super) bundles: Arc<BTreeMap<Arc<str>, Option<BundleFile>>>,
    /// The bundles' overlays, then the root's.
    pub(super) overlays: Arc<Vec<LayerOverlay>>,
    pub(super) problems: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

/// A bundle.yaml.
pub(super) struct BundleFile {
    pub(super) path: Arc<str>,
    pub(super) paused: bool,
    pub(super) drift: Option<Drift>,
    pub(super) targets: Option<LabelSelector>,
    pub(super) targets_place: Place,
    pub(super) depends_on: Dependencies,
    pub(super) deadline: Option<Duration>,
    pub(super) health: HealthRules,
}

/// A file of manifests, read; kept by its path and content.
pub(super) struct ReadFile {
    pub(super) pieces: Vec<Arc<Piece>>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// A file, by its path and content, and the bundle that it belongs to: a component's file may be of several.
pub(super) type FileKey = (Arc<str>, BlobId, Option<Arc<str>>);

/// Reads files of manifests, from a cache where they were read before.
pub(super) trait Files: Sync {
    /// That file, read with this function unless it is at hand.
    fn file(&self, key: &FileKey, read: &dyn Fn() -> ReadFile) -> Arc<ReadFile>;
}

struct Found {
    path: String,
    name: String,
    blob: BlobId,
    /// None for the layer's root folder.
    bundle: Option<Arc<str>>,
    /// How many folders below the layer's root.
    depth: usize,
}

/// Reads a layer's folder, or a component's, which a bundle may include as a part of itself. Never fails: mistakes are part of what is
/// read.
pub(super) fn read(source: &dyn Source, ignored: &Ignored, layer: &Layer, bundle: Option<&Arc<str>>, files: &dyn Files) -> LayerFiles {
    let read = LayerFiles { level: layer.level, ..LayerFiles::default() };
    let mut reader = LayerReader { source, ignored, layer, found: Vec::new(), bundles: BTreeMap::new(), overlays: Vec::new(), read };
    // As if the bundle's folder held it.
    reader.folder(&layer.path, layer.tree, bundle, usize::from(bundle.is_some()));
    reader.files(files);
    LayerFiles { bundles: Arc::new(reader.bundles), overlays: Arc::new(reader.overlays), ..reader.read }
}

struct LayerReader<'a> {
    source: &'a dyn Source,
    ignored: &'a Ignored,
    layer: &'a Layer,
    found: Vec<Found>,
    bundles: BTreeMap<Arc<str>, Option<BundleFile>>,
    overlays: Vec<LayerOverlay>,
    read: LayerFiles,
}

impl LayerReader<'_> {
    fn refuse(&mut self, code: codes::Code, path: &str, message: impl Into<String>) {
        self.read.problems.push(Diagnostic::new(code, Place::file(path), message));
    }

    fn folder(&mut self, path: &str, tree: TreeId, bundle: Option<&Arc<str>>, depth: usize) {
        if depth > DEPTH_MAX {
            return self.refuse(codes::STRAY_FILE, path, format!("folders lie more than {DEPTH_MAX} deep"));
        }
        let folder = match self.source.folder(tree) {
            Ok(folder) => folder,
            Err(error) => return self.refuse(codes::GIT_BROKEN, path, error.to_string()),
        };
        for entry in &folder.entries {
            let below = format!("{path}/{}", entry.name);
            let is_folder = matches!(entry.node, GitNode::Folder(_));
            // A hidden file is no manifest, but a generator may name it, such as `.env`.
            let hidden = entry.name.starts_with('.') && !matches!(entry.node, GitNode::File(_));
            if hidden || self.ignored.leaves_out(&below, is_folder) {
                continue;
            }
            match entry.node {
                GitNode::Folder(tree) => match bundle {
                    Some(bundle) => self.folder(&below, tree, Some(bundle), depth + 1),
                    None => self.bundle_folder(&entry.name, &below, tree),
                },
                GitNode::File(blob) => {
                    self.found.push(Found { path: below, name: entry.name.clone(), blob, bundle: bundle.cloned(), depth });
                }
                GitNode::Link => self.refuse(codes::STRAY_FILE, &below, "a symbolic link, which is never followed"),
                GitNode::Submodule => self.refuse(codes::STRAY_FILE, &below, "a submodule, which is never followed"),
            }
        }
    }

    fn bundle_folder(&mut self, name: &str, path: &str, tree: TreeId) {
        if self.layer.level == Level::Cluster && name == "base" {
            return; // the layout has refused it
        }
        if !is_label(name) {
            self.refuse(codes::STRAY_FILE, path, format!("`{name}` cannot name a bundle: it must be a label's value"));
        }
        let bundle: Arc<str> = name.into();
        self.bundles.insert(Arc::clone(&bundle), None);
        self.folder(path, tree, Some(&bundle), 1);
    }

    fn text(&mut self, path: &str, blob: BlobId) -> Option<String> {
        match read_text(self.source, path, blob) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.read.problems.push(problem);
                None
            }
        }
    }

    fn files(&mut self, files: &dyn Files) {
        let found = std::mem::take(&mut self.found);
        let blobs: HashMap<&str, BlobId> = found.iter().map(|file| (file.path.as_str(), file.blob)).collect();
        let mut named = BTreeSet::new();
        for file in &found {
            match file.name.as_str() {
                "overlay.yaml" => self.overlay(file, &blobs, &mut named),
                "bundle.yaml" => self.bundle(file),
                "kustomization.yaml" | "kustomization.yml" | "Kustomization" => {
                    let message = "folders with a kustomization are not built yet";
                    self.refuse(codes::NOT_BUILT_YET, &file.path, message);
                }
                _ => {}
            }
        }
        // The root's overlay comes last, over what the bundles' gave.
        self.overlays.sort_by(|a, b| (a.bundle.is_none(), &a.bundle).cmp(&(b.bundle.is_none(), &b.bundle)));
        let is_own = |file: &Found| {
            matches!(file.name.as_str(), "overlay.yaml" | "bundle.yaml" | "kustomization.yaml" | "kustomization.yml")
                || (self.layer.level == Level::Cluster && file.depth == 0 && file.name == "cluster.yaml")
        };
        let is_manifest = |file: &&Found| {
            !is_own(file) && !named.contains(&file.path) && !file.name.starts_with('.') && manifest::is_manifest(&file.name)
        };
        let (manifests, others): (Vec<&Found>, Vec<&Found>) = found.iter().partition(is_manifest);
        self.read.others = others.into_iter().map(|file| (file.path.clone(), file.blob)).collect();
        let source = self.source;
        let key = |file: &Found| -> FileKey { (file.path.as_str().into(), file.blob, file.bundle.clone()) };
        let read = |file: &Found| files.file(&key(file), &|| read_file(source, file));
        // Most of the time that a first rendering takes goes into this.
        on_two_threads(&manifests, |file| drop(read(file)));
        for file in manifests {
            self.read.files.push(key(file));
            let read = read(file);
            self.read.problems.extend(read.problems.iter().cloned());
            self.read.warnings.extend(read.warnings.iter().cloned());
            let is_patch = file.name.rsplit('.').nth(1) == Some("patch");
            let list = if is_patch { &mut self.read.patches } else { &mut self.read.manifests };
            list.extend(read.pieces.iter().cloned());
        }
        self.refuse_doubles();
    }

    fn bundle(&mut self, file: &Found) {
        let Some(bundle) = file.bundle.as_ref().filter(|_| file.depth == 1) else {
            let message = "bundle.yaml belongs in a bundle's folder, the first one under a layer";
            return self.refuse(codes::STRAY_FILE, &file.path, message);
        };
        let Some(text) = self.text(&file.path, file.blob) else { return };
        let own = Own::read(&file.path, &text, &BUNDLE, Some(bundle), &mut self.read.problems);
        let mut targets = None;
        if let Some(selector) = own.field::<String>("targets") {
            match selector.parse::<LabelSelector>() {
                Ok(selector) => targets = Some(selector),
                Err(error) => own.refuse(codes::OWN_KIND, "/spec/targets", error.to_string(), &mut self.read.problems),
            }
        }
        let needed = own.field::<Vec<String>>("dependsOn").unwrap_or_default().into_iter().enumerate();
        let settings = BundleFile {
            path: file.path.as_str().into(),
            paused: own.paused(),
            drift: own.drift(),
            targets,
            targets_place: own.place("/spec/targets"),
            depends_on: needed.map(|(at, name)| (name.into(), own.place(&format!("/spec/dependsOn/{at}")))).collect(),
            deadline: own.field::<String>("deadline").and_then(|text| span(&text)),
            health: HealthRules::read(&own, &mut self.read.problems),
        };
        self.bundles.insert(Arc::clone(bundle), Some(settings));
    }

    fn overlay(&mut self, file: &Found, blobs: &HashMap<&str, BlobId>, named: &mut BTreeSet<String>) {
        let Some(text) = self.text(&file.path, file.blob) else { return };
        let source = self.source;
        let load = |path: &str| blobs.get(path).map(|blob| read_bytes(source, path, *blob));
        if file.depth > 1 {
            let message = "overlay.yaml belongs in the layer's root or in a bundle's folder, the first one under it";
            self.refuse(codes::STRAY_FILE, &file.path, message);
        } else {
            match LayerOverlay::read(&file.path, &text, file.bundle.clone(), &load, named) {
                Ok(overlay) => return self.overlays.push(overlay),
                Err(problems) => self.read.problems.extend(problems),
            }
        }
        // Of a file that a refused overlay names, nobody knows what it is: as a manifest it would have mistakes that are none.
        named.extend(overlay::mentioned(&file.path, &text).into_iter().filter(|path| blobs.contains_key(path.as_str())));
    }

    /// The same identity twice in one layer: which of the two is meant cannot be told.
    fn refuse_doubles(&mut self) {
        let mut first: HashMap<&ObjectId, &Origin> = HashMap::with_capacity(self.read.manifests.len());
        for piece in &self.read.manifests {
            if let Some(origin) = first.get(&piece.id) {
                let message = format!("{} stands at {} already", piece.id, origin.place());
                self.read.problems.push(Diagnostic::new(codes::DUPLICATE_OBJECT, piece.origin.place(), message));
            } else {
                first.insert(&piece.id, &piece.origin);
            }
        }
    }
}

/// Fewest items for which a second thread pays.
pub(super) const HALVES_MIN: usize = 64;

/// How many items a thread takes at a time: enough that taking them costs nothing beside the work.
const TAKEN: usize = 8;

/// Does something with each of many items, on two threads; nothing with few. What it does is found done where it is needed.
pub(super) fn on_two_threads<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    if items.len() < HALVES_MIN {
        return;
    }
    // Not a half for each: the other processor may have other things to do.
    let next = AtomicUsize::new(0);
    let take = || {
        while let Some(some) = items.chunks(TAKEN).nth(next.fetch_add(1, Ordering::Relaxed)) {
            some.iter().for_each(&work);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(take);
        take();
    });
}

fn read_text(source: &dyn Source, path: &str, blob: BlobId) -> Result<String, Diagnostic> {
    manifest::text(path, read_bytes(source, path, blob)?)
}

fn read_bytes(source: &dyn Source, path: &str, blob: BlobId) -> Result<Vec<u8>, Diagnostic> {
    source.blob(blob).map_err(|error| Diagnostic::new(codes::GIT_BROKEN, Place::file(path), error.to_string()))
}

fn read_file(source: &dyn Source, file: &Found) -> ReadFile {
    let text = match read_text(source, &file.path, file.blob) {
        Ok(text) => text,
        Err(problem) => return ReadFile { pieces: Vec::new(), problems: vec![problem], warnings: Vec::new() },
    };
    let manifest::Manifests { manifests, problems, mut warnings } = manifest::read(&file.path, &text);
    let bundle = file.bundle.clone().unwrap_or_else(|| DEFAULT_BUNDLE.into());
    let pieces = manifests.into_iter().map(|mut manifest| {
        drop_namespace(&mut manifest, &mut warnings);
        Arc::new(Piece {
            id: manifest.id,
            written: None,
            value: manifest.value.into(),
            origin: manifest.origin,
            bundle: Arc::clone(&bundle),
            in_root: file.bundle.is_none(),
            directive: manifest.directive,
            naming: Naming::Written,
            finished: OnceLock::new(),
            sealed: OnceLock::new(),
        })
    });
    ReadFile { pieces: pieces.collect(), problems, warnings }
}

/// A cluster-scoped object has no namespace, whatever is written; kubectl drops it too, without a word.
fn drop_namespace(manifest: &mut manifest::Manifest, warnings: &mut Vec<Diagnostic>) {
    if Table::bundled().scope(&manifest.id.group, &manifest.id.kind) != Some(Scope::Cluster) || manifest.id.namespace.is_none() {
        return;
    }
    manifest.id.namespace = None;
    if let Some(metadata) = manifest.value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    let message = format!("{} is cluster-scoped; its namespace is left out", manifest.id.kind);
    warnings.push(Diagnostic::new(codes::DOUBTFUL, manifest.origin.place(), message));
}
