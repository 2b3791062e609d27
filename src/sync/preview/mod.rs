//! What a sync would do, as the API server itself says: objects are read and dry-run, and nothing is written.
//!
//! A sync compares digests and asks only about what differs. Here every object that is asked for is asked about, whatever is on record,
//! so that the answer also holds for a cluster that was never synced. How an object may be written is decided as in `admit`.

mod fields;
mod judge;
pub(super) mod owner;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt as _;
use serde_json::Value;

pub use self::fields::{FieldOrigin, LiveField, live_fields};
pub use self::judge::{Drifted, Previewed, Standing, Tried, content};
use self::judge::{kept_whole, other_fleet};
use super::{
    abreast::abreast_within,
    admit::owned_by_others,
    approval::Asked,
    contact::set_by_others,
    definitions::{Coming, brings_kind, brings_namespace},
    handover::{self, Step},
    hooks::not_ours,
    member::Inventory,
    observe::{Recorded, observe},
    others,
    parent::ParentStore,
    plan::plan,
    prune::{Verdict, Where, judge},
    recreate,
    target::Desired,
};
use crate::{
    cluster::{Api, ApiError, Apis, Apply, Connection, ErrorKind},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Body, ObjectId},
    render::{RenderedObject, Rendering},
};

/// Objects that are asked about side by side: two requests each, and syncs of the cluster go on meanwhile.
const TRIES: usize = 8;

/// Asks one cluster about objects.
#[derive(Debug, Clone, Copy)]
pub struct Preview<'a> {
    /// The connection; nothing is written over it.
    pub connection: &'a Connection,
    /// What the cluster serves.
    pub apis: &'a Apis,
    /// What is wanted of the cluster.
    pub desired: &'a Desired,
}

/// What becomes of the objects that are not in a rendering.
#[derive(Debug)]
pub struct Leaving {
    /// All objects of the fleet on the cluster.
    pub inventory: Inventory,
    /// Which of them go, are held or stay.
    pub verdict: Verdict,
}

