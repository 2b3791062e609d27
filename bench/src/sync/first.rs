//! The first sync of an empty cluster, beside the bare client on another.

use std::{path::Path, time::Duration};

use anyhow::Result;
use testbed::Bed;

use super::{
    agent::Agent,
    bare::{Bare, rendering},
    remote, seconds,
};
use crate::median;

pub(super) async fn measure(bed: &Bed, evenkeel: &Path, apps: usize, rounds: usize) -> Result<()> {
    let (mut bare, mut tried, mut untried) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let plane = bed.cluster(&format!("bare-{round}")).await?;
        bare.push(Bare::connect(&plane).await?.create_all(&*rendering(apps)?).await?);
        drop(plane);
        tried.push(once(bed, evenkeel, apps, "{}").await?);
        untried.push(once(bed, evenkeel, apps, "{validate: none}").await?);
    }
    let bound = median(bare);
    let inner = |times: &[(Duration, Duration)]| median(times.iter().map(|(sync, _)| *sync).collect());
    let whole = |times: &[(Duration, Duration)]| median(times.iter().map(|(_, whole)| *whole).collect());
    println!(" first sync of an empty cluster, median of {rounds}");
    seconds("bare client, no dry run", bound, bound);
    seconds("evenkeel, sync alone", inner(&tried), bound);
    seconds("evenkeel run --once, start to end", whole(&tried), bound);
    seconds("evenkeel with validate: none, sync alone", inner(&untried), bound);
    seconds("evenkeel run --once with validate: none", whole(&untried), bound);
    Ok(())
}

/// What the sync took by itself, and with the start of the program.
async fn once(bed: &Bed, evenkeel: &Path, apps: usize, spec: &str) -> Result<(Duration, Duration)> {
    let plane = bed.cluster("one").await?;
    let remote = remote(apps, &["one"], spec)?;
    let began = std::time::Instant::now();
    let mut agent = Agent::start(evenkeel, &remote, &[("one", &plane)], &["--once"])?;
    agent.ended().await?;
    let whole = began.elapsed();
    Ok((agent.sync_time("one")?, whole))
}
