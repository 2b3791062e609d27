//! `evenkeel check` and `evenkeel render`: a repository and no cluster.

use std::path::Path;

use crate::run;

/// A fleet of two clusters whose one Secret is worth hiding.
const FILES: &[(&str, &str)] = &[
    ("evenkeel.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata:\n  name: test\n"),
    (
        "base/shop/all.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: words\n  \
         namespace: shop\n  annotations:\n    note: kept\ndata:\n  a: \"yes\"\n  b: \"0644\"\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  \
         name: key\n  namespace: shop\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{\"stringData\":{\"a\":\"hunter2\"}}'\n\
         stringData:\n  password: hunter2\ndata:\n  other: aHVudGVyMg==\n",
    ),
    (CLUSTER, "apiVersion: evenkeel.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: dev-eu-1\n"),
    ("environments/prod/eu/prod-eu-1/cluster.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: prod-eu-1\n"),
];
const CLUSTER: &str = "environments/dev/eu/dev-eu-1/cluster.yaml";

pub(crate) fn repo(more: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in FILES.iter().chain(more) {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// The command's whole output, with the repository called REPO.
fn whole(dir: &Path, line: &str) -> String {
    let dir = dir.display().to_string();
    run(&format!("evenkeel {line} --repo {dir}")).whole().replace(&dir, "REPO")
}

#[test]
fn a_good_repository() {
    let repo = repo(&[]);
    insta::assert_snapshot!(whole(repo.path(), "check"));
}

#[test]
fn every_mistake_with_its_place_and_whom_it_refuses() {
    let repo = repo(&[
        ("base/shop/broken.yaml", "a: [\n"),
        ("environments/prod/stray.txt", "x"),
        (
            "environments/dev/base/shop/typo.patch.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: word\n  namespace: shop\ndata: {}\n",
        ),
    ]);
    insta::assert_snapshot!(whole(repo.path(), "check"));
}

#[test]
fn a_folder_that_is_no_repository() {
    let empty = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(
        [whole(empty.path(), "check"), whole(empty.path(), "render dev-eu-1"), whole(empty.path(), "check --rev main")].join("\n")
    );
    let output = run("evenkeel check --repo https://u:hunter2@git.example/a");
    assert_eq!(output.code, 2);
    assert!(output.err.starts_with("error[EK2007]: https://***@git.example/a is no path of this machine\n"), "{}", output.err);
}

#[test]
fn a_rendering_in_yaml_and_json() {
    let repo = repo(&[]);
    insta::assert_snapshot!(whole(repo.path(), "render dev-eu-1"));
    insta::assert_snapshot!(whole(repo.path(), "render dev-eu-1 -o json"));
}

#[test]
fn a_rendering_shows_no_value_of_a_secret_and_no_digest_of_one() {
    let repo = repo(&[]);
    for line in ["render dev-eu-1", "render dev-eu-1 -o json"] {
        let whole = whole(repo.path(), line);
        assert!(whole.contains("***") && whole.contains("kept"), "{whole}");
        for secret in ["hunter2", "aHVudGVyMg", "evenkeel.dev/digest", "applyset"] {
            assert!(!whole.contains(secret), "{secret} in {whole}");
        }
    }
}

#[test]
fn what_cannot_be_rendered() {
    let repo = repo(&[("base/shop/broken.yaml", "a: [\n")]);
    insta::assert_snapshot!([whole(repo.path(), "render dev-eu-1"), whole(repo.path(), "render dev-eu-2")].join("\n"));
}

#[test]
fn a_revision_is_read_from_git_and_not_from_the_files() {
    let repo = repo(&[]);
    let git = git2::Repository::init(repo.path()).unwrap();
    let mut index = git.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    let tree = git.find_tree(index.write_tree().unwrap()).unwrap();
    let who = git2::Signature::now("a", "a@example").unwrap();
    let commit = git.commit(Some("HEAD"), &who, &who, "first", &tree, &[]).unwrap().to_string();
    std::fs::write(repo.path().join("base/shop/broken.yaml"), "a: [\n").unwrap();
    let code = |line: &str| run(&format!("evenkeel {line} --repo {}", repo.path().display())).code;
    assert_eq!((code("check"), code("check --rev HEAD"), code(&format!("check --rev {commit}"))), (1, 0, 0));
    assert_eq!((code("render dev-eu-1"), code("render dev-eu-1 --rev HEAD")), (1, 0));
    let unknown = run(&format!("evenkeel check --rev 1234567 --repo {}", repo.path().display()));
    assert!(unknown.code == 1 && unknown.err.starts_with("error[EK2006]: "), "{}", unknown.err);
}

/// The example that the documentation and the demo use.
#[test]
fn the_example_has_no_mistake() {
    let output = run(&format!("evenkeel check --repo {}/examples/repo-layout", env!("CARGO_MANIFEST_DIR")));
    assert_eq!((output.code, output.out.as_str()), (0, "6 clusters, no mistakes, no warnings\n"));
}

#[test]
fn given_up_fields_are_shown_where_they_count() {
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\n  annotations:\n    evenkeel.dev/ignore: \
               /spec/replicas, /spec/replica\nspec:\n  replicas: 3\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
               spec: {containers: [{name: web, image: web}]}\n";
    let repo = repo(&[("base/shop/web.yaml", web)]);
    let rendered = whole(repo.path(), "render dev-eu-1");
    assert!(rendered.contains("\n  replicas: 3\n"), "what it is created with: {rendered}");
    let blamed = whole(repo.path(), "blame dev-eu-1 deploy/web");
    assert!(blamed.contains("spec.selector") && !blamed.contains("spec.replicas"), "nobody is to be blamed for it: {blamed}");
    let checked = whole(repo.path(), "check");
    assert!(checked.contains("base/shop/web.yaml:1:1: warning[EK1040]: Deployment.apps/shop/web gives up /spec/replica, and"), "{checked}");
    assert!(!checked.contains("gives up /spec/replicas,"), "{checked}");
}
