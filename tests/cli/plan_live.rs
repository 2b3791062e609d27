//! `evenkeel plan --live`, whole, from an agent that only answers.

use evenkeel::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::ErrorAnswer,
    plan::{
        Outcome,
        judged::{LiveCluster, LivePlan},
    },
    server::Question,
};

use crate::{
    diff::{answer as diff, asked, same},
    run,
};

/// Where no repository is, so that revisions go to the agent as they are given.
const NO_REPO: &str = "--repo /nonexistent";

fn cluster(name: &str, outcome: Outcome) -> LiveCluster {
    LiveCluster {
        name: name.to_owned(),
        environment: "production".to_owned(),
        region: "eu".to_owned(),
        outcome,
        errors: Vec::new(),
        judged: None,
        left_out: 0,
    }
}

fn error(code: codes::Code, message: &str) -> ErrorAnswer {
    ErrorAnswer::from(&Diagnostic::new(code, Place::Nowhere, message))
}

fn nothing() -> LivePlan {
    LivePlan {
        schema: 1,
        base: Some("b2".repeat(20).parse().unwrap()),
        head: "c3".repeat(20).parse().unwrap(),
        errors: Vec::new(),
        unchanged: 4,
        clusters: Vec::new(),
    }
}

/// Something of everything.
pub(crate) fn answer() -> LivePlan {
    let judged = |name: &str| {
        let mut diff = diff();
        (diff.cluster, diff.newest, diff.paused, diff.unchanged) = (name.to_owned(), None, None, 0);
        Some(diff)
    };
    LivePlan {
        errors: vec![error(codes::GIT_REV, "evenkeel.yaml: the fleet has another name")],
        clusters: vec![
            LiveCluster { judged: judged("prod-eu-1"), ..cluster("prod-eu-1", Outcome::Changed) },
            LiveCluster { judged: judged("prod-eu-2"), ..cluster("prod-eu-2", Outcome::Changed) },
            LiveCluster { judged: Some(same()), left_out: 7, ..cluster("prod-eu-3", Outcome::Changed) },
            LiveCluster { errors: vec![error(codes::UNREACHABLE, "no answer")], ..cluster("prod-eu-4", Outcome::Added) },
            LiveCluster { errors: vec![error(codes::GIT_REV, "base/a.yaml:3:1: wrong")], ..cluster("prod-eu-5", Outcome::Refused) },
            cluster("prod-eu-6", Outcome::Changed),
            cluster("prod-eu-7", Outcome::Removed),
        ],
        ..nothing()
    }
}

/// An agent that answers so about that change.
fn plan(line: &str, base: &'static str, head: &'static str, plan: LivePlan) -> String {
    asked(line, move |question| {
        let Question::Plan { base: from, head: to, answer } = question else { panic!("another question") };
        assert_eq!((from.as_deref(), &*to), (Some(base), head));
        let _ = answer.send(Ok(plan.clone()));
    })
}

#[test]
fn every_cluster_is_told_and_the_same_once() {
    insta::assert_snapshot!(plan(&format!("plan main..feature --live {NO_REPO}"), "main", "feature", answer()));
}

#[test]
fn a_pull_request_is_told_the_same_in_a_comment() {
    let mut answer = answer();
    // What comes from the change and from API servers must not speak for the comment.
    answer.clusters[0].judged.as_mut().unwrap().refused[0].error.message = "no\n```\n# approved @admin </details>".to_owned();
    answer.clusters[3].name = "x`|<b>@team".to_owned();
    answer.clusters[4].errors = answer.clusters[3].errors.clone();
    insta::assert_snapshot!(plan(&format!("plan main..feature --live {NO_REPO} -o markdown"), "main", "feature", answer));
}

#[test]
fn the_exit_code_tells_what_came_of_it() {
    let end = |answer: LivePlan| plan(&format!("plan a..b --live {NO_REPO} -o json"), "a", "b", answer).lines().last().map(str::to_owned);
    let changed = LivePlan { clusters: vec![LiveCluster { judged: Some(same()), ..cluster("a", Outcome::Changed) }], ..nothing() };
    let mut refused = changed.clone();
    refused.clusters[0].judged = Some(diff());
    let mut unasked = changed.clone();
    unasked.clusters[0].errors = vec![error(codes::UNREACHABLE, "no answer")];
    let ends = [nothing(), changed, refused, unasked].map(|answer| end(answer).unwrap());
    assert_eq!(ends, ["[exit 0]", "[exit 3]", "[exit 1]", "[exit 1]"]);
}

#[test]
fn a_commit_that_the_agent_cannot_get_is_told_so() {
    let said = asked(&format!("plan main..feature --live {NO_REPO}"), |question| {
        let Question::Plan { answer, .. } = question else { panic!("another question") };
        let message = "no such revision: feature: https://git.example/fleet does not have it or does not give it out";
        let _ = answer.send(Err(Diagnostic::new(codes::NOT_PUSHED, Place::Nowhere, message)));
    });
    insta::assert_snapshot!(said);
}

#[test]
fn only_commits_can_be_judged_and_only_by_an_agent() {
    let lines = [
        format!("evenkeel plan main..feature --live {NO_REPO} --state-dir /nonexistent"),
        format!("evenkeel plan main...feature --live {NO_REPO}"),
    ];
    insta::assert_snapshot!(lines.map(|line| run(&line).whole()).join("\n"));
}
