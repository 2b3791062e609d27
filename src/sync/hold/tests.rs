#![allow(clippy::unwrap_used, reason = "a test may")]
use proptest::prelude::*;

use super::*;
use crate::{
    manifest::Drift,
    sync::plan::plan,
    sync::plan::tests::{applied, id, rendering},
};

pub(crate) fn hold(id: &str, selector: &str) -> Hold {
    Hold {
        id: id.to_owned(),
        selector: selector.to_owned(),
        except: BTreeSet::new(),
        named: BTreeSet::new(),
        bundle: None,
        scope: Scope::Writes,
        reason: "the disk is full".to_owned(),
        who: "ada (uid 7)".to_owned(),
        since: at(0),
        until: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn labels(cluster: &str, environment: &str) -> Labels {
    [("cluster", cluster), ("environment", environment)].map(|(label, value)| (label.to_owned(), value.to_owned())).into()
}

fn clusters() -> BTreeMap<String, Labels> {
    [("a", "dev"), ("b", "prod"), ("c", "prod")].map(|(name, environment)| (name.to_owned(), labels(name, environment))).into()
}

fn held(holds: &[Hold], now: i64) -> Vec<String> {
    clusters().into_iter().filter(|(_, labels)| Held::of(holds, labels, at(now)).whole().is_some()).map(|(name, _)| name).collect()
}

fn let_go(holds: &[Hold], selector: &str, bundle: Option<&str>) -> Released {
    let bundle = bundle.map(str::to_owned);
    release(holds, &clusters(), &Release { selector: selector.parse().unwrap(), bundle, environments: None })
}

#[test]
fn a_hold_that_reaches_beyond_who_releases_goes_on_there() {
    let scoped = |hold: Hold, selector: &str| {
        let environments = Some(["dev".to_owned()].into());
        release(&[hold], &clusters(), &Release { selector: selector.parse().unwrap(), bundle: None, environments })
    };
    let wide = Hold { except: ["environment=prod".to_owned()].into(), ..hold("1", "") };
    let released = scoped(wide, "environment=dev");
    assert_eq!((&*released.ended, released.clusters), (&[][..], ["a".to_owned()].into()), "nobody is held now");
    assert_eq!(held(&released.changed, 0), [""; 0]);
    let later = |environment: &str| !Held::of(&released.changed, &labels("new", environment), at(0)).all().is_empty();
    assert_eq!((later("test"), later("dev")), (true, false), "a cluster that comes later");
    for within in ["environment=dev", "cluster=a,environment in (dev)"] {
        assert_eq!(scoped(hold("2", within), "environment=dev").ended, ["2"], "{within}");
    }
}

#[test]
fn a_hold_is_of_its_selector_and_time() {
    let holds = [Hold { until: Some(at(10)), ..hold("1", "environment=prod") }];
    assert_eq!((held(&holds, 9), held(&holds, 10)), (vec!["b".to_owned(), "c".to_owned()], vec![]));
    assert!(Held::of(&holds, &labels("new", "prod"), at(0)).whole().is_some(), "a cluster that comes later");
    assert_eq!(held(&[hold("1", "no selector at all=")], 0), [""; 0]);
}

#[test]
fn who_is_released_goes_and_the_others_stay() {
    let holds = [hold("1", "environment=prod")];
    let released = let_go(&holds, "cluster=b", None);
    assert_eq!((released.ended.len(), released.clusters), (0, ["b".to_owned()].into()));
    assert_eq!(held(&released.changed, 0), ["c"]);
    let rest = let_go(&released.changed, "cluster in (a,c)", None);
    assert_eq!((rest.ended, rest.changed, rest.clusters), (vec!["1".to_owned()], vec![], ["c".to_owned()].into()), "none is left");
    assert_eq!(let_go(&holds, "environment=prod", None).ended, ["1"]);
    assert_eq!(let_go(&holds, "environment=dev", None), Released::default());
    let of_nobody = [hold("2", "environment=later")];
    assert_eq!(let_go(&of_nobody, "environment=later", None).ended, ["2"], "by its own selector");
}

proptest! {
    /// Whatever is held and let go in whatever order: who is let go is held no more, and for nobody else anything changes.
    #[test]
    fn a_release_is_of_whom_it_selects(steps in prop::collection::vec((any::<bool>(), 0usize..5), 1..12)) {
        let selectors = ["", "environment=prod", "environment!=prod", "cluster=b", "cluster in (a,c)"];
        let mut holds: BTreeMap<String, Hold> = BTreeMap::new();
        for (nth, (is_hold, selector)) in steps.into_iter().enumerate() {
            let selector = selectors[selector];
            if is_hold {
                holds.insert(nth.to_string(), hold(&nth.to_string(), selector));
                continue;
            }
            let all: Vec<Hold> = holds.values().cloned().collect();
            let before = held(&all, 0);
            let released = let_go(&all, selector, None);
            released.ended.iter().for_each(|id| drop(holds.remove(id)));
            holds.extend(released.changed.iter().map(|hold| (hold.id.clone(), hold.clone())));
            let selected = LabelSelector::parse(selector).unwrap();
            let (gone, stay): (Vec<_>, Vec<_>) = before.into_iter().partition(|name| selected.matches(&clusters()[name]));
            prop_assert_eq!(released.clusters.into_iter().collect::<Vec<_>>(), gone);
            prop_assert_eq!(held(&holds.values().cloned().collect::<Vec<_>>(), 0), stay);
        }
    }
}

#[test]
fn a_bundle_is_released_by_its_name_or_with_the_cluster() {
    let holds = [hold("1", "cluster=b"), Hold { bundle: Some("web".to_owned()), ..hold("2", "cluster=b") }];
    assert_eq!(let_go(&holds, "cluster=b", Some("web")).ended, ["2"]);
    assert_eq!(let_go(&holds, "cluster=b", Some("db")), Released::default());
    assert_eq!(let_go(&holds, "cluster=b", None).ended, ["1", "2"]);
}

#[test]
fn nothing_of_a_held_bundle_is_written_or_deleted() {
    let before = rendering(&[("a", "one"), ("b", "two"), ("c", "three")], "1");
    let after = rendering(&[("a", "one"), ("b", "two")], "2");
    let of = |bundle: &str| Hold { bundle: Some(bundle.to_owned()), ..hold(bundle, "cluster=b") };
    let held = Held::of(&[of("b"), of("c")], &labels("b", "prod"), at(0));
    let laid = held.lay(&after);
    let plan = plan(&laid, &applied(&before), &BTreeSet::new(), Drift::Repair);
    let written: Vec<&str> = plan.writes.keys().map(|bundle| &**bundle).collect();
    assert_eq!((written, plan.deletions.len()), (vec!["a"], 0), "the bundle c has left the repository");
    assert_ne!(laid.digest, after.digest);
    assert!(held.whole().is_none() && held.left(&after).is_empty());
    assert_eq!(Held::default().lay(&after).digest, after.digest);
}

#[test]
fn a_bundle_is_held_where_it_is_or_is_to_be() {
    let (with, without) = (rendering(&[("a", "one"), ("b", "two")], "1"), rendering(&[("a", "one")], "1"));
    let of = |id: &str, scope| Hold { bundle: Some("b".to_owned()), scope, ..hold(id, "cluster=b") };
    let holds = [of("1", Scope::Writes), of("2", Scope::Drift)];
    let objects = |is_on_record: bool| Arc::new(is_on_record.then(|| id("two")).into_iter().collect::<BTreeSet<_>>());
    let held = |is_on_record: bool, rendering| {
        let held = Held::of(&holds, &labels("b", "prod"), at(0)).recorded(|_| Some(objects(is_on_record))).with(rendering);
        assert_eq!(held.all(), holds, "it stands on every cluster that it selects");
        held
    };
    let counts = |held: &Held| (held.in_effect().count(), held.bundles().len(), held.why().is_some(), held.drift().is_some());
    for (is_on_record, rendering) in [(true, Some(&*without)), (false, Some(&*with)), (true, Some(&*with)), (false, None)] {
        let held = held(is_on_record, rendering);
        assert_eq!(counts(&held), (2, 1, true, true), "on record: {is_on_record}");
        assert_ne!(held.laid(with.digest), with.digest);
    }
    let held = held(false, Some(&without));
    assert_eq!((counts(&held), held.lay(&without).digest), ((0, 0, false, false), without.digest));
    assert_eq!(counts(&held.clone().with(Some(&with))), (2, 1, true, true), "a commit brings it");
    let plan = plan(&held.lay(&without), &applied(&with), &BTreeSet::new(), Drift::Repair);
    assert_eq!(plan.deletions.len(), 0, "what a write under way has left there stays all the same");
    let others = Held::of(&[hold("3", "cluster=b")], &labels("b", "prod"), at(0)).recorded(|_| Some(objects(false))).with(Some(&without));
    assert!(others.whole().is_some(), "a cluster is held whatever it has");
}

#[test]
fn drift_is_left_where_it_is_held() {
    let wanted = rendering(&[("a", "one"), ("b", "two")], "1");
    let drift = |bundle: Option<&str>| {
        let hold = Hold { scope: Scope::Drift, bundle: bundle.map(str::to_owned), ..hold("1", "cluster=b") };
        let held = Held::of(&[hold], &labels("b", "prod"), at(0));
        assert!(held.whole().is_none() && held.bundles().is_empty() && held.drift().is_some());
        held.left(&wanted)
    };
    assert_eq!(drift(None), [id("one"), id("two")].into());
    assert_eq!(drift(Some("b")), [id("two")].into());
}

fn moved_to(cluster: &str, environment: &str) -> BTreeMap<String, Labels> {
    clusters().into_iter().chain([(cluster.to_owned(), labels(cluster, environment))]).collect()
}

#[test]
fn who_is_held_stays_so_whatever_its_labels_become() {
    let change = |hold: &Hold, cluster: &str, from: &str, to: &str| hold.relabelled([(&labels(cluster, from), &labels(cluster, to))]);
    let held = hold("1", "environment=prod");
    let kept = change(&held, "b", "prod", "dev");
    assert_eq!((kept.holds(&labels("b", "dev")), kept.holds(&labels("a", "dev"))), (true, false));
    assert_eq!(change(&kept, "b", "dev", "test").named, ["b".to_owned()].into(), "once more");
    assert_eq!(change(&kept, "b", "dev", "prod"), held, "back again");
    assert_eq!(change(&held, "a", "dev", "test"), held, "it was not held");
    assert!(held.holds(&labels("a", "prod")), "who comes to be selected joins");
    let except = Hold { except: ["environment=dev".to_owned()].into(), ..hold("2", "") };
    assert!(change(&except, "b", "prod", "dev").holds(&labels("b", "dev")), "nor does it end by what was let go of others");
    assert_eq!(change(&except, "a", "dev", "dev"), except);

    let many = Hold { named: ["b", "c"].map(str::to_owned).into(), ..hold("3", "environment=prod") };
    let only = |labels: &Labels| Held::of(std::slice::from_ref(&many), labels, at(0)).all()[0].named.clone();
    assert_eq!((only(&labels("b", "dev")), only(&labels("new", "prod"))), (["b".to_owned()].into(), BTreeSet::new()), "on its parent");
}

#[test]
fn who_is_held_by_name_is_released_by_any_selector_and_by_the_one_of_the_hold() {
    let kept = || Hold { named: ["b".to_owned()].into(), ..hold("1", "environment=prod") };
    let clusters = moved_to("b", "dev");
    let go = |selector: &str, environments: Option<&str>| {
        let environments = environments.map(|name| [name.to_owned()].into());
        release(&[kept()], &clusters, &Release { selector: selector.parse().unwrap(), bundle: None, environments })
    };
    assert_eq!((go("environment=prod", None).ended.len(), go("environment=prod", None).clusters.len()), (1, 2), "b and c");
    for (selector, environments) in [("cluster=b", None), ("environment=dev", None), ("environment=dev", Some("dev"))] {
        let released = go(selector, environments);
        assert_eq!((released.ended.len(), released.clusters), (0, ["b".to_owned()].into()), "{selector}");
        let rest = &released.changed[0];
        assert_eq!((rest.holds(&clusters["b"]), rest.holds(&clusters["c"])), (false, true), "{selector}");
        assert!(!found_on(Some(&clusters["b"]), Some(rest), &kept()).holds(&clusters["b"]), "its parent was not told yet");
    }
    let released = go("environment=prod", Some("prod"));
    assert_eq!((released.ended.len(), released.clusters), (0, ["c".to_owned()].into()), "b is where it may not be let go");
    assert!(released.changed[0].holds(&clusters["b"]) && !released.changed[0].holds(&clusters["c"]));

    let own = |labels: &Labels| Held::of(&[kept()], labels, at(0)).whole().unwrap().diagnostic().hint;
    let expected = "It was held as 'environment=prod'; a commit has given it other labels since, which ends no hold. \
                    When the reason is gone: `evenkeel release 'cluster=b'`.";
    assert_eq!(own(&clusters["b"]), expected);
    assert_eq!(own(&clusters["c"]), "When the reason is gone: `evenkeel release 'environment=prod'`.");
}

#[test]
fn a_hold_that_stands_on_a_cluster_holds_it() {
    let found = hold("1", "environment=prod");
    let on = |labels: &Labels, known: Option<&Hold>| found_on(Some(labels), known, &found);
    assert_eq!(on(&labels("b", "prod"), None), found);
    let b = on(&labels("b", "dev"), None);
    assert_eq!(b.named, ["b".to_owned()].into(), "its labels changed while nothing was on record");
    assert_eq!(on(&labels("c", "dev"), Some(&b)).named, ["b", "c"].map(str::to_owned).into(), "and so did those of another");
    assert_eq!(on(&labels("renamed", "prod"), Some(&hold("1", "cluster=b"))).named, ["renamed".to_owned()].into());
    let let_go = Hold { except: ["environment=dev".to_owned()].into(), ..found.clone() };
    assert_eq!(on(&labels("b", "dev"), Some(&let_go)), let_go, "since it was last told");
    let held = found_on(Some(&labels("b", "dev")), None, &let_go);
    assert!(held.holds(&labels("b", "dev")), "it was held when others were let go");
}

#[test]
fn what_was_applied_from_a_held_bundle_is_held_wherever_a_commit_has_it() {
    let before = rendering(&[("net", "one"), ("net", "two"), ("shop", "web")], "1");
    let held = |objects: &[&str]| {
        let hold = Hold { bundle: Some("net".to_owned()), ..hold("1", "cluster=b") };
        let objects = Arc::new(objects.iter().map(|name| id(name)).collect::<BTreeSet<_>>());
        Held::of(&[hold], &labels("b", "prod"), at(0)).recorded(move |_| Some(Arc::clone(&objects)))
    };
    for (what, after, written) in [
        ("moved", rendering(&[("net", "one"), ("shop", "two"), ("shop", "web")], "2"), vec!["web"]),
        ("renamed", rendering(&[("new", "one"), ("new", "two"), ("shop", "web")], "2"), vec!["web"]),
        ("with another", rendering(&[("new", "one"), ("new", "three"), ("shop", "web")], "2"), vec!["three", "web"]),
    ] {
        let held = held(&["one", "two"]).with(Some(&after));
        let laid = held.lay(&after);
        let plan = plan(&laid, &applied(&before), &BTreeSet::new(), Drift::Repair);
        let writes: Vec<&str> = plan.writes.values().flatten().map(|write| &*write.object.id.name).collect();
        assert_eq!((writes, plan.deletions.len(), plan.left), (written, 0, 0), "{what}");
        assert!(laid.digest != after.digest && held.why().is_some(), "it does not run all of the commit: {what}");
        assert!(laid.objects.is_sorted_by(|a, b| a.id < b.id));
    }
    let after = rendering(&[("net", "one"), ("shop", "two")], "2");
    assert_eq!(held(&["one"]).lay(&after).object(&id("two")).unwrap().bundle, "shop".into(), "it was applied from there");
}

#[test]
fn a_hook_of_a_bundle_under_a_new_name_does_not_run() {
    let hook = |rendering: &Rendering, name: &str| {
        let mut rendering = rendering.clone();
        let at = rendering.objects.iter().position(|object| object.id == id(name)).unwrap();
        Arc::make_mut(&mut rendering.objects[at]).policy.hook = Some(crate::manifest::Hook::PreSync);
        Arc::new(rendering)
    };
    let hold = Hold { bundle: Some("net".to_owned()), ..hold("1", "cluster=b") };
    let held = Held::of(&[hold], &labels("b", "prod"), at(0)).recorded(|_| Some(Arc::new([id("one")].into())));
    let renamed = held.lay(&hook(&rendering(&[("new", "job"), ("new", "one")], "2"), "job"));
    assert!(renamed.objects.iter().all(|object| &*object.bundle == "net") && renamed.is_paused("net"));
    let moved = held.lay(&hook(&rendering(&[("new", "job"), ("new", "one"), ("new", "own")], "2"), "job"));
    assert_eq!(moved.object(&id("job")).unwrap().bundle, "new".into(), "the bundle has something of its own");
}

#[test]
fn what_is_found_again_keeps_who_was_let_go() {
    let found = Hold { except: ["cluster=b".to_owned()].into(), ..hold("1", "environment=prod") };
    assert_eq!(found_on(None, Some(&hold("1", "environment=prod")), &found), found);
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Hold>(&text).unwrap(), found);
    assert_eq!(
        hold("1", "environment=prod").diagnostic().to_string(),
        "error[EK4050]: held by ada (uid 7) since 1970-01-01T00:00:00Z, until it is released: the disk is full"
    );
}
