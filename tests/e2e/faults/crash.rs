//! The agent is killed at each point of a sync; the next start makes good what was left, and the record says so.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt as _};

use anyhow::{Context as _, Result, ensure};
use evenkeel::crash::POINTS;
use serde_json::{Value, json};
use testbed::Api;

use crate::scene::{Scene, query, yaml};

/// Between these the record must name a sync that is under way.
const IN_SYNC: [&str; 2] = ["sync.begun", "parent.finished"];
/// Objects that come and go with each round.
const MADE: usize = 3;

/// A fleet whose every round changes, creates, prunes and holds something, and brings a namespace with something in it.
struct Rounds {
    scene: Scene,
    api: Api,
    round: usize,
    /// As they were after the first round: what nothing may ever write or delete again.
    kept: Value,
    side: Value,
}

impl Rounds {
    async fn begin(fleet: &str) -> Result<Self> {
        let scene = Scene::new(fleet, &["a"]).await?;
        let files = [
            ("base/shop/namespace.yaml".to_owned(), Some(scene.namespace_yaml())),
            ("base/shop/kept.yaml".to_owned(), Some(scene.config_map_yaml("kept", &json!({})))),
        ];
        commit(&scene, &files)?;
        let api = scene.api("a").await?;
        let mut rounds = Self { scene, api, round: 0, kept: Value::Null, side: Value::Null };
        rounds.commit()?;
        let output = rounds.scene.once(&[])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        rounds.kept = rounds.stamp(&rounds.scene.config_map_path("kept")).await?;
        rounds.side = rounds.stamp(&format!("/api/v1/namespaces/{}", rounds.space("side"))).await?;
        Ok(rounds)
    }

    fn space(&self, name: &str) -> String {
        format!("{}-{name}", self.scene.fleet)
    }

    /// Whether the round leaves a namespace out, whose deletion is held then.
    fn is_held(&self) -> bool {
        self.round % 2 == 1
    }

