//! Five hundred clusters in five regions, and what goes wrong with them.

use std::time::Duration;

use super::world::{Dice, World, commit, content, rollout, wave};
use crate::layout::{OnFailure, Preempt, Rollout};

const REGIONS: usize = 5;
const CLUSTERS: usize = 500;
/// Of each region.
const UNAVAILABLE: usize = 3;

/// Two canaries in each region first, then one region after the other.
fn settings() -> Rollout {
    let mut canary = wave("canary", "wave=canary");
    canary.soak = Duration::from_mins(5);
    let mut waves = vec![canary];
    for region in 0..REGIONS {
        let mut wave = wave(&format!("region-{region}"), &format!("wave=r{region}"));
        (wave.soak, wave.max_parallel, wave.max_unavailable) = (Duration::from_mins(2), Some(20), Some(UNAVAILABLE + 20));
        waves.push(wave);
    }
    rollout(waves)
}

fn fleet(settings: Rollout) -> World {
    let names: Vec<(String, String)> = (0..CLUSTERS)
        .map(|number| {
            let region = number % REGIONS;
            let wave = if number < 2 * REGIONS { "canary".to_owned() } else { format!("r{region}") };
            (format!("r{region}-{number:03}"), wave)
        })
        .collect();
    let names: Vec<(&str, &str)> = names.iter().map(|(name, wave)| (name.as_str(), wave.as_str())).collect();
    World::new(settings, &names)
}

fn at_digest(world: &World, text: &str) -> usize {
    world.places.values().filter(|place| place.runs.unwrap().digest == content(text)).count()
}

/// Clusters fall ill and out of reach at random, at most so many at a time.
fn weather(world: &mut World, dice: &mut Dice, most: usize) {
    let names: Vec<String> = world.places.keys().cloned().collect();
    let troubled = world.places.values().filter(|place| place.is_out_of_reach).count();
    for _ in 0..3 {
        let place = world.place(&names[dice.below(names.len())]);
        place.is_out_of_reach = !place.is_out_of_reach && troubled < most;
    }
}

#[test]
fn a_bad_commit_stays_with_the_canaries_and_a_good_one_goes_everywhere() {
    let mut dice = Dice::new(0);
    let mut world = fleet(Rollout { on_failure: OnFailure::Return, ..settings() });
    world.minutes(7);
    world.commit_all("bad");
    world.bad.insert(content("bad"));
    for _ in 0..30 {
        weather(&mut world, &mut dice, UNAVAILABLE);
        world.minutes(1);
        assert!(at_digest(&world, "bad") <= 2 * REGIONS);
    }
    assert_eq!(at_digest(&world, "bad"), 0, "they were put back");
    world.commit_all("good");
    for _ in 0..120 {
        weather(&mut world, &mut dice, UNAVAILABLE);
        world.minutes(1);
    }
    world.places.values_mut().for_each(|place| place.is_out_of_reach = false);
    world.minutes(10);
    assert_eq!(at_digest(&world, "good"), CLUSTERS, "{:#?}", world.decision.shown);
}

/// The canaries bear it, and the first region does not: of it no more are hit than may be out of order at a time, whatever befalls others.
#[test]
fn what_shows_only_in_a_region_is_bounded_there() {
    for seed in 0..4 {
        let mut dice = Dice::new(seed);
        let mut world = fleet(settings());
        world.settings.as_mut().unwrap().waves.iter_mut().for_each(|wave| wave.max_unavailable = Some(UNAVAILABLE));
        world.minutes(7);
        let names: Vec<String> = world.places.keys().cloned().collect();
        let (canaries, others): (Vec<&str>, Vec<&str>) = names.iter().map(String::as_str).partition(|name| name[3..] < *"010");
        world.commit("fine", &canaries);
        let mut digests = world.commits.pop().unwrap();
        digests.extend(others.iter().map(|name| ((*name).to_owned(), Some(content("bad")))));
        world.commits.push(digests);
        world.bad.insert(content("bad"));
        for _ in 0..45 {
            weather(&mut world, &mut dice, UNAVAILABLE);
            world.minutes(1);
            assert!(at_digest(&world, "bad") <= UNAVAILABLE, "{seed}");
        }
        assert!(at_digest(&world, "bad") > 0, "{seed}: it came to the region at all");
        let halt = world.decision.shown.as_ref().unwrap().waves[1].halt.clone().unwrap();
        assert_eq!(halt.failed.len() + halt.reached.len() + halt.spared, CLUSTERS - 2 * REGIONS, "{seed}");
    }
}

/// A commit a minute, each of which changes every cluster.
#[test]
fn a_busy_repository_reaches_the_last_region() {
    let mut world = fleet(Rollout { preempt: Preempt::FinishWave, ..settings() });
    for wave in &mut world.settings.as_mut().unwrap().waves {
        (wave.max_parallel, wave.max_unavailable) = (None, None);
    }
    world.minutes(6);
    for number in 1..40 {
        world.commit_all(&number.to_string());
        world.minutes(1);
    }
    let last = world.places.iter().filter(|(name, _)| name.starts_with("r4")).map(|(_, place)| place.runs.unwrap().commit).min();
    assert!(last > Some(commit(8)), "{last:?}");
}
