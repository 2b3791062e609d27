//! What a row says: pure functions from what is on record to what happened, and from that to a sentence.

use jiff::Timestamp;

use super::answer::{Done, Repeats, What};
use crate::{
    codes,
    diagnostic::ErrorAnswer,
    git::CommitId,
    rollout::{Shown, ShownWave, WaveWord},
    sync::{Departure, Health, Phase},
};

/// What a change of state says. `was` is the one before that was told: its phase, and the code of what was wrong.
pub(super) fn transition(was: Option<(Phase, Option<&str>)>, phase: Phase, desired: Option<CommitId>, error: Option<ErrorAnswer>) -> What {
    let degraded = codes::DEGRADED.id;
    match (was, error.as_ref().map(|error| error.code.as_str())) {
        (Some((before, code)), Some(now)) if before == phase && now == degraded && code != Some(degraded) => {
            What::Health { health: Health::Degraded, desired, error }
        }
        (Some((before, Some(code))), None) if before == phase && code == degraded => {
            What::Health { health: Health::Healthy, desired, error: None }
        }
        (was, _) => What::Phase { phase, was: was.map(|(phase, _)| phase), desired, error },
    }
}

/// What is told of waves that stand otherwise than before. That a wave is through with a commit that changed nothing for it, or has
/// nothing to do yet, happens at every commit and is not told.
pub(in crate::ledger) fn turns(before: Option<&Shown>, after: Option<&Shown>) -> Vec<What> {
    let waves = |shown: Option<&'_ Shown>| shown.map(|shown| shown.waves.clone()).unwrap_or_default();
    let before = waves(before);
    let is_quiet = |wave: &ShownWave| matches!(wave.state, WaveWord::Waiting | WaveWord::Complete);
    let failed = |wave: &ShownWave| wave.halt.as_ref().map(|halt| halt.cluster.clone());
    let turned = waves(after).into_iter().filter(|wave| match before.iter().find(|before| before.name == wave.name) {
        Some(before) if before.state == wave.state => (before.target != wave.target || failed(before) != failed(wave)) && !is_quiet(wave),
        Some(_) => wave.state != WaveWord::Waiting,
        None => !is_quiet(wave),
    });
    let told = |wave: ShownWave| What::Wave {
        wave: wave.name,
        state: wave.state,
        commit: wave.target,
        failed: wave.halt.map(|halt| halt.cluster),
        reason: wave.reason,
        way_out: wave.way_out,
    };
    turned.map(told).collect()
}

/// The sentence.
pub(in crate::ledger) fn text(what: &What, repeats: Option<&Repeats>) -> String {
    let text = match what {
        What::Commits { commit, author, subject, count } => {
            let others = if *count > 1 { format!(" with {} before it", count - 1) } else { String::new() };
            format!("{} arrived{others}: {subject}{}", commit.short(), by(author))
        }
        What::ForcePush { commit, was, author, subject } => {
            let from = was.map(|was| format!(" from {}", was.short())).unwrap_or_default();
            format!("the branch was forced{from} to {}: {subject}{}", commit.short(), by(author))
        }
        What::Phase { phase, was, desired, error } => {
            let was = was.filter(|was| was != phase).map(|was| format!(" after {was:?}")).unwrap_or_default();
            format!("{phase:?}{}{was}{}", at(*desired), reason(error.as_ref()))
        }
        What::Health { health, desired, error } => format!("{health:?}{}{}", at(*desired), reason(error.as_ref())),
        What::SyncBegan { sync, commit, trigger, cut } => {
            let cut = if *cut { "; it was cut, and never ended" } else { "" };
            format!("sync {sync} to {} began ({trigger}){cut}", commit.short())
        }
        What::SyncEnded { sync, commit, result, done, error, .. } => {
            format!("sync {sync} to {} ended: {result}, {}{}", commit.short(), counts(done), reason(error.as_ref()))
        }
        What::Drift { object, outcome, lost, fields } => drift(object, outcome, lost, fields),
        What::Left { objects: 0 } => "no object departs from the rendering any more".to_owned(),
        What::Left { objects: 1 } => "1 object departs from the rendering and is left so".to_owned(),
        What::Left { objects } => format!("{objects} objects depart from the rendering and are left so"),
        What::More => "more happened than is told one by one".to_owned(),
        What::Action { who, action, target, reason, outcome } => {
            let target = if target.is_empty() { String::new() } else { format!(" {target}") };
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let outcome = if outcome == "accepted" { String::new() } else { format!("; refused: {outcome}") };
            format!("{action}{target} by {who}{reason}{outcome}")
        }
        What::Wave { wave, state, commit, reason, way_out, .. } => self::wave(wave, *state, *commit, [reason, way_out]),
    };
    match repeats {
        Some(Repeats { times, first, last }) => format!("{text} ({times} times since {}, last at {})", second(*first), second(*last)),
        None => text,
    }
}

