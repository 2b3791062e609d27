//! Overlays that stand on one another, with generators: names, merges over the layers, and references in the end.

use crate::{agree, build, differing, join};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube_overlay::{Behavior, Overlay, PatchSource, Rename, Renames, Slot, Table, name_suffix};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::sync::Arc;

/// One overlay of a stack: its own resources, and its kustomization without them.
#[derive(Clone, Debug)]
struct Layer {
    resources: Vec<Value>,
    overlay: Value,
}

fn layer(resources: &[&str], overlay: &str) -> Layer {
    let read = |text: &str| serde_yaml::from_str(text).unwrap();
    Layer { resources: resources.iter().map(|text| read(text)).collect(), overlay: read(overlay) }
}

/// The files that generators name, the same in every folder.
fn files() -> [(&'static str, Vec<u8>); 5] {
    [
        ("app.env", b"# settings\nPORT=80\n  HOST=a=b \n\nEMPTY\n".to_vec()),
        ("note.txt", "<b>&\u{2028}\u{1}\u{8}\u{c} \"quoted\" \\ \u{fc}\n".as_bytes().to_vec()),
        ("long.txt", "0123456789".repeat(30).into_bytes()),
        ("dir/binary", vec![0, 159, 146, 150]),
        ("dir/long-binary", (0..=255).collect()),
    ]
}

/// The stack as folders, each naming the one below it.
fn folder(stack: &[Layer]) -> Value {
    let mut all = json!({});
    for (nth, layer) in stack.iter().rev().enumerate() {
        let path = "below/".repeat(nth);
        for (name, content) in files() {
            all[format!("base64:{path}{name}")] = STANDARD.encode(content).into();
        }
        let mut kustomization = layer.overlay.clone();
        let below = (nth + 1 < stack.len()).then_some("below");
        let own = (!layer.resources.is_empty()).then_some("resources.yaml");
        kustomization["resources"] = below.into_iter().chain(own).collect();
        all[format!("{path}resources.yaml")] = join(&layer.resources).into();
        all[format!("{path}kustomization.yaml")] = kustomization.to_string().into();
    }
    all
}

/// An object with what a caller keeps beside it.
struct Item {
    object: Arc<Value>,
    hashed: bool,
    /// The namespace that it was written with.
    written: String,
}

impl Slot for Item {
    fn object(&self) -> &Arc<Value> {
        &self.object
    }

    fn object_mut(&mut self) -> &mut Arc<Value> {
        &mut self.object
    }
}

fn namespace(object: &Value) -> String {
    object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned()
}

/// What this crate makes of a stack.
fn ours(stack: &[Layer]) -> Result<Vec<Value>, String> {
    let mut items: Vec<Item> = Vec::new();
    let item = |object: Value, hashed| Item { written: namespace(&object), object: Arc::new(object), hashed };
    for layer in stack {
        items.extend(layer.resources.iter().map(|object| item(object.clone(), false)));
        let mut overlay: Overlay = serde_json::from_value(layer.overlay.clone()).map_err(|error| error.to_string())?;
        for patch in &mut overlay.patches {
            let PatchSource::Inline(text) = &patch.source else { panic!("patches are inline here") };
            patch.content = vec![Arc::new(serde_yaml::from_str(text).unwrap())];
        }
        let mut load = |path: &str| {
            let known = files().into_iter().find(|(name, _)| *name == path);
            known.map(|(_, content)| content).ok_or_else(|| format!("no file {path}"))
        };
        for (_, made) in overlay.generate(&mut load) {
            let made = made?;
            let place = namespace(&made.object);
            let same = |item: &&mut Item| {
                item.object["kind"] == made.object["kind"]
                    && item.object["metadata"]["name"] == made.object["metadata"]["name"]
                    && (namespace(&item.object) == place || item.written == place)
            };
            match (items.iter_mut().find(same), made.behavior) {
                (None, Behavior::Create) => items.push(item(made.object, made.hashed)),
                (Some(item), Behavior::Merge | Behavior::Replace) => {
                    let new = made.over(&item.object, item.hashed);
                    (item.object, item.hashed) = (Arc::new(new.object), new.hashed);
                }
                (None, _) => return Err("nothing to merge with".to_owned()),
                (Some(_), Behavior::Create) => return Err("it is there already".to_owned()),
            }
        }
        overlay.apply(&mut items, Table::bundled()).map_err(|error| error.to_string())?;
        items.retain(|item| !item.object.is_null());
    }
    let mut renames = Renames::default();
    for item in items.iter_mut().filter(|item| item.hashed) {
        let name = format!("{}-{}", item.object["metadata"]["name"].as_str().unwrap(), name_suffix(&item.object));
        renames.add(&item.object, &*name);
        Arc::make_mut(&mut item.object)["metadata"]["name"] = name.into();
    }
    for item in &mut items {
        let needed = renames.needed(&item.object, Table::bundled())?;
        if !needed.is_empty() {
            Rename::carry_out(&needed, Arc::make_mut(&mut item.object));
        }
    }
    Ok(items.into_iter().map(|item| Arc::unwrap_or_clone(item.object)).collect())
}

/// Checks that both make the same of every stack, or both refuse it. Returns how many were not refused.
fn compare(stacks: &[Vec<Layer>]) -> usize {
    let folders: Vec<Value> = stacks.iter().map(|stack| folder(stack)).collect();
    let mut accepted = 0;
    let mut wrong = Vec::new();
    for (stack, theirs) in stacks.iter().zip(build(&folders)) {
        let ours = ours(stack);
        accepted += usize::from(theirs.is_ok());
        if !agree(&ours, &theirs) {
            let (ours, theirs) = differing(ours, theirs);
            let layers: Vec<String> = stack.iter().map(|layer| format!("{}\n{}", join(&layer.resources), layer.overlay)).collect();
            wrong.push(format!("== {}\n-- ours\n{ours}\n-- theirs\n{theirs}\n", layers.join("\n-- over it\n")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} stacks differ\n{}",
        wrong.len(),
        stacks.len(),
        wrong.iter().take(3).map(String::as_str).collect::<String>()
    );
    accepted
}

const POD: &str = "{volumes: [{name: a, configMap: {name: c}}, {name: b, secret: {secretName: s}}, {name: p, projected: {sources: [{configMap: {name: c}}, {secret: {name: s}}]}}],
  imagePullSecrets: [{name: s}],
  initContainers: [{name: i, envFrom: [{configMapRef: {name: c}}, {secretRef: {name: s}}]}],
  containers: [{name: w, env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k}}}, {name: B, valueFrom: {secretKeyRef: {name: s, key: k}}}]}]}";

