//! A cluster as its API server shows it, and everything around it that can go wrong. It judges what agents do to it by rules of
//! its own ([`super::rules`]), not by those that the agents decide by.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::rules::{Rules, Writer};
use crate::{
    cluster::{ApiError, ErrorKind, Manager, Meta, Operation},
    manifest::{ApplySet, DIGEST_ANNOTATION, Digest, ID_ANNOTATION, ObjectId, PART_OF, Prune},
    render::RenderedObject,
    sync::{PRUNE_ANNOTATION, parent::Parent, plan::Why},
};

pub(super) const MANAGER: &str = "evenkeel-shop";

/// Random numbers by SplitMix64, which no update of a library changes: a seed means the same history for ever.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below that number.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    /// True that often in a hundred.
    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// From 0 to 1.
    pub(super) fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// An object as the server has it.
#[expect(clippy::struct_excessive_bools, reason = "each is a thing of its own")]
#[derive(Clone)]
pub(super) struct Object {
    pub(super) uid: u64,
    version: u64,
    /// It carries our label and its own identity.
    pub(super) ours: bool,
    /// What it says was applied.
    pub(super) digest: Option<Digest>,
    /// What it really says, as the digest of the rendered object that says so, or of anything else.
    pub(super) content: Digest,
    /// Our entry in its managedFields.
    pub(super) fields: Option<Digest>,
    pub(super) prune: Option<Prune>,
    /// The bundle it was last applied from.
    pub(super) bundle: Arc<str>,
    /// It stood here before the fleet took it.
    pub(super) was_there: bool,
    /// Which agent, in which of its lives, took it for an object of ours that had stood in its place a moment ago.
    pub(super) mistaken_by: Option<(usize, usize)>,
    /// A finalizer keeps it when it is deleted.
    pub(super) finalizer: bool,
    deleting: bool,
}

/// Our entry in the managedFields of an object that is as we left it: fields, not values.
pub(super) fn own_fields(id: &ObjectId) -> Digest {
    Digest::of(id.name.as_bytes())
}

/// How an agent's way to the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    Fine,
    /// Nothing gets through.
    Dark,
    /// The server answers nothing but 500.
    Sick,
    /// The server answers nothing about the parent but 500, as when its webhook is down.
    Partly,
    /// Some requests get lost, some answers, some are turned away.
    Flaky,
}

