//! A file of manifests: its documents, and what is wrong with them.

use serde_json::{Map, Value};

use super::{Identity, ObjectId, PART_OF, Policy, fold_string_data};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    git::FILE_MAX,
};

/// How deep Lists may hold Lists.
const LIST_DEPTH_MAX: usize = 8;

/// Where in the repository something stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Path from the repository's root.
    pub path: std::sync::Arc<str>,
    /// Line of the object's first field, from 1.
    pub line: u32,
    /// Column of it in characters, from 1.
    pub column: u32,
}

impl Origin {
    /// The same, for a diagnostic.
    pub fn place(&self) -> Place {
        Place::at(&*self.path, self.line, self.column)
    }
}

/// One object, or a patch of one, as a file gives it.
#[derive(Clone, PartialEq)]
pub struct Manifest {
    /// Its identity.
    pub id: ObjectId,
    /// All its fields. A Secret's `stringData` is folded into `data`.
    pub value: Value,
    /// Where it begins.
    pub origin: Origin,
    /// A `$patch` or the like in it, as a JSON pointer: it can only be a patch.
    pub directive: Option<String>,
}

impl std::fmt::Debug for Manifest {
    /// Without the fields, which may be a Secret's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manifest({} from {}:{})", self.id, self.origin.path, self.origin.line)
    }
}

/// What a file of manifests holds.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// In the order of the file; Lists unfolded.
    pub manifests: Vec<Manifest>,
    /// Every mistake.
    pub problems: Vec<Diagnostic>,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Whether a file of that name holds manifests.
pub(crate) fn is_manifest(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, extension)| !stem.is_empty() && matches!(extension, "yaml" | "yml" | "json"))
}

/// A file's text, if it is one and not too large.
pub(crate) fn text(path: &str, bytes: Vec<u8>) -> Result<String, Diagnostic> {
    let refuse = |message: String| Diagnostic::new(codes::NOT_UTF8, Place::file(path), message);
    if bytes.len() > FILE_MAX {
        return Err(refuse(format!("more than {} MiB", FILE_MAX >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].split(|byte| *byte == b'\n').count();
        refuse(format!("not UTF-8 at byte {at}, in line {line}"))
    })
}

/// Reads a file of manifests.
pub(crate) fn read(path: &str, text: &str) -> Manifests {
    let mut found = Manifests::default();
    let documents = match kube_yaml::parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            found.problems.push(Diagnostic::new(codes::YAML, Place::at(path, error.position.line, error.position.column), error.message));
            return found;
        }
    };
    let path: std::sync::Arc<str> = path.into();
    for (document, number) in documents.into_iter().zip(0..) {
        for warning in &document.warnings {
            let place = Place::at(&*path, warning.position.line, warning.position.column);
            found.warnings.push(Diagnostic::new(codes::DOUBTFUL, place, &*warning.message));
        }
        let begins = document.root.position;
        let value = document.root.into_json();
        if !value.is_null() {
            let mut reader = Reader { path: &path, text, number, begins, root: None, found: &mut found };
            reader.document(value, "", None, 0);
        }
    }
    found
}

/// Reads one document. Its values are taken along as JSON; where they stand is looked up again in the rare case that somebody asks.
struct Reader<'a> {
    path: &'a std::sync::Arc<str>,
    text: &'a str,
    /// Which document of the text it is, from 0.
    number: usize,
    begins: kube_yaml::Position,
    root: Option<kube_yaml::Node>,
    found: &'a mut Manifests,
}