/// Objects of every kind that can refer to a ConfigMap or a Secret.
fn referrers(namespace: &str) -> Vec<String> {
    let metadata = |name: &str| format!("metadata: {{name: {name}{namespace}}}");
    let mut all: Vec<String> = ["Deployment", "DaemonSet", "ReplicaSet", "StatefulSet"]
        .map(|kind| format!("{{apiVersion: apps/v1, kind: {kind}, {}, spec: {{template: {{spec: {POD}}}}}}}", metadata("w")))
        .to_vec();
    all.extend([
        format!("{{apiVersion: v1, kind: Pod, {}, spec: {POD}}}", metadata("w")),
        format!("{{apiVersion: v1, kind: PodTemplate, {}, template: {{spec: {POD}}}}}", metadata("w")),
        format!("{{apiVersion: batch/v1, kind: Job, {}, spec: {{template: {{spec: {POD}}}}}}}", metadata("w")),
        format!("{{apiVersion: batch/v1, kind: CronJob, {}, spec: {{jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}}}", metadata("w")),
        format!("{{apiVersion: v1, kind: ServiceAccount, {}, imagePullSecrets: [{{name: s}}, {{name: c}}]}}", metadata("w")),
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: w{namespace}, annotations: {{nginx.ingress.kubernetes.io/auth-secret: s, nginx.ingress.kubernetes.io/fastcgi-params-configmap: c}}}}, spec: {{tls: [{{secretName: s}}]}}}}"
        ),
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, {}, rules: [{{resources: [secrets], resourceNames: [s, x, c]}}]}}",
            metadata("w")
        ),
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: w}, rules: [{resourceNames: [s]}]}".to_owned(),
        "{apiVersion: v1, kind: PersistentVolume, metadata: {name: w}, spec: {azureFile: {secretName: s}}}".to_owned(),
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: w}, provisioner: p, parameters: {secretName: s, other: s}}".to_owned(),
        "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: w}, spec: {template: {spec: {containers: [{env: [{valueFrom: {secretKeyRef: {name: s}}}]}]}}}}".to_owned(),
        format!("{{apiVersion: example.com/v1, kind: Widget, {}, spec: {POD}}}", metadata("w")),
    ]);
    all
}