/// Something that a watch tells.
pub(super) struct Change {
    pub(super) id: ObjectId,
    /// None where it is gone, or does not carry our label any more.
    pub(super) seen: Option<Meta>,
}

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) dice: Dice,
    pub(super) objects: BTreeMap<ObjectId, Object>,
    pub(super) parent: Parent,
    /// The uid of kube-system.
    pub(super) uid: String,
    /// Objects that a policy of the server refuses.
    pub(super) refused: BTreeSet<ObjectId>,
    /// Of each agent.
    pub(super) weather: Vec<Weather>,
    /// All that watches told since the beginning.
    pub(super) changes: Vec<Change>,
    pub(super) set: ApplySet,
    set_id: String,
    version: u64,
    pub(super) rules: Rules,
    /// What happened, if someone wants to read it.
    pub(super) trace: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(seed: u64, agents: usize, traced: bool) -> Self {
        let set = ApplySet::new("shop", "evenkeel-system");
        Self {
            now: Duration::ZERO,
            dice: Dice::new(seed),
            objects: BTreeMap::new(),
            parent: Parent::default(),
            uid: "cluster 1".to_owned(),
            refused: BTreeSet::new(),
            weather: vec![Weather::Fine; agents],
            changes: Vec::new(),
            set_id: set.id(),
            set,
            version: 1,
            rules: Rules::new(agents),
            trace: traced.then(Vec::new),
        }
    }

    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.3} s  {}", self.now.as_secs_f64(), line()));
        }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// The metadata of an object.
    pub(super) fn meta(&self, id: &ObjectId) -> Option<Meta> {
        self.objects.get(id).map(|object| self.meta_of(id, object))
    }

    fn meta_of(&self, id: &ObjectId, object: &Object) -> Meta {
        let labels = object.ours.then(|| (PART_OF.to_owned(), self.set_id.clone()));
        let mut annotations = BTreeMap::new();
        if let Some(digest) = object.digest {
            annotations.insert(DIGEST_ANNOTATION.to_owned(), digest.to_string());
            annotations.insert(ID_ANNOTATION.to_owned(), id.to_string());
        }
        if let Some(prune) = object.prune {
            let word = if prune == Prune::Never { "never" } else { "allow" };
            annotations.insert(PRUNE_ANNOTATION.to_owned(), word.to_owned());
        }
        let ours = |fields| Manager {
            name: MANAGER.to_owned(),
            operation: Operation::Apply,
            api_version: "v1".to_owned(),
            subresource: String::new(),
            fields,
        };
        Meta {
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            uid: object.uid.to_string(),
            resource_version: object.version.to_string(),
            generation: None,
            labels: labels.into_iter().collect(),
            annotations,
            finalizers: Vec::new(),
            deleting: object.deleting,
            managers: object.fields.map(ours).into_iter().collect(),
        }
    }

    /// Someone changes an object, or makes it, or has it gone (none), and watches tell.
    pub(super) fn put(&mut self, id: &ObjectId, object: Option<Object>) {
        let version = self.next_version();
        let seen = object.as_ref().filter(|object| object.ours).map(|object| {
            let object = Object { version, ..object.clone() };
            self.meta_of(id, &object)
        });
        match object {
            Some(object) => drop(self.objects.insert(id.clone(), Object { version, ..object })),
            None => drop(self.objects.remove(id)),
        }
        self.changes.push(Change { id: id.clone(), seen });
    }

    /// Changes a live object, if it is there.
    pub(super) fn change(&mut self, id: &ObjectId, change: impl FnOnce(&mut Object)) {
        if let Some(mut object) = self.objects.get(id).cloned() {
            change(&mut object);
            self.put(id, Some(object));
        }
    }

    /// An object of someone else.
    pub(super) fn foreign(&mut self, id: &ObjectId) -> Object {
        let uid = self.next_version();
        Object {
            uid,
            version: uid,
            ours: false,
            digest: None,
            content: Digest::of(format!("foreign {id}").as_bytes()),
            fields: None,
            prune: None,
            bundle: "none".into(),
            was_there: true,
            mistaken_by: None,
            finalizer: false,
            deleting: false,
        }
    }

    /// Server-side apply of a rendered object; true where it was created.
    pub(super) fn apply(&mut self, writer: &Writer<'_>, object: &RenderedObject, force: bool, dry: bool) -> Result<(bool, Meta), ApiError> {
        let id = &object.id;
        if self.refused.contains(id) {
            return Err(ApiError::new(ErrorKind::Refused, "policy"));
        }
        if let Some(namespace) = id.namespace.as_deref().filter(|_| !dry)
            && !self.objects.keys().any(|id| id.kind == "Namespace" && id.name == namespace)
        {
            return Err(ApiError::new(ErrorKind::NotFound, format!("namespace {namespace} not found")));
        }
        let there = self.objects.get(id).cloned();
        if let Some(there) = there.as_ref().filter(|there| !force && there.fields.is_none() && there.content != object.digest) {
            return Err(ApiError::new(ErrorKind::Conflict(Vec::new()), format!("owned by another, {}", there.uid)));
        }
        let created = there.is_none();
        if !dry {
            Rules::applies(self, writer, object, there.as_ref());
            let mistaken = there.as_ref().filter(|there| there.digest.is_none() && there.was_there && writer.why != Some(Why::New));
            let mistaken_by = mistaken.map(|_| (writer.agent, self.rules.life(writer.agent)));
            let base = there.unwrap_or_else(|| Object { was_there: false, ..self.foreign(id) });
            let applied = Object {
                ours: true,
                digest: Some(object.digest),
                content: object.digest,
                fields: Some(own_fields(id)),
                prune: object.policy.prune,
                bundle: object.bundle.clone(),
                mistaken_by: mistaken_by.or(base.mistaken_by),
                ..base
            };
            self.put(id, Some(applied));
        }
        let meta = self.meta(id).unwrap_or_else(|| {
            let new = self.foreign(id);
            self.meta_of(id, &new)
        });
        Ok((created, meta))
    }

    /// Deletes exactly that object, as it was seen.
    pub(super) fn delete(&mut self, writer: &Writer<'_>, id: &ObjectId, uid: &str, version: &str) -> Result<(), ApiError> {
        let Some(there) = self.objects.get(id).cloned() else { return Ok(()) };
        if there.uid.to_string() != uid || there.version.to_string() != version {
            return Err(ApiError::new(ErrorKind::PreconditionFailed, "precondition failed"));
        }
        Rules::deletes(self, writer, id, &there);
        self.put(id, there.finalizer.then_some(Object { deleting: true, ..there }));
        Ok(())
    }

    /// Finalizers are done.
    pub(super) fn finalize(&mut self) {
        let ids: Vec<ObjectId> = self.objects.iter().filter(|(_, object)| object.finalizer).map(|(id, _)| id.clone()).collect();
        for id in ids {
            let gone = self.objects[&id].deleting;
            if gone {
                self.put(&id, None);
            } else {
                self.change(&id, |object| object.finalizer = false);
            }
        }
    }

    /// Writes the parent as it was read and changed.
    pub(super) fn write_parent(&mut self, parent: &Parent) -> Result<Parent, ApiError> {
        if parent.resource_version != self.parent.resource_version {
            return Err(ApiError::new(ErrorKind::PreconditionFailed, "the parent changed"));
        }
        let version = self.next_version().to_string();
        let uid = self.parent.uid.clone().or_else(|| Some(version.clone()));
        self.rules.parent_writes += 1;
        self.parent = Parent { resource_version: Some(version), uid, ..parent.clone() };
        Ok(self.parent.clone())
    }

    /// Someone removes the parent.
    pub(super) fn remove_parent(&mut self) {
        self.parent = Parent::default();
        // What one agent took over, another knows from the parent alone.
        if self.weather.len() > 1 {
            self.objects.values_mut().for_each(|object| object.was_there = false);
        }
        self.rules.tampered = Some(self.now);
    }
}
