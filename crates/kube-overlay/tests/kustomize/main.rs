//! Compares with the real Kustomize, object by object: the program in `reference/` is built from its Go module and builds the same
//! kustomizations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod generated;
mod handmade;
mod stacks;

use kube_overlay::{Overlay, PatchSource, Table};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

/// One kustomization and what it works on.
pub(crate) struct Case {
    /// For messages.
    pub(crate) name: String,
    /// The manifests.
    pub(crate) objects: Vec<Value>,
    /// `kustomization.yaml` without `resources`.
    pub(crate) overlay: String,
}

/// What became of the objects, or that it failed.
type Outcome = Result<Vec<Value>, String>;

#[derive(Deserialize)]
struct ReferenceResult {
    objects: Option<Vec<Value>>,
    error: String,
}

/// Whether both made the same, or both refuse it.
pub(crate) fn agree<T: PartialEq, A, B>(ours: &Result<T, A>, theirs: &Result<T, B>) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

/// Checks that Kustomize and this crate make the same of every case, or both refuse it. Returns how many were not refused.
pub(crate) fn compare(cases: &[Case]) -> usize {
    let mut wrong = Vec::new();
    let mut accepted = 0;
    for (case, theirs) in cases.iter().zip(reference(cases)) {
        let ours = ours(case);
        accepted += usize::from(theirs.is_ok());
        if !agree(&ours, &theirs) {
            let (ours, theirs) = differing(ours, theirs);
            wrong.push(format!("== {}\nobjects: {}\n{}\nours:   {ours}\ntheirs: {theirs}\n", case.name, json!(case.objects), case.overlay));
        }
    }
    let shown = wrong.iter().take(5).map(String::as_str).collect::<String>();
    assert!(wrong.is_empty(), "{} of {} cases differ\n{shown}", wrong.len(), cases.len());
    accepted
}

/// Both outcomes as text, without the objects that are the same.
fn differing(ours: Outcome, theirs: Outcome) -> (String, String) {
    let show = |outcome: Outcome| outcome.map_or_else(|error| format!("error: {error}"), |objects| Value::from(objects).to_string());
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if ours.len() == theirs.len() => {
            let (ours, theirs) = ours.into_iter().zip(theirs).filter(|(ours, theirs)| ours != theirs).unzip();
            (show(Ok(ours)), show(Ok(theirs)))
        }
        (ours, theirs) => (show(ours), show(theirs)),
    }
}

/// What this crate makes of a case.
pub(crate) fn ours(case: &Case) -> Outcome {
    let mut overlay: Overlay = serde_yaml::from_str(&case.overlay).map_err(|error| error.to_string())?;
    for patch in &mut overlay.patches {
        let PatchSource::Inline(text) = &patch.source else { panic!("{}: patches are inline here", case.name) };
        patch.content = documents(text).into_iter().map(Arc::new).collect();
    }
    let mut objects: Vec<Arc<Value>> = case.objects.iter().cloned().map(Arc::new).collect();
    overlay.apply(&mut objects, Table::bundled()).map_err(|error| error.to_string())?;
    Ok(objects.iter().filter(|object| !object.is_null()).map(|object| Value::clone(object)).collect())
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn join(documents: &[Value]) -> String {
    documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// The kustomization as JSON, with its patches, so that YAML's ambiguities play no part.
fn kustomization(case: &Case) -> String {
    let mut kustomization: Value = serde_yaml::from_str(&case.overlay).unwrap();
    kustomization["resources"] = json!(["resources.yaml"]);
    for patch in kustomization.get_mut("patches").and_then(Value::as_array_mut).into_iter().flatten() {
        patch["patch"] = json!(join(&documents(patch["patch"].as_str().unwrap_or_default())));
    }
    kustomization.to_string()
}

/// What Kustomize makes of them.
pub(crate) fn reference(cases: &[Case]) -> Vec<Outcome> {
    let files = |case: &Case| json!({"resources.yaml": join(&case.objects), "kustomization.yaml": kustomization(case)});
    build(&cases.iter().map(files).collect::<Vec<_>>())
}

/// What Kustomize makes of folders, each given as a map of its files.
pub(crate) fn build(folders: &[Value]) -> Vec<Outcome> {
    let input = json!(folders).to_string();
    let mut child = Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let results: Vec<ReferenceResult> = serde_json::from_slice(&output.stdout).expect("the reference answers with JSON");
    assert_eq!(results.len(), folders.len());
    results
        .into_iter()
        .map(|result| if result.error.is_empty() { Ok(result.objects.unwrap_or_default()) } else { Err(result.error) })
        .collect()
}

/// The reference program, built at its first use. It stays in a cache outside the checkout, under a name that changes with its source.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference");
        let mut hasher = DefaultHasher::new();
        for file in ["main.go", "go.mod", "go.sum"] {
            std::fs::read(source.join(file)).unwrap().hash(&mut hasher);
        }
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .filter(|path| !path.is_empty())
            .map_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME or XDG_CACHE_HOME is set")).join(".cache"), PathBuf::from);
        let folder = cache.join("evenkeel/testbed/kustomize-v5.7.1");
        let program = folder.join(format!("reference-{:016x}", hasher.finish()));
        if program.exists() {
            return program;
        }
        std::fs::create_dir_all(&folder).unwrap();
        // Built beside its place and moved there whole, since several test runs may share the cache.
        let draft = tempfile::Builder::new().prefix("building-").tempdir_in(&folder).unwrap();
        let built = draft.path().join("reference");
        let status = Command::new("go").args(["build", "-trimpath", "-o"]).arg(&built).arg(".").current_dir(&source).status();
        let status = status.expect("Go is needed to build the Kustomize that this test compares with: install Go 1.24 or newer");
        assert!(status.success(), "go build of crates/kube-overlay/reference failed");
        std::fs::rename(&built, &program).unwrap();
        program
    })
}
