//! The last step: what the layers gave becomes what is sent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    BundleSettings, Facts, GivenUp, RENDERER_VERSION, RenderedObject, Rendering, given_up,
    layer::{Piece, on_two_threads},
    names, part,
    stack::Stack,
    step::Step,
};
use crate::{
    codes,
    diagnostic::Diagnostic,
    layout::sort_problems,
    manifest::{self, ApplySet, Body, Digest, DigestKey, Policy},
};

/// The bodies in use by the digest of their object, so that equal ones are one allocation wherever they came from.
#[derive(Default)]
pub(super) struct Bodies(Mutex<Known>);

#[derive(Default)]
struct Known {
    bodies: HashMap<Digest, Weak<[u8]>>,
    /// How many entries there may be before those out of use are looked for.
    sweep_at: usize,
}

impl Bodies {
    fn share(&self, digest: Digest, body: Body) -> Body {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.bodies.get(&digest).and_then(Weak::upgrade).map(Body::from_shared);
        if let Some(same) = same.filter(|same| *same == body) {
            return same;
        }
        if known.bodies.len() >= known.sweep_at {
            known.bodies.retain(|_, body| body.strong_count() > 0);
            known.sweep_at = (known.bodies.len() * 2).max(1024);
        }
        known.bodies.insert(digest, body.downgrade());
        body
    }
}

/// What a cluster was to run at the commit before, and what that was made of.
pub(super) struct Last {
    pub(super) step: Arc<Step>,
    /// All else that it depends on.
    pub(super) terms: Digest,
    pub(super) rendering: Arc<Rendering>,
}

/// What finishing an object takes besides the object.
pub(super) struct Seal<'a> {
    pub(super) set: &'a ApplySet,
    pub(super) key: &'a DigestKey,
    pub(super) bodies: &'a Bodies,
    pub(super) facts: &'a Facts,
}

