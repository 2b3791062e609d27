//! The agent is killed at random moments while commits flow: the ledger is whole each time, and what was on record stays.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use evenkeel::ledger::{Ledger, verify};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::scene::{Agent, PATIENCE, Scene, evenkeel};

/// Kills; more for who has the time.
const KILLS: (&str, u64) = ("EVENKEEL_KILLS", 20);
/// Where the series of moments begins.
const SEED: (&str, u64) = ("EVENKEEL_KILLS_SEED", 1);
/// Rows that an agent writes at most before it is killed: several commits and their syncs.
const ROWS_MAX: u64 = 60;

fn setting((name, default): (&str, u64)) -> Result<u64> {
    std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} is no number")))
}

/// Counts in a row, some 50 ms together.
const LOOKS: u32 = 500;

/// Rows of which the number grows with all that is recorded.
const COUNT: &str = "SELECT (SELECT count(*) FROM fetches) + (SELECT count(*) FROM commits) + (SELECT count(*) FROM renderings) \
     + (SELECT count(*) FROM syncs) + (SELECT count(*) FROM bundles) + (SELECT count(*) FROM object_results) \
     + (SELECT count(*) FROM transitions)";

/// What was on record at one moment: rows that never change again, whole, and of the others which there are.
#[derive(Default)]
struct Record {
    fixed: BTreeSet<String>,
    there: BTreeSet<(String, i64)>,
}

fn record(agent: &Agent) -> Result<Record> {
    let mut lines = Vec::new();
    Ledger::reader(&agent.state_dir)?.export(&mut lines)?;
    let mut record = Record::default();
    for line in std::str::from_utf8(&lines)?.lines().skip(1) {
        let row: Value = serde_json::from_str(line)?;
        let (table, row) = (row["table"].as_str().unwrap_or_default(), &row["row"]);
        match table {
            "commits" | "transitions" | "object_results" => drop(record.fixed.insert(line.to_owned())),
            // A sync that ended stays as it ended.
            "syncs" if !row["ended"].is_null() => drop(record.fixed.insert(line.to_owned())),
            "fetches" | "renderings" | "syncs" => drop(record.there.insert((table.to_owned(), row["id"].as_i64().context("no id")?))),
            _ => {}
        }
    }
    Ok(record)
}

/// Commits that flow: each changes an object, and every other one brings or takes another.
struct Flow<'a> {
    scene: &'a Scene,
    pushed: u64,
    head: String,
}

impl Flow<'_> {
    fn push(&mut self) -> Result<()> {
        self.pushed += 1;
        let changed = self.scene.config_map_yaml("changed", &json!({"commit": self.pushed.to_string()}));
        let other = self.pushed.is_multiple_of(2).then(|| self.scene.config_map_yaml("other", &json!({})));
        let files = [("base/shop/changed.yaml", Some(changed.as_str())), ("base/shop/other.yaml", other.as_deref())];
        self.head = self.scene.remote.commit(&files, &format!("Change {}", self.pushed))?;
        Ok(())
    }
}

#[tokio::test]
async fn a_ledger_outlives_an_agent_that_is_killed_at_any_moment() -> Result<()> {
    let scene = Scene::new("years-killed", &["a"]).await?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let mut agent = scene.agent_with("state", &["--poll-interval", "1s"])?;
    agent.phase("a", "Synced", &first).await?;
    agent.process.kill()?;
    let mut flow = Flow { scene: &scene, pushed: 0, head: first };
    let mut random = setting(SEED)?;
    let (mut seen, mut results) = (record(&agent)?, BTreeMap::new());
    for kill in 0..setting(KILLS)? {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let rows = 1 + (random >> 33) % ROWS_MAX;
        flow.push()?;
        run_until(&mut agent, rows, &mut flow).await?;
        let (before, context) = (seen, || format!("kill {kill}, {rows} rows after the start, seed {}", SEED.0));
        let verdict = verify(&agent.state_dir)?;
        ensure!(verdict.faults.is_empty(), "{}: {:?}", context(), verdict.faults);
        seen = record(&agent).with_context(context)?;
        let lost: Vec<_> = before.fixed.difference(&seen.fixed).collect();
        ensure!(lost.is_empty(), "{}: {lost:?}", context());
        let all = |(table, id): &(String, i64)| seen.there.contains(&(table.clone(), *id)) || is_fixed(&seen, table, *id);
        ensure!(before.there.iter().all(all), "{}: a row is gone", context());
        for line in &seen.fixed {
            let row: Value = serde_json::from_str(line)?;
            results.insert(row["row"]["id"].to_string() + &row["table"].to_string(), row);
        }
    }
    ensure!(results.values().filter(|row| row["table"] == "syncs").count() > 5, "hardly a sync ended between the kills");
    // What was going on is made good, and the record says the same of the newest commit as the cluster.
    agent.start_again()?;
    flow.push()?;
    if !flow.pushed.is_multiple_of(2) {
        // With the other object there: its deletion would be held where the agent died before it could say whose it is.
        flow.push()?;
    }
    agent.phase("a", "Synced", &flow.head).await?;
    agent.stop()?;
    let said = evenkeel(&agent.state_dir, &["ledger", "verify"])?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    let running = Ledger::reader(&agent.state_dir)?.history("a", 1000)?.syncs.into_iter().filter(|sync| sync.result == "Running").count();
    assert_eq!(running, 0);
    let map = scene.api("a").await?.get(&scene.config_map_path("changed")).await?;
    assert_eq!(map["data"]["commit"], flow.pushed.to_string());
    Ok(())
}

/// A sync that ran when it was first seen has ended since.
fn is_fixed(record: &Record, table: &str, id: i64) -> bool {
    record.fixed.iter().any(|line| line.contains(&format!("\"table\":\"{table}\"")) && line.contains(&format!("\"id\":{id},")))
}

/// Starts the agent, and kills it when the ledger has so many rows more. Whenever the newest commit is on record, another follows.
async fn run_until(agent: &mut Agent, rows: u64, flow: &mut Flow<'_>) -> Result<()> {
    let db = Connection::open_with_flags(agent.state_dir.join("ledger.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let count = || db.query_row(COUNT, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    let target = count()? + rows;
    agent.start_again()?;
    let flow = std::cell::RefCell::new(flow);
    let look = || async {
        // Between two looks of `wait_until` a whole sync may pass: this one is closer.
        let mut now = 0;
        for _ in 0..LOOKS {
            now = count().map_err(|error| error.to_string())?;
            if now >= target {
                return Ok(());
            }
        }
        let mut flow = flow.borrow_mut();
        let known = "SELECT EXISTS (SELECT 1 FROM commits WHERE lower(hex(id)) = ?)";
        let known = db.query_row(known, [&flow.head], |row| row.get::<_, bool>(0)).map_err(|error| error.to_string())?;
        if known {
            flow.push().map_err(|error| format!("{error:#}"))?;
        }
        Err(format!("{now} rows of {target}"))
    };
    let met = wait_until(PATIENCE, "the ledger grows", look).await;
    agent.process.kill()?;
    met.with_context(|| std::fs::read_to_string(&agent.log).unwrap_or_default())
}
