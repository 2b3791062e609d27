//! `evenkeel diff`, whole, from an agent that only answers.

use std::sync::Arc;

use evenkeel::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::ErrorAnswer,
    manifest::ObjectId,
    plan::{
        Delete, Fate, Field, Op,
        live::{Diff, LiveChange, LiveDrift, LiveRefusal},
    },
    server::{Api, Question, Server, SourceState},
    sync::Departure,
};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{Setup, fleet::Record, run};

fn id(text: &str) -> ObjectId {
    text.parse().unwrap()
}

fn change(object: &str, fields: Vec<Field>) -> LiveChange {
    LiveChange {
        id: id(object),
        bundle: "web".to_owned(),
        paused: false,
        from: Vec::new(),
        with: Vec::new(),
        drift: None,
        note: String::new(),
        fields,
    }
}

fn field(path: &str, op: Op, from: serde_json::Value, to: serde_json::Value) -> Field {
    Field { path: path.to_owned(), op, from, to }
}

pub(crate) fn same() -> Diff {
    Diff {
        schema: 1,
        cluster: "dev-eu-1".to_owned(),
        commit: "c3".repeat(20).parse().unwrap(),
        newest: None,
        paused: None,
        waits: Vec::new(),
        unchanged: 12,
        create: Vec::new(),
        change: Vec::new(),
        take_over: Vec::new(),
        share: Vec::new(),
        delete: Vec::new(),
        refused: Vec::new(),
    }
}

/// Something of everything.
pub(crate) fn answer() -> Diff {
    let error = Diagnostic::new(codes::REFUSED, Place::Object("Deployment.apps/shop/bad".to_owned()), "denied by policy no-latest");
    let departure = Departure {
        path: ".spec.replicas".to_owned(),
        manager: Some("kubectl-edit".to_owned()),
        time: Some("2026-01-02T03:04:05Z".to_owned()),
    };
    let drifted = |stays| Some(LiveDrift { stays, by: vec![departure.clone()] });
    let replicas = vec![field("spec.replicas", Op::Changed, json!(5), json!(3))];
    let image = "spec.template.spec.containers[name=\"web\"].image";
    Diff {
        cluster: "prod-eu-1".to_owned(),
        newest: Some("d4".repeat(20).parse().unwrap()),
        paused: Some("environments/prod/eu/prod-eu-1/cluster.yaml".to_owned()),
        waits: vec!["held by ada (uid 7) since 2026-01-02T03:04:05Z, until it is released: the disk is full".to_owned()],
        unchanged: 2,
        create: vec![
            LiveChange { note: "not tried: its namespace is made by the same sync".to_owned(), ..change("ConfigMap/new/a", Vec::new()) },
            change("ConfigMap/shop/b", Vec::new()),
        ],
        change: vec![
            change("Deployment.apps/shop/web", vec![field(image, Op::Changed, json!("web:1"), json!("web:2"))]),
            LiveChange { drift: drifted(false), ..change("Deployment.apps/shop/api", replicas.clone()) },
            LiveChange { drift: drifted(true), paused: true, ..change("Deployment.apps/shop/queue", replicas) },
            change("Service/shop/web", Vec::new()),
            change("Secret/shop/key", vec![field("data.password", Op::Added, json!(null), json!("***"))]),
        ],
        take_over: vec![LiveChange {
            from: vec!["helm".to_owned(), "kubectl-client-side-apply".to_owned()],
            with: vec!["kubectl-edit".to_owned()],
            note: "removed, since Git does not have it: .data.old".to_owned(),
            ..change("ConfigMap/shop/theirs", vec![field("data.v", Op::Changed, json!("1"), json!("2"))])
        }],
        share: vec![
            LiveChange {
                with: vec!["argocd-controller".to_owned()],
                note: "nothing that others set changes, and what they manage stays theirs".to_owned(),
                ..change("ConfigMap/shop/both", vec![field("data.w", Op::Added, json!(null), json!("1"))])
            },
            change("ConfigMap/shop/nobodys", Vec::new()),
        ],
        delete: vec![
            Delete { id: id("ConfigMap/shop/gone"), bundle: "web".to_owned(), fate: Fate::Deleted, reason: String::new() },
            Delete { id: id("Namespace/old"), bundle: "web".to_owned(), fate: Fate::Held, reason: "it takes others along".to_owned() },
            Delete { id: id("ConfigMap/shop/later"), bundle: "web".to_owned(), fate: Fate::Paused, reason: "it is paused".to_owned() },
            Delete { id: id("ConfigMap/shop/kept"), bundle: "web".to_owned(), fate: Fate::Kept, reason: "it says never".to_owned() },
        ],
        refused: vec![LiveRefusal { id: id("Deployment.apps/shop/bad"), bundle: "web".to_owned(), error: ErrorAnswer::from(&error) }],
        ..same()
    }
}

/// An agent that answers questions about those clusters.
fn ask(line: &str, diffs: Vec<Diff>) -> String {
    asked(line, move |question| {
        let Question::Diff { cluster, answer } = question else { panic!("another question") };
        let found = diffs.iter().find(|diff| diff.cluster == cluster).cloned();
        let missing = || Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {cluster} in the fleet"));
        let _ = answer.send(found.ok_or_else(missing));
    })
}

/// Runs a line with an agent that only answers questions.
pub(crate) fn asked(line: &str, answer: impl Fn(Question) + Send + 'static) -> String {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (questions, mut asked) = mpsc::channel(4);
    let _entered = runtime.enter();
    let server = Server::bind(dir.path()).unwrap();
    let api = Api::new(Arc::new(Record), mpsc::channel(1).0, watch::channel(SourceState::default()).1).with_questions(questions);
    runtime.spawn(server.serve(api, CancellationToken::new()));
    runtime.spawn(async move {
        while let Some(question) = asked.recv().await {
            answer(question);
        }
    });
    let name = dir.path().display().to_string();
    let setup = Setup { ledger: Box::new(|_| panic!("the agent is to be asked")), ..Setup::default() };
    setup.run(&format!("evenkeel {line} --state-dir {name}")).whole().replace(&name, "DIR")
}

#[test]
fn every_difference_is_told() {
    insta::assert_snapshot!(ask("diff prod-eu-1", vec![answer(), same()]));
}

#[test]
fn nothing_differs_or_nobody_knows() {
    let lines = ["diff dev-eu-1", "diff prod-xx-1"].map(|line| ask(line, vec![same()]));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn without_an_agent_nobody_can_answer() {
    insta::assert_snapshot!(run("evenkeel diff prod-eu-1 --state-dir /nonexistent").whole());
}

#[test]
fn json_comes_back_as_it_went() {
    let text = ask("diff prod-eu-1 -o json", vec![answer()]);
    let json = &text[text.find('{').unwrap()..=text.rfind('}').unwrap()];
    assert_eq!(serde_json::from_str::<Diff>(json).unwrap(), answer());
    assert!(text.ends_with("[exit 3]\n"), "{text}");
}

#[test]
fn what_is_kept_for_good_is_no_difference() {
    let kept = answer().delete.pop().unwrap();
    assert!(!Diff { delete: vec![kept.clone()], ..same() }.differs());
    assert!(Diff { delete: vec![Delete { fate: Fate::Held, ..kept }], ..same() }.differs());
    for diff in [
        Diff { create: answer().create, ..same() },
        Diff { change: answer().change, ..same() },
        Diff { take_over: answer().take_over, ..same() },
        Diff { share: answer().share, ..same() },
        Diff { refused: answer().refused, ..same() },
    ] {
        assert!(diff.differs(), "{diff:?}");
    }
}