impl Seal<'_> {
    /// The rendering of a cluster with these labels, or all that is wrong with it.
    pub(super) fn finish(&self, stack: &Stack, labels: &BTreeMap<String, String>) -> Result<Rendering, Vec<Diagnostic>> {
        let mut problems = stack.problems.clone();
        let mut warnings = stack.warnings.clone();
        let set_id: Arc<str> = self.set.id().into();
        let mut pieces = Vec::with_capacity(stack.pieces.len());
        for piece in stack.pieces.iter().filter(|piece| targeted(stack, piece, labels)) {
            match self.placed(piece, stack, &mut warnings) {
                Ok(piece) => pieces.push(piece),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(stack.wrong_dependencies());
        let (pieces, ambiguous) = names::finish(pieces, &stack.table);
        problems.extend(ambiguous);
        let unsealed: Vec<&Arc<Piece>> = pieces.iter().filter(|piece| piece.sealed.get().is_none()).collect();
        on_two_threads(&unsealed, |piece| drop(self.object(piece, &set_id)));
        let mut objects: Vec<_> = pieces.iter().map(|piece| self.object(piece, &set_id)).collect();
        // Dropping a namespace can make two identities one.
        objects.sort_by(|a, b| a.id.cmp(&b.id));
        for pair in objects.windows(2).filter(|pair| pair[0].id == pair[1].id) {
            let message = format!("{} stands at {} already", pair[1].id, pair[0].origin.place());
            problems.push(Diagnostic::new(codes::DUPLICATE_OBJECT, pair[1].origin.place(), message));
        }
        if !problems.is_empty() {
            sort_problems(&mut problems);
            return Err(problems);
        }
        sort_problems(&mut warnings);
        let names: BTreeSet<&Arc<str>> = objects.iter().map(|object| &object.bundle).collect();
        let settings = |name: &Arc<str>| {
            let bundle = stack.bundles.get(name).cloned().unwrap_or_default();
            let depends_on = stack.dependencies(name, &names);
            BundleSettings { paused: bundle.paused, depends_on, deadline: bundle.deadline, health: bundle.health, drift: bundle.drift }
        };
        let bundles = names.iter().copied().map(|name| (name.to_string(), settings(name))).collect();
        let mut idle = stack.always_idle();
        idle.extend(stack.untargeted(labels));
        idle.extend(given_up::idle(&objects));
        sort_problems(&mut idle);
        let empty = stack.empty_bundles();
        let set = Some(self.set.clone());
        Ok(Rendering { digest: digest(&set_id, &objects, &bundles), objects, bundles, set, warnings, idle, empty })
    }

    /// The rendering of a step that changes the content of objects of the last one, on the same terms; none where more is another.
    pub(super) fn follow(&self, last: &Last, step: &Step) -> Option<Rendering> {
        if step.is_named || last.step.is_named {
            return None;
        }
        let set_id: Arc<str> = self.set.id().into();
        let mut rendering = Rendering::clone(&last.rendering);
        for at in last.step.stack.changed_content(&step.stack)? {
            let mut warnings = Vec::new();
            let piece = self.placed(&step.stack.pieces[at], &step.stack, &mut warnings).ok()?;
            if !warnings.is_empty() {
                return None;
            }
            // A bundle that is not for this cluster has no objects here.
            let Ok(at) = rendering.objects.binary_search_by(|object| object.id.cmp(&piece.id)) else { continue };
            let object = self.object(&piece, &set_id);
            if object.given_up.is_some() || rendering.objects[at].given_up.is_some() {
                // What it gives up in vain is told.
                return None;
            }
            rendering.objects[at] = object;
        }
        rendering.digest = digest(&set_id, &rendering.objects, &rendering.bundles);
        Some(rendering)
    }

    /// The object where the cluster keeps it: in a namespace or beside them, and not in Evenkeel's own place.
    fn placed(&self, piece: &Arc<Piece>, stack: &Stack, warnings: &mut Vec<Diagnostic>) -> Result<Arc<Piece>, Diagnostic> {
        let refuse = |code, message: String| Err(Diagnostic::new(code, piece.origin.place(), message));
        let parent = |namespace: &str| piece.id.is("", "ConfigMap") && piece.id.name == self.set.name && namespace == self.set.namespace;
        match (self.facts.namespaced(&piece.id, &stack.table), &piece.id.namespace) {
            (_, Some(namespace)) if parent(namespace) => {
                refuse(codes::PROTECTED_IDENTITY, format!("{} is where Evenkeel keeps what it knows of the cluster", piece.id))
            }
            (Some(true), None) => refuse(codes::NO_NAMESPACE, format!("{} has no namespace", piece.id)),
            (Some(false), Some(_)) => {
                let message = format!("{} is cluster-scoped; its namespace is left out", piece.id.kind);
                warnings.push(Diagnostic::new(codes::DOUBTFUL, piece.origin.place(), message));
                let mut value = piece.value.copy();
                if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("namespace");
                }
                let mut placed = piece.changed(value);
                placed.id.namespace = None;
                Ok(Arc::new(placed))
            }
            _ => Ok(Arc::clone(piece)),
        }
    }

    /// What is sent for an object. Made once for every cluster that it reaches unchanged.
    fn object(&self, piece: &Piece, set_id: &Arc<str>) -> Arc<RenderedObject> {
        let (set, object) = piece.sealed.get_or_init(|| (Arc::clone(set_id), Arc::new(self.make(piece, set_id))));
        // Only a change of the fleet's name makes another set.
        if set == set_id { Arc::clone(object) } else { Arc::new(self.make(piece, set_id)) }
    }

    fn make(&self, piece: &Piece, set_id: &str) -> RenderedObject {
        let value = piece.value.tree();
        let kept = given_up::kept(&value);
        let (digest, body) = manifest::seal(kept.as_ref().map_or(&value, |(value, _)| value), &piece.id, set_id, self.key);
        let given_up = kept.map(|(_, pointers)| {
            let whole = manifest::seal_whole(&value, &piece.id, set_id, digest);
            Arc::new(GivenUp { pointers, whole })
        });
        let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        RenderedObject {
            mark: mark(&piece.id.to_string(), &piece.bundle, digest),
            id: piece.id.clone(),
            version: api_version.rsplit('/').next().unwrap_or_default().to_owned(),
            bundle: Arc::clone(&piece.bundle),
            digest,
            body: self.bodies.share(digest, body),
            policy: Policy::read(&value).0,
            origin: piece.origin.clone(),
            given_up,
        }
    }
}

fn targeted(stack: &Stack, piece: &Piece, labels: &BTreeMap<String, String>) -> bool {
    let targets = stack.bundles.get(&piece.bundle).and_then(|bundle| bundle.targets.as_ref());
    targets.is_none_or(|targets| targets.matches(labels))
}

fn mark(id: &str, bundle: &str, digest: Digest) -> Digest {
    let mut hash = Sha256::new();
    part(&mut hash, id);
    part(&mut hash, bundle);
    hash.update(digest.0);
    Digest(hash.finalize().into())
}

/// Over all that makes one rendering differ from another on a cluster.
fn digest(set_id: &str, objects: &[Arc<RenderedObject>], bundles: &BTreeMap<String, BundleSettings>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(RENDERER_VERSION.to_le_bytes());
    part(&mut hash, set_id);
    for object in objects {
        hash.update(object.mark.0);
    }
    for (name, settings) in bundles {
        part(&mut hash, name);
        let deadline = settings.deadline.map_or(0, |deadline| deadline.as_secs());
        let given = [settings.paused.is_some(), !settings.depends_on.is_empty(), deadline > 0];
        let bits = given.iter().rev().fold(0, |bits, given| (bits << 1) | u8::from(*given));
        // How drift is met changes no object, and is taken up by a sync all the same.
        let drift = settings.drift.map_or(0, |drift| 1 + drift as u8);
        hash.update([bits | drift << given.len()]);
        if given[1] {
            hash.update((settings.depends_on.len() as u64).to_le_bytes());
            settings.depends_on.iter().for_each(|needed| part(&mut hash, needed));
        }
        if given[2] {
            hash.update(deadline.to_le_bytes());
        }
    }
    Digest(hash.finalize().into())
}
