//! Commits in quick succession, rewritten branches, remotes that are empty or gone.

use anyhow::Result;
use serde_json::json;
use testbed::{
    git_remote::http::{Auth, Options},
    wait_until,
};

use crate::scene::{PATIENCE, Scene, query};

#[tokio::test]
async fn of_quick_commits_the_newest_wins() -> Result<()> {
    let scene = Scene::new("quick", &["a"]).await?;
    let mut files: Vec<(String, String)> =
        (0..200).map(|n| (format!("base/shop/{n}.yaml"), scene.config_map_yaml(&format!("c{n}"), &json!({"v": "1"})))).collect();
    files.push(("base/shop/namespace.yaml".to_owned(), scene.namespace_yaml()));
    let begin: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let agent = scene.agent()?;
    let first = scene.remote.commit(&begin, "Many objects")?;
    agent.cluster_is("a", "on its way", |status| status["desired"] == json!(first)).await?;
    let second = scene.remote.commit(&[("base/shop/0.yaml", Some(&scene.config_map_yaml("c0", &json!({"v": "2"}))))], "Second")?;
    let third = scene.remote.commit(&[("base/shop/0.yaml", Some(&scene.config_map_yaml("c0", &json!({"v": "3"}))))], "Third")?;
    let status = agent.phase("a", "Synced", &third).await?;
    assert_eq!(status["objects"], 201);
    assert_eq!(scene.api("a").await?.get(&scene.config_map_path("c0")).await?["data"]["v"], "3");
    let where_second = agent.whereabouts(&second, "a")?;
    assert_eq!((&where_second["phase"], &where_second["superseded_by"]), (&json!("Superseded"), &json!(third)));
    assert_eq!(agent.whereabouts(&third, "a")?["phase"], "Synced");
    Ok(())
}

#[tokio::test]
async fn a_forced_push_back_is_a_rollback_and_is_recorded() -> Result<()> {
    let scene = Scene::new("force", &["a"]).await?;
    let first = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
        ],
        "One",
    )?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let second = scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "2"}))))], "Two")?;
    agent.phase("a", "Synced", &second).await?;
    scene.remote.force_push_to(&first)?;
    let status = agent.phase("a", "Synced", &first).await?;
    assert_eq!(status["applied"], json!(first));
    assert_eq!(scene.api("a").await?.get(&scene.config_map_path("one")).await?["data"]["v"], "1");
    let log = query(&agent.state_dir, &["log"])?;
    let gone = log["commits"].as_array().unwrap().iter().find(|entry| entry["commit"] == json!(second)).unwrap();
    assert_eq!(gone["rewritten"], true, "the commit that was forced away stays on record");
    Ok(())
}

#[tokio::test]
async fn an_empty_repository_is_waited_for_and_a_dead_remote_changes_nothing() -> Result<()> {
    let scene = Scene::new("dead", &["a"]).await?;
    let commit = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let path = scene.remote.path().to_owned();
    let away = path.with_extension("away");
    scene.remote.git(&["update-ref", "-d", "refs/heads/main"])?;
    let mut agent = scene.agent_with("state", &["--poll-interval", "1s"])?;
    wait_until(PATIENCE, "the agent says that it waits", || async {
        let log = std::fs::read_to_string(&agent.log).map_err(|error| error.to_string())?;
        if log.contains("EK2003") { Ok(()) } else { Err(log) }
    })
    .await?;
    scene.remote.force_push_to(&commit)?;
    agent.phase("a", "Synced", &commit).await?;

    std::fs::rename(&path, &away)?;
    wait_until(PATIENCE, "the agent says that the remote is gone", || async {
        let log = std::fs::read_to_string(&agent.log).map_err(|error| error.to_string())?;
        if log.contains("EK2001") { Ok(()) } else { Err(log) }
    })
    .await?;
    assert_eq!(agent.cluster("a")?["phase"], "Synced");
    agent.stop()?;
    agent.start_again()?;
    agent.phase("a", "Synced", &commit).await?;
    assert!(scene.api("a").await?.find(&format!("/api/v1/namespaces/{}", scene.namespace())).await?.is_some());

    std::fs::rename(&away, &path)?;
    let next = scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({}))))], "It is back")?;
    agent.phase("a", "Synced", &next).await?;
    Ok(())
}

#[tokio::test]
async fn a_remote_over_http_is_followed_with_credentials_and_at_once_on_sighup() -> Result<()> {
    let scene = Scene::new("http", &["a"]).await?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let auth = Auth::Basic { user: "deploy".to_owned(), password: "open-sesame".to_owned() };
    let server = scene.remote.http_with(Options { auth: Some(auth), tls: false })?;
    let password = scene.folder.path().join("password");
    std::fs::write(&password, "not-the-word\n")?;
    let file = password.display().to_string();
    let flags = ["--git-username", "deploy", "--git-password-file", &file, "--poll-interval", "1h"];
    let mut agent = scene.agent_on(server.url(), "state", &flags)?;
    wait_until(PATIENCE, "the agent says that the credentials are refused", || async {
        let log = std::fs::read_to_string(&agent.log).map_err(|error| error.to_string())?;
        if log.contains("EK2002") { Ok(()) } else { Err(log) }
    })
    .await?;
    // Rotated, and read anew without a restart.
    std::fs::write(&password, "open-sesame\n")?;
    agent.signal("HUP")?;
    agent.phase("a", "Synced", &first).await?;

    let second =
        scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({}))))], "Nobody polls for an hour")?;
    agent.signal("HUP")?;
    agent.phase("a", "Synced", &second).await?;
    agent.stop()?;
    let log = std::fs::read_to_string(&agent.log)?;
    assert!(!log.contains("open-sesame") && !log.contains("not-the-word"), "a password is in the log");
    Ok(())
}
