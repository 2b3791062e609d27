//! Four clusters at once, what the agent then keeps in memory, and what one changed object costs.

use std::{path::Path, time::Instant};

use anyhow::Result;
use testbed::Bed;

use super::{
    agent::{Agent, requests},
    remote,
};
use crate::workload;

/// Apps of each cluster: 1,000 objects.
const APPS: usize = 200;
const NAMES: [&str; 4] = ["four-a", "four-b", "four-c", "four-d"];

pub(super) async fn measure(bed: &Bed, evenkeel: &Path) -> Result<()> {
    let mut planes = Vec::new();
    for name in NAMES {
        planes.push(bed.cluster(name).await?);
    }
    let named: Vec<_> = NAMES.into_iter().zip(&planes).collect();
    let asked = || -> Result<usize> { planes.iter().map(requests).sum() };
    let remote = remote(APPS, &NAMES, "{}")?;
    let began = Instant::now();
    let agent = Agent::start(evenkeel, &remote, &named, &[])?;
    agent.synced(NAMES.len(), &remote.head()?).await?;
    println!("\nfour clusters of {} objects", APPS * workload::PER_APP);
    println!("  {:<44}{:>9.2} s", "first sync of all", began.elapsed().as_secs_f64());
    println!("  {:<44}{:>9.1} MiB (peak {:.1})", "resident memory of the agent", agent.memory("VmRSS")?, agent.memory("VmHWM")?);
    let before = asked()?;
    let (path, text) = workload::changed(7, "2");
    let began = Instant::now();
    let commit = remote.commit(&[(&path, Some(&text))], "One value")?;
    agent.synced(NAMES.len(), &commit).await?;
    let took = began.elapsed().as_secs_f64();
    println!("  {:<44}{took:>9.2} s, {} requests on four clusters", "one changed object, push to synced", asked()? - before);
    Ok(())
}
