//! `evenkeel plan`: two states of a repository and no cluster.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use git2::{IndexAddOption, Repository, Signature, Time};
use serde_json::Value;

use crate::{Setup, run};

/// A repository in which commits have the same hashes each time.
struct Repo {
    dir: tempfile::TempDir,
    git: Repository,
}

impl Repo {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = git2::RepositoryInitOptions::new();
        let git = Repository::init_opts(dir.path(), options.initial_head("main")).unwrap();
        Self { dir, git }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, files: &[(&str, &str)]) -> &Self {
        for (path, text) in files {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self
    }

    fn remove(&self, path: &str) -> &Self {
        let path = self.path().join(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        self
    }

    fn commit(&self) -> git2::Oid {
        let mut index = self.git.index().unwrap();
        index.add_all(["*"], IndexAddOption::DEFAULT, None).unwrap();
        index.update_all(["*"], None).unwrap();
        let tree = self.git.find_tree(index.write_tree().unwrap()).unwrap();
        let who = Signature::new("Ada", "ada@example", &Time::new(1_700_000_000, 0)).unwrap();
        let parent = self.git.head().ok().map(|head| head.peel_to_commit().unwrap());
        self.git.commit(Some("HEAD"), &who, &who, "A commit", &tree, &parent.iter().collect::<Vec<_>>()).unwrap()
    }

    fn plan(&self, arguments: &str) -> crate::Output {
        run(&self.line(arguments))
    }

    fn line(&self, arguments: &str) -> String {
        let space = if arguments.is_empty() { "" } else { " " };
        format!("evenkeel plan{space}{arguments} --repo {}", self.path().display())
    }

    /// The whole output, with the repository called REPO.
    fn whole(&self, arguments: &str) -> String {
        self.plan(arguments).whole().replace(&self.path().display().to_string(), "REPO")
    }
}

fn own(kind: &str, more: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\n{more}")
}

fn config(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\ndata:\n{data}")
}

fn secret(password: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: shop}}\nstringData: {{same: hunter1, password: {password}}}\n")
}

fn deployment(containers: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  replicas: 2\n  template:\n    spec:\n      \
         containers:\n{containers}"
    )
}

/// Four clusters.
fn base() -> Repo {
    let repo = Repo::new();
    let cluster = own("Cluster", "");
    repo.write(&[
        ("evenkeel.yaml", &own("Fleet", "metadata: {name: test}\n")),
        ("environments/dev/eu/dev-eu-1/cluster.yaml", &cluster),
        ("environments/prod/eu/prod-eu-1/cluster.yaml", &cluster),
        ("environments/prod/eu/prod-eu-2/cluster.yaml", &cluster),
        ("environments/prod/us/prod-us-1/cluster.yaml", &cluster),
        ("base/shop/words.yaml", &config("words", "  text: |\n    one\n    two\n    three\n  word: a\n  gone: x\n")),
        ("base/shop/key.yaml", &secret("hunter2")),
        ("base/shop/old.yaml", &config("old", "  a: b\n")),
        ("base/shop/moved.yaml", &config("moved", "  a: b\n")),
        ("base/shop/web.yaml", &deployment("        - {name: web, image: \"web:1\"}\n        - {name: log, image: \"log:1\"}\n")),
        ("base/jobs/job.yaml", &config("job", "  a: b\n")),
        ("base/jobs/other.yaml", &config("other", "  a: b\n")),
    ]);
    repo.commit();
    repo
}

