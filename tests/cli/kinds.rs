//! docs/schemas/kinds, which editors read, says of Evenkeel's own kinds what the program and docs/REPOSITORY.md say.

use std::{collections::BTreeSet, path::Path};

use evenkeel::{
    codes::{self, Code},
    diagnostic::Diagnostic,
    git::MemorySource,
    layout,
    manifest::DigestKey,
    render::{Facts, Renderer},
};
use jsonschema::Validator;
use serde_json::{Value, json};

/// A kind's schema, where a file of it stands in a small fleet, and files that together use every field.
struct Kind {
    name: &'static str,
    path: &'static str,
    examples: &'static [&'static str],
}

const CLUSTER: &str = "environments/dev/eu/dev-eu-1/cluster.yaml";
const KINDS: [Kind; 6] = [
    Kind {
        name: "fleet",
        path: "evenkeel.yaml",
        examples: &[
            "metadata: {name: shop, labels: {a: b}, annotations: {a: b}}\nspec: {paused: false, drift: report, validate: none, adopt: allow, onRemoval: prune, budget: {cluster: {objects: 1, percent: 2}, fleet: {objects: 3, percent: 4}},\n  notifications: [{receiver: a, selector: environment, severity: critical, troubles: [held]}],\n  rollout: {onFailure: hold, preempt: now, skipUnreachableAfter: 5m, freezes: [{from: 2026-12-24, to: 2026-12-26, timezone: UTC, reason: a}],\n    waves: [{name: x, selector: environment, soak: 5m, maxParallel: 1, maxUnavailable: 1, requireApproval: true,\n      windows: [{days: [mon], from: \"08:00\", to: \"17:00\", timezone: UTC}], freezes: [{from: 2026-12-24, to: 2026-12-26, timezone: UTC, reason: a}]}]},\n  health: [{apiVersion: a.example.org/v1, kind: B, current: status.a, inProgress: status.b, failed: status.c, suspended: spec.d}]}",
        ],
    },
    Kind {
        name: "environment",
        path: "environments/dev/environment.yaml",
        examples: &["metadata: {name: dev, labels: {a: b}, annotations: {a: b}}\nspec: {paused: false, drift: off, validate: dryRun, onRemoval: keep}"],
    },
    Kind {
        name: "region",
        path: "environments/dev/eu/region.yaml",
        examples: &["metadata: {name: eu, labels: {a: b}, annotations: {a: b}}\nspec: {paused: false, drift: off, validate: dryRun, onRemoval: prune}"],
    },
    Kind {
        name: "cluster",
        path: CLUSTER,
        examples: &[
            "metadata: {name: dev-eu-1, labels: {a: b}, annotations: {a: b}}\nspec: {paused: false, drift: repair, validate: none, onRemoval: keep, connection: {context: a}}",
            "spec: {connection: {kubeconfig: a}}",
            "spec: {connection: {inCluster: true}}",
        ],
    },
    Kind {
        name: "bundle",
        path: "base/web/bundle.yaml",
        examples: &[
            "metadata: {name: web, labels: {a: b}, annotations: {a: b}}\nspec: {paused: false, drift: report, targets: a=b, dependsOn: [base], deadline: 1h30m,\n  health: [{apiVersion: a.example.org/v1, kind: B, current: status.a, inProgress: status.b, failed: status.c, suspended: spec.d}]}",
        ],
    },
    Kind {
        name: "overlay",
        path: "base/overlay.yaml",
        examples: &["\
images: [{name: a, newName: b, newTag: c, digest: d, tagSuffix: e}]
replicas: [{name: a, count: 2}]
labels: [{pairs: {a: b}, includeSelectors: true, includeTemplates: true, fields: [{path: spec/labels, group: a, version: b, kind: c, create: true}]}]
commonAnnotations: {a: b}
namespace: web
patches:
- {path: patch.yaml}
- patch: '{data: {a: b}}'
  target: {group: a, version: b, kind: c, name: d, namespace: e, labelSelector: f, annotationSelector: g}
  options: {allowNameChange: true, allowKindChange: true}
components: [../components/extra]
configMapGenerator:
- name: made
  namespace: web
  behavior: create
  literals: [a=b]
  files: [web/text, other=web/text]
  envs: [web/env]
  env: web/more
  type: null
  options: {labels: {a: b}, annotations: {a: b}, disableNameSuffixHash: true, immutable: true}
secretGenerator:
- {name: made, namespace: web, behavior: create, literals: [a=b], files: [web/text], envs: [web/env], env: web/more, type: Opaque,
   options: {labels: {a: b}, annotations: {a: b}, disableNameSuffixHash: true, immutable: true}}
generatorOptions: {labels: {a: b}, annotations: {a: b}, disableNameSuffixHash: true, immutable: true}
"],
    },
];

fn schema(name: &str) -> Value {
    let path = format!("{}/docs/schemas/kinds/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn validator(name: &str) -> Validator {
    jsonschema::draft202012::new(&schema(name)).unwrap()
}

fn read(text: &str) -> Value {
    kube_yaml::parse(text).unwrap().remove(0).root.into_json()
}

impl Kind {
    fn examples(&self) -> impl Iterator<Item = Value> {
        let kind = self.name[..1].to_uppercase() + &self.name[1..];
        self.examples.iter().map(move |text| read(&format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\n{text}")))
    }

    /// What the program has against the form of a file. What its words mean is another question.
    fn problems(&self, file: &Value) -> Vec<Diagnostic> {
        let own = |kind: &str, rest: &str| format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\n{rest}");
        let mut files = vec![
            ("evenkeel.yaml", own("Fleet", "metadata: {name: shop}")),
            (CLUSTER, own("Cluster", "")),
            ("base/web/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: web}\n".to_owned()),
            ("base/patch.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: web}\ndata: {a: b}\n".to_owned()),
        ];
        for (path, text) in [("base/web/text", "text"), ("base/web/env", "K=v"), ("base/web/more", "L=v")] {
            files.push((path, text.to_owned()));
        }
        files.push(("components/extra/web/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: web}\n".to_owned()));
        files.push((self.path, file.to_string()));
        let source = MemorySource::new(files).unwrap();
        let mut problems = layout::read(&source).map_or_else(
            |problems| problems,
            |fleet| {
                let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
                let cluster = fleet.clusters.first().unwrap();
                let rendered = renderer.render(&source, &fleet, cluster, &Facts::default());
                rendered.err().into_iter().flatten().chain(fleet.problems.clone()).collect()
            },
        );
        let of_form: [Code; 5] = [codes::FLEET_FILE, codes::OWN_KIND, codes::NOT_BUILT_YET, codes::YAML, codes::NAME_MISMATCH];
        problems.retain(|problem| of_form.contains(&problem.code));
        problems
    }
}

/// Pointers to everything in a value, itself included.
fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| pointers(value, format!("{at}/{name}"), found)),
        Value::Array(items) => items.iter().enumerate().for_each(|(nth, value)| pointers(value, format!("{at}/{nth}"), found)),
        _ => {}
    }
    found.push(at);
}

fn all_pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    pointers(value, String::new(), &mut found);
    found
}

