use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{git::MemorySource, manifest::DigestKey};

fn own(kind: &str, spec: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\n{spec}")
}

/// A fleet of these clusters (environment and name) with these files.
fn tree(clusters: &[(&str, &str)], files: &[(&str, &str)]) -> MemorySource {
    let mut all = vec![("evenkeel.yaml".to_owned(), own("Fleet", "metadata: {name: shop}\n"))];
    all.extend(clusters.iter().map(|(env, name)| (format!("environments/{env}/eu/{name}/cluster.yaml"), own("Cluster", ""))));
    all.extend(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    MemorySource::new(all).unwrap()
}

const CLUSTERS: &[(&str, &str)] = &[("dev", "dev"), ("prod", "prod")];

fn renderer() -> Renderer {
    Renderer::new("evenkeel-system", DigestKey::new([0; 32]))
}

fn plan_of(base: &MemorySource, head: &MemorySource) -> Plan {
    between(&State::before(None, base), &State::after(None, head), &renderer())
}

/// What a change of these files does to a cluster.
fn planned(base: &[(&str, &str)], head: &[(&str, &str)]) -> ClusterPlan {
    let plan = plan_of(&tree(CLUSTERS, base), &tree(CLUSTERS, head));
    assert_eq!(plan.clusters.iter().map(|cluster| &*cluster.name).collect::<Vec<_>>(), ["dev", "prod"]);
    plan.clusters.into_iter().next().unwrap()
}

fn config(name: &str, data: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data}).to_string()
}

/// The fields of the only object that changes.
fn fields(base: &str, head: &str) -> String {
    let plan = planned(&[("base/a/x.yaml", base)], &[("base/a/x.yaml", head)]);
    assert_eq!((plan.create.len(), plan.delete.len(), plan.change.len()), (0, 0, 1), "{plan:?}");
    let shown = |field: &Field| format!("{:?} {}: {} -> {}", field.op, field.path, field.from, field.to);
    plan.change[0].fields.iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_difference_is_in_its_list() {
    let (one, two) = (config("one", &json!({"v": "1"})), config("one", &json!({"v": "2"})));
    let [stays, gone, new, moved] = ["stays", "gone", "new", "moved"].map(|name| config(name, &json!({})));
    let plan = planned(
        &[("base/a/one.yaml", &one), ("base/a/stays.yaml", &stays), ("base/a/gone.yaml", &gone), ("base/b/moved.yaml", &moved)],
        &[("base/a/one.yaml", &two), ("base/a/stays.yaml", &stays), ("base/a/new.yaml", &new), ("base/a/moved.yaml", &moved)],
    );
    let answer = serde_json::to_value(&plan).unwrap();
    let id = |name: &str| json!({"group": "", "kind": "ConfigMap", "namespace": "shop", "name": name});
    let with = |name: &str, more: Value| {
        let mut object = id(name);
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    assert_eq!(answer["outcome"], "Changed");
    assert_eq!(answer["create"], json!([with("new", json!({"bundle": "a", "paused": false}))]));
    let field = json!({"path": "data.v", "op": "Changed", "from": "1", "to": "2"});
    assert_eq!(answer["change"], json!([with("one", json!({"bundle": "a", "paused": false, "fields": [field]}))]));
    assert_eq!(answer["delete"], json!([with("gone", json!({"bundle": "a", "fate": "Deleted", "reason": ""}))]));
    assert_eq!(answer["move"], json!([with("moved", json!({"from": "b", "to": "a"}))]));
    assert_eq!(answer["objects"], 4);
}

#[test]
fn deletions_that_a_sync_would_hold_or_keep_are_told() {
    let objects = |count: usize| -> Vec<(String, String)> {
        (0..count).map(|n| (format!("base/a/n{n}.yaml"), config(&format!("n{n}"), &json!({})))).collect()
    };
    let fates = |base: &[(String, String)], head: &[(String, String)]| -> BTreeSet<(Fate, String)> {
        let refs = |files: &[(String, String)]| -> MemorySource {
            tree(CLUSTERS, &files.iter().map(|(path, text)| (&**path, &**text)).collect::<Vec<_>>())
        };
        let plan = plan_of(&refs(base), &refs(head));
        plan.clusters[0].delete.iter().map(|delete| (delete.fate, delete.reason.clone())).collect()
    };
    let only = |fate, reason: &str| BTreeSet::from([(fate, reason.to_owned())]);
    assert_eq!(fates(&objects(80), &objects(60)), only(Fate::Deleted, ""));
    assert_eq!(fates(&objects(80), &objects(59)), only(Fate::Held, "21 of 80 objects would go, more than 20 and 25 %"));
    assert_eq!(fates(&objects(3), &[]), only(Fate::Held, "the cluster lost the layer base"));
    let with = |path: &str, text: String| [objects(3), vec![(path.to_owned(), text)]].concat();
    assert_eq!(
        fates(&with("base/b/x.yaml", config("x", &json!({}))), &objects(3)),
        only(Fate::Held, "the whole bundle b left the cluster: its files are gone, or its targets do not select the cluster any more")
    );
    let namespace = |annotation: &str| {
        let annotations = json!({"evenkeel.dev/prune": annotation});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "annotations": if annotation.is_empty() { Value::Null } else { annotations }}})
            .to_string()
    };
    assert_eq!(
        fates(&with("base/a/x.yaml", namespace("")), &objects(3)),
        only(Fate::Held, "deleting a Namespace takes other objects or data with it")
    );
    assert_eq!(fates(&with("base/a/x.yaml", namespace("allow")), &objects(3)), only(Fate::Deleted, ""));
    assert_eq!(
        fates(&with("base/a/x.yaml", namespace("never")), &objects(3)),
        only(Fate::Kept, "its annotation evenkeel.dev/prune says never")
    );
    let paused = ("base/a/bundle.yaml".to_owned(), own("Bundle", "spec: {paused: true}\n"));
    assert_eq!(fates(&objects(3), &[objects(2), vec![paused]].concat()), only(Fate::Paused, "the bundle a is paused"));
}

