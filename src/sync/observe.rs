//! What of the fleet stands on a cluster: one list of metadata per kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::FutureExt as _;

use super::{
    Live,
    abreast::abreast,
    hooks::RUN_ANNOTATION,
    member::{Inventory, Known, Member},
    parent::Parent,
};
use crate::{
    cluster::{Api, ApiError, Apis, Connection, ErrorKind, Meta, Watch},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{ApplySet, DIGEST_ANNOTATION, Digest, GroupKind, ID_ANNOTATION, ObjectId, PART_OF},
    render::Rendering,
};

/// What the ledger remembers of an applied object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Which.
    pub id: ObjectId,
    /// From which bundle.
    pub bundle: String,
    /// As it was after our last apply.
    pub live: Live,
    /// It stood on the cluster before the fleet took it.
    pub adopted: bool,
}

/// Lists that run side by side. Each is one request, unless the server does not stream and a kind has more than a page of members;
/// eight pages of 500 objects are some 5 MB of metadata at a time.
const LISTS: usize = 8;

/// Where the watch of a kind goes on.
pub(super) struct Onward {
    pub(super) version: String,
    /// The watch that the list came with, where it did. It has to be read or dropped soon: what it is sent and nobody reads holds up
    /// the other watches on its connection.
    pub(super) watch: Option<Watch<Meta>>,
}

/// What the lists gave.
pub(super) struct Observed {
    pub(super) inventory: Inventory,
    /// Where a watch of each kind goes on.
    pub(super) from: BTreeMap<GroupKind, Onward>,
    /// Kinds that cannot be looked at, and why: of these the record says what there is.
    pub(super) unseen: Unseen,
}

/// Kinds that members have, and that the server does not serve just now or does not let us list.
pub(super) type Unseen = BTreeMap<GroupKind, Diagnostic>;

/// Lists the members of every kind that the parent or the rendering names. A list that fails fails the whole: half an
/// inventory would read as deletions. One that is forbidden leaves the rest of the cluster to be looked after.
pub(super) async fn observe<'a>(
    connection: &Connection,
    apis: &'a Apis,
    set: &ApplySet,
    manager: &str,
    parent: &Parent,
    rendering: &Rendering,
    recorded: Vec<Recorded>,
) -> Result<Observed, ApiError> {
    let kinds: BTreeSet<GroupKind> =
        parent.kinds.iter().cloned().chain(rendering.objects.iter().map(|object| object.id.group_kind())).collect();
    let selector = format!("{PART_OF}={}", set.id());
    let served: Vec<&'a Api> = kinds.iter().filter_map(|kind| apis.preferred(&kind.group, &kind.kind)).collect();
    let list = |api: &'a Api| {
        let (connection, selector) = (connection.clone(), selector.clone());
        async move { (api, connection.list_and_watch(api, &selector).await) }.boxed()
    };
    let lists = abreast(served, LISTS, &list).await;
    let mut recorded: BTreeMap<ObjectId, Recorded> = recorded.into_iter().map(|record| (record.id.clone(), record)).collect();
    let mut members: Vec<(ObjectId, Box<Member>)> = Vec::new();
    let mut from = BTreeMap::new();
    let mut unseen = not_served(apis, parent);
    for (api, list) in lists {
        let (listed, watch) = match list {
            Ok(listed) => listed,
            // Its definition went between discovery and the list, and its objects with it.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NoSuchKind) => continue,
            Err(error) if *error.kind() == ErrorKind::Forbidden => {
                unseen.insert(GroupKind::new(&*api.group, &*api.kind), error.diagnostic(Place::Nowhere));
                continue;
            }
            Err(error) => return Err(error),
        };
        from.insert(GroupKind::new(&*api.group, &*api.kind), Onward { version: listed.resource_version, watch });
        for meta in listed.objects {
            let id = meta.id(api);
            // Controllers copy labels (a Service's to its EndpointSlices): only what carries its own identity is ours.
            if meta.annotations.get(ID_ANNOTATION) == Some(&id.to_string()) {
                let record = recorded.remove(&id);
                let adopted = parent.adopted.contains(&id.to_string());
                let (id, known) = shared(rendering, id, member(meta, manager, record, adopted));
                members.push((id, known.into()));
            }
        }
    }
    for record in recorded.into_values().filter(|record| unseen.contains_key(&record.id.group_kind())) {
        let (id, known) = shared(rendering, record.id.clone(), as_recorded(record));
        members.push((id, known.into()));
    }
    // All at once, which leaves no room in the tree: a second cluster of the same objects costs little more than this.
    Ok(Observed { inventory: members.into_iter().collect(), from, unseen })
}

fn not_served(apis: &Apis, parent: &Parent) -> Unseen {
    let is_unseen = |kind: &&GroupKind| apis.preferred(&kind.group, &kind.kind).is_none() && apis.is_unavailable(&kind.group, None);
    let why = |kind: &GroupKind| {
        let message = format!("the cluster serves no {kind} just now, and the fleet has objects of it");
        Diagnostic::new(codes::NO_KIND, Place::Nowhere, message)
    };
    parent.kinds.iter().filter(is_unseen).map(|kind| (kind.clone(), why(kind))).collect()
}

/// The same with the rendering's own copies of what it has too: they are the same for all clusters.
fn shared(rendering: &Rendering, id: ObjectId, mut known: Known) -> (ObjectId, Known) {
    let Some(object) = rendering.object(&id) else { return (id, known) };
    if known.bundle.as_ref() == Some(&object.bundle) {
        known.bundle = Some(object.bundle.clone());
    }
    (object.id.clone(), known)
}

/// A member that cannot be looked at, as it was left.
fn as_recorded(record: Recorded) -> Known {
    Known {
        uid: record.live.uid.clone(),
        digest: Some(record.live.digest),
        fields: Some(record.live.fields),
        bundle: Some(record.bundle.into()),
        adopted: record.adopted,
        recorded: Some(record.live),
        labelled: true,
        ..Known::default()
    }
}

pub(super) fn member(meta: Meta, manager: &str, record: Option<Recorded>, adopted: bool) -> Known {
    let record = record.filter(|record| record.live.uid == meta.uid);
    let adopted = adopted || record.as_ref().is_some_and(|record| record.adopted);
    let (bundle, live) = record.map(|record| (record.bundle.into(), record.live)).unzip();
    member_as(meta, manager, bundle, live, adopted)
}

/// A member as its metadata says, with what is known of it besides.
pub(super) fn member_as(meta: Meta, manager: &str, bundle: Option<Arc<str>>, recorded: Option<Live>, adopted: bool) -> Known {
    Known {
        digest: meta.annotations.get(DIGEST_ANNOTATION).and_then(|text| text.parse::<Digest>().ok()),
        fields: meta.fields(manager),
        bundle,
        adopted,
        recorded,
        prune: meta.annotations.get(super::PRUNE_ANNOTATION).cloned(),
        run: meta.annotations.get(RUN_ANNOTATION).and_then(|text| text.parse().ok()),
        deleting: meta.deleting,
        labelled: meta.labels.contains_key(PART_OF),
        superseded: meta.is_superseded(),
        uid: meta.uid,
        resource_version: meta.resource_version,
    }
}
