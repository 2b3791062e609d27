//! Who watches the fleet beside the machine and believes only what it sees: by this a history's rules are judged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::world::World;
use crate::{
    manifest::Digest,
    rollout::{Condition, Off},
};

#[derive(Default)]
pub(super) struct Onlooker {
    /// Since when each cluster does well with what, without a break.
    well_since: BTreeMap<String, (Digest, Timestamp)>,
    /// What did well where for the soak of its wave once. Who failed with it since and got well soaks again before others get it, unless
    /// it has gone on to something newer: of that the tables tell.
    soaked: BTreeSet<(String, Digest)>,
    /// What failed where before it had soaked, until it does well or a person has it tried again.
    failed: BTreeSet<(String, Digest)>,
    /// Clusters that were sent to something and have not done well since.
    on_their_way: BTreeSet<String>,
    /// What people approved, by wave.
    approved: BTreeSet<(usize, String, Digest)>,
}

impl Onlooker {
    /// Takes a look before the machine does.
    pub(super) fn look(&mut self, world: &World) {
        for (name, place) in &world.places {
            let Some(digest) = place.runs.map(|runs| runs.digest) else { continue };
            let here = (name.clone(), digest);
            match world.condition(place) {
                Condition::Healthy => {
                    self.on_their_way.remove(name);
                    if place.off.is_some() {
                        continue;
                    }
                    self.failed.remove(&here);
                    let since = self.well_since.entry(name.clone()).or_insert((digest, world.now));
                    if since.0 != digest {
                        *since = (digest, world.now);
                    }
                    if since.1.checked_add(world.soak(name)).unwrap() <= world.now {
                        self.soaked.insert(here);
                    }
                }
                Condition::Failed(_) => {
                    self.well_since.remove(name);
                    if !self.soaked.contains(&here) {
                        self.failed.insert(here);
                    }
                }
                Condition::Unready | Condition::Unreachable => drop(self.well_since.remove(name)),
                Condition::Unknown | Condition::Waits => {}
            }
        }
    }

    /// A cluster is sent somewhere; whether it was at rest until now.
    pub(super) fn moved(&mut self, name: &str) -> bool {
        self.well_since.remove(name);
        self.on_their_way.insert(name.to_owned())
    }

    pub(super) fn retried(&mut self, name: &str) {
        self.failed.retain(|(failed, _)| failed != name);
    }

    pub(super) fn approved(&mut self, wave: usize, name: &str, digest: Digest) {
        self.approved.insert((wave, name.to_owned(), digest));
    }

    pub(super) fn is_approved(&self, wave: usize, name: &str, digest: Digest) -> bool {
        self.approved.contains(&(wave, name.to_owned(), digest))
    }

    pub(super) fn has_soaked(&self, name: &str, digest: Digest) -> bool {
        self.soaked.contains(&(name.to_owned(), digest))
    }

    pub(super) fn has_failed(&self, world: &World, name: &str, digest: Digest) -> bool {
        !matches!(world.places[name].off, Some(Off::Paused(_))) && self.failed.contains(&(name.to_owned(), digest))
    }

    /// How many of these are on their way, pinned and passed over ones apart.
    pub(super) fn on_their_way<'a>(&self, names: impl Iterator<Item = &'a str>) -> usize {
        names.filter(|name| self.on_their_way.contains(*name)).count()
    }
}
