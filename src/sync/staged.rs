//! One attempt where bundles have an order: what of the plan may be carried out now, and what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;

use super::{
    BundleOutcome, Journal,
    agenda::End,
    carry::{Carrier, Report, bundle_of},
    course::{Courses, Needs, all_dependents, jobs},
    hooks::HookRun,
    member::Inventory,
    parent::Parent,
    plan::{Plan, Write},
    prune::Verdict,
    stages::{Pulse, Situation, Stages, Step, Steps},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Hook, ObjectId},
    render::{RenderedObject, Rendering},
};

/// What one attempt may carry out.
pub(super) struct Turn {
    pub(super) plan: Plan,
    pub(super) verdict: Verdict,
    pub(super) hooks: Vec<HookRun>,
    /// Which bundles depend on which.
    pub(super) needs: Needs,
    pub(super) situation: Situation,
    pub(super) steps: Steps,
}

/// When a turn is taken.
pub(super) struct Moment<'a> {
    pub(super) pulse: &'a (dyn Fn(&ObjectId) -> Pulse + Send + Sync),
    /// Milliseconds since 1970.
    pub(super) now: u64,
    /// A person asked for it.
    pub(super) asked: bool,
}

impl Turn {
    /// All of the plan where no bundle has an order.
    pub(super) fn new(
        rendering: &Rendering,
        plan: Plan,
        verdict: Verdict,
        inventory: &Inventory,
        courses: &Courses,
        moment: &Moment<'_>,
    ) -> Self {
        let stages = Stages::of(rendering);
        if stages.is_empty() && courses.is_empty() {
            let (situation, steps) = (Situation::default(), Steps::new());
            return Self { plan, verdict, hooks: Vec::new(), needs: Needs::new(), situation, steps };
        }
        let mut situation = Situation { stages, courses: courses.clone(), pending: pending(&plan), jobs: jobs(inventory) };
        situation.begin(moment.pulse, moment.now);
        if moment.asked {
            situation.again(moment.pulse, moment.now);
        }
        let steps = situation.steps(moment.pulse, moment.now);
        situation.note(&steps, moment.pulse, moment.now);
        let needs = situation.courses.needs.clone();
        let hooks = hooks(&steps);
        let mut turn = Self { plan, verdict, hooks, needs, situation, steps };
        turn.restrict();
        turn
    }

    /// There is nothing to send to the cluster.
    pub(super) fn is_empty(&self) -> bool {
        self.plan.writes.is_empty() && self.verdict.delete.is_empty() && self.hooks.is_empty()
    }

    /// How the attempt ends if all of it succeeds.
    pub(super) fn end(&self) -> End {
        let is_over = |(name, step): (&String, &Step)| match step {
            Step::Done => true,
            Step::Write => !self.situation.stages.has_hooks(name, Hook::PostSync),
            Step::Waits(_) | Step::Stuck(..) | Step::Hooks(_) => false,
        };
        if self.steps.iter().all(is_over) { End::Synced } else { End::Gated(None) }
    }

    /// Makes room on the parent for what is written, and puts on it which bundles have begun. True where it had to change.
    pub(super) fn widen(&self, parent: &mut Parent) -> bool {
        let hooks = self.hooks.iter().map(|run| &run.hook.id);
        let grew = parent.widen(self.plan.writes.values().flatten().map(|write| &write.object.id).chain(hooks));
        let begun = parent.courses != self.situation.courses;
        parent.courses.clone_from(&self.situation.courses);
        grew || begun
    }

    /// What is kept until the next attempt; none where no bundle has an order.
    pub(super) fn into_staged(self) -> Option<(Situation, Steps)> {
        (!self.steps.is_empty()).then_some((self.situation, self.steps))
    }

    /// Leaves out what is not allowed yet. What is as it should be but for others' changes is put back, or put on record, all the same.
    fn restrict(&mut self) {
        let (steps, hooks) = (&self.steps, &self.hooks);
        let held = |bundle: &str| matches!(steps.get(bundle), Some(Step::Waits(_) | Step::Stuck(..) | Step::Hooks(_)));
        for (bundle, writes) in self.plan.writes.iter_mut().filter(|(bundle, _)| held(bundle)) {
            writes.retain(|write| {
                !write.why.is_change() || hooks.iter().any(|run| run.hook.bundle == *bundle && is_namespace_of(write, &run.hook))
            });
        }
        self.plan.writes.retain(|_, writes| !writes.is_empty());
        let needs = &self.needs;
        self.verdict.delete.retain(|deletion| {
            let bundle = bundle_of(deletion);
            !held(bundle) && !all_dependents(needs, bundle).into_iter().any(held)
        });
    }

    /// Takes up what became of it.
    pub(super) fn ended(&mut self, report: &Report, inventory: &Inventory, now: u64) {
        let written = |bundle: &str| matches!(report.bundles.get(bundle), Some(BundleOutcome::Applied));
        let done = self.steps.iter().filter(|(name, step)| **step == Step::Write && written(name)).map(|(name, _)| name.as_str());
        self.situation.wrote(done, now);
        self.situation.jobs = jobs(inventory);
        self.situation.alarmed();
    }

