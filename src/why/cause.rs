//! What keeps a cluster from being well, the cause that matters first.

use super::{Cause, Kind, are, count};
use crate::{
    codes::{self, Code},
    ledger::{
        Evidence,
        answers::{ClusterStatus, ErrorAnswer, Repository, Rewritten, SyncEntry},
    },
    rollout::{ShownWave, WaveWord},
    sync::{Ailing, Health, Phase, approval, caution::LEFT, look_at},
};

/// How a cluster comes back that left the repository.
const PUT_BACK: &str = "Put its cluster.yaml back, or take what ignores it out of .evenkeelignore,";
/// Objects that are named in one cause.
const NAMED_MAX: usize = 3;

/// All causes.
pub(super) fn of_cluster(evidence: &Evidence, cluster: &ClusterStatus) -> Vec<Cause> {
    let first = shown(evidence, cluster);
    let has = |kind: Kind| first.as_ref().is_some_and(|first| first.kind == kind);
    let mut causes = Vec::new();
    if !has(Kind::Held) {
        causes.extend(held(cluster));
    }
    if !has(Kind::Wave) && !has(Kind::Returned) {
        causes.extend(wave(evidence, cluster));
    }
    causes.extend(others_of_sync(evidence, cluster, first.as_ref()));
    let told = first.as_ref().map(|first| first.message.as_str()).unwrap_or_default();
    let is_told = |ailing: &Ailing| has(Kind::Health) && told.starts_with(&ailing.object);
    causes.extend(evidence.ailing.iter().filter(|ailing| is_trouble(ailing) && !is_told(ailing)).map(of_health));
    if !has(Kind::Drift) {
        causes.extend(drift(evidence, cluster));
    }
    if !has(Kind::Observed) {
        causes.extend(observed(cluster));
    }
    if causes.is_empty() && first.is_none() {
        causes.extend(left(evidence, cluster).or_else(|| behind(evidence, cluster)));
    }
    causes.extend(emptied(evidence, cluster).filter(|_| !told.contains(LEFT)));
    causes.extend(cluster.unheard.iter().map(|asked| {
        plain(Kind::Unheard, format!("recorded while no agent ran, and not done yet: {asked}"), "It is done when the agent starts.")
    }));
    causes.extend(repository(evidence));
    first.into_iter().chain(causes).collect()
}

/// The cause that the cluster's own state shows.
pub(super) fn shown(evidence: &Evidence, cluster: &ClusterStatus) -> Option<Cause> {
    let mut shown = of_error(cluster, cluster.error.as_ref()?);
    match shown.kind {
        Kind::Health => shown.way_out.push_str(&put_back(evidence, cluster)),
        Kind::Unreachable => shown.way_out.extend(waiting_wave(evidence, &cluster.name).map(|wave| format!(" {}", go_on_without(wave)))),
        Kind::Returned => shown.message.push_str(&reason_given(evidence, &shown)),
        _ => {}
    }
    // The wave knows better than the error what can be done.
    if let Some(way_out) = past_the_waves(evidence).filter(|_| shown.code.as_deref() == Some(codes::WAVE.id)) {
        shown.way_out = way_out;
    }
    Some(shown)
}

/// What is known by now of an error that a sync ended with: what a bundle waited for then may have failed since, as the cluster shows.
pub(super) fn by_now<'e>(cluster: &'e ClusterStatus, error: &'e ErrorAnswer) -> &'e ErrorAnswer {
    let object = |error: &'e ErrorAnswer| error.message.split_once(": ").map(|(object, _)| object);
    let waits = [codes::GATE, codes::HOOK_RUNS].iter().any(|code| code.id == error.code) && object(error).is_some();
    cluster.error.as_ref().filter(|now| waits && object(now) == object(error)).unwrap_or(error)
}

/// The cause that an error of the cluster is.
pub(super) fn of_error(cluster: &ClusterStatus, error: &ErrorAnswer) -> Cause {
    Cause {
        kind: kind(cluster.phase, &error.code),
        code: Some(error.code.clone()),
        message: error.message.clone(),
        since: None,
        way_out: error.hint_for(&cluster.name),
        retry: cluster.retry,
    }
}

