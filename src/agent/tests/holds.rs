//! What people hold of bundles that only some of the selected clusters have.

use super::*;
use crate::sync::Health;

/// A file with that ConfigMap at a value, in the bundle `web` of the cluster `a`, or in `shop` of both.
fn config(bundle: &str, value: &str) -> (String, String) {
    let layer = if bundle == "web" { "environments/prod/eu/a" } else { "base" };
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {bundle}, namespace: shop}}\ndata: {{v: '{value}'}}\n");
    (format!("{layer}/{bundle}/{bundle}.yaml"), text)
}

/// The bundle `shop` on `a` and `b` and `web` on `a`, with `b` in the first wave and `a` in the second; both run them.
async fn in_waves() -> Bed {
    let mut bed = Bed::new();
    let waves = "spec: {rollout: {waves: [{name: first, selector: cluster=b}, {name: second, selector: cluster=a}]}}\n";
    let fleet = ("evenkeel.yaml".to_owned(), format!("{}{waves}", own("Fleet", "shop")));
    bed.files(&[fleet, config("shop", "1"), config("web", "1")], true).await;
    for cluster in ["b", "a"] {
        bed.runs_all(cluster).await;
    }
    bed
}

impl Bed {
    /// What the cluster's task was told last.
    fn desired(&self, cluster: &str) -> crate::sync::target::Desired {
        self.supervisor.fleet.as_told(cluster).unwrap().desired
    }

    /// Whether a cluster is told what its commit gives, the digest and all, and nothing of it is shown as held.
    fn is_unheld(&self, cluster: &str) -> bool {
        let (given, told) = (&self.supervisor.fleet.desired[cluster], self.desired(cluster));
        let digest = |rendering: &Result<Arc<crate::render::Rendering>, Diagnostic>| rendering.as_ref().unwrap().digest;
        let is_as_given = digest(&given.rendering) == digest(&told.rendering);
        assert_eq!(is_as_given, told.held.bundles().is_empty(), "{cluster}");
        is_as_given
    }

    /// What it is told is on record as applied there, and its task says what a cluster says that has all of that.
    async fn runs_all(&mut self, cluster: &str) {
        let told = self.desired(cluster);
        let rendering = told.rendering.clone().unwrap();
        let start = SyncStart { cluster: cluster.to_owned(), commit: told.commit, rendering: rendering.digest, trigger: Trigger::Commit };
        let sync = self.ledger.begin_sync(start).await.unwrap();
        for object in rendering.objects.iter().filter(|object| !rendering.is_paused(&object.bundle)) {
            let live = Some(Live { uid: object.id.to_string(), digest: object.digest, fields: object.digest });
            self.ledger.object(sync, &object.bundle, ObjectResult { id: object.id.clone(), action: Action::Created, live, error: None });
        }
        self.ledger.end_sync(sync, None).await.unwrap();
        self.says_that_it_does_well(cluster).await;
    }

    async fn says_that_it_does_well(&mut self, cluster: &str) {
        let told = self.desired(cluster);
        let hold = told.held.bundles().into_values().next().map(crate::sync::hold::Hold::diagnostic);
        let phase = if hold.is_some() { Phase::Paused } else { Phase::Synced };
        let (commit, wanted) = (Some(told.commit), told.rendering.ok().map(|rendering| rendering.digest));
        let (applied, rendering) = if hold.is_some() { (None, None) } else { (commit, wanted) };
        let state = State { desired: commit, applied, rendering, wanted, health: Health::Healthy, error: hold, ..State::blank(phase) };
        self.supervisor.heard(cluster, News::State(Box::new(state))).await;
        self.supervisor.fleet.roll().await.unwrap();
    }

    /// Another agent on that record, once both clusters were told what they are to run.
    async fn anew(self) -> Self {
        let mut bed = self.restart().await;
        bed.supervisor.fleet.remember(false).await.unwrap();
        bed.hear(Event::Unchanged).await;
        while bed.supervisor.fleet.desired.len() < 2 {
            assert_eq!(bed.ended().await, None);
        }
        bed
    }

    async fn holds(&mut self, bundle: &str, drift: bool) {
        // It stands on all that it selects.
        self.holds_of("environment=prod", bundle, drift, &["a", "b"]).await;
    }

    async fn holds_of(&mut self, selector: &str, bundle: &str, drift: bool, clusters: &[&str]) {
        let request = HoldRequest {
            selector: selector.to_owned(),
            bundle: Some(bundle.to_owned()),
            drift,
            reason: "under investigation".to_owned(),
            until: None,
        };
        let hold = server::Action::Hold { request, who: "ada (uid 7)".to_owned() };
        assert_eq!(self.supervisor.fleet.act(hold).await.unwrap().clusters, clusters);
    }

