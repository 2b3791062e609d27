#![allow(clippy::unwrap_used, reason = "tests")]

use kube_overlay::LabelSelector;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn case(cluster: &str, environment: &str, trouble: Trouble, code: &str) -> Case {
    let error = ErrorAnswer { code: code.to_owned(), message: "why".to_owned(), hint: "what".to_owned() };
    Case { cluster: cluster.to_owned(), environment: environment.to_owned(), trouble, commit: None, error, since: at(0) }
}

fn refused(clusters: &[&str]) -> Seen {
    seen(clusters.iter().map(|cluster| case(cluster, "prod", Trouble::Refused, "EK4010")).collect())
}

fn seen(cases: Vec<Case>) -> Seen {
    let labels = |case: &Case| (case.cluster.clone(), [("environment".to_owned(), case.environment.clone())].into());
    Seen { labels: cases.iter().map(labels).collect(), cases, ..Seen::default() }
}

fn rule(receiver: &str, selector: Option<&str>, severity: Severity, troubles: &[Trouble]) -> Notification {
    let selector = selector.map(|text| LabelSelector::parse(text).unwrap());
    Notification { receiver: receiver.to_owned(), selector, severity, troubles: troubles.to_vec() }
}

/// A receiver that hears everything, at once.
struct Heard {
    board: Board,
    again: Option<SignedDuration>,
}

impl Heard {
    fn new() -> Self {
        Self { board: Board::default(), again: None }
    }

    /// What it is told at that second, in short: `+` for what is wrong, `-` for what is resolved.
    fn at(&mut self, second: i64, seen: &Seen) -> Vec<String> {
        self.board.observe("team", &[rule("team", None, Severity::Info, &[])], seen, at(second));
        let due = self.board.due(self.again, at(second));
        for message in &due {
            self.board.told(message, at(second));
        }
        let short = |message: &Message| {
            let clusters: Vec<_> = message.clusters.keys().map(String::as_str).collect();
            format!(
                "{}{} {}: {}",
                if message.resolved { '-' } else { '+' },
                message.key.trouble.word(),
                message.key.environment,
                clusters.join(",")
            )
        };
        due.iter().map(short).collect()
    }
}

#[test]
fn a_cause_is_one_message_and_is_resolved() {
    let mut heard = Heard::new();
    assert_eq!(heard.at(0, &refused(&["b"])), [""; 0]);
    assert_eq!(heard.at(10, &refused(&["a", "b"])), [""; 0]);
    assert_eq!(heard.board.next(None, |_| false), Some(at(15)));
    assert_eq!(heard.at(15, &refused(&["a", "b"])), ["+refused prod: a,b"]);
    assert_eq!(heard.at(600, &refused(&["a", "b"])), [""; 0]);
    assert_eq!(heard.at(700, &refused(&["a"])), [""; 0], "one of two does well again");
    assert_eq!(heard.at(800, &refused(&[])), [""; 0]);
    assert_eq!(heard.at(815, &refused(&[])), ["-refused prod: a,b"]);
    assert_eq!((heard.at(900, &refused(&[])), heard.board.next(None, |_| false)), (vec![], None));
}

#[test]
fn what_passes_is_told_to_nobody_and_a_retry_is_no_recovery() {
    let mut heard = Heard::new();
    heard.at(0, &refused(&["a"]));
    assert_eq!(heard.at(14, &refused(&[])), [""; 0]);
    assert_eq!((heard.at(30, &refused(&[])), heard.board.next(None, |_| false)), (vec![], None));
    heard.at(100, &refused(&["a"]));
    assert_eq!(heard.at(115, &refused(&["a"])), ["+refused prod: a"]);
    let trying = Seen { undecided: ["a".to_owned()].into(), ..refused(&[]) };
    assert_eq!(heard.at(200, &trying), [""; 0]);
    assert_eq!(heard.at(300, &trying), [""; 0]);
    assert_eq!(heard.at(400, &refused(&[])), [""; 0]);
    assert_eq!(heard.at(410, &refused(&["a"])), [""; 0], "it came back before it was told to be over");
    assert_eq!(heard.at(450, &refused(&["a"])), [""; 0], "so it never was");
    heard.at(500, &refused(&[]));
    assert_eq!(heard.at(515, &refused(&[])), ["-refused prod: a"]);
}