/// The same after a commit with every kind of change in it.
fn changed() -> Repo {
    let repo = base();
    repo.write(&[
        ("base/shop/words.yaml", &config("words", "  text: |\n    one\n    2\n    three\n  word: b\n  new: z\n")),
        ("base/shop/key.yaml", &secret("hunter3")),
        ("base/shop/new.yaml", &config("new", "  a: b\n")),
        ("base/jobs/moved.yaml", &config("moved", "  a: b\n")),
        ("base/jobs/bundle.yaml", &own("Bundle", "spec: {paused: true}\n")),
        ("base/shop/web.yaml", &deployment("        - {name: log, image: \"log:1\"}\n        - {name: web, image: \"web:2\"}\n")),
        ("environments/prod/eu/prod-eu-2/shop/broken.yaml", "a: [\n"),
        ("environments/dev/eu/dev-eu-2/cluster.yaml", &own("Cluster", "")),
        ("environments/dev/eu/dev-eu-1/cluster.yaml", &own("Cluster", "spec: {paused: true}\n")),
    ]);
    repo.remove("base/shop/old.yaml").remove("base/shop/moved.yaml").remove("base/jobs/job.yaml").remove("environments/prod/us");
    repo.commit();
    repo
}

/// What `-o json` prints, for the test of its schema: every list of it has something in it.
pub(crate) fn answer() -> Value {
    serde_json::from_str(&changed().plan("HEAD -o json").out).unwrap()
}

/// Every form of the plan of changes in and around that value of a Secret.
pub(crate) fn planned_secret(value: &str) -> String {
    let (quoted, encoded) = (serde_json::to_string(value).unwrap(), STANDARD.encode(value));
    let file = |more: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: thrown, namespace: shop}}\n{more}\n");
    let contents = [
        file("data: {b: MQ==}"),
        file(&format!("stringData: {{a: {quoted}}}\ndata: {{b: {encoded}}}")),
        file(&format!("stringData: {{a: {quoted}, c: {quoted}}}")),
        file(""),
        file(&format!("data: {{b: {encoded}}}")),
    ];
    let repo = base();
    let mut printed = String::new();
    for content in contents {
        repo.write(&[("base/shop/thrown.yaml", &content)]);
        for form in ["table", "json", "markdown"] {
            let output = repo.plan(&format!("-o {form}"));
            assert!(output.code == 3 && output.out.contains("thrown"), "{}", output.err);
            printed += &output.whole();
        }
        repo.commit();
    }
    printed
}

#[test]
fn every_kind_of_change() {
    let repo = changed();
    insta::assert_snapshot!(repo.whole("HEAD"));
    insta::assert_snapshot!(repo.whole("HEAD -o json"));
    insta::assert_snapshot!(repo.whole("HEAD -o markdown"));
    let colored = Setup { color: true, ..Setup::default() }.run(&repo.line("HEAD")).out;
    assert!(colored.contains("\u{1b}[31mdelete ConfigMap/shop/old (bundle shop)\u{1b}[0m\n"), "{colored}");
    let yaml: Value = serde_yaml::from_str(&repo.plan("HEAD -o yaml").out).unwrap();
    assert_eq!(yaml, answer());
}

#[test]
fn no_form_shows_a_value_of_a_secret() {
    let repo = changed();
    for form in ["table", "json", "yaml", "markdown"] {
        let output = repo.plan(&format!("HEAD -o {form}"));
        assert!(output.out.contains("data.password") && !output.out.contains("data.same"), "{form}: {}", output.out);
        for hidden in ["hunter", "aHVudGVy"] {
            assert!(!output.out.contains(hidden) && !output.err.contains(hidden), "{form} shows {hidden}");
        }
    }
}

#[test]
fn the_exit_code_says_what_came_out() {
    let repo = base();
    assert_eq!((repo.plan("").code, repo.plan("HEAD..HEAD").code), (0, 0));
    repo.write(&[("README.md", "Nothing of this is rendered.\n"), (".evenkeelignore", "README.md\n")]);
    repo.commit();
    insta::assert_snapshot!(repo.whole("HEAD"));
    repo.write(&[("base/shop/old.yaml", &config("old", "  a: c\n"))]);
    assert_eq!(repo.plan("").code, 3, "not committed yet");
    assert_eq!(repo.plan("HEAD").code, 0);
    repo.write(&[("base/shop/broken.yaml", "a: [\n")]);
    assert_eq!(repo.plan("").code, 1);
    repo.remove("base/shop/broken.yaml").remove("evenkeel.yaml");
    insta::assert_snapshot!(repo.whole(""));
}

