//! The time line: what it tells, how it is read on, and what bounds it.

use std::time::Duration;

use super::*;
use crate::{
    ledger::{
        ActionRow, LedgerError, Retention,
        answers::{Cursor, Event, EventQuery, LogQuery, What},
    },
    manifest::ObjectId,
    rollout::{Shown, ShownHalt, ShownWave, WaveWord, rows::Board},
    sync::{Action, BundleOutcome, Departure, Found, Journal as _, Live, ObjectResult, SyncId},
};

async fn bed() -> Bed {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    let named = |name: &str, environment: &str| ClusterRow {
        environment: environment.to_owned(),
        labels: [("cluster".to_owned(), name.to_owned()), ("environment".to_owned(), environment.to_owned())].into(),
        ..row(name)
    };
    bed.ledger.record_fleet(vec![named("a", "dev"), named("b", "prod"), named("c", "prod")]).await.unwrap();
    bed.render(1, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))]).await;
    bed
}

fn object(name: &str) -> ObjectId {
    format!("Deployment.apps/shop/{name}").parse().unwrap()
}

fn departure(path: &str, manager: &str, time: &str) -> Departure {
    Departure { path: path.to_owned(), manager: Some(manager.to_owned()), time: Some(time.to_owned()) }
}

async fn begin(bed: &Bed, cluster: &str) -> SyncId {
    bed.ledger.begin_sync(start(cluster, 1, 1)).await.unwrap()
}

fn treated(bed: &Bed, sync: SyncId, name: &str, action: Action) {
    let live = Live { uid: "u".to_owned(), digest: digest_of(7), fields: digest_of(8) };
    bed.ledger.object(sync, "shop", ObjectResult { id: object(name), action, live: Some(live), error: None });
}

/// A sync that finds one object changed in that way.
async fn repair(bed: &Bed, cluster: &str, name: &str, fields: Vec<Departure>) {
    let sync = begin(bed, cluster).await;
    bed.ledger.drift(sync, &object(name), Found { lost: String::new(), fields });
    treated(bed, sync, name, Action::Repaired);
    bed.ledger.end_sync(sync, None).await.unwrap();
}

async fn act(bed: &Bed, what: &'static str, clusters: &[&str], outcome: &str) {
    let clusters = clusters.iter().map(|&name| name.to_owned()).collect();
    let (who, target, reason) = ("Ada (uid 7)".to_owned(), "tier=1".to_owned(), "a look".to_owned());
    bed.ledger.record_action(ActionRow { who, what, target, reason, outcome: outcome.to_owned(), clusters }).await.unwrap();
}

fn shown(state: WaveWord, commit: u8, reason: &str) -> Board {
    let wave = ShownWave { target: Some(id(commit)), reason: reason.to_owned(), ..ShownWave::blank("prod", state) };
    Board { shown: Some(Shown { waves: vec![wave] }), ..Board::default() }
}

/// The wave is halted because the commit failed on that cluster.
fn halted(commit: u8, cluster: &str, message: &str) -> Board {
    let mut board = shown(WaveWord::Halted, commit, &format!("has halted: {cluster}: {message}"));
    let error = crate::ledger::answers::ErrorAnswer { code: String::new(), message: message.to_owned(), hint: String::new() };
    let halt = ShownHalt { cluster: cluster.to_owned(), error, failed: Vec::new(), reached: Vec::new(), spared: 0 };
    board.shown.as_mut().unwrap().waves[0].halt = Some(halt);
    board
}

/// The wave stands in these ways, one after the other.
async fn turns(bed: &Bed, boards: impl IntoIterator<Item = Board>) {
    let mut before = Board::default();
    for board in boards {
        bed.ledger.record_rollout(board.changes(&before)).await.unwrap();
        before = board;
    }
}

/// What is told of waves, by state, with the number of the commit.
fn waves(bed: &Bed, state: WaveWord) -> Vec<u8> {
    let events = bed.reader().events(&query()).unwrap().events;
    let wave = |event: Event| match event.what {
        What::Wave { state: found, commit, .. } if found == state => commit.map(|commit| commit.0[19]),
        _ => None,
    };
    events.into_iter().filter_map(wave).collect()
}