impl Reader<'_> {
    fn place(&mut self, pointer: &str) -> Place {
        if pointer.is_empty() {
            return Place::at(&**self.path, self.begins.line, self.begins.column);
        }
        let again = || kube_yaml::parse(self.text).ok()?.into_iter().nth(self.number).map(|document| document.root);
        if self.root.is_none() {
            self.root = again();
        }
        self.root.as_ref().map_or_else(|| Place::file(&**self.path), |root| place_of(self.path, root, pointer))
    }

    fn refuse(&mut self, code: Code, pointer: &str, message: impl Into<String>) {
        let place = self.place(pointer);
        self.found.problems.push(Diagnostic::new(code, place, message));
    }

    /// One document or one item of a List, at that pointer. A typed List lends its items its own version and kind.
    fn document(&mut self, mut value: Value, at: &str, lent: Option<(&str, &str)>, depth: usize) {
        let Some(fields) = value.as_object_mut() else {
            return self.refuse(codes::NOT_AN_OBJECT, at, "not a mapping");
        };
        if let Some((version, kind)) = lent {
            fields.entry("apiVersion").or_insert_with(|| version.into());
            fields.entry("kind").or_insert_with(|| kind.into());
        }
        if let Some(items) = take_items(fields) {
            let (version, kind) = (text_of(fields, "apiVersion"), text_of(fields, "kind"));
            let item = kind.trim_end_matches("List");
            let lent = (!item.is_empty()).then_some((version.as_str(), item));
            if depth == LIST_DEPTH_MAX {
                return self.refuse(codes::NOT_AN_OBJECT, at, "Lists within Lists, too deep");
            }
            for (item, number) in items.into_iter().zip(0..) {
                self.document(item, &format!("{at}/items/{number}"), lent, depth + 1);
            }
            return;
        }
        self.object(value, at);
    }

    fn object(&mut self, mut value: Value, at: &str) {
        let id = match identify(&value) {
            Ok(id) => id,
            Err(Unidentified { code, pointer, message }) => return self.refuse(code, &format!("{at}{pointer}"), message),
        };
        for (code, pointer, message) in scrub(&mut value, &id) {
            self.refuse(code, &format!("{at}{pointer}"), message);
        }
        let Place::File { line, column, .. } = self.place(at) else { return };
        let directive = directive(&value);
        self.found.manifests.push(Manifest { id, value, origin: Origin { path: self.path.clone(), line, column }, directive });
    }
}

/// A JSON pointer one step further.
pub(crate) fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The place of the field at a JSON pointer, or of the closest thing around it that has one.
pub(crate) fn place_of(path: &str, root: &kube_yaml::Node, pointer: &str) -> Place {
    let mut pointer = pointer;
    loop {
        if let Some(position) = root.key_position(pointer) {
            return Place::at(path, position.line, position.column);
        }
        match pointer.rfind('/') {
            Some(end) => pointer = &pointer[..end],
            None => return Place::at(path, root.position.line, root.position.column),
        }
    }
}

/// The items of a List: `kind: List`, or a kind that ends in List, has items, and is not itself named.
fn take_items(fields: &mut Map<String, Value>) -> Option<Vec<Value>> {
    let kind = fields.get("kind")?.as_str()?;
    let named = fields.get("metadata").and_then(|metadata| metadata.get("name")).is_some();
    if !kind.ends_with("List") || named || (kind != "List" && !fields.get("items")?.is_array()) {
        return None;
    }
    match fields.remove("items") {
        Some(Value::Array(items)) => Some(items),
        _ => Some(Vec::new()),
    }
}

fn text_of(fields: &Map<String, Value>, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Why a document is not an object, and at which field.
#[derive(Debug)]
pub(crate) struct Unidentified {
    pub(crate) code: Code,
    pub(crate) pointer: &'static str,
    pub(crate) message: String,
}

/// Reads apiVersion, kind, name and namespace. All of them become parts of a URL, so nothing that could lead elsewhere passes.
pub(crate) fn identify(value: &Value) -> Result<ObjectId, Unidentified> {
    let refuse = |pointer, message: String| Unidentified { code: codes::NOT_AN_OBJECT, pointer, message };
    let string = |pointer: &'static str| match value.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        None | Some(Value::Null | Value::String(_)) => Err(refuse(pointer, format!("{} is missing", &pointer[1..].replace('/', ".")))),
        Some(_) => Err(refuse(pointer, format!("{} must be a string; put it in quotes", &pointer[1..].replace('/', ".")))),
    };
    let api_version = string("/apiVersion")?;
    let kind = string("/kind")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let dotted = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    if !dotted(group) || !dotted(version) || version.is_empty() || (group.is_empty() && api_version.contains('/')) {
        return Err(refuse("/apiVersion", format!("`{api_version}` is not [group/]version")));
    }
    if !kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(refuse("/kind", format!("`{kind}` is not a kind")));
    }
    if group == "evenkeel.dev" {
        return Err(own_kind(kind));
    }
    if group == "kustomize.config.k8s.io" {
        return Err(Unidentified { code: codes::NOT_BUILT_YET, pointer: "/kind", message: "Kustomize is not built in yet".to_owned() });
    }
    if value.pointer("/metadata/generateName").is_some() && value.pointer("/metadata/name").is_none() {
        return Err(refuse("/metadata/generateName", "generateName makes a new object at every sync; give metadata.name".to_owned()));
    }
    let name = string("/metadata/name")?;
    if matches!(name, "." | "..") || name.contains(['/', '%']) || name.len() > 253 {
        return Err(refuse("/metadata/name", format!("`{name}` cannot name an object")));
    }
    let namespace = match value.pointer("/metadata/namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) if text.len() <= 63 && dotted(text) && !text.contains('.') => Some(text.clone()),
        Some(_) => return Err(refuse("/metadata/namespace", "metadata.namespace is not a namespace's name".to_owned())),
    };
    Ok(Identity { group: group.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() }.into())
}

