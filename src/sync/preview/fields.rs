//! An object as it stands, field by field, beside what Git says of it.
//!
//! There is no model of the server's defaulting here: what Git does not say and no manager owns is what the server set, since it writes
//! down every other writer.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    judge::content,
    owner::{Owner, below, keys, of_item, owners},
};
use crate::{
    manifest::{MASK, is_plain_field_of_secret, may_copy_secret, pointer},
    render::RenderedObject,
};

/// A field that holds no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveField {
    /// A JSON pointer. What Git gives has the place that it has there; items of a list that only the cluster has come after Git's.
    pub path: String,
    /// As it stands; none where it is gone. Values of Secrets are masked.
    pub value: Option<Value>,
    /// How that came about.
    pub origin: FieldOrigin,
    /// Who wrote it last beside the fleet, where somebody did.
    pub manager: Option<String>,
    /// When, as the server writes it.
    pub time: Option<String>,
}

/// How a field comes to be what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FieldOrigin {
    /// It is what Git says, in the form in which the server keeps it.
    Git,
    /// Git says something else.
    Drifted,
    /// The object gives it up (`evenkeel.dev/ignore`): others set it.
    GivenUp,
    /// Git does not say it, and another manager set it.
    Other,
    /// Git does not say it and nobody set it: a default of the server.
    Default,
}

/// What stands there, by path. `manager` is the fleet's.
pub fn live_fields(object: &RenderedObject, live: &Value, manager: &str) -> Vec<LiveField> {
    let owners = owners(live, manager);
    let given_up = object.given_up.as_ref().map(|given_up| given_up.pointers.clone()).unwrap_or_default();
    let mut walk = Walk { given_up, fields: Vec::new() };
    walk.pair(Some(&object.whole()), Some(&content(live)), String::new(), &owners);
    let mut fields = walk.fields;
    if object.id.is("", "Secret") {
        fields.iter_mut().for_each(mask);
    }
    fields.sort_by(|a, b| a.path.cmp(&b.path));
    fields
}

/// Masks what may be secret in a field of a Secret.
fn mask(field: &mut LiveField) {
    let top = field.path.split('/').nth(1).unwrap_or_default();
    let is_copy = field.path.strip_prefix("/metadata/annotations/").is_some_and(|name| {
        let name = name.replace("~1", "/").replace("~0", "~");
        field.value.as_ref().is_some_and(|value| may_copy_secret(&name, value))
    });
    if is_copy || !is_plain_field_of_secret(top) {
        field.value = field.value.as_ref().map(|_| MASK.into());
    }
}

/// Whoever wrote last of them, the fleet apart.
fn last<'a>(owners: &[Owner<'a>]) -> Option<&'a Value> {
    owners.iter().filter(|owner| !owner.is_fleet).map(|owner| owner.entry).max_by_key(|entry| entry["time"].as_str())
}

struct Walk {
    given_up: Vec<String>,
    fields: Vec<LiveField>,
}