#[test]
fn pauses_are_differences() {
    let (object, paused) = (config("a", &json!({})), own("Bundle", "spec: {paused: true}\n"));
    let pause = |bundle: Option<&str>, paused| vec![Pause { bundle: bundle.map(str::to_owned), paused }];
    let (with, without) = ([("base/a/x.yaml", &*object), ("base/a/bundle.yaml", &*paused)], [("base/a/x.yaml", &*object)]);
    assert_eq!(planned(&without, &with).pauses, pause(Some("a"), true));
    assert_eq!(planned(&with, &without).pauses, pause(Some("a"), false));
    let cluster = own("Cluster", "spec: {paused: true}\n");
    let plan = planned(&without, &[without[0], ("environments/dev/eu/dev/cluster.yaml", &cluster)]);
    assert_eq!((plan.pauses, plan.outcome), (pause(None, true), Outcome::Changed));
    assert_eq!(plan.paused.as_deref(), Some("environments/dev/eu/dev/cluster.yaml"));
    let changed = config("a", &json!({"v": "1"}));
    let plan = planned(&with, &[("base/a/x.yaml", &changed), with[1]]);
    assert!(plan.change[0].paused && plan.pauses.is_empty());
}

#[test]
fn clusters_come_go_break_and_mend() {
    let object = config("a", &json!({}));
    let (good, bad) = ([("base/a/x.yaml", &*object)], [("base/a/x.yaml", &*object), ("environments/dev/base/y.yaml", "a: [")]);
    let outcomes = |base: &MemorySource, head: &MemorySource| {
        let plan = plan_of(base, head);
        let outcomes: Vec<_> = plan.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.outcome, cluster.objects)).collect();
        (outcomes, plan.refuses(), plan.differs())
    };
    let of = |dev, objects| ("dev".to_owned(), dev, objects);
    let prod = ("prod".to_owned(), Outcome::Unchanged, Some(1));
    let (whole, broken, half) = (tree(CLUSTERS, &good), tree(CLUSTERS, &bad), tree(&CLUSTERS[1..], &good));
    assert_eq!(outcomes(&whole, &whole), (vec![of(Outcome::Unchanged, Some(1)), prod.clone()], false, false));
    assert_eq!(outcomes(&whole, &broken), (vec![of(Outcome::Refused, None), prod.clone()], true, false));
    assert_eq!(outcomes(&broken, &whole), (vec![of(Outcome::Recovered, Some(1)), prod.clone()], false, true));
    assert_eq!(outcomes(&half, &whole), (vec![of(Outcome::Added, Some(1)), prod.clone()], false, true));
    assert_eq!(outcomes(&whole, &half), (vec![of(Outcome::Removed, None), prod], false, true));
    let nothing = MemorySource::empty();
    let added = ("prod".to_owned(), Outcome::Added, Some(1));
    assert_eq!(outcomes(&nothing, &whole), (vec![of(Outcome::Added, Some(1)), added], false, true));
    let refused = ("prod".to_owned(), Outcome::Refused, None);
    assert_eq!(outcomes(&whole, &nothing), (vec![of(Outcome::Refused, None), refused], true, false));
    assert_eq!(outcomes(&nothing, &nothing), (vec![], true, false));
}

