//! `evenkeel init`: what it writes is a repository without a mistake.

use std::{fs, path::Path, process::Command};

use crate::{Output, run};

fn init(dir: &Path, flags: &str) -> Output {
    run(&format!("evenkeel init {}{flags}", dir.display()))
}

fn git(dir: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example"];
    let output = Command::new("git").current_dir(dir).args(identity).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_new_repository_passes_check_and_renders() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("deep/fleet");
    let said = init(&dir, " --name shop");
    let root = place.path().display().to_string();
    insta::assert_snapshot!(said.whole().replace(&root, "ROOT"));
    git(&dir, &["init", "--quiet", "--initial-branch", "main"]);
    git(&dir, &["add", "--all"]);
    git(&dir, &["commit", "--quiet", "--message", "Begin the fleet"]);
    let check = run(&format!("evenkeel check --strict --rev main --repo {}", dir.display()));
    assert_eq!((check.code, check.out.as_str()), (0, "2 clusters, no mistakes, no warnings\n"));
    let rendered =
        ["staging-eu-1", "prod-eu-1"].map(|cluster| run(&format!("evenkeel render {cluster} --rev main --repo {}", dir.display())).out);
    insta::assert_snapshot!(rendered.join("\n"));
    assert!(fs::read_to_string(dir.join("evenkeel.yaml")).unwrap().contains("\n  name: shop\n"));
    assert!(fs::read_to_string(dir.join("README.md")).unwrap().starts_with("# shop\n"));
}

#[test]
fn the_name_is_the_folders() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(init(&place.path().join("my-fleet"), "").code, 0);
    assert!(fs::read_to_string(place.path().join("my-fleet/evenkeel.yaml")).unwrap().contains("\n  name: my-fleet\n"));
    for (dir, flags) in [("Fleet", ""), ("fleet", " --name Fleet")] {
        let refused = init(&place.path().join(dir), flags);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(!place.path().join(dir).exists());
    }
}

#[test]
fn nothing_is_written_where_something_is_in_the_way() {
    for (file, taken) in
        [("base/web/a.yaml", "base"), ("README.md", "README.md"), ("components/x", "components"), ("environments", "environments")]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        let refused = init(dir.path(), " --name shop");
        let expect = format!("error[EK6020]: {} holds {taken} already; nothing was written\n", dir.path().display());
        assert!(refused.code == 1 && refused.err.starts_with(&expect), "{}", refused.err);
        assert_eq!((fs::read_dir(dir.path()).unwrap().count(), fs::read_to_string(&path).unwrap().as_str()), (1, "mine"));
    }
}

#[test]
fn what_is_not_read_is_not_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "--quiet"]);
    fs::write(dir.path().join("LICENSE"), "").unwrap();
    assert_eq!(init(dir.path(), " --name shop").code, 0);
}

#[test]
fn a_folder_that_cannot_be_made_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let refused = init(&dir.path().join("file/fleet"), "");
    assert!(refused.code == 1 && refused.err.starts_with("error[EK6008]: cannot write "), "{}", refused.err);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