    /// What each bundle that is not finished waits for.
    fn waiting(&self, report: &Report) -> BTreeMap<String, Diagnostic> {
        let mut waiting = BTreeMap::new();
        for (name, step) in &self.steps {
            let error = match step {
                Step::Waits(held) | Step::Stuck(held, _) => self.failed_before(name, report).unwrap_or_else(|| held.error.clone()),
                Step::Hooks(hooks) => begun(name, hooks),
                Step::Write if self.situation.stages.has_hooks(name, Hook::PostSync) => {
                    let message = format!("the post-sync hook of bundle {name} waits for the bundle");
                    Diagnostic::new(codes::GATE, Place::Nowhere, message)
                }
                Step::Write | Step::Done => continue,
            };
            waiting.insert(name.clone(), error);
        }
        waiting
    }

    /// A bundle that this one depends on, directly or by another, and that was not written now.
    fn failed_before(&self, name: &str, report: &Report) -> Option<Diagnostic> {
        let failed = report.bundles.iter().filter(|(other, _)| all_dependents(&self.needs, other).contains(name));
        failed.into_iter().find_map(|(other, outcome)| {
            let (what, error) = match outcome {
                BundleOutcome::Refused { error, .. } => ("was refused", error),
                BundleOutcome::Failed(error) => ("failed", error),
                _ => return None,
            };
            let message = format!("bundle {name} is not written: bundle {other}, which it depends on, {what}: {}", error.message);
            Some(Diagnostic::new(codes::DEPENDENCY_FAILED, error.place.clone(), message))
        })
    }
}

/// Bundles with changes. What was changed by others does not count, nor do deletions: those wait for the bundles that depend on theirs.
fn pending(plan: &Plan) -> BTreeSet<String> {
    let written =
        plan.writes.iter().filter(|(_, writes)| writes.iter().any(|write| write.why.is_change())).map(|(bundle, _)| bundle.to_string());
    written.collect()
}

/// The hooks that are to be run now.
fn hooks(steps: &Steps) -> Vec<HookRun> {
    let due = steps.values().filter_map(|step| match step {
        Step::Hooks(hooks) | Step::Stuck(_, hooks) => Some(hooks),
        Step::Waits(_) | Step::Write | Step::Done => None,
    });
    due.flatten().cloned().collect()
}

/// What a bundle waits for whose hooks are run now.
fn begun(name: &str, hooks: &[HookRun]) -> Diagnostic {
    let first = hooks.first().and_then(|run| Some((Place::Object(run.hook.id.to_string()), run.hook.policy.hook?)));
    let (place, when) = first.map_or((Place::Nowhere, String::new()), |(place, when)| (place, format!("{when} ")));
    Diagnostic::new(codes::HOOK_RUNS, place, format!("bundle {name} waits for its {when}hook: it begins"))
}

/// A hook's own namespace comes with its bundle, and before it.
fn is_namespace_of(write: &Write, hook: &RenderedObject) -> bool {
    write.object.id.is("", "Namespace") && hook.id.namespace.as_ref() == Some(&write.object.id.name)
}

