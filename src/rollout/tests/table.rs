//! What the settings promise, one by one.

use std::{sync::Arc, time::Duration};

use super::world::{World, after_a_canary, cause, commit, content, held, minutes, paused, rollout, wave};
use crate::{
    layout::{Freeze, OnFailure, Preempt},
    rollout::{Condition, Digests, Member, Off, Progress, WaveWord},
};

/// A canary `a`, then `b` and `c`.
fn fleet() -> World {
    let mut canary = wave("canary", "wave=1");
    canary.soak = Duration::from_mins(10);
    World::new(rollout(vec![canary, wave("rest", "wave=2")]), &[("a", "1"), ("b", "2"), ("c", "2")])
}

/// The same, at rest.
fn settled() -> World {
    let mut world = fleet();
    world.minutes(12);
    world
}

fn word(world: &World, place: usize) -> WaveWord {
    world.decision.shown.as_ref().unwrap().waves[place].state
}

#[test]
fn a_wave_begins_when_the_one_before_has_done_well_for_its_soak() {
    let mut world = settled();
    let next = world.commit_all("1");
    assert_eq!(world.step(), ["a"]);
    world.minutes(10);
    assert_eq!((world.runs("a"), world.runs("b")), (next, commit(0)));
    assert_eq!(word(&world, 0), WaveWord::Soaking);
    assert_eq!(world.decision.look_again, Some(minutes(23)), "one minute to do it, ten to soak");
    assert_eq!(world.reason("b"), "waits for the wave canary, which soaks until 1970-01-01T00:23:00Z");
    world.pass(Duration::from_mins(1));
    assert_eq!(world.step(), ["b", "c"]);
    assert_eq!(world.reason("b"), "");
}

#[test]
fn what_a_cluster_may_be_told_is_what_waves_before_its_own_are_brought_to() {
    let mut world = settled();
    let digests = |texts: &[&str]| texts.iter().map(|text| content(text)).collect::<Vec<_>>();
    assert_eq!((&world.ways()["a"], &world.ways()["b"]), (&digests(&["0"]), &digests(&["0"])));
    world.commit_all("1");
    world.step();
    assert_eq!((&world.ways()["a"], &world.ways()["b"]), (&digests(&["1"]), &digests(&["0", "1"])));
    world.minutes(12);
    world.commit_all("2");
    world.step();
    assert_eq!((&world.ways()["a"], &world.ways()["b"]), (&digests(&["2"]), &digests(&["1", "2"])));
    // The canary is back at once, and the others still are to have what it was.
    world.roll_back("b", 0);
    world.step();
    assert_eq!(world.ways()["b"], digests(&["0", "1", "2"]));
    world.settings = None;
    world.step();
    assert_eq!((&world.ways()["a"], &world.ways()["b"]), (&vec![], &digests(&["0"])), "without waves all else is at the newest commit");
}

#[test]
fn a_short_trouble_begins_the_soak_anew_and_silence_does_not() {
    let mut world = settled();
    world.commit_all("1");
    world.minutes(6);
    world.place("a").busy = 2;
    world.minutes(5);
    assert_eq!(world.runs("b"), commit(1), "nothing was heard for a minute, which says nothing");

    let mut world = settled();
    world.commit_all("1");
    world.minutes(6);
    world.place("a").is_out_of_reach = true;
    world.minutes(1);
    world.place("a").is_out_of_reach = false;
    world.minutes(9);
    assert_eq!(world.runs("b"), commit(0));
    world.minutes(2);
    assert_eq!(world.runs("b"), commit(1));
}

#[test]
fn a_commit_that_changes_nothing_is_everywhere_at_once_and_restarts_nothing() {
    let mut world = settled();
    let change = world.commit("1", &["a", "b", "c"]);
    world.minutes(6);
    let readme = world.commit("", &[]);
    world.minutes(5);
    assert_eq!([world.runs("a"), world.runs("b")], [readme; 2], "the soak went on from {change}");
    let readme = world.commit("", &[]);
    world.step();
    assert_eq!([world.runs("a"), world.runs("b"), world.runs("c")], [readme; 3]);
    let for_one = world.commit("2", &["c"]);
    assert_eq!(world.step(), ["c"], "the canary runs what {for_one} gives anyway, and has soaked");
}

