//! How the members of one cluster do: read once when a connection is new, and again when a watch shows that one changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use tracing::{info, warn};

use super::{
    AILING_MAX, Ailing, Health,
    abreast::abreast,
    health::{Assessment, Rules, worst},
    member::Inventory,
    stages::{Pulse, Stages},
};
use crate::{
    cluster::{ApiError, Apis, Connection, ErrorKind, Meta},
    codes,
    diagnostic::{Diagnostic, Place},
    layout::HealthRules,
    manifest::{ApplySet, Digest, GroupKind, Identity, ObjectId, PART_OF},
    render::Rendering,
};

/// Between two readings. A rollout changes a status many times a second; on-call looks less often.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Of more objects of a kind than this the whole kind is listed.
const SINGLE_MAX: usize = 20;
/// Objects that are read side by side; half of what a connection begins with, so that repairs are not held up.
const READS: usize = 8;

/// Characters of a status that are kept of one object; controllers that paste logs into a condition write more.
const REASON_MAX: usize = 1000;

/// What is known.
#[derive(Default)]
pub(super) struct Vitals {
    known: BTreeMap<ObjectId, Assessment>,
    /// Objects of the rendering that are there and not the fleet's, as they were when they were asked about last.
    strangers: BTreeMap<ObjectId, Assessment>,
    /// To be read again.
    due: BTreeSet<ObjectId>,
    /// Written and not read since: not healthy yet, whatever they were.
    awaited: BTreeSet<ObjectId>,
    /// What the cluster is to run.
    wanted: Option<Wanted>,
    /// For which digest of its bundle each Job of a hook was created.
    runs: BTreeMap<ObjectId, Digest>,
    /// Those of the known that are not wanted.
    strays: BTreeSet<ObjectId>,
    /// All were read once.
    complete: bool,
    /// By what they are judged.
    rules: Rules,
    /// What is known was judged by other rules.
    outdated: bool,
}

/// What a cluster is to run. How others do that still stand there, since their deletion waits or they are of another try, is none of its
/// doing.
struct Wanted {
    rendering: Arc<Rendering>,
    /// For which digest of its bundle each hook is to run.
    runs: BTreeMap<ObjectId, Digest>,
}

impl Wanted {
    /// Whether it asks for that run of an object, where that is the Job of a hook.
    fn asks_for_run(&self, id: &ObjectId, run: Option<&Digest>) -> bool {
        self.runs.get(id).is_none_or(|wanted| Some(wanted) == run)
    }
}