#[test]
fn more_clusters_are_told_of_now_and_then() {
    let mut heard = Heard::new();
    heard.at(0, &refused(&["a"]));
    assert_eq!(heard.at(15, &refused(&["a"])), ["+refused prod: a"]);
    for second in [20, 100, 200, 314] {
        assert_eq!(heard.at(second, &refused(&["a", "b", "c"])), [""; 0], "{second}");
    }
    assert_eq!(heard.at(315, &refused(&["a", "b", "c"])), ["+refused prod: a,b,c"]);
    assert_eq!(heard.at(1000, &refused(&["a", "b", "c"])), [""; 0]);
}

#[test]
fn causes_and_environments_are_told_apart_the_worst_first() {
    let mut heard = Heard::new();
    let all = seen(vec![
        case("a", "dev", Trouble::Refused, "EK4010"),
        case("b", "prod", Trouble::Refused, "EK4010"),
        case("c", "prod", Trouble::Refused, "EK4011"),
        case("d", "prod", Trouble::Unreachable, "EK3001"),
    ]);
    heard.at(0, &all);
    assert_eq!(heard.at(15, &all), ["+unreachable prod: d", "+refused dev: a", "+refused prod: b", "+refused prod: c"]);
}

#[test]
fn some_receivers_are_told_again_as_long_as_it_stands() {
    let mut heard = Heard { again: Some(SignedDuration::from_secs(60)), ..Heard::new() };
    heard.at(0, &refused(&["a"]));
    assert_eq!(heard.at(15, &refused(&["a"])), ["+refused prod: a"]);
    assert_eq!(heard.at(74, &refused(&["a"])), [""; 0]);
    assert_eq!(heard.at(75, &refused(&["a"])), ["+refused prod: a"]);
    assert_eq!(heard.at(135, &refused(&["a"])), ["+refused prod: a"]);
    heard.at(140, &refused(&[]));
    assert_eq!(heard.at(155, &refused(&[])), ["-refused prod: a"]);
    assert_eq!(heard.at(300, &refused(&[])), [""; 0]);
}

#[test]
fn rules_say_what_a_receiver_hears() {
    let all = seen(vec![
        case("a", "dev", Trouble::Held, ""),
        case("b", "prod", Trouble::Refused, "EK4010"),
        case("c", "prod", Trouble::Unreachable, "EK3001"),
    ]);
    for (rules, expect) in [
        (vec![], &[][..]),
        (vec![rule("other", None, Severity::Info, &[])], &[]),
        (vec![rule("team", None, Severity::Info, &[])], &["unreachable", "refused", "held"]),
        (vec![rule("team", None, Severity::Warning, &[])], &["unreachable", "refused"]),
        (vec![rule("team", None, Severity::Critical, &[])], &["unreachable"]),
        (vec![rule("team", Some("environment=dev"), Severity::Info, &[])], &["held"]),
        (vec![rule("team", None, Severity::Info, &[Trouble::Refused])], &["refused"]),
        (
            vec![rule("team", None, Severity::Critical, &[]), rule("team", Some("environment in (dev)"), Severity::Info, &[])],
            &["unreachable", "held"],
        ),
    ] {
        let mut board = Board::default();
        board.observe("team", &rules, &all, at(0));
        let due: Vec<_> = board.due(None, at(15)).iter().map(|message| message.key.trouble.word()).collect();
        assert_eq!(due, expect, "{rules:?}");
    }
}