#[test]
fn a_failure_halts_and_ends_by_itself_or_with_a_newer_commit() {
    let mut world = settled();
    world.commit_all("1");
    world.bad.insert(content("1"));
    world.minutes(30);
    assert_eq!(word(&world, 0), WaveWord::Halted);
    assert_eq!([world.runs("a"), world.runs("b")], [commit(1), commit(0)]);
    let halt = world.decision.shown.as_ref().unwrap().waves[0].halt.clone().unwrap();
    assert_eq!((halt.cluster.as_str(), halt.failed.len(), halt.reached.len(), halt.spared), ("a", 1, 0, 2));
    assert!(world.reason("b").starts_with("waits for the wave canary, which has halted: a: EK4014"), "{}", world.reason("b"));

    world.bad.clear();
    world.minutes(12);
    assert_eq!(world.runs("b"), commit(1), "it got better by itself");

    world.commit_all("2");
    world.bad.insert(content("2"));
    world.minutes(2);
    let fixed = world.commit_all("3");
    world.minutes(13);
    assert_eq!([world.runs("a"), world.runs("c")], [fixed; 2]);
}

#[test]
fn what_fails_late_stops_the_waves_behind_it() {
    let mut world = settled();
    world.settings.as_mut().unwrap().waves[1].max_parallel = Some(1);
    world.commit_all("1");
    world.minutes(11);
    assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
    world.place("a").is_ill = true;
    world.minutes(30);
    assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
    assert_eq!([word(&world, 0), word(&world, 1)], [WaveWord::Halted; 2]);
    // Who knows that the trouble has nothing to do with the commit can say so.
    world.place("a").off = Some(paused());
    world.minutes(2);
    assert_eq!(world.runs("c"), commit(1));
}

#[test]
fn a_failed_cluster_goes_back_to_what_did_well_until_the_newest_commit_gives_something_else() {
    let mut world = settled();
    world.settings.as_mut().unwrap().on_failure = OnFailure::Return;
    let bad = world.commit_all("1");
    world.bad.insert(content("1"));
    world.minutes(3);
    assert_eq!((world.runs("a"), world.is_put_back("a")), (commit(0), true));
    assert_eq!(word(&world, 0), WaveWord::Halted);
    let way_out = &world.decision.shown.as_ref().unwrap().waves[0].way_out;
    assert!(way_out.contains("retry") && !way_out.contains("rollback"), "it is back already: {way_out}");
    let readme = world.commit("", &[]);
    world.minutes(20);
    assert_eq!((world.runs("a"), world.is_put_back("a")), (commit(0), true), "{readme} gives what {bad} gave");
    assert_eq!(word(&world, 0), WaveWord::Halted);
    let fixed = world.commit_all("2");
    world.minutes(13);
    assert_eq!([world.runs("a"), world.runs("b")], [fixed; 2]);
    assert!(!world.is_put_back("a"));
    world.commit_all("1");
    assert_eq!(world.step(), [""; 0], "what failed there before is not tried again");
    world.bad.clear();
    world.progress.retry(["a"]);
    assert_eq!(world.step(), ["a"], "until a person says so");
}

#[test]
fn a_person_puts_clusters_to_a_commit_until_a_person_retries() {
    let mut world = settled();
    world.commit_all("1");
    world.minutes(13);
    world.roll_back("b", 0);
    assert_eq!(world.step(), ["b"]);
    let newer = world.commit_all("2");
    world.minutes(20);
    assert_eq!((world.runs("b"), world.runs("c")), (commit(0), newer), "the others do not wait for it");
    assert_eq!(world.reason("b"), "put to 0000000 by ada at 1970-01-01T00:25:00Z");
    world.restart();
    assert_eq!(world.step(), [""; 0]);
    assert_eq!(world.progress.retry(["b", "c"]), ["b"]);
    world.minutes(2);
    assert_eq!(world.runs("b"), newer);

    // A fleet without waves knows pins too.
    world.settings = None;
    world.roll_back("b", 0);
    world.minutes(2);
    world.restart();
    let newest = world.commit_all("3");
    world.minutes(2);
    assert_eq!((world.runs("a"), world.runs("b")), (newest, commit(0)));
    world.progress.retry(["b"]);
    world.minutes(1);
    assert_eq!(world.runs("b"), newest);
    assert!(world.progress.is_over("b"), "its pin may still stand on the cluster");
    world.progress.heard_of("b");
    world.minutes(1);
    assert_eq!(world.progress, Progress::default(), "and remembers nothing else");
}

