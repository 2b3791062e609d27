//! What bundles that have an order may do now: depend on others, or have Jobs that run before or after them.
//!
//! Values in, values out. A bundle goes through its steps one by one: the bundles that it depends on are well, its pre-sync hooks
//! have completed, it is written, its objects are healthy, its post-sync hooks have completed. Nobody waits inside of an attempt: each
//! carries out what is possible, and [`super::resting`] begins the next when that becomes more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    course::{Course, Courses, Job, Needs},
    hooks::HookRun,
};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    layout::written,
    manifest::{Digest, Hook, ObjectId},
    render::{RenderedObject, Rendering},
};

/// How long a bundle may take to be healthy where bundle.yaml does not say it: what a Deployment's own deadline is.
const DEADLINE: Duration = Duration::from_mins(10);

/// How one object does, as far as is known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It does what it is there for.
    Well,
    /// It is on its way there, in its own words.
    Coming(String),
    /// It will not get there by itself, in its own words.
    Broken(String),
    /// It was not looked at since it was written.
    Unread,
}

/// A bundle with an order.
#[derive(Debug, Clone)]
struct Staged {
    digest: Digest,
    needs: BTreeSet<String>,
    deadline: Duration,
    /// Nothing of it is written, so nothing of it is waited for but its health.
    paused: bool,
    hooks: Vec<Arc<RenderedObject>>,
    /// Its objects that stand. Which of them can be unhealthy is said by the rules that hold when they are asked after.
    members: Vec<ObjectId>,
}

/// The bundles with an order: those that depend on another, those that another depends on, those with hooks.
#[derive(Debug, Clone, Default)]
pub(super) struct Stages(BTreeMap<String, Staged>);

impl Stages {
    pub(super) fn of(rendering: &Rendering) -> Self {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for (name, settings) in rendering.bundles.iter().filter(|(_, settings)| !settings.depends_on.is_empty()) {
            names.insert(name);
            names.extend(settings.depends_on.iter().map(|needed| &**needed));
        }
        names.extend(rendering.objects.iter().filter(|object| object.policy.hook.is_some()).map(|object| &*object.bundle));
        Self(names.into_iter().map(|name| (name.to_owned(), Staged::of(rendering, name))).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which bundles depend on which.
    pub(super) fn needs(&self) -> Needs {
        let with_needs = self.0.iter().filter(|(_, staged)| !staged.needs.is_empty());
        with_needs.map(|(name, staged)| (name.clone(), staged.needs.clone())).collect()
    }

    /// For which digest of its bundle each hook is to run.
    pub(super) fn runs(&self) -> BTreeMap<ObjectId, Digest> {
        self.0.values().flat_map(|staged| staged.hooks.iter().map(|hook| (hook.id.clone(), staged.digest))).collect()
    }

    pub(super) fn has_hooks(&self, bundle: &str, when: Hook) -> bool {
        self.0.get(bundle).is_some_and(|staged| staged.hooks(when).next().is_some())
    }
}

impl Staged {
    fn of(rendering: &Rendering, name: &str) -> Self {
        let settings = rendering.bundles.get(name).cloned().unwrap_or_default();
        let objects: Vec<_> = rendering.objects.iter().filter(|object| *object.bundle == *name).collect();
        let mut hash = Sha256::new();
        for object in &objects {
            hash.update(object.id.to_string() + "\n");
            hash.update(object.digest.0);
        }
        let (hooks, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| object.policy.hook.is_some());
        Self {
            digest: Digest(hash.finalize().into()),
            needs: settings.depends_on.iter().map(ToString::to_string).collect(),
            deadline: settings.deadline.unwrap_or(DEADLINE),
            paused: settings.paused.is_some(),
            members: others.into_iter().map(|object| object.id.clone()).collect(),
            hooks: hooks.into_iter().cloned().collect(),
        }
    }

    /// What of its objects is not healthy; none where all are.
    fn unwell(&self, since: u64, pulse: &dyn Fn(&ObjectId) -> Pulse, now: u64) -> Option<Unwell> {
        let mut found = None;
        for id in &self.members {
            let (why, is_read) = match pulse(id) {
                Pulse::Well => continue,
                Pulse::Broken(why) => return Some(Unwell { id: id.clone(), why, kind: Kind::Broken }),
                Pulse::Coming(why) => (why, true),
                Pulse::Unread => ("its status was not read yet".to_owned(), false),
            };
            let left = self.deadline.saturating_sub(Duration::from_millis(now.saturating_sub(since)));
            let kind = match left {
                _ if !is_read => Kind::Coming(None),
                Duration::ZERO => Kind::Late(self.deadline),
                left => Kind::Coming(Some(left)),
            };
            found = found.or(Some(Unwell { id: id.clone(), why, kind }));
        }
        found
    }

    /// The Job of that hook is one of this try: it runs, or has ended.
    fn has_run(&self, hook: &RenderedObject, course: &Course, jobs: &BTreeMap<ObjectId, Job>) -> bool {
        jobs.get(&hook.id).is_some_and(|job| job.run == self.digest && !course.has_left(&hook.id, job))
    }

    /// Of the Jobs, those that are none of a try that begins now, with their uids: what was run because a try failed, and what is of no use.
    fn left(&self, jobs: &BTreeMap<ObjectId, Job>, is_of_no_use: impl Fn(&RenderedObject) -> bool) -> BTreeMap<String, String> {
        let left = self.hooks.iter().filter(|hook| hook.policy.hook == Some(Hook::OnFailure) || is_of_no_use(hook));
        left.filter_map(|hook| Some((hook.id.to_string(), jobs.get(&hook.id)?.uid.clone()))).collect()
    }

    fn hooks(&self, when: Hook) -> impl Iterator<Item = &Arc<RenderedObject>> {
        self.hooks.iter().filter(move |object| object.policy.hook == Some(when))
    }
}

/// What keeps a bundle from going on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) error: Diagnostic,
    /// How many bundles are between it and the cause.
    far: usize,
    /// When it is past its deadline; none where there is none.
    left: Option<Duration>,
}

/// What a bundle may do now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nothing until something is healthy or completed.
    Waits(Held),
    /// Nothing until something changes that will not by itself. With hooks for that case which have not run.
    Stuck(Held, Vec<HookRun>),
    /// These hooks are to be run.
    Hooks(Vec<HookRun>),
    /// Its changes are to be written.
    Write,
    /// Nothing is left of its course. What differs now is put back.
    Done,
}

