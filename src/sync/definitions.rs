//! What other objects of the same sync need before they can be judged: namespaces, and kinds that are yet to be served.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use serde_json::Value;

use super::{
    Action, BundleOutcome, Journal,
    carry::{Carrier, Run, Stop, not_done},
    order::Stage,
    plan::{Plan, Why},
};
use crate::{
    cluster::{ApiError, Apis},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::ObjectId,
    render::{RenderedObject, Rendering},
};

/// How long a CustomResourceDefinition may take to become Established and served. The API server needs well under a
/// second; a conflict of names never ends.
const ESTABLISH: Duration = Duration::from_secs(30);

impl<J: Journal> Carrier<'_, J> {
    /// Waits until the definitions just written are served, and takes the new list of APIs.
    pub(super) async fn await_definitions(&self, runs: &mut BTreeMap<Arc<str>, Run<'_>>) -> Result<(), Stop> {
        let mut wanted = Vec::new();
        for (bundle, run) in runs.iter().filter(|(_, run)| run.outcome.is_none()) {
            for item in &run.items {
                if item.write.object.id.kind == "CustomResourceDefinition" && item.stage == Stage::Definitions {
                    wanted.push((bundle.clone(), item.write.object.id.clone()));
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        // A definition that was there before may serve other versions now.
        self.discover().await?;
        let deadline = tokio::time::Instant::now() + ESTABLISH;
        let mut pause = Duration::from_millis(50);
        loop {
            let mut missing = Vec::new();
            for (bundle, id) in wanted {
                if let Some(why) = self.not_established(&id).await.map_err(|error| self.stop_for(&error))? {
                    missing.push(((bundle, id), why));
                }
            }
            if missing.is_empty() || tokio::time::Instant::now() >= deadline {
                for ((bundle, id), why) in missing {
                    let error = Diagnostic::new(codes::NOT_ESTABLISHED, Place::Object(id.to_string()), why);
                    self.journal.object(self.sync, &bundle, not_done(&id, Action::Failed, &error));
                    if let Some(run) = runs.get_mut(&bundle) {
                        run.end(BundleOutcome::Failed(error));
                    }
                }
                return Ok(());
            }
            wanted = missing.into_iter().map(|(which, _)| which).collect();
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Stop::Interrupted),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
            }
            self.discover().await?;
        }
    }

    async fn discover(&self) -> Result<(), Stop> {
        let apis = self.connection.discover().await.map_err(|error| self.stop_for(&error))?;
        *self.apis.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(apis);
        Ok(())
    }

    /// What a definition still lacks: its condition, or its place in the server's list of APIs.
    async fn not_established(&self, id: &ObjectId) -> Result<Option<String>, ApiError> {
        let apis = self.apis();
        let Some(api) = apis.preferred(&id.group, &id.kind) else { return Ok(Some("the cluster serves no definitions".to_owned())) };
        let Some(definition) = self.connection.get(api, None, &id.name).await? else { return Ok(Some("it is gone".to_owned())) };
        let conditions = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let condition = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
        if let Some(refused) = condition("NamesAccepted").filter(|condition| condition["status"] == "False") {
            return Ok(Some(refused["message"].as_str().unwrap_or("its names are not accepted").to_owned()));
        }
        if condition("Established").is_none_or(|condition| condition["status"] != "True") {
            return Ok(Some("it is not Established".to_owned()));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (group, kind) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["kind"]));
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        let mut served = versions.filter(|version| version["served"] == true).map(|version| text(&version["name"]));
        let missing = served.find(|version| apis.find(&group, version, &kind).is_none());
        Ok(missing.map(|version| format!("the API server does not list {kind} in {group}/{version} yet")))
    }
}

/// The group and kind that a CustomResourceDefinition defines.
fn defined_kind(definition: &RenderedObject) -> Option<(String, String)> {
    let definition: serde_json::Value = serde_json::from_slice(definition.body.as_slice()).ok()?;
    let spec = &definition["spec"];
    Some((spec["group"].as_str()?.to_owned(), spec["names"]["kind"].as_str()?.to_owned()))
}

/// Whether a definition in the rendering defines the kind of that object, in the version that it has.
pub(super) fn brings_kind(rendering: &Rendering, object: &RenderedObject) -> bool {
    let of_group = |name: &str| name.strip_suffix(object.id.group.as_str()).is_some_and(|name| name.ends_with('.'));
    let definitions = rendering.objects.iter().filter(|it| it.id.is("apiextensions.k8s.io", "CustomResourceDefinition"));
    definitions.filter(|it| of_group(&it.id.name)).any(|definition| {
        let spec = &serde_json::from_slice::<Value>(definition.body.as_slice()).unwrap_or_default()["spec"];
        let mut versions = spec["versions"].as_array().into_iter().flatten();
        spec["names"]["kind"] == *object.id.kind && versions.any(|version| version["name"] == *object.version && version["served"] == true)
    })
}

/// Whether the rendering has the namespace of that object.
pub(super) fn brings_namespace(rendering: &Rendering, object: &RenderedObject) -> bool {
    let is_it = |id: &ObjectId| id.is("", "Namespace") && Some(&id.name) == object.id.namespace.as_ref();
    rendering.objects.iter().any(|it| is_it(&it.id))
}

/// What this sync brings along that other objects of it need before they can be judged.
pub(super) struct Coming<'p> {
    namespaces: BTreeSet<&'p str>,
    kinds: BTreeSet<(String, String)>,
}

impl<'p> Coming<'p> {
    pub(super) fn of(plan: &'p Plan) -> Self {
        let mut coming = Self { namespaces: BTreeSet::new(), kinds: BTreeSet::new() };
        for write in plan.writes.values().flatten() {
            let object = &write.object;
            if write.why != Why::New && object.id.is("", "Namespace") {
                // It is there: what is in it can be judged.
            } else if object.id.is("", "Namespace") {
                coming.namespaces.insert(&object.id.name);
            } else if object.id.is("apiextensions.k8s.io", "CustomResourceDefinition") {
                coming.kinds.extend(defined_kind(object));
            }
        }
        coming
    }

    /// The same where it is known which of these objects are there; of others than namespaces and definitions nothing is made.
    pub(super) fn with(objects: impl IntoIterator<Item = (&'p RenderedObject, bool)>) -> Self {
        let mut coming = Self { namespaces: BTreeSet::new(), kinds: BTreeSet::new() };
        for (object, absent) in objects {
            if object.id.is("", "Namespace") && absent {
                coming.namespaces.insert(&object.id.name);
            } else if !object.id.is("", "Namespace") {
                coming.kinds.extend(defined_kind(object));
            }
        }
        coming
    }

    /// Whether others may have to wait for that object.
    pub(super) fn is_awaited(object: &RenderedObject) -> bool {
        object.id.is("", "Namespace") || object.id.is("apiextensions.k8s.io", "CustomResourceDefinition")
    }

    /// Whether the definition of that object's kind is among them: what it is refused for may be what comes.
    pub(super) fn defines(&self, object: &RenderedObject) -> bool {
        self.kinds.contains(&(object.id.group.clone(), object.id.kind.clone()))
    }

    pub(super) fn must_wait(&self, object: &RenderedObject, apis: &Apis) -> bool {
        let id = &object.id;
        id.namespace.as_deref().is_some_and(|namespace| self.namespaces.contains(namespace))
            || (self.defines(object) && apis.find(&id.group, &object.version, &id.kind).is_none())
    }
}
