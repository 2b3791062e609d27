#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use super::*;
use crate::{
    git::{CommitId, Credentials},
    notify::Progress,
};

fn api(forge: Forge, remote: &str, url: Option<&str>, repo: Option<&str>) -> Result<Api, Diagnostic> {
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    fs::write(&token_file, "hunter2\n").unwrap();
    fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = ForgeSettings { forge, url: url.map(str::to_owned), repo: repo.map(str::to_owned), token_file };
    Api::new(&settings, &Remote::new(remote, "main", Credentials::default()).unwrap())
}

#[test]
fn the_api_follows_from_the_repositorys_address() {
    use Forge::{Gitea, Github, Gitlab};
    for (forge, remote, place) in [
        (Github, "https://github.com/acme/fleet.git", "acme/fleet of https://api.github.com"),
        (Github, "git@github.com:acme/fleet.git", "acme/fleet of https://api.github.com"),
        (Github, "ssh://git@ssh.github.com:443/acme/fleet.git", "acme/fleet of https://api.github.com"),
        (Github, "https://github.example.com/acme/fleet", "acme/fleet of https://github.example.com/api/v3"),
        (Gitlab, "https://gitlab.com/a/b/fleet.git", "a/b/fleet of https://gitlab.com/api/v4"),
        (Gitlab, "ssh://git@gitlab.example.com:2222/a/fleet.git", "a/fleet of https://gitlab.example.com/api/v4"),
        (Gitea, "https://codeberg.org/acme/fleet.git", "acme/fleet of https://codeberg.org/api/v1"),
        (Gitea, "https://example.com:3000/git/acme/fleet", "acme/fleet of https://example.com:3000/git/api/v1"),
        (Gitea, "http://127.0.0.1:3000/acme/fleet", "acme/fleet of http://127.0.0.1:3000/api/v1"),
    ] {
        assert_eq!(api(forge, remote, None, None).unwrap().place(), place, "{remote}");
    }
    let set = api(Gitlab, "/srv/git/x", Some("https://h/gitlab/api/v4/"), Some("/a/b.git")).unwrap();
    assert_eq!(set.place(), "a/b of https://h/gitlab/api/v4");
}

#[test]
fn what_cannot_be_found_or_would_show_the_token_is_refused() {
    use Forge::Github;
    for (remote, url, repo, expect) in [
        ("/srv/git/fleet", None, Some("a/b"), "--forge-url is missing"),
        ("/srv/git/fleet", Some("https://h"), None, "--forge-repo is missing"),
        ("http://git.example.com/a/b", None, None, "unencrypted"),
        ("https://h/a/b", Some("http://git.example.com/api/v3"), None, "unencrypted"),
        ("https://h/a/b", Some("https://u:hunter2@h/api"), None, "without a user"),
        ("https://h/a/b", Some("ftp://h"), None, "of the form"),
        ("https://h/a/b", Some("https://h/?x"), None, "of the form"),
        ("https://h/b", None, None, "is no repository of a forge"),
        ("https://h/a/b", None, Some("a b/c"), "is no repository of a forge"),
    ] {
        let error = api(Github, remote, url, repo).unwrap_err();
        assert_eq!(error.code, codes::FORGE);
        assert!(error.message.contains(expect) && !error.message.contains("hunter2"), "{remote} {url:?}: {error}");
    }
}

fn words(progress: Progress) -> Due {
    Due { commit: CommitId([0xab; 20]), environment: "prod".to_owned(), progress, description: "ä".repeat(300) }
}

#[test]
fn each_forge_is_told_in_its_own_form() {
    let sha = "ab".repeat(20);
    for (forge, state, path, header, limit) in [
        (Forge::Github, ["pending", "success", "failure", "error", "error"], format!("/repos/a/b/statuses/{sha}"), "Bearer hunter2", 140),
        (Forge::Gitlab, ["pending", "success", "failed", "failed", "canceled"], format!("/projects/a%2Fb/statuses/{sha}"), "hunter2", 255),
        (Forge::Gitea, ["pending", "success", "failure", "error", "warning"], format!("/repos/a/b/statuses/{sha}"), "token hunter2", 255),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let token_file = dir.path().join("token");
        fs::write(&token_file, "hunter2").unwrap();
        fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).unwrap();
        let settings = ForgeSettings { forge, url: Some("https://h/api".to_owned()), repo: Some("a/b".to_owned()), token_file };
        let api = Api::new(&settings, &Remote::new("/x", "main", Credentials::default()).unwrap()).unwrap();
        for (progress, state) in Progress::ALL.into_iter().zip(state) {
            let request = api.request(&words(progress), "fleet", Some("https://evenkeel.example.com/")).unwrap();
            assert_eq!(request.url.reveal(), &format!("https://h/api{path}"));
            assert_eq!(request.headers[0].1.reveal(), header);
            assert!(!format!("{request:?}").contains("hunter2"));
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(body["state"], state);
            let context = if forge == Forge::Gitlab { &body["name"] } else { &body["context"] };
            assert_eq!(context, "evenkeel/fleet/prod");
            assert_eq!(body["description"].as_str().unwrap().chars().count(), limit);
            assert_eq!(body["target_url"], json!(format!("https://evenkeel.example.com/commits/{sha}")));
        }
    }
}
