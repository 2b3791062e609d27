//! What ends a halt and what does not, and what keeps the next clusters from a commit that is in doubt.

use std::time::Duration;

use super::world::{Case, World, after_a_canary, commit, content, held, minutes, paused};
use crate::{
    layout::Preempt,
    rollout::{Off, WaveWord},
};

fn words(world: &World) -> [WaveWord; 2] {
    [0, 1].map(|place| world.decision.shown.as_ref().unwrap().waves[place].state)
}

/// The canary and `b` run the newest commit, and the canary then fails with it, before `c` has it.
fn failed_late() -> World {
    let mut world = after_a_canary();
    world.commit_all("1");
    world.minutes(10);
    assert_eq!((world.runs("a"), world.runs("b")), (commit(1), commit(0)));
    world.minutes(1);
    world.place("a").is_ill = true;
    world.minutes(2);
    assert_eq!((words(&world), world.runs("b"), world.runs("c")), ([WaveWord::Halted; 2], commit(1), commit(0)));
    world
}

#[test]
fn what_people_do_to_a_failed_cluster_and_its_silence_do_not_end_the_halt() {
    let cases: [Case; 5] = [
        ("held", |world| world.place("a").off = Some(held())),
        ("a bundle of it held", |world| world.place("a").off = Some(Off::Partly("ada holds db".to_owned()))),
        ("put back", |world| world.roll_back("a", 0)),
        ("put back, and doing well there", |world| {
            world.roll_back("a", 0);
            world.place("a").is_ill = false;
        }),
        ("silent", |world| world.place("a").is_out_of_reach = true),
    ];
    for (what, done) in cases {
        let mut world = failed_late();
        done(&mut world);
        world.minutes(60);
        assert_eq!((words(&world), world.runs("c")), ([WaveWord::Halted; 2], commit(0)), "{what}");
        let halt = world.decision.shown.as_ref().unwrap().waves[1].halt.clone().unwrap();
        assert_eq!((halt.cluster.as_str(), halt.failed), ("a", vec!["a".to_owned()]), "{what}");
        world.restart();
        world.minutes(2);
        assert_eq!(world.runs("c"), commit(0), "{what}, and the agent started anew");
    }
}

#[test]
fn a_halt_ends_with_a_retry_a_pause_or_another_commit() {
    let cases: [Case; 3] = [
        ("retry", |world| {
            world.place("a").is_ill = false;
            world.progress.retry(["a"]);
        }),
        ("pause", |world| world.place("a").off = Some(paused())),
        ("another commit", |world| {
            world.place("a").is_ill = false;
            world.commit_all("2");
        }),
    ];
    for (what, done) in cases {
        let mut world = failed_late();
        world.roll_back("a", 0);
        world.step();
        world.progress.retry(["a"]);
        world.minutes(3);
        assert_eq!(words(&world), [WaveWord::Halted; 2], "who retries with the cause still there is told so");
        done(&mut world);
        world.minutes(15);
        assert!(world.runs("c") > commit(0), "{what}: {:#?}", world.decision.shown);
    }
}

#[test]
fn the_next_cluster_waits_while_none_that_proved_the_commit_is_seen_to_do_well() {
    let begun = || {
        let mut world = after_a_canary();
        world.commit_all("1");
        world.minutes(11);
        assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
        world
    };
    let mut world = begun();
    world.place("a").is_unready = true;
    world.minutes(5);
    assert_eq!((words(&world)[1], world.runs("c")), (WaveWord::Rolling, commit(0)));
    assert_eq!(world.reason("c"), "the wave rest waits until a is healthy with the commit: nobody in an earlier wave is");
    world.restart();
    world.place("a").is_unready = false;
    world.place("a").busy = 2;
    world.step();
    assert_eq!(world.runs("c"), commit(0), "nothing is heard yet");
    world.minutes(2);
    assert_eq!(world.runs("c"), commit(1));

    let mut world = begun();
    world.place("a").is_unready = true;
    world.minutes(15);
    assert_eq!((words(&world)[1], world.runs("c")), (WaveWord::Halted, commit(0)), "its deadline has passed");

    let mut world = begun();
    world.place("a").is_out_of_reach = true;
    world.minutes(14);
    assert_eq!(world.runs("c"), commit(0), "silence may be the commit's doing");
    world.minutes(2);
    assert_eq!(world.runs("c"), commit(1), "it is passed over");
}

#[test]
fn a_cluster_that_falls_silent_on_its_way_is_not_passed_over() {
    let mut world = after_a_canary();
    world.settings.as_mut().unwrap().waves[0].soak = Duration::ZERO;
    world.places.get_mut("a").unwrap().is_out_of_reach = true;
    world.minutes(20);
    world.place("a").is_out_of_reach = false;
    world.minutes(2);
    world.commit_all("1");
    world.minutes(1);
    assert_eq!((world.runs("a"), world.runs("b"), world.runs("c")), (commit(1), commit(1), commit(0)));
    world.place("b").is_out_of_reach = true;
    world.minutes(60);
    assert_eq!(world.runs("c"), commit(0));
    let wave = world.decision.shown.as_ref().unwrap().waves[1].clone();
    assert_eq!((wave.state, wave.clusters.passed_over), (WaveWord::Rolling, 0));
    assert_eq!(wave.reason, "waits for b, out of reach since the commit came, maybe because of it");
    assert!(wave.way_out.contains("spec.paused"), "{}", wave.way_out);
    world.place("b").off = Some(paused());
    world.minutes(2);
    assert_eq!(world.runs("c"), commit(1));
}

