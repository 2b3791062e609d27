#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use super::{Overlay, PatchSource, Report};
use crate::Table;
use serde_json::{Value, json};
use std::sync::Arc;

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// An overlay with its inline patches loaded.
fn overlay(text: &str) -> Overlay {
    let mut overlay: Overlay = serde_yaml::from_str(text).unwrap();
    for patch in &mut overlay.patches {
        let PatchSource::Inline(text) = &patch.source else { panic!("only inline patches are tested here") };
        let documents = serde_yaml::Deserializer::from_str(text).map(|document| serde::Deserialize::deserialize(document).unwrap());
        patch.content = documents.map(|value: Value| Arc::new(value)).collect();
    }
    overlay
}

fn objects() -> Vec<Arc<Value>> {
    let values = [
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, labels: {app: web}},
          spec: {replicas: 1, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}},
          spec: {containers: [{name: web, image: 'web:1'}, {name: log, image: 'log:1'}]}}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: other, annotations: {tier: front}}, data: {a: b}}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: shop}, data: {a: b}}",
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}, rules: []}",
    ];
    values.iter().map(|text| Arc::new(yaml(text))).collect()
}

/// Applies to objects that are also held elsewhere, and checks that the report is true and that what is unchanged is still shared.
fn apply(text: &str) -> Result<(Vec<Arc<Value>>, Report), String> {
    let before = objects();
    let mut after = before.clone();
    let report = overlay(text).apply(&mut after, Table::bundled()).map_err(|error| error.to_string())?;
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before == after, Arc::ptr_eq(before, after), "object {at} was copied for nothing");
        assert_eq!(before != after, report.changed.contains(&at) || report.deleted.contains(&at), "object {at} in {report:?}");
        assert_eq!(after.is_null(), report.deleted.contains(&at), "object {at} in {report:?}");
    }
    // Objects that nobody else holds are changed in place, to the same end.
    let mut owned: Vec<Arc<Value>> = before.iter().map(|object| Arc::new(Value::clone(object))).collect();
    assert_eq!(overlay(text).apply(&mut owned, Table::bundled()).unwrap(), report);
    assert_eq!(owned, after);
    Ok((after, report))
}

/// Positions that an overlay changes.
#[track_caller]
fn changed(text: &str) -> Vec<usize> {
    apply(text).unwrap().1.changed.into_iter().collect()
}

#[test]
fn targets_select() {
    let cases = [
        ("{}", vec![0, 1, 2, 3, 4]),
        ("{kind: Deployment}", vec![0]),
        ("{kind: Deployment|Service}", vec![0, 1]),
        ("{kind: Deploy}", vec![]),
        ("{name: w.*}", vec![0, 1, 2, 3, 4]),
        ("{name: w}", vec![]),
        ("{kind: ConfigMap, namespace: other}", vec![2]),
        ("{kind: ConfigMap, namespace: default}", vec![]),
        ("{namespace: .*non_namespaceable.*}", vec![4]),
        ("{group: apps}", vec![0]),
        ("{group: '', version: v1, kind: Service}", vec![1]),
        ("{version: v2}", vec![]),
        ("{labelSelector: app=web}", vec![0]),
        ("{labelSelector: 'app notin (web)'}", vec![1, 2, 3, 4]),
        ("{annotationSelector: tier}", vec![2]),
    ];
    for (target, expected) in cases {
        let text = format!("patches: [{{target: {target}, patch: '{{metadata: {{name: ignored, annotations: {{new: x}}}}}}'}}]");
        let (_, report) = apply(&text).unwrap();
        assert_eq!(report.changed.into_iter().collect::<Vec<_>>(), expected, "{target}");
        assert_eq!(report.unmatched.is_empty(), !expected.is_empty(), "{target}");
    }
}

#[test]
fn a_patch_without_target_finds_its_object() {
    let patch = |id: &str| format!("patches: [{{patch: '{{{id}, spec: {{paused: true}}}}'}}]");
    let cases = [
        ("apiVersion: apps/v1, kind: Deployment, metadata: {name: web}", Ok(0)),
        ("apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}", Ok(0)),
        ("apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: web}", Ok(0)),
        ("apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: other}", Ok(2)),
        ("apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}", Ok(4)),
        ("apiVersion: v1, kind: ConfigMap, metadata: {name: web}", Err("ConfigMap web is in several namespaces; the patch must say which")),
        ("apiVersion: v1, kind: Deployment, metadata: {name: web}", Err("no object is Deployment web of group \"\"")),
        ("apiVersion: v1, kind: Service, metadata: {name: web, namespace: x}", Err("no object is Service x/web of group \"\"")),
        ("apiVersion: v1, kind: Service", Err("a patch without a target needs kind and metadata.name")),
    ];
    for (id, expected) in cases {
        let found = apply(&patch(id)).map(|(_, report)| report.changed.into_iter().next().unwrap());
        assert_eq!(found, expected.map_err(|message| format!("patches[0]: {message}")), "{id}");
    }
}