/// What a schema says of the value at a pointer.
fn schema_at<'a>(schema: &'a Value, pointer: &str) -> &'a Value {
    pointer.split('/').skip(1).fold(schema, |schema, part| match &schema["properties"][part] {
        Value::Null if schema["items"].is_object() => &schema["items"],
        Value::Null => &schema["additionalProperties"],
        inner => inner,
    })
}

fn properties(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

/// The file with something else in one place; with null for the value, the place is left out.
fn changed(file: &Value, pointer: &str, value: Option<&Value>) -> Value {
    let mut file = file.clone();
    match (value, pointer.rsplit_once('/')) {
        (Some(value), _) => *file.pointer_mut(pointer).unwrap() = value.clone(),
        (None, Some((parent, name))) => match file.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.remove(name)),
            Value::Array(items) => drop(items.remove(name.parse().unwrap())),
            _ => panic!("{pointer}"),
        },
        (None, None) => panic!("the whole file cannot be left out"),
    }
    file
}

#[test]
fn the_examples_use_every_field_and_are_right() {
    for kind in &KINDS {
        let (schema, validator) = (schema(kind.name), validator(kind.name));
        let mut used = BTreeSet::new();
        let mut known = BTreeSet::new();
        for file in kind.examples() {
            assert!(validator.is_valid(&file), "{}: {:?}", kind.name, validator.validate(&file));
            assert_eq!(kind.problems(&file), [], "{}", kind.name);
            for pointer in all_pointers(&file) {
                // Items of lists are alike.
                let plain = |pointer: &str| pointer.split('/').filter(|part| part.parse::<u32>().is_err()).collect::<Vec<_>>().join("/");
                known.extend(properties(schema_at(&schema, &pointer)).into_iter().map(|name| format!("{}/{name}", plain(&pointer))));
                used.insert(plain(&pointer));
            }
        }
        assert_eq!(known.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "{}", kind.name);
    }
}