#[test]
fn an_approval_is_for_what_the_wave_would_do_and_nothing_else() {
    let mut world = settled();
    world.settings.as_mut().unwrap().waves[1].require_approval = true;
    world.commit_all("1");
    world.minutes(12);
    assert_eq!((world.runs("a"), world.runs("b"), word(&world, 1)), (commit(1), commit(0), WaveWord::Approval));
    let plan = world.decision.shown.as_ref().unwrap().waves[1].plan.unwrap();
    world.commit("", &[]);
    world.step();
    assert_eq!(world.decision.shown.as_ref().unwrap().waves[1].plan, Some(plan), "a README is no other plan");

    world.commit("2", &["b"]);
    world.step();
    let other = world.decision.shown.as_ref().unwrap().waves[1].plan.unwrap();
    assert_ne!(other, plan);
    assert_eq!(world.progress.approve(plan, "ada", world.now), None);
    assert_eq!(world.progress.approve(other, "ada", world.now).unwrap(), ["b", "c"]);
    world.restart();
    assert_eq!(world.step(), ["b", "c"]);
    assert_eq!(world.progress.waves["rest"].approved.as_ref().unwrap().who, "ada");
    world.minutes(2);

    // The same plan again after another one is asked again.
    world.commit("3", &["b"]);
    world.minutes(1);
    let third = world.decision.shown.as_ref().unwrap().waves[1].plan.unwrap();
    world.progress.approve(third, "ada", world.now).unwrap();
    world.minutes(2);
    world.commit("2", &["b"]);
    assert_eq!(world.step(), [""; 0]);
    assert_eq!(world.decision.shown.as_ref().unwrap().waves[1].plan, Some(other));
}

#[test]
fn finish_wave_lets_a_wave_finish() {
    let busy = |preempt| {
        let mut world = settled();
        world.settings.as_mut().unwrap().preempt = preempt;
        for number in 1..60 {
            world.commit_all(&number.to_string());
            world.minutes(1);
        }
        world.runs("b")
    };
    assert_eq!(busy(Preempt::Now), commit(0), "each commit changes the canary, which never soaks");
    assert!(busy(Preempt::FinishWave) > commit(30));
}

#[test]
fn a_wave_goes_by_as_many_clusters_as_may_be_in_progress_or_out_of_order() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut limited = wave("all", "wave=1");
    (limited.max_parallel, limited.max_unavailable) = (Some(3), Some(2));
    let mut world = World::new(rollout(vec![limited]), &names.map(|name| (name, "1")));
    world.minutes(1);
    world.commit_all("1");
    assert_eq!(world.step(), ["a", "b"]);
    world.pass(Duration::from_mins(1));
    assert_eq!(world.step(), ["c", "d"]);
    world.minutes(3);

    // One that is out of order already gets what may mend it, one at a time with others.
    for name in ["d", "e", "f"] {
        world.place(name).is_ill = true;
    }
    world.step();
    world.commit_all("2");
    world.place("a").is_out_of_reach = true;
    assert_eq!(world.step(), ["d", "e"], "none that does well is risked, and what does not answer would not be mended");
}

#[test]
fn who_cannot_be_reached_is_passed_over_after_a_while_and_caught_up() {
    let mut world = settled();
    world.place("b").is_out_of_reach = true;
    world.commit_all("1");
    world.settings.as_mut().unwrap().waves[1].max_unavailable = Some(1);
    world.minutes(14);
    assert_eq!((world.runs("a"), world.runs("c")), (commit(1), commit(0)), "b may be the one that is out of order");
    world.minutes(4);
    assert_eq!(world.runs("c"), commit(1));
    let shown = world.decision.shown.as_ref().unwrap().waves[1].clone();
    assert_eq!(shown.passed_over, ["b: out of reach since 1970-01-01T00:12:00Z"]);
    assert_eq!((shown.state, shown.clusters.done), (WaveWord::Complete, 1));
    world.place("b").is_out_of_reach = false;
    world.minutes(1);
    assert_eq!(world.runs("b"), commit(1));
}