#[test]
fn one_that_follows_in_part_gets_the_commit_and_proves_nothing() {
    let mut world = after_a_canary();
    let partly = Some(Off::Partly("ada holds db".to_owned()));
    world.place("b").off.clone_from(&partly);
    world.commit_all("1");
    world.minutes(13);
    assert_eq!([world.runs("a"), world.runs("b"), world.runs("c")], [commit(1); 3], "nobody waits for b");
    let shown = world.decision.shown.as_ref().unwrap().waves[1].clone();
    assert_eq!((shown.state, shown.passed_over), (WaveWord::Complete, vec!["b: ada holds db".to_owned()]));

    world.place("a").off = partly;
    world.commit_all("2");
    world.minutes(30);
    assert_eq!([world.runs("a"), world.runs("b")], [commit(2), commit(1)]);
    assert_eq!(words(&world)[0], WaveWord::Unproved);
    world.place("a").off = None;
    world.minutes(11);
    assert_eq!(world.runs("b"), commit(2));
}

#[test]
fn a_wave_that_proved_nothing_says_what_keeps_the_first_of_its_clusters() {
    let generic = "Bring one of the clusters back, or take the wave out of spec.rollout in evenkeel.yaml.";
    let way_out = |keep: fn(&mut World)| {
        let mut world = after_a_canary();
        keep(&mut world);
        world.commit_all("1");
        world.minutes(30);
        let wave = world.decision.shown.as_ref().unwrap().waves[0].clone();
        assert_eq!(wave.state, WaveWord::Unproved);
        wave.way_out.strip_suffix(generic).unwrap().to_owned()
    };
    let held = way_out(|world| world.place("a").off = Some(Off::Held("held by ada: the disk is full".to_owned())));
    assert_eq!(held, "a is kept from it (held by ada: the disk is full): once the reason is gone, `evenkeel release cluster=a`. ");
    let put_back = way_out(|world| world.roll_back("a", 0));
    assert_eq!(put_back, "a was rolled back by a person: `evenkeel retry cluster=a` has it follow the branch again. ");
    let paused = way_out(|world| world.place("a").off = Some(paused()));
    assert!(paused.starts_with("a is paused: take `spec.paused` out of "), "{paused}");
    assert_eq!(way_out(|world| world.place("a").is_out_of_reach = true), "", "nobody can help that from here");
}

#[test]
fn a_newer_commit_waits_for_a_wave_to_finish_no_longer_than_that_may_take() {
    let begun = || {
        let mut world = after_a_canary();
        world.settings.as_mut().unwrap().preempt = Preempt::FinishWave;
        world.commit_all("1");
        world.step();
        world
    };
    let way_out = |world: &World| world.decision.shown.as_ref().unwrap().waves[0].way_out.clone();
    // Two deadlines of ten minutes and a soak of ten.
    let mut hangs = begun();
    hangs.place("a").busy = 1000;
    hangs.minutes(29);
    let newer = hangs.commit_all("2");
    hangs.step();
    assert_eq!((hangs.runs("a"), way_out(&hangs).as_str()), (commit(1), ""));
    assert_eq!(hangs.decision.look_again, Some(minutes(42)));
    hangs.minutes(1);
    assert_eq!(hangs.runs("a"), newer);

    let mut flaps = begun();
    for minute in 0..30 {
        flaps.place("a").is_unready = minute % 5 == 0;
        flaps.minutes(1);
    }
    assert_eq!(flaps.runs("a"), commit(1));
    assert!(way_out(&flaps).starts_with("a is late: `evenkeel why a` says"), "{}", way_out(&flaps));
    let newer = flaps.commit_all("2");
    flaps.step();
    assert_eq!(flaps.runs("a"), newer);
}

#[test]
fn a_pin_keeps_to_what_its_commit_gave_when_it_was_set() {
    let mut world = after_a_canary();
    world.commit_all("1");
    world.minutes(14);
    world.roll_back("b", 0);
    world.minutes(2);
    world.restart();
    // An agent of another version renders the commit again.
    world.progress.pinned("b", commit(0), content("upgraded"));
    assert_eq!(world.step(), [""; 0]);
    assert_eq!(world.places["b"].runs.unwrap().digest, content("0"));
    // A person who asks again means what it gives now.
    world.progress.roll_back("b", commit(0), "ada", world.now);
    world.progress.pinned("b", commit(0), content("upgraded"));
    assert_eq!(world.step(), ["b"]);
}
