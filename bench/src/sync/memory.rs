//! What the agent keeps in memory for each object: resident memory, compared at two sizes, of an agent that was started again with
//! all in sync, so that what the first sync left behind does not count.

use std::{path::Path, time::Duration};

use anyhow::Result;
use testbed::{Bed, ControlPlane};

use super::{
    agent::{Agent, quiet},
    commit, remote,
};
use crate::workload::PER_APP;

/// How long freed memory may wait for the allocator to give it back.
const PURGE: Duration = Duration::from_secs(5);

pub(super) async fn measure(bed: &Bed, evenkeel: &Path, sizes: &[usize]) -> Result<()> {
    let (one, two) = (bed.cluster("one").await?, bed.cluster("two").await?);
    let planes = [("one", &one), ("two", &two)];
    let remote = remote(PER_APP, &["one"], "{}")?;
    let mut agent = Agent::start(evenkeel, &remote, &planes, &[])?;
    println!("\nresident memory of the agent, started again with all in sync");
    let mut seen: Vec<(usize, f64)> = Vec::new();
    for &objects in sizes {
        let head = commit(&remote, objects / PER_APP, &["one"], "{}")?;
        seen.push((objects, settled(&mut agent, &[&one], &head).await?));
        show(&agent, &format!("one cluster of {objects} objects"))?;
    }
    let Some(&(most, alone)) = seen.last() else { return Ok(()) };
    if let [(less, small), .., (more, large)] = seen[..] {
        println!("  {:<44}{:>9.0} bytes", "for each further object", bytes_each(large - small, more - less));
    }
    let head = commit(&remote, most / PER_APP, &["one", "two"], "{}")?;
    let shared = settled(&mut agent, &[&one, &two], &head).await?;
    show(&agent, &format!("two clusters that share {most} objects"))?;
    println!("  {:<44}{:>9.0} bytes", "for each object on the second cluster", bytes_each(shared - alone, most));
    Ok(())
}

/// Resident memory in MiB once the clusters are in sync, all over again.
async fn settled(agent: &mut Agent, planes: &[&ControlPlane], head: &str) -> Result<f64> {
    agent.synced(planes.len(), head).await?;
    agent.restart()?;
    for plane in planes {
        quiet(plane).await?;
    }
    agent.synced(planes.len(), head).await?;
    tokio::time::sleep(PURGE).await;
    agent.memory("VmRSS")
}

fn show(agent: &Agent, what: &str) -> Result<()> {
    let (whole, own, peak) = (agent.memory("VmRSS")?, agent.memory("RssAnon")?, agent.memory("VmHWM")?);
    println!("  {what:<44}{whole:>9.1} MiB ({own:.1} without the program's own pages; peak {peak:.1})");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn bytes_each(mib: f64, objects: usize) -> f64 {
    mib * f64::from(1 << 20) / objects as f64
}
