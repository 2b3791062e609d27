#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::{git::MemorySource, layout};

const FLEET: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {name: shop}\n";
const CLUSTER: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: Cluster\n";

/// A fleet of two clusters, dev in eu and prod in us, with these files.
fn tree(files: &[(&str, &str)]) -> MemorySource {
    let own =
        [("evenkeel.yaml", FLEET), ("environments/dev/eu/dev/cluster.yaml", CLUSTER), ("environments/prod/us/prod/cluster.yaml", CLUSTER)];
    MemorySource::new(own.into_iter().chain(files.iter().copied())).unwrap()
}

fn renderer() -> Renderer {
    Renderer::new("evenkeel-system", DigestKey::new([1; 32]))
}

fn render(renderer: &Renderer, source: &MemorySource, cluster: &str) -> Result<Arc<Rendering>, Vec<Diagnostic>> {
    let fleet = layout::read(source).unwrap();
    renderer.render(source, &fleet, fleet.cluster(cluster).unwrap(), &Facts::default())
}

/// An object's body without the fleet's marks.
fn content(object: &RenderedObject) -> Value {
    let mut value: Value = serde_json::from_slice(object.body.as_slice()).unwrap();
    let metadata = value["metadata"].as_object_mut().unwrap();
    for (field, marks) in [("labels", vec![crate::manifest::PART_OF]), ("annotations", vec!["evenkeel.dev/id", "evenkeel.dev/digest"])] {
        let map = metadata[field].as_object_mut().unwrap();
        for mark in marks {
            assert!(map.remove(mark).is_some(), "{mark}");
        }
        if map.is_empty() {
            metadata.remove(field);
        }
    }
    value
}

/// What a cluster runs, as text: each object with its bundle, origin and content beside its identity, or the mistakes.
fn shown(files: &[(&str, &str)], cluster: &str) -> String {
    let mut text = String::new();
    match render(&renderer(), &tree(files), cluster) {
        Ok(rendering) => {
            for object in &rendering.objects {
                let mut value = content(object);
                for field in ["apiVersion", "kind"] {
                    value.as_object_mut().unwrap().remove(field);
                }
                for field in ["name", "namespace"] {
                    value["metadata"].as_object_mut().unwrap().remove(field);
                }
                if value["metadata"].as_object().unwrap().is_empty() {
                    value.as_object_mut().unwrap().remove("metadata");
                }
                writeln!(text, "{} ({}, {}) {value}", object.id, object.bundle, object.origin.place()).unwrap();
            }
            for warning in &rendering.warnings {
                writeln!(text, "warning {} {}", warning.place, warning.message).unwrap();
            }
        }
        Err(problems) => problems.iter().for_each(|problem| writeln!(text, "{problem}").unwrap()),
    }
    text
}

fn config(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: a}}\ndata: {data}\n")
}

#[test]
fn one_rule_overlays() {
    let base = config("one", "{a: '1', b: '1', c: '1'}");
    let files = [
        ("base/app/one.yaml", base.as_str()),
        ("regions/us/base/app/one.yaml", &config("one", "{b: '2'}")),
        ("environments/prod/base/app/x.yaml", &config("one", "{c: null}")),
        ("environments/prod/us/base/root.yaml", &config("two", "{}")),
        ("environments/prod/us/prod/app/one.patch.yaml", &config("one", "{d: '5'}")),
        ("environments/dev/base/app/gone.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\n$patch: delete\n"),
    ];
    insta::assert_snapshot!(shown(&files, "prod"), @r#"
    ConfigMap/a/one (app, base/app/one.yaml:1:1) {"data":{"a":"1","b":"2","d":"5"}}
    ConfigMap/a/two (default, environments/prod/us/base/root.yaml:1:1) {"data":{}}
    "#);
    assert_eq!(shown(&files, "dev"), "");
}

#[test]
fn mistakes_are_all_found_with_their_places() {
    let files = [
        ("base/app/one.yaml", config("one", "{}") + "---\n" + &config("one", "{}")),
        ("base/app/two.yaml", "kind: ConfigMap\n".to_owned()),
        ("base/app/broken.yaml", "a: [\n".to_owned()),
        ("base/app/set.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  namespace: a\n  uid: x\n  labels: {applyset.kubernetes.io/part-of: y}\n  annotations:\n    evenkeel.dev/prune: maybe\n    evenkeel.dev/hook: pre\nstatus: {a: 1}\n".to_owned()),
        ("base/app/nowhere.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n".to_owned()),
        ("base/app/web.patch.yaml", config("onee", "{}")),
        ("base/app/kustomization.yaml", String::new()),
        ("base/app/deep/bundle.yaml", String::new()),
        ("base/app/overlay.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nsecretGenerator: []\nnameSuffix: x\nimages: [{nam: x}]\npatches: [{path: no.yaml}]\n".to_owned()),
        ("base/app/chart.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Chart\n".to_owned()),
        ("base/app/Bundle.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\n".to_owned()),
        ("base/other/bundle.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nmetadata: {name: another}\nspec: {dependsOn: [app], targets: a b, x: 1}\n".to_owned()),
        ("environments/dev/base/other/x.yaml", config("one", "{}")),
        ("environments/dev/base/y.yaml", config("three", "{}") + "$patch: replace\n"),
        ("environments/dev/eu/dev/y.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\ndata: text\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: evenkeel-shop, namespace: evenkeel-system}\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    insta::assert_snapshot!(shown(&files, "dev"), @r#""#);
}