#[test]
fn a_secret_shows_that_it_changed_and_not_to_what() {
    let secret = |data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "shop", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": data.to_string(), "note": "n"}},
            "type": "Opaque", "data": data})
        .to_string()
    };
    let shown = fields(
        &secret(json!({"same": "c2FtZQ==", "other": "b25l", "gone": "Z29uZQ=="})),
        &secret(json!({"same": "c2FtZQ==", "other": "dHdv", "new": "bmV3"})),
    );
    let annotation = r#"Changed metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]: "***" -> "***""#;
    let entries = [r#"Removed data.gone: "***" -> null"#, r#"Added data.new: null -> "***""#, r#"Changed data.other: "***" -> "***""#];
    assert_eq!(shown, [&entries[..], &[annotation]].concat().join("\n"));

    let odd = |data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "shop"}, "data": data}).to_string()
    };
    for (from, to) in [
        (json!({"a": {"hunter2": "hunter2"}}), json!({"a": {"hunter3": "hunter2"}})),
        (json!("hunter2"), json!(["hunter2", "hunter3"])),
        (json!(["hunter2"]), json!(["hunter3", {"hunter2": 1}])),
        (json!({}), json!({"hunter": {"a": "hunter2"}})),
        (Value::Null, json!({"hunter": "hunter2"})),
    ] {
        let (from, to) = (odd(from), odd(to));
        let plan = planned(&[("base/a/x.yaml", &from)], &[("base/a/x.yaml", &to)]);
        let text = format!("{} {plan:?}", serde_json::to_string(&plan).unwrap());
        assert!(!text.contains("hunter2") && !text.contains("hunter3"), "{text}");
        assert!(plan.outcome != Outcome::Changed || !plan.change[0].fields.is_empty(), "{text}");
    }
    let bare = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "shop"}}).to_string();
    let shown = fields(&bare, &secret(json!({"a": "aHVudGVyMg=="})));
    assert!(shown.contains(r#"Added data: null -> {"a":"***"}"#) && !shown.contains("aHVudGVyMg"), "{shown}");
}

#[test]
fn lists_of_a_custom_resource_go_by_the_definition_in_the_rendering() {
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}, "versions": [{"name": "v1",
        "schema": {"openAPIV3Schema": {"properties": {"rules": {"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port"], "items": {"properties": {"port": {"type": "integer"}}}}}}}}]}})
    .to_string();
    let widget = |rules: Value| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}, "rules": rules})
            .to_string()
    };
    let (from, to) =
        (widget(json!([{"port": 1, "a": 1}, {"port": 2, "a": 1}])), widget(json!([{"port": 3}, {"port": 1, "a": 1}, {"port": 2, "a": 2}])));
    let crd = ("base/a/crd.yaml", &*definition);
    let plan = planned(&[crd, ("base/a/x.yaml", &from)], &[crd, ("base/a/x.yaml", &to)]);
    let paths: Vec<&str> = plan.change[0].fields.iter().map(|field| &*field.path).collect();
    assert_eq!(paths, ["rules[port=2].a", "rules[port=3]"]);
    // A definition that goes with its object still says how the lists were told apart.
    let plan = planned(&[crd, ("base/a/x.yaml", &from)], &[("base/a/x.yaml", &to)]);
    assert_eq!(plan.change[0].fields.len(), 2);
}