/// Names in backquotes after `expected`, as serde lists them, or after `known here:`.
fn names_in(message: &str) -> Option<BTreeSet<String>> {
    if let Some((_, names)) = message.split_once("known here: ") {
        return Some(names.split(", ").map(str::to_owned).collect());
    }
    let (_, names) = message.split_once(", expected ")?;
    Some(names.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

#[test]
fn program_and_schema_know_the_same_fields_and_refuse_others() {
    for kind in &KINDS {
        let (schema, validator) = (schema(kind.name), validator(kind.name));
        let mut compared = 0;
        for file in kind.examples() {
            for pointer in all_pointers(&file) {
                let mut more = file.clone();
                let Some(fields) = more.pointer_mut(&pointer).and_then(Value::as_object_mut) else { continue };
                fields.insert("extra".to_owned(), json!("x"));
                let problems = kind.problems(&more);
                let is_map = schema_at(&schema, &pointer)["properties"].is_null();
                assert_eq!((validator.is_valid(&more), problems.is_empty()), (is_map, is_map), "{}{pointer}: {problems:?}", kind.name);
                if let Some(names) = problems.first().and_then(|problem| names_in(&problem.message)) {
                    let ours: BTreeSet<String> =
                        properties(schema_at(&schema, &pointer)).into_iter().filter(|name| !is_head(&pointer, name)).collect();
                    assert_eq!(names, ours, "{}{pointer}", kind.name);
                    compared += 1;
                }
            }
        }
        assert!(compared > 0, "{}", kind.name);
    }
}

fn is_head(pointer: &str, name: &str) -> bool {
    pointer.is_empty() && matches!(name, "apiVersion" | "kind")
}

/// Each place of each example in turn is left out or holds something else: program and schema must think the same of it.
#[test]
fn program_and_schema_take_the_same_values() {
    let values = [
        Value::Null,
        json!(true),
        json!(false),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(2_000_000),
        json!("x"),
        json!(""),
        json!({}),
        json!([]),
    ];
    for kind in &KINDS {
        let validator = validator(kind.name);
        for file in kind.examples() {
            for pointer in all_pointers(&file) {
                let left_out = (!pointer.is_empty()).then(|| changed(&file, &pointer, None));
                // Serde reads a list as the fields in their order, which nobody writes.
                let lists = !pointer.ends_with("/target") && !pointer.ends_with("/options");
                let others = values.iter().filter(|value| lists || !value.is_array()).map(|value| changed(&file, &pointer, Some(value)));
                for other in others.chain(left_out) {
                    // No schema knows the name of a file's folder.
                    if other.pointer("/metadata/name") == Some(&json!("x")) {
                        continue;
                    }
                    let problems = kind.problems(&other);
                    assert_eq!(validator.is_valid(&other), problems.is_empty(), "{}{pointer}: {other}\n{problems:?}", kind.name);
                }
            }
        }
    }
}

/// Files of own kinds below a folder, with the name of their schema.
fn own_files(folder: &Path) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(own_files(&path));
        } else if let Some(kind) = KINDS.iter().find(|kind| path.ends_with(kind.path.rsplit('/').next().unwrap())) {
            found.push((kind.name.to_owned(), read(&std::fs::read_to_string(&path).unwrap())));
        }
    }
    found
}

#[test]
fn every_file_that_people_start_from_fits() {
    let new = tempfile::tempdir().unwrap();
    assert_eq!(crate::run(&format!("evenkeel init {} --name shop", new.path().display())).code, 0);
    for (folder, least) in [(new.path().to_owned(), 9), (Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo-layout"), 20)] {
        let files = own_files(&folder);
        assert!(files.len() >= least, "{}: {}", folder.display(), files.len());
        for (name, file) in files {
            assert!(validator(&name).is_valid(&file), "{name}: {file}: {:?}", validator(&name).validate(&file));
        }
    }
}

#[test]
fn the_document_names_every_field() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/REPOSITORY.md")).unwrap();
    let section = |heading: &str| document.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let mut kind = String::new();
    let mut documented: BTreeSet<(String, String)> = BTreeSet::new();
    for row in section("Kinds").lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if !cells[0].is_empty() {
            kind = cells[0].to_lowercase();
        }
        let fields = cells.last().unwrap().split('`').skip(1).step_by(2).filter_map(|field| field.strip_prefix("spec."));
        documented.extend(fields.map(|field| (kind.clone(), field.split('.').next().unwrap().to_owned())));
    }
    let mut known = BTreeSet::new();
    for kind in KINDS.iter().filter(|kind| kind.name != "overlay") {
        known.extend(properties(&schema(kind.name)["properties"]["spec"]).into_iter().map(|field| (kind.name.to_owned(), field)));
    }
    assert_eq!(documented, known);
    let overlay = section("overlay.yaml");
    let example = read(overlay.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap());
    assert!(validator("overlay").is_valid(&example), "{:?}", validator("overlay").validate(&example));
    assert_eq!(example.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), properties(&schema("overlay")));
}
