#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::{git::MemorySource, layout};

mod commits;
mod depend;
mod given_up;
mod inclusion;

const FLEET: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {name: shop}\n";
const CLUSTER: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: Cluster\n";

/// A fleet of two clusters, dev in eu and prod in us, with these files.
pub(super) fn tree(files: &[(&str, &str)]) -> MemorySource {
    let own =
        [("evenkeel.yaml", FLEET), ("environments/dev/eu/dev/cluster.yaml", CLUSTER), ("environments/prod/us/prod/cluster.yaml", CLUSTER)];
    MemorySource::new(own.into_iter().chain(files.iter().copied())).unwrap()
}

pub(super) fn renderer() -> Renderer {
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
            for warning in rendering.warnings.iter().chain(&rendering.idle) {
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
        ("base/app/overlay.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nsecretGenerator: [{name: s, literals: [7]}]\ncomponents: [../../base]\nnameSuffix: x\nimages: [{nam: x}]\npatches: [{path: no.yaml}]\n".to_owned()),
        ("base/app/chart.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Chart\n".to_owned()),
        ("base/app/Bundle.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\n".to_owned()),
        ("base/other/bundle.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nmetadata: {name: another}\nspec: {dependsOn: [app], targets: a b, x: 1}\n".to_owned()),
        ("environments/dev/base/other/x.yaml", config("one", "{}")),
        ("environments/dev/base/y.yaml", config("three", "{}") + "$patch: replace\n"),
        ("environments/dev/eu/dev/y.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\ndata: text\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: evenkeel-shop, namespace: evenkeel-system}\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    insta::assert_snapshot!(shown(&files, "dev"), @r#"
    base/app/Bundle.yaml:2:1: error[EK1003]: kind Bundle belongs in bundle.yaml in a bundle's folder, alone
    base/app/broken.yaml:1:4: error[EK1001]: unclosed bracket '['
    base/app/chart.yaml:2:1: error[EK1006]: kind Chart is not built yet
    base/app/deep/bundle.yaml: error[EK1003]: bundle.yaml belongs in a bundle's folder, the first one under a layer
    base/app/kustomization.yaml: error[EK1006]: folders with a kustomization are not built yet
    base/app/nowhere.yaml:1:1: error[EK1009]: Pod/p has no namespace
    base/app/one.yaml:6:1: error[EK1008]: ConfigMap/a/one stands at base/app/one.yaml:1:1 already
    base/app/overlay.yaml:3:19: error[EK1005]: secretGenerator: expected a string
    base/app/overlay.yaml:4:14: error[EK1023]: `../../base` is not a folder directly under components/
    base/app/overlay.yaml:5:1: error[EK1005]: unknown field nameSuffix; known here: images, replicas, labels, commonAnnotations, namespace, patches, components, configMapGenerator, secretGenerator, generatorOptions
    base/app/overlay.yaml:6:10: error[EK1005]: images: unknown field `nam`, expected one of `name`, `newName`, `newTag`, `digest`, `tagSuffix`
    base/app/overlay.yaml:7:12: error[EK1012]: there is no file base/app/no.yaml in this layer
    base/app/set.yaml:6:3: error[EK1013]: uid is set by the server
    base/app/set.yaml:7:12: error[EK1013]: the label applyset.kubernetes.io/part-of is set by Evenkeel alone
    base/app/set.yaml:9:5: error[EK1015]: the annotation evenkeel.dev/prune must be never or allow
    base/app/set.yaml:10:5: error[EK1015]: the annotation evenkeel.dev/hook must be pre-sync, post-sync or on-failure
    base/app/set.yaml:11:1: error[EK1013]: status is the cluster's to write
    base/app/two.yaml:1:1: error[EK1002]: apiVersion is missing
    base/app/web.patch.yaml:1:1: error[EK1010]: there is no ConfigMap/a/onee for this patch
    base/other/bundle.yaml:3:12: error[EK1007]: metadata.name is another, the folder is other
    base/other/bundle.yaml:4:26: error[EK1005]: label selector "a b": "b" after "a" is not an operator; there are =, ==, !=, in, notin, > and <
    base/other/bundle.yaml:4:40: error[EK1005]: unknown field x; known here: paused, targets, drift, dependsOn, deadline, health
    environments/dev/base/other/x.yaml:1:1: error[EK1011]: ConfigMap/a/one is of bundle app, given at base/app/one.yaml:1:1; this folder is bundle other
    environments/dev/base/y.yaml:1:1: error[EK1010]: there is no ConfigMap/a/three above it, and /$patch makes it a patch
    environments/dev/eu/dev/y.yaml:1:1: error[EK1016]: at /data: a plain value cannot be laid over a map
    environments/dev/eu/dev/y.yaml:6:1: error[EK1019]: ConfigMap/evenkeel-system/evenkeel-shop is where Evenkeel keeps what it knows of the cluster
    "#);
}

#[test]
fn a_mistake_refuses_only_the_clusters_that_read_it() {
    let files = [
        ("base/app/one.yaml", config("one", "{}")),
        ("environments/dev/base/app/broken.yaml", "a: [".to_owned()),
        ("regions/eu/base/app/binary.yaml", "\u{0}".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let (renderer, source) = (renderer(), tree(&files));
    let problems = render(&renderer, &source, "dev").unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(render(&renderer, &source, "prod").unwrap().objects.len(), 1);
}

const OVERLAY: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\n";

fn deployment(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}{namespace}}}\nspec: {{template: {{spec: {{containers: [{{name: c, image: r/web}}]}}}}}}\n"
    )
}

