//! Renderings against the schemas of their kinds: what every server would refuse for its form is found without one.
//!
//! This judges what was rendered and changes nothing of it; the server's own word stays the one that counts for a sync.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube_schema::{Schemas, Violation, ViolationKind};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Facts, RenderedObject, Rendering, stack::is_definition};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    git::{Node, Source},
    layout::sort_problems,
    manifest::{self, Digest, Origin},
};

/// What was found in a rendering.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validated {
    /// What servers refuse.
    pub problems: Vec<Diagnostic>,
    /// What they may refuse: kinds that nothing here defines, and fields that a newer server than the schemas' may know.
    pub warnings: Vec<Diagnostic>,
}

/// Validates the renderings of one revision. One for all of its clusters: an object that many of them run is looked at once.
pub struct Validator<'a> {
    source: &'a dyn Source,
    state: Mutex<State>,
}

/// An object as it stands in a rendering, and the definitions around it; none for what needs none.
type Key = (Digest, Origin, Option<Digest>);
type Found = Arc<[(ViolationKind, Diagnostic)]>;

#[derive(Default)]
struct State {
    found: HashMap<Key, Found>,
    /// By the digest of the CustomResourceDefinitions.
    schemas: HashMap<Digest, Schemas>,
    files: HashMap<Arc<str>, File>,
}

/// The documents of a file; none if it is not manifests.
type File = Option<Arc<Vec<kube_yaml::Document>>>;

impl<'a> Validator<'a> {
    /// `source` is the revision that was rendered: places of fields are looked up in its files.
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source, state: Mutex::default() }
    }

    /// What a cluster of these facts would refuse of the rendering for its form; facts of no version stand for the version that the
    /// schemas are of.
    pub fn validate(&self, rendering: &Rendering, facts: &Facts) -> Validated {
        let (definitions, schemas) = self.schemas(rendering);
        let age = age(&facts.version, schemas.version());
        let mut validated = Validated::default();
        for object in &rendering.objects {
            let built_in = schemas.is_built_in(&object.id.group, &object.id.kind);
            // What an object gives up is judged too, and is not in its digest.
            let digest = if object.given_up.is_some() { Digest::of(object.first_body().as_slice()) } else { object.digest };
            let key = (digest, object.origin.clone(), (!built_in).then_some(definitions));
            let known = self.state().found.get(&key).cloned();
            let found = known.unwrap_or_else(|| {
                let found = self.judge(object, &schemas);
                self.state().found.insert(key, Arc::clone(&found));
                found
            });
            for (kind, diagnostic) in found.iter() {
                match weight(*kind, built_in, age, facts.scopes.contains_key(&object.id.group_kind())) {
                    Weight::Problem => validated.problems.push(diagnostic.clone()),
                    Weight::Warning => validated.warnings.push(diagnostic.clone()),
                    Weight::Nothing => {}
                }
            }
        }
        sort_problems(&mut validated.problems);
        sort_problems(&mut validated.warnings);
        validated
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere leaves the state whole: an entry is put in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schemas with the rendering's own definitions, and what names these.
    fn schemas(&self, rendering: &Rendering) -> (Digest, Schemas) {
        let definitions: Vec<_> = rendering.objects.iter().filter(|object| is_definition(&object.id)).collect();
        let mut hash = Sha256::new();
        for definition in &definitions {
            hash.update(definition.digest.0);
        }
        let digest = Digest(hash.finalize().into());
        let mut state = self.state();
        let read = || {
            let values: Vec<Value> = definitions.iter().map(|object| value(object)).collect();
            Schemas::bundled().with_definitions(&values.iter().collect::<Vec<_>>())
        };
        (digest, state.schemas.entry(digest).or_insert_with(read).clone())
    }

    fn judge(&self, object: &RenderedObject, schemas: &Schemas) -> Found {
        let value = value(object);
        let violations = schemas.validate(&value).into_iter();
        violations.map(|violation| (violation.kind, self.diagnostic(object, &value, &violation))).collect()
    }

    fn diagnostic(&self, object: &RenderedObject, value: &Value, violation: &Violation) -> Diagnostic {
        let message = |note: &str| format!("{}: {violation}{note}", object.id);
        match self.place(&object.origin, value, violation) {
            Some(place) => Diagnostic::new(code(violation.kind), place, message("")),
            None => Diagnostic::new(code(violation.kind), object.origin.place(), message(" (from a patch or an overlay)")),
        }
    }

    /// Where the field stands in the file that first gave the object; none if it came from elsewhere.
    fn place(&self, origin: &Origin, value: &Value, violation: &Violation) -> Option<Place> {
        let file = self.file(&origin.path);
        let Some(root) = file.iter().flat_map(|documents| documents.iter()).find_map(|document| at(&document.root, origin)) else {
            return Some(origin.place());
        };
        let pointer = match violation.kind {
            ViolationKind::Missing => nearest_given(value, &violation.pointer),
            _ => &violation.pointer,
        };
        is_same(root, value, pointer).then(|| match root.key_position(pointer) {
            Some(position) => Place::at(&*origin.path, position.line, position.column),
            None => origin.place(),
        })
    }

    fn file(&self, path: &Arc<str>) -> File {
        let read = || Some(Arc::new(kube_yaml::parse(&text(self.source, path)?).ok()?));
        self.state().files.entry(Arc::clone(path)).or_insert_with(read).clone()
    }
}

