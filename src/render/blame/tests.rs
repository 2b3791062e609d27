#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use super::*;
use crate::{
    layout,
    manifest::pointer,
    render::{
        Facts,
        tests::{renderer, tree},
    },
};

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  replicas: 1
  template:
    spec:
      containers:
        - name: web
          image: r/web:1
          args: [a, b]
          env:
            - {name: A, value: a}
            - name: B
              value: b
";

/// Each field of an object with its value and the line that gave it, without apiVersion, kind and name.
fn blamed(files: &[(&str, &str)], cluster: &str, id: &str) -> String {
    let (renderer, source) = (renderer(), tree(files));
    let fleet = layout::read(&source).unwrap();
    let cluster = fleet.cluster(cluster).unwrap();
    let rendering = renderer.render(&source, &fleet, cluster, &Facts::default()).unwrap();
    let object = rendering.object(&id.parse().unwrap()).unwrap();
    let blame = renderer.blame(&source, &fleet, cluster, object);
    let mut text = String::new();
    let value: Value = serde_json::from_slice(object.body.as_slice()).unwrap();
    write(&value, "", &blame, &mut text);
    text
}

fn write(value: &Value, at: &str, blame: &Blame, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| write(value, &pointer(at, name), blame, text));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(number, value)| write(value, &format!("{at}/{number}"), blame, text));
        }
        _ if ["/apiVersion", "/kind", "/metadata/name"].contains(&at) || at.contains("evenkeel.dev") || at.contains("applyset") => {}
        _ => {
            let line = blame.line(at).map(|line| {
                let last = if line.last_line > line.line { format!("-{}", line.last_line) } else { String::new() };
                format!("{}:{}{last} {:?}", line.path, line.line, line.level)
            });
            writeln!(text, "{at} {value} {}", line.unwrap_or_default()).unwrap();
        }
    }
}

