//! What the clusters' tasks are told where there are waves.

use super::*;

const WAVES: &str = "spec: {rollout: {waves: [{name: first, selector: cluster=a}, {name: second, selector: cluster=b}]}}\n";

#[tokio::test]
async fn a_cluster_is_left_as_it_is_until_its_wave_comes() {
    let mut bed = Bed::new();
    bed.take_up(&[("evenkeel.yaml", Some(&format!("{}{WAVES}", own("Fleet", "shop"))))]).await;
    let first = bed.tip();
    assert_eq!(told(&bed, "a"), (first, None));
    assert_eq!(told(&bed, "b"), (first, Some("EK4040")));
    does_well(&mut bed, "a").await;
    assert_eq!(told(&bed, "b"), (first, None));
    let recorded = bed.ledger.rollout().await.unwrap();
    assert_eq!(recorded.clusters["b"].admitted.unwrap().commit, first, "before it was told");
}

/// As after an upgrade that renders something else: what the second wave runs cannot be had any more.
#[tokio::test]
async fn what_renders_to_something_else_now_is_not_written_until_its_wave_comes() {
    let mut bed = Bed::new();
    let old = Digest::of(b"as it was");
    let mut before = Progress::default();
    bed.fetch().await;
    let mark = format!("{{\"pin\":{{\"Failed\":\"{old}\"}},\"commit\":\"{}\",\"digest\":\"{old}\",\"failure\":null}}", bed.tip());
    before.take_mark("b", Mark::read(&mark).unwrap());
    before.retry(["b"]);
    bed.ledger.record_rollout(before.changes(&Progress::default())).await.unwrap();
    bed.supervisor.fleet.remember(false).await.unwrap();
    bed.take_up(&[("evenkeel.yaml", Some(&format!("{}{WAVES}", own("Fleet", "shop"))))]).await;
    assert_eq!(bed.supervisor.fleet.desired.keys().collect::<Vec<_>>(), ["a"], "b is rendered again first");
    assert_eq!(bed.ended().await, None);
    assert_eq!(told(&bed, "b").1, Some("EK4042"));
    does_well(&mut bed, "a").await;
    assert_eq!(told(&bed, "b"), (bed.tip(), None), "its wave has come");
}

#[tokio::test]
async fn nothing_is_told_that_is_not_on_record() {
    let mut bed = Bed::new();
    bed.take_up(&[("evenkeel.yaml", Some(&format!("{}{WAVES}", own("Fleet", "shop"))))]).await;
    bed.ledger.close().await.unwrap();
    let digest = bed.supervisor.fleet.desired["a"].rendering.as_ref().unwrap().digest;
    let (wanted, health) = (Some(digest), crate::sync::Health::Healthy);
    let state = State { desired: Some(bed.tip()), rendering: wanted, wanted, health, ..State::blank(Phase::Synced) };
    bed.supervisor.heard("a", News::State(Box::new(state))).await;
    assert!(bed.supervisor.fleet.roll().await.is_err());
    assert_eq!(told(&bed, "b").1, Some("EK4040"), "its wave has come, and it does not know it yet");
}

#[tokio::test]
async fn waves_send_no_cluster_back_from_what_it_was_told_before_there_were_any() {
    let mut bed = Bed::new();
    bed.take_up(&[("base/shop/a.yaml", Some(&map("1")))]).await;
    let before = bed.tip();
    let waves = format!("{}{WAVES}", own("Fleet", "shop"));
    bed.take_up(&[("evenkeel.yaml", Some(&waves)), ("base/shop/a.yaml", Some(&map("2")))]).await;
    assert_eq!((told(&bed, "a"), told(&bed, "b")), ((bed.tip(), None), (before, None)), "it never said that it is there");
}

#[tokio::test]
async fn an_agent_that_looks_after_some_forgets_nothing_of_the_others() {
    let mut bed = Bed::with(Some("cluster=a"));
    let mut before = Progress::default();
    before.roll_back("elsewhere", CommitId([7; 20]), "ada", jiff::Timestamp::UNIX_EPOCH);
    before.clusters.entry("b".to_owned()).or_default().arrived = true;
    before.clusters.entry("gone".to_owned()).or_default().arrived = true;
    bed.ledger.record_rollout(before.changes(&Progress::default())).await.unwrap();
    bed.supervisor.fleet.remember(false).await.unwrap();
    bed.take_up(&[("evenkeel.yaml", Some(&format!("{}{WAVES}", own("Fleet", "shop"))))]).await;
    let after = bed.ledger.rollout().await.unwrap();
    assert_eq!(after.clusters.keys().collect::<Vec<_>>(), ["a", "b", "elsewhere"]);
    assert!(bed.supervisor.fleet.waves.is_settled(), "and renders nothing for them");
}