/// The steps of all bundles with an order.
pub(super) type Steps = BTreeMap<String, Step>;

/// All that the steps depend on but health and time.
#[derive(Debug, Clone, Default)]
pub(super) struct Situation {
    pub(super) stages: Stages,
    pub(super) courses: Courses,
    /// Bundles with changes that are not written.
    pub(super) pending: BTreeSet<String>,
    /// The Jobs of hooks on the cluster.
    pub(super) jobs: BTreeMap<ObjectId, Job>,
}

/// What is waited for, of all that is the nearest to its cause and the worst.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rest {
    pub(super) error: Diagnostic,
    /// It will not end by itself, and all was done that is to be done about it.
    pub(super) stuck: bool,
    /// The time until something of it is past its deadline.
    pub(super) left: Option<Duration>,
}

/// What a bundle is stuck with. It is not tried again and again.
pub(crate) const STUCK: [Code; 3] = [codes::DEPENDENCY_DEGRADED, codes::DEPENDENCY_LATE, codes::HOOK_FAILED];

/// What all waiting comes down to; none where nobody waits.
pub(super) fn rest(steps: &Steps) -> Option<Rest> {
    let held = steps.values().filter_map(|step| match step {
        Step::Waits(held) => Some((held, false)),
        Step::Stuck(held, _) => Some((held, true)),
        _ => None,
    });
    let (first, stuck) = held.clone().min_by_key(|(held, stuck)| (!stuck, held.far))?;
    let left = held.filter_map(|(held, _)| held.left).min();
    // Who hears that it failed may put the cluster back, and those hooks would never run.
    Some(Rest { error: first.error.clone(), stuck: stuck && !steps.values().any(calls), left })
}

/// Whether hooks for when a bundle fails are to be run.
fn calls(step: &Step) -> bool {
    matches!(step, Step::Stuck(_, hooks) if !hooks.is_empty())
}

/// Whether something may be done now that might not before. What is still to be done as before has failed, and is tried again in its time.
pub(super) fn moved(before: &Steps, now: &Steps) -> bool {
    now.iter().any(|(bundle, now)| {
        let before = before.get(bundle);
        match now {
            Step::Hooks(_) | Step::Write => before.is_some_and(|before| before != now),
            Step::Done => matches!(before, Some(Step::Waits(_) | Step::Stuck(..) | Step::Hooks(_))),
            Step::Stuck(..) => calls(now) && before.is_some_and(|before| !calls(before)),
            Step::Waits(_) => false,
        }
    })
}

impl Situation {
    /// Begins the course of every bundle that should become another. One without changes and without a record was there before
    /// anybody kept one. What the bundle was before may have been this already, so that Jobs of that try are there: those that run or
    /// have completed are as good now.
    pub(super) fn begin(&mut self, pulse: &dyn Fn(&ObjectId) -> Pulse, now: u64) {
        for (name, staged) in self.stages.0.iter().filter(|(_, staged)| !staged.paused) {
            if self.courses.of(name, staged.digest).is_none() {
                let done = !self.courses.bundles.contains_key(name) && !self.pending.contains(name);
                let left = staged.left(&self.jobs, |hook| matches!(pulse(&hook.id), Pulse::Broken(_) | Pulse::Unread));
                self.courses.bundles.insert(name.clone(), Course { done, left, ..Course::new(staged.digest, now) });
            }
        }
        for (name, needed) in self.stages.needs() {
            self.courses.needs.entry(name).or_default().extend(needed);
        }
    }

