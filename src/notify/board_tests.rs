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
    assert_eq!(heard.board.next(None), Some(at(15)));
    assert_eq!(heard.at(15, &refused(&["a", "b"])), ["+refused prod: a,b"]);
    assert_eq!(heard.at(600, &refused(&["a", "b"])), [""; 0]);
    assert_eq!(heard.at(700, &refused(&["a"])), [""; 0], "one of two does well again");
    assert_eq!(heard.at(800, &refused(&[])), [""; 0]);
    assert_eq!(heard.at(815, &refused(&[])), ["-refused prod: a,b"]);
    assert_eq!((heard.at(900, &refused(&[])), heard.board.next(None)), (vec![], None));
}

#[test]
fn what_passes_is_told_to_nobody_and_a_retry_is_no_recovery() {
    let mut heard = Heard::new();
    heard.at(0, &refused(&["a"]));
    assert_eq!(heard.at(14, &refused(&[])), [""; 0]);
    assert_eq!((heard.at(30, &refused(&[])), heard.board.next(None)), (vec![], None));
    heard.at(100, &refused(&["a"]));
    assert_eq!(heard.at(115, &refused(&["a"])), ["+refused prod: a"]);
    let trying = Seen { undecided: ["a".to_owned()].into(), ..refused(&[]) };
    assert_eq!(heard.at(200, &trying), [""; 0]);
    assert_eq!(heard.at(300, &trying), [""; 0]);
    assert_eq!(heard.at(400, &refused(&[])), [""; 0]);
    assert_eq!(heard.at(410, &refused(&["a"])), [""; 0], "it came back before it was told to be over");
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
