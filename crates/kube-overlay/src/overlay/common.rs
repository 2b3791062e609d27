//! `labels`, `commonAnnotations` and `replicas`. The field tables are Kustomize's defaults.

use super::{LabelField, Labels, OverlayError, Replica, Run, Slot};
use crate::fields::{self, FieldSpec};
use crate::identity;
use crate::merge::Merged;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

const fn spec(group: &'static str, version: &'static str, kind: &'static str, path: &'static str, create: bool) -> FieldSpec<'static> {
    FieldSpec { group, version, kind, path, create }
}

const METADATA_LABELS: &[FieldSpec<'static>] = &[spec("", "", "", "metadata/labels", true)];

const TEMPLATE_LABELS: &[FieldSpec<'static>] = &[
    spec("", "v1", "ReplicationController", "spec/template/metadata/labels", true),
    spec("", "", "Deployment", "spec/template/metadata/labels", true),
    spec("", "", "ReplicaSet", "spec/template/metadata/labels", true),
    spec("", "", "DaemonSet", "spec/template/metadata/labels", true),
    spec("apps", "", "StatefulSet", "spec/template/metadata/labels", true),
    spec("apps", "", "StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels", true),
    spec("batch", "", "Job", "spec/template/metadata/labels", true),
    spec("batch", "", "CronJob", "spec/jobTemplate/metadata/labels", true),
    spec("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/labels", true),
];

/// Selectors of other pods, which only two kinds have in Kustomize's table.
const POD_AFFINITY: [&str; 5] = [
    "spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
];

const fn affinity(kind: &'static str) -> [FieldSpec<'static>; 5] {
    [
        spec("apps", "", kind, POD_AFFINITY[0], false),
        spec("apps", "", kind, POD_AFFINITY[1], false),
        spec("apps", "", kind, POD_AFFINITY[2], false),
        spec("apps", "", kind, POD_AFFINITY[3], false),
        spec("apps", "", kind, POD_AFFINITY[4], false),
    ]
}

const DEPLOYMENT_AFFINITY: &[FieldSpec<'static>] = &affinity("Deployment");
const STATEFUL_SET_AFFINITY: &[FieldSpec<'static>] = &affinity("StatefulSet");

const SELECTORS: &[FieldSpec<'static>] = &[
    spec("", "v1", "Service", "spec/selector", true),
    spec("", "v1", "ReplicationController", "spec/selector", true),
    spec("", "", "Deployment", "spec/selector/matchLabels", true),
    spec("", "", "ReplicaSet", "spec/selector/matchLabels", true),
    spec("", "", "DaemonSet", "spec/selector/matchLabels", true),
    spec("apps", "", "StatefulSet", "spec/selector/matchLabels", true),
    spec("batch", "", "Job", "spec/selector/matchLabels", false),
    spec("batch", "", "CronJob", "spec/jobTemplate/spec/selector/matchLabels", false),
    spec("policy", "", "PodDisruptionBudget", "spec/selector/matchLabels", false),
    spec("networking.k8s.io", "", "NetworkPolicy", "spec/podSelector/matchLabels", false),
    spec("networking.k8s.io", "", "NetworkPolicy", "spec/ingress/from/podSelector/matchLabels", false),
    spec("networking.k8s.io", "", "NetworkPolicy", "spec/egress/to/podSelector/matchLabels", false),
];

const ANNOTATIONS: &[FieldSpec<'static>] = &[
    spec("", "", "", "metadata/annotations", true),
    spec("", "v1", "ReplicationController", "spec/template/metadata/annotations", true),
    spec("", "", "Deployment", "spec/template/metadata/annotations", true),
    spec("", "", "ReplicaSet", "spec/template/metadata/annotations", true),
    spec("", "", "DaemonSet", "spec/template/metadata/annotations", true),
    spec("", "", "StatefulSet", "spec/template/metadata/annotations", true),
    spec("batch", "", "Job", "spec/template/metadata/annotations", true),
    spec("batch", "", "CronJob", "spec/jobTemplate/metadata/annotations", true),
    spec("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/annotations", true),
];

const REPLICAS: &[FieldSpec<'static>] = &[
    spec("", "", "Deployment", "spec/replicas", true),
    spec("", "", "ReplicationController", "spec/replicas", true),
    spec("", "", "ReplicaSet", "spec/replicas", true),
    spec("", "", "StatefulSet", "spec/replicas", true),
];

pub(super) fn labels<S: Slot>(entries: &[Labels], run: &mut Run<'_, S>) -> Result<(), OverlayError> {
    for (nth, entry) in entries.iter().enumerate() {
        let name = format!("labels[{nth}]");
        let fields = entry.all_fields().map_err(|message| OverlayError::new(name.clone(), None, message))?;
        put_everywhere(&name, &entry.pairs, &fields, run)?;
    }
    Ok(())
}

impl Labels {
    /// Its own fields, then those of Kustomize's tables that they do not cover.
    fn all_fields(&self) -> Result<Vec<FieldSpec<'_>>, String> {
        let mut tables = vec![METADATA_LABELS];
        if self.include_selectors {
            tables.extend([SELECTORS, DEPLOYMENT_AFFINITY, STATEFUL_SET_AFFINITY]);
        }
        if self.include_selectors || self.include_templates {
            tables.push(TEMPLATE_LABELS);
        }
        let mut fields = self.fields.iter().map(LabelField::spec).collect::<Result<Vec<_>, _>>()?;
        for field in tables.into_iter().flatten() {
            match fields.iter().find(|known| known.covers(field)) {
                Some(known) if known.create != field.create => {
                    return Err(format!("fields: create must be {} for {}, as it is without the entry", field.create, field.path));
                }
                Some(_) => {}
                None => fields.push(*field),
            }
        }
        Ok(fields)
    }
}

impl LabelField {
    fn spec(&self) -> Result<FieldSpec<'_>, String> {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        if !fields::is_path(path) {
            return Err(format!("fields: `{}` is not a path such as spec/template/metadata/labels", self.path));
        }
        Ok(FieldSpec { group: &self.group, version: &self.version, kind: &self.kind, path, create: self.create })
    }
}

