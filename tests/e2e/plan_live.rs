//! `evenkeel plan --live`: a change that is not merged yet, judged by the API servers of all clusters, with no credential but the agent's.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Fault, FaultProxy, git_remote::Commit};

use crate::scene::{Agent, Scene, evenkeel, plane, yaml};

/// A fleet on two clusters, in sync.
async fn synced(name: &str) -> Result<(Scene, Agent, String)> {
    let scene = Scene::new(name, &["a", "b"]).await?;
    let fleet = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": name}, "spec": {"adopt": "allow"}});
    let commit = scene.remote.commit(
        &[
            ("evenkeel.yaml", Some(&yaml(&fleet))),
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
            ("base/shop/old.yaml", Some(&scene.config_map_yaml("old", &json!({"v": "1"})))),
        ],
        "Begin",
    )?;
    let agent = scene.agent()?;
    for cluster in ["a", "b"] {
        agent.phase(cluster, "Synced", &commit).await?;
    }
    Ok((scene, agent, commit))
}

/// A commit on a branch that nobody follows.
fn propose(scene: &Scene, base: &str, files: &[(&str, Option<&str>)]) -> Result<String> {
    scene.remote.write(&Commit {
        branch: "proposal",
        message: "Propose",
        parents: Some(vec![base]),
        files: files.to_vec(),
        ..Commit::default()
    })
}

/// `evenkeel plan RANGE --live`: the exit code and what it says.
fn plan(agent: &Agent, range: &str, repo: &Path) -> Result<(Option<i32>, Value)> {
    let repo = repo.display().to_string();
    let output = evenkeel(&agent.state_dir, &["plan", range, "--live", "--repo", &repo, "-o", "json"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(&text).with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), answer))
}

/// What the agent of this fleet had stored on both clusters.
async fn writes(scene: &Scene) -> Result<usize> {
    let mut count = 0;
    for cluster in ["a", "b"] {
        let ours = plane(cluster).await?.requests()?.agent("evenkeel/").writes();
        count += ours.filter(|request| request.namespace == scene.namespace() || request.name.contains(&scene.fleet)).len();
    }
    Ok(count)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str()).collect()
}

#[tokio::test]
async fn a_change_is_judged_by_every_cluster_that_it_concerns_before_it_is_merged() -> Result<()> {
    let (scene, agent, base) = synced("well-judged").await?;
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "theirs"},
        "metadata": {"name": "theirs", "namespace": scene.namespace()}});
    scene.api("b").await?.apply(&scene.config_map_path("theirs"), "helm", &theirs).await?;
    // Not of this change, and so not asked about.
    scene.api("b").await?.patch(&scene.config_map_path("old"), &json!({"metadata": {"labels": {"by": "hand"}}})).await?;
    let head = propose(
        &scene,
        &base,
        &[
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "2"})))),
            (&Scene::own("b", "shop/theirs.yaml"), Some(&scene.config_map_yaml("theirs", &json!({"v": "ours"})))),
        ],
    )?;
    let before = writes(&scene).await?;
    let clone = scene.folder.path().join("clone");
    scene.remote.clone_to(&clone)?;

    let (code, answer) = plan(&agent, "main..origin/proposal", &clone)?;
    assert_eq!((code, &answer["base"], &answer["head"]), (Some(3), &json!(base), &json!(head)), "{answer}");
    assert_eq!((names(&answer["clusters"]), &answer["unchanged"]), (vec!["a", "b"], &json!(0)));
    for cluster in answer["clusters"].as_array().context("no clusters")? {
        let one = &cluster["judged"]["change"][0];
        assert_eq!(one["fields"], json!([{"path": "data.v", "op": "Changed", "from": "1", "to": "2"}]), "{cluster}");
        assert_eq!((names(&cluster["judged"]["change"]), &cluster["judged"]["unchanged"]), (vec!["one"], &json!(0)));
    }
    let taken = |cluster: usize| &answer["clusters"][cluster]["judged"]["take_over"];
    assert_eq!((names(taken(0)), names(taken(1))), (vec![], vec!["theirs"]));
    assert_eq!(taken(1)[0]["from"], json!(["helm"]));
    assert_eq!(writes(&scene).await?, before, "nothing was written");
    assert_eq!(agent.cluster("a")?["desired"], json!(base), "the branch is followed as before");

    // The same by names that the remote knows, without a repository here.
    scene.remote.git(&["update-ref", "refs/pull/7/head", &head])?;
    let (code, by_name) = plan(&agent, "main..refs/pull/7/head", &scene.folder.path().join("nowhere"))?;
    assert_eq!((code, &by_name["clusters"]), (Some(3), &answer["clusters"]));
    let (code, nothing) = plan(&agent, "main..main", &clone)?;
    assert_eq!((code, &nothing["clusters"], &nothing["unchanged"]), (Some(0), &json!([]), &json!(2)));
    Ok(())
}