#[test]
fn all_forms_of_a_range() {
    let repo = base();
    let first = repo.git.head().unwrap().target().unwrap();
    repo.write(&[("base/shop/old.yaml", &config("old", "  a: c\n"))]);
    let second = repo.commit();
    // A branch that left at the first commit.
    repo.git.branch("side", &repo.git.find_commit(first).unwrap(), false).unwrap();
    repo.git.set_head("refs/heads/side").unwrap();
    repo.git.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();
    repo.write(&[("base/shop/new.yaml", &config("new", "  a: b\n"))]);
    repo.commit();
    let counts = |range: &str| {
        let output = repo.plan(&format!("{range} -o json"));
        let answer: Value = serde_json::from_str(&output.out).unwrap_or_else(|_| panic!("{range}: {}", output.err));
        let count = |list: &str| answer["clusters"][0][list].as_array().unwrap().len();
        (count("create"), count("change"), count("delete"))
    };
    assert_eq!(counts("main..side"), (1, 1, 0), "from one to the other");
    assert_eq!(counts("main...side"), (1, 0, 0), "what the branch changes");
    assert_eq!(counts("main...HEAD"), (1, 0, 0));
    assert_eq!(counts(&format!("{first}..{second}")), (0, 1, 0));
    assert_eq!(counts("HEAD"), (1, 0, 0), "against its parent");
    assert_eq!(counts("HEAD~1"), (7, 0, 0), "against nothing");
    assert_eq!(counts("main.."), (1, 1, 0));
    repo.write(&[("base/shop/newer.yaml", &config("newer", "  a: b\n"))]);
    assert_eq!((counts("main..."), counts("HEAD.."), counts("main..HEAD")), ((2, 0, 0), (1, 0, 0), (1, 1, 0)));
    for (range, code) in [("nothing..HEAD", 1), ("HEAD..nothing", 1), ("nothing", 1)] {
        let output = repo.plan(range);
        assert_eq!((output.code, &output.err[..13]), (code, "error[EK2006]"), "{range}: {}", output.err);
    }
}

#[test]
fn a_bare_repository_has_no_files() {
    let repo = changed();
    let bare = tempfile::tempdir().unwrap();
    git2::build::RepoBuilder::new().bare(true).clone(repo.path().to_str().unwrap(), bare.path()).unwrap();
    let plan = |arguments: &str| run(&format!("evenkeel plan {arguments} --repo {}", bare.path().display()));
    assert_eq!(plan("main~..main").out, repo.plan("HEAD").out);
    let output = plan("main..");
    assert_eq!((output.code, &output.err[..13]), (2, "error[EK6001]"), "{}", output.err);
}

#[test]
fn a_shallow_clone_is_named_as_the_reason() {
    let repo = changed();
    let clone = tempfile::tempdir().unwrap();
    let done = std::process::Command::new("git")
        .args(["clone", "--quiet", "--depth=1", &format!("file://{}", repo.path().display())])
        .arg(clone.path())
        .status()
        .unwrap();
    assert!(done.success());
    for range in ["HEAD", "HEAD~..HEAD"] {
        let output = run(&format!("evenkeel plan {range} --repo {}", clone.path().display()));
        assert_eq!(output.code, 1, "{}", output.out);
        assert!(output.err.contains("EK2006") && output.err.contains("shallow"), "{}", output.err);
    }
}

#[test]
fn a_folder_that_is_no_repository() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&format!("evenkeel plan --repo {}", folder.path().display()));
    assert_eq!(output.code, 1);
    assert!(output.err.contains("hint: plan compares revisions of a Git repository"), "{}", output.err);
}