impl Vitals {
    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        let (wanted, rules) = (self.wanted.take(), std::mem::take(&mut self.rules));
        *self = Self { wanted, rules, ..Self::default() };
    }

    /// Judges by the rules of a commit from now on. Where they are others than before, all is read anew, and nothing passes for
    /// healthy until then.
    pub(super) fn judge_by(&mut self, fleet: &Arc<HealthRules>, rendering: Option<&Arc<Rendering>>) {
        let rules = self.rules.renewed(fleet, rendering);
        self.outdated |= !rules.judge_as(&self.rules);
        self.rules = rules;
        let is_known = |rendering: &Rendering| self.wanted.as_ref().is_some_and(|wanted| wanted.rendering.digest == rendering.digest);
        if let Some(rendering) = rendering.filter(|rendering| !is_known(rendering)) {
            let has_hooks = rendering.objects.iter().any(|object| object.policy.hook.is_some());
            let runs = if has_hooks { Stages::of(rendering).runs() } else { BTreeMap::new() };
            self.wanted = Some(Wanted { rendering: Arc::clone(rendering), runs });
            self.find_strays();
        }
    }

    /// Finds those of the known that are not wanted. Both are in order, so that one pass does.
    fn find_strays(&mut self) {
        let Some(wanted) = &self.wanted else { return };
        let mut objects = wanted.rendering.objects.iter().peekable();
        let mut is_stray = |id: &ObjectId| {
            while objects.next_if(|object| object.id < *id).is_some() {}
            objects.peek().is_none_or(|object| object.id != *id) || !wanted.asks_for_run(id, self.runs.get(id))
        };
        self.strays = self.known.keys().filter(|id| is_stray(id)).cloned().collect();
    }

    pub(super) fn is_due(&self) -> bool {
        !self.is_known() || !self.due.is_empty()
    }

    /// How the members do was read once by the rules that hold.
    pub(super) fn is_known(&self) -> bool {
        self.complete && !self.outdated
    }

    /// How an object does by the rules that hold; none where it need not be read for that.
    pub(super) fn judge(&self, id: &ObjectId, object: &serde_json::Value) -> Option<Assessment> {
        self.rules.read(id).then(|| self.rules.assess(id, object))
    }

    /// Takes in how the objects do that are not members.
    pub(super) fn see_strangers(&mut self, found: BTreeMap<ObjectId, Assessment>) {
        self.strangers = found;
    }

    /// A watch shows an object as it is now.
    pub(super) fn see(&mut self, id: &ObjectId, seen: Option<&Meta>) {
        if seen.is_none() {
            self.known.remove(id);
        }
        if self.rules.read(id) {
            self.due.insert(id.clone());
        }
    }

    /// The resourceVersions of the members that are read.
    pub(super) fn versions(&self, inventory: &Inventory) -> BTreeMap<ObjectId, String> {
        let with_status = inventory.iter().filter(|(id, _)| self.rules.read(id));
        with_status.map(|(id, member)| (id.clone(), member.resource_version())).collect()
    }

    /// These objects were written.
    pub(super) fn wrote(&mut self, written: Vec<ObjectId>) {
        for id in written.into_iter().filter(|id| self.rules.read(id)) {
            self.due.insert(id.clone());
            self.awaited.insert(id);
        }
    }

    /// A comparison changed the inventory from those versions to this, and so may have writes after it.
    pub(super) fn compared(&mut self, before: &BTreeMap<ObjectId, String>, inventory: &Inventory) {
        for (id, member) in inventory {
            if self.rules.read(id) && before.get(id) != Some(&member.resource_version()) {
                self.due.insert(id.clone());
                self.awaited.insert(id.clone());
            }
        }
    }

    /// Reads what is due.
    pub(super) async fn read(
        &mut self,
        connection: &Connection,
        apis: &Apis,
        set: &ApplySet,
        inventory: &Inventory,
    ) -> Result<(), ApiError> {
        let mut kinds: BTreeMap<GroupKind, Vec<ObjectId>> = BTreeMap::new();
        let all = !self.complete || self.outdated;
        let due: Vec<ObjectId> = if all { inventory.keys().cloned().collect() } else { self.due.iter().cloned().collect() };
        for id in due {
            if self.rules.read(&id) && inventory.contains_key(&id) {
                kinds.entry(id.group_kind()).or_default().push(id);
            }
        }
        let mut found = Vec::new();
        for (kind, ids) in kinds {
            let Some(api) = apis.preferred(&kind.group, &kind.kind) else { continue };
            if ids.len() > SINGLE_MAX {
                let selector = format!("{PART_OF}={}", set.id());
                let mut see = |object: serde_json::Value| {
                    let text = |name: &str| object["metadata"][name].as_str().map(str::to_owned);
                    let (group, kind) = (kind.group.clone(), kind.kind.clone());
                    let id = Identity { group, kind, namespace: text("namespace"), name: text("name").unwrap_or_default() }.into();
                    if let Some((id, _)) = inventory.get_key_value(&id) {
                        found.push((id.clone(), self.rules.assess(id, &object)));
                    }
                };
                match connection.list_objects(api, &selector, &mut see).await {
                    Err(error) if error.is_unreachable() => return Err(error),
                    // What cannot be listed is not known; the comparison reports it.
                    _ => {}
                }
                continue;
            }
            let read = |id: ObjectId| {
                let connection = connection.clone();
                async move {
                    let object = connection.get(api, id.namespace.as_deref(), &id.name).await;
                    (id, object)
                }
                .boxed()
            };
            for (id, object) in abreast(ids, READS, &read).await {
                match object {
                    Ok(Some(object)) => {
                        let now = self.rules.assess(&id, &object);
                        found.push((id, now));
                    }
                    Err(error) if error.is_unreachable() && *error.kind() != ErrorKind::Timeout => return Err(error),
                    Ok(None) | Err(_) => {}
                }
            }
        }
        self.take(found, inventory);
        Ok(())
    }

    fn take(&mut self, found: Vec<(ObjectId, Assessment)>, inventory: &Inventory) {
        for (id, now) in &found {
            match inventory.get(id).and_then(|member| member.run()) {
                Some(run) => drop(self.runs.insert(id.clone(), run)),
                None => drop(self.runs.remove(id)),
            }
            let was = self.known.get(id).map(|known| known.health);
            match now.health {
                Health::Degraded if was != Some(Health::Degraded) => {
                    warn!(object = %id, code = codes::DEGRADED.id, "degraded: {}", now.reason);
                }
                Health::Healthy if was == Some(Health::Degraded) => info!(object = %id, "healthy again"),
                _ => {}
            }
        }
        if self.known.is_empty() {
            // All at once, which leaves no room in the tree.
            self.known = found.into_iter().collect();
        } else {
            self.known.extend(found);
        }
        self.known.retain(|id, _| inventory.contains_key(id) && self.rules.read(id));
        self.runs.retain(|id, _| inventory.contains_key(id));
        self.find_strays();
        self.due.clear();
        self.awaited.clear();
        (self.complete, self.outdated) = (true, false);
    }

    /// How one object does.
    pub(super) fn pulse(&self, id: &ObjectId) -> Pulse {
        if !self.rules.read(id) {
            return Pulse::Well;
        }
        if !self.complete || self.outdated || self.awaited.contains(id) {
            return Pulse::Unread;
        }
        let Some(known) = self.known.get(id) else { return Pulse::Coming("it is not there, or its status cannot be read".to_owned()) };
        match known.health {
            Health::Healthy => Pulse::Well,
            // Nothing of it will ever run, and that is what is asked for.
            Health::Suspended if id.is("batch", "CronJob") => Pulse::Well,
            Health::Degraded => Pulse::Broken(known.reason.clone()),
            Health::Progressing | Health::Suspended | Health::Unknown => Pulse::Coming(known.reason.clone()),
        }
    }

    /// How the cluster does; unknown before the first reading.
    pub(super) fn health(&self) -> Health {
        if !self.complete {
            return Health::Unknown;
        }
        let written = self.awaited.iter().map(|_| Health::Progressing).chain(self.outdated.then_some(Health::Progressing));
        worst(self.standing().map(|(_, known)| known.health).chain(written))
    }

    /// How objects do that are wanted, as they are now. What was seen before they were written, or judged by other rules, says nothing of
    /// that: a commit that mends an object would be blamed for what it mends, and one that takes it out for what is still there. So would
    /// the commit that a cluster is put back to for the hook that failed.
    fn standing(&self) -> impl Iterator<Item = (&ObjectId, &Assessment)> {
        let is_said = |id: &ObjectId| !self.outdated && !self.awaited.contains(id) && !self.strays.contains(id);
        let members = self.known.iter().filter(move |(id, _)| is_said(id));
        members.chain(&self.strangers)
    }

    /// The objects that are not healthy, the worst first.
    pub(super) fn ailing(&self) -> Vec<Ailing> {
        let mut ailing: Vec<_> = self.standing().filter(|(_, known)| known.health != Health::Healthy).collect();
        let rank = |health| match health {
            Health::Degraded => 0,
            Health::Progressing => 1,
            _ => 2,
        };
        ailing.sort_by_key(|(id, known)| (rank(known.health), *id));
        let told = |(id, known): (&ObjectId, &Assessment)| Ailing {
            object: id.to_string(),
            health: known.health,
            reason: known.reason.chars().take(REASON_MAX).collect(),
        };
        ailing.into_iter().take(AILING_MAX).map(told).collect()
    }

    /// What on-call should know about objects that will not become healthy by themselves.
    pub(super) fn problem(&self) -> Option<Diagnostic> {
        let mut degraded = self.standing().filter(|(_, known)| known.health == Health::Degraded);
        let (id, known) = degraded.next()?;
        let more = match degraded.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let error = Diagnostic::new(codes::DEGRADED, Place::Object(id.to_string()), format!("{}{more}", known.reason));
        Some(error.with_hint(format!("{} Mend the manifest or what it needs.", look_at(id))))
    }
}