/// The commits of `log`, each with where it failed.
fn log(bed: &Bed, query: &LogQuery) -> Vec<String> {
    let commits = bed.reader().log(query.clone()).unwrap().commits;
    commits.iter().map(|entry| format!("{}: {}", entry.commit.0[19], entry.failed.join(" "))).collect()
}

fn query() -> EventQuery {
    EventQuery { limit: 1000, ..EventQuery::default() }
}

fn of(clusters: &str) -> EventQuery {
    EventQuery { clusters: Some(clusters.to_owned()), ..query() }
}

fn texts(events: &[Event]) -> Vec<String> {
    let who = |event: &Event| if event.clusters.is_empty() { "-".to_owned() } else { event.clusters.join(",") };
    events.iter().map(|event| format!("{} {}: {}", who(event), kind(event), event.text)).collect()
}

fn kind(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["kind"].as_str().unwrap().to_owned()
}

fn told(bed: &Bed, query: &EventQuery) -> Vec<String> {
    texts(&bed.reader().events(query).unwrap().events)
}

/// A bit of everything.
async fn history(bed: &Bed) {
    bed.state("a", state(Phase::Syncing)).await;
    let sync = begin(bed, "a").await;
    treated(bed, sync, "web", Action::Created);
    treated(bed, sync, "db", Action::Created);
    bed.ledger.end_sync(sync, Some(problem("no"))).await.unwrap();
    bed.state("a", State { error: Some(problem("no")), ..state(Phase::Failed) }).await;
    bed.fetch(&[2, 3]).await;
    bed.render(3, &[("a", Some(3)), ("b", Some(1)), ("c", Some(1))]).await;
    bed.synced("a", 3, 1).await;
    let sick = Diagnostic::new(codes::DEGRADED, Place::Nowhere, "web crashes");
    bed.state("a", State { error: Some(sick), health: Health::Degraded, desired: Some(id(3)), ..state(Phase::Synced) }).await;
    bed.synced("a", 3, 1).await;
    act(bed, "hold", &["a", "b"], "accepted").await;
    act(bed, "approve", &[], "EK4009 nothing like that is held").await;
    repair(bed, "b", "web", vec![departure(".spec.replicas", "kubectl-edit", "2026-01-01T00:00:00Z")]).await;
    bed.state("c", State { drifted: 2, ..state(Phase::Synced) }).await;
    bed.ledger.record_rollout(shown(WaveWord::Rolling, 3, "").changes(&Board::default())).await.unwrap();
    let halted = shown(WaveWord::Halted, 3, "b failed");
    bed.ledger.record_rollout(halted.changes(&shown(WaveWord::Rolling, 3, ""))).await.unwrap();
    bed.ledger.record_fetch(vec![commit(4)], id(4), Some(id(3)), true, bed.now()).await.unwrap();
}