    /// Whether the cluster has proved what its wave has for it.
    async fn has_proved(&self, cluster: &str) -> bool {
        self.ledger.rollout().await.unwrap().clusters[cluster].proved
    }
}

#[tokio::test]
async fn a_bundle_is_held_on_the_clusters_that_have_it_and_the_waves_go_on_over_the_others() {
    let mut bed = in_waves().await;
    bed.holds("web", false).await;
    assert_eq!((bed.is_unheld("a"), bed.is_unheld("b")), (false, true));
    assert!(["a", "b"].iter().all(|cluster| bed.desired(cluster).held.all().len() == 1), "what stands on the parents");

    bed.files(&[config("shop", "2"), config("web", "2")], true).await;
    let second = bed.tip();
    assert_eq!(told(&bed, "b"), (second, None));
    assert_ne!(told(&bed, "a").0, second);
    bed.says_that_it_does_well("b").await;
    assert!(bed.has_proved("b").await);
    assert_eq!(told(&bed, "a"), (second, None), "the wave of b has proved the commit");
    bed.says_that_it_does_well("a").await;
    assert!(!bed.has_proved("a").await, "not with a bundle that is held");

    // Nor does the first step of another agent, before anybody is told, take b for one that proves nothing.
    let bed = bed.anew().await;
    assert_eq!((bed.is_unheld("a"), bed.is_unheld("b")), (false, true));
    let waves = Ledger::reader(bed.folder.path()).unwrap().status().unwrap().rollout.unwrap().waves;
    let passed_over = waves.iter().map(|wave| wave.passed_over.len()).collect::<Vec<_>>();
    assert_eq!(passed_over, [0, 1], "{waves:?}");
}

#[tokio::test]
async fn drift_of_a_bundle_is_held_where_the_bundle_is() {
    let mut bed = in_waves().await;
    bed.holds("web", true).await;
    let drift = |cluster: &str| bed.desired(cluster).held.drift().is_some();
    assert_eq!((drift("a"), drift("b")), (true, false));
    assert_eq!(bed.supervisor.fleet.as_told("b").unwrap().waits, [""; 0]);
}

#[tokio::test]
async fn what_is_left_of_a_held_bundle_is_held_as_long_as_it_is_on_record() {
    let mut bed = in_waves().await;
    bed.holds("web", false).await;
    bed.files(&[config("web", "1")], false).await;
    bed.says_that_it_does_well("b").await;
    for restarted in [false, true] {
        if restarted {
            bed = bed.anew().await;
            bed.says_that_it_does_well("b").await;
        }
        let a = bed.desired("a").rendering.unwrap();
        assert!(a.objects.iter().all(|object| &*object.bundle != "web") && a.is_paused("web"));
        assert_eq!((bed.is_unheld("a"), bed.is_unheld("b")), (false, true), "restarted: {restarted}");
    }
}

#[tokio::test]
async fn a_held_bundle_that_a_commit_brings_is_held_from_its_first_moment() {
    let mut bed = in_waves().await;
    bed.holds("web", false).await;
    let (_, text) = config("web", "1");
    let first = bed.tip();
    let event = bed.commit(&[("environments/prod/eu/b/web/web.yaml", Some(&text))]).await;
    let second = bed.tip();
    let (_, concerned) = live_plan::compare(&bed.supervisor.fleet.ground(), Some(first), second).unwrap();
    let foretold = concerned.iter().find(|one| one.plan.name == "b").unwrap();
    assert!(foretold.waits[0].starts_with("bundle web is held by ada"), "{:?}", foretold.waits);
    bed.hear(event).await;
    assert_eq!(bed.ended().await, None);
    assert_eq!(told(&bed, "b"), (second, None));
    assert!(!bed.is_unheld("b"));
    assert!(bed.desired("b").rendering.unwrap().is_paused("web"));
    bed.says_that_it_does_well("b").await;
    let b = bed.ledger.rollout().await.unwrap().clusters["b"].clone();
    assert_eq!((b.arrived, b.proved, b.healthy_since), (true, false, None), "nor does it soak without the bundle");

    let request = ReleaseRequest { selector: "environment=prod".to_owned(), bundle: Some("web".to_owned()) };
    let release = server::Action::Release { request, environments: None, who: "ada (uid 7)".to_owned() };
    bed.supervisor.fleet.act(release).await.unwrap();
    assert!(bed.is_unheld("b"));
    bed.says_that_it_does_well("b").await;
    assert!(bed.has_proved("b").await);

    // One that comes and goes again while it is held was never there.
    bed.holds("web", false).await;
    assert!(!bed.is_unheld("b"));
    bed.take_up(&[("environments/prod/eu/b/web/web.yaml", None)]).await;
    assert!(bed.is_unheld("b"), "nothing of it is on record");
}