/// Of which kind an error is.
pub(super) fn kind(phase: Phase, code: &str) -> Kind {
    const KINDS: &[(Kind, &[Code])] = &[
        (Kind::WrongCluster, &[codes::WRONG_CLUSTER]),
        (Kind::OtherAgent, &[codes::OTHER_HOLDER]),
        (Kind::Paused, &[codes::PAUSED]),
        (Kind::Hold, &[codes::ON_HOLD]),
        (Kind::Wave, &[codes::WAVE, codes::OTHER_RENDERING]),
        (Kind::Returned, &[codes::RETURNED, codes::ROLLED_BACK, codes::NO_WAY_BACK]),
        (Kind::Hook, &[codes::HOOK_FAILED]),
        (Kind::Waiting, &[codes::GATE, codes::DEPENDENCY_DEGRADED, codes::DEPENDENCY_LATE, codes::DEPENDENCY_FAILED, codes::HOOK_RUNS]),
        (Kind::Held, &[codes::HELD]),
        (Kind::Health, &[codes::DEGRADED, codes::LATE]),
        (Kind::Drift, &[codes::FIGHT]),
        (Kind::Deletion, &[codes::LINGERING]),
        (Kind::ReportOnly, &[codes::REPORT_ONLY]),
        (Kind::Observed, &[codes::OBSERVED]),
    ];
    if let Some((kind, _)) = KINDS.iter().find(|(_, of_kind)| of_kind.iter().any(|of_kind| of_kind.id == code)) {
        return *kind;
    }
    match phase {
        Phase::Unreachable => Kind::Unreachable,
        Phase::Refused if code.starts_with("EK1") => Kind::Rendering,
        Phase::Refused => Kind::Refused,
        _ => Kind::Failed,
    }
}

/// The way back to what ran before, where a commit brought the trouble: the quickest at night.
fn put_back(evidence: &Evidence, cluster: &ClusterStatus) -> String {
    let syncs = &evidence.history.syncs;
    let Some(now) = syncs.iter().find(|sync| sync.result == "Succeeded") else { return String::new() };
    let before = syncs.iter().find(|sync| sync.result == "Succeeded" && sync.rendering != now.rendering && sync.commit != now.commit);
    let words = |before: &SyncEntry| {
        format!(" To put back what ran before: `evenkeel rollback cluster={} {}`.", cluster.name, before.commit.short())
    };
    before.map(words).unwrap_or_default()
}

/// In the words of the person who put the cluster back; nothing where they are not on record, or are told already.
fn reason_given(evidence: &Evidence, shown: &Cause) -> String {
    if shown.code.as_deref() != Some(codes::ROLLED_BACK.id) {
        return String::new();
    }
    let newest = evidence.history.actions.iter().find(|action| action.what == "rollback" && action.outcome == "accepted");
    let reason = newest.map(|action| action.reason.as_str()).filter(|reason| !reason.is_empty() && !shown.message.contains(reason));
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// The wave that waits for a cluster, where one does.
pub(super) fn waiting_wave<'e>(evidence: &'e Evidence, cluster: &str) -> Option<&'e ShownWave> {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let names = |reason: &str| reason.split(|c| !is_of_name(c)).any(|word| word.trim_end_matches('.') == cluster);
    let mut waves = evidence.status.rollout.iter().flat_map(|rollout| &rollout.waves);
    waves.find(|wave| wave.state == WaveWord::Rolling && names(&wave.reason))
}

/// What has a wave go on that waits for a cluster out of reach.
fn go_on_without(wave: &ShownWave) -> String {
    if wave.way_out.is_empty() && wave.clusters.all > 1 {
        return "If it is none of the commit's doing, `spec.paused` in its cluster.yaml has the waves go on without it.".to_owned();
    }
    wave.way_out.clone()
}