impl Walk {
    fn pair(&mut self, wanted: Option<&Value>, live: Option<&Value>, at: String, owners: &[Owner<'_>]) {
        match (wanted, live) {
            (Some(Value::Object(wanted)), Some(Value::Object(live))) => {
                let names: BTreeSet<&String> = wanted.keys().chain(live.keys()).collect();
                for name in names {
                    self.pair(wanted.get(name), live.get(name), pointer(&at, name), &below(owners, &format!("f:{name}")));
                }
            }
            (Some(Value::Array(wanted)), Some(Value::Array(live))) => self.lists(wanted, live, &at, owners),
            (None | Some(Value::Null), Some(Value::Object(live))) if !live.is_empty() => {
                for (name, live) in live {
                    self.pair(None, Some(live), pointer(&at, name), &below(owners, &format!("f:{name}")));
                }
            }
            (None | Some(Value::Null), Some(Value::Array(live))) if !live.is_empty() => self.lists(&[], live, &at, owners),
            (wanted, live) => self.leaf(wanted, live, at, owners),
        }
    }

    /// Items are matched by the keys that the server names them by; without keys, a list is one value.
    fn lists(&mut self, wanted: &[Value], live: &[Value], at: &str, owners: &[Owner<'_>]) {
        let keys = keys(owners);
        if keys.is_empty() {
            let same = wanted == live;
            if same || wanted.is_empty() {
                for (number, item) in live.iter().enumerate() {
                    self.pair(same.then_some(item), Some(item), format!("{at}/{number}"), owners);
                }
            } else {
                self.leaf(Some(&wanted.into()), Some(&live.into()), at.to_owned(), owners);
            }
            return;
        }
        let mut left: Vec<&Value> = live.iter().collect();
        for (number, item) in wanted.iter().enumerate() {
            // What has a default may be left out in Git.
            let is_it = |other: &&Value| keys.iter().all(|key| item.get(key).is_none_or(|value| other.get(key) == Some(value)));
            let found = left.iter().position(is_it).map(|place| left.remove(place));
            let below = of_item(owners, found.unwrap_or(item));
            self.pair(Some(item), found, format!("{at}/{number}"), &below);
        }
        for (number, item) in left.into_iter().enumerate() {
            self.pair(None, Some(item), format!("{at}/{}", wanted.len() + number), &of_item(owners, item));
        }
    }

    fn leaf(&mut self, wanted: Option<&Value>, live: Option<&Value>, at: String, owners: &[Owner<'_>]) {
        let other = last(owners);
        let is_nothing = |value: Option<&Value>| match value {
            None | Some(Value::Null) => true,
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        let is_given_up =
            self.given_up.iter().any(|pointer| at.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        let origin = match (wanted, live) {
            (wanted, None) if is_nothing(wanted) => return,
            _ if is_given_up => FieldOrigin::GivenUp,
            (Some(wanted), Some(live)) if wanted == live => FieldOrigin::Git,
            // The server writes some values in another form than Git (quantities): those are nobody's else.
            (Some(wanted), Some(_)) if other.is_none() && !wanted.is_null() => FieldOrigin::Git,
            (Some(wanted), _) if !wanted.is_null() => FieldOrigin::Drifted,
            _ if other.is_some() => FieldOrigin::Other,
            _ => FieldOrigin::Default,
        };
        let text = |name: &str| other.filter(|_| origin != FieldOrigin::Git).and_then(|entry| entry[name].as_str().map(str::to_owned));
        self.fields.push(LiveField { path: at, value: live.cloned(), origin, manager: text("manager"), time: text("time") });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        git::MemorySource,
        layout,
        manifest::DigestKey,
        render::{Facts, Renderer, Rendering},
    };

    fn rendering(object: &Value) -> std::sync::Arc<Rendering> {
        let own =
            |kind: &str, name: &str| json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}).to_string();
        let files = [
            ("evenkeel.yaml", own("Fleet", "shop")),
            ("environments/test/eu/one/cluster.yaml", own("Cluster", "one")),
            ("base/a/object.yaml", object.to_string()),
        ];
        let source = MemorySource::new(files).unwrap();
        let fleet = layout::read(&source).unwrap();
        let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
        renderer.render(&source, &fleet, fleet.cluster("one").unwrap(), &Facts::default()).unwrap()
    }

    fn entry(manager: &str, operation: &str, day: u8, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "time": format!("2026-01-0{day}T00:00:00Z"), "fieldsV1": fields})
    }

    fn lines(object: &Value, live: &Value) -> String {
        let rendering = rendering(object);
        let fields = live_fields(&rendering.objects[0], live, "evenkeel-shop");
        let line = |field: &LiveField| {
            let value = field.value.as_ref().map_or_else(|| "gone".to_owned(), Value::to_string);
            let by = field
                .manager
                .as_ref()
                .zip(field.time.as_ref())
                .map(|(manager, time)| format!(" by {manager} at {time}"))
                .unwrap_or_default();
            format!("{} {value} {:?}{by}", field.path, field.origin)
        };
        fields.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_field_has_its_origin() {
        let wanted = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"evenkeel.dev/ignore": "/spec/replicas"}},
            "spec": {"replicas": 2, "paused": true, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "log", "image": "log:1"},
                    {"name": "web", "image": "web:1", "resources": {"limits": {"memory": "1024Mi"}}, "ports": [{"containerPort": 80}],
                     "args": ["-a", "-b"]}]}}}});
        let web = json!({"f:image": {}, "f:resources": {"f:limits": {"f:memory": {}}}, "f:args": {},
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}});
        let containers = |items: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": items}}}});
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 3,
                "labels": {"team": "blue"}, "annotations": {"evenkeel.dev/ignore": "/spec/replicas"},
                "managedFields": [
                    entry("evenkeel-shop", "Apply", 1, &containers(json!({"k:{\"name\":\"log\"}": {"f:image": {}}, "k:{\"name\":\"web\"}": web}))),
                    entry("hpa", "Update", 2, &json!({"f:spec": {"f:replicas": {}}})),
                    entry("kubectl-edit", "Update", 3, &containers(json!({"k:{\"name\":\"web\"}": {"f:image": {}},
                        "k:{\"name\":\"side\"}": {".": {}, "f:name": {}, "f:image": {}}}))),
                    entry("kubectl-label", "Update", 4, &json!({"f:metadata": {"f:labels": {"f:team": {}}}}))]},
            "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 600, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"restartPolicy": "Always", "containers": [
                    {"name": "web", "image": "web:2", "resources": {"limits": {"memory": "1Gi"}}, "ports": [{"containerPort": 80, "protocol": "TCP"}],
                     "args": ["-a", "-b"], "imagePullPolicy": "Always"},
                    {"name": "log", "image": "log:1"},
                    {"name": "side", "image": "side:1"}]}}},
            "status": {"replicas": 5}});
        insta::assert_snapshot!(lines(&wanted, &live), @r#"
        /apiVersion "apps/v1" Git
        /kind "Deployment" Git
        /metadata/annotations/evenkeel.dev~1ignore "/spec/replicas" Git
        /metadata/labels/team "blue" Other by kubectl-label at 2026-01-04T00:00:00Z
        /metadata/name "web" Git
        /metadata/namespace "shop" Git
        /spec/paused gone Drifted
        /spec/progressDeadlineSeconds 600 Default
        /spec/replicas 5 GivenUp by hpa at 2026-01-02T00:00:00Z
        /spec/selector/matchLabels/app "web" Git
        /spec/template/metadata/labels/app "web" Git
        /spec/template/spec/containers/0/image "log:1" Git
        /spec/template/spec/containers/0/name "log" Git
        /spec/template/spec/containers/1/args/0 "-a" Git
        /spec/template/spec/containers/1/args/1 "-b" Git
        /spec/template/spec/containers/1/image "web:2" Drifted by kubectl-edit at 2026-01-03T00:00:00Z
        /spec/template/spec/containers/1/imagePullPolicy "Always" Default
        /spec/template/spec/containers/1/name "web" Git
        /spec/template/spec/containers/1/ports/0/containerPort 80 Git
        /spec/template/spec/containers/1/ports/0/protocol "TCP" Default
        /spec/template/spec/containers/1/resources/limits/memory "1Gi" Git
        /spec/template/spec/containers/2/image "side:1" Other by kubectl-edit at 2026-01-03T00:00:00Z
        /spec/template/spec/containers/2/name "side" Other by kubectl-edit at 2026-01-03T00:00:00Z
        /spec/template/spec/restartPolicy "Always" Default
        "#);
    }

    #[test]
    fn values_of_secrets_stay_out() {
        let wanted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "shop"},
            "stringData": {"password": "hunter2"}});
        let live = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "key", "namespace": "shop",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2", "example.com/team": "blue",
                    "kapp.k14s.io/original": "{\"stringData\":{\"password\":\"hunter2\"}}"},
                "managedFields": [entry("kubectl", "Update", 2, &json!({"f:data": {"f:password": {}, "f:other": {}}}))]},
            "data": {"password": "aHVudGVyMw==", "other": "aHVudGVyNA=="}});
        let lines = lines(&wanted, &live);
        assert!(lines.contains("/data/password \"***\" Drifted by kubectl at 2026-01-02T00:00:00Z"), "{lines}");
        assert!(lines.contains("/data/other \"***\" Other by kubectl") && lines.contains("/type \"Opaque\" Default"), "{lines}");
        assert!(lines.contains("/metadata/annotations/example.com~1team \"blue\""), "{lines}");
        assert!(!lines.contains("hunter") && !lines.contains("aHV"), "{lines}");
    }
}
