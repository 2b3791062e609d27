//! What people did and hold, and what the repository last said of clusters.

use std::collections::BTreeSet;

use super::{Bed, at, digest_of, id, row, state};
use crate::{
    cluster::ConnectionSpec,
    layout::OnRemoval,
    ledger::{ActionRow, ClusterRow, LastWord, answers::EventQuery},
    sync::{
        Phase, State,
        approval::fleet_plan,
        hold::{Hold, Release, Scope, tests::hold},
    },
};

fn labelled((name, environment): &(&str, &str)) -> ClusterRow {
    let labels = [("cluster", *name), ("environment", *environment)].map(|(label, value)| (label.to_owned(), value.to_owned()));
    ClusterRow { labels: labels.into(), ..row(name) }
}

impl Bed {
    /// Clusters of these environments.
    async fn clusters(&self, clusters: &[(&str, &str)]) {
        self.fetch(&[1]).await;
        self.ledger.record_fleet(clusters.iter().map(labelled).collect()).await.unwrap();
        let given: Vec<(&str, Option<u8>)> = clusters.iter().map(|(name, _)| (*name, Some(1))).collect();
        self.render(1, &given).await;
    }

    async fn standing(&self, second: i64) -> Vec<String> {
        self.ledger.holds(at(second)).await.unwrap().into_iter().map(|hold| hold.id).collect()
    }

    async fn let_go(&self, selector: &str) -> Option<Vec<String>> {
        self.ledger.release(Release { selector: selector.parse().unwrap(), bundle: None, environments: None }, "bob (uid 8)").await.unwrap()
    }

    /// What people did to a cluster, oldest first: who, what, for what, why.
    fn actions(&self, cluster: &str) -> Vec<[String; 4]> {
        let history = self.reader().history(cluster, 100).unwrap();
        history.actions.into_iter().rev().map(|action| [action.who, action.what, action.target, action.reason]).collect()
    }
}

const CLUSTERS: &[(&str, &str)] = &[("a", "dev"), ("b", "prod"), ("c", "prod")];

fn until(second: i64) -> Hold {
    Hold { until: Some(at(second)), ..hold("1", "environment=prod") }
}

#[tokio::test]
async fn a_hold_and_its_end_are_on_record() {
    let mut bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    assert_eq!(bed.ledger.hold(hold("1", "environment=prod")).await.unwrap(), ["b", "c"]);
    bed.ledger.record_fleet([CLUSTERS, &[("others", "others")]].concat().iter().map(labelled).collect()).await.unwrap();
    assert_eq!(bed.ledger.hold(hold("2", "cluster=others")).await.unwrap(), [""; 0], "a slip, or another agent's cluster, holds nothing");
    bed.restart().await;
    assert_eq!(bed.standing(0).await, ["1"]);
    assert_eq!(bed.let_go("environment=dev").await, None);
    assert_eq!(bed.let_go("cluster=b").await, Some(vec!["b".to_owned()]));
    bed.restart().await;
    assert_eq!(bed.ledger.holds(at(0)).await.unwrap()[0].except, ["cluster=b".to_owned()].into());
    assert_eq!(bed.let_go("environment=prod").await, Some(vec!["c".to_owned()]));
    assert_eq!(bed.standing(0).await, [""; 0]);
    let held = ["ada (uid 7)", "hold", "environment=prod", "the disk is full"].map(str::to_owned);
    let let_go = |selector: &str| ["bob (uid 8)", "release", selector, ""].map(str::to_owned);
    assert_eq!(bed.actions("b"), [held.clone(), let_go("cluster=b")]);
    assert_eq!(bed.actions("c"), [held, let_go("environment=prod")]);
    assert_eq!(bed.actions("a"), [[""; 4]; 0]);
}

#[tokio::test]
async fn what_a_hold_stops_is_on_record() {
    let bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    let of = |scope, bundle: Option<&str>| Hold { scope, bundle: bundle.map(str::to_owned), ..hold("", "cluster=a") };
    let holds = [of(Scope::Writes, None), of(Scope::Drift, None), of(Scope::Writes, Some("web")), of(Scope::Drift, Some("web"))];
    for (id, hold) in holds.into_iter().enumerate() {
        bed.ledger.hold(Hold { id: id.to_string(), ..hold }).await.unwrap();
    }
    let targets: Vec<String> = bed.actions("a").into_iter().map(|[_, _, target, _]| target).collect();
    assert_eq!(targets, ["cluster=a", "cluster=a --drift", "cluster=a --bundle web", "cluster=a --bundle web --drift"]);
}