impl std::fmt::Debug for Validator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").finish_non_exhaustive()
    }
}

fn value(object: &RenderedObject) -> Value {
    // The body was made from a value, so that it is one.
    serde_json::from_slice(object.first_body().as_slice()).unwrap_or_default()
}

fn code(kind: ViolationKind) -> Code {
    match kind {
        ViolationKind::UnknownKind => codes::UNKNOWN_KIND,
        ViolationKind::NoSuchKind | ViolationKind::NotServed => codes::NOT_SERVED,
        ViolationKind::Missing => codes::INCOMPLETE,
        _ => codes::SCHEMA,
    }
}

enum Weight {
    Problem,
    Warning,
    Nothing,
}

/// How much is to be made of it on a cluster that is older or newer than the schemas, and that may be known to serve the kind.
fn weight(kind: ViolationKind, built_in: bool, age: Ordering, is_served: bool) -> Weight {
    use ViolationKind::{Missing, NoSuchKind, NotOneOf, NotServed, UnknownField, UnknownKind};
    match kind {
        UnknownKind | NoSuchKind if is_served => Weight::Nothing,
        UnknownKind => Weight::Warning,
        // An older server serves versions that were taken away since, a newer one those that came.
        NoSuchKind if age.is_ne() => Weight::Warning,
        NotServed if built_in && age.is_ne() => Weight::Warning,
        UnknownField | NotOneOf | Missing if built_in && age.is_gt() => Weight::Warning,
        _ => Weight::Problem,
    }
}

/// The cluster's minor version against the schemas'.
fn age(cluster: &str, schemas: &str) -> Ordering {
    let minor = |version: &str| -> Option<(u32, u32)> {
        let mut parts = version.strip_prefix('v')?.split('.');
        let number = |text: &str| text.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().ok();
        Some((number(parts.next()?)?, number(parts.next()?)?))
    };
    minor(cluster).zip(minor(schemas)).map_or(Ordering::Equal, |(cluster, schemas)| cluster.cmp(&schemas))
}

/// A file of the revision, by its path.
fn text(source: &dyn Source, path: &str) -> Option<String> {
    let mut node = Node::Folder(source.root());
    for name in path.split('/') {
        let Node::Folder(folder) = node else { return None };
        node = source.folder(folder).ok()?.get(name)?.node;
    }
    let Node::File(blob) = node else { return None };
    manifest::text(path, source.blob(blob).ok()?).ok()
}

/// The object that begins there: the document, or an item of a List in it.
fn at<'a>(root: &'a kube_yaml::Node, origin: &Origin) -> Option<&'a kube_yaml::Node> {
    if (root.position.line, root.position.column) == (origin.line, origin.column) {
        return Some(root);
    }
    let kube_yaml::Kind::Sequence(items) = &root.get("items")?.value else { return None };
    items.iter().find_map(|item| at(item, origin))
}

/// The pointer of what is there and closest around a field that is not.
fn nearest_given<'a>(value: &Value, pointer: &'a str) -> &'a str {
    let mut around = pointer;
    while !around.is_empty() && value.pointer(around).is_none_or(Value::is_null) {
        around = &around[..around.rfind('/').unwrap_or_default()];
    }
    around
}

