#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    git::MemorySource,
    layout,
    manifest::DigestKey,
    render::{Facts, Renderer},
};

/// A bundle with a Deployment of its name, what it depends on, and its hooks.
pub(in crate::sync) type Spec<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

pub(in crate::sync) fn rendering(bundles: &[Spec<'_>]) -> Arc<Rendering> {
    let own = |kind: &str, spec: Value| json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "spec": spec}).to_string();
    let fleet = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "shop"}}).to_string();
    let mut files =
        vec![("evenkeel.yaml".to_owned(), fleet), ("environments/test/eu/one/cluster.yaml".to_owned(), own("Cluster", json!({})))];
    for (name, needs, hooks) in bundles {
        let object = |kind: &str, version: &str, metadata: Value| {
            let mut object = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
            object["metadata"]["namespace"] = "shop".into();
            object.to_string()
        };
        files.push((format!("base/{name}/bundle.yaml"), own("Bundle", json!({"dependsOn": needs, "deadline": "1m"}))));
        files.push((format!("base/{name}/web.yaml"), object("Deployment", "apps/v1", json!({"name": name}))));
        for hook in *hooks {
            let metadata = json!({"name": format!("{name}-{hook}"), "annotations": {"evenkeel.dev/hook": hook}});
            files.push((format!("base/{name}/{hook}.yaml"), object("Job", "batch/v1", metadata)));
        }
    }
    let source = MemorySource::new(files).unwrap();
    let fleet = layout::read(&source).unwrap();
    let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
    renderer.render(&source, &fleet, fleet.cluster("one").unwrap(), &Facts::default()).unwrap()
}

/// The repository may have a rule for a kind that has no status of its own.
#[test]
fn every_object_may_be_waited_for() {
    let mut rendering = Rendering::clone(&rendering(&[("db", &[], &[]), ("web", &["db"], &[])]));
    for object in rendering.objects.iter_mut().filter(|object| object.id.name == "db") {
        Arc::make_mut(object).id = "ConfigMap/shop/db".parse().unwrap();
    }
    let mut situation = Situation { stages: Stages::of(&rendering), pending: ["web".to_owned()].into(), ..Situation::default() };
    situation.begin(&|_| Pulse::Well, 0);
    let pulse = |id: &ObjectId| if id.kind == "ConfigMap" { Pulse::Coming("slow".to_owned()) } else { Pulse::Well };
    assert!(matches!(situation.steps(&pulse, 0)["web"], Step::Waits(_)));
}

/// A cluster on which things happen.
struct World {
    situation: Situation,
    pulses: BTreeMap<String, Pulse>,
    now: u64,
    /// Jobs that were created.
    created: usize,
}

impl World {
    /// All bundles have changes to be written; whatever is asked after is healthy unless it is told otherwise.
    fn new(bundles: &[Spec<'_>]) -> Self {
        let pending = bundles.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let mut situation = Situation { stages: Stages::of(&rendering(bundles)), pending, ..Situation::default() };
        situation.begin(&|_| Pulse::Well, 0);
        Self { situation, pulses: BTreeMap::new(), now: 0, created: 0 }
    }

    fn pulse(&self) -> impl Fn(&ObjectId) -> Pulse + use<'_> {
        |id| self.pulses.get(&id.name).cloned().unwrap_or(Pulse::Well)
    }

    fn is(&mut self, name: &str, pulse: Pulse) -> &mut Self {
        self.pulses.insert(name.to_owned(), pulse);
        self
    }

    fn steps(&self) -> Steps {
        self.situation.steps(&self.pulse(), self.now)
    }