    /// A person asks for another try: deadlines begin anew, and hooks that failed run again.
    pub(super) fn again(&mut self, pulse: &dyn Fn(&ObjectId) -> Pulse, now: u64) {
        for (name, staged) in &self.stages.0 {
            let Some(course) = self.courses.bundles.get_mut(name).filter(|course| !course.done) else { continue };
            (course.at, course.failed) = (now, false);
            course.left.extend(staged.left(&self.jobs, |hook| matches!(pulse(&hook.id), Pulse::Broken(_))));
        }
    }

    /// What each bundle may do now, milliseconds since 1970.
    pub(super) fn steps(&self, pulse: &dyn Fn(&ObjectId) -> Pulse, now: u64) -> Steps {
        let mut steps = Steps::new();
        for name in self.stages.0.keys() {
            self.step_of(name, pulse, now, &mut steps);
        }
        steps
    }

    /// Puts on record what the steps show to be over.
    pub(super) fn note(&mut self, steps: &Steps, pulse: &dyn Fn(&ObjectId) -> Pulse, now: u64) {
        for (name, staged) in &self.stages.0 {
            let Some(course) = self.courses.bundles.get_mut(name).filter(|course| course.digest == staged.digest && !course.done) else {
                continue;
            };
            let ran = staged.hooks.iter().filter(|hook| staged.has_run(hook, course, &self.jobs) && pulse(&hook.id) == Pulse::Well);
            let ran: Vec<_> = ran.collect();
            course.passed.extend(ran.into_iter().map(|hook| hook.id.to_string()));
            if steps.get(name) == Some(&Step::Done) {
                (course.done, course.at) = (true, now);
            }
        }
    }