#[tokio::test]
async fn a_hold_ends_when_its_time_is_over() {
    let bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    bed.ledger.hold(until(10)).await.unwrap();
    assert_eq!((bed.standing(9).await, bed.standing(10).await), (vec!["1".to_owned()], vec![]));
    assert!(!bed.ledger.expire_holds(at(9)).await.unwrap());
    assert!(bed.ledger.expire_holds(at(10)).await.unwrap());
    assert!(!bed.ledger.expire_holds(at(11)).await.unwrap(), "once");
    let words: Vec<String> = bed.actions("c").into_iter().map(|[_, what, ..]| what).collect();
    assert_eq!(words, ["hold", "expire"]);
}

#[tokio::test]
async fn what_stands_on_a_cluster_is_taken_up_by_a_ledger_that_does_not_know_it() {
    let bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    let found = async |cluster: &str, hold: Hold| -> Vec<String> {
        bed.ledger.find_holds(cluster, vec![hold], at(5)).await.unwrap().into_iter().map(|hold| hold.id).collect()
    };
    assert_eq!(found("b", until(5)).await, [""; 0], "over");
    assert_eq!(found("b", hold("2", "environment=prod")).await, ["2"]);
    let later = Hold { except: ["cluster=b".to_owned()].into(), ..hold("2", "environment=prod") };
    assert_eq!(found("c", later).await, ["2"]);
    assert_eq!(found("b", hold("2", "environment=prod")).await, [""; 0], "b was let go, and nobody has told its parent yet");
    let known = bed.ledger.holds(at(5)).await.unwrap();
    assert_eq!(known[0].except, BTreeSet::from(["cluster=b".to_owned()]), "whichever parent is read last");
    bed.let_go("environment=prod").await.unwrap();
    assert_eq!(found("c", hold("2", "environment=prod")).await, [""; 0], "it ended, and the cluster was not told yet");
    let words: Vec<String> = bed.actions("b").into_iter().map(|[_, what, ..]| what).collect();
    assert_eq!(words, ["find"]);
}

#[tokio::test]
async fn a_hold_that_was_found_ends_where_its_own_agent_ends_it() {
    let bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    bed.ledger.find_holds("b", vec![hold("1", "environment=prod")], at(0)).await.unwrap();
    bed.ledger.hold(hold("2", "environment=prod")).await.unwrap();
    let both = || vec!["1".to_owned(), "2".to_owned()];
    assert!(bed.ledger.lose_holds("b", both()).await.unwrap());
    assert!(!bed.ledger.lose_holds("b", both()).await.unwrap(), "once");
    let held = bed.ledger.holds(at(0)).await.unwrap();
    let excepted: Vec<_> = held.iter().map(|hold| (hold.id.as_str(), hold.except.len())).collect();
    assert_eq!(excepted, [("1", 1), ("2", 0)], "what was asked for here stands");
    assert!(bed.ledger.lose_holds("c", both()).await.unwrap());
    assert_eq!(bed.standing(0).await, ["2"]);
    let words: Vec<String> = bed.actions("c").into_iter().map(|[who, what, ..]| format!("{who} {what}")).collect();
    assert_eq!(words, ["ada (uid 7) hold", "evenkeel release"]);
}

