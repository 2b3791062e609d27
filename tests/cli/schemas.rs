//! What `-o json` prints is what docs/schemas says.

use std::collections::BTreeSet;

use evenkeel::{
    ledger::answers::{CommitOnly, CommitPhase},
    plan::{Fate, Op, Outcome},
    rollout::WaveWord,
    sync::{Action, Health, Phase, Trigger, preview::FieldOrigin},
};
use serde_json::{Value, json};

use crate::{fleet, run};

const PHASES: [Phase; 11] = [
    Phase::WrongCluster,
    Phase::Unreachable,
    Phase::Refused,
    Phase::Failed,
    Phase::Held,
    Phase::Returned,
    Phase::Paused,
    Phase::Detached,
    Phase::Waiting,
    Phase::Syncing,
    Phase::Synced,
];

pub(crate) fn schema(name: &str) -> Value {
    let path = format!("{}/docs/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Why the answer does not fit its schema; nothing where it does.
pub(crate) fn misfit(name: &str, answer: &Value) -> String {
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema(name)).unwrap();
    validator.iter_errors(answer).map(|error| format!("{error} at {}", error.instance_path())).collect::<Vec<_>>().join("\n")
}

/// What the command prints.
fn printed(line: &str) -> Value {
    let output = run(&format!("evenkeel {line} --state-dir /nonexistent -o json"));
    assert_eq!(output.code, 0, "{}", output.err);
    serde_json::from_str(&output.out).unwrap()
}

fn answers() -> [(&'static str, Value); 11] {
    [
        ("status", serde_json::to_value(fleet::cut_off()).unwrap()),
        ("log", printed("log")),
        ("where", printed("where c3c3c3c")),
        ("history", printed("history prod-eu-1")),
        ("events", printed("events")),
        ("why", printed("why prod-eu-1 deploy/web")),
        ("plan", crate::plan::answer()),
        ("blame", crate::blame::printed()),
        ("live-object", serde_json::to_value(crate::blame::live("ConfigMap/shop/words".parse().unwrap())).unwrap()),
        ("diff", serde_json::to_value(crate::diff::answer()).unwrap()),
        ("plan-live", serde_json::to_value(crate::plan_live::answer()).unwrap()),
    ]
}

#[test]
fn what_is_printed_fits() {
    for (name, answer) in answers() {
        assert_eq!(misfit(name, &answer), "", "{name}");
    }
}

#[test]
fn yaml_says_the_same_as_json() {
    let yaml = run("evenkeel status --state-dir /nonexistent -o yaml").out;
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), printed("status"));
}

/// Every object of the answer once more, each time with one key more or one less: none may fit.
#[test]
fn nothing_else_fits() {
    for (name, answer) in answers() {
        let mut paths = Vec::new();
        objects(&answer, String::new(), &mut paths);
        assert!(paths.len() > 3, "{name}: {paths:?}");
        for path in paths {
            let mut more = answer.clone();
            more.pointer_mut(&path).unwrap().as_object_mut().unwrap().insert("extra".to_owned(), json!(1));
            assert_ne!(misfit(name, &more), "", "{name}: extra key at {path}");
            let keys: Vec<String> = answer.pointer(&path).unwrap().as_object().unwrap().keys().cloned().collect();
            for key in keys {
                let mut less = answer.clone();
                less.pointer_mut(&path).unwrap().as_object_mut().unwrap().remove(&key);
                assert_ne!(misfit(name, &less), "", "{name}: {path} without {key}");
            }
        }
    }
}

fn objects(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| objects(value, format!("{path}/{key}"), found));
            found.push(path);
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| objects(value, format!("{path}/{at}"), found)),
        _ => {}
    }
}

/// The keys that scripts were promised.
#[test]
fn the_promised_keys_are_there() {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let status = printed("status");
    assert_eq!(keys(&status), set(&["schema", "commit", "held_plan", "clusters", "rollout", "repository"]));
    assert_eq!(
        keys(&status["clusters"][1]),
        set(&[
            "name",
            "environment",
            "region",
            "desired",
            "applied",
            "phase",
            "health",
            "objects",
            "drifted",
            "held_deletions",
            "held_plan",
            "since",
            "retry",
            "would",
            "error",
            "reason",
            "pinned",
            "left",
            "unheard"
        ])
    );
    assert_eq!(keys(&status["clusters"][4]["retry"]), set(&["at", "failures"]));
    assert_eq!(keys(&status["clusters"][1]["error"]), set(&["code", "message", "hint"]));
    assert_eq!(status["clusters"][0]["error"], Value::Null);
    assert_eq!(status["schema"], 1);
    let answer = printed("where c3c3c3c");
    assert_eq!(keys(&answer), set(&["schema", "commit", "clusters"]));
    assert_eq!(keys(&answer["clusters"][0]), set(&["name", "phase", "since", "reason", "superseded_by"]));
    let log = printed("log");
    assert_eq!(keys(&log), set(&["schema", "commits"]));
    assert_eq!(keys(&log["commits"][0]["clusters"][0]), keys(&answer["clusters"][0]));
}