impl<J: Journal> Carrier<'_, J> {
    /// Carries out what may be, then runs the hooks that are due, those for what failed among them.
    pub(super) async fn carry_turn(&self, turn: &Turn) -> Report {
        let mut report = self.carry(&turn.plan, &turn.verdict).await;
        if report.stop.is_none() {
            self.run_hooks(&turn.hooks, &mut report).await;
        }
        let failed: Vec<String> =
            report.bundles.iter().filter(|(_, outcome)| outcome.is_failure()).map(|(bundle, _)| bundle.to_string()).collect();
        let alarms: Vec<HookRun> = failed.iter().flat_map(|bundle| turn.situation.alarms(bundle)).collect();
        if report.stop.is_none() {
            self.run_hooks(&alarms, &mut report).await;
        }
        if report.stop.is_none() {
            for (bundle, error) in turn.waiting(&report).into_iter().filter(|(bundle, _)| !failed.contains(bundle)) {
                info!(bundle, code = error.code.id, "{}", error.message);
                self.journal.end_bundle(self.sync, &bundle, BundleOutcome::Waiting(error));
            }
        }
        report
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        manifest::Drift,
        sync::{
            plan::{plan, tests::applied},
            prune::{Budget, Where, judge},
            stages::tests::rendering,
        },
    };

    /// What is written and deleted of a cluster that ran one thing and is to run another, when `db` is so.
    fn turn(before: &Rendering, after: &Rendering, change: impl Fn(&mut Inventory), db: &Pulse) -> Turn {
        turn_with(before, after, change, db, Drift::Repair)
    }

    fn turn_with(before: &Rendering, after: &Rendering, change: impl Fn(&mut Inventory), db: &Pulse, drift: Drift) -> Turn {
        let mut inventory = applied(before);
        change(&mut inventory);
        let plan = plan(after, &inventory, &BTreeSet::new(), drift);
        let place = Where { fleet: "shop", cluster_uid: "u" };
        let verdict = judge(&plan, after, &inventory, &Budget::default(), place, |_| true);
        let pulse = |id: &ObjectId| if id.name == "db" { db.clone() } else { Pulse::Well };
        let courses = Courses { needs: Stages::of(before).needs(), ..Courses::default() };
        Turn::new(after, plan, verdict, &inventory, &courses, &Moment { pulse: &pulse, now: 0, asked: false })
    }

    fn names(turn: &Turn) -> (Vec<&str>, Vec<&str>) {
        let written = turn.plan.writes.values().flatten().map(|write| &*write.object.id.name);
        (written.collect(), turn.verdict.delete.iter().map(|deletion| &*deletion.id.name).collect())
    }

    #[test]
    fn what_waits_is_put_back_but_not_changed() {
        let all = rendering(&[("db", &[], &[]), ("web", &["db"], &[]), ("web2", &["db"], &[])]);
        let spoil = |inventory: &mut Inventory| {
            for (id, member) in inventory {
                match &*id.name {
                    "web" => member.edit(|known| known.digest = None),
                    "web2" => member.edit(|known| known.fields = None),
                    _ => {}
                }
            }
        };
        let coming = Pulse::Coming("slow".to_owned());
        assert_eq!(names(&turn(&all, &all, spoil, &coming)), (vec!["web2"], vec![]), "db is not healthy");
        assert_eq!(turn(&all, &all, spoil, &coming).end(), End::Gated(None));
        assert_eq!(names(&turn(&all, &all, spoil, &Pulse::Well)), (vec!["web", "web2"], vec![]));
        assert_eq!(turn(&all, &all, spoil, &Pulse::Well).end(), End::Synced);
    }

    #[test]
    fn what_changes_nothing_waits_for_nobody() {
        let mut all = Rendering::clone(&rendering(&[("db", &[], &[]), ("web", &["db"], &[]), ("web2", &[], &[]), ("web3", &[], &[])]));
        for object in all.objects.iter_mut().filter(|object| object.id.name.starts_with("web")) {
            Arc::make_mut(object).bundle = "web".into();
        }
        let spoil = |inventory: &mut Inventory| {
            for (id, member) in inventory {
                match &*id.name {
                    "web" => member.edit(|known| known.digest = None),
                    "web2" => member.edit(|known| known.recorded = None),
                    "web3" => member.edit(|known| known.superseded = true),
                    _ => {}
                }
            }
        };
        for drift in [Drift::Repair, Drift::Report] {
            let turn = turn_with(&all, &all, spoil, &Pulse::Coming("slow".to_owned()), drift);
            assert_eq!(names(&turn), (vec!["web2", "web3"], vec![]), "{drift:?}");
        }
    }

    #[test]
    fn what_others_still_use_is_deleted_after_they_are_written() {
        let before = rendering(&[("db", &[], &[]), ("old", &[], &[]), ("web", &["db", "old"], &[])]);
        let after = rendering(&[("db", &[], &[]), ("web", &["db"], &[])]);
        let spoil = |inventory: &mut Inventory| {
            inventory.iter_mut().filter(|(id, _)| id.name == "web").for_each(|(_, member)| member.edit(|known| known.digest = None));
        };
        let coming = Pulse::Coming("slow".to_owned());
        assert_eq!(names(&turn(&before, &after, spoil, &coming)), (vec![], vec![]), "web runs as it did, with old");
        assert_eq!(names(&turn(&before, &after, spoil, &Pulse::Well)), (vec!["web"], vec!["old"]));
        assert_eq!(names(&turn(&before, &after, |_| {}, &coming)), (vec![], vec!["old"]), "deletions alone wait for nobody's health");
    }

    #[test]
    fn what_was_refused_keeps_others_from_being_written() {
        let all = rendering(&[("api", &["db"], &[]), ("db", &[], &[]), ("web", &["api"], &[])]);
        let turn = turn(&all, &all, Inventory::clear, &Pulse::Well);
        assert_eq!(names(&turn).0, ["db"]);
        let error = Diagnostic::new(codes::REFUSED, Place::Object("Deployment.apps/shop/db".to_owned()), "no such field");
        let mut report = Report::default();
        report.bundles.insert("db".into(), BundleOutcome::Refused { error, after_definitions: false });
        let waiting = turn.waiting(&report);
        let shown: Vec<_> = waiting.values().map(ToString::to_string).collect();
        let expected = ["api", "web"].map(|name| {
            format!("Deployment.apps/shop/db: error[EK4025]: bundle {name} is not written: bundle db, which it depends on, was refused: no such field")
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_cluster_without_an_order_is_written_at_once() {
        let all = rendering(&[("a", &[], &[]), ("b", &[], &[])]);
        let turn = turn(&all, &all, Inventory::clear, &Pulse::Unread);
        assert_eq!((turn.plan.writes.len(), turn.end()), (2, End::Synced));
        assert!(turn.situation.courses.is_empty() && turn.into_staged().is_none(), "nothing is kept of it");
    }
}