impl Preview<'_> {
    /// Asks about each object and tells what `reduce` makes of it, in no order. Whole objects are let go of as soon as they are reduced.
    /// Of hooks the next run is asked about.
    pub async fn each<R: Send>(
        &self,
        objects: Vec<Arc<RenderedObject>>,
        reduce: &(dyn Fn(Previewed) -> R + Send + Sync),
    ) -> Result<Vec<R>, ApiError> {
        let (first, rest): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| Coming::is_awaited(object));
        let found =
            |previewed: Previewed| (previewed.object.clone(), (previewed.live.is_none(), previewed.changes_content()), reduce(previewed));
        let first = self.all(first, &found).await?;
        let coming = Coming::with(first.iter().map(|(object, (absent, _), _)| (&**object, *absent)));
        let changing = Coming::with(first.iter().filter(|(_, (_, changes), _)| *changes).map(|(object, ..)| (&**object, false)));
        let reduce = &|mut previewed: Previewed| {
            let is_refused = matches!(&previewed.tried, Tried::Refused(error) if error.code == codes::REFUSED);
            if is_refused && changing.defines(&previewed.object) {
                previewed.tried = Tried::Waits;
            }
            reduce(previewed)
        };
        let mut done = Vec::new();
        let (waiting, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|object| coming.must_wait(object, self.apis));
        done.extend(waiting.into_iter().map(|object| reduce(Previewed::new(object, None, Standing::Absent, Tried::Waits))));
        let rest = self.all(rest, reduce).await?;
        drop((coming, changing));
        done.extend(first.into_iter().map(|(.., reduced)| reduced).chain(rest));
        Ok(done)
    }

    /// An object as it stands; none where it does not.
    pub async fn live(&self, object: &RenderedObject) -> Result<Option<Value>, ApiError> {
        match self.apis.find(&object.id.group, &object.version, &object.id.kind) {
            Some(api) => self.connection.get(api, object.id.namespace.as_deref(), &object.id.name).await,
            None => Ok(None),
        }
    }

    /// What would become of objects that left that rendering.
    pub async fn leaving(
        &self,
        rendering: &Rendering,
        recorded: Vec<Recorded>,
        asked: &Asked,
        cluster_uid: &str,
    ) -> Result<Leaving, ApiError> {
        let Desired { set, manager, fleet, budget, drift, .. } = self.desired;
        let parent = ParentStore::new(self.connection, set).read().await?;
        let observed = observe(self.connection, self.apis, set, manager, &parent, rendering, recorded).boxed().await?;
        let plan = plan(rendering, &observed.inventory, &BTreeSet::new(), *drift);
        let place = Where { fleet, cluster_uid };
        let verdict = judge(&plan, rendering, &observed.inventory, budget, place, |deletion| asked.approves(deletion));
        Ok(Leaving { inventory: observed.inventory, verdict })
    }

    async fn all<R: Send>(
        &self,
        objects: Vec<Arc<RenderedObject>>,
        reduce: &(dyn Fn(Previewed) -> R + Send + Sync),
    ) -> Result<Vec<R>, ApiError> {
        let lost = AtomicBool::new(false);
        let ask = |object: Arc<RenderedObject>| {
            let (preview, lost) = (*self, &lost);
            async move {
                if lost.load(Ordering::Relaxed) {
                    return None;
                }
                let asked = preview.one(object).await;
                lost.fetch_or(asked.is_err(), Ordering::Relaxed);
                Some(asked.map(reduce))
            }
            .boxed()
        };
        let limit = || self.connection.in_flight().min(TRIES);
        abreast_within(objects, &limit, &ask).await.into_iter().flatten().collect()
    }

    /// Asks about one object. An error where the cluster is out of reach.
    async fn one(&self, object: Arc<RenderedObject>) -> Result<Previewed, ApiError> {
        let id = &object.id;
        let Some(api) = self.apis.find(&id.group, &object.version, &id.kind) else {
            if self.wanted().is_some_and(|rendering| brings_kind(rendering, &object)) {
                return Ok(Previewed::new(object, None, Standing::Absent, Tried::Waits));
            }
            let message = format!("the cluster does not serve {} in {}", id.kind, object.version);
            let refused = Tried::Refused(Diagnostic::new(codes::NO_KIND, Place::Object(id.to_string()), message));
            return Ok(Previewed::new(object, None, Standing::Absent, refused));
        };
        let live: Option<Value> = match self.connection.get(api, id.namespace.as_deref(), &id.name).await {
            Ok(live) => live,
            Err(error) => {
                let refused = refused(id, error)?;
                return Ok(Previewed::new(object, None, Standing::Absent, refused));
            }
        };
        let standing = Standing::of(id, live.as_ref(), &self.desired.set.id());
        let mut from = BTreeSet::new();
        let tried = match (&standing, live.as_ref()) {
            (Standing::OtherFleet, live) => other_fleet(id, live, &self.desired.manager),
            (Standing::Member, _) if object.policy.hook.is_some() => Tried::Runs,
            (Standing::Stranger { .. }, _) if object.policy.hook.is_some() => Tried::Refused(not_ours(&object)),
            (Standing::Member, live) => self.member(api, &object, live).await?,
            (Standing::Stranger { .. }, Some(live)) => self.stranger(api, &object, live, &mut from).await?,
            (Standing::Absent | Standing::Stranger { .. }, _) => self.absent(api, &object).await?,
        };
        let may_take = self.may_take(&object);
        let mut previewed = Previewed::new(object, live, standing, tried);
        match &previewed.standing {
            Standing::Stranger { .. } => previewed.take(&self.desired.manager, may_take, from),
            _ => previewed.look_closer(&self.desired.manager),
        }
        Ok(previewed)
    }

    fn may_take(&self, object: &RenderedObject) -> bool {
        self.desired.adopt || object.policy.adopt
    }

    /// What the cluster is to run.
    fn wanted(&self) -> Option<&Rendering> {
        self.desired.rendering.as_deref().ok()
    }

    /// The namespace may be missing although nothing that is asked about brings it: it came with a commit that the cluster has yet to run.
    async fn absent(&self, api: &Api, object: &RenderedObject) -> Result<Tried, ApiError> {
        let brings = || self.wanted().is_some_and(|rendering| brings_namespace(rendering, object));
        match self.try_apply(api, object, None, false).await? {
            Ok(tried) => Ok(tried),
            Err(error) if *error.kind() == ErrorKind::NotFound && brings() => Ok(Tried::Waits),
            Err(error) => refused(&object.id, error),
        }
    }

    async fn member(&self, api: &Api, object: &RenderedObject, live: Option<&Value>) -> Result<Tried, ApiError> {
        match self.try_apply(api, object, live, true).await? {
            Ok(tried) => Ok(tried),
            Err(error) if recreate::is_wanted(object, &error) => Ok(Tried::Anew),
            Err(error) => refused(&object.id, error),
        }
    }

    /// Without force first: the server names those who own fields of it. `from` is from whom it would take something.
    async fn stranger(&self, api: &Api, object: &RenderedObject, live: &Value, from: &mut BTreeSet<String>) -> Result<Tried, ApiError> {
        let (id, manager) = (&object.id, &*self.desired.manager);
        let error = match self.try_apply(api, object, Some(live), false).await? {
            Ok(Tried::Becomes(would)) => {
                let found = match set_by_others(self.connection, api, id, manager, (live, &would)).await {
                    Ok(found) => found,
                    Err(error) => return refused(id, error),
                };
                if found.is_empty() {
                    return Ok(Tried::Becomes(would));
                }
                if !self.may_take(object) {
                    return Ok(Tried::Refused(others::refusal(id, &found, live, manager)));
                }
                from.extend(others::who(&found, live, manager));
                return Ok(Tried::Becomes(would));
            }
            Ok(tried) => return Ok(tried),
            Err(error) => error,
        };
        let names = error.managers_in_conflict();
        if names.is_empty() {
            return refused(id, error);
        }
        if !self.may_take(object) {
            return Ok(Tried::Refused(owned_by_others(id, &error)));
        }
        from.extend(names.into_iter().map(str::to_owned));
        let tried = self.try_apply(api, object, Some(live), true).await?;
        tried.or_else(|error| refused(id, error))
    }

    /// The object as it would be; the server's refusal inside, and outside an error that says nothing of the object.
    async fn try_apply(
        &self,
        api: &Api,
        object: &RenderedObject,
        live: Option<&Value>,
        force: bool,
    ) -> Result<Result<Tried, ApiError>, ApiError> {
        let body = match (&object.given_up, live) {
            (None, _) => object.body.clone(),
            (Some(given_up), None) => given_up.whole.clone(),
            (Some(given_up), Some(live)) => match handover::step(live, &self.desired.manager, given_up) {
                Step::Nothing => object.body.clone(),
                Step::HandOver(handed) => {
                    let ours: Value = serde_json::from_slice(object.body.as_slice()).unwrap_or_default();
                    Body::of(&handover::merged(&ours, given_up, &handed))
                }
                Step::KeptWhole { pointer, whole } => return Ok(Ok(kept_whole(&object.id, &pointer, &whole))),
            },
        };
        let how = Apply { manager: &self.desired.manager, force, dry_run: true };
        let tried = self.connection.try_apply(api, object.id.namespace.as_deref(), &object.id.name, body.bytes(), how).await;
        match tried.map_err(|error| live.into_iter().fold(error, ApiError::without_values_of)) {
            Ok(would) => Ok(Ok(Tried::Becomes(would))),
            Err(error) if error.is_untriable() => Ok(Ok(Tried::Untried(error.message().to_owned()))),
            Err(error) if is_of_cluster(&error) => Err(error),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// Whether an error says something of the whole cluster. A webhook that does not answer delays one object.
fn is_of_cluster(error: &ApiError) -> bool {
    error.is_unreachable() && *error.kind() != ErrorKind::Timeout
}

fn refused(id: &ObjectId, error: ApiError) -> Result<Tried, ApiError> {
    if is_of_cluster(&error) { Err(error) } else { Ok(Tried::Refused(error.diagnostic(Place::Object(id.to_string())))) }
}