#[test]
fn the_same_change_of_many_clusters_is_one_list_of_fields() {
    let (one, two) = (config("one", &json!({"v": "1"})), config("one", &json!({"v": "2"})));
    let plan = plan_of(&tree(CLUSTERS, &[("base/a/x.yaml", &one)]), &tree(CLUSTERS, &[("base/a/x.yaml", &two)]));
    assert!(Arc::ptr_eq(&plan.clusters[0].change[0].fields, &plan.clusters[1].change[0].fields));
}

#[test]
fn a_cluster_that_a_change_does_not_reach_is_rendered_once() {
    let (one, two) = (config("one", &json!({"v": "1"})), config("two", &json!({"v": "2"})));
    let base = tree(CLUSTERS, &[("base/a/x.yaml", &one)]);
    let head = tree(CLUSTERS, &[("base/a/x.yaml", &one), ("environments/dev/eu/dev/a/y.yaml", &two)]);
    let renderer = renderer();
    let (before, after) = (State::before(None, &base), State::after(None, &head));
    let (old, new) = (before.render(&renderer), after.render(&renderer));
    let same = |name: &str| Arc::ptr_eq(old[name].1.as_ref().unwrap(), new[name].1.as_ref().unwrap());
    assert_eq!((same("dev"), same("prod")), (false, true));
}

#[test]
fn a_new_name_of_the_fleet_is_a_difference() {
    let base = tree(CLUSTERS, &[]);
    let renamed = own("Fleet", "metadata: {name: store}\n");
    let plan = plan_of(&base, &tree(CLUSTERS, &[("evenkeel.yaml", &renamed)]));
    assert_eq!((plan.fleet.renamed(), plan.differs()), (Some(("shop", "store")), true));
}

proptest! {
    /// Nothing differs from itself, and every object that differs is told once.
    #[test]
    fn every_object_is_in_one_list(base in prop::collection::btree_map(0u8..8, (0u8..3, 0u8..2), 0..8), head in prop::collection::btree_map(0u8..8, (0u8..3, 0u8..2), 0..8)) {
        let source = |objects: &BTreeMap<u8, (u8, u8)>| {
            let files: Vec<_> = objects.iter().map(|(name, (value, bundle))| {
                (format!("base/b{bundle}/n{name}.yaml"), config(&format!("n{name}"), &json!({"v": value.to_string()})))
            }).collect();
            tree(CLUSTERS, &files.iter().map(|(path, text)| (&**path, &**text)).collect::<Vec<_>>())
        };
        let same = plan_of(&source(&base), &source(&base));
        prop_assert!(!same.differs() && !same.refuses());
        let plan = plan_of(&source(&base), &source(&head));
        let cluster = &plan.clusters[0];
        let names = |ids: Vec<&crate::manifest::ObjectId>| ids.into_iter().map(|id| id.name[1..].parse().unwrap()).collect::<Vec<u8>>();
        let only = |a: &BTreeMap<u8, (u8, u8)>, b: &BTreeMap<u8, (u8, u8)>| a.keys().filter(|name| !b.contains_key(name)).copied().collect::<Vec<u8>>();
        let differ = |part: fn(&(u8, u8)) -> u8| base.iter().filter(|(name, it)| head.get(name).is_some_and(|other| part(it) != part(other))).map(|(name, _)| *name).collect::<Vec<u8>>();
        prop_assert_eq!(names(cluster.create.iter().map(|it| &it.id).collect()), only(&head, &base));
        prop_assert_eq!(names(cluster.delete.iter().map(|it| &it.id).collect()), only(&base, &head));
        prop_assert_eq!(names(cluster.change.iter().map(|it| &it.id).collect()), differ(|it| it.0));
        prop_assert_eq!(names(cluster.moves.iter().map(|it| &it.id).collect()), differ(|it| it.1));
    }
}