    /// These bundles were written. Those that have nothing else to do are done.
    pub(super) fn wrote<'a>(&mut self, bundles: impl IntoIterator<Item = &'a str>, now: u64) {
        for bundle in bundles {
            self.pending.remove(bundle);
            let Some(staged) = self.stages.0.get(bundle) else { continue };
            if let Some(course) = self.courses.bundles.get_mut(bundle) {
                course.at = now;
                course.done |= staged.hooks(Hook::PostSync).next().is_none();
            }
        }
    }

    /// The bundle's hooks for when it fails that have not been begun.
    pub(super) fn alarms(&self, bundle: &str) -> Vec<HookRun> {
        let Some(staged) = self.stages.0.get(bundle) else { return Vec::new() };
        let Some(course) = self.courses.of(bundle, staged.digest).filter(|course| !course.failed && !course.done) else {
            return Vec::new();
        };
        let due = staged.hooks(Hook::OnFailure).filter(|hook| !staged.has_run(hook, course, &self.jobs));
        due.map(|hook| HookRun { hook: Arc::clone(hook), run: staged.digest }).collect()
    }

    /// Puts on record which bundles have had their hooks for when they fail.
    pub(super) fn alarmed(&mut self) {
        for (name, staged) in &self.stages.0 {
            let Some(course) = self.courses.bundles.get_mut(name) else { continue };
            course.failed |= staged.hooks(Hook::OnFailure).any(|hook| staged.has_run(hook, course, &self.jobs));
        }
    }

    /// Forgets bundles that have no order any more, and dependencies that no longer are.
    pub(super) fn finished(&self) -> Courses {
        let mut courses = self.courses.clone();
        courses.bundles.retain(|name, _| self.stages.0.contains_key(name));
        courses.needs = self.stages.needs();
        courses
    }

    fn step_of(&self, name: &str, pulse: &dyn Fn(&ObjectId) -> Pulse, now: u64, known: &mut Steps) -> Step {
        if let Some(step) = known.get(name) {
            return step.clone();
        }
        // The rendering has no circles.
        let step = self.find_step(name, pulse, now, known);
        known.insert(name.to_owned(), step.clone());
        step
    }

    fn find_step(&self, name: &str, pulse: &dyn Fn(&ObjectId) -> Pulse, now: u64, known: &mut Steps) -> Step {
        let Some(staged) = self.stages.0.get(name) else { return Step::Done };
        let Some(course) = self.courses.of(name, staged.digest).filter(|course| !course.done && !staged.paused) else { return Step::Done };
        let pending = self.pending.contains(name);
        if !pending && staged.hooks(Hook::PostSync).all(|hook| course.has_passed(&hook.id)) {
            return Step::Done;
        }
        if let Some(held) = self.gate(name, staged, course, pulse, now, known) {
            return held;
        }
        if pending {
            return self.run(name, staged, course, Hook::PreSync, pulse).unwrap_or(Step::Write);
        }
        if let Some(found) = staged.unwell(course.at, pulse, now) {
            let waits = format!("the post-sync hook of bundle {name} waits for the bundle");
            return found.told(&waits, &format!("the post-sync hook of bundle {name} is not run: the bundle"));
        }
        self.run(name, staged, course, Hook::PostSync, pulse).unwrap_or(Step::Done)
    }

    /// What of the bundles that this one depends on keeps it from going on: the worst of it.
    fn gate(
        &self,
        name: &str,
        staged: &Staged,
        course: &Course,
        pulse: &dyn Fn(&ObjectId) -> Pulse,
        now: u64,
        known: &mut Steps,
    ) -> Option<Step> {
        let mut waits = None;
        for needed in &staged.needs {
            let step = match self.step_of(needed, pulse, now, known) {
                Step::Done => {
                    let Some(other) = self.stages.0.get(needed) else { continue };
                    let since = self.courses.bundles.get(needed).map_or(0, |course| course.at).max(course.at);
                    let Some(found) = other.unwell(since, pulse, now) else { continue };
                    found.told(
                        &format!("bundle {name} waits for bundle {needed}"),
                        &format!("bundle {name} is not written: bundle {needed}"),
                    )
                }
                Step::Write | Step::Hooks(_) => {
                    let message = format!("bundle {name} waits until bundle {needed} is written");
                    Step::Waits(Held { error: Diagnostic::new(codes::GATE, Place::Nowhere, message), far: 1, left: None })
                }
                Step::Waits(held) => Step::Waits(held.through(|why| format!("bundle {name} waits for bundle {needed}: {why}"))),
                Step::Stuck(held, _) => Step::Stuck(held.through(|why| format!("bundle {name} is not written: {why}")), Vec::new()),
            };
            match step {
                Step::Stuck(..) => return Some(step),
                step => waits = waits.or(Some(step)),
            }
        }
        waits
    }

    /// What of these hooks is to be done, or waited for; none where all have completed.
    fn run(&self, name: &str, staged: &Staged, course: &Course, when: Hook, pulse: &dyn Fn(&ObjectId) -> Pulse) -> Option<Step> {
        let (mut begin, mut runs) = (Vec::new(), None);
        for hook in staged.hooks(when).filter(|hook| !course.has_passed(&hook.id)) {
            let place = Place::Object(hook.id.to_string());
            if !staged.has_run(hook, course, &self.jobs) {
                begin.push(HookRun { hook: Arc::clone(hook), run: staged.digest });
                continue;
            }
            let why = match pulse(&hook.id) {
                Pulse::Well => continue,
                Pulse::Broken(why) => {
                    let message = format!("the {when} hook of bundle {name} failed: {why}");
                    let error = Diagnostic::new(codes::HOOK_FAILED, place, message);
                    return Some(Step::Stuck(Held { error, far: 0, left: None }, self.alarms(name)));
                }
                Pulse::Coming(why) => why,
                Pulse::Unread => "its status was not read yet".to_owned(),
            };
            let error = Diagnostic::new(codes::HOOK_RUNS, place, format!("bundle {name} waits for its {when} hook: {why}"));
            runs = Some(Step::Waits(Held { error, far: 0, left: None }));
        }
        if begin.is_empty() { runs } else { Some(Step::Hooks(begin)) }
    }
}

/// An object that is not healthy.
struct Unwell {
    id: ObjectId,
    why: String,
    kind: Kind,
}

enum Kind {
    /// It may become so until then.
    Coming(Option<Duration>),
    /// It had that long.
    Late(Duration),
    Broken,
}

impl Unwell {
    /// The step of who waits for it.
    fn told(self, waits: &str, stuck: &str) -> Step {
        let (place, why) = (Place::Object(self.id.to_string()), self.why);
        let held = |code, message, left| Held { error: Diagnostic::new(code, place, message), far: 0, left };
        match self.kind {
            Kind::Coming(left) => Step::Waits(held(codes::GATE, format!("{waits}: {why}"), left)),
            Kind::Late(deadline) => {
                let message = format!("{stuck} was not healthy within {}: {why}", written(deadline));
                Step::Stuck(held(codes::DEPENDENCY_LATE, message, None), Vec::new())
            }
            Kind::Broken => Step::Stuck(held(codes::DEPENDENCY_DEGRADED, format!("{stuck} is degraded: {why}"), None), Vec::new()),
        }
    }
}

impl Held {
    /// The same for a bundle that depends on the one that is held.
    fn through(self, message: impl Fn(&str) -> String) -> Self {
        let error = Diagnostic { message: message(&self.error.message), ..self.error };
        Self { error, far: self.far + 1, left: self.left }
    }
}

#[cfg(test)]
pub(super) mod tests;