#[test]
fn a_patch_keeps_the_identity() {
    let (objects, _) = apply(
        "patches: [{target: {kind: Deployment}, patch: '{apiVersion: x/v1, kind: Y, metadata: {name: z, namespace: n}, spec: {$patch: delete}}'},
           {target: {kind: Service}, patch: '{$patch: replace, spec: {}}'}, {target: {kind: ClusterRole}, patch: '{metadata: null, rules: null}'}]",
    )
    .unwrap();
    assert_eq!(*objects[0], yaml("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, labels: {app: web}}}"));
    assert_eq!(*objects[1], yaml("{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {}}"));
    assert_eq!(*objects[4], yaml("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}}"));
}

#[test]
fn a_patch_may_rename_where_it_is_allowed() {
    let patch = "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}}";
    let options = "options: {allowNameChange: true, allowKindChange: true}";
    let second = "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: null}";
    let (objects, _) =
        apply(&format!("patches: [{{target: {{kind: Deployment}}, patch: '{patch}', {options}}}, {{patch: '{second}'}}]")).unwrap();
    assert_eq!(*objects[0], yaml("{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: shop, labels: {app: web}}}"));
}

#[test]
fn patches_delete_and_use_json() {
    let (objects, report) = apply(
        "patches:
            - {target: {kind: ConfigMap}, patch: '{$patch: delete}'}
            - {target: {kind: Deployment}, patch: '[{op: replace, path: /spec/replicas, value: 5}]'}
            - {target: {name: web}, patch: '[{op: test, path: /metadata/name, value: web}]'}",
    )
    .unwrap();
    assert_eq!(report.deleted.into_iter().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(objects[0]["spec"]["replicas"], json!(5));
}

#[test]
fn patch_errors_name_the_entry_and_the_object() {
    let cases = [
        (
            "{target: {kind: Service}, patch: '[{op: remove, path: /x}]'}",
            "patches[0]: Service shop/web: operation '/0' failed at path '/x': path is invalid",
        ),
        (
            "{target: {kind: Service}, patch: '[{op: replace, path: \"\", value: null}]'}",
            "patches[0]: Service shop/web: the patch leaves something that is not an object; to delete it, use `$patch: delete`",
        ),
        ("{patch: '[{op: remove, path: /x}]'}", "patches[0]: a JSON patch needs a target"),
        (
            "{target: {}, patch: 'just text'}",
            "patches[0]: with a target there can be only one patch: an object or a list of JSON patch operations",
        ),
        ("{patch: 'just text'}", "patches[0]: a patch is an object or a list of JSON patch operations"),
        ("{target: {kind: Service}, patch: '{spec: 1}'}", "patches[0]: Service shop/web: /spec: a plain value cannot be laid over a map"),
    ];
    for (entry, expected) in cases {
        assert_eq!(apply(&format!("patches: [{entry}]")).unwrap_err(), expected);
    }
    let unloaded: Overlay = serde_yaml::from_str("patches: [{path: a.yaml}]").unwrap();
    assert_eq!(unloaded.apply(&mut objects(), Table::bundled()).unwrap_err().to_string(), "patches[0]: the patch is empty");
}

#[test]
fn forms_are_checked() {
    for (text, expected) in [
        ("labels: [{pairs: {a: b}, fields: [{kind: Pod}]}]", "missing field `path`"),
        ("labels: [{pairs: {a: b}, fields: [{path: a, createIfNotPresent: true}]}]", "unknown field `createIfNotPresent`"),
        ("images: [{name: a, tag: b}]", "unknown field `tag`"),
        ("images: [{newTag: b}]", "missing field `name`"),
        ("replicas: [{name: a}]", "missing field `count`"),
        ("namePrefix: x", "unknown field `namePrefix`"),
        ("patches: [{path: a, patch: b}]", "either path or patch"),
        ("patches: [{target: {}}]", "needs path or patch"),
        ("patches: [{path: a, target: {name: '('}}]", "target.name: regex parse error"),
        ("patches: [{path: a, target: {labelSelector: '='}}]", "is not a label key"),
        ("patches: [{path: a, options: {allowAll: true}}]", "unknown field `allowAll`"),
        ("commonAnnotations: {a: [b]}", "invalid type"),
    ] {
        let error = serde_yaml::from_str::<Overlay>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn labels_annotations_and_replicas() {
    assert_eq!(changed("labels: [{pairs: {app: web}}]"), [1, 2, 3, 4]);
    let (objects, _) =
        apply("labels: [{pairs: {t: x}, includeSelectors: true}]\ncommonAnnotations: {n: y}\nreplicas: [{name: web, count: 3}]").unwrap();
    let web = &objects[0];
    assert_eq!(web["spec"]["selector"]["matchLabels"], json!({"app": "web", "t": "x"}));
    assert_eq!(web["spec"]["template"]["metadata"], json!({"labels": {"app": "web", "t": "x"}, "annotations": {"n": "y"}}));
    assert_eq!(web["spec"]["replicas"], json!(3));
    assert_eq!(objects[1]["spec"]["selector"], json!({"app": "web", "t": "x"}));
    assert_eq!(objects[4]["metadata"], json!({"name": "web", "labels": {"t": "x"}, "annotations": {"n": "y"}}));
    let (objects, _) = apply("labels: [{pairs: {t: x}, includeTemplates: true}]").unwrap();
    assert_eq!(objects[0]["spec"]["selector"]["matchLabels"], json!({"app": "web"}));
    assert_eq!(objects[0]["spec"]["template"]["metadata"]["labels"], json!({"app": "web", "t": "x"}));
    let error = apply("patches: [{target: {kind: Service}, patch: '{metadata: {labels: null}, spec: null}'}, {target: {kind: Service}, patch: '[{op: add, path: /spec, value: x}]'}]\nlabels: [{pairs: {t: x}, includeSelectors: true}]").unwrap_err();
    assert_eq!(error, "labels[0]: Service shop/web: spec/selector: a map or a list is expected on the way there");
}

#[test]
fn what_matches_nothing_is_reported() {
    let (_, report) = apply(
        "images: [{name: web, newTag: '1'}, {name: absent, newTag: '2'}]\nreplicas: [{name: absent, count: 1}, {name: web, count: 1}]",
    )
    .unwrap();
    assert_eq!(report.unmatched, ["replicas[0]", "images[1]"]);
    assert!(report.changed.is_empty());
}

#[test]
fn the_namespace_moves_objects_and_references() {
    let error = apply("namespace: prod").unwrap_err();
    assert_eq!(error, "namespace: ConfigMap prod/web: objects 2 and 3 would become the same");
    let mut objects: Vec<Arc<Value>> = [
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bot}}",
        "{apiVersion: v1, kind: Namespace, metadata: {name: old}}",
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: b}, subjects: [{kind: ServiceAccount, name: bot},
          {kind: ServiceAccount, name: default, namespace: x}, {kind: ServiceAccount, name: bot, namespace: x}, {kind: User, name: bot}]}",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}",
    ]
    .iter()
    .map(|text| Arc::new(yaml(text)))
    .collect();
    let report = overlay("namespace: prod").apply(&mut objects, Table::bundled()).unwrap();
    assert_eq!(report.changed.len(), 4);
    assert_eq!(objects[0]["metadata"], json!({"name": "bot", "namespace": "prod"}));
    assert_eq!(objects[1]["metadata"], json!({"name": "prod"}));
    let namespaces: Vec<&Value> = objects[2]["subjects"].as_array().unwrap().iter().map(|subject| &subject["namespace"]).collect();
    assert_eq!(namespaces, [&json!("prod"), &json!("prod"), &json!("x"), &Value::Null]);
    assert_eq!(objects[2]["metadata"], json!({"name": "b"}));
    assert_eq!(objects[3]["metadata"]["namespace"], json!("prod"));
}

