//! Pages from answers alone.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    diagnostic::ErrorAnswer,
    git::CommitId,
    ledger::{
        Evidence,
        answers::{
            ClusterStatus, CommitOnCluster, CommitPhase, Content, HeldObject, History, Log, LogEntry, Repository, SCHEMA, StandingObject,
            Status, Touched, Where,
        },
    },
    rollout::{Counts, ShownHalt, ShownWave, WaveWord},
    server::{
        answers::SourceState,
        caller::{Role, Scope},
    },
    sync::{Health, Phase},
};

const HASH: CommitId = CommitId([0xab; 20]);
const PLAN: Digest = Digest([0xcd; 32]);
const NASTY: &str = "<script>alert(\"1\")</script>&";

fn now() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

fn caller(role: Option<Role>, environments: &[&str]) -> Caller {
    let names = environments.iter().map(|name| (*name).to_owned()).collect();
    let scope = if environments.is_empty() { Scope::Fleet } else { Scope::Environments(names) };
    Caller { who: "ann (token)".to_owned(), role, scope }
}

fn cluster(name: &str, environment: &str, region: &str, phase: Phase) -> ClusterStatus {
    ClusterStatus {
        name: name.to_owned(),
        environment: environment.to_owned(),
        region: region.to_owned(),
        desired: Some(HASH),
        applied: Some(HASH),
        phase,
        health: Health::Healthy,
        objects: 1,
        drifted: 0,
        held_deletions: 0,
        held_plan: None,
        since: now() - jiff::SignedDuration::from_mins(5),
        retry: None,
        would: None,
        error: None,
        reason: String::new(),
    }
}

fn entry(subject: &str) -> LogEntry {
    LogEntry {
        commit: HASH,
        author: "Ann".to_owned(),
        time: now(),
        subject: subject.to_owned(),
        seen: now(),
        rewritten: false,
        failed: Vec::new(),
        clusters: Vec::new(),
    }
}

fn fleet_of(clusters: Vec<ClusterStatus>) -> String {
    let caller = caller(None, &[]);
    let frame = Frame { caller: &caller, signed_in: false, now: now(), query: "" };
    let log = Log { schema: SCHEMA, commits: vec![entry(NASTY)] };
    fleet::page(
        &frame,
        &Status { schema: SCHEMA, commit: Some(HASH), held_plan: None, clusters, rollout: None, repository: Repository::default() },
        &log,
        &SourceState::default(),
    )
    .into_string()
}

fn cluster_for(caller: &Caller, cluster: &ClusterStatus) -> String {
    let frame = Frame { caller, signed_in: false, now: now(), query: "" };
    let content = Content {
        objects: vec![StandingObject { bundle: "shop".to_owned(), id: "ConfigMap/ns/one".to_owned(), adopted: false }],
        held: vec![HeldObject { id: "ConfigMap/ns/gone".to_owned(), plan: PLAN, approved: false }],
    };
    let history =
        History { schema: SCHEMA, cluster: cluster.name.clone(), syncs: Vec::new(), transitions: Vec::new(), actions: Vec::new() };
    let status = Status {
        schema: SCHEMA,
        commit: Some(HASH),
        held_plan: None,
        clusters: vec![cluster.clone()],
        rollout: None,
        repository: Repository::default(),
    };
    let evidence = Evidence {
        cluster: cluster.name.clone(),
        status,
        in_repo: true,
        brought: None,
        ailing: Vec::new(),
        content: content.clone(),
        bundles: Vec::new(),
        drifted: Vec::new(),
        history: history.clone(),
        object: None,
    };
    super::cluster::page(&frame, cluster, &crate::why::explain(&evidence).unwrap(), &content, &history).into_string()
}

/// Nothing of a page is another site's, and what comes from outside is text.
fn is_safe(page: &str) {
    assert!(!page.contains("<script>alert") && !page.contains("://"), "{page}");
}