#[test]
fn generators() {
    let alone = [
        "configMapGenerator: [{name: c, literals: [a=1, \"b='x'\", 'c=', d=x=y]}]",
        "configMapGenerator: [{name: c}]",
        "configMapGenerator: [{name: c, envs: [app.env], literals: [k=v]}]",
        "configMapGenerator: [{name: c, env: app.env}]",
        "configMapGenerator: [{name: c, files: [note.txt, k=note.txt, dir/binary, dir/long-binary, long.txt]}]",
        "configMapGenerator: [{name: c, files: [none.txt]}]",
        "configMapGenerator: [{name: c, literals: [a=1, a=2]}]",
        "configMapGenerator: [{name: c, literals: [a]}]",
        "configMapGenerator: [{name: c, files: [a=b=c]}]",
        "configMapGenerator: [{name: c}, {name: c}]",
        "configMapGenerator: [{name: c, literals: [a=1]}, {name: c, behavior: merge, literals: [b=2]}]",
        "configMapGenerator: [{name: c, behavior: merge}]",
        "configMapGenerator: [{name: c, behavior: replace}]",
        "configMapGenerator: [{name: c, namespace: n, literals: [a=1]}]",
        "configMapGenerator: [{name: c, options: {labels: {a: b}, annotations: {c: d}, immutable: true, disableNameSuffixHash: true}}]",
        "{configMapGenerator: [{name: c, options: {labels: {a: own}}}], generatorOptions: {labels: {a: all, b: all}, annotations: {x: y}, immutable: true}}",
        "{configMapGenerator: [{name: c, literals: [a=1]}], generatorOptions: {disableNameSuffixHash: true}}",
        "secretGenerator: [{name: s, literals: [a=1]}]",
        "secretGenerator: [{name: s}]",
        "secretGenerator: [{name: s, type: kubernetes.io/tls, files: [tls.crt=note.txt, tls.key=dir/binary]}]",
        "secretGenerator: [{name: s, files: [note.txt, dir/long-binary, long.txt], envs: [app.env]}]",
        "{secretGenerator: [{name: c, literals: [a=1]}], configMapGenerator: [{name: c, literals: [a=1]}], namespace: n, labels: [{pairs: {x: y}}]}",
        "{configMapGenerator: [{name: c, literals: [a=1]}], patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {b: \"2\"}}'}]}",
        "{configMapGenerator: [{name: c, literals: [a=1]}], patches: [{target: {kind: ConfigMap}, patch: '[{\"op\": \"add\", \"path\": \"/data/b\", \"value\": \"<>\"}]'}]}",
    ];
    let stacks: Vec<Vec<Layer>> = alone.iter().map(|overlay| vec![layer(&[], overlay)]).collect();
    compare(&stacks);
}

