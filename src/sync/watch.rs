//! What the cluster tells by itself: one metadata watch per kind that has members, and one of the parent.
//!
//! Events are gathered by object, the newest wins, so that a burst costs no more than the objects it touches. Whoever waits
//! takes all of them at once. What cannot be watched is left to the periodic comparison.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
};
use tracing::{Instrument as _, debug, warn};

use super::{
    breaker::SOON,
    observe::Onward,
    parent::{Parent, config_maps},
};
use crate::{
    cluster::{Api, ApiError, Apis, Connection, ErrorKind, Meta, Scope, Watch, WatchEvent},
    manifest::{ApplySet, GroupKind, ObjectId, PART_OF},
};

/// With more objects than this waiting to be looked at, one list per kind is cheaper: twenty pages. It is also what bounds this
/// queue, at some 10 MB of metadata.
const PENDING_MAX: usize = 10_000;

/// What happened since it was last taken.
#[derive(Default)]
pub(super) struct Pending {
    /// Members as they are now; none for one that is deleted or has lost its label.
    pub(super) objects: BTreeMap<ObjectId, Option<Meta>>,
    /// The parent, if it changed.
    pub(super) parent: Option<Parent>,
    /// Events were missed: list anew.
    pub(super) anew: bool,
    /// The cluster does not answer any more.
    pub(super) lost: Option<ApiError>,
}

/// Where the watches put what they see.
#[derive(Default)]
pub(super) struct Changes {
    pending: Mutex<Pending>,
    news: Notify,
}

impl Changes {
    fn put(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pending);
        if pending.objects.len() > PENDING_MAX {
            pending.objects.clear();
            pending.anew = true;
        }
        self.news.notify_one();
    }

    /// Waits until there is something, and takes it.
    pub(super) async fn next(&self) -> Pending {
        loop {
            let pending = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if pending.anew || pending.lost.is_some() || pending.parent.is_some() || !pending.objects.is_empty() {
                return pending;
            }
            self.news.notified().await;
        }
    }
}

/// The watches of one connection; dropped with it.
pub(super) struct Watches {
    changes: Arc<Changes>,
    tasks: JoinSet<()>,
    kinds: BTreeMap<GroupKind, AbortHandle>,
    parent: Option<AbortHandle>,
}

impl Watches {
    pub(super) fn new() -> Self {
        Self { changes: Arc::default(), tasks: JoinSet::new(), kinds: BTreeMap::new(), parent: None }
    }