#[tokio::test]
async fn other_labels_end_no_hold() {
    let mut bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    bed.ledger.hold(hold("1", "environment=prod")).await.unwrap();
    let moved = [("a", "dev"), ("b", "dev"), ("c", "prod"), ("others", "prod")];
    let rows = || moved.iter().map(labelled).collect::<Vec<_>>();
    let kept = bed.ledger.record_fleet(rows()).await.unwrap();
    let kept: Vec<_> = kept.into_iter().map(|(hold, clusters)| (hold.id, clusters)).collect();
    assert_eq!(kept, [("1".to_owned(), vec!["b".to_owned()])]);
    bed.restart().await;
    assert_eq!(bed.ledger.record_fleet(rows()).await.unwrap(), [], "once");
    assert_eq!(bed.ledger.holds(at(0)).await.unwrap()[0].named, ["b".to_owned()].into());
    let keep = ["evenkeel", "keep", "environment=prod", "other labels end no hold: the disk is full"].map(str::to_owned);
    assert_eq!(bed.actions("b")[1..], [keep]);
    assert_eq!(bed.actions("c").len(), 1);

    // Nor does a while without it in the repository.
    bed.ledger.record_fleet(vec![labelled(&("a", "dev")), labelled(&("b", "dev"))]).await.unwrap();
    bed.ledger.record_fleet([&moved[..2], &[("c", "dev")]].concat().iter().map(labelled).collect()).await.unwrap();
    bed.render(1, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))]).await;
    assert_eq!(bed.ledger.holds(at(0)).await.unwrap()[0].named, ["b", "c"].map(str::to_owned).into());
    assert_eq!(bed.let_go("environment=prod").await, Some(vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(bed.standing(0).await, [""; 0]);
}

#[tokio::test]
async fn a_hold_that_is_found_holds_the_cluster_on_which_it_stands() {
    let bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    let found = async |cluster: &str| bed.ledger.find_holds(cluster, vec![hold("1", "environment=before")], at(0)).await.unwrap().len();
    assert_eq!((found("b").await, found("c").await), (1, 1));
    assert_eq!(bed.ledger.holds(at(0)).await.unwrap()[0].named, ["b", "c"].map(str::to_owned).into());
    let words = |cluster: &str| bed.actions(cluster).into_iter().map(|[_, what, ..]| what).collect::<Vec<_>>();
    assert_eq!((words("b"), words("c")), (vec!["find".to_owned()], vec!["keep".to_owned()]));
    bed.let_go("cluster=b").await.unwrap();
    assert_eq!((found("b").await, found("c").await), (0, 1), "b was let go, and its parent was not told yet");
    bed.let_go("environment=before").await.unwrap();
    assert_eq!((found("c").await, bed.standing(0).await.len()), (0, 0), "it ended");
}

#[tokio::test]
async fn all_that_is_held_has_one_hash_of_exactly_that() {
    let bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    let hold = async |cluster: &str, plan: u8| {
        bed.state(cluster, State { held_plan: Some(digest_of(plan)), ..state(Phase::Held) }).await;
        let id = "ConfigMap/shop/one".parse().unwrap();
        let answer = crate::sync::approval::Answer { plan: digest_of(plan), approved: false };
        bed.ledger.set_asked(cluster, crate::sync::approval::Asked([((id, "uid".to_owned()), answer)].into())).await.unwrap();
    };
    hold("b", 5).await;
    assert_eq!(bed.reader().status().unwrap().held_plan, None, "one has its own");
    hold("a", 6).await;
    let both = bed.reader().status().unwrap().held_plan.unwrap();
    assert_eq!(Some(both), fleet_plan([("a", digest_of(6)), ("b", digest_of(5))]));
    hold("a", 7).await;
    assert_eq!(bed.ledger.approve(both, "ada", at(0)).await.unwrap(), [""; 0], "the plan of a is another");
    let both = bed.reader().status().unwrap().held_plan.unwrap();
    assert_eq!(bed.ledger.approve(both, "ada", at(0)).await.unwrap(), ["a", "b"]);
    for cluster in ["a", "b"] {
        assert!(bed.ledger.asked(cluster).await.unwrap().0.values().all(|answer| answer.approved));
        assert_eq!(bed.actions(cluster), [["ada", "approve", &both.to_string(), ""].map(str::to_owned)]);
    }
}

#[tokio::test]
async fn the_last_word_on_a_cluster_outlives_its_entry() {
    let mut bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    let word = LastWord {
        on_removal: OnRemoval::Prune,
        connection: ConnectionSpec::Kubeconfig { path: "eu.yaml".to_owned(), context: None },
        layers: vec!["base".to_owned()],
        caution: Some("too many".to_owned()),
    };
    bed.ledger.set_last_words(vec![("b".to_owned(), word.clone())]).await.unwrap();
    bed.clusters(&CLUSTERS[..1]).await;
    bed.restart().await;
    let known = bed.ledger.known_clusters().await.unwrap();
    assert_eq!((known["b"].in_repo, known["b"].labels["environment"].as_str(), known["b"].word.as_ref()), (false, "prod", Some(&word)));
    assert_eq!((known["a"].in_repo, known["a"].word.as_ref()), (true, None));
    let over = LastWord { caution: None, ..word };
    bed.ledger.set_last_words(vec![("b".to_owned(), over.clone())]).await.unwrap();
    assert_eq!(bed.ledger.known_clusters().await.unwrap()["b"].word, Some(over));
    assert_eq!(bed.ledger.hold(hold("1", "environment=prod")).await.unwrap(), ["b"], "it is looked after until it is empty");
    bed.ledger.forget_last_word("b").await.unwrap();
    assert_eq!(bed.ledger.known_clusters().await.unwrap()["b"].word, None);
}

#[tokio::test]
async fn what_was_refused_is_told_and_crowds_nothing_out() {
    let bed = Bed::new();
    let refuse = async |who: &str, target: String| {
        let (reason, outcome) = ("why".repeat(1000), "EK6043 the token is for others".to_owned());
        let action = ActionRow { who: who.to_owned(), what: "hold", target, reason, outcome, clusters: Vec::new() };
        bed.ledger.record_refusal(action).await.unwrap();
    };
    let told = || {
        let query = EventQuery { limit: 1000, ..EventQuery::default() };
        bed.reader().events(&query).unwrap().events.into_iter().map(|event| event.text).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        refuse("sue (token)", "cluster=a".to_owned()).await;
    }
    let once = told();
    assert_eq!(once.len(), 1, "{once:?}");
    assert!(once[0].starts_with("hold cluster=a by sue (token): whywhy") && once[0].contains("; refused: EK6043 the token"), "{once:?}");
    assert!(once[0].contains("(3 times since") && once[0].len() < 500, "{once:?}");
    for nth in 0..100 {
        refuse("mel (token)", format!("cluster=c{nth}")).await;
    }
    let (refused, others): (Vec<_>, Vec<_>) = told().into_iter().partition(|text| text.contains("refused: "));
    assert_eq!((refused.len(), others.len()), (20, 1), "{others:?}");
}

#[tokio::test]
async fn what_is_asked_while_no_agent_runs_is_shown_until_one_starts() {
    let bed = Bed::new();
    bed.clusters(CLUSTERS).await;
    let unheard = |cluster: &str| -> Vec<String> {
        let clusters = bed.reader().status().unwrap().clusters;
        clusters.into_iter().find(|found| found.name == cluster).unwrap().unheard
    };
    let put = async |commit: u8| {
        let selector = "cluster=c".parse().unwrap();
        bed.ledger.roll_back_clusters(selector, id(commit), "ada (uid 7)", "it is slow", at(6)).await.unwrap();
    };
    bed.ledger.hold(hold("1", "cluster=a")).await.unwrap();
    put(1).await;
    assert_eq!((unheard("a"), unheard("c")), (vec![], vec![]), "an agent ran");

    bed.ledger.unheard().await.unwrap();
    bed.ledger.hold(hold("2", "environment=prod")).await.unwrap();
    // The mark stays where it was.
    bed.ledger.unheard().await.unwrap();
    put(2).await;
    put(1).await;
    let held = "held by ada (uid 7) since 1970-01-01T00:00:00Z, until it is released: the disk is full".to_owned();
    let put_back = format!("rollback cluster=c {} by ada (uid 7): it is slow (at 2023-11-14T22:13:26Z)", id(1));
    assert_eq!(unheard("a"), [""; 0]);
    assert_eq!(unheard("b"), std::slice::from_ref(&held));
    assert_eq!(unheard("c"), [held, put_back.clone()], "of two ways back the later counts");
    bed.let_go("cluster=c").await.unwrap();
    let released = unheard("c");
    assert_eq!((released.len(), released[0].as_str()), (2, put_back.as_str()), "{released:?}");
    assert!(released[1].starts_with("release cluster=c by bob (uid 8) (at "), "{released:?}");
    assert_eq!(unheard("b").len(), 1, "b is held all the same");

    bed.ledger.heard().await.unwrap();
    assert_eq!((unheard("b"), unheard("c")), (vec![], vec![]));
}