fn drift(object: &str, outcome: &str, lost: &str, fields: &[Departure]) -> String {
    let field = |field: &Departure| {
        let by = field.manager.as_ref().map(|manager| format!(" by {manager}")).unwrap_or_default();
        let at = field.time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
        format!("{}{by}{at}", field.path)
    };
    let fields = fields.iter().map(field).collect::<Vec<_>>().join(", ");
    let what = match (outcome, lost, fields.as_str()) {
        ("Created", ..) => "was deleted in the cluster".to_owned(),
        (_, "", "") => "was changed in the cluster".to_owned(),
        (_, "", fields) => format!("was changed in the cluster: {fields}"),
        (_, lost, "") => lost.to_owned(),
        (_, lost, fields) => format!("{lost}, and it was changed in the cluster: {fields}"),
    };
    let then = match outcome {
        "Created" => "made anew",
        "Repaired" => "put back",
        _ => "could not be put back",
    };
    format!("{object}: {what}; {then}")
}

fn wave(name: &str, state: WaveWord, commit: Option<CommitId>, words: [&str; 2]) -> String {
    let what = match state {
        WaveWord::Waiting => "waits",
        WaveWord::Halted => "is halted",
        WaveWord::Approval => "asks for approval",
        WaveWord::Closed => "is closed",
        WaveWord::Rolling => "is under way",
        WaveWord::Soaking => "soaks",
        WaveWord::Unproved => "proves nothing",
        WaveWord::Complete => "is through",
    };
    let words: Vec<&str> = words.into_iter().filter(|words| !words.is_empty()).collect();
    let words = if words.is_empty() { String::new() } else { format!(": {}", words.join("; ")) };
    format!("wave {name} {what}{}{words}", commit.map(|commit| format!(" with {}", commit.short())).unwrap_or_default())
}

fn counts(done: &[Done]) -> String {
    let counts: Vec<String> = done.iter().map(|Done { action, objects }| format!("{objects} {action}")).collect();
    if counts.is_empty() { "no objects".to_owned() } else { counts.join(", ") }
}

fn reason(error: Option<&ErrorAnswer>) -> String {
    error.map(|error| format!("; {} {}", error.code, error.message)).unwrap_or_default()
}

fn by(author: &str) -> String {
    if author.is_empty() { String::new() } else { format!(" ({author})") }
}

fn at(commit: Option<CommitId>) -> String {
    commit.map(|commit| format!(" at {}", commit.short())).unwrap_or_default()
}

/// To the second, which is as exact as people read it.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(state: WaveWord, commit: u8) -> Shown {
        let wave = ShownWave { target: Some(CommitId([commit; 20])), ..ShownWave::blank("prod", state) };
        Shown { waves: vec![wave] }
    }

    #[test]
    fn of_waves_only_what_is_news_is_told() {
        use WaveWord::{Complete, Halted, Rolling, Soaking, Waiting};
        for (before, after, is_told) in [
            ((Rolling, 1), (Rolling, 1), false),
            ((Rolling, 1), (Rolling, 2), true),
            ((Rolling, 1), (Soaking, 1), true),
            ((Rolling, 1), (Halted, 1), true),
            ((Soaking, 1), (Complete, 1), true),
            ((Complete, 1), (Complete, 2), false),
            ((Complete, 1), (Waiting, 2), false),
            ((Waiting, 1), (Waiting, 2), false),
            ((Waiting, 2), (Rolling, 2), true),
        ] {
            let turned = turns(Some(&shown(before.0, before.1)), Some(&shown(after.0, after.1)));
            assert_eq!(!turned.is_empty(), is_told, "{before:?} to {after:?}");
        }
        assert!(turns(None, Some(&shown(Complete, 1))).is_empty() && turns(Some(&shown(Rolling, 1)), None).is_empty());
        assert_eq!(turns(None, Some(&shown(Rolling, 1))).len(), 1);
    }

    #[test]
    fn of_health_only_what_is_not_told_by_the_phase() {
        let (synced, failed) = (Phase::Synced, Phase::Failed);
        let degraded = codes::DEGRADED.id;
        let error = |code: &str| Some(ErrorAnswer { code: code.to_owned(), message: "web crashes".to_owned(), hint: String::new() });
        let told = |was, phase, error| text(&transition(was, phase, None, error), None);
        assert_eq!(told(Some((synced, None)), synced, error(degraded)), "Degraded; EK4014 web crashes");
        assert_eq!(told(Some((synced, Some(degraded))), synced, None), "Healthy");
        assert_eq!(told(Some((failed, None)), synced, error(degraded)), "Synced after Failed; EK4014 web crashes");
        assert_eq!(told(Some((synced, Some(degraded))), failed, error("EK4006")), "Failed after Synced; EK4006 web crashes");
        assert_eq!(told(None, synced, None), "Synced");
    }
}