/// Each word that the program can say is one that the schema knows, and the other way round.
#[test]
fn words_are_the_same_in_program_and_schema() {
    let words = |schema: &Value, pointer: &str| -> BTreeSet<String> {
        schema.pointer(pointer).unwrap().as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let said = |word: &dyn std::fmt::Debug| format!("{word:?}");
    let phases: BTreeSet<String> = PHASES.iter().map(|phase| said(phase)).collect();
    assert_eq!(words(&schema("status"), "/$defs/phase/enum"), phases);
    let commit_only =
        [CommitOnly::Pending, CommitOnly::WaitingForWave, CommitOnly::Applied, CommitOnly::Superseded, CommitOnly::NotAffected];
    let of_a_commit: BTreeSet<String> = phases.iter().cloned().chain(commit_only.iter().map(|phase| said(phase))).collect();
    assert_eq!(words(&schema("where"), "/$defs/cluster/properties/phase/enum"), of_a_commit);
    assert_eq!(words(&schema("log"), "/$defs/cluster/properties/phase/enum"), of_a_commit);
    let healths = [Health::Healthy, Health::Progressing, Health::Degraded, Health::Suspended, Health::Unknown];
    assert_eq!(words(&schema("status"), "/$defs/cluster/properties/health/enum"), healths.iter().map(|health| said(health)).collect());
    let triggers = [Trigger::Commit, Trigger::Start, Trigger::Drift, Trigger::Retry, Trigger::Health, Trigger::Asked];
    assert_eq!(words(&schema("history"), "/$defs/sync/properties/trigger/enum"), triggers.iter().map(|word| said(word)).collect());
    let actions = [
        Action::Created,
        Action::Changed,
        Action::Adopted,
        Action::Repaired,
        Action::Pruned,
        Action::Held,
        Action::Kept,
        Action::Refused,
        Action::Failed,
    ];
    assert_eq!(words(&schema("history"), "/$defs/object/properties/action/enum"), actions.iter().map(|word| said(word)).collect());

    let origins = [FieldOrigin::Git, FieldOrigin::Drifted, FieldOrigin::GivenUp, FieldOrigin::Other, FieldOrigin::Default];
    for (name, pointer) in [("live-object", "live_field"), ("blame", "live_field"), ("blame", "standing")] {
        let said: BTreeSet<String> = origins.iter().map(|word| said(word)).collect();
        assert_eq!(words(&schema(name), &format!("/$defs/{pointer}/properties/origin/enum")), said);
    }
    let events = schema("events");
    let waves = [
        WaveWord::Waiting,
        WaveWord::Halted,
        WaveWord::Approval,
        WaveWord::Closed,
        WaveWord::Rolling,
        WaveWord::Soaking,
        WaveWord::Unproved,
        WaveWord::Complete,
    ];
    assert_eq!(words(&events, "/$defs/Wave/properties/state/enum"), waves.iter().map(|word| said(word)).collect());
    for (pointer, same) in [
        ("/$defs/phase", schema("status")["$defs"]["phase"].clone()),
        ("/$defs/trigger", schema("history").pointer("/$defs/sync/properties/trigger").unwrap().clone()),
        ("/$defs/done/properties/action", schema("history").pointer("/$defs/object/properties/action").unwrap().clone()),
    ] {
        assert_eq!(*events.pointer(pointer).unwrap(), same, "{pointer}");
    }
    let kinds: BTreeSet<String> =
        fleet::events().events.iter().map(|it| serde_json::to_value(it).unwrap()["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.len(), events["$defs"]["event"]["oneOf"].as_array().unwrap().len(), "one event of each kind: {kinds:?}");
    let sent = serde_json::to_value(fleet::events()).unwrap();
    assert_eq!(serde_json::from_value::<evenkeel::ledger::answers::Events>(sent).unwrap(), fleet::events(), "comes back as it went");

    let outcomes = [Outcome::Refused, Outcome::Removed, Outcome::Recovered, Outcome::Added, Outcome::Changed, Outcome::Unchanged];
    assert_eq!(words(&schema("plan"), "/$defs/cluster/properties/outcome/enum"), outcomes.iter().map(|word| said(word)).collect());
    let ops = [Op::Added, Op::Removed, Op::Changed, Op::Reordered];
    assert_eq!(words(&schema("plan"), "/$defs/field/properties/op/enum"), ops.iter().map(|word| said(word)).collect());
    let fates = [Fate::Deleted, Fate::Held, Fate::Kept, Fate::Paused];
    assert_eq!(words(&schema("plan"), "/$defs/delete/properties/fate/enum"), fates.iter().map(|word| said(word)).collect());

    assert_eq!(words(&schema("diff"), "/$defs/field/properties/op/enum"), ops.iter().map(|word| said(word)).collect());
    assert_eq!(words(&schema("diff"), "/$defs/delete/properties/fate/enum"), fates.iter().map(|word| said(word)).collect());

    let mut answer = fleet::where_is();
    for phase in PHASES.map(CommitPhase::Cluster).into_iter().chain(commit_only.map(CommitPhase::Commit)) {
        answer.clusters[0].phase = phase;
        let sent = serde_json::to_value(&answer).unwrap();
        assert_eq!(misfit("where", &sent), "");
        assert_eq!(serde_json::from_value::<evenkeel::ledger::answers::Where>(sent).unwrap(), answer, "comes back as it went");
    }
}