pub(super) fn annotations<S: Slot>(pairs: &BTreeMap<String, String>, run: &mut Run<'_, S>) -> Result<(), OverlayError> {
    put_everywhere("commonAnnotations", pairs, ANNOTATIONS, run)
}

fn put_everywhere<S: Slot>(
    entry: &str,
    pairs: &BTreeMap<String, String>,
    fields: &[FieldSpec<'_>],
    run: &mut Run<'_, S>,
) -> Result<(), OverlayError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let edits_before = run.edits;
    for at in run.positions() {
        let object = run.object(at);
        let specs = fields.iter().filter(|spec| spec.selects(object));
        let needed: Vec<&FieldSpec<'_>> = specs.filter(|spec| spec.any(object, &|map| fields::lacks(map, pairs.iter()))).collect();
        set(entry, at, &needed, run, &mut |map| fields::put(map, pairs.iter()))?;
    }
    run.note_idle(entry, edits_before);
    Ok(())
}

/// Sets the fields of one object. There is nothing to do without fields.
fn set<S: Slot>(
    entry: &str,
    at: usize,
    specs: &[&FieldSpec<'_>],
    run: &mut Run<'_, S>,
    change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), OverlayError> {
    if specs.is_empty() {
        return Ok(());
    }
    let described = identity::describe(run.object(at));
    run.edit(at, |object| {
        specs.iter().try_for_each(|spec| spec.each(object, change))?;
        Ok(Merged::Changed)
    })
    .map_err(|message| OverlayError { entry: entry.to_owned(), object: Some(described), message })
}

pub(super) fn replicas<S: Slot>(entries: &[Replica], run: &mut Run<'_, S>) -> Result<(), OverlayError> {
    // By name first, since there may be as many entries as objects.
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (nth, entry) in entries.iter().enumerate() {
        by_name.entry(&entry.name).or_default().push(nth);
    }
    let mut used = vec![false; entries.len()];
    let mut idle = vec![true; entries.len()];
    if entries.is_empty() {
        return Ok(());
    }
    for at in run.positions() {
        let Some(named) = by_name.get(identity::name(run.object(at))) else { continue };
        let Some(spec) = REPLICAS.iter().find(|spec| spec.selects(run.object(at))) else { continue };
        for nth in named {
            used[*nth] = true;
            let edits_before = run.edits;
            let count = Value::from(entries[*nth].count);
            let needed = spec.any(run.object(at), &|value| value != Some(&count)).then_some(spec);
            set(&format!("replicas[{nth}]"), at, needed.as_slice(), run, &mut |value| {
                *value = count.clone();
                Ok(())
            })?;
            idle[*nth] &= run.edits == edits_before;
        }
    }
    let unmatched = used.iter().enumerate().filter(|(_, used)| !**used);
    run.report.unmatched.extend(unmatched.map(|(nth, _)| format!("replicas[{nth}]")));
    let idle = idle.iter().zip(&used).enumerate().filter(|(_, (idle, used))| **idle && **used);
    run.report.idle.extend(idle.map(|(nth, _)| format!("replicas[{nth}]")));
    Ok(())
}