/// Why each deletion of each cluster waits, empty where it does not.
fn waits(base: &MemorySource, head: &MemorySource) -> Vec<(String, Vec<String>)> {
    let plan = plan_of(base, head);
    let reason = |delete: &Delete| if delete.fate == Fate::Deleted { String::new() } else { delete.reason.clone() };
    plan.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.delete.iter().map(reason).collect())).collect()
}

#[test]
fn what_the_fleet_would_lose_together_waits_on_every_cluster() {
    let names: Vec<(String, String)> = (0..60).map(|n| (format!("base/a/n{n}.yaml"), config(&format!("n{n}"), &json!({})))).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let clusters: Vec<String> = (0..4).map(|n| format!("c{n}")).collect();
    let clusters: Vec<(&str, &str)> = clusters.iter().map(|name| ("dev", name.as_str())).collect();
    let fleet = |left: usize| tree(&clusters, &files[..left]);
    // 4 * 12 = 48, and 4 * 16 = 64 of 240, which is more than a quarter: no cluster exceeds its own budget.
    assert!(waits(&fleet(60), &fleet(48)).iter().all(|(_, reasons)| reasons.len() == 12 && reasons.iter().all(String::is_empty)));
    let held = waits(&fleet(60), &fleet(44));
    let reason = "64 of 240 objects of the fleet would go with one revision, more than 50 and 25 %";
    assert!(held.iter().all(|(_, reasons)| reasons.len() == 16 && reasons.iter().all(|found| found == reason)), "{held:?}");
}

#[test]
fn a_layer_that_is_gone_and_a_cluster_that_is_pruned_wait() {
    let [stays, goes] = ["stays", "goes"].map(|name| config(name, &json!({})));
    let layered = tree(CLUSTERS, &[("base/a/stays.yaml", &stays), ("environments/dev/base/a/goes.yaml", &goes)]);
    let bare = tree(CLUSTERS, &[("base/a/stays.yaml", &stays)]);
    let moved = tree(CLUSTERS, &[("base/a/stays.yaml", &stays), ("environments/dev/eu/base/a/goes.yaml", &goes)]);
    let dev = |reasons: &[&str]| vec![("dev".to_owned(), reasons.iter().map(ToString::to_string).collect()), ("prod".to_owned(), vec![])];
    assert_eq!(waits(&layered, &bare), dev(&["the cluster lost the layer environments/dev/base"]));
    assert_eq!(waits(&layered, &moved), dev(&[]), "moved to another layer");

    let prune = own("Environment", "spec: {onRemoval: prune}\n");
    let pruned = tree(CLUSTERS, &[("base/a/stays.yaml", &stays), ("environments/dev/environment.yaml", &prune)]);
    assert_eq!(waits(&pruned, &tree(&CLUSTERS[1..], &[("base/a/stays.yaml", &stays)])), dev(&[crate::sync::caution::LEFT]));
    assert_eq!(waits(&bare, &tree(&CLUSTERS[1..], &[("base/a/stays.yaml", &stays)])), dev(&[]), "its objects stay");
}