    fn commit(&self) -> Result<String> {
        let round = self.round;
        let namespace = |name: &str| yaml(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        let space = self.space(&format!("n{round}"));
        let inside = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inside", "namespace": space}});
        let mut files = vec![
            ("base/shop/changed.yaml".to_owned(), Some(self.scene.config_map_yaml("changed", &json!({"round": round.to_string()})))),
            (format!("base/space/{round}.yaml"), Some(namespace(&space))),
            (format!("base/space/{round}-inside.yaml"), Some(yaml(&inside))),
            ("base/shop/side.yaml".to_owned(), (!self.is_held()).then(|| namespace(&self.space("side")))),
        ];
        for n in 0..MADE {
            files.push((
                format!("base/shop/made-{round}-{n}.yaml"),
                Some(self.scene.config_map_yaml(&format!("made-{round}-{n}"), &json!({}))),
            ));
            if round > 0 {
                files.push((format!("base/shop/made-{}-{n}.yaml", round - 1), None));
            }
        }
        commit(&self.scene, &files)
    }

    /// What a write or a deletion by anybody would change.
    async fn stamp(&self, path: &str) -> Result<Value> {
        let metadata = &self.api.get(path).await?["metadata"];
        Ok(json!([metadata["uid"], metadata["resourceVersion"], metadata["deletionTimestamp"]]))
    }

    /// The fleet's ConfigMaps in its own namespace: data and stamp by name.
    async fn maps(&self) -> Result<BTreeMap<String, (Value, Value)>> {
        let list = self.api.list(&format!("/api/v1/namespaces/{}/configmaps", self.scene.namespace())).await?;
        let entry = |map: Value| {
            let stamp = json!([map["metadata"]["uid"], map["metadata"]["resourceVersion"]]);
            (map["metadata"]["name"].as_str().unwrap_or_default().to_owned(), (map["data"].clone(), stamp))
        };
        Ok(list.into_iter().map(entry).filter(|(name, _)| name != "kube-root-ca.crt").collect())
    }

    /// The data that each ConfigMap must have in this round.
    fn wanted(&self) -> BTreeMap<String, Value> {
        let made = (0..MADE).map(|n| (format!("made-{}-{n}", self.round), Value::Null));
        let changed = ("changed".to_owned(), json!({"round": self.round.to_string()}));
        made.chain([changed, ("kept".to_owned(), Value::Null)]).collect()
    }

    /// Commits, dies at that point, starts again, and looks at what came of it.
    async fn survive(&mut self, at: &str) -> Result<()> {
        self.round += 1;
        let head = self.commit()?;
        let killed = self.scene.once_with(&[], &[("EVENKEEL_CRASH_AT", at)])?;
        ensure!(killed.status.signal() == Some(9), "it did not come to the point: {}", String::from_utf8_lossy(&killed.stderr));
        let left = self.maps().await?;
        self.nothing_lost().await?;
        let running = self.syncs("Running")?;
        let point = at.split(':').next().unwrap_or(at);
        if (position(IN_SYNC[0])?..=position(IN_SYNC[1])?).contains(&position(point)?) {
            ensure!(running.len() == 1, "the record does not say what was being done");
        }

        let again = self.scene.once(&[])?;
        let code = i32::from(self.is_held());
        ensure!(again.status.code() == Some(code), "{}", String::from_utf8_lossy(&again.stderr));
        let now = self.maps().await?;
        let data: BTreeMap<_, _> = now.iter().map(|(name, (data, _))| (name.clone(), data.clone())).collect();
        let wanted = self.wanted();
        ensure!(data == wanted, "{data:?} instead of {wanted:?}");
        self.api.get(&format!("/api/v1/namespaces/{}/configmaps/inside", self.space(&format!("n{}", self.round)))).await?;
        for (name, (data, stamp)) in left.iter().filter(|(name, (data, _))| wanted.get(*name) == Some(data)) {
            ensure!(now[name].1 == *stamp, "{name} was as wanted ({data}), and was changed again");
        }
        self.nothing_lost().await?;
        self.record_is_sound(&head, &running)
    }

    async fn nothing_lost(&self) -> Result<()> {
        ensure!(self.stamp(&self.scene.config_map_path("kept")).await? == self.kept, "what no commit touched was written");
        let side = self.stamp(&format!("/api/v1/namespaces/{}", self.space("side"))).await?;
        ensure!(side[0] == self.side[0] && side[2].is_null(), "a held deletion went through");
        Ok(())
    }

    /// The numbers of the syncs with that result.
    fn syncs(&self, result: &str) -> Result<Vec<Value>> {
        let history = query(&self.scene.state_dir(), &["history", "a"])?;
        let syncs = history["syncs"].as_array().context("no syncs")?;
        Ok(syncs.iter().filter(|sync| sync["result"] == result).map(|sync| sync["id"].clone()).collect())
    }

    fn record_is_sound(&self, head: &str, cut: &[Value]) -> Result<()> {
        let ledger = rusqlite::Connection::open(self.scene.state_dir().join("ledger.db"))?;
        let verdict: String = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        ensure!(verdict == "ok", "{verdict}");
        ensure!(self.syncs("Running")?.is_empty(), "a sync is on record as running, and no agent runs");
        let interrupted = self.syncs("Interrupted")?;
        ensure!(cut.iter().all(|sync| interrupted.contains(sync)), "{cut:?} were cut, and the record says so of {interrupted:?}");
        let status = query(&self.scene.state_dir(), &["status"])?["clusters"][0].clone();
        let phase = if self.is_held() { "Held" } else { "Synced" };
        // The namespace and what is in it, of each round; the fleet's own namespace and the one beside it.
        let objects = self.wanted().len() + 2 * (self.round + 1) + 2;
        let expected = json!([phase, head, head, objects, u64::from(self.is_held())]);
        let found = json!([status["phase"], status["desired"], status["applied"], status["objects"], status["held_deletions"]]);
        ensure!(found == expected, "{found} instead of {expected}");
        Ok(())
    }
}

fn commit(scene: &Scene, files: &[(String, Option<String>)]) -> Result<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_deref())).collect();
    scene.remote.commit(&files, "Round")
}

fn position(point: &str) -> Result<usize> {
    POINTS.iter().position(|known| *known == point).with_context(|| format!("no point {point}"))
}

/// Dies at each of these points in turn, in one fleet.
async fn survive_all(fleet: &str, points: impl IntoIterator<Item = &str>) -> Result<()> {
    let mut rounds = Rounds::begin(fleet).await?;
    for point in points {
        rounds.survive(point).await.with_context(|| format!("killed at {point}, round {} of {fleet}", rounds.round))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_kill_while_a_commit_is_taken_up_is_made_good() -> Result<()> {
    let until = position("parent.widen")?;
    survive_all("crash-take-up", POINTS[..until].iter().copied()).await
}

#[tokio::test]
async fn a_kill_while_a_cluster_is_written_is_made_good() -> Result<()> {
    let (from, until) = (position("parent.widen")?, position("delete.before")?);
    let later = ["write.before:4", "write.answered:3", "write.answered:6", "write.told:5"];
    survive_all("crash-write", POINTS[from..until].iter().copied().chain(later)).await
}

#[tokio::test]
async fn a_kill_while_a_sync_ends_is_made_good() -> Result<()> {
    let from = position("delete.before")?;
    let later = ["delete.answered:2", "delete.told:3", "state.told:2", "state.recorded:2", "ledger.commit:6", "ledger.committed:8"];
    survive_all("crash-end", POINTS[from..].iter().copied().chain(later)).await
}
