//! What must not pass for a proof, and what must not hold a good commit up: cases that were found by looking for them.

use std::time::Duration;

use super::world::{Case, Place, World, after_a_canary, commit, content, minutes, paused, rollout, wave};
use crate::{
    layout::{Freeze, OnFailure, Preempt},
    manifest::DigestKey,
    rollout::{Mark, Off, Progress, WaveWord},
};

/// `b` has the newest commit and `c` does not.
fn half_way() -> World {
    let mut world = after_a_canary();
    world.commit_all("1");
    world.minutes(11);
    assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
    world
}

fn partly() -> Off {
    Off::Partly("ada holds db".to_owned())
}

fn wave_shown(world: &World, place: usize) -> crate::rollout::ShownWave {
    world.decision.shown.as_ref().unwrap().waves[place].clone()
}

#[test]
fn a_held_bundle_does_not_undo_a_rollback() {
    let mut world = after_a_canary();
    world.commit_all("1");
    world.minutes(15);
    world.roll_back("b", 0);
    world.minutes(2);
    world.place("b").off = Some(partly());
    world.minutes(5);
    assert_eq!(world.runs("b"), commit(0));
    assert!(world.progress.clusters["b"].is_pinned_by_hand());
}

#[test]
fn clusters_that_follow_in_part_go_at_the_pace_of_the_wave_and_what_fails_there_counts() {
    let mut world = after_a_canary();
    for name in ["b", "c"] {
        world.place(name).off = Some(partly());
    }
    world.commit_all("1");
    world.minutes(11);
    assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
    world.place("b").is_ill = true;
    world.minutes(20);
    assert_eq!((wave_shown(&world, 1).state, world.runs("c")), (WaveWord::Halted, commit(0)));
    // That the rest does well while somebody holds what failed is no health.
    world.place("b").is_ill = false;
    world.minutes(20);
    assert_eq!(world.runs("c"), commit(0));
}

#[test]
fn a_new_canary_has_proved_nothing_of_an_older_commit() {
    let mut world = after_a_canary();
    world.commit_all("bad");
    world.bad.insert(content("bad"));
    world.minutes(4);
    let place = Place { labels: world.places["a"].labels.clone(), ..Place::default() };
    world.places.remove("a");
    world.places.insert("a2".to_owned(), place);
    let mended = world.commit_all("good");
    world.commits.last_mut().unwrap().remove("a");
    assert_eq!(world.step(), ["a2"]);
    world.minutes(12);
    assert_eq!(world.runs("b"), mended);
    assert!(!world.proofs.contains(&("b".to_owned(), content("bad"))));
}

#[test]
fn what_people_do_to_the_only_one_that_proved_a_commit_keeps_the_next_from_it() {
    let cases: [Case; 3] = [
        ("put back", |world| world.roll_back("a", 0)),
        ("held", |world| world.place("a").off = Some(super::world::held())),
        ("a bundle held", |world| world.place("a").off = Some(partly())),
    ];
    for (what, done) in cases {
        let mut world = half_way();
        done(&mut world);
        world.minutes(30);
        assert_eq!(world.runs("c"), commit(0), "{what}");
        let shown = wave_shown(&world, 1);
        assert!(shown.reason.contains("nobody in an earlier wave is") && shown.way_out.contains("spec.paused"), "{what}: {shown:?}");
        world.place("a").off = Some(paused());
        world.minutes(2);
        assert_eq!(world.runs("c"), commit(1), "{what}, and paused in Git");
    }
    // A retry that cannot be carried out yet proves nothing either.
    let mut world = half_way();
    world.place("a").is_ill = true;
    world.step();
    world.roll_back("a", 0);
    world.place("a").is_ill = false;
    world.minutes(2);
    world.settings.as_mut().unwrap().waves[0].freezes.push(Freeze { from: minutes(0), to: minutes(600), reason: "sale".to_owned() });
    world.progress.retry(["a"]);
    world.minutes(20);
    assert_eq!((world.runs("a"), world.runs("c")), (commit(0), commit(0)));
}

#[test]
fn a_canary_that_failed_in_between_soaks_again_before_the_next() {
    let mut world = half_way();
    world.place("a").is_ill = true;
    world.step();
    world.place("a").is_ill = false;
    world.minutes(9);
    assert_eq!(world.runs("c"), commit(0));
    world.minutes(2);
    assert_eq!(world.runs("c"), commit(1));
}

