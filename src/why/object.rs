//! Why one object is as it is.

use super::{Cause, Kind, ObjectWhy, cause};
use crate::{
    git::CommitId,
    layout::one_edit_apart,
    ledger::{
        Evidence, ObjectEvidence,
        answers::{ClusterStatus, ErrorAnswer, HeldObject},
    },
    manifest::{ObjectId, ObjectQuery},
    sync::{Ailing, Phase, approval},
};

/// Objects that are named where none or several can be meant.
const NAMED_MAX: usize = 10;

/// Which object is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Meant {
    /// That one.
    One(ObjectId),
    /// Several can be meant; the first of them.
    Several(Vec<String>),
    /// None of that name; those with nearly that name.
    None(Vec<String>),
}

/// Which of these objects is meant.
pub fn meant<'a>(query: &ObjectQuery, asked: &str, objects: impl Iterator<Item = &'a ObjectId> + Clone) -> Meant {
    let mut found: Vec<&ObjectId> = objects.clone().filter(|id| query.matches(id)).collect();
    found.sort_unstable();
    found.dedup();
    let names = |ids: Vec<&ObjectId>| ids.into_iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match found[..] {
        [one] => Meant::One(one.clone()),
        [] => {
            let name = asked.rsplit('/').next().unwrap_or(asked);
            let is_near = |id: &&ObjectId| id.name == name || one_edit_apart(&id.name, name) || id.name.contains(name);
            let mut near: Vec<&ObjectId> = objects.filter(is_near).collect();
            near.sort_unstable();
            near.dedup();
            Meant::None(names(near))
        }
        _ => Meant::Several(names(found)),
    }
}

/// What it is, its causes, and what is known of it.
pub(super) fn explain(evidence: &Evidence, cluster: &ClusterStatus, object: &ObjectEvidence) -> (String, Vec<Cause>, Option<ObjectWhy>) {
    let bundle = object.wanted.as_ref().map(|wanted| wanted.bundle.clone()).or_else(|| object.standing.clone());
    let known = ObjectWhy {
        asked: object.asked.clone(),
        id: object.id.clone(),
        bundle,
        commit: object.commit,
        place: object.wanted.as_ref().map(|wanted| wanted.place.clone()),
        changed_at: object.wanted.as_ref().map(|wanted| wanted.changed_at.clone()).unwrap_or_default(),
        standing: object.standing.is_some(),
        given_up: object.wanted.as_ref().map(|wanted| wanted.given_up.clone()).unwrap_or_default(),
        ends: object.ends.clone(),
        near: object.near.clone(),
    };
    let Some(id) = &object.id else { return (missing(evidence, cluster, object), whole(cluster, object), Some(known)) };
    let asked = Asked { evidence, cluster, object, id };
    let causes = asked.causes(&known);
    (asked.what(&known, &causes), causes, Some(known))
}

/// The commit of which something is said, and where the branch is, if that is elsewhere.
fn at(evidence: &Evidence, commit: Option<CommitId>) -> String {
    let Some(commit) = commit else { return String::new() };
    match evidence.status.commit.filter(|head| *head != commit) {
        Some(head) => format!(" at {} (the branch is at {})", commit.short(), head.short()),
        None => format!(" at {}", commit.short()),
    }
}

/// There is no such object, as far as is known.
fn missing(evidence: &Evidence, cluster: &ClusterStatus, object: &ObjectEvidence) -> String {
    let (asked, name) = (&object.asked, &cluster.name);
    let commit = at(evidence, object.commit.or(evidence.status.commit));
    if object.unrendered.is_some() {
        return format!("{asked} is not on record as applied to {name}; whether Git has it{commit} is not known");
    }
    format!("Git has no {asked} for {name}{commit}, and none is on record as applied to it")
}

/// Why nobody knows what Git says.
fn whole(cluster: &ClusterStatus, object: &ObjectEvidence) -> Vec<Cause> {
    let unrendered =
        object.unrendered.as_ref().map(|error| Cause { kind: Kind::Rendering, retry: None, ..cause::of_error(cluster, error) });
    unrendered.into_iter().collect()
}

struct Asked<'e> {
    evidence: &'e Evidence,
    cluster: &'e ClusterStatus,
    object: &'e ObjectEvidence,
    id: &'e str,
}

