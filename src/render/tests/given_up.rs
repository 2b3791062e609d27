//! Fields given up by `evenkeel.dev/ignore`, and modes of drift.

use super::*;
use crate::manifest::Drift;

fn deployment(ignore: &str, spec: &str) -> String {
    format!(
        "apiVersion: example.org/v1\nkind: Web\nmetadata:\n  name: web\n  namespace: a\n  annotations: {{evenkeel.dev/ignore: {ignore}}}\nspec: {spec}\n"
    )
}

fn one(ignore: &str, spec: &str) -> Arc<RenderedObject> {
    let rendering = render(&renderer(), &tree(&[("base/app/web.yaml", &deployment(ignore, spec))]), "dev").unwrap();
    Arc::clone(&rendering.objects[0])
}

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    render(&renderer(), &tree(files), "dev").unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_given_up_field_is_no_part_of_the_object() {
    let web = one("/spec/replicas", "{replicas: 3, image: a}");
    assert_eq!(content(&web)["spec"], serde_json::json!({"image": "a"}));
    assert_eq!(web.whole()["spec"], serde_json::json!({"image": "a", "replicas": 3}), "what it is created with");
    assert_eq!(web.given_up.as_ref().unwrap().pointers, ["/spec/replicas"]);
    let marks = |body: &Body| serde_json::from_slice::<Value>(body.as_slice()).unwrap()["metadata"].clone();
    assert_eq!(marks(&web.body), marks(web.first_body()), "created with the digest that it is compared by");

    let scaled = one("/spec/replicas", "{replicas: 9, image: a}");
    assert_eq!((web.digest, &web.body), (scaled.digest, &scaled.body), "its value in Git changes nothing");
    assert_eq!(scaled.whole()["spec"]["replicas"], 9);
    assert_ne!(web.digest, one("/spec/replicas", "{replicas: 3, image: b}").digest);
    assert_ne!(web.digest, one("'/spec/replicas,/spec/other'", "{replicas: 3, image: a}").digest, "the annotation is a part of it");
    assert_eq!(one("/spec", "{replicas: 3}").content().get("spec"), None);
}

#[test]
fn what_a_cluster_says_of_a_given_up_field_is_its_own() {
    let files = [
        ("base/app/web.yaml", deployment("/spec/replicas", "{replicas: 3, image: a}")),
        (
            "environments/prod/base/app/web.yaml",
            "apiVersion: example.org/v1\nkind: Web\nmetadata: {name: web, namespace: a}\nspec: {replicas: 5}\n".to_owned(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let renderer = renderer();
    let (dev, prod) = (render(&renderer, &tree(&files), "dev").unwrap(), render(&renderer, &tree(&files), "prod").unwrap());
    assert_eq!(dev.digest, prod.digest, "they run the same");
    let replicas = |rendering: &Rendering| rendering.objects[0].whole()["spec"]["replicas"].clone();
    assert_eq!((replicas(&dev), replicas(&prod)), (3.into(), 5.into()), "and begin with their own");
}

#[test]
fn pointers_that_cannot_be_are_refused_where_they_stand() {
    let at = "base/app/web.yaml:6:17: error[EK1015]:";
    for (ignore, why) in [
        ("spec.replicas", "`spec.replicas` is not a JSON pointer; it must begin with /, such as /spec/replicas"),
        ("/metadata/name", "`/metadata/name` says which object it is, which cannot be given up"),
        ("/spec/items/0/a", "`/spec/items/0/a` leads into the list /spec/items; fields of mappings can be given up, or a list as a whole"),
    ] {
        let found = problems(&[("base/app/web.yaml", &deployment(ignore, "{items: [{a: b}]}"))]);
        assert!(found[0].starts_with(at) && found[0].ends_with(why), "{ignore}: {found:?}");
    }
    // The list comes with a patch, so that only the whole object shows it.
    let patch = "apiVersion: example.org/v1\nkind: Web\nmetadata: {name: web, namespace: a}\nspec: {items: [{a: b}]}\n";
    let found = problems(&[("base/app/web.yaml", &deployment("/spec/items/0/a", "{}")), ("base/app/web.patch.yaml", patch)]);
    let why = "`/spec/items/0/a` leads into the list /spec/items; fields of mappings can be given up, or a list as a whole";
    assert_eq!(found, [format!("base/app/web.patch.yaml:1:1: error[EK1015]: /metadata/annotations/evenkeel.dev~1ignore: {why}")]);
}

#[test]
fn a_pointer_that_finds_nothing_is_idle() {
    let files = [("base/app/web.yaml", deployment("'/spec/replicas,/spec/replica'", "{replicas: 3}"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let idle: Vec<String> = render(&renderer(), &tree(&files), "dev").unwrap().idle.iter().map(ToString::to_string).collect();
    let message = "Web.example.org/a/web gives up /spec/replica, and Git gives that field no value";
    assert_eq!(idle, [format!("base/app/web.yaml:1:1: error[EK1040]: {message}")]);
}

#[test]
fn the_deepest_word_on_a_bundles_drift_counts_and_changes_the_rendering() {
    let bundle = |spec: &str| format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec: {{{spec}}}\n");
    let one = config("one", "{}");
    let modes = |base: &str, prod: &str| {
        let (base, prod) = (bundle(base), bundle(prod));
        let files = [("base/app/one.yaml", &*one), ("base/app/bundle.yaml", &base), ("environments/prod/base/app/bundle.yaml", &prod)];
        let renderer = renderer();
        ["dev", "prod"].map(|cluster| {
            let rendering = render(&renderer, &tree(&files), cluster).unwrap();
            (rendering.bundles["app"].drift, rendering.digest)
        })
    };
    let [dev, prod] = modes("drift: off", "drift: report");
    assert_eq!((dev.0, prod.0), (Some(Drift::Off), Some(Drift::Report)));
    let [plain, silent] = modes("", "paused: false");
    assert_eq!((plain.0, silent.0), (None, None));
    let [_, inherited] = modes("drift: repair", "paused: false");
    assert_eq!(inherited.0, Some(Drift::Repair));
    let digests: BTreeSet<Digest> = [dev.1, prod.1, plain.1, inherited.1].into();
    assert_eq!((digests.len(), plain.1 == silent.1), (4, true));
}