    /// The steps in short.
    fn shown(&self) -> String {
        let names = |hooks: &[HookRun]| hooks.iter().map(|run| run.hook.id.name.clone()).collect::<Vec<_>>().join(", ");
        let one = |(name, step): (&String, &Step)| match step {
            Step::Waits(held) => format!("{name}: {} {}", held.error.code, held.error.message),
            Step::Stuck(held, hooks) => format!("{name}: {} {} [{}]", held.error.code, held.error.message, names(hooks)),
            Step::Hooks(hooks) => format!("{name}: run {}", names(hooks)),
            Step::Write => format!("{name}: write"),
            Step::Done => format!("{name}: done"),
        };
        self.steps().iter().map(one).collect::<Vec<_>>().join("\n")
    }

    /// What an attempt does: writes what may be written and creates the Jobs of hooks.
    fn attempt(&mut self) {
        let steps = self.steps();
        let mut situation = std::mem::take(&mut self.situation);
        situation.note(&steps, &self.pulse(), self.now);
        situation.wrote(steps.iter().filter(|(_, step)| **step == Step::Write).map(|(name, _)| name.as_str()), self.now);
        for step in steps.values() {
            if let Step::Hooks(hooks) | Step::Stuck(_, hooks) = step {
                for run in hooks {
                    self.created += 1;
                    situation.jobs.insert(run.hook.id.clone(), Job { run: run.run, uid: self.created.to_string() });
                    self.pulses.insert(run.hook.id.name.clone(), Pulse::Coming("1 pods are active".to_owned()));
                }
            }
        }
        situation.alarmed();
        self.situation = situation;
    }

    /// The cluster is told something else, of which nothing is to be written, and then this again.
    fn goes_and_comes_back(&mut self) {
        let mut situation = std::mem::take(&mut self.situation);
        for course in situation.courses.bundles.values_mut() {
            *course = Course::new(Digest::of(b"what ran before"), self.now);
        }
        situation.begin(&self.pulse(), self.now);
        self.situation = situation;
    }

    /// A person asks for another try.
    fn again(&mut self) {
        let mut situation = std::mem::take(&mut self.situation);
        situation.again(&self.pulse(), self.now);
        self.situation = situation;
    }
}

fn coming() -> Pulse {
    Pulse::Coming("0 of 1 replicas are available".to_owned())
}