/// Where more is said about how an object does.
pub(crate) fn look_at(id: &ObjectId) -> String {
    let Identity { group, kind, namespace, name } = &**id;
    let namespace = namespace.as_ref().map(|namespace| format!("-n {namespace} ")).unwrap_or_default();
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    format!(
        "Its status and events say more: `kubectl {namespace}describe {}{group}/{name}`, and the same of its pods.",
        kind.to_lowercase()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{git::MemorySource, layout};

    /// A fleet whose ConfigMaps are healthy when that is true.
    fn rules(current: &str) -> Arc<HealthRules> {
        let rule = format!("{{apiVersion: v1, kind: ConfigMap, current: '{current}'}}");
        let fleet = format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: shop}}\nspec: {{health: [{rule}]}}\n");
        let source = MemorySource::new([("evenkeel.yaml", fleet)]).unwrap();
        layout::read(&source).unwrap().spec.health
    }

    #[test]
    fn others_wait_by_the_rules_that_hold_now() {
        let inventory = crate::sync::plan::tests::applied(&crate::sync::plan::tests::rendering(&[("a", "one")], "1"));
        let one = crate::sync::plan::tests::id("one");
        let mut vitals = Vitals::default();
        vitals.take(Vec::new(), &inventory);
        assert_eq!(vitals.pulse(&one), Pulse::Well, "it has no status, and no rule");
        vitals.judge_by(&rules("false"), None);
        assert_eq!(vitals.pulse(&one), Pulse::Unread);
        let assessed = |vitals: &Vitals| vec![(one.clone(), vitals.rules.assess(&one, &serde_json::json!({})))];
        let now = assessed(&vitals);
        vitals.take(now, &inventory);
        assert!(matches!(vitals.pulse(&one), Pulse::Coming(_)));
        vitals.judge_by(&rules("true"), None);
        assert_eq!(vitals.pulse(&one), Pulse::Unread);
        let now = assessed(&vitals);
        vitals.take(now, &inventory);
        vitals.judge_by(&rules("false"), None);
        assert_eq!(vitals.pulse(&one), Pulse::Unread, "it was healthy by another rule");
    }

    #[test]
    fn what_has_left_git_is_no_trouble_of_what_runs() {
        let (both, one) =
            [&[("a", "one"), ("a", "two")][..], &[("a", "one")]].map(|of| crate::sync::plan::tests::rendering(of, "1")).into();
        let inventory = crate::sync::plan::tests::applied(&both);
        let two = crate::sync::plan::tests::id("two");
        let mut vitals = Vitals::default();
        vitals.judge_by(&rules("true"), Some(&both));
        vitals.take(vec![(two, Assessment { health: Health::Degraded, reason: "broken".to_owned() })], &inventory);
        assert_eq!((vitals.health(), vitals.ailing().len()), (Health::Degraded, 1));
        vitals.judge_by(&rules("true"), Some(&one));
        assert_eq!((vitals.health(), vitals.ailing().len(), vitals.problem()), (Health::Healthy, 0, None), "its deletion waits");
        vitals.judge_by(&rules("true"), None);
        assert_eq!(vitals.health(), Health::Healthy, "a commit that is refused changes nothing there");
    }

    #[test]
    fn the_job_of_another_try_says_nothing_of_what_runs() {
        use crate::sync::stages::tests::rendering;
        let (good, bad) = (rendering(&[("db", &[], &["pre-sync"])]), rendering(&[("db", &[], &["pre-sync", "on-failure"])]));
        let id: ObjectId = "Job.batch/shop/db-pre-sync".parse().unwrap();
        let run = |of: &Arc<Rendering>| Stages::of(of).runs()[&id];
        assert_ne!(run(&good), run(&bad), "the bundle is another");
        let mut inventory = crate::sync::plan::tests::applied(&good);
        let member = inventory.values().next().unwrap().clone();
        inventory.insert(id.clone(), member);
        inventory.get_mut(&id).unwrap().edit(|known| known.run = Some(run(&bad)));
        let mut vitals = Vitals::default();
        vitals.judge_by(&rules("true"), Some(&bad));
        vitals.take(vec![(id.clone(), Assessment { health: Health::Degraded, reason: "three times".to_owned() })], &inventory);
        assert_eq!((vitals.health(), vitals.ailing().len(), vitals.problem().is_some()), (Health::Degraded, 1, true));
        vitals.judge_by(&rules("true"), Some(&good));
        assert_eq!((vitals.health(), vitals.ailing().len(), vitals.problem()), (Health::Healthy, 0, None), "it was put back");
        assert!(matches!(vitals.pulse(&id), Pulse::Broken(_)), "who tries again knows that it failed");
        vitals.judge_by(&rules("true"), Some(&bad));
        assert_eq!(vitals.health(), Health::Degraded);
    }

    #[test]
    fn what_was_seen_before_a_write_is_not_said_of_what_was_written() {
        let inventory = crate::sync::plan::tests::applied(&crate::sync::plan::tests::rendering(&[("a", "one")], "1"));
        let one = crate::sync::plan::tests::id("one");
        let mut vitals = Vitals::default();
        vitals.judge_by(&rules("true"), None);
        let degraded = || Assessment { health: Health::Degraded, reason: "broken".to_owned() };
        vitals.take(vec![(one.clone(), degraded())], &inventory);
        assert_eq!((vitals.health(), vitals.ailing().len(), vitals.problem().is_some()), (Health::Degraded, 1, true));
        vitals.wrote(vec![one.clone()]);
        assert_eq!((vitals.health(), vitals.ailing().len(), vitals.problem()), (Health::Progressing, 0, None));
        vitals.take(vec![(one, degraded())], &inventory);
        assert_eq!(vitals.health(), Health::Degraded, "it was read again");
        vitals.judge_by(&rules("false"), None);
        assert_eq!((vitals.health(), vitals.problem()), (Health::Progressing, None), "other rules are no news of it either");
    }

    #[test]
    fn nothing_passes_for_healthy_by_rules_of_before() {
        let rules = rules("true");
        let (mut vitals, inventory) = (Vitals::default(), Inventory::new());
        assert_eq!(vitals.health(), Health::Unknown);
        vitals.take(Vec::new(), &inventory);
        assert!(vitals.health() == Health::Healthy && !vitals.is_due());
        vitals.judge_by(&rules, None);
        assert!(vitals.health() == Health::Progressing && vitals.is_due());
        vitals.take(Vec::new(), &inventory);
        vitals.judge_by(&rules, None);
        assert!(vitals.health() == Health::Healthy && !vitals.is_due(), "the same rules again");
        vitals.forget();
        assert!(vitals.rules.judge_as(&Rules::new(rules, None)), "they outlast the connection");
    }
}