#[test]
fn every_layer_is_named_for_what_it_changed() {
    let files = [
        ("base/app/web.yaml", WEB),
        (
            "regions/us/base/app/web.patch.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  replicas: 1\n  template:\n    spec:\n      containers:\n        - name: web\n          env:\n            - name: C\n              value: c\n            - name: B\n              value: us\n",
        ),
        (
            "environments/prod/base/overlay.yaml",
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nimages:\n  - name: other\n    newTag: x\n  - name: r/web\n    newTag: '2'\nlabels:\n  - pairs:\n      a: b\n      c: d\ncommonAnnotations:\n  note: x\nreplicas:\n  - name: web\n    count: 3\n",
        ),
        (
            "environments/prod/us/prod/app/web.yaml",
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  template:\n    spec:\n      containers:\n        - name: web\n          args: [a, c]\n",
        ),
    ];
    insta::assert_snapshot!(blamed(&files, "prod", "Deployment.apps/shop/web"), @r#"
    /metadata/annotations/note "x" environments/prod/base/overlay.yaml:13 Environment
    /metadata/labels/a "b" environments/prod/base/overlay.yaml:10 Environment
    /metadata/labels/c "d" environments/prod/base/overlay.yaml:11 Environment
    /metadata/namespace "shop" base/app/web.yaml:5 Base
    /spec/replicas 3 environments/prod/base/overlay.yaml:16 Environment
    /spec/template/metadata/annotations/note "x" environments/prod/base/overlay.yaml:13 Environment
    /spec/template/spec/containers/0/args/0 "a" environments/prod/us/prod/app/web.yaml:10 Cluster
    /spec/template/spec/containers/0/args/1 "c" environments/prod/us/prod/app/web.yaml:10 Cluster
    /spec/template/spec/containers/0/env/0/name "C" regions/us/base/app/web.patch.yaml:11 Region
    /spec/template/spec/containers/0/env/0/value "c" regions/us/base/app/web.patch.yaml:12 Region
    /spec/template/spec/containers/0/env/1/name "B" base/app/web.yaml:16 Base
    /spec/template/spec/containers/0/env/1/value "us" regions/us/base/app/web.patch.yaml:14 Region
    /spec/template/spec/containers/0/env/2/name "A" base/app/web.yaml:15 Base
    /spec/template/spec/containers/0/env/2/value "a" base/app/web.yaml:15 Base
    /spec/template/spec/containers/0/image "r/web:2" environments/prod/base/overlay.yaml:7 Environment
    /spec/template/spec/containers/0/name "web" base/app/web.yaml:11 Base
    "#);
    insta::assert_snapshot!(blamed(&files, "dev", "Deployment.apps/shop/web"), @r#"
    /metadata/namespace "shop" base/app/web.yaml:5 Base
    /spec/replicas 1 base/app/web.yaml:7 Base
    /spec/template/spec/containers/0/args/0 "a" base/app/web.yaml:13 Base
    /spec/template/spec/containers/0/args/1 "b" base/app/web.yaml:13 Base
    /spec/template/spec/containers/0/env/0/name "A" base/app/web.yaml:15 Base
    /spec/template/spec/containers/0/env/0/value "a" base/app/web.yaml:15 Base
    /spec/template/spec/containers/0/env/1/name "B" base/app/web.yaml:16 Base
    /spec/template/spec/containers/0/env/1/value "b" base/app/web.yaml:17 Base
    /spec/template/spec/containers/0/image "r/web:1" base/app/web.yaml:12 Base
    /spec/template/spec/containers/0/name "web" base/app/web.yaml:11 Base
    "#);
}

#[test]
fn patches_of_an_overlay_are_found_in_the_overlay_and_beside_it() {
    let files = [
        ("base/app/web.yaml", WEB),
        (
            "base/app/overlay.yaml",
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nnamespace: moved\npatches:\n  - target: {kind: Deployment}\n    patch: |\n      - op: replace\n        path: /spec/template/spec/containers/0/args/1\n        value: json\n      - op: add\n        path: /metadata/labels\n        value:\n          x: z\n  - path: named.yaml\n  - patch: '{kind: Deployment, apiVersion: apps/v1, metadata: {name: web}, spec: {paused: true}}'\n",
        ),
        (
            "base/app/named.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  strategy:\n    type: Recreate\n  template:\n    spec:\n      containers:\n        - name: side\n          image: s\n",
        ),
    ];
    insta::assert_snapshot!(blamed(&files, "prod", "Deployment.apps/moved/web"), @r#"
    /metadata/labels/x "z" base/app/overlay.yaml:13 Base
    /metadata/namespace "moved" base/app/overlay.yaml:3 Base
    /spec/paused true base/app/overlay.yaml:15 Base
    /spec/replicas 1 base/app/web.yaml:7 Base
    /spec/strategy/type "Recreate" base/app/named.yaml:6 Base
    /spec/template/spec/containers/0/image "s" base/app/named.yaml:11 Base
    /spec/template/spec/containers/0/name "side" base/app/named.yaml:10 Base
    /spec/template/spec/containers/1/args/0 "a" base/app/web.yaml:13 Base
    /spec/template/spec/containers/1/args/1 "json" base/app/overlay.yaml:9 Base
    /spec/template/spec/containers/1/env/0/name "A" base/app/web.yaml:15 Base
    /spec/template/spec/containers/1/env/0/value "a" base/app/web.yaml:15 Base
    /spec/template/spec/containers/1/env/1/name "B" base/app/web.yaml:16 Base
    /spec/template/spec/containers/1/env/1/value "b" base/app/web.yaml:17 Base
    /spec/template/spec/containers/1/image "r/web:1" base/app/web.yaml:12 Base
    /spec/template/spec/containers/1/name "web" base/app/web.yaml:11 Base
    "#);
}

#[test]
fn lists_blocks_and_secrets() {
    let files = [
        (
            "base/app/all.yaml",
            "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata:\n      name: words\n      namespace: shop\n    data:\n      text: |\n        one\n\n        two\n\n      next: x\n  - apiVersion: v1\n    kind: Secret\n    metadata: {name: key, namespace: shop}\n    data: {a: MQ==, b: Mg==}\n    stringData:\n      b: two\n",
        ),
        (
            "environments/prod/base/app/words.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words, namespace: shop}\ndata: {next: null, new: x}\n",
        ),
    ];
    insta::assert_snapshot!(blamed(&files, "prod", "ConfigMap/shop/words"), @r#"
    /data/new "x" environments/prod/base/app/words.yaml:4 Environment
    /data/text "one\n\ntwo\n" base/app/all.yaml:10-13 Base
    /metadata/namespace "shop" base/app/all.yaml:8 Base
    "#);
    insta::assert_snapshot!(blamed(&files, "prod", "Secret/shop/key"), @r#"
    /data/a "MQ==" base/app/all.yaml:19 Base
    /data/b "dHdv" base/app/all.yaml:21 Base
    /metadata/namespace "shop" base/app/all.yaml:18 Base
    "#);
}

#[test]
fn what_changes_an_object_is_named_in_its_order() {
    let files = [
        ("base/shop/web.yaml", WEB),
        ("environments/prod/base/overlay.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nlabels:\n  - pairs: {team: shop}\n"),
        ("environments/prod/eu/one/cluster.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Cluster\n"),
        (
            "environments/prod/eu/one/shop/web.patch.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 3}\n",
        ),
    ];
    let (renderer, source) = (renderer(), tree(&files));
    let fleet = layout::read(&source).unwrap();
    let cluster = fleet.cluster("one").unwrap();
    let rendering = renderer.render(&source, &fleet, cluster, &Facts::default()).unwrap();
    let object = rendering.object(&"Deployment.apps/shop/web".parse().unwrap()).unwrap();
    assert_eq!(
        renderer.changed_at(&source, &fleet, cluster, object),
        ["environments/prod/base/overlay.yaml (labels[0])", "environments/prod/eu/one/shop/web.patch.yaml:1:1"]
    );
}
