//! `evenkeel blame`: a repository with a history.

use std::path::Path;

use evenkeel::{
    manifest::ObjectId,
    plan::object::LiveObject,
    sync::preview::{FieldOrigin, LiveField},
};
use serde_json::{Value, json};

use crate::{fleet, repo, run, server};

const OVERLAY: &str = "environments/dev/base/overlay.yaml";

/// Commits all files as they are, so many seconds before now.
fn commit(dir: &Path, author: &str, ago: i64) {
    let git = git2::Repository::init(dir).unwrap();
    let mut index = git.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    let tree = git.find_tree(index.write_tree().unwrap()).unwrap();
    let time = git2::Time::new(fleet::now().as_second() - ago, 0);
    let who = git2::Signature::new(author, &format!("{author}@example"), &time).unwrap();
    let parents: Vec<git2::Commit<'_>> = git.head().ok().map(|head| head.peel_to_commit().unwrap()).into_iter().collect();
    git.commit(Some("HEAD"), &who, &who, "a change", &tree, &parents.iter().collect::<Vec<_>>()).unwrap();
}

/// Two commits and a change that is not committed.
fn history() -> tempfile::TempDir {
    let repo = repo::repo(&[]);
    commit(repo.path(), "Ada", 40 * 86_400);
    std::fs::create_dir_all(repo.path().join("environments/dev/base")).unwrap();
    let overlay = "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nlabels:\n  - pairs:\n      tier: dev\n";
    std::fs::write(repo.path().join(OVERLAY), overlay).unwrap();
    commit(repo.path(), "Ben", 7200);
    std::fs::write(repo.path().join(OVERLAY), overlay.to_owned() + "      stage: one\n").unwrap();
    repo
}

fn whole(dir: &Path, line: &str) -> String {
    let dir = dir.display().to_string();
    run(&format!("evenkeel blame {line} --repo {dir} --state-dir /nonexistent")).whole().replace(&dir, "REPO")
}

/// The object as an agent would say that it stands: of each origin something.
pub(crate) fn live(object: ObjectId) -> LiveObject {
    let field = |path: &str, value: Value, origin, manager: Option<&str>| LiveField {
        path: path.to_owned(),
        value: Some(value).filter(|value| !value.is_null()),
        origin,
        manager: manager.map(str::to_owned),
        time: manager.map(|_| "2026-11-24T09:00:00Z".to_owned()),
    };
    let fields = vec![
        field("/data/a", json!("no\u{1b}[2J"), FieldOrigin::Drifted, Some("kubectl-edit")),
        field("/data/b", Value::Null, FieldOrigin::Drifted, None),
        field("/data/c", json!("more"), FieldOrigin::Other, Some("kubectl-patch")),
        field("/immutable", json!(false), FieldOrigin::Default, None),
        field("/kind", json!("ConfigMap"), FieldOrigin::Git, None),
        field("/metadata/annotations/note", json!("theirs"), FieldOrigin::GivenUp, Some("notes")),
        field("/metadata/finalizers", json!(["a", "b"]), FieldOrigin::GivenUp, Some("notes")),
    ];
    LiveObject { schema: 1, cluster: "dev-eu-1".to_owned(), commit: fleet::commit(0xc3), object, fields: Some(fields) }
}

/// The same line asked of an agent that answers so.
fn asked(dir: &Path, line: &str) -> crate::Output {
    let agent = server::agent();
    run(&format!("evenkeel blame {line} --repo {} --server http://{}", dir.display(), agent.address))
}

/// What `-o json` says.
pub(crate) fn printed() -> Value {
    let repo = history();
    let output = asked(repo.path(), "dev-eu-1 cm/words -o json --rev HEAD");
    assert_eq!(output.code, 0, "{}", output.err);
    serde_json::from_str(&output.out).unwrap()
}

#[test]
fn lines_commits_and_authors() {
    let repo = history();
    let lines = ["dev-eu-1 ConfigMap/shop/words", "dev-eu-1 configmaps/words --rev HEAD", "dev-eu-1 secret/key", "prod-eu-1 ns/shop"];
    insta::assert_snapshot!(lines.map(|line| whole(repo.path(), line)).join("\n"));
    insta::assert_snapshot!(whole(repo.path(), "dev-eu-1 ns/shop -o json --rev HEAD"));
}

/// What differs in the cluster stands beside its line, and what only the cluster has below.
#[test]
fn the_cluster_stands_beside_git() {
    let repo = history();
    let output = asked(repo.path(), "dev-eu-1 cm/words --rev HEAD");
    insta::assert_snapshot!(format!("{}{}", output.out, output.err));
    assert_eq!(output.code, 0);
}

/// A bare repository is read at its HEAD.
#[test]
fn a_bare_repository() {
    let repo = history();
    let bare = tempfile::tempdir().unwrap();
    git2::build::RepoBuilder::new().bare(true).clone(repo.path().to_str().unwrap(), bare.path()).unwrap();
    assert_eq!(run(&format!("evenkeel check --repo {}", bare.path().display())).code, 0);
    let line = "dev-eu-1 cm/words";
    let at_head = whole(repo.path(), &format!("{line} --rev HEAD")).replace(" --rev HEAD", "");
    assert_eq!(whole(bare.path(), line), at_head);
}

#[test]
fn outside_of_git_there_are_lines_alone() {
    let repo = repo::repo(&[]);
    insta::assert_snapshot!(whole(repo.path(), "dev-eu-1 ns/shop"));
}

#[test]
fn what_is_not_there() {
    let more = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words, namespace: other}\n";
    let repo = repo::repo(&[("base/shop/more.yaml", more)]);
    let lines = ["dev-eu-1 cm/none", "dev-eu-1 cm/words", "dev-eu-1 words", "nowhere cm/words"];
    insta::assert_snapshot!(lines.map(|line| whole(repo.path(), line)).join("\n"));
}