impl Asked<'_> {
    fn causes(&self, known: &ObjectWhy) -> Vec<Cause> {
        let Self { evidence, cluster, object, id } = self;
        let mut causes: Vec<Cause> = self.of_bundle(known).into_iter().collect();
        let first = cause::shown(evidence, cluster);
        // What concerns the whole cluster concerns the object too; another object's trouble does not.
        let concerns = |first: &Cause| {
            let is_known = causes.iter().any(|cause| cause.message == first.message);
            let is_of_all = !matches!(
                first.kind,
                Kind::Refused | Kind::Failed | Kind::Waiting | Kind::Hook | Kind::Held | Kind::Health | Kind::Drift | Kind::Deletion
            );
            !is_known && (is_of_all || first.message.starts_with(*id))
        };
        causes.extend(first.filter(concerns));
        let is_told = |ailing: &&Ailing| causes.iter().any(|cause| cause.kind == Kind::Health && cause.message.starts_with(&ailing.object));
        let ailing = evidence.ailing.iter().filter(|ailing| ailing.object == **id).find(|ailing| !is_told(ailing));
        causes.extend(ailing.map(cause::of_health));
        causes.extend(self.held());
        if object.wanted.is_none() && causes.is_empty() {
            causes.extend(self.left());
        }
        causes
    }

    fn cause(&self, error: &ErrorAnswer) -> Cause {
        cause::of_error(self.cluster, error)
    }

    /// Its bundle was not applied: because of the object itself, or of something else in it.
    fn of_bundle(&self, known: &ObjectWhy) -> Option<Cause> {
        // All is written of what the cluster runs. What was not is of something else, or was waited for and came.
        if matches!(self.cluster.phase, Phase::Synced | Phase::Returned | Phase::Held) {
            return None;
        }
        let bundle = known.bundle.as_ref()?;
        let end = self.evidence.content.ends.iter().find(|end| end.bundle == *bundle && end.outcome != "Applied")?;
        if let Some(own) = self.own_error() {
            return Some(self.cause(own));
        }
        let error = cause::by_now(self.cluster, end.error.as_ref()?);
        let message = format!("its bundle {bundle} is {}: {}", end.outcome, error.message);
        Some(Cause { message, ..self.cause(error) })
    }

    /// What went wrong with it on the way to what the cluster last tried to run.
    fn own_error(&self) -> Option<&ErrorAnswer> {
        let (newest, syncs) = (self.evidence.history.syncs.first()?, &self.evidence.history.syncs);
        let begun = syncs.iter().filter(|sync| sync.rendering == newest.rendering).map(|sync| sync.started).min()?;
        self.object.ends.first().filter(|end| end.at >= begun)?.error.as_ref()
    }

    fn held(&self) -> Option<Cause> {
        let HeldObject { plan, approved, .. } = self.evidence.content.held.iter().find(|held| held.id == self.id)?;
        let (message, way_out) = if *approved {
            ("its deletion is approved, and not done yet".to_owned(), "It is done with the next sync.".to_owned())
        } else {
            (
                "it left Git, and its deletion is held for approval".to_owned(),
                approval::way_out(&self.cluster.name, *plan, self.cluster.pinned),
            )
        };
        Some(Cause { kind: Kind::Held, code: None, message, since: None, way_out, retry: None })
    }

    fn left(&self) -> Option<Cause> {
        self.object.standing.as_ref()?;
        if let Some(error) = &self.object.unrendered {
            return Some(Cause { kind: Kind::Rendering, retry: None, ..self.cause(error) });
        }
        let message = "Git does not have it any more; it stands there still".to_owned();
        let way_out = "The next sync deletes it, unless its annotations or its adoption keep it.".to_owned();
        Some(Cause { kind: Kind::Deletion, code: None, message, since: None, way_out, retry: None })
    }

    fn what(&self, known: &ObjectWhy, causes: &[Cause]) -> String {
        let (id, name) = (self.id, &self.cluster.name);
        let at = at(self.evidence, self.object.commit);
        match (&self.object.wanted, known.standing, causes.first()) {
            (Some(_), true, None) => format!("{id} on {name} is as Git has it{at}; nothing is wrong"),
            (Some(_), true, Some(first)) => format!("{id} stands on {name}, {}", self.but(known, first, &at)),
            (Some(_), false, None) => format!("{id} is in Git{at}, and not applied to {name} yet"),
            (Some(_), false, Some(_)) => format!("{id} is in Git{at}, and not applied to {name}"),
            (None, true, _) => format!("{id} stands on {name}, and is not in Git{at}"),
            (None, false, Some(Cause { kind: Kind::Deletion, .. })) => {
                format!("{id} is not in Git{at}, and its deletion from {name} does not end")
            }
            (None, false, _) => format!("{id} is not in Git{at}, and was not applied to {name}"),
        }
    }

    /// What is not as it should be about an object that stands.
    fn but(&self, known: &ObjectWhy, first: &Cause, at: &str) -> String {
        if self.of_bundle(known).is_some() {
            return format!("and what Git has of it{at} is not written");
        }
        match first.kind {
            Kind::Health => match self.evidence.ailing.iter().find(|ailing| ailing.object == self.id) {
                Some(ailing) => format!("as Git has it{at}, and is {:?}", ailing.health),
                None => format!("as Git has it{at}, and is not healthy"),
            },
            Kind::Drift => format!("and not as Git has it{at}: somebody changes it again and again"),
            Kind::Returned | Kind::Hold | Kind::Paused | Kind::Wave => {
                let far = if self.cluster.drifted == 0 { "" } else { ", as far as is known" };
                format!("as Git has it{at}{far}")
            }
            Kind::Unreachable | Kind::WrongCluster => "as far as is known: nobody can look there now".to_owned(),
            _ => "as far as is known".to_owned(),
        }
    }
}