#[test]
fn one_that_was_never_reached_is_begun_once_it_answers() {
    for minutes in [3, 20] {
        let mut world = World::new(rollout(vec![wave("one", "wave=1"), wave("two", "wave=2")]), &[("a", "1"), ("b", "1"), ("c", "2")]);
        let last = world.commit_all("1");
        (world.place("b").runs, world.place("b").is_out_of_reach) = (None, true);
        world.minutes(minutes);
        world.restart();
        world.place("b").is_unheard = true;
        world.minutes(1);
        assert!(world.places["b"].runs.is_none(), "not by the word of an agent that has just begun");
        assert_eq!(world.runs("c") == last, minutes >= 15, "it is waited for as long as for others: {}", world.reason("c"));
        (world.place("b").is_unheard, world.place("b").is_out_of_reach) = (false, false);
        world.minutes(2);
        assert_eq!((world.runs("b"), world.runs("c")), (last, last), "after {minutes} minutes");
    }
}

/// A slip in the canary's own file: its labels cannot be read, or select another wave.
#[test]
fn a_canary_whose_own_file_is_refused_still_stands_before_the_others() {
    for labels in [&[][..], &[("wave", "2")]] {
        let mut world = after_a_canary();
        world.commit_all("1");
        world.commits.last_mut().unwrap().insert("a".to_owned(), None);
        world.place("a").labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        world.minutes(20);
        assert_eq!([word(&world, 0), word(&world, 1)], [WaveWord::Halted, WaveWord::Complete]);
        assert_eq!((world.runs("b"), world.runs("c")), (commit(0), commit(0)), "{labels:?}");
        world.restart();
        world.place("a").labels = [("wave".to_owned(), "1".to_owned())].into();
        let mended = world.commit_all("2");
        world.minutes(20);
        assert_eq!((world.runs("b"), world.runs("c")), (mended, mended));
    }
}

#[test]
fn a_wave_that_has_lost_its_clusters_proves_nothing_and_one_that_never_had_any_is_passed() {
    let mut world = after_a_canary();
    world.settings.as_mut().unwrap().waves.insert(0, wave("nobody", "wave=0"));
    let all = world.commit_all("1");
    world.minutes(20);
    assert_eq!((world.runs("b"), word(&world, 0)), (all, WaveWord::Complete));
    // A slip in a label.
    world.place("a").labels = [("wave".to_owned(), "2".to_owned())].into();
    world.commit_all("2");
    world.minutes(20);
    assert_eq!((world.runs("b"), word(&world, 1)), (all, WaveWord::Unproved));
    let way_out = &world.decision.shown.as_ref().unwrap().waves[1].way_out;
    assert_eq!(way_out, "Put a cluster into it, or take canary out of spec.rollout in evenkeel.yaml.");
    world.settings.as_mut().unwrap().waves.remove(1);
    world.minutes(20);
    assert_eq!(world.runs("b"), commit(2));
}

/// Who holds a canary because something looks odd there lets nothing through by releasing it.
#[test]
fn what_is_held_does_not_soak() {
    for off in [paused(), held(), Off::Partly("ada holds a bundle".to_owned())] {
        let mut world = after_a_canary();
        world.commit_all("1");
        world.minutes(5);
        world.place("a").off = Some(off.clone());
        world.minutes(20);
        world.place("a").off = None;
        world.minutes(8);
        assert_eq!((world.runs("a"), world.runs("b")), (commit(1), commit(0)), "{off:?}");
        world.minutes(6);
        assert_eq!(world.runs("b"), commit(1), "{off:?}");
    }
}

/// A hook that never ends, in the middle of which the connection broke: what mends it is brought there all the same.
#[test]
fn what_waits_for_something_and_answers_is_not_silent() {
    let mut world = after_a_canary();
    world.commit_all("1");
    world.step();
    world.place("a").waits = true;
    world.place("a").is_out_of_reach = true;
    world.minutes(2);
    world.place("a").is_out_of_reach = false;
    world.minutes(1);
    let mended = world.commit_all("2");
    world.step();
    assert_eq!(world.runs("a"), mended);
}