fn plain(kind: Kind, message: String, way_out: impl Into<String>) -> Cause {
    Cause { kind, code: None, message, since: None, way_out: way_out.into(), retry: None }
}

fn held(cluster: &ClusterStatus) -> Option<Cause> {
    let (deletions @ 1.., Some(plan)) = (cluster.held_deletions, cluster.held_plan) else { return None };
    let message = format!("{} {} held for approval", count(deletions, "deletion"), are(deletions));
    Some(plain(Kind::Held, message, approval::way_out(&cluster.name, plan, cluster.pinned)))
}

/// It waits for its wave, or is kept where it is, while the cluster's own state says nothing of it.
fn wave(evidence: &Evidence, cluster: &ClusterStatus) -> Option<Cause> {
    if cluster.reason.is_empty() || cluster.error.as_ref().is_some_and(|error| error.message.contains(&cluster.reason)) {
        return None;
    }
    if cluster.pinned {
        let way_out = format!("`evenkeel retry cluster={}` has it follow the branch again.", cluster.name);
        return Some(plain(Kind::Returned, cluster.reason.clone(), way_out));
    }
    let way_out = past_the_waves(evidence).unwrap_or_else(|| "It goes on by itself; `evenkeel status` shows the waves.".to_owned());
    Some(plain(Kind::Wave, cluster.reason.clone(), way_out))
}

/// What a person can do about the first wave that stands; none where all go on by themselves.
fn past_the_waves(evidence: &Evidence) -> Option<String> {
    let waves = evidence.status.rollout.iter().flat_map(|rollout| &rollout.waves);
    let mut stands = waves.filter(|wave| !matches!(wave.state, WaveWord::Waiting | WaveWord::Complete));
    stands.find(|wave| !wave.way_out.is_empty()).map(|wave| wave.way_out.clone())
}

/// What else went wrong in the sync whose first error the cluster shows: each thing once.
fn others_of_sync(evidence: &Evidence, cluster: &ClusterStatus, first: Option<&Cause>) -> Vec<Cause> {
    let Some(first) = first.filter(|first| matches!(first.kind, Kind::Refused | Kind::Failed | Kind::Waiting | Kind::Hook)) else {
        return Vec::new();
    };
    let newest = evidence.history.syncs.iter().find(|sync| sync.ended.is_some() && sync.result != "Interrupted");
    let of_objects = newest.iter().flat_map(|sync: &&SyncEntry| sync.objects.iter().filter_map(|object| object.error.as_ref()));
    let of_bundles = evidence.content.ends.iter().filter(|end| end.outcome != "Applied").filter_map(|end| end.error.as_ref());
    let mut causes: Vec<Cause> = Vec::new();
    for error in of_objects.chain(of_bundles).map(|error| by_now(cluster, error)).filter(|error| error.code != codes::HELD.id) {
        let is_told = |known: &Cause| known.message == error.message;
        if !is_told(first) && !causes.iter().any(is_told) {
            causes.push(Cause { retry: None, ..of_error(cluster, error) });
        }
    }
    causes
}

const fn is_trouble(ailing: &Ailing) -> bool {
    matches!(ailing.health, Health::Degraded | Health::Progressing)
}

/// An object that is not healthy.
pub(super) fn of_health(ailing: &Ailing) -> Cause {
    let look = ailing.object.parse().map(|id| look_at(&id)).unwrap_or_default();
    let (code, way_out) = match ailing.health {
        Health::Degraded => (Some(codes::DEGRADED.id.to_owned()), format!("{look} Mend the manifest or what it needs.")),
        _ => (None, format!("It goes on by itself, or becomes Degraded. {look}")),
    };
    let message = format!("{} is {:?}: {}", ailing.object, ailing.health, ailing.reason);
    Cause { code, ..plain(Kind::Health, message, way_out) }
}