/// A ConfigMap of the base.
fn map(v: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: shop}}\ndata: {{v: '{v}'}}\n")
}

/// Both waves run the first of them, and do well; evenkeel.yaml.
async fn both_well() -> (Bed, String) {
    let mut bed = Bed::new();
    let waves = format!("{}{WAVES}", own("Fleet", "shop"));
    bed.take_up(&[("evenkeel.yaml", Some(&waves)), ("base/shop/a.yaml", Some(&map("1")))]).await;
    does_well(&mut bed, "a").await;
    does_well(&mut bed, "b").await;
    (bed, waves)
}

#[tokio::test]
async fn a_commit_waits_for_a_shut_wave_until_a_newer_one_takes_its_place_there() {
    let (mut bed, waves) = both_well().await;
    let shut = waves.replace("selector: cluster=b", "selector: cluster=b, freezes: [{from: 2000-01-01, to: 2100-01-01}]");
    bed.take_up(&[("evenkeel.yaml", Some(&shut)), ("base/shop/a.yaml", Some(&map("2")))]).await;
    let second = bed.tip();
    // Its wave is brought to another commit, which gives the same.
    bed.take_up(&[("base/shop/README.md", Some("A shop."))]).await;
    does_well(&mut bed, "a").await;
    let of_second = |bed: &Bed| {
        let clusters = Ledger::reader(bed.folder.path()).unwrap().where_is(second).unwrap().clusters;
        let on = clusters.into_iter().find(|on| on.name == "b").unwrap();
        (on.phase.to_string(), on.reason, on.superseded_by)
    };
    let reason = "the wave second is frozen until 2100-01-02T00:00:00Z".to_owned();
    let waits = ("WaitingForWave".to_owned(), reason, None);
    assert_eq!(of_second(&bed), waits);
    bed.take_up(&[("base/shop/a.yaml", Some(&map("3")))]).await;
    assert_eq!(of_second(&bed), waits, "it would come if the freeze were lifted now");
    does_well(&mut bed, "a").await;
    let (phase, _, by) = of_second(&bed);
    assert_eq!((phase.as_str(), by), ("Superseded", Some(bed.tip())));
}

/// The commits that are kept for the rollout whatever becomes of the branch.
fn kept(bed: &Bed) -> std::collections::BTreeSet<String> {
    let mut git = std::process::Command::new("git");
    let refs = git.args(["for-each-ref", "--format=%(refname)"]).current_dir(bed.folder.path().join("git/mirror.git")).output().unwrap();
    let refs = String::from_utf8(refs.stdout).unwrap();
    refs.lines().filter_map(|name| Some(name.split_once("/rollout%2F")?.1.to_owned())).collect()
}

#[tokio::test]
async fn commits_that_clusters_run_or_wait_for_are_kept() {
    let (mut bed, _) = both_well().await;
    let first = bed.tip().to_string();
    bed.take_up(&[("base/shop/a.yaml", Some(&map("2")))]).await;
    let second = bed.tip().to_string();
    let wait = async |bed: &Bed, commits: &[&String]| {
        let wanted = commits.iter().map(ToString::to_string).collect();
        let probe = || async { if kept(bed) == wanted { Ok(()) } else { Err(format!("{:?}", kept(bed))) } };
        testbed::wait_until(Duration::from_secs(30), "the commits are kept", probe).await.unwrap();
    };
    wait(&bed, &[&first, &second]).await;
    does_well(&mut bed, "a").await;
    does_well(&mut bed, "b").await;
    wait(&bed, &[&second]).await;
}

/// Hundreds of clusters may wait for their first wave; they are not told, nor put on record, each time that one before them gets on.
#[tokio::test]
async fn one_that_waits_is_told_nothing_new_while_others_get_on() {
    let mut bed = Bed::new();
    let waves = "spec: {rollout: {waves: [{name: first, selector: cluster!=b}, {name: second, selector: cluster=b}]}}\n";
    let c = own("Cluster", "c");
    bed.take_up(&[("evenkeel.yaml", Some(&format!("{}{waves}", own("Fleet", "shop")))), (&entry("c"), Some(&c))]).await;
    let (before, first) = (bed.supervisor.fleet.desired["b"].clone(), bed.supervisor.fleet.waves.reason("b").unwrap().to_owned());
    assert_eq!(first, "waits for the wave first, which is in progress on a, c");
    does_well(&mut bed, "a").await;
    assert_ne!(bed.supervisor.fleet.waves.reason("b"), Some(&*first));
    assert_eq!(bed.supervisor.fleet.desired["b"].rest, before.rest);
    let asked = bed.supervisor.fleet.as_told("b").unwrap();
    assert_eq!(asked.waits, ["waits for the wave first, which is in progress on c"]);
}