/// Who mends something on a held cluster finds it halted the moment it is let go, if its time went on.
#[test]
fn the_deadline_of_a_held_cluster_begins_when_it_is_let_go() {
    let mut world = after_a_canary();
    world.settings.as_mut().unwrap().on_failure = OnFailure::Return;
    world.commit_all("1");
    world.place("a").is_unready = true;
    world.minutes(5);
    world.place("a").off = Some(held());
    world.minutes(60);
    world.place("a").off = None;
    world.minutes(3);
    assert_eq!((world.runs("a"), word(&world, 0)), (commit(1), WaveWord::Rolling));
    world.place("a").is_unready = false;
    world.minutes(12);
    assert_eq!(world.runs("b"), commit(1));
}

#[test]
fn a_wave_of_which_none_answers_has_proved_nothing() {
    let mut world = settled();
    world.place("a").is_out_of_reach = true;
    world.commit_all("1");
    world.minutes(60);
    assert_eq!((word(&world, 0), world.runs("b")), (WaveWord::Unproved, commit(0)));
    world.place("a").is_out_of_reach = false;
    world.minutes(13);
    assert_eq!(world.runs("b"), commit(1));
}

#[test]
fn a_freeze_holds_up_what_has_not_begun() {
    let mut world = settled();
    let freeze = Freeze { from: minutes(20), to: minutes(60), reason: "sale".to_owned() };
    world.settings.as_mut().unwrap().freezes.push(freeze);
    world.commit_all("1");
    world.minutes(20);
    assert_eq!((world.runs("a"), world.runs("b"), word(&world, 1)), (commit(1), commit(0), WaveWord::Closed));
    assert_eq!(world.reason("b"), "the wave rest is frozen (sale) until 1970-01-01T01:00:00Z");
    assert_eq!(world.decision.look_again, Some(minutes(60)));
    world.now = minutes(60);
    assert_eq!(world.step(), ["b", "c"]);
}

#[test]
fn a_wave_says_what_it_waits_for_and_how_long_it_does() {
    let mut world = settled();
    world.commit_all("1");
    world.place("a").is_unready = true;
    world.minutes(3);
    let reason = &world.decision.shown.as_ref().unwrap().waves[0].reason;
    let since = world.progress.clusters["a"].unready_since.unwrap().checked_add(Duration::from_mins(10)).unwrap();
    let until = since.strftime("%Y-%m-%dT%H:%M:%SZ");
    assert_eq!(*reason, format!("is in progress on a (a: ConfigMap/shop/db: slow; it fails if it is not healthy by {until})"));
}

#[test]
fn a_deadline_halts() {
    let mut world = settled();
    world.commit_all("1");
    world.minutes(2);
    let member = |condition| Member { digest: Some(content("1")), condition, deadline: Duration::from_mins(10), ..Member::default() };
    let cluster = world.progress.clusters.get_mut("a").unwrap();
    cluster.observe(&member(Condition::Unready), Duration::ZERO, minutes(20));
    cluster.observe(&member(Condition::Unready), Duration::ZERO, minutes(29));
    assert!(cluster.failure().is_none());
    cluster.observe(&member(Condition::Unready), Duration::ZERO, minutes(30));
    assert_eq!(cluster.failure().unwrap().cause.code, "EK4046");
    cluster.observe(&member(Condition::Failed(cause("other words"))), Duration::ZERO, minutes(31));
    assert_eq!(cluster.failure().unwrap().at, minutes(30));
}

#[test]
fn a_renderer_that_gives_something_else_goes_through_the_waves() {
    let mut world = settled();
    // The same commit; an agent that was started anew has only the newest rendering of it.
    let digests = world.commits[0].keys().map(|name| (name.clone(), Some(content("upgraded")))).collect();
    world.restart();
    world.commits[0] = digests;
    assert_eq!(world.step(), ["a"]);
    world.minutes(9);
    assert_eq!(world.places["b"].runs.unwrap().digest, content("0"));
    world.minutes(3);
    assert_eq!(world.places["b"].runs.unwrap().digest, content("upgraded"));
}