fn drift(evidence: &Evidence, cluster: &ClusterStatus) -> Option<Cause> {
    if cluster.drifted == 0 {
        return None;
    }
    let named: Vec<String> =
        evidence.content.drifted.iter().take(NAMED_MAX).map(|drifted| format!("{}: {}", drifted.object, drifted.what)).collect();
    let named = if named.is_empty() { String::new() } else { format!("; last seen: {}", named.join("; ")) };
    let message = format!("{} {} not as Git has it{named}", count(cluster.drifted, "object"), are(cluster.drifted));
    Some(plain(Kind::Drift, message, format!("`evenkeel diff {}` shows each field.", cluster.name)))
}

fn observed(cluster: &ClusterStatus) -> Option<Cause> {
    let would = cluster.would.as_ref().filter(|would| !would.is_nothing())?;
    let message = format!("it is only observed; a sync would {}", would.words());
    Some(plain(Kind::Observed, message, codes::OBSERVED.next.replace("CLUSTER", &cluster.name)))
}

fn left(evidence: &Evidence, cluster: &ClusterStatus) -> Option<Cause> {
    if evidence.in_repo || evidence.is_emptied {
        return None;
    }
    let commit = cluster.left.map(|commit| format!(": it left with {}", commit.short())).unwrap_or_default();
    let way_out = format!("{PUT_BACK} to have it looked after again; what runs there stays as it is.");
    Some(plain(Kind::Left, format!("{} is no longer in the repository{commit}", cluster.name), way_out))
}

/// It left, and all that stands there is to go. While a person holds it nobody is asked for approval yet.
fn emptied(evidence: &Evidence, cluster: &ClusterStatus) -> Option<Cause> {
    if !evidence.is_emptied {
        return None;
    }
    let name = &cluster.name;
    let deletions = match cluster.held_deletions {
        0 => format!("the deletion of what stands there ({}) waits for approval", count(cluster.objects, "object")),
        1 => "1 deletion waits for approval".to_owned(),
        held => format!("{held} deletions wait for approval"),
    };
    let commit = cluster.left.map(|commit| format!(" with {}", commit.short())).unwrap_or_default();
    let message = format!("{name} left the repository{commit}, whose last word on it is onRemoval: prune; {deletions}");
    let approve = match cluster.held_plan {
        Some(plan) => format!("`evenkeel approve {plan}` has all of it deleted."),
        None => "Once it is neither held nor out of reach, `evenkeel status` shows the hash of its deletions: `evenkeel approve HASH`."
            .to_owned(),
    };
    let way_out = format!("{approve} To keep it: {} with onRemoval: keep.", PUT_BACK.replacen("Put", "put", 1));
    Some(plain(Kind::Left, message, way_out))
}

fn behind(evidence: &Evidence, cluster: &ClusterStatus) -> Option<Cause> {
    let head = evidence.status.commit.filter(|head| evidence.in_repo && cluster.desired != Some(*head))?;
    let way_out = "It is taken up as soon as it is rendered; if it is not, the agent's log says why.";
    Some(plain(Kind::Behind, format!("the newest commit {} is not taken up yet", head.short()), way_out))
}

/// What is wrong with the branch, for every cluster alike.
fn repository(evidence: &Evidence) -> Vec<Cause> {
    let Repository { trouble, rewritten } = &evidence.status.repository;
    let trouble = trouble.as_ref().map(|trouble| Cause {
        kind: Kind::Repository,
        code: Some(trouble.error.code.clone()),
        message: format!("no newer commit can reach any cluster: {}", trouble.error.message),
        since: Some(trouble.since),
        way_out: trouble.error.hint.clone(),
        retry: None,
    });
    let rewritten = rewritten.as_ref().and_then(|Rewritten { was, at }| {
        let (was, now) = ((*was)?, evidence.status.commit?.short());
        let message = format!("the branch was rewritten by a force-push: its tip was {} and is {now} now", was.short());
        let way_out = format!("`evenkeel log` marks the commits that are gone. If that was not meant, push {was} to the branch again.");
        Some(Cause { since: Some(*at), ..plain(Kind::Rewritten, message, way_out) })
    });
    trouble.into_iter().chain(rewritten).collect()
}