#[tokio::test]
async fn what_a_server_or_the_repository_refuses_is_told_and_what_is_deleted() -> Result<()> {
    let (scene, agent, base) = synced("judged-bad").await?;
    let wrong = yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Wrong_Name", "namespace": scene.namespace()}}));
    propose(&scene, &base, &[("base/shop/wrong.yaml", Some(&wrong)), ("base/shop/old.yaml", None)])?;
    let clone = scene.folder.path().join("clone");
    scene.remote.clone_to(&clone)?;
    let (code, answer) = plan(&agent, "main..origin/proposal", &clone)?;
    let judged = &answer["clusters"][0]["judged"];
    assert_eq!((code, names(&judged["delete"]), names(&judged["refused"])), (Some(1), vec!["old"], vec!["Wrong_Name"]), "{answer}");
    assert_eq!(judged["delete"][0]["fate"], "Deleted");
    let words = judged["refused"][0]["error"]["message"].as_str().unwrap_or_default();
    assert!(words.contains("RFC 1123"), "{words}");
    let output = evenkeel(&agent.state_dir, &["plan", "main..origin/proposal", "--live", "--repo", &clone.display().to_string()])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("\na, b: 1 refused, 1 to delete\n") && text.contains("error[EK4001]: ConfigMap/judged-bad-ns/Wrong_Name"),
        "{text}"
    );

    let broken = propose(&scene, &base, &[("base/shop/one.yaml", Some("kind: ["))])?;
    let (code, answer) = plan(&agent, &format!("main..{broken}"), &scene.folder.path().join("nowhere"))?;
    assert_eq!((code, &answer["clusters"][1]["outcome"], &answer["clusters"][1]["judged"]), (Some(1), &json!("Refused"), &Value::Null));
    assert!(answer["clusters"][1]["errors"][0]["message"].as_str().is_some_and(|message| message.starts_with("base/shop/one.yaml:1:")));
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_silent_does_not_keep_the_others_from_answering() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let proxy = FaultProxy::start(b.address())?;
    let clusters = vec![("a", a.kubeconfig("a")), ("b", b.kubeconfig("b").with_server(&proxy.https_url()))];
    let scene = Scene::with("judged-half", clusters)?;
    let base = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let agent = scene.agent()?;
    for cluster in ["a", "b"] {
        agent.phase(cluster, "Synced", &base).await?;
    }
    let head = propose(&scene, &base, &[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"}))))])?;
    proxy.set(Fault::BlackHole);
    let (code, answer) = plan(&agent, &format!("{base}..{head}"), &scene.folder.path().join("nowhere"))?;
    let (first, second) = (&answer["clusters"][0], &answer["clusters"][1]);
    assert_eq!((code, names(&first["judged"]["create"])), (Some(1), vec!["one"]), "{answer}");
    assert_eq!((&second["judged"], &second["errors"][0]["code"]), (&Value::Null, &json!("EK3002")), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_commit_that_is_not_pushed_cannot_be_judged() -> Result<()> {
    let (scene, agent, _) = synced("judged-local").await?;
    let clone = scene.folder.path().join("clone");
    scene.remote.clone_to(&clone)?;
    let commit = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--allow-empty", "-m", "Mine alone"];
    ensure!(Command::new("git").arg("-C").arg(&clone).args(commit).status()?.success());
    let repo = clone.display().to_string();
    let output = evenkeel(&agent.state_dir, &["plan", "origin/main..HEAD", "--live", "--repo", &repo])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error[EK6030]") && said.contains("hint: Push it to the remote"), "{said}");

    let output = evenkeel(&agent.state_dir, &["plan", "--live", "--repo", &repo])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("the files as they are belong to none"), "{said}");
    Ok(())
}

/// What a cluster has yet to run is no reason to refuse what comes after it, nor is a hook a thing to leave out.
#[tokio::test]
async fn what_an_earlier_commit_brings_is_waited_for_and_hooks_are_tried() -> Result<()> {
    let scene = Scene::new("judged-later", &["a"]).await?;
    let group = format!("{}.example", scene.fleet);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gates.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Gate", "plural": "gates"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let gate = json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": {"name": "one", "namespace": "default"}});
    let job = |name: &str, policy: &str| {
        let pod = json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "a:1"}]});
        yaml(&json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default",
            "annotations": {"evenkeel.dev/hook": "pre-sync"}}, "spec": {"template": {"spec": pod}}}))
    };
    let paused =
        yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "a"}, "spec": {"paused": true}}));
    let base = scene.remote.commit(
        &[
            (&Scene::own("a", "cluster.yaml"), Some(&paused)),
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/gates/definition.yaml", Some(&yaml(&definition))),
        ],
        "Begin",
    )?;
    let agent = scene.agent()?;
    agent.phase("a", "Paused", &base).await?;
    propose(
        &scene,
        &base,
        &[
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
            ("base/gates/one.yaml", Some(&yaml(&gate))),
            ("base/gates/good.yaml", Some(&job("judged-later-good", "Never"))),
            ("base/gates/bad.yaml", Some(&job("judged-later-bad", "Always"))),
        ],
    )?;
    let clone = scene.folder.path().join("clone");
    scene.remote.clone_to(&clone)?;
    let (code, answer) = plan(&agent, "main..origin/proposal", &clone)?;
    let judged = &answer["clusters"][0]["judged"];
    assert_eq!((code, names(&judged["refused"])), (Some(1), vec!["judged-later-bad"]), "{answer}");
    let mut created = names(&judged["create"]);
    created.sort_unstable();
    assert_eq!(created, ["judged-later-good", "one", "one"], "{answer}");
    let note =
        |name: &str| judged["create"].as_array().and_then(|all| all.iter().find(|it| it["name"] == name)).map(|it| it["note"].clone());
    assert_eq!(note("one"), Some(json!("not tried: its namespace or its kind is made by the same sync")), "{answer}");
    assert_eq!(note("judged-later-good"), Some(json!("a hook, which runs since its bundle changes")), "{answer}");
    Ok(())
}