#[test]
fn references() {
    let generators =
        "configMapGenerator: [{name: c, namespace: N, literals: [a=1]}], secretGenerator: [{name: s, namespace: N, literals: [a=1]}]";
    let mut stacks = Vec::new();
    for (namespace, generated, rest) in [
        ("", "", ""),
        (", namespace: n", "n", ""),
        (", namespace: default", "", ""),
        (", namespace: other", "n", ""),
        ("", "", ", namespace: moved"),
        ("", "", ", generatorOptions: {disableNameSuffixHash: true}"),
    ] {
        let texts = referrers(namespace);
        let resources: Vec<&str> = texts.iter().map(String::as_str).collect();
        let overlay = format!("{{{}{rest}}}", generators.replace('N', if generated.is_empty() { "''" } else { generated }));
        stacks.push(vec![layer(&resources, &overlay)]);
        // What is generated on top is referred to from below.
        stacks.push(vec![layer(&resources, "{}"), layer(&[], &overlay)]);
    }
    let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: w}, rules: [{resourceNames: [c]}]}";
    stacks.push(vec![layer(
        &[role],
        "configMapGenerator: [{name: c, namespace: a, literals: [a=1]}, {name: c, namespace: b, literals: [a=2]}]",
    )]);
    stacks.push(vec![layer(
        &[role],
        "configMapGenerator: [{name: c, namespace: a, literals: [a=1]}, {name: c, namespace: b, literals: [a=1]}]",
    )]);
    // Whatever the rule is about.
    for rule in
        ["apiGroups: [''], resources: [pods], resourceNames: [c, s]", "apiGroups: [apps], resources: [secrets], resourceNames: [c, s]"]
    {
        let role = format!("{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: w}}, rules: [{{{rule}}}]}}");
        for generators in [
            "configMapGenerator: [{name: c}], secretGenerator: [{name: s}]",
            "configMapGenerator: [{name: c}], secretGenerator: [{name: c}]",
        ] {
            stacks.push(vec![layer(&[&role], &format!("{{{generators}}}"))]);
        }
    }
    compare(&stacks);
}

#[test]
fn stacks() {
    let config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {l: '1'}}, data: {z: '26'}, binaryData: {y: AA==}}";
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: w, envFrom: [{configMapRef: {name: c}}]}]}}";
    let base = "{configMapGenerator: [{name: c, literals: [a=1, b=1], options: {labels: {l: '1'}}}]}";
    let overlays = [
        "configMapGenerator: [{name: c, behavior: merge, literals: [b=2], options: {labels: {m: '2'}}}]",
        "configMapGenerator: [{name: c, behavior: replace, literals: [b=2], options: {annotations: {m: '2'}}}]",
        "configMapGenerator: [{name: c, behavior: merge, files: [a=dir/binary]}]",
        "configMapGenerator: [{name: c, literals: [b=2]}]",
        "configMapGenerator: [{name: c, behavior: merge, options: {disableNameSuffixHash: true}}]",
        "configMapGenerator: [{name: c, behavior: merge, options: {immutable: true}}]",
        "configMapGenerator: [{name: c, namespace: other, behavior: merge}]",
        "configMapGenerator: [{name: c, namespace: default, behavior: merge, literals: [q=1]}]",
        "secretGenerator: [{name: c, behavior: merge}]",
        "patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {b: null}}'}]",
        "patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, $patch: delete}'}]",
        "commonAnnotations: {a: b}",
    ];
    let mut stacks = Vec::new();
    for overlay in overlays {
        for bottom in [layer(&[pod], base), layer(&[config, pod], "{}")] {
            stacks.push(vec![bottom.clone(), layer(&[], overlay)]);
            stacks.push(vec![bottom.clone(), layer(&[], "namespace: moved"), layer(&[], overlay)]);
            stacks.push(vec![bottom, layer(&[], overlay), layer(&[], overlays[0])]);
        }
    }
    stacks.push(vec![
        layer(&[], "secretGenerator: [{name: s, type: kubernetes.io/tls, literals: [a=1]}]"),
        layer(&[], "secretGenerator: [{name: s, behavior: merge, literals: [b=1]}]"),
    ]);
    compare(&stacks);
}