/// Whether the file has that field of the object too: the same list items on the way there, and the same value where it is a plain one.
fn is_same(root: &kube_yaml::Node, value: &Value, pointer: &str) -> bool {
    let ends = pointer.char_indices().skip(1).filter(|(_, letter)| *letter == '/').map(|(end, _)| end);
    ends.chain([pointer.len()]).map(|end| &pointer[..end]).all(|above| match (root.at(above), value.pointer(above)) {
        (Some(written), Some(Value::Object(fields))) => {
            fields.get("name").and_then(Value::as_str) == written.get("name").and_then(kube_yaml::Node::as_str)
        }
        (Some(_), Some(Value::Array(_))) => true,
        (Some(written), Some(plain)) => written.to_json() == *plain,
        _ => false,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::{git::MemorySource, layout, manifest::DigestKey, render::Renderer};

    const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: web:1
          port: 80
        - image: side:1
";

    fn fleet(files: &[(&str, &str)]) -> MemorySource {
        let own = [
            ("evenkeel.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {name: shop}\n"),
            ("environments/dev/eu/dev/cluster.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Cluster\n"),
        ];
        MemorySource::new(own.into_iter().chain(files.iter().copied())).unwrap()
    }

    /// What is found on a server of that version that serves that kind besides the usual ones.
    fn found_on(files: &[(&str, &str)], version: &str, served: Option<&str>) -> String {
        let source = fleet(files);
        let fleet = layout::read(&source).unwrap();
        let scopes = served.map(|kind| (kind.parse().unwrap(), true)).into_iter().collect();
        let facts = Facts { version: version.to_owned(), scopes };
        let renderer = Renderer::new("evenkeel-system", DigestKey::new([1; 32]));
        let rendering = match renderer.render(&source, &fleet, &fleet.clusters[0], &facts) {
            Ok(rendering) => rendering,
            Err(problems) => {
                let refused = problems.iter().map(|problem| format!("refused {problem}\n  {}\n", problem.hint));
                return refused.collect::<Vec<_>>().concat();
            }
        };
        let validator = Validator::new(&source);
        let validated = validator.validate(&rendering, &facts);
        assert_eq!(validator.validate(&rendering, &facts), validated, "the same when looked at again");
        let warnings = validated.warnings.iter().map(|warning| format!("warning {warning}\n"));
        validated.problems.iter().map(|problem| format!("{problem}\n")).chain(warnings).collect::<Vec<_>>().concat()
    }

    fn found(files: &[(&str, &str)]) -> String {
        found_on(files, "", None)
    }

    #[test]
    fn violations_have_the_place_where_they_were_written() {
        let list = "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: a, namespace: shop}\n    data: {a: 5}\n";
        insta::assert_snapshot!(found(&[("base/app/web.yaml", DEPLOYMENT), ("base/app/list.yaml", list)]), @r"
        base/app/list.yaml:7:12: error[EK1031]: ConfigMap/shop/a: /data/a: a number where text (in quotes, if it looks like something else) is needed
        base/app/web.yaml:13:11: error[EK1031]: Deployment.apps/shop/web: /spec/template/spec/containers/0/port: there is no such field; was ports meant?
        base/app/web.yaml:14:11: error[EK1030]: Deployment.apps/shop/web: /spec/template/spec/containers/1/name: is missing and required
        ");
    }

    #[test]
    fn what_a_patch_brought_is_not_looked_for_in_the_wrong_place() {
        let whole = DEPLOYMENT.replace("          port: 80\n        - image: side:1\n", "");
        let patch = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: three
  template: {spec: {containers: [{name: first, imag: first:1}]}}
";
        insta::assert_snapshot!(found(&[("base/app/web.yaml", &whole), ("environments/dev/base/app/web.yaml", patch)]), @r"
        base/app/web.yaml:1:1: error[EK1031]: Deployment.apps/shop/web: /spec/replicas: text where a whole number, without quotes, is needed (from a patch or an overlay)
        base/app/web.yaml:1:1: error[EK1031]: Deployment.apps/shop/web: /spec/template/spec/containers/0/imag: there is no such field; was image meant? (from a patch or an overlay)
        ");
    }

    #[test]
    fn older_and_newer_servers_and_kinds_that_they_serve() {
        let whole = DEPLOYMENT.replace("port: 80\n        - image: side:1", "news: 1");
        let budget = "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: web, namespace: shop}\n";
        let widget = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: web, namespace: shop}\n";
        let files = [("base/web.yaml", whole.as_str()), ("base/budget.yaml", budget), ("base/widget.yaml", widget)];
        let all: Vec<String> = [("", None), ("v1.24.17+k3s1", None), ("v1.99.0", Some("Widget.example.org"))]
            .map(|(version, served)| format!("on {version:?}\n{}", found_on(&files, version, served)))
            .into();
        insta::assert_snapshot!(all.concat(), @r#"
        on ""
        base/budget.yaml:1:1: error[EK1032]: PodDisruptionBudget.policy/shop/web: /apiVersion: PodDisruptionBudget is not served in version v1beta1; known: v1
        base/web.yaml:13:11: error[EK1031]: Deployment.apps/shop/web: /spec/template/spec/containers/0/news: there is no such field
        warning base/widget.yaml:2:1: error[EK1033]: Widget.example.org/shop/web: /kind: nothing here defines kind Widget of example.org/v1
        on "v1.24.17+k3s1"
        base/web.yaml:13:11: error[EK1031]: Deployment.apps/shop/web: /spec/template/spec/containers/0/news: there is no such field
        warning base/budget.yaml:1:1: error[EK1032]: PodDisruptionBudget.policy/shop/web: /apiVersion: PodDisruptionBudget is not served in version v1beta1; known: v1
        warning base/widget.yaml:2:1: error[EK1033]: Widget.example.org/shop/web: /kind: nothing here defines kind Widget of example.org/v1
        on "v1.99.0"
        warning base/budget.yaml:1:1: error[EK1032]: PodDisruptionBudget.policy/shop/web: /apiVersion: PodDisruptionBudget is not served in version v1beta1; known: v1
        warning base/web.yaml:13:11: error[EK1031]: Deployment.apps/shop/web: /spec/template/spec/containers/0/news: there is no such field
        "#);
    }

    #[test]
    fn a_deeper_layer_adds_whole_objects_only() {
        let whole = DEPLOYMENT.replace("          port: 80\n        - image: side:1\n", "");
        let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shopp}\nspec: {replicas: 2}\n";
        let region = ("environments/dev/eu/base/app/web.yaml", patch);
        let missed = found(&[("base/app/web.yaml", &whole), region]);
        let alone = found(&[region]);
        let completed = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shopp}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}
";
        let completed = found(&[region, ("environments/dev/eu/base/app/more.patch.yaml", completed)]);
        let definition = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, required: [spec], properties: {spec: {type: object}}}}}