#[test]
fn what_was_told_before_a_restart_is_not_told_again_and_is_resolved() {
    let mut heard = Heard::new();
    heard.at(0, &refused(&["a"]));
    heard.at(15, &refused(&["a"]));
    let kept: Vec<(Key, Notice)> = heard.board.0.iter().map(|(key, notice)| (key.clone(), notice.clone())).collect();
    let text = serde_json::to_string(&kept).unwrap();
    let mut after = Heard { board: Board::remember(serde_json::from_str::<Vec<(Key, Notice)>>(&text).unwrap()), again: None };
    assert_eq!(after.at(100, &refused(&["a"])), [""; 0]);
    after.at(200, &refused(&[]));
    assert_eq!(after.at(215, &refused(&[])), ["-refused prod: a"]);
}

#[test]
fn a_fleet_in_flames_is_bounded() {
    let mut board = Board::default();
    let rules = [rule("team", None, Severity::Info, &[])];
    let many = seen((0..NOTICES_MAX + 50).map(|number| case("a", &format!("env-{number}"), Trouble::Refused, "EK4010")).collect());
    board.observe("team", &rules, &many, at(0));
    assert_eq!(board.due(None, at(15)).len(), NOTICES_MAX);
    let mut board = Board::default();
    let names: Vec<String> = (0..CLUSTERS_MAX + 50).map(|number| number.to_string()).collect();
    board.observe("team", &rules, &refused(&names.iter().map(String::as_str).collect::<Vec<_>>()), at(0));
    assert_eq!(board.due(None, at(15))[0].clusters.len(), CLUSTERS_MAX);
}

#[test]
fn a_cluster_that_did_well_and_has_it_again_is_told_of_again() {
    let mut heard = Heard::new();
    let both = refused(&["a", "b"]);
    heard.at(0, &both);
    assert_eq!(heard.at(15, &both), ["+refused prod: a,b"]);
    heard.at(400, &refused(&["a"]));
    heard.at(414, &both);
    assert_eq!(heard.at(500, &both), [""; 0], "b was back before it had done well");
    heard.at(600, &refused(&["a"]));
    heard.at(615, &both);
    assert_eq!(heard.at(630, &both), ["+refused prod: a,b"]);
    // What is known of that outlasts a restart.
    heard.at(1000, &refused(&["a"]));
    let kept: Vec<(Key, Notice)> = heard.board.0.into_iter().collect();
    let mut heard = Heard { board: Board::remember(kept), again: None };
    heard.at(1100, &both);
    assert_eq!(heard.at(1115, &both), ["+refused prod: a,b"]);
    heard.at(1200, &refused(&["a"]));
    heard.at(1300, &refused(&[]));
    assert_eq!(heard.at(1315, &refused(&[])), ["-refused prod: a,b"], "all that were told of are named");
}

#[test]
fn what_is_kept_is_named_when_it_changes() {
    let (rules, both) = ([rule("team", None, Severity::Info, &[])], refused(&["a", "b"]));
    let mut board = Board::default();
    assert_eq!(board.observe("team", &rules, &both, at(0)), [], "nothing is kept of what was not told");
    let message = board.due(None, at(15)).remove(0);
    board.told(&message, at(15));
    assert_eq!(board.observe("team", &rules, &both, at(16)), []);
    assert_eq!(board.observe("team", &rules, &refused(&["a"]), at(17)), std::slice::from_ref(&message.key));
    assert_eq!(board.observe("team", &rules, &refused(&["a"]), at(18)), []);
    assert_eq!(board.observe("team", &[], &refused(&["a", "b"]), at(19)), std::slice::from_ref(&message.key), "the rules have changed");
    assert_eq!(board.get(&message.key), None);
}

