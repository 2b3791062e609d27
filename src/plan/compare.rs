//! Two renderings of one cluster compared.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use super::{
    answer::{Change, Create, Delete, Fate, Move, Pause},
    fields::Fields,
};
use crate::{
    manifest::{Drift, ObjectId, Prune},
    render::{RenderedObject, Rendering},
    sync::{
        member::{Inventory, Known, Member},
        plan::plan,
        prune::{Budget, Where, judge},
    },
};

/// All that is different.
#[derive(Default)]
pub(super) struct Difference {
    pub(super) pauses: Vec<Pause>,
    pub(super) create: Vec<Create>,
    pub(super) change: Vec<Change>,
    pub(super) delete: Vec<Delete>,
    pub(super) moves: Vec<Move>,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        let Self { pauses, create, change, delete, moves } = self;
        pauses.is_empty() && create.is_empty() && change.is_empty() && delete.is_empty() && moves.is_empty()
    }
}

/// Compares. The budget is the one after the change: that is the one that counts then.
pub(super) fn compare(base: &Arc<Rendering>, head: &Arc<Rendering>, budget: &Budget, fields: &mut Fields) -> Difference {
    let mut difference = Difference::default();
    if Arc::ptr_eq(base, head) {
        return difference;
    }
    let mut gone = Vec::new();
    for pair in pairs(&base.objects, &head.objects) {
        match pair {
            (Some(from), Some(to)) => {
                if from.digest != to.digest {
                    let bundle = to.bundle.to_string();
                    let fields = fields.between(from, to, base, head);
                    difference.change.push(Change { id: to.id.clone(), bundle, paused: head.is_paused(&to.bundle), fields });
                }
                if from.bundle != to.bundle {
                    difference.moves.push(Move { id: to.id.clone(), from: from.bundle.to_string(), to: to.bundle.to_string() });
                }
            }
            (None, Some(to)) => difference.create.push(create(to, head)),
            (Some(from), None) => gone.push(from),
            (None, None) => {}
        }
    }
    difference.delete = deletions(&gone, base, head, budget);
    difference.pauses = pauses(base, head);
    difference
}

/// A new object of that rendering.
pub(super) fn create(object: &RenderedObject, rendering: &Rendering) -> Create {
    Create { id: object.id.clone(), bundle: object.bundle.to_string(), paused: rendering.is_paused(&object.bundle) }
}

type Side<'a> = Option<&'a Arc<RenderedObject>>;

/// Objects of the same identity side by side, of two lists that are sorted by it. Those that are one allocation are left out.
fn pairs<'a>(base: &'a [Arc<RenderedObject>], head: &'a [Arc<RenderedObject>]) -> Vec<(Side<'a>, Side<'a>)> {
    let mut pairs = Vec::new();
    let (mut base, mut head) = (base.iter().peekable(), head.iter().peekable());
    loop {
        let order = match (base.peek(), head.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(from), Some(to)) if Arc::ptr_eq(from, to) => {
                base.next();
                head.next();
                continue;
            }
            (Some(from), Some(to)) => from.id.cmp(&to.id),
        };
        pairs.push(match order {
            Ordering::Less => (base.next(), None),
            Ordering::Equal => (base.next(), head.next()),
            Ordering::Greater => (None, head.next()),
        });
    }
}

fn pauses(base: &Rendering, head: &Rendering) -> Vec<Pause> {
    let now = head.bundles.iter().map(|(name, settings)| (name, settings.paused.is_some()));
    let differ = now.filter(|(name, paused)| *paused != base.is_paused(name));
    differ.map(|(name, paused)| Pause { bundle: Some(name.clone()), paused }).collect()
}

/// What becomes of the objects that are gone, by the rules of a sync on a cluster that runs `base` to the letter. What only a cluster
/// knows (that an object was adopted, that its annotation was changed there) can hold or keep more of them.
fn deletions(gone: &[&Arc<RenderedObject>], base: &Rendering, head: &Rendering, budget: &Budget) -> Vec<Delete> {
    if gone.is_empty() {
        return Vec::new();
    }
    let inventory: Inventory = base.objects.iter().map(|object| (object.id.clone(), Box::new(member(object)))).collect();
    let planned = plan(head, &inventory, &std::collections::BTreeSet::new(), Drift::default());
    let verdict = judge(&planned, head, &inventory, budget, Where { fleet: "", cluster_uid: "" }, |_| false);
    let mut fates: HashMap<ObjectId, (Fate, String)> = HashMap::new();
    fates.extend(verdict.delete.into_iter().map(|deletion| (deletion.id, (Fate::Deleted, String::new()))));
    fates.extend(verdict.held.into_iter().map(|(deletion, reason)| (deletion.id, (Fate::Held, reason))));
    fates.extend(verdict.kept.into_iter().map(|(deletion, reason)| (deletion.id, (Fate::Kept, reason))));
    let delete = |object: &&Arc<RenderedObject>| {
        let waits = || (Fate::Paused, format!("the bundle {} is paused", object.bundle));
        let (fate, reason) = fates.remove(&object.id).unwrap_or_else(waits);
        Delete { id: object.id.clone(), bundle: object.bundle.to_string(), fate, reason }
    };
    gone.iter().map(delete).collect()
}

/// The object as it stands on a cluster after a sync.
fn member(object: &RenderedObject) -> Member {
    let prune = object.policy.prune.map(|prune| match prune {
        Prune::Never => "never".to_owned(),
        Prune::Allow => "allow".to_owned(),
    });
    let bundle = Some(object.bundle.clone());
    Known { digest: Some(object.digest), bundle, prune, labelled: true, ..Known::default() }.into()
}
