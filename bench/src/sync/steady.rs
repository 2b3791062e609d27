//! A cluster in sync, and what then happens to it: a commit, an edit, a deletion, nothing.

use std::{
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use evenkeel::{
    cluster::{Meta, Scope, Watch, WatchEvent},
    manifest::ObjectId,
};
use serde_json::json;
use testbed::{Bed, ControlPlane, GitRemote, git_remote::Commit};
use tokio::time::timeout;

use super::{
    Case,
    agent::{Agent, quiet, requests},
    bare::{Bare, rendering, unmarked},
    millis, remote, seconds,
};
use crate::{median, workload};

/// Commits that change nothing.
const NOTHINGS: u32 = 20;
/// Apps of which a commit changes one object.
const CHANGED: Range<usize> = 0..9;
/// Apps of which somebody edits one object; a commit changes none of them.
const EDITED: Range<usize> = 9..16;
/// Apps that go: 200 objects, of each team some, since a bundle that leaves as a whole is held for a person whatever the budget is.
const PRUNED: usize = 40;
/// How long nothing happens.
const IDLE: Duration = Duration::from_mins(1);
/// How long an object may take to be as it should.
const PATIENCE: Duration = Duration::from_secs(30);
/// Deletions are not held back.
const SPEC: &str = "{budget: {cluster: {objects: 1000000, percent: 100}}}";

struct Steady {
    plane: ControlPlane,
    remote: GitRemote,
    agent: Agent,
    bare: Bare,
    apps: usize,
}

pub(super) async fn measure(bed: &Bed, evenkeel: &Path, apps: usize, wants: &impl Fn(Case) -> bool) -> Result<()> {
    let plane = bed.cluster("one").await?;
    let remote = remote(apps, &["one"], SPEC)?;
    let agent = Agent::start(evenkeel, &remote, &[("one", &plane)], &[])?;
    agent.synced(1, &remote.head()?).await?;
    let bare = Bare::connect(&plane).await?;
    let steady = Steady { plane, remote, agent, bare, apps };
    quiet(&steady.plane).await?;
    let agent = &steady.agent;
    println!(
        " after the first sync: resident memory {:.1} MiB ({:.1} without the program's own pages; peak {:.1})",
        agent.memory("VmRSS")?,
        agent.memory("RssAnon")?,
        agent.memory("VmHWM")?
    );
    if wants(Case::Idle) {
        steady.idle().await?;
    }
    if wants(Case::Nothing) {
        steady.nothing("beside the manifests", |round| ("README.md".to_owned(), format!("{round}\n"))).await?;
        let comment = |round| {
            let (path, text) = workload::changed(3, "1");
            (path, format!("{text}# {round}\n"))
        };
        steady.nothing("in a comment of a manifest", comment).await?;
    }
    let bound = if wants(Case::One) || wants(Case::Drift) { steady.bare.one_apply().await? } else { Duration::ZERO };
    if wants(Case::One) {
        steady.one(bound).await?;
    }
    if wants(Case::Drift) {
        steady.drift(bound).await?;
    }
    if wants(Case::Prune) {
        steady.prune().await?;
    }
    Ok(())
}

impl Steady {
    async fn idle(&self) -> Result<()> {
        let (asked, (own, git)) = (requests(&self.plane)?, self.agent.cpu()?);
        tokio::time::sleep(IDLE).await;
        let (own_after, git_after) = self.agent.cpu()?;
        println!(" in sync for {} s", IDLE.as_secs());
        println!("  {:<44}{:>9.2} s (git {:.2} s)", "CPU", own_after - own, git_after - git);
        println!("  {:<44}{:>9}", "requests that are no watches", requests(&self.plane)? - asked);
        Ok(())
    }

    /// Commits that leave what the cluster must run as it is.
    async fn nothing(&self, whereabouts: &str, change: impl Fn(u32) -> (String, String)) -> Result<()> {
        let (asked, (own, git)) = (requests(&self.plane)?, self.agent.cpu()?);
        for round in 0..NOTHINGS {
            let (path, text) = change(round);
            let commit = self.remote.commit(&[(&path, Some(&text))], "Nothing")?;
            self.agent.synced(1, &commit).await?;
        }
        let (own_after, git_after) = self.agent.cpu()?;
        let each = |before: f64, after: f64| (after - before) * 1e3 / f64::from(NOTHINGS);
        println!(" a commit that changes nothing for the cluster, {whereabouts}; mean of {NOTHINGS}");
        println!("  {:<44}{:>9.1} ms (git {:.1} ms)", "CPU", each(own, own_after), each(git, git_after));
        println!("  {:<44}{:>9}", "requests that are no watches, all of them", requests(&self.plane)? - asked);
        Ok(())
    }

    /// One changed object: from the move of the branch to the object's new value at the API server.
    async fn one(&self, bound: Duration) -> Result<()> {
        let mut seen = self.watch().await?;
        let (mut took, mut asked) = (Vec::new(), Vec::new());
        for app in CHANGED {
            let (path, text) = workload::changed(app, "changed");
            let commit = Commit { branch: "next", parents: Some(vec!["main"]), files: vec![(&path, Some(&text))], ..Commit::default() };
            let commit = self.remote.write(&commit)?;
            // The new branch wakes the agent too.
            quiet(&self.plane).await?;
            let before = requests(&self.plane)?;
            let began = Instant::now();
            self.remote.force_push_to(&commit)?;
            seen.put(&format!("app-{app}")).await?;
            took.push(began.elapsed());
            self.agent.synced(1, &commit).await?;
            ensure!(self.value(app).await? == "changed", "the object has another value");
            quiet(&self.plane).await?;
            asked.push(requests(&self.plane)? - before);
        }
        asked.sort_unstable();
        println!(" a commit that changes one object, from the push to the API server; median of {}", took.len());
        millis("bare apply of one object", bound, bound);
        millis("evenkeel", median(took), bound);
        println!("  {:<44}{:>9}", "requests, the look at its health included", asked[asked.len() / 2]);
        Ok(())
    }

    /// An edit of one object: from the server's answer to the editor until it is as it was.
    async fn drift(&self, bound: Duration) -> Result<()> {
        let mut seen = self.watch().await?;
        let mut took = Vec::new();
        for app in EDITED {
            let path = format!("/api/v1/namespaces/team-0/configmaps/app-{app}");
            let wanted = self.value(app).await?;
            self.plane.api()?.patch(&path, &json!({"data": {"version": "edited"}})).await?;
            let began = Instant::now();
            seen.put(&format!("app-{app}")).await?;
            seen.put(&format!("app-{app}")).await?;
            took.push(began.elapsed());
            ensure!(self.value(app).await? == wanted, "the object was not put back");
            quiet(&self.plane).await?;
        }
        println!(" drift of one object, from the edit to the repair; median of {}", took.len());
        millis("bare apply of one object", bound, bound);
        millis("evenkeel", median(took), bound);
        Ok(())
    }

    /// Some apps leave the repository; then the same objects are there again without an agent, and are deleted.
    async fn prune(&self) -> Result<()> {
        let pruned: Vec<usize> = (0..self.apps).filter(|app| app % 20 >= 16).take(PRUNED).collect();
        let rendering = rendering(self.apps)?;
        let app = |id: &ObjectId| id.name.strip_prefix("app-").and_then(|app| app.parse::<usize>().ok());
        let goes = rendering.objects.iter().filter(|object| app(&object.id).is_some_and(|app| pruned.contains(&app)));
        let bodies = goes.map(|object| Ok((object.id.clone(), unmarked(object.body.as_slice())?))).collect::<Result<Vec<_>>>()?;
        let paths: Vec<String> = pruned.iter().map(|&app| workload::path(app)).collect();
        let files: Vec<_> = paths.iter().map(|path| (path.as_str(), None)).collect();
        let began = Instant::now();
        let commit = self.remote.commit(&files, "Fewer apps")?;
        self.agent.synced(1, &commit).await?;
        let (whole, alone) = (began.elapsed(), self.agent.sync_time("one")?);
        quiet(&self.plane).await?;
        let created = self.bare.apply_all(bodies).await?;
        let count = created.len();
        let bound = self.bare.delete_all(created).await?;
        println!(" deletion of {count} objects");
        seconds("bare deletes", bound, bound);
        seconds("evenkeel, sync alone", alone, bound);
        seconds("evenkeel, push to synced (seen each 50 ms)", whole, bound);
        Ok(())
    }

    /// The value that a commit or an edit changes.
    async fn value(&self, app: usize) -> Result<String> {
        let object = self.plane.api()?.get(&format!("/api/v1/namespaces/team-0/configmaps/app-{app}")).await?;
        Ok(object["data"]["version"].as_str().context("no version")?.to_owned())
    }

    async fn watch(&self) -> Result<Seen> {
        let id: ObjectId = "ConfigMap/team-0/any".parse().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let api = self.bare.api(&id)?;
        let from = self.bare.connection.list(api, "").await?.resource_version;
        let scope = Scope { api, namespace: Some("team-0"), selector: ("fieldSelector", "") };
        Ok(Seen(self.bare.connection.watch(scope, &from).await?))
    }
}

/// What a watch shows.
struct Seen(Watch<Meta>);

impl Seen {
    /// Waits until that object was written.
    async fn put(&mut self, name: &str) -> Result<()> {
        loop {
            let event = timeout(PATIENCE, self.0.next()).await.with_context(|| format!("{name} was not written"))??;
            if matches!(event.context("the watch ended")?, WatchEvent::Put(meta) if meta.name == name) {
                return Ok(());
            }
        }
    }
}