";
        let widget = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: web, namespace: shop}\n";
        let custom = found(&[("base/definition.yaml", definition), ("environments/dev/base/widget.yaml", widget)]);
        insta::assert_snapshot!(format!("{missed}\n{alone}\n{completed}\n{custom}"), @r"
        refused environments/dev/eu/base/app/web.yaml:1:1: error[EK1030]: Deployment.apps/shopp/web looks like a patch whose target is missing: no layer above gives it, and for an object of its own it lacks /spec/selector, /spec/template
          Was Deployment.apps/shop/web meant, given at base/app/web.yaml:1:1? Otherwise give the object whole.

        refused environments/dev/eu/base/app/web.yaml:1:1: error[EK1030]: Deployment.apps/shopp/web looks like a patch whose target is missing: no layer above gives it, and for an object of its own it lacks /spec/selector, /spec/template
          Give the object whole; if a patch is meant, correct its kind, namespace and name so that it finds its target.


        refused environments/dev/base/widget.yaml:1:1: error[EK1030]: Widget.example.org/shop/web looks like a patch whose target is missing: no layer above gives it, and for an object of its own it lacks /spec
          Give the object whole; if a patch is meant, correct its kind, namespace and name so that it finds its target.
        ");
    }

    #[test]
    fn the_example_has_no_violations() {
        let source = MemorySource::from_directory(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo-layout")).unwrap();
        let fleet = layout::read(&source).unwrap();
        let renderer = Renderer::new("evenkeel-system", DigestKey::new([1; 32]));
        let validator = Validator::new(&source);
        for cluster in &fleet.clusters {
            let rendering = renderer.render(&source, &fleet, cluster, &Facts::default()).unwrap();
            assert_eq!(validator.validate(&rendering, &Facts::default()), Validated::default(), "{}", cluster.name);
        }
    }
}