#[test]
fn a_wave_that_is_put_in_between_is_waited_for() {
    let mut rest = wave("rest", "wave=2");
    rest.max_parallel = Some(1);
    let mut world = World::new(rollout(vec![wave("canary", "wave=1"), rest]), &[("a", "1"), ("b", "2"), ("c", "2"), ("m", "2")]);
    world.minutes(2);
    world.commit_all("1");
    world.minutes(1);
    assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
    let mut between = wave("between", "wave=between");
    between.freezes.push(Freeze { from: minutes(0), to: minutes(600), reason: "sale".to_owned() });
    world.settings.as_mut().unwrap().waves.insert(1, between);
    world.place("m").labels.insert("wave".to_owned(), "between".to_owned());
    world.minutes(30);
    assert_eq!((world.runs("m"), world.runs("c")), (commit(0), commit(0)));
    world.settings.as_mut().unwrap().waves[1].freezes.clear();
    world.minutes(3);
    assert_eq!((world.runs("m"), world.runs("c")), (commit(1), commit(1)));
}

#[test]
fn trouble_of_long_ago_with_what_had_proved_itself_stops_no_revert() {
    for on_failure in [OnFailure::Hold, OnFailure::Return] {
        let mut world = after_a_canary();
        world.settings.as_mut().unwrap().on_failure = on_failure;
        world.place("a").is_ill = true;
        world.minutes(2);
        assert_eq!(wave_shown(&world, 0).state, WaveWord::Halted);
        world.commit_all("1");
        world.step();
        world.place("a").is_ill = false;
        world.minutes(30);
        let reverted = world.commit_all("0");
        world.minutes(30);
        assert_eq!([world.runs("a"), world.runs("c")], [reverted; 2], "{on_failure:?}");
    }
    // As long as a wave may still bring it to others, it counts.
    let mut world = half_way();
    world.place("a").is_ill = true;
    world.commit("2", &["a"]);
    world.step();
    world.place("a").is_ill = false;
    world.minutes(9);
    assert_eq!((world.runs("c"), wave_shown(&world, 1).state), (commit(0), WaveWord::Halted));
    assert!(wave_shown(&world, 1).reason.ends_with("db is degraded (1970-01-01T00:23:00Z, with 0000000)"), "{:?}", wave_shown(&world, 1));
}

#[test]
fn what_had_trouble_after_it_had_proved_itself_is_still_a_way_back() {
    let mut world = after_a_canary();
    world.settings.as_mut().unwrap().on_failure = OnFailure::Return;
    world.place("a").is_ill = true;
    world.step();
    world.place("a").is_ill = false;
    world.commit_all("1");
    world.bad.insert(content("1"));
    world.minutes(3);
    assert!(world.is_put_back("a"));
    assert_eq!(world.runs("a"), commit(0));
}

#[test]
fn one_whose_rendering_was_lost_while_it_was_silent_gets_the_next() {
    let mut world = after_a_canary();
    world.place("b").is_out_of_reach = true;
    world.minutes(20);
    // It rests, and nobody asks whether it answers.
    world.place("b").is_lost = true;
    let next = world.commit_all("1");
    world.minutes(11);
    assert_eq!(world.runs("b"), next);
    world.place("b").is_lost = false;
    world.minutes(20);
    assert_eq!(world.runs("c"), next, "it did not fall silent on its way");
}

#[test]
fn a_clock_that_is_put_back_holds_nothing_up() {
    let mut world = after_a_canary();
    world.commit_all("1");
    world.now = minutes(600_000);
    world.minutes(2);
    world.now = minutes(20);
    world.minutes(11);
    assert_eq!(world.runs("b"), commit(1));
}

#[test]
fn a_failure_stands_on_the_cluster_beside_what_a_person_keeps_it_at() {
    let mut world = World::new(rollout(vec![wave("canary", "wave=1"), wave("rest", "wave=2")]), &[("a", "1"), ("d", "1"), ("b", "2")]);
    world.minutes(2);
    world.commit_all("1");
    world.step();
    world.place("a").is_ill = true;
    world.minutes(2);
    world.roll_back("a", 0);
    world.place("a").is_ill = false;
    world.minutes(2);
    let mark = world.progress.clusters["a"].mark(&DigestKey::new([0; 32]).id()).unwrap();
    world.progress = Progress::default();
    world.progress.take_mark("a", Mark::read(&mark).unwrap());
    world.minutes(5);
    assert_eq!((wave_shown(&world, 0).state, world.runs("b")), (WaveWord::Halted, commit(0)));
}

#[test]
fn a_retry_gives_a_late_cluster_its_time_again() {
    let mut world = after_a_canary();
    world.settings.as_mut().unwrap().preempt = Preempt::FinishWave;
    world.commit_all("1");
    world.step();
    world.place("a").busy = 1000;
    world.minutes(31);
    assert!(wave_shown(&world, 0).way_out.starts_with("a is late"));
    world.place("a").is_ill = true;
    world.place("a").busy = 0;
    world.step();
    world.place("a").is_ill = false;
    world.place("a").busy = 1000;
    world.progress.retry(["a"]);
    world.commit_all("2");
    world.minutes(20);
    assert_eq!((world.runs("a"), wave_shown(&world, 0).way_out.as_str()), (commit(1), ""));
}