#[test]
fn the_order_is_kustomizes() {
    let (objects, _) = apply(
        "patches: [{target: {kind: Deployment}, patch: '{metadata: {labels: {x: patch}}, spec: {replicas: 7}}'}]
labels: [{pairs: {x: label}}]
replicas: [{name: web, count: 9}]
images: [{name: web, newName: log}, {name: log, newTag: '5'}]",
    )
    .unwrap();
    assert_eq!(objects[0]["metadata"]["labels"]["x"], json!("label"));
    assert_eq!(objects[0]["spec"]["replicas"], json!(9));
    let containers = objects[0]["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.iter().map(|container| &container["image"]).collect::<Vec<_>>(), ["log:5", "log:5"]);
}

#[test]
fn entries_that_change_nothing_are_named() {
    let text = "
        patches:
        - {target: {kind: Deployment}, patch: 'spec: {replicas: 1}'}
        - {target: {kind: Deployment}, patch: '[{op: replace, path: /spec/replicas, value: 1}]'}
        - {target: {kind: Deployment}, patch: 'spec: {paused: true}'}
        - {target: {kind: Deployment}, patch: 'spec: {paused: true}'}
        - {target: {name: nobody}, patch: 'spec: {}'}
        labels: [{pairs: {app: web}}, {pairs: {app: web}}]
        replicas: [{name: web, count: 1}, {name: nobody, count: 1}]
        images: [{name: web, newTag: '1'}, {name: log, newTag: '2'}, {name: nobody, newTag: '2'}]
        commonAnnotations: {a: b}";
    let (_, report) = apply(text).unwrap();
    assert_eq!(report.idle, ["patches[0]", "patches[1]", "patches[3]", "labels[1]", "replicas[0]", "images[0]"]);
    assert_eq!(report.unmatched, ["patches[4]", "replicas[1]", "images[2]"]);
    assert_eq!(apply("{commonAnnotations: {}}").unwrap().1.idle, Vec::<String>::new());
}