#[tokio::test]
async fn a_cluster_that_is_selected_by_new_labels_keeps_what_it_has_of_a_held_bundle() {
    let labelled = |cluster: &str| {
        (entry(cluster), own("Cluster", cluster).replace(&format!("name: {cluster}"), &format!("name: {cluster}, labels: {{team: one}}")))
    };
    let mut bed = in_waves().await;
    bed.files(&[labelled("a")], true).await;
    bed.holds_of("team=one", "web", false, &["a"]).await;
    let (_, text) = config("web", "1");
    let on_b = ("environments/prod/eu/b/web/web.yaml".to_owned(), text);
    bed.files(std::slice::from_ref(&on_b), true).await;
    assert!(bed.is_unheld("b"), "it is not selected");
    bed.runs_all("b").await;
    let (path, text) = labelled("b");
    bed.take_up(&[(&path, Some(&text)), (&on_b.0, None)]).await;
    assert!(!bed.is_unheld("b"));
    assert!(bed.desired("b").rendering.unwrap().is_paused("web"));
}

#[tokio::test]
async fn a_commit_that_changes_labels_ends_no_hold() {
    for restarted in [false, true] {
        let mut bed = in_waves().await;
        let labels = |team: &str| own("Cluster", "a").replace("name: a", &format!("name: a, labels: {{team: {team}}}"));
        bed.files(&[(entry("a"), labels("one"))], true).await;
        let request =
            HoldRequest { selector: "team=one".to_owned(), bundle: None, drift: false, reason: "hands off".to_owned(), until: None };
        let hold = server::Action::Hold { request, who: "ada (uid 7)".to_owned() };
        bed.supervisor.fleet.act(hold).await.unwrap();
        if restarted {
            let text = labels("two");
            bed.commit(&[(&entry("a"), Some(&text))]).await;
            bed = bed.anew().await;
        } else {
            bed.take_up(&[(&entry("a"), Some(&labels("two")))]).await;
        }
        let held = bed.desired("a").held;
        assert!(held.whole().is_some_and(|hold| hold.diagnostic().hint.contains("`evenkeel release 'cluster=a'`")), "{restarted}");
        assert!(bed.desired("b").held.all().is_empty());
        let request = ReleaseRequest { selector: "team=one".to_owned(), bundle: None };
        let release = server::Action::Release { request, environments: None, who: "ada (uid 7)".to_owned() };
        assert_eq!(bed.supervisor.fleet.act(release).await.unwrap().clusters, ["a"]);
        assert!(bed.desired("a").held.all().is_empty());
    }
}

#[tokio::test]
async fn what_a_commit_moves_out_of_a_held_bundle_stays_as_it_is() {
    let (path, text) = config("web", "2");
    let moved = path.replace("/web/", "/store/");
    for restarted in [false, true] {
        let mut bed = in_waves().await;
        bed.holds("web", false).await;
        let event = bed.commit(&[(&path, None), (&moved, Some(&text))]).await;
        let (base, tip) = (bed.supervisor.fleet.head.as_ref().unwrap().commit, bed.tip());
        let (_, concerned) = live_plan::compare(&bed.supervisor.fleet.ground(), Some(base), tip).unwrap();
        assert!(concerned.iter().find(|one| one.plan.name == "a").unwrap().waits[0].starts_with("bundle web is held by ada"));
        if restarted {
            bed = bed.anew().await;
        } else {
            bed.hear(event).await;
            assert_eq!(bed.ended().await, None);
        }
        bed.says_that_it_does_well("b").await;
        let told = bed.desired("a");
        let web = told.rendering.as_ref().unwrap().objects.iter().find(|object| &*object.id.name == "web").unwrap().clone();
        assert_eq!((&*web.bundle, told.commit), ("web", tip), "restarted: {restarted}");
        assert!(told.rendering.unwrap().is_paused("web") && !bed.is_unheld("a"), "it proves nothing");
        let request = ReleaseRequest { selector: "cluster=a".to_owned(), bundle: Some("web".to_owned()) };
        let release = server::Action::Release { request, environments: None, who: "ada (uid 7)".to_owned() };
        bed.supervisor.fleet.act(release).await.unwrap();
        assert!(bed.is_unheld("a"));
        let released = bed.desired("a").rendering.unwrap();
        assert!(released.objects.iter().any(|object| &*object.id.name == "web" && &*object.bundle == "store"));
    }
}