#[tokio::test]
async fn everything_is_told_in_one_line_of_time() {
    let bed = bed().await;
    history(&bed).await;
    insta::assert_snapshot!(told(&bed, &query()).join("\n"), @r"
    - Commits: abababa arrived: change 1 (Ada)
    a SyncBegan: sync 1 to abababa began (Commit)
    a SyncEnded: sync 1 to abababa ended: Failed, 2 Created; EK1001 base/web.yaml:3:7: no
    a Phase: Failed; EK1001 base/web.yaml:3:7: no
    - Commits: abababa arrived with 1 before it: change 3 (Ada)
    a Phase: Synced at abababa after Failed
    a Health: Degraded at abababa; EK4014 web crashes
    a Health: Healthy at abababa
    a,b Action: hold tier=1 by Ada (uid 7): a look
    - Action: approve tier=1 by Ada (uid 7): a look; refused: EK4009 nothing like that is held
    b SyncBegan: sync 2 to abababa began (Commit)
    b Drift: Deployment.apps/shop/web: was changed in the cluster: .spec.replicas by kubectl-edit at 2026-01-01T00:00:00Z; put back
    b SyncEnded: sync 2 to abababa ended: Succeeded, 1 Repaired
    c Left: 2 objects depart from the rendering and are left so
    c Phase: Synced
    - Wave: wave prod is under way with abababa
    - Wave: wave prod is halted with abababa: b failed
    - ForcePush: the branch was forced from abababa to abababa: change 4 (Ada)
    ");
}

#[tokio::test]
async fn of_a_cluster_only_what_concerns_it() {
    let bed = bed().await;
    history(&bed).await;
    insta::assert_snapshot!(told(&bed, &of("b")).join("\n"), @r"
    - Commits: abababa arrived: change 1 (Ada)
    b Action: hold tier=1 by Ada (uid 7): a look
    b SyncBegan: sync 2 to abababa began (Commit)
    b Drift: Deployment.apps/shop/web: was changed in the cluster: .spec.replicas by kubectl-edit at 2026-01-01T00:00:00Z; put back
    b SyncEnded: sync 2 to abababa ended: Succeeded, 1 Repaired
    ");
    assert_eq!(told(&bed, &of("environment=dev")), told(&bed, &of("a")), "by name or by labels");
    let within = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    let seen = told(&bed, &EventQuery { within: within(&["b"]), ..query() });
    assert_eq!(seen.iter().filter(|line| line.starts_with("- ")).count(), 3, "commits are for all to see: {seen:?}");
    assert!(seen.iter().all(|line| line.starts_with("- ") || line.starts_with("b ")), "other clusters are not named: {seen:?}");
    assert!(seen.iter().all(|line| !line.contains("wave") && !line.contains("approve")), "the fleet's matters are not told: {seen:?}");
    let refused = |query: &EventQuery| bed.reader().events(query).unwrap_err();
    assert!(matches!(refused(&of("nowhere")), LedgerError::UnknownCluster(_)));
    assert!(matches!(refused(&of("a in (")), LedgerError::BadSelector(_)));
    assert!(
        matches!(refused(&EventQuery { within: within(&["b"]), ..of("a") }), LedgerError::UnknownCluster(_)),
        "as if it were not there"
    );
}

#[tokio::test]
async fn the_newest_and_those_since() {
    let bed = bed().await;
    history(&bed).await;
    let all = bed.reader().events(&query()).unwrap().events;
    for limit in [1, 3, 7] {
        let newest = bed.reader().events(&EventQuery { limit, ..query() }).unwrap();
        assert_eq!(newest.events[..], all[all.len() - limit as usize..], "the newest {limit}");
    }
    let since = all[5].at;
    let later = bed.reader().events(&EventQuery { since: Some(since), ..query() }).unwrap().events;
    assert_eq!(later[..], all[5..]);
}

/// Whoever reads on from any place, in steps of any size, is told the rest, once and in the same order.
#[tokio::test]
async fn it_is_read_on_from_any_place() {
    let bed = bed().await;
    history(&bed).await;
    let all = bed.reader().events(&query()).unwrap();
    for limit in [1, 2, 5, 1000] {
        for from in [0, 1, all.events.len() / 2, all.events.len() - 1] {
            let (mut after, mut rest) = (all.events[from].cursor, Vec::new());
            loop {
                let page = bed.reader().events(&EventQuery { after: Some(after), limit, ..query() }).unwrap();
                rest.extend(page.events.clone());
                after = page.cursor;
                if page.events.is_empty() {
                    break;
                }
            }
            assert_eq!(rest[..], all.events[from + 1..], "{limit} at a time from {from} on");
            assert_eq!(after, all.cursor);
        }
    }
}

/// What is put on record is told to a follower once, also where its time is before that of what was told already.
#[tokio::test]
async fn a_follower_is_told_what_comes_late() {
    let bed = bed().await;
    let mut after = bed.reader().events(&query()).unwrap().cursor;
    let mut follow = |expected: usize| {
        let page = bed.reader().events(&EventQuery { after: Some(after), ..query() }).unwrap();
        after = page.cursor;
        assert_eq!(page.events.len(), expected, "{:?}", texts(&page.events));
        page.events
    };
    follow(0);
    let (earlier, later) = (bed.now(), bed.now());
    bed.ledger.set_state("a", state(Phase::Failed), later).await.unwrap();
    follow(1);
    bed.ledger.set_state("b", state(Phase::Failed), earlier).await.unwrap();
    assert_eq!(follow(1)[0].at, earlier);
    let (long, short) = (begin(&bed, "a").await, begin(&bed, "b").await);
    follow(2);
    bed.ledger.end_sync(short, None).await.unwrap();
    follow(1);
    bed.ledger.end_sync(long, None).await.unwrap();
    assert!(matches!(follow(1)[0].what, What::SyncEnded { sync, .. } if sync == long.0), "the one that began first ended last");
    follow(0);
}

#[tokio::test]
async fn a_place_of_another_ledger_is_before_all() {
    let (one, other) = (bed().await, bed().await);
    history(&one).await;
    let cursor = one.reader().events(&query()).unwrap().cursor;
    let page = other.reader().events(&EventQuery { after: Some(cursor), ..query() }).unwrap();
    assert_eq!(page.events, other.reader().events(&query()).unwrap().events);
}

#[test]
fn a_place_is_read_as_it_is_written() {
    let text = "0000beef.1.22.3.0.5.6";
    assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
    for text in
        ["", "1", "0000beef.1.2.3.4.5", "0000beef.1.2.3.4.5.6.7", "0000beef.1.2.3.4.5.-6", "beef.1.2.3.4.5.6", "0000beef.1.2.3.4.5.x"]
    {
        assert!(text.parse::<Cursor>().unwrap_err().contains(text), "{text}");
    }
}

/// Two writers that undo each other for hours are a row each, and followers hear of it each time the count has doubled.
#[tokio::test]
async fn a_fight_is_counted() {
    let bed = bed().await;
    let mut after = bed.reader().events(&query()).unwrap().cursor;
    let mut heard = Vec::new();
    for round in 0..100 {
        let time = format!("2026-01-01T00:{:02}:00Z", round / 2 % 60);
        let manager = if round % 2 == 0 { "hpa" } else { "kubectl-edit" };
        repair(&bed, "a", "web", vec![departure(".spec.replicas", manager, &time)]).await;
        let page = bed.reader().events(&EventQuery { after: Some(after), ..query() }).unwrap();
        after = page.cursor;
        heard.extend(page.events.into_iter().filter(|event| matches!(event.what, What::Drift { .. })));
    }
    let times = |event: &Event| event.repeats.as_ref().map_or(1, |repeats| repeats.times);
    assert_eq!(heard.iter().map(times).collect::<Vec<_>>(), [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32]);
    let kept: Vec<Event> =
        bed.reader().events(&of("a")).unwrap().events.into_iter().filter(|event| matches!(event.what, What::Drift { .. })).collect();
    assert_eq!(kept.iter().map(times).collect::<Vec<_>>(), [50, 50]);
    let repeats = kept[0].repeats.clone().unwrap();
    assert!(repeats.first < kept[0].at && kept[0].at < repeats.last, "{kept:?}");
    assert!(kept[0].text.contains("by hpa at 2026-01-01T00:49:00Z"), "the last time counts: {}", kept[0].text);
    assert!(kept[0].text.contains("(50 times since 20"), "{}", kept[0].text);
}

/// However many objects someone changes, only so many rows an hour come of it, and the rest is counted.
#[tokio::test]
async fn more_than_can_be_read_is_counted() {
    let bed = bed().await;
    for object in 0..150 {
        repair(&bed, "a", &format!("web-{object}"), Vec::new()).await;
    }
    repair(&bed, "b", "web", Vec::new()).await;
    let events = bed.reader().events(&query()).unwrap().events;
    let drifts = |cluster: &str| {
        events.iter().filter(|event| matches!(event.what, What::Drift { .. }) && event.clusters == [cluster.to_owned()]).count()
    };
    assert_eq!((drifts("a"), drifts("b")), (100, 1), "each cluster has its own bound");
    let more: Vec<&Event> = events.iter().filter(|event| event.what == What::More).collect();
    assert_eq!(more.len(), 1);
    assert_eq!(more[0].repeats.as_ref().unwrap().times, 50);
}

#[tokio::test]
async fn what_became_of_drift() {
    let bed = bed().await;
    bed.synced("a", 1, 1).await;
    let sync = begin(&bed, "a").await;
    bed.ledger.drift(sync, &object("gone"), Found::default());
    treated(&bed, sync, "gone", Action::Created);
    treated(&bed, sync, "run-of-a-hook", Action::Created);
    let lost = Found { lost: "managedFields were cleared".to_owned(), fields: Vec::new() };
    bed.ledger.drift(sync, &object("wiped"), lost);
    treated(&bed, sync, "wiped", Action::Failed);
    treated(&bed, sync, "new", Action::Changed);
    bed.ledger.end_sync(sync, None).await.unwrap();
    let drift = |lines: Vec<String>| lines.into_iter().filter(|line| line.contains(" Drift: ")).collect::<Vec<_>>();
    assert_eq!(
        drift(told(&bed, &of("a"))),
        [
            "a Drift: Deployment.apps/shop/gone: was deleted in the cluster; made anew",
            "a Drift: Deployment.apps/shop/wiped: managedFields were cleared; could not be put back",
        ]
    );
    let sync = begin(&bed, "b").await;
    bed.ledger.drift(sync, &object("first"), Found::default());
    treated(&bed, sync, "first", Action::Created);
    bed.ledger.end_sync(sync, None).await.unwrap();
    assert_eq!(drift(told(&bed, &of("b"))), [""; 0], "what a cluster did not run yet was not deleted there");
}

#[tokio::test]
async fn drift_that_is_left_is_told_once_it_stands() {
    let bed = bed().await;
    for (phase, drifted) in
        [(Phase::Synced, 2), (Phase::Syncing, 0), (Phase::Synced, 2), (Phase::Failed, 5), (Phase::Synced, 0), (Phase::Synced, 0)]
    {
        bed.state("a", State { drifted, ..state(phase) }).await;
    }
    let left = told(&bed, &of("a")).into_iter().filter(|line| line.contains(" Left: ")).collect::<Vec<_>>();
    assert_eq!(
        left,
        ["a Left: 2 objects depart from the rendering and are left so", "a Left: no object departs from the rendering any more"]
    );
}

#[tokio::test]
async fn a_sync_that_was_cut_says_so() {
    let mut bed = bed().await;
    begin(&bed, "a").await;
    bed.restart().await;
    assert!(told(&bed, &of("a")).last().unwrap().ends_with("sync 1 to abababa began (Commit); it was cut, and never ended"));
}

#[tokio::test]
async fn notes_go_with_time() {
    let bed = bed().await;
    repair(&bed, "a", "web", Vec::new()).await;
    bed.ledger.record_rollout(shown(WaveWord::Rolling, 1, "").changes(&Board::default())).await.unwrap();
    let keep = Retention { time: Duration::from_hours(1), newest: 1 };
    assert_eq!(bed.ledger.clean_up(keep).await.unwrap().notes, 0, "they are young");
    bed.seconds.fetch_add(3700, Ordering::Relaxed);
    assert_eq!(bed.ledger.clean_up(keep).await.unwrap().notes, 2);
    assert!(!told(&bed, &query()).iter().any(|line| line.contains("Drift") || line.contains("wave")));
}

/// In a ledger of the version before, syncs get the places in which they ended.
#[tokio::test]
async fn an_older_ledger_has_its_syncs_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let db = rusqlite::Connection::open(crate::ledger::path(dir.path())).unwrap();
    for step in ["schema", "held", "retry", "would", "hands", "rollout"] {
        let file = format!("{}/src/ledger/{step}.sql", env!("CARGO_MANIFEST_DIR"));
        db.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
    }
    db.execute_batch(
        "PRAGMA application_id = 0x45564b4c; PRAGMA user_version = 6;
         INSERT INTO clusters (id, name, environment, region, labels, in_repo) VALUES (1, 'a', 'e', 'r', '{}', 1), (2, 'b', 'e', 'r', '{}', 1);
         INSERT INTO syncs (id, cluster, target, rendering, cause, started, ended, result) VALUES
             (1, 1, zeroblob(20), zeroblob(32), 'Commit', 1000, 9000, 'Succeeded'),
             (2, 2, zeroblob(20), zeroblob(32), 'Commit', 2000, 3000, 'Succeeded'),
             (3, 2, zeroblob(20), zeroblob(32), 'Commit', 4000, NULL, 'Interrupted');",
    )
    .unwrap();
    drop(db);
    Ledger::open(dir.path()).unwrap().ledger.close().await.unwrap();
    let events = Ledger::reader(dir.path()).unwrap().events(&query()).unwrap().events;
    let syncs: Vec<String> = events.iter().map(|event| event.text.split(" to ").next().unwrap().to_owned() + " " + &kind(event)).collect();
    assert_eq!(syncs, ["sync 1 SyncBegan", "sync 2 SyncBegan", "sync 2 SyncEnded", "sync 3 SyncBegan", "sync 1 SyncEnded"]);
}

/// What `log --failed` shows: what was refused, what failed and was mended by a retry, and what halted a wave.
#[tokio::test]
async fn commits_are_found_by_what_is_true_of_them() {
    let bed = bed().await;
    bed.fetch(&[2]).await;
    bed.render(2, &[("a", Some(2)), ("b", None), ("c", None)]).await;
    bed.fetch(&[3, 4]).await;
    bed.render(4, &[("a", Some(2)), ("b", None), ("c", Some(4))]).await;
    let start = |cluster: &str, commit: u8| SyncStart { commit: id(commit), ..start(cluster, commit, commit) };
    for error in [Some(problem("no")), None] {
        let sync = bed.ledger.begin_sync(start("c", 4)).await.unwrap();
        bed.ledger.end_sync(sync, error).await.unwrap();
    }
    let since = bed.now();
    bed.fetch(&[5]).await;
    bed.render(5, &[("a", Some(5)), ("b", Some(5)), ("c", Some(4))]).await;
    turns(&bed, [halted(5, "b", "no")]).await;

    let log = |query: &LogQuery| log(&bed, query);
    let all = LogQuery { limit: 10, ..LogQuery::default() };
    assert_eq!(log(&all), ["5: b", "4: b c", "3: ", "2: b c", "1: "]);
    assert_eq!(log(&LogQuery { failed: true, ..all.clone() }), ["5: b", "4: b c", "2: b c"]);
    assert_eq!(log(&LogQuery { failed: true, limit: 1, ..all.clone() }), ["5: b"]);
    assert_eq!(log(&LogQuery { since: Some(since), ..all.clone() }), ["5: b"]);
    assert_eq!(log(&LogQuery { author: Some("ADA@EX".to_owned()), limit: 2, ..all.clone() }), ["5: b", "4: b c"]);
    assert_eq!(log(&LogQuery { author: Some("Bob".to_owned()), ..all }), [""; 0]);
}

/// A commit that changes nothing on a cluster has not failed there, whatever state it finds there: what failed is the older commit's doing.
#[tokio::test]
async fn a_commit_that_changes_nothing_fails_nowhere() {
    let bed = bed().await;
    bed.fetch(&[2]).await;
    bed.render(2, &[("a", Some(2)), ("b", Some(1)), ("c", Some(2))]).await;
    bed.fetch(&[3]).await;
    bed.render(3, &[("a", Some(2)), ("b", Some(1)), ("c", Some(2))]).await;
    // Of commit 2 nothing was begun on c before 3 came.
    let sync = bed.ledger.begin_sync(SyncStart { commit: id(3), ..start("c", 3, 2) }).await.unwrap();
    bed.ledger.end_sync(sync, Some(problem("no"))).await.unwrap();
    turns(&bed, [halted(2, "a", "no"), halted(3, "a", "no")]).await;
    bed.fetch(&[4]).await;
    bed.render(4, &[("a", Some(4)), ("b", Some(1)), ("c", Some(2))]).await;
    turns(&bed, [halted(4, "a", "no")]).await;

    let all = LogQuery { limit: 10, ..LogQuery::default() };
    assert_eq!(log(&bed, &all), ["4: a", "3: ", "2: a c", "1: "]);
    let failed = LogQuery { failed: true, ..all.clone() };
    assert_eq!(log(&bed, &failed), ["4: a", "2: a c"]);
    assert_eq!(log(&bed, &LogQuery { since: Some(bed.now()), ..failed }), [""; 0]);
    assert_eq!(waves(&bed, WaveWord::Halted), [2, 3, 4], "that the wave stands with it is told all the same");
}

/// However often waves go on with commits that are fine, or wait for people, what halted one stays on record.
#[tokio::test]
async fn what_halts_a_wave_is_told_in_the_busiest_hour() {
    let bed = bed().await;
    let all = LogQuery { failed: true, limit: 200, ..LogQuery::default() };
    let commits = 2..=120;
    for commit in commits.clone() {
        bed.fetch(&[commit]).await;
        bed.render(commit, &[("a", Some(commit)), ("b", Some(1)), ("c", Some(commit))]).await;
    }
    let turn = |commit| [WaveWord::Rolling, WaveWord::Soaking, WaveWord::Approval].map(|word| shown(word, commit, ""));
    turns(&bed, commits.clone().flat_map(turn)).await;
    turns(&bed, [halted(119, "a", "no"), shown(WaveWord::Rolling, 120, ""), halted(120, "c", "no")]).await;
    assert_eq!(waves(&bed, WaveWord::Halted), [119, 120]);
    assert_eq!(log(&bed, &all), ["120: c", "119: a"]);
    let routine = waves(&bed, WaveWord::Rolling).len() + waves(&bed, WaveWord::Soaking).len();
    assert_eq!((routine, waves(&bed, WaveWord::Approval).len()), (100, 100), "what is told at each commit has its bounds");
    let more = bed.reader().events(&query()).unwrap().events.into_iter().filter(|event| event.what == What::More);
    assert_eq!(more.map(|event| event.repeats.unwrap().times).collect::<Vec<_>>(), [2 * 119 + 1 - 100 + 119 - 100]);

    // Others stand halted with commits that change nothing where it failed: no room is taken from a halt that is news.
    turns(&bed, commits.clone().rev().map(|commit| halted(commit, "b", "no"))).await;
    assert_eq!(waves(&bed, WaveWord::Halted), [119, 120, 120]);
    assert_eq!(log(&bed, &all), ["120: c", "119: a", "1: b"]);
    turns(&bed, commits.map(|commit| halted(commit, "a", "no"))).await;
    assert_eq!(waves(&bed, WaveWord::Halted).len(), 100, "and even those have a bound");
}

/// A wave that comes and goes with the same failure is one row, also where a server counts in its words; who else fails is another.
#[tokio::test]
async fn a_wave_that_halts_again_and_again_is_counted() {
    let bed = bed().await;
    let again = |times: u32| [halted(1, "a", &format!("crashed {times} times")), shown(WaveWord::Rolling, 1, "")];
    turns(&bed, (1..=50).flat_map(again)).await;
    assert_eq!(waves(&bed, WaveWord::Halted), [1]);
    turns(&bed, [halted(1, "a", "no"), halted(1, "b", "no"), halted(1, "b", "still")]).await;
    assert_eq!(waves(&bed, WaveWord::Halted), [1, 1]);
    assert_eq!(log(&bed, &LogQuery::from(1)), ["1: a b"]);
}

/// How far a sync is follows from what it has put on record.
#[tokio::test]
async fn how_far_a_sync_is() {
    let bed = bed().await;
    let progress = || {
        let syncs = bed.reader().under_way().unwrap().syncs;
        syncs.iter().map(|sync| format!("{} {}/{} {}", sync.cluster, sync.done, sync.total, sync.bundle)).collect::<Vec<_>>()
    };
    assert_eq!(progress(), [""; 0]);
    let (sync, other) = (begin(&bed, "b").await, begin(&bed, "a").await);
    assert_eq!(progress(), ["a 0/0 ", "b 0/0 "]);
    bed.ledger.begin_bundle(sync, "network", 2, 1).await.unwrap();
    treated(&bed, sync, "one", Action::Created);
    treated(&bed, sync, "kept", Action::Kept);
    treated(&bed, sync, "gone", Action::Pruned);
    treated(&bed, sync, "two", Action::Changed);
    bed.ledger.end_bundle(sync, "network", BundleOutcome::Applied);
    bed.ledger.begin_bundle(sync, "shop", 40, 0).await.unwrap();
    assert_eq!(progress(), ["a 0/0 ", "b 3/43 shop"]);
    bed.ledger.end_sync(sync, None).await.unwrap();
    bed.ledger.end_sync(other, None).await.unwrap();
    assert_eq!(progress(), [""; 0]);
}