#[test]
fn what_is_refused_for_a_cluster_goes_no_further() {
    let mut world = settled();
    world.commit_all("1");
    world.commits[1].insert("a".to_owned(), None);
    world.minutes(20);
    assert_eq!((word(&world, 0), world.runs("b")), (WaveWord::Halted, commit(0)));
    assert!(world.decision.clusters["a"].refused);

    let mut world = settled();
    world.commit_all("1");
    world.commits[1].insert("c".to_owned(), None);
    world.minutes(20);
    assert_eq!((world.runs("a"), world.runs("b"), word(&world, 1)), (commit(1), commit(0), WaveWord::Halted));
}

#[test]
fn once_waits_for_no_soak() {
    let mut world = settled();
    world.hasty = true;
    world.commit_all("1");
    assert_eq!(world.step(), ["a"]);
    assert!(world.decision.moving);
    world.pass(Duration::from_mins(1));
    assert_eq!(world.step(), ["b", "c"]);
    world.pass(Duration::from_mins(1));
    world.step();
    assert!(!world.decision.moving);
}

/// As after a start in the middle of a rollout: what waves were brought to is rendered again.
#[test]
fn a_target_that_cannot_be_had_any_more_is_dropped_and_the_next_one_taken() {
    let begun = || {
        let mut world = settled();
        world.settings.as_mut().unwrap().waves[1].max_parallel = Some(1);
        world.commit_all("1");
        world.minutes(11);
        assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
        world.commit("2", &["a"]);
        world.restart();
        world
    };
    let check = |world: &mut World, given: Digests| {
        let (settings, members) = (world.settings.clone().unwrap(), world.members());
        world.progress.check(&settings, &members, commit(1), &Arc::new(given));
    };
    let mut world = begun();
    let same = world.commits[1].clone();
    check(&mut world, same);
    world.minutes(2);
    assert_eq!(world.runs("c"), commit(2), "it goes on; the newest commit gives the same for c");

    let mut world = begun();
    let other = world.commits[1].keys().map(|name| (name.clone(), Some(content("upgraded")))).collect();
    check(&mut world, other);
    assert_eq!(world.progress.waves["rest"].target, None);
    world.minutes(2);
    assert_eq!(world.runs("c"), commit(0), "it waits for what the canary proves next");
    world.minutes(12);
    assert_eq!(world.runs("c"), commit(2));
}

#[test]
fn what_runs_the_newest_commit_is_not_sent_to_an_older_one() {
    let mut world = settled();
    let settings = world.settings.as_mut().unwrap();
    settings.preempt = Preempt::FinishWave;
    settings.waves[1].max_parallel = Some(1);
    world.commit_all("1");
    world.minutes(11);
    assert_eq!((world.runs("b"), world.runs("c")), (commit(1), commit(0)));
    // The newest commit gives c what it runs anyway, while its wave is still busy with the one before.
    world.place("b").is_ill = true;
    world.step();
    let reverted = world.commit("0", &["c"]);
    world.step();
    world.place("b").is_ill = false;
    for _ in 0..15 {
        world.minutes(1);
        assert_eq!(world.runs("c"), reverted);
    }
    assert_eq!(world.runs("b"), reverted);
}

#[test]
fn a_paused_cluster_is_not_put_back() {
    let mut world = settled();
    world.commit_all("1");
    world.bad.insert(content("1"));
    world.minutes(3);
    world.place("a").off = Some(paused());
    world.settings.as_mut().unwrap().on_failure = OnFailure::Return;
    world.step();
    assert_eq!(world.decision.clusters["a"].runs.unwrap().commit, commit(1));
    world.place("a").off = None;
    world.step();
    assert!(world.is_put_back("a"));
}

#[test]
fn what_is_not_on_record_any_more_stops_nothing() {
    let mut world = settled();
    world.commit_all("1");
    world.minutes(5);
    world.progress.head = None;
    world.minutes(20);
    assert_eq!([world.runs("a"), world.runs("c")], [commit(1); 2]);
    world.progress.waves.clear();
    world.progress.head = None;
    let next = world.commit_all("2");
    world.minutes(15);
    assert_eq!([world.runs("a"), world.runs("c")], [next; 2]);
}