#[test]
fn a_bundle_is_written_when_all_that_it_depends_on_is_written_and_healthy() {
    let mut world = World::new(&[("api", &["db"], &[]), ("db", &[], &[]), ("web", &["api", "db"], &[]), ("other", &[], &[])]);
    insta::assert_snapshot!(world.shown(), @r"
    api: EK4020 bundle api waits until bundle db is written
    db: write
    web: EK4020 bundle web waits for bundle api: bundle api waits until bundle db is written
    ");
    world.is("db", Pulse::Unread).attempt();
    insta::assert_snapshot!(world.shown(), @r"
    api: EK4020 bundle api waits for bundle db: its status was not read yet
    db: done
    web: EK4020 bundle web waits for bundle api: bundle api waits for bundle db: its status was not read yet
    ");
    world.is("db", coming());
    assert_eq!(
        rest(&world.steps()).unwrap().error.to_string(),
        "Deployment.apps/shop/db: error[EK4020]: bundle api waits for bundle db: 0 of 1 replicas are available"
    );
    let before = world.steps();
    world.is("db", Pulse::Well);
    assert!(moved(&before, &world.steps()));
    world.is("api", coming()).attempt();
    insta::assert_snapshot!(world.shown(), @r"
    api: done
    db: done
    web: EK4020 bundle web waits for bundle api: 0 of 1 replicas are available
    ");
    world.is("api", Pulse::Well).attempt();
    assert_eq!(world.shown(), "api: done\ndb: done\nweb: done");
    assert_eq!(rest(&world.steps()), None);
    // What someone changes in what is done is put back whatever others do.
    world.is("db", coming()).situation.pending.insert("web".to_owned());
    assert_eq!(world.shown(), "api: done\ndb: done\nweb: done");
}

#[test]
fn a_dependency_that_did_not_change_must_be_healthy_too() {
    let specs: [Spec<'_>; 2] = [("db", &[], &[]), ("web", &["db"], &[])];
    let mut world = World::new(&specs);
    world.attempt();
    world.attempt();
    // Another content of web: its course is another.
    world.situation.courses.bundles.get_mut("web").unwrap().digest = Digest::of(b"before");
    world.situation.pending.insert("web".to_owned());
    world.now = 3_600_000;
    world.situation.begin(&|_| Pulse::Well, world.now);
    world.is("db", coming());
    assert_eq!(world.shown(), "db: done\nweb: EK4020 bundle web waits for bundle db: 0 of 1 replicas are available");
    assert_eq!(rest(&world.steps()).unwrap().left, Some(Duration::from_mins(1)), "from when it began to wait");
}

#[test]
fn waiting_ends_at_the_deadline_and_at_once_where_it_is_in_vain() {
    let mut world = World::new(&[("api", &["db"], &[]), ("db", &[], &[]), ("web", &["api"], &[])]);
    world.now = 5_000;
    world.is("db", coming()).attempt();
    world.now = 64_999;
    assert_eq!(rest(&world.steps()).unwrap().left, Some(Duration::from_millis(1)));
    world.now = 65_000;
    insta::assert_snapshot!(world.shown(), @r"
    api: EK4022 bundle api is not written: bundle db was not healthy within 1m: 0 of 1 replicas are available []
    db: done
    web: EK4022 bundle web is not written: bundle api is not written: bundle db was not healthy within 1m: 0 of 1 replicas are available []
    ");
    assert!(rest(&world.steps()).unwrap().stuck);
    let before = world.steps();
    let pulse = |id: &ObjectId| world.pulses.get(&id.name).cloned().unwrap_or(Pulse::Well);
    world.situation.again(&pulse, 65_000);
    assert!(!rest(&world.steps()).unwrap().stuck, "a person asked for another try");
    world.is("db", Pulse::Well);
    assert!(moved(&before, &world.steps()), "what is late may still come");
    world.now = 0;
    world.is("db", Pulse::Broken("ProgressDeadlineExceeded".to_owned()));
    let shown = rest(&world.steps()).unwrap();
    assert_eq!(shown.error.message, "bundle api is not written: bundle db is degraded: ProgressDeadlineExceeded");
    assert!(shown.stuck && shown.left.is_none());
}

#[test]
fn hooks_run_before_and_after_their_bundle_once() {
    let mut world = World::new(&[("db", &[], &["pre-sync", "post-sync", "on-failure"]), ("web", &["db"], &[])]);
    let mut told = String::new();
    for (name, pulse) in [
        ("none", Pulse::Well),
        ("db-pre-sync", Pulse::Unread),
        ("db-pre-sync", Pulse::Well),
        ("db", coming()),
        ("db", Pulse::Well),
        ("db-post-sync", Pulse::Well),
    ] {
        world.is(name, pulse);
        told.push_str(&(world.shown() + "\n--\n"));
        let before = world.steps();
        let acts = before.values().any(|step| matches!(step, Step::Hooks(_) | Step::Write));
        assert!(!moved(&before, &before), "what failed is not tried again at once");
        world.attempt();
        let goes_on = world.steps().values().any(|step| matches!(step, Step::Hooks(_) | Step::Write));
        assert_eq!(moved(&before, &world.steps()), acts && goes_on, "{told}");
    }
    told += &world.shown();
    insta::assert_snapshot!(told, @r"
    db: run db-pre-sync
    web: EK4020 bundle web waits until bundle db is written
    --
    db: EK4024 bundle db waits for its pre-sync hook: its status was not read yet
    web: EK4024 bundle web waits for bundle db: bundle db waits for its pre-sync hook: its status was not read yet
    --
    db: write
    web: EK4020 bundle web waits until bundle db is written
    --
    db: EK4020 the post-sync hook of bundle db waits for the bundle: 0 of 1 replicas are available
    web: EK4020 bundle web waits for bundle db: the post-sync hook of bundle db waits for the bundle: 0 of 1 replicas are available
    --
    db: run db-post-sync
    web: EK4020 bundle web waits until bundle db is written
    --
    db: done
    web: write
    --
    db: done
    web: done
    ");
    // Its Jobs are gone, and someone changed an object of it: nothing runs again.
    world.situation.jobs.clear();
    world.situation.pending.insert("db".to_owned());
    world.attempt();
    assert_eq!(world.shown(), "db: done\nweb: done");
}

#[test]
fn a_hook_that_completed_and_is_gone_does_not_run_again() {
    let mut world = World::new(&[("db", &[], &["pre-sync"])]);
    world.attempt();
    let steps = world.is("db-pre-sync", Pulse::Well).steps();
    let pulses = world.pulses.clone();
    world.situation.note(&steps, &|id| pulses.get(&id.name).cloned().unwrap_or(Pulse::Well), 0);
    // The bundle was refused, and the Job's own time was over before it was not.
    world.situation.jobs.clear();
    assert_eq!(world.shown(), "db: write");
}

#[test]
fn a_hook_that_fails_stops_its_bundle_and_calls_for_help_once() {
    let mut world = World::new(&[("db", &[], &["pre-sync", "on-failure"]), ("web", &["db"], &[])]);
    world.attempt();
    let before = world.steps();
    world.is("db-pre-sync", Pulse::Broken("BackoffLimitExceeded: three times".to_owned()));
    insta::assert_snapshot!(world.shown(), @r"
    db: EK4023 the pre-sync hook of bundle db failed: BackoffLimitExceeded: three times [db-on-failure]
    web: EK4023 bundle web is not written: the pre-sync hook of bundle db failed: BackoffLimitExceeded: three times []
    ");
    assert!(moved(&before, &world.steps()), "there is a hook to be run");
    world.attempt();
    assert!(world.shown().contains("[]\nweb"), "once: {}", world.shown());
    world.situation.jobs.retain(|id, _| id.name == "db-pre-sync");
    assert!(world.shown().contains("[]\nweb"), "even if its Job is gone: {}", world.shown());
    world.again();
    assert!(world.shown().starts_with("db: run db-pre-sync"), "a person asked: {}", world.shown());
}

/// Who hears of a failure may put the cluster back at once.
#[test]
fn nobody_hears_that_a_bundle_failed_before_its_hooks_for_that_were_run() {
    let mut world = World::new(&[("db", &[], &["pre-sync", "on-failure"])]);
    world.attempt();
    world.is("db-pre-sync", Pulse::Broken("three times".to_owned()));
    let is_stuck = |world: &World| rest(&world.steps()).map(|rest| rest.stuck);
    assert_eq!(is_stuck(&world), Some(false), "{}", world.shown());
    let silent = rest(&world.steps()).unwrap().error;
    world.attempt();
    assert_eq!((is_stuck(&world), rest(&world.steps()).unwrap().error), (Some(true), silent));

    let mut plain = World::new(&[("db", &[], &["pre-sync"])]);
    plain.attempt();
    assert_eq!(is_stuck(plain.is("db-pre-sync", Pulse::Broken("three times".to_owned()))), Some(true));
}

#[test]
fn another_try_is_not_judged_by_the_jobs_of_the_last_one() {
    for again in [World::again, World::goes_and_comes_back] {
        let mut world = World::new(&[("db", &[], &["pre-sync", "on-failure"])]);
        for _ in 0..3 {
            assert_eq!(world.shown(), "db: run db-pre-sync");
            world.attempt();
            world.is("db-pre-sync", Pulse::Broken("three times".to_owned()));
            assert_eq!(world.shown(), "db: EK4023 the pre-sync hook of bundle db failed: three times [db-on-failure]");
            world.attempt();
            assert_eq!(world.shown(), "db: EK4023 the pre-sync hook of bundle db failed: three times []");
            again(&mut world);
        }
        // Nobody knows how it does, and it is the Job of this try.
        world.attempt();
        world.is("db-pre-sync", Pulse::Unread).again();
        assert_eq!(world.shown(), "db: EK4024 bundle db waits for its pre-sync hook: its status was not read yet");
    }
}

#[test]
fn a_job_that_runs_or_has_completed_is_as_good_for_the_next_try() {
    for (pulse, expected) in [
        (Pulse::Well, "db: write"),
        (coming(), "db: EK4024 bundle db waits for its pre-sync hook: 0 of 1 replicas are available"),
        (Pulse::Unread, "db: run db-pre-sync"),
    ] {
        let mut world = World::new(&[("db", &[], &["pre-sync"])]);
        world.attempt();
        world.is("db-pre-sync", pulse).goes_and_comes_back();
        assert_eq!(world.shown(), expected);
    }
}

#[test]
fn a_job_that_was_left_is_not_taken_for_one_of_this_try_later() {
    let mut world = World::new(&[("db", &[], &[]), ("web", &["db"], &["pre-sync"])]);
    world.attempt();
    world.attempt();
    assert!(world.is("web-pre-sync", Pulse::Broken("three times".to_owned())).shown().contains("web: EK4023"), "{}", world.shown());
    world.is("db", coming()).goes_and_comes_back();
    assert!(world.shown().contains("web: EK4020"), "{}", world.shown());
    world.attempt();
    assert_eq!(world.is("db", Pulse::Well).shown(), "db: done\nweb: run web-pre-sync");
}

#[test]
fn what_was_there_before_anybody_kept_a_record_is_done() {
    let mut situation = Situation { stages: Stages::of(&rendering(&[("db", &[], &["pre-sync", "post-sync"])])), ..Situation::default() };
    situation.begin(&|_| Pulse::Well, 0);
    assert_eq!(situation.steps(&|_| Pulse::Well, 0), Steps::from([("db".to_owned(), Step::Done)]));
}

#[test]
fn bundles_without_an_order_have_no_steps() {
    assert!(Stages::of(&rendering(&[("a", &[], &[]), ("b", &[], &[])])).is_empty());
}

proptest! {
    /// Whatever is healthy when: no bundle is written before those that it depends on are written and healthy, and if all become
    /// healthy, all are written.
    #[test]
    fn order_is_kept_and_everything_ends(
        edges in prop::collection::btree_set((0usize..6, 0usize..6), 0..12),
        healths in prop::collection::vec(prop::collection::vec(0u8..3, 6), 0..12),
    ) {
        const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        let needs: Vec<Vec<&str>> =
            (0..6).map(|n| edges.iter().filter(|(from, to)| *from == n && to < from).map(|(_, to)| NAMES[*to]).collect()).collect();
        let specs: Vec<Spec<'_>> = (0..6).map(|n| (NAMES[n], needs[n].as_slice(), [].as_slice())).collect();
        let mut world = World::new(&specs);
        for round in healths.iter().chain(std::iter::repeat_n(&vec![0; 6], 7)) {
            for (name, health) in NAMES.iter().zip(round) {
                world.is(name, match health {
                    0 => Pulse::Well,
                    1 => coming(),
                    _ => Pulse::Broken("broken".to_owned()),
                });
            }
            for (name, step) in world.steps() {
                if step == Step::Write {
                    let at = NAMES.iter().position(|other| **other == name).unwrap();
                    for needed in &needs[at] {
                        prop_assert!(!world.situation.pending.contains(*needed), "{name} before {needed} is written");
                        prop_assert_eq!(&world.pulses[*needed], &Pulse::Well, "{} before {} is healthy", name, needed);
                    }
                }
            }
            world.attempt();
        }
        prop_assert!(rest(&world.steps()).is_none(), "{}", world.shown());
    }
}