    pub(super) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    /// Whether a change of hands is seen as it happens.
    pub(super) fn see_parent(&self) -> bool {
        self.parent.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Watches the parent from how it was read on.
    pub(super) fn watch_parent(&mut self, connection: &Connection, set: &ApplySet, parent: &Parent) {
        let Some(from) = parent.resource_version.clone().filter(|_| !self.see_parent()) else { return };
        let (connection, set, changes) = (connection.clone(), set.clone(), self.changes());
        self.parent = Some(self.tasks.spawn(watch_parent(connection, set, from, changes).in_current_span()));
    }

    /// Watches the members of exactly these kinds, each from the list on that was read of it.
    pub(super) fn watch_members(
        &mut self,
        connection: &Connection,
        apis: &Apis,
        set: &ApplySet,
        kinds: &BTreeSet<GroupKind>,
        mut from: BTreeMap<GroupKind, Onward>,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.kinds.retain(|kind, task| {
            let stays = kinds.contains(kind) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for kind in kinds {
            let Some(api) = apis.preferred(&kind.group, &kind.kind).filter(|_| !self.kinds.contains_key(kind)) else { continue };
            let watcher = Watcher {
                connection: connection.clone(),
                api: api.clone(),
                selector: format!("{PART_OF}={}", set.id()),
                changes: self.changes(),
            };
            let task = self.tasks.spawn(watcher.run(from.remove(kind)).in_current_span());
            self.kinds.insert(kind.clone(), task);
        }
    }
}

/// The watch of one kind.
struct Watcher {
    connection: Connection,
    api: Api,
    selector: String,
    changes: Arc<Changes>,
}

/// What ends a watch for good.
enum End {
    /// The cluster does not answer.
    Lost(ApiError),
    /// What happened since is not known any more.
    Missed,
    /// It is not to be had: no right, or no such kind any more.
    Never(ApiError),
}

impl Watcher {
    async fn run(self, from: Option<Onward>) {
        let from = match from {
            Some(from) => Ok(from),
            None => self.list().await,
        };
        let end = match from {
            Ok(from) => self.follow(from).await,
            Err(end) => end,
        };
        match end {
            End::Lost(error) => self.changes.put(|pending| pending.lost = Some(error)),
            End::Missed => self.changes.put(|pending| pending.anew = true),
            End::Never(error) => {
                warn!(kind = %self.api.kind, code = error.code().id, "cannot be watched; drift of it is found by comparing: {error}");
            }
        }
    }

    /// What is there of a kind that came with this very sync.
    async fn list(&self) -> Result<Onward, End> {
        let (listed, watch) = self.connection.list_and_watch(&self.api, &self.selector).await.map_err(end)?;
        for meta in listed.objects {
            self.see(meta, Some);
        }
        Ok(Onward { version: listed.resource_version, watch })
    }

    async fn follow(&self, onward: Onward) -> End {
        let Onward { version: mut from, watch: mut streaming } = onward;
        let mut failures = 0;
        let mut began = false;
        loop {
            let scope = Scope { api: &self.api, namespace: None, selector: ("labelSelector", &self.selector) };
            // One that goes on from a list is there already.
            let watched = match streaming.take() {
                Some(watch) => Ok(watch),
                None => self.connection.watch::<Meta>(scope, &from).await,
            };
            if !began && matches!(&watched, Err(error) if *error.kind() == ErrorKind::Expired) {
                // The list that it goes on from was just made. To list again at once would be no use, and without end.
                pause(failures).await;
            }
            began = true;
            match watched {
                Ok(watch) => match self.read(watch, &mut from).await {
                    Ok(()) => failures = 0,
                    // A connection that broke off may be begun again at once; only if that fails the cluster is gone.
                    Err(error) if error.is_unreachable() => debug!(kind = %self.api.kind, "a watch broke off: {error}"),
                    Err(error) => match end(error) {
                        End::Lost(_) => {}
                        other => return other,
                    },
                },
                Err(error) if error.retryable() && !error.is_unreachable() && *error.kind() != ErrorKind::Expired => {
                    failures = pause(failures).await;
                }
                Err(error) => return end(error),
            }
        }
    }

    async fn read(&self, mut watch: Watch<Meta>, from: &mut String) -> Result<(), ApiError> {
        while let Some(event) = watch.next().await? {
            match event {
                WatchEvent::Put(meta) => {
                    from.clone_from(&meta.resource_version);
                    self.see(meta, Some);
                }
                WatchEvent::Gone(meta) => {
                    from.clone_from(&meta.resource_version);
                    self.see(meta, |_| None);
                }
                WatchEvent::Bookmark(version) | WatchEvent::Complete(version) => *from = version,
            }
        }
        Ok(())
    }

    fn see(&self, meta: Meta, seen: impl FnOnce(Meta) -> Option<Meta>) {
        let id = meta.id(&self.api);
        self.changes.put(|pending| drop(pending.objects.insert(id, seen(meta))));
    }
}

fn end(error: ApiError) -> End {
    match error.kind() {
        ErrorKind::Expired => End::Missed,
        _ if error.is_unreachable() => End::Lost(error),
        _ => End::Never(error),
    }
}

/// Waits as long as after one more failure, and counts it.
async fn pause(failures: u32) -> u32 {
    let failures = failures.saturating_add(1);
    tokio::time::sleep(SOON.pause(failures, rand::random())).await;
    failures
}

/// Watches one ConfigMap.
async fn watch_parent(connection: Connection, set: ApplySet, mut from: String, changes: Arc<Changes>) {
    let selector = format!("metadata.name={}", set.name);
    let api = config_maps();
    let mut failures = 0;
    loop {
        let scope = Scope { api: &api, namespace: Some(&set.namespace), selector: ("fieldSelector", &selector) };
        let ended = match connection.watch::<Value>(scope, &from).await {
            Ok(watch) => read_parent(watch, &mut from, &changes).await,
            Err(error) if error.is_unreachable() => return changes.put(|pending| pending.lost = Some(error)),
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {}
            Err(error) if error.is_unreachable() => debug!("the watch of the parent broke off: {error}"),
            // From any point on will do: what is there then is asked for when it is begun again.
            Err(error) if *error.kind() == ErrorKind::Expired && from != "0" => {
                "0".clone_into(&mut from);
            }
            Err(error) if error.retryable() => failures = pause(failures).await,
            Err(error) => return debug!("the parent cannot be watched; it is looked at: {error}"),
        }
    }
}

async fn read_parent(mut watch: Watch<Value>, from: &mut String, changes: &Changes) -> Result<(), ApiError> {
    while let Some(event) = watch.next().await? {
        let parent = match event {
            WatchEvent::Put(config_map) => Parent::read(&config_map),
            WatchEvent::Gone(config_map) => Parent { resource_version: Parent::read(&config_map).resource_version, ..Parent::default() },
            WatchEvent::Bookmark(version) | WatchEvent::Complete(version) => {
                *from = version;
                continue;
            }
        };
        if let Some(version) = &parent.resource_version {
            from.clone_from(version);
        }
        changes.put(|pending| pending.parent = Some(parent));
    }
    Ok(())
}
