//! Pages from answers alone.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    diagnostic::ErrorAnswer,
    git::CommitId,
    ledger::{
        BundleEnd, Drifted, Evidence,
        answers::{
            ClusterStatus, CommitOnCluster, CommitOnly, CommitPhase, Content, HeldObject, History, LogEntry, Repository, SCHEMA,
            StandingObject, Status, Touched, Where,
        },
    },
    rollout::{Counts, Shown, ShownHalt, ShownWave, WaveWord},
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
        environment: environment.to_owned(),
        region: region.to_owned(),
        desired: Some(HASH),
        applied: Some(HASH),
        health: Health::Healthy,
        objects: 1,
        ..ClusterStatus::blank(name, phase, now() - jiff::SignedDuration::from_mins(5))
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
    fleet::page(
        &frame,
        &Status { schema: SCHEMA, commit: Some(HASH), held_plan: None, clusters, rollout: None, repository: Repository::default() },
        &[entry(NASTY)],
        &SourceState::default(),
    )
    .into_string()
}

fn cluster_for(caller: &Caller, cluster: &ClusterStatus) -> String {
    let frame = Frame { caller, signed_in: false, now: now(), query: "" };
    let content = Content {
        objects: vec![StandingObject { bundle: "shop".to_owned(), id: "ConfigMap/ns/one".to_owned(), adopted: false }],
        held: vec![HeldObject { id: "ConfigMap/ns/gone".to_owned(), plan: PLAN, approved: false }],
        ends: vec![BundleEnd {
            bundle: "web".to_owned(),
            outcome: "Refused".to_owned(),
            at: now() - jiff::SignedDuration::from_mins(3),
            after_definitions: true,
            error: Some(ErrorAnswer { code: "EK4001".to_owned(), message: NASTY.to_owned(), hint: "Look at `kubectl`.".to_owned() }),
        }],
        drifted: vec![Drifted { object: "ConfigMap/ns/one".to_owned(), what: format!(".data.v by {NASTY}"), at: now() }],
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
        is_emptied: false,
        brought: None,
        awaits: None,
        ailing: Vec::new(),
        content: content.clone(),
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
fn what_runs_badly_has_no_check_mark() {
    let ill = |health, phase| ClusterStatus { health, ..cluster("ill", "prod", "eu", phase) };
    let page = fleet_of(vec![cluster("well", "dev", "eu", Phase::Synced), ill(Health::Degraded, Phase::Synced)]);
    let words =
        "<span class=\"word bad\"><span class=\"mark\" aria-hidden=\"true\">✗</span>Synced,</span> <span class=\"bad\">Degraded</span>";
    for part in [
        format!("<th scope=\"row\">{words}</th><td><a href=\"/clusters/ill\">ill</a></td>"),
        format!("<a id=\"tile-ill\" class=\"tile bad\" href=\"/clusters/ill\"><strong>ill</strong>{words} "),
        "<a id=\"tile-well\" class=\"tile good\" href=\"/clusters/well\">".to_owned(),
        "<li><span class=\"bad\">Degraded</span> 1</li>".to_owned(),
    ] {
        assert!(page.contains(&part), "{part}\n{page}");
    }
    for (health, phase, class) in [
        (Health::Progressing, Phase::Synced, "moving"),
        (Health::Progressing, Phase::Refused, "bad"),
        (Health::Suspended, Phase::Synced, "moving"),
        (Health::Unknown, Phase::Synced, "good"),
        (Health::Degraded, Phase::Paused, "bad"),
    ] {
        assert!(fleet_of(vec![ill(health, phase)]).contains(&format!("class=\"tile {class}\"")), "{health:?} {phase:?}");
    }
    let behind =
        ClusterStatus { applied: Some(CommitId([7; 20])), reason: "waits".to_owned(), ..cluster("b", "prod", "eu", Phase::Synced) };
    assert!(fleet_of(vec![behind]).contains("<li>at an older commit 1</li>"));
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
    let page = super::commit::page(&frame, &answer, Some(&entry(NASTY)), &[touched("a"), touched("b")], &[]).into_string();
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
    let found = |query: &str| {
        let frame = Frame { caller: &caller, signed_in: false, now: now(), query };
        let page = search::page(&frame, &status, vec![entry("Mend the shop")]).into_string();
        is_safe(&page);
        assert!(page.contains("Commits: 1") && page.contains("Mend the shop"), "the record has found that one");
        (page.contains("href=\"/clusters/prod-eu-1\""), page.contains("href=\"/clusters/dev-us-1\""))
    };
    assert_eq!(found("PROD"), (true, false));
    assert_eq!(found("refused"), (true, false));
    assert_eq!(found(NASTY), (false, false));
    assert_eq!(found("-1"), (true, true));
    let frame = Frame { caller: &caller, signed_in: false, now: now(), query: "shop" };
    let page = search::page(&frame, &status, vec![entry("Mend the shop"); 51]).into_string();
    assert!(page.contains("Commits: the newest 50") && page.matches("Mend the shop").count() == 50);
}

/// A wave with something of everything.
fn wave(name: &str, state: WaveWord) -> ShownWave {
    ShownWave {
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
    }
}

#[test]
fn waves_say_what_they_wait_for_and_who_may_begin_one() {
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

#[test]
fn a_cluster_shows_how_its_bundles_ended_and_what_others_changed() {
    let page = cluster_for(&caller(None, &[]), &cluster("prod-eu-1", "prod", "eu", Phase::Refused));
    is_safe(&page);
    for part in [
        "<p>1 ConfigMap</p>",
        "<summary><strong>shop</strong> <span class=\"soft\">1 object</span></summary>",
        "<strong>web</strong> <span class=\"soft\">0 objects</span> <span class=\"word bad\"><span class=\"mark\" aria-hidden=\"true\">✗</span>Refused</span>",
        "3m ago",
        "Look at <code>kubectl</code>.",
        "Its namespaces and definitions were written before.",
        "<td><code>ConfigMap/ns/one</code></td><td>.data.v by &lt;script&gt;",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn the_rollout_has_a_button_for_what_the_caller_may_do_and_no_other() {
    let held = Some(ErrorAnswer { code: "EK4050".to_owned(), message: "held by ann".to_owned(), hint: String::new() });
    let status = Status {
        schema: SCHEMA,
        commit: Some(HASH),
        held_plan: None,
        rollout: Some(Shown { waves: vec![wave("canary", WaveWord::Halted), wave("prod", WaveWord::Approval)] }),
        repository: Repository::default(),
        clusters: vec![
            cluster("prod-1", "prod", "eu", Phase::Failed),
            cluster("prod-2", "prod", "eu", Phase::Synced),
            ClusterStatus { error: held, ..cluster("prod-3", "prod", "us", Phase::Paused) },
        ],
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let members = [("canary".to_owned(), names(&["prod-1", "prod-2"])), ("prod".to_owned(), names(&["prod-3", "prod-4"]))].into();
    let shown = |caller: &Caller| {
        let frame = Frame { caller, signed_in: false, now: now(), query: "" };
        let page = rollout::page(&frame, &status, &members).into_string();
        is_safe(&page);
        page
    };
    let ids = ["approve-2", "retry-1", "rollback-1", "hold-1", "hold-2", "release-2"];
    let has = |page: &str| ids.map(|id| page.contains(&format!("id=\"{id}\"")));
    let page = shown(&caller(Some(Role::Approver), &[]));
    // All of the second wave that is known is held already.
    assert_eq!(has(&page), [true, true, true, true, false, true], "{page}");
    for part in [
        "1. canary",
        "<dt>Failed on</dt><dd><a href=\"/clusters/prod-1\">",
        "<dt>Also runs on</dt><dd><a href=\"/clusters/prod-2\">",
        "7 clusters that it would change",
        "<strong>Way out: </strong>push a commit",
        "1 of 4 done, 2 begun, 1 passed over",
        "href=\"/hold?next=%2Frollout&amp;selector=cluster%20in%20%28prod-1%2Cprod-2%29\"",
        "name=\"selector\" value=\"cluster=prod-3\"",
        "id=\"tile-prod-2\"",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(page.find("1. canary").unwrap() < page.find("2. prod").unwrap(), "in their order");
    assert_eq!(has(&shown(&caller(Some(Role::Operator), &[]))), [false, true, true, true, false, true]);
    for other in [caller(Some(Role::Viewer), &[]), caller(None, &[]), caller(Some(Role::Approver), &["prod"])] {
        let page = shown(&other);
        assert_eq!(has(&page), [false; 6]);
        assert!(!page.contains("method=\"post\""), "{page}");
    }
    let nothing = Status { rollout: None, ..status.clone() };
    let frame =
        |caller: &Caller| rollout::page(&Frame { caller, signed_in: false, now: now(), query: "" }, &nothing, &members).into_string();
    assert!(frame(&caller(None, &[])).contains("a commit goes everywhere at once"));
    assert!(frame(&caller(Some(Role::Approver), &["prod"])).contains("your token is for some of its environments"));
}

#[test]
fn a_commit_is_followed_through_the_waves() {
    let on = |name: &str, phase| CommitOnCluster {
        name: name.to_owned(),
        phase,
        since: (name != "c").then(|| now() - jiff::SignedDuration::from_mins(i64::from(name.as_bytes()[0]) - 90)),
        reason: String::new(),
        superseded_by: None,
    };
    let clusters = vec![
        on("a", CommitPhase::Commit(CommitOnly::Applied)),
        on("b", CommitPhase::Cluster(Phase::Synced)),
        on("c", CommitPhase::Commit(CommitOnly::NotAffected)),
    ];
    let caller = caller(None, &[]);
    let frame = Frame { caller: &caller, signed_in: false, now: now(), query: "" };
    let waves = [("first".to_owned(), vec!["a".to_owned(), "c".to_owned()]), ("second".to_owned(), vec!["b".to_owned()])];
    let answer = Where { schema: SCHEMA, commit: HASH, clusters };
    let page = super::commit::page(&frame, &answer, None, &[], &waves).into_string();
    for part in [
        "<strong>first</strong>: 1 Applied, ",
        "7m ago",
        "; changes nothing on 1",
        "<strong>second</strong>: 1 Synced, ",
        "it changes nothing on 1 cluster<",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(!super::commit::page(&frame, &answer, None, &[], &[]).into_string().contains("Across the waves"));
}