#[test]
fn the_fleet_shows_each_cluster_in_its_cell_and_what_is_wrong_first() {
    let mut refused = cluster("prod-us-1", "prod", "us", Phase::Refused);
    refused.error = Some(ErrorAnswer { code: "EK4001".to_owned(), message: NASTY.to_owned(), hint: "Mend it.".to_owned() });
    let clusters = vec![cluster("dev-eu-1", "dev", "eu", Phase::Synced), cluster("prod-eu-1", "prod", "eu", Phase::Paused), refused];
    let page = fleet_of(clusters);
    is_safe(&page);
    for part in [
        "Head <a href=\"/commits/abababababababababababababababababababab\"><code>abababa</code></a>",
        "<span class=\"mark\" aria-hidden=\"true\">✗</span>Refused</span> 1",
        "<strong>EK4001</strong> &lt;script&gt;",
        "<th scope=\"row\">dev</th><td data-label=\"eu\"><ul class=\"tiles\">",
        "<td data-label=\"us\"></td></tr><tr><th scope=\"row\">prod</th>",
        "href=\"/clusters/prod-us-1\"",
        "5m ago",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let (worst, less) = (page.find("href=\"/clusters/prod-us-1\"").unwrap(), page.find("href=\"/clusters/prod-eu-1\"").unwrap());
    assert!(worst < less, "the worst first");
    assert!(!fleet_of(vec![cluster("a", "dev", "eu", Phase::Synced)]).contains("Needs attention"));
}

#[test]
fn one_cause_is_told_once_with_all_that_it_hits() {
    let with = |name: &str, message: &str| {
        let error = ErrorAnswer { code: "EK4001".to_owned(), message: message.to_owned(), hint: "Mend it.".to_owned() };
        ClusterStatus { error: Some(error), ..cluster(name, "dev", "eu", Phase::Refused) }
    };
    let page =
        fleet_of(vec![with("a", "one cause"), with("b", "another"), with("c", "one cause"), cluster("d", "dev", "eu", Phase::Syncing)]);
    assert_eq!((page.matches("one cause").count(), page.matches("another").count()), (1, 1), "{page}");
    let together = "2: </span><a href=\"/clusters/a\">a</a>, <a href=\"/clusters/c\">c</a>";
    assert!(page.contains(together), "{page}");
    assert!(!fleet_of(vec![cluster("d", "dev", "eu", Phase::Syncing)]).contains("Needs attention"), "it is on its way");
}

#[test]
fn only_who_may_approve_has_the_button() {
    let mut held = cluster("prod-eu-1", "prod", "eu", Phase::Held);
    (held.held_deletions, held.held_plan) = (1, Some(PLAN));
    for (caller, may) in [
        (caller(Some(Role::Approver), &[]), true),
        (caller(Some(Role::Approver), &["prod"]), true),
        (caller(Some(Role::Approver), &["dev"]), false),
        (caller(Some(Role::Operator), &[]), false),
        (caller(None, &[]), false),
    ] {
        let page = cluster_for(&caller, &held);
        is_safe(&page);
        assert!(page.contains("ConfigMap/ns/gone"), "{page}");
        assert_eq!(page.contains("action=\"/approve\""), may, "{caller:?}");
        assert_eq!(page.contains(&format!("evenkeel approve {PLAN}")), !may, "{caller:?}");
    }
    assert!(!cluster_for(&caller(Some(Role::Approver), &[]), &cluster("a", "dev", "eu", Phase::Synced)).contains("gone"));
}

#[test]
fn names_that_a_path_may_not_have_are_quoted_in_links() {
    let page = fleet_of(vec![cluster("a/b \"c\"", "dev", "eu", Phase::Synced)]);
    assert!(page.contains("href=\"/clusters/a%2Fb%20%22c%22\""), "{page}");
}

#[test]
fn a_commit_shows_where_it_is_and_what_it_did() {
    let caller = caller(None, &[]);
    let frame = Frame { caller: &caller, signed_in: false, now: now(), query: "" };
    let on = CommitOnCluster {
        name: "dev-eu-1".to_owned(),
        phase: CommitPhase::Cluster(Phase::Refused),
        since: Some(now()),
        reason: NASTY.to_owned(),
        superseded_by: None,
    };
    let answer = Where { schema: SCHEMA, commit: HASH, clusters: vec![on] };
    let touched = |cluster: &str| Touched {
        cluster: cluster.to_owned(),
        bundle: "shop".to_owned(),
        object: "ConfigMap/ns/one".to_owned(),
        action: "Changed".to_owned(),
    };
    let page = super::commit::page(&frame, &answer, Some(&entry(NASTY)), &[touched("a"), touched("b")]).into_string();
    is_safe(&page);
    for part in ["<td>Refused</td>", "<td data-label=\"On\">a, b</td>", "&lt;script&gt;"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn a_search_finds_by_parts_and_shows_what_was_searched_for_as_text() {
    let caller = caller(None, &[]);
    let status = Status {
        schema: SCHEMA,
        commit: None,
        held_plan: None,
        rollout: None,
        repository: Repository::default(),
        clusters: vec![cluster("prod-eu-1", "prod", "eu", Phase::Refused), cluster("dev-us-1", "dev", "us", Phase::Synced)],
    };
    let log = Log { schema: SCHEMA, commits: vec![entry("Mend the shop")] };
    let found = |query: &str| {
        let frame = Frame { caller: &caller, signed_in: false, now: now(), query };
        let page = search::page(&frame, &status, &log).into_string();
        is_safe(&page);
        (page.contains("href=\"/clusters/prod-eu-1\""), page.contains("href=\"/clusters/dev-us-1\""), page.contains("Mend the shop"))
    };
    assert_eq!(found("PROD"), (true, false, false));
    assert_eq!(found("refused"), (true, false, false));
    assert_eq!(found("abab"), (false, false, true));
    assert_eq!(found("ann"), (false, false, true));
    assert_eq!(found("the shop"), (false, false, true));
    assert_eq!(found(NASTY), (false, false, false));
    assert_eq!(found("-1"), (true, true, false));
}

#[test]
fn waves_say_what_they_wait_for_and_who_may_begin_one() {
    let wave = |name: &str, state: WaveWord| ShownWave {
        name: name.to_owned(),
        state,
        target: Some(HASH),
        clusters: Counts { all: 4, done: 1, begun: 2, waiting: 0, passed_over: 1 },
        passed_over: vec!["dev-1: paused".to_owned()],
        reason: format!("the reason {NASTY}"),
        until: None,
        plan: Some(PLAN),
        halt: (state == WaveWord::Halted).then(|| ShownHalt {
            cluster: "prod-1".to_owned(),
            error: ErrorAnswer { code: "EK4014".to_owned(), message: NASTY.to_owned(), hint: String::new() },
            failed: vec!["prod-1".to_owned()],
            reached: vec!["prod-2".to_owned()],
            spared: 7,
        }),
        way_out: "push a commit that mends it".to_owned(),
    };
    let waves = [wave("canary", WaveWord::Halted), wave("prod", WaveWord::Approval)];
    let shown = |caller: &Caller| {
        let frame = Frame { caller, signed_in: false, now: now(), query: "" };
        waves::section(&frame, &waves).into_string()
    };
    let page = shown(&caller(Some(Role::Approver), &[]));
    assert!(!page.contains("<script>alert"), "{page}");
    for part in
        ["1 of 4 done, 2 begun, 1 passed over", "/clusters/prod-1", "failed on prod-1; reached prod-2; 7 never saw it", "push a commit"]
    {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert_eq!(page.matches("<form").count(), 1, "the wave that waits for a person");
    for other in [caller(Some(Role::Operator), &[]), caller(Some(Role::Approver), &["prod"])] {
        assert!(!shown(&other).contains("<form"));
    }
}