#[test]
fn overlays_work_on_their_bundle_or_on_all() {
    let files = [
        ("base/app/web.yaml", deployment("web", "")),
        ("base/app/overlay.yaml", format!("{OVERLAY}namespace: shop\npatches: [{{path: files/probe.yaml}}]\n")),
        ("base/app/files/probe.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {paused: true}\n".to_owned()),
        ("base/tools/web.yaml", deployment("tool", ", namespace: tools")),
        ("base/overlay.yaml", format!("{OVERLAY}images: [{{name: r/web, newTag: '1'}}, {{name: r/none, newTag: '1'}}]\n")),
        // The identity as it was written still finds the object, and so does the new one.
        ("environments/prod/base/app/web.yaml", deployment("web", "").replace("image: r/web", "image: r/web:2")),
        (
            "environments/prod/us/prod/web.patch.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {paused: false}\n".to_owned(),
        ),
        (
            "environments/prod/us/prod/app/overlay.yaml",
            format!("{OVERLAY}replicas: [{{name: web, count: 3}}]\nlabels: [{{pairs: {{x: z}}}}]\n"),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    insta::assert_snapshot!(shown(&files, "dev"), @r#"
    Deployment.apps/shop/web (app, base/app/web.yaml:1:1) {"spec":{"paused":true,"template":{"spec":{"containers":[{"image":"r/web:1","name":"c"}]}}}}
    Deployment.apps/tools/tool (tools, base/tools/web.yaml:1:1) {"spec":{"template":{"spec":{"containers":[{"image":"r/web:1","name":"c"}]}}}}
    warning base/overlay.yaml:3:38 images[1] finds no object to change
    "#);
    insta::assert_snapshot!(shown(&files, "prod"), @r#"
    Deployment.apps/shop/web (app, base/app/web.yaml:1:1) {"metadata":{"labels":{"x":"z"}},"spec":{"paused":false,"replicas":3,"template":{"spec":{"containers":[{"image":"r/web:2","name":"c"}]}}}}
    Deployment.apps/tools/tool (tools, base/tools/web.yaml:1:1) {"spec":{"template":{"spec":{"containers":[{"image":"r/web:1","name":"c"}]}}}}
    warning base/overlay.yaml:3:38 images[1] finds no object to change
    "#);
}

#[test]
fn custom_resources_merge_by_the_keys_of_their_definition() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.x.io}\nspec:\n  group: x.io\n  scope: Cluster\n  names: {kind: Thing, plural: things}\n  versions:\n    - name: v1\n      schema: {openAPIV3Schema: {type: object, properties: {list: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [id], items: {type: object, properties: {id: {type: string}}}}}}}\n";
    let thing = |list: &str| format!("apiVersion: x.io/v1\nkind: Thing\nmetadata: {{name: t, namespace: dropped}}\nlist: {list}\n");
    let files = [
        ("base/app/thing.yaml", thing("[{id: a, v: 1}, {id: b, v: 1}]")),
        ("environments/prod/base/app/thing.yaml", thing("[{id: b, v: 2}]")),
        ("base/crd/thing.yaml", definition.to_owned()),
        (
            "environments/dev/base/crd/thing.yaml",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.x.io}\n$patch: delete\n"
                .to_owned(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let shown = |cluster| shown(&files, cluster).lines().filter(|line| !line.starts_with("Custom")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(shown("prod"), @r#"
    Thing.x.io/t (app, base/app/thing.yaml:1:1) {"list":[{"id":"b","v":2},{"id":"a","v":1}]}
    warning base/app/thing.yaml:1:1 Thing is cluster-scoped; its namespace is left out
    "#);
    // Without the definition nobody knows the scope: that is left to the server.
    insta::assert_snapshot!(shown("dev"), @r#"Thing.x.io/dropped/t (app, base/app/thing.yaml:1:1) {"list":[{"id":"a","v":1},{"id":"b","v":1}]}"#);
}

#[test]
fn bundles_go_where_their_targets_say() {
    let bundle = |spec: &str| format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec: {{{spec}}}\n");
    let files = [
        ("base/app/one.yaml", config("one", "{}")),
        ("base/app/bundle.yaml", bundle("targets: environment=prod")),
        ("base/tools/two.yaml", config("two", "{}")),
        ("environments/dev/base/tools/bundle.yaml", bundle("paused: true")),
        ("environments/dev/base/tols/bundle.yaml", bundle("paused: true")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let renderer = renderer();
    let dev = render(&renderer, &tree(&files), "dev").unwrap();
    let paused = BundleSettings { paused: Some("environments/dev/base/tools/bundle.yaml".into()), ..BundleSettings::default() };
    assert_eq!(dev.bundles, BTreeMap::from([("tools".to_owned(), paused)]));
    assert_eq!(
        dev.empty.values().map(ToString::to_string).collect::<Vec<_>>(),
        ["environments/dev/base/tols/bundle.yaml: error[EK1020]: bundle tols has no objects; was tools meant?"]
    );
    let prod = render(&renderer, &tree(&files), "prod").unwrap();
    assert_eq!(prod.bundles.keys().collect::<Vec<_>>(), ["app", "tools"]);
    let running: Vec<(&str, &str)> = files.iter().copied().filter(|(path, _)| !path.contains("dev")).collect();
    assert_ne!(render(&renderer, &tree(&running), "dev").unwrap().digest, dev.digest, "pausing a bundle is a change");
}

#[test]
fn near_misses_are_warned_of() {
    let files = [
        ("base/app/one.yaml", config("frontend", "{}") + "---\n" + &config("backend-1", "{}")),
        ("environments/prod/base/app/one.yaml", config("fronted", "{}") + "---\n" + &config("backend-2", "{}")),
        ("environments/dev/base/app/one.patch.yaml", config("frontends", "{}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let warnings = render(&renderer(), &tree(&files), "prod").unwrap().warnings.clone();
    assert_eq!(
        warnings.iter().map(|warning| format!("{} {}", warning.place, warning.message)).collect::<Vec<_>>(),
        [
            "environments/prod/base/app/one.yaml:1:1 ConfigMap/a/fronted is new here, and nearly has the name of ConfigMap/a/frontend, given at base/app/one.yaml:1:1"
        ]
    );
    let problems = render(&renderer(), &tree(&files), "dev").unwrap_err();
    assert_eq!(problems[0].hint, "Was ConfigMap/a/frontend meant, given at base/app/one.yaml:1:1?");
}

#[test]
fn what_nothing_changes_is_shared() {
    let files = [
        ("base/app/one.yaml", config("one", "{}")),
        ("base/app/two.yaml", config("two", "{}")),
        ("environments/dev/base/app/two.yaml", config("two", "{a: b}")),
        ("environments/prod/base/app/two.yaml", config("two", "{a: b}")),
    ];
    let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let renderer = renderer();
    let source = tree(&files);
    let (dev, prod) = (render(&renderer, &source, "dev").unwrap(), render(&renderer, &source, "prod").unwrap());
    assert!(Arc::ptr_eq(&dev.objects[0], &prod.objects[0]), "an untouched object is one allocation");
    assert!(!Arc::ptr_eq(&dev.objects[1], &prod.objects[1]));
    assert!(std::ptr::eq(dev.objects[1].body.as_slice(), prod.objects[1].body.as_slice()), "equal bodies are one allocation");
    assert_eq!(dev.digest, prod.digest);

    // A commit that a cluster does not read leaves it with the very same rendering.
    files.push(("README.md", "changed"));
    files.push(("environments/dev/base/app/three.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three, namespace: a}\n"));
    let source = tree(&files);
    assert!(Arc::ptr_eq(&prod, &render(&renderer, &source, "prod").unwrap()));
    let changed = render(&renderer, &source, "dev").unwrap();
    assert_eq!(changed.objects.len(), 3);
    assert!(Arc::ptr_eq(&dev.objects[0], &changed.objects[0]));
    let merged_again = changed.object(&dev.objects[1].id).unwrap();
    assert!(std::ptr::eq(dev.objects[1].body.as_slice(), merged_again.body.as_slice()));

    // What a rendering was made of stays at hand as long as the rendering serves.
    for number in 0..5 {
        files.push(("README.md", ["0", "1", "2", "3", "4"][number]));
        render(&renderer, &tree(&files), "prod").unwrap();
    }
    files.push(("base/app/four.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: four, namespace: a}\n"));
    let source = tree(&files);
    let grown = render(&renderer, &source, "prod").unwrap();
    assert!(Arc::ptr_eq(grown.object(&prod.objects[0].id).unwrap(), &prod.objects[0]));
}

#[test]
fn facts_place_kinds_that_only_the_server_knows() {
    let files = [(
        "base/app/x.yaml",
        "apiVersion: x.io/v1\nkind: Inner\nmetadata: {name: a}\n---\napiVersion: x.io/v1\nkind: Outer\nmetadata: {name: a, namespace: b}\n",
    )];
    let (renderer, source) = (renderer(), tree(&files));
    let fleet = layout::read(&source).unwrap();
    let cluster = fleet.cluster("dev").unwrap();
    assert_eq!(renderer.render(&source, &fleet, cluster, &Facts::default()).unwrap().objects.len(), 2);
    let kind = |name: &str| GroupKind::new("x.io", name);
    let facts = Facts { version: "v1.36.3".to_owned(), scopes: BTreeMap::from([(kind("Inner"), false), (kind("Outer"), false)]) };
    let rendering = renderer.render(&source, &fleet, cluster, &facts).unwrap();
    assert_eq!(rendering.objects.iter().map(|object| object.id.to_string()).collect::<Vec<_>>(), ["Inner.x.io/a", "Outer.x.io/a"]);
    let facts = Facts { scopes: BTreeMap::from([(kind("Inner"), true)]), ..facts };
    let problems = renderer.render(&source, &fleet, cluster, &facts).unwrap_err();
    assert_eq!(problems[0].to_string(), "base/app/x.yaml:1:1: error[EK1009]: Inner.x.io/a has no namespace");
}

#[test]
fn secrets_are_folded_and_never_shown() {
    let secret = |data: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: a}}\n{data}\n");
    let files = [
        ("base/app/s.yaml", secret("stringData: {user: u, password: hunter2}")),
        ("environments/prod/base/app/s.yaml", secret("stringData: {user: null}\ndata: {password: bmV3}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let rendering = render(&renderer(), &tree(&files), "prod").unwrap();
    assert_eq!(content(&rendering.objects[0])["data"], serde_json::json!({"password": "bmV3"}));
    assert_eq!(
        content(&render(&renderer(), &tree(&files), "dev").unwrap().objects[0])["data"],
        serde_json::json!({"password": "aHVudGVyMg==", "user": "dQ=="})
    );
    let other_key = Renderer::new("evenkeel-system", DigestKey::new([2; 32]));
    assert_ne!(render(&other_key, &tree(&files), "prod").unwrap().digest, rendering.digest);
    assert!(!format!("{rendering:?}").contains("bmV3"));
}

#[test]
fn the_example_renders_for_every_cluster() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo-layout");
    let source = MemorySource::from_directory(&folder).unwrap();
    let fleet = layout::read(&source).unwrap();
    assert_eq!((&fleet.warnings, &fleet.problems), (&vec![], &vec![]));
    let renderer = renderer();
    let mut text = String::new();
    for cluster in &fleet.clusters {
        let rendering = renderer.render(&source, &fleet, cluster, &Facts::default()).unwrap();
        assert_eq!(rendering.warnings, []);
        let id = "Deployment.apps/storefront/storefront".parse().unwrap();
        let storefront = content(rendering.object(&id).unwrap());
        let [image, replicas] =
            ["/spec/template/spec/containers/0/image", "/spec/replicas"].map(|pointer| storefront.pointer(pointer).unwrap().clone());
        let bundles: Vec<&str> = rendering.bundles.keys().map(String::as_str).collect();
        writeln!(text, "{}: {} objects of {}; storefront {replicas} x {image}", cluster.name, rendering.objects.len(), bundles.join(", "))
            .unwrap();
    }
    insta::assert_snapshot!(text, @r#"
    dev-eu-1: 43 objects of cart, cluster-access, databases, erasure, load-generator, storefront; storefront 1 x "registry.example/shop/storefront:1.9.0-rc.2"
    prod-eu-1: 43 objects of cart, cluster-access, databases, erasure, storefront; storefront 3 x "registry.example/shop/storefront:1.8.3@sha256:e78afb2963d11d4392c985aabc9063d7033555d5d58d8ea3f224f5716adda2c0"
    prod-in-1: 43 objects of cart, cluster-access, databases, erasure, storefront; storefront 3 x "registry.example/shop/storefront:1.8.3@sha256:e78afb2963d11d4392c985aabc9063d7033555d5d58d8ea3f224f5716adda2c0"
    prod-us-1: 37 objects of cart, cluster-access, databases, storefront; storefront 6 x "registry.example/shop/storefront:1.8.3@sha256:e78afb2963d11d4392c985aabc9063d7033555d5d58d8ea3f224f5716adda2c0"
    staging-eu-1: 43 objects of cart, cluster-access, databases, erasure, load-generator, storefront; storefront 2 x "registry.example/shop/storefront:1.9.0-rc.1"
    staging-in-1: 43 objects of cart, cluster-access, databases, erasure, load-generator, storefront; storefront 2 x "registry.example/shop/storefront:1.9.0-rc.1"
    "#);
}

/// A repository whose files cannot be read for a while.
struct Flaky {
    files: MemorySource,
    broken: std::sync::atomic::AtomicBool,
}

impl Source for Flaky {
    fn root(&self) -> TreeId {
        self.files.root()
    }

    fn folder(&self, id: TreeId) -> Result<Arc<crate::git::Folder>, crate::git::SourceError> {
        self.files.folder(id)
    }

    fn blob(&self, id: crate::git::BlobId) -> Result<Vec<u8>, crate::git::SourceError> {
        if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(crate::git::SourceError { what: id.to_string(), why: "the disk fails".to_owned() });
        }
        self.files.blob(id)
    }
}

#[test]
fn what_could_not_be_read_is_read_again() {
    let source = Flaky { files: tree(&[("base/app/one.yaml", &config("one", "{}"))]), broken: false.into() };
    let fleet = layout::read(&source).unwrap();
    let (renderer, cluster) = (renderer(), fleet.cluster("dev").unwrap());
    source.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    let problems = renderer.render(&source, &fleet, cluster, &Facts::default()).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.code.id).collect::<Vec<_>>(), ["EK2005"]);
    source.broken.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(renderer.render(&source, &fleet, cluster, &Facts::default()).unwrap().objects.len(), 1);
}

/// Where each of some objects stands: the file in its bundle's folder.
fn scattered(files: &[u8]) -> Vec<(String, String)> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        let text = texts.entry(format!("base/app/{}/{file}.yaml", file % 3)).or_default();
        text.push_str("---\n");
        text.push_str(&config(&format!("object-{number}"), &format!("{{value: '{number}'}}")));
    }
    texts.into_iter().collect()
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_rendering_depends_on_content_alone(
        one in proptest::collection::vec(0u8..20, 12),
        other in proptest::collection::vec(0u8..20, 12),
        changed in proptest::collection::vec(0u8..3, 12),
        in_prod in proptest::collection::vec(0usize..12, 0..6),
    ) {
        let with_patches = |files: &[u8]| {
            let mut files = scattered(files);
            for number in &in_prod {
                let value = changed[*number];
                files.push((format!("environments/prod/base/{number}.yaml"), config(&format!("object-{number}"), &format!("{{value: '{value}'}}"))));
            }
            MemorySource::new([("evenkeel.yaml".to_owned(), FLEET.to_owned()), ("environments/prod/us/prod/cluster.yaml".to_owned(), CLUSTER.to_owned())].into_iter().chain(files)).unwrap()
        };
        let (one, other) = (with_patches(&one), with_patches(&other));
        let warm = renderer();
        let first = render(&warm, &one, "prod").unwrap();
        let second = render(&warm, &other, "prod").unwrap();
        proptest::prop_assert_eq!(first.digest, second.digest);
        for (a, b) in first.objects.iter().zip(&second.objects) {
            proptest::prop_assert_eq!((&a.id, a.digest, a.body.as_slice()), (&b.id, b.digest, b.body.as_slice()));
        }
        for _ in 0..2 {
            proptest::prop_assert_eq!(&render(&warm, &one, "prod").unwrap().objects, &first.objects);
            proptest::prop_assert_eq!(&render(&renderer(), &one, "prod").unwrap().objects, &first.objects);
            // Revisions between make it forget what it had.
            for number in 0..3 {
                render(&warm, &tree(&[("README.md", &number.to_string())]), "prod").unwrap();
            }
        }
    }
}