#[test]
fn what_failed_and_went_back_waits_for_something_newer() {
    let mut world = after_a_canary();
    world.settings.as_mut().unwrap().on_failure = OnFailure::Return;
    world.settings.as_mut().unwrap().waves[0].soak = Duration::from_mins(30);
    world.commit_all("1");
    world.minutes(5);
    // `c` runs already what the newest commit gives, while its wave is still at the one before.
    world.commit("0", &["c"]);
    world.place("c").is_ill = true;
    world.minutes(3);
    world.place("c").is_ill = false;
    world.step();
    assert!(world.runs("c") == commit(0) || world.runs("c") == commit(2), "{:?}", world.runs("c"));
}

#[test]
fn one_that_is_passed_over_says_why() {
    let mut world = after_a_canary();
    world.place("b").off = Some(super::world::held());
    world.commit_all("1");
    world.minutes(14);
    assert_eq!((wave_shown(&world, 1).state, world.runs("c")), (WaveWord::Complete, commit(1)));
    assert_eq!(world.reason("b"), "ada holds it");
}

#[test]
fn an_approval_may_be_given_before_the_window_opens() {
    let mut world = after_a_canary();
    let rest = &mut world.settings.as_mut().unwrap().waves[1];
    rest.require_approval = true;
    rest.freezes.push(Freeze { from: minutes(0), to: minutes(60), reason: "sale".to_owned() });
    world.commit_all("1");
    world.minutes(12);
    let plan = wave_shown(&world, 1).plan.unwrap();
    assert!(world.progress.asks(plan));
    world.progress.approve(plan, "ada", world.now).unwrap();
    world.minutes(5);
    assert_eq!((wave_shown(&world, 1).state, world.runs("b")), (WaveWord::Closed, commit(0)));
    world.now = minutes(60);
    assert_eq!(world.step(), ["b"]);
}

#[test]
fn a_pin_that_a_newer_commit_ends_is_not_taken_up_again() {
    let put_back = |settings: fn(&mut World)| {
        let mut world = after_a_canary();
        world.settings.as_mut().unwrap().on_failure = OnFailure::Return;
        world.commit_all("1");
        world.bad.insert(content("1"));
        world.minutes(3);
        assert!(world.is_put_back("a") && !world.progress.is_over("a"));
        settings(&mut world);
        world.step();
        assert!(world.progress.is_over("a"), "what stands of it on the cluster does not count");
    };
    put_back(|world| {
        world.commit_all("2");
    });
    put_back(|world| {
        world.commit_all("0");
    });
    put_back(|world| world.settings = None);
}

#[test]
fn a_retry_does_not_pass_over_one_that_fell_silent_on_its_way() {
    let mut world = half_way();
    world.place("b").is_out_of_reach = true;
    // Something else failed there once.
    let failed = crate::rollout::Failure { at: world.now, commit: commit(0), cause: super::world::cause("old"), after_proof: false };
    world.progress.clusters.get_mut("b").unwrap().failures.insert(content("old"), failed);
    world.minutes(30);
    assert_eq!(world.runs("c"), commit(0));
    assert_eq!(world.progress.retry(["b"]), ["b"]);
    world.minutes(30);
    assert_eq!(world.runs("c"), commit(0));
}

#[test]
fn one_that_did_well_and_fell_silent_before_it_had_soaked_is_waited_for() {
    let mut canary = wave("canary", "wave=1");
    canary.soak = Duration::from_mins(10);
    let mut world = World::new(rollout(vec![canary, wave("rest", "wave=2")]), &[("a", "1"), ("d", "1"), ("b", "2")]);
    world.minutes(12);
    world.commit_all("1");
    world.minutes(3);
    world.place("a").is_out_of_reach = true;
    world.minutes(60);
    assert_eq!(world.runs("b"), commit(0));
    assert!(wave_shown(&world, 0).reason.starts_with("waits for a, out of reach since"), "{:?}", wave_shown(&world, 0));
    // Another commit does not wait for what the one before may have done.
    let mended = world.commit_all("2");
    world.minutes(12);
    assert_eq!((world.runs("d"), world.runs("b")), (mended, mended));
}

#[test]
fn once_waits_for_nothing_that_only_people_can_change() {
    let cases: [Case; 3] = [
        ("held", |world| world.place("a").off = Some(super::world::held())),
        ("put back", |world| world.roll_back("a", 0)),
        ("a bundle held", |world| world.place("a").off = Some(partly())),
    ];
    for (what, done) in cases {
        let mut world = half_way();
        world.hasty = true;
        done(&mut world);
        world.minutes(3);
        assert!(!world.decision.moving, "{what}: {:?}", wave_shown(&world, 1));
    }
}