fn own_kind(kind: &str) -> Unidentified {
    let file = match kind {
        "Fleet" => "evenkeel.yaml in the root",
        "Environment" => "environment.yaml in the environment's folder",
        "Region" => "region.yaml in the folder of an environment's region",
        "Cluster" => "cluster.yaml in the cluster's folder",
        "Bundle" => "bundle.yaml in a bundle's folder",
        "Overlay" => "overlay.yaml in a layer's root or a bundle's folder",
        _ => return Unidentified { code: codes::NOT_BUILT_YET, pointer: "/kind", message: format!("kind {kind} is not built yet") },
    };
    Unidentified { code: codes::STRAY_FILE, pointer: "/kind", message: format!("kind {kind} belongs in {file}, alone") }
}

/// Metadata that the API server sets.
const SERVER_SET: [&str; 7] =
    ["uid", "resourceVersion", "managedFields", "generation", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Takes out what says nothing (`creationTimestamp: null` and an empty `status`, which generators write) and folds `stringData`;
/// returns what may not be set, with its JSON pointer.
pub(crate) fn scrub(value: &mut Value, id: &ObjectId) -> Vec<(Code, String, String)> {
    let mut bad = Vec::new();
    let mut reserved = |pointer: String, message: String| bad.push((codes::RESERVED_FIELD, pointer, message));
    if let Some(fields) = value.as_object_mut()
        && let Some(status) = fields.get("status")
    {
        if is_blank(status) {
            fields.remove("status");
        } else {
            reserved("/status".to_owned(), "status is the cluster's to write".to_owned());
        }
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        match metadata.get("creationTimestamp") {
            Some(Value::Null) => drop(metadata.remove("creationTimestamp")),
            Some(_) => reserved("/metadata/creationTimestamp".to_owned(), "creationTimestamp is set by the server".to_owned()),
            None => {}
        }
        for field in SERVER_SET.into_iter().filter(|field| metadata.contains_key(*field)) {
            reserved(format!("/metadata/{field}"), format!("{field} is set by the server"));
        }
        for label in [PART_OF, "applyset.kubernetes.io/id"] {
            if metadata.get("labels").is_some_and(|labels| labels.get(label).is_some()) {
                reserved(pointer("/metadata/labels", label), format!("the label {label} is set by Evenkeel alone"));
            }
        }
    }
    for refused in Policy::read(value).1 {
        bad.push((refused.code, pointer("/metadata/annotations", &refused.key), refused.message));
    }
    if id.is("", "Secret") {
        for key in fold_string_data(value) {
            bad.push((codes::NOT_AN_OBJECT, pointer("/stringData", &key), format!("stringData.{key} must be a string; put it in quotes")));
        }
    }
    bad
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_blank),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The JSON pointer of the first directive of a strategic-merge patch in a document.
fn directive(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let is_directive = name.starts_with('$')
                && (matches!(name.as_str(), "$patch" | "$retainKeys")
                    || name.starts_with("$deleteFromPrimitiveList/")
                    || name.starts_with("$setElementOrder/"));
            let below = if is_directive { Some(String::new()) } else { directive(value) };
            below.map(|below| pointer("", name) + &below)
        }),
        Value::Array(items) => items.iter().enumerate().find_map(|(number, item)| Some(format!("/{number}{}", directive(item)?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// What a text holds, one line for each object, warning and mistake.
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn shown(text: &str) -> String {
        let found = read("f.yaml", text);
        let mut out = String::new();
        for manifest in &found.manifests {
            write!(out, "{} at {}", manifest.id, manifest.origin.place()).unwrap();
            writeln!(out, "{}", manifest.directive.as_ref().map(|at| format!(", a patch by {at}")).unwrap_or_default()).unwrap();
        }
        for warning in &found.warnings {
            writeln!(out, "warning {} {}", warning.place, warning.message).unwrap();
        }
        found.problems.iter().for_each(|problem| writeln!(out, "{problem}").unwrap());
        out
    }

    #[test]
    fn documents_and_lists_are_unfolded() {
        let text = "---\n# nothing\n---\nkind: List\napiVersion: v1\nitems:\n  - apiVersion: v1\n    kind: Namespace\n    metadata: {name: a}\n  - apiVersion: rbac.authorization.k8s.io/v1\n    kind: RoleList\n    metadata: {}\n    items:\n      - metadata: {name: r, namespace: a}\n      - metadata: {name: 7}\n---\n{\"apiVersion\": \"x.io/v1\", \"kind\": \"AllowList\", \"metadata\": {\"name\": \"l\"}, \"items\": [1]}\n";
        insta::assert_snapshot!(shown(text), @r"
        Namespace/a at f.yaml:7:5
        Role.rbac.authorization.k8s.io/a/r at f.yaml:14:9
        AllowList.x.io/l at f.yaml:17:1
        f.yaml:15:20: error[EK1002]: metadata.name must be a string; put it in quotes
        ");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let object = |fields: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n{fields}");
        for (text, expected) in [
            ("- a\n".to_owned(), "f.yaml:1:1: error[EK1002]: not a mapping\n"),
            ("apiVersion: v1\nkind: ConfigMap\n".to_owned(), "f.yaml:1:1: error[EK1002]: metadata.name is missing\n"),
            ("apiVersion: /v1\nkind: A\n".to_owned(), "f.yaml:1:1: error[EK1002]: `/v1` is not [group/]version\n"),
            ("apiVersion: a/b/c\nkind: A\n".to_owned(), "f.yaml:1:1: error[EK1002]: `a/b/c` is not [group/]version\n"),
            ("apiVersion: v1\nkind: A/b\n".to_owned(), "f.yaml:2:1: error[EK1002]: `A/b` is not a kind\n"),
            (
                "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a-\n".to_owned(),
                "f.yaml:4:3: error[EK1002]: generateName makes a new object at every sync; give metadata.name\n",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: ../a\n".to_owned(),
                "f.yaml:4:3: error[EK1002]: `../a` cannot name an object\n",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: b/c\n".to_owned(),
                "f.yaml:5:3: error[EK1002]: metadata.namespace is not a namespace's name\n",
            ),
            (
                object("data: {a: b}\n").replace("ConfigMap", "Secret").replace("data: {a: b}", "stringData: {a: 5}"),
                "Secret/a at f.yaml:1:1\nf.yaml:4:14: error[EK1002]: stringData.a must be a string; put it in quotes\n",
            ),
            (
                "apiVersion: kustomize.config.k8s.io/v1\nkind: Component\n".to_owned(),
                "f.yaml:2:1: error[EK1006]: Kustomize is not built in yet\n",
            ),
            ("apiVersion: evenkeel.dev/v2\nkind: Widget\n".to_owned(), "f.yaml:2:1: error[EK1006]: kind Widget is not built yet\n"),
            (object("spec: {a: [{$patch: delete}]}\n"), "ConfigMap/a at f.yaml:1:1, a patch by /spec/a/0/$patch\n"),
            (object("$setElementOrder/a: []\n"), "ConfigMap/a at f.yaml:1:1, a patch by /$setElementOrder~1a\n"),
        ] {
            assert_eq!(shown(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_generators_leave_empty_is_dropped() {
        let text =
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: null}\nstatus: {loadBalancer: {}, conditions: []}\n";
        let found = read("f.yaml", text);
        assert_eq!(found.problems, []);
        assert_eq!(found.manifests[0].value, serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}));
    }

    #[test]
    fn sizes_and_encodings() {
        assert_eq!(text("f.yaml", b"a: \xc3\xa4".to_vec()), Ok("a: \u{e4}".to_owned()));
        let refused = |bytes| text("f.yaml", bytes).map_err(|problem| problem.to_string());
        assert_eq!(refused(b"a\nb\xff".to_vec()), Err("f.yaml: error[EK1017]: not UTF-8 at byte 3, in line 2".to_owned()));
        assert_eq!(refused(vec![b'#'; FILE_MAX + 1]), Err("f.yaml: error[EK1017]: more than 8 MiB".to_owned()));
        assert!(text("f.yaml", vec![b'#'; FILE_MAX]).is_ok());
    }

    #[test]
    fn manifests_by_name() {
        for (name, expected) in
            [("a.yaml", true), ("a.b.yml", true), ("a.json", true), (".yaml", false), ("a.yaml.bak", false), ("yaml", false)]
        {
            assert_eq!(is_manifest(name), expected, "{name}");
        }
    }

    #[test]
    fn values_are_not_shown() {
        let found = read("f.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: hunter2}\n");
        assert_eq!(format!("{:?}", found.manifests), "[Manifest(Secret/a from f.yaml:1)]");
    }
}