/// A generator's entry, for any layer but the lowest.
fn entry(behaviors: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let name = select(&["c", "d"][..]);
    let literals = prop::collection::btree_map(select(&["A", "b.c", "d-e"][..]), "[ -~]{0,8}", 0..3);
    let files = prop::sample::subsequence(vec!["note.txt", "x=dir/binary", "y=dir/long-binary", "long.txt"], 0..3);
    let options = (any::<bool>(), any::<bool>(), prop::option::of(select(&["1", "2"][..])));
    (name, select(behaviors), literals, files, prop::option::weighted(0.2, Just(json!(["app.env"]))), options).prop_map(
        |(name, behavior, literals, files, envs, (immutable, plain, label))| {
            let literals: Vec<String> = literals.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
            let mut entry = json!({"name": name, "behavior": behavior, "literals": literals, "files": files});
            entry["options"] = json!({"immutable": immutable, "disableNameSuffixHash": plain && immutable});
            if let Some(label) = label {
                entry["options"]["labels"] = json!({"l": label});
            }
            if let Some(envs) = envs {
                entry["envs"] = envs;
            }
            entry
        },
    )
}

#[test]
fn generated_stacks() {
    let entries = |behaviors| prop::collection::vec(entry(behaviors), 0..3);
    let above = (entries(&["merge", "merge", "replace"]), entries(&["merge", "replace"]), prop::option::weighted(0.2, Just("moved")));
    let strategy = ((entry(&["create"]), entry(&["create"])), prop::collection::vec(above, 0..3));
    let mut runner = TestRunner::deterministic();
    let stacks: Vec<Vec<Layer>> = (0..300)
        .map(|_| {
            let ((config_map, secret), above) = strategy.new_tree(&mut runner).unwrap().current();
            let texts = referrers("");
            let resources: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut bottom = layer(&resources, "{}");
            let with = |mut entry: Value, name: &str| {
                entry["name"] = name.into();
                entry
            };
            bottom.overlay = json!({
                "configMapGenerator": [with(config_map.clone(), "c"), with(config_map, "d")],
                "secretGenerator": [with(secret.clone(), "c"), with(secret, "d")],
            });
            let above = above.into_iter().map(|(config_maps, secrets, namespace)| {
                let mut overlay = json!({"configMapGenerator": config_maps, "secretGenerator": secrets});
                if let Some(namespace) = namespace {
                    overlay["namespace"] = namespace.into();
                }
                Layer { resources: Vec::new(), overlay }
            });
            std::iter::once(bottom).chain(above).collect()
        })
        .collect();
    assert!(compare(&stacks) > stacks.len() / 10 * 9);
}

/// What README.md lists as different, on both sides.
#[test]
fn differences() {
    let differences = [
        (
            vec![layer(
                &["{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, secrets: [{name: s}]}"],
                "secretGenerator: [{name: s}]",
            )],
            r#"[{"name":"s-"#,
            r#"[{"name":"s"}]"#,
        ),
        (
            vec![layer(
                &[
                    "{apiVersion: v1, kind: ReplicationController, metadata: {name: r}, spec: {template: {spec: {imagePullSecrets: [{name: s}]}}}}",
                ],
                "secretGenerator: [{name: s}]",
            )],
            r#"[{"name":"s-"#,
            r#"[{"name":"s"}]"#,
        ),
        (
            vec![layer(
                &[
                    "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {ephemeralContainers: [{name: e, envFrom: [{secretRef: {name: s}}]}]}}",
                ],
                "secretGenerator: [{name: s}]",
            )],
            r#"{"name":"s-"#,
            r#"{"name":"s"}"#,
        ),
        (vec![layer(&[], "configMapGenerator: [{name: c, behavior: other}]")], "error", "ConfigMap"),
        (vec![layer(&[], "configMapGenerator: [{name: c, literals: ['a b=1']}]")], "error", r#""a b":"1""#),
    ];
    for (stack, ours_text, theirs_text) in differences {
        let theirs = build(&[folder(&stack)]).remove(0);
        let show =
            |outcome: Result<Vec<Value>, String>| outcome.map_or_else(|_| "error".to_owned(), |objects| Value::from(objects).to_string());
        let (ours, theirs) = (show(ours(&stack)), show(theirs));
        assert!(ours.contains(ours_text), "ours is {ours}");
        assert!(theirs.contains(theirs_text), "theirs is {theirs}");
    }
}