#[test]
fn the_words_are_those_of_a_cluster_that_still_has_it() {
    let of = |cluster: &str, commit: u8, why: &str| {
        let mut case = case(cluster, "prod", Trouble::Refused, "EK4010");
        (case.commit, case.error.message) = (Some(CommitId([commit; 20])), why.to_owned());
        case
    };
    let rules = [rule("team", None, Severity::Info, &[])];
    let mut board = Board::default();
    let mut words = |second: i64, cases: Vec<Case>| {
        board.observe("team", &rules, &seen(cases), at(second));
        // As if it were to be told each time.
        board.due(None, at(second + 15)).pop().map(|message| (message.commit, message.error.message))
    };
    let said = |commit: u8, why: &str| Some((Some(CommitId([commit; 20])), why.to_owned()));
    assert_eq!(words(0, vec![of("b", 1, "one"), of("c", 2, "two")]), said(1, "one"));
    assert_eq!(words(1, vec![of("a", 2, "two"), of("b", 1, "one")]), said(1, "one"), "they stay as long as they are true");
    assert_eq!(words(2, vec![of("a", 2, "two"), of("b", 2, "two")]), said(2, "two"));
    assert_eq!(words(3, vec![of("b", 2, "three")]), said(2, "three"));
}

#[test]
fn a_cluster_that_has_it_for_a_moment_leaves_no_haste_behind() {
    let mut heard = Heard::new();
    heard.at(0, &refused(&["a"]));
    assert_eq!(heard.at(15, &refused(&["a"])), ["+refused prod: a"]);
    heard.at(400, &refused(&["a", "b"]));
    heard.at(410, &refused(&["a"]));
    assert_eq!(heard.at(420, &refused(&["a"])), [""; 0], "there is no news");
    assert_eq!(heard.board.next(None, |_| false), None);
    assert_eq!(heard.at(500, &refused(&["a", "c"])), [""; 0], "c has it only now");
    assert_eq!(heard.at(515, &refused(&["a", "c"])), ["+refused prod: a,c"]);
}

#[test]
fn what_the_rules_do_not_want_any_more_is_not_told_to_be_over() {
    let short = |message: &Message| message.clusters.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    for (rules, expect) in [
        (vec![rule("team", None, Severity::Warning, &[])], &["a,b"][..]),
        (vec![rule("team", None, Severity::Critical, &[])], &[]),
        (vec![rule("team", None, Severity::Warning, &[Trouble::Failed])], &[]),
        (vec![rule("team", Some("cluster=b"), Severity::Warning, &[])], &["b"]),
        (vec![], &[]),
    ] {
        let mut board = Board::default();
        let mut both = refused(&["a", "b"]);
        both.labels = ["a", "b"].map(|name| (name.to_owned(), [("cluster".to_owned(), name.to_owned())].into())).into();
        board.observe("team", &[rule("team", None, Severity::Info, &[])], &both, at(0));
        let message = board.due(None, at(15)).remove(0);
        board.told(&message, at(15));
        board.observe("team", &rules, &both, at(400));
        assert_eq!((board.due(None, at(400)), board.due(None, at(500))), (vec![], vec![]), "{rules:?}");
        // What is still wanted is told when it is over, and nothing else.
        let none = Seen { cases: Vec::new(), ..both };
        board.observe("team", &rules, &none, at(600));
        let over: Vec<_> = board.due(None, at(615)).into_iter().map(|it| (it.resolved, short(&it))).collect();
        let expect: Vec<_> = expect.iter().map(|clusters| (true, (*clusters).to_owned())).collect();
        assert_eq!(over, expect, "{rules:?}");
    }
}

#[test]
fn what_waits_to_be_told_is_not_looked_for() {
    let mut board = Board::default();
    let rules = [rule("team", None, Severity::Info, &[])];
    let (first, second) = (case("a", "dev", Trouble::Refused, "EK4010"), case("b", "prod", Trouble::Refused, "EK4010"));
    board.observe("team", &rules, &seen(vec![first.clone()]), at(0));
    board.observe("team", &rules, &seen(vec![first, second]), at(10));
    assert_eq!(board.next(None, |_| false), Some(at(15)));
    assert_eq!(board.next(None, |key| key.environment == "dev"), Some(at(25)));
    assert_eq!(board.next(None, |_| true), None);
}