/// What holds deletions beside a cluster's own budget: a layer that went, the fleet's budget, and a cluster that leaves.
#[tokio::test]
async fn deletions_that_would_be_held_are_told_as_held() -> Result<()> {
    let (scene, agent, base) = synced("judged-held").await?;
    let fleet = |budget: Value| {
        let spec = json!({"adopt": "allow", "budget": budget});
        yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "judged-held"}, "spec": spec}))
    };
    let clone = scene.folder.path().join("clone");
    let strict = fleet(json!({"fleet": {"objects": 1, "percent": 1}}));
    let head = propose(&scene, &base, &[("evenkeel.yaml", Some(&strict)), ("base/shop/old.yaml", None)])?;
    let (_, answer) = plan(&agent, &format!("{base}..{head}"), &clone)?;
    for cluster in answer["clusters"].as_array().context("no clusters")? {
        let delete = &cluster["judged"]["delete"][0];
        assert_eq!(delete["fate"], "Held", "{answer}");
        assert!(
            delete["reason"].as_str().is_some_and(|reason| reason.contains("objects of the fleet would go with one revision")),
            "{delete}"
        );
    }

    let run = evenkeel(&agent.state_dir, &["hold", "cluster=a", "--reason", "the disk is full"])?;
    ensure!(run.status.success());
    let emptied =
        yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "b"}, "spec": {"onRemoval": "prune"}}));
    let next = scene.remote.commit(&[(&Scene::own("b", "cluster.yaml"), Some(&emptied))], "To be emptied")?;
    agent.phase("b", "Synced", &next).await?;
    let two = scene.config_map_yaml("one", &json!({"v": "2"}));
    let head = propose(&scene, &next, &[(&Scene::own("b", "cluster.yaml"), None), ("base/shop/one.yaml", Some(&two))])?;
    let (code, answer) = plan(&agent, &format!("{next}..{head}"), &clone)?;
    let (a, b) = (&answer["clusters"][0], &answer["clusters"][1]);
    assert!(a["judged"]["waits"][0].as_str().is_some_and(|reason| reason.contains("the disk is full")), "{answer}");
    assert_eq!((code, &b["outcome"], b["judged"]["delete"].as_array().map(Vec::len)), (Some(3), &json!("Removed"), Some(3)), "{answer}");
    assert_eq!(b["judged"]["delete"][0]["fate"], "Held", "{answer}");
    let output = evenkeel(&agent.state_dir, &["plan", &format!("{next}..{head}"), "--live", "--repo", &clone.display().to_string()])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\nb: leaves the fleet and is to be emptied, 3 to delete once approved\n"), "{text}");
    Ok(())
}
