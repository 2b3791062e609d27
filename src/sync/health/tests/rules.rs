//! The repository's own rules, as its files give them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    git::MemorySource,
    layout,
    manifest::{DigestKey, ObjectId},
    render::{Facts, Renderer, Rendering},
    sync::health::Rules,
};

const OWN: &str = "apiVersion: evenkeel.dev/v1alpha1\n";
const WIDGETS: &str = "\
apiVersion: example.org/v1
kind: Widget
metadata: {name: a, namespace: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: shop}
";

/// What a small fleet with these settings renders to.
fn rendered(fleet: &str, base: &str, deeper: &str) -> (Arc<layout::HealthRules>, Arc<Rendering>) {
    let files = [
        ("evenkeel.yaml", format!("{OWN}kind: Fleet\nmetadata: {{name: shop}}\nspec: {{health: [{fleet}]}}\n")),
        ("base/web/bundle.yaml", format!("{OWN}kind: Bundle\nspec: {{health: [{base}]}}\n")),
        ("base/web/widgets.yaml", WIDGETS.to_owned()),
        ("base/other/widget.yaml", "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: b, namespace: shop}\n".to_owned()),
        ("environments/dev/eu/dev/cluster.yaml", format!("{OWN}kind: Cluster\n")),
        ("environments/dev/eu/dev/web/bundle.yaml", format!("{OWN}kind: Bundle\nspec: {{health: [{deeper}]}}\n")),
    ];
    let source = MemorySource::new(files).unwrap();
    let fleet = layout::read(&source).unwrap();
    let facts = Facts { scopes: [("Widget.example.org".parse().unwrap(), true)].into(), ..Facts::default() };
    let rendering = Renderer::new("evenkeel-system", DigestKey::new([0; 32])).render(&source, &fleet, &fleet.clusters[0], &facts);
    (Arc::clone(&fleet.spec.health), rendering.unwrap())
}

fn widget(current: &str) -> String {
    format!("{{apiVersion: example.org/v1, kind: Widget, current: \"{current}\"}}")
}

fn id(kind: &str, name: &str) -> ObjectId {
    let kind: crate::manifest::GroupKind = kind.parse().unwrap();
    crate::manifest::Identity { group: kind.group, kind: kind.kind, namespace: Some("shop".to_owned()), name: name.to_owned() }.into()
}

#[test]
fn the_nearest_rule_counts() {
    let phase = |phase: &str| format!("status.phase == '{phase}'");
    let judged = |rules: &Rules, name: &str, phase: &str| {
        let found = rules.assess(&id("Widget.example.org", name), &json!({"status": {"phase": phase}}));
        format!("{:?}", found.health)
    };
    let (fleet, rendering) = rendered(&widget(&phase("Fleet")), &widget(&phase("Base")), &widget(&phase("Deep")));
    let rules = Rules::new(Arc::clone(&fleet), Some(rendering));
    assert_eq!(["Fleet", "Base", "Deep"].map(|phase| judged(&rules, "a", phase)), ["Progressing", "Progressing", "Healthy"]);
    assert_eq!(["Fleet", "Base", "Deep"].map(|phase| judged(&rules, "b", phase)), ["Healthy", "Progressing", "Progressing"]);
    assert_eq!(judged(&rules, "gone", "Fleet"), "Healthy", "what is not in the rendering is judged by the fleet's rule");
    let (fleet, rendering) = rendered("", &widget(&phase("Base")), "");
    let rules = Rules::new(fleet, Some(rendering));
    assert_eq!(judged(&rules, "a", "Base"), "Healthy");
    assert_eq!(judged(&rules, "b", "Base"), "Healthy", "by the rules that are built in");
}

#[test]
fn a_rule_goes_before_what_is_built_in_and_makes_a_kind_worth_reading() {
    let rule = "{apiVersion: v7, kind: ConfigMap, current: \"data.state == 'ok'\"}";
    let (fleet, rendering) = rendered(rule, "", "");
    let (map, plain) = (id("ConfigMap", "c"), Rules::new(Arc::default(), Some(Arc::clone(&rendering))));
    let rules = Rules::new(fleet, Some(rendering));
    assert!(rules.read(&map) && !plain.read(&map));
    let health = |rules: &Rules| format!("{:?}", rules.assess(&map, &json!({"data": {"state": "bad"}})).health);
    assert_eq!((health(&rules), health(&plain)), ("Progressing".to_owned(), "Healthy".to_owned()));
}

#[test]
fn conditions_are_asked_in_the_order_of_flux() {
    let rule = "\
{apiVersion: example.org/v1, kind: Widget, current: \"status.current\", inProgress: \"status.busy\", failed: \"status.failed\",
 suspended: \"has(spec.off) && spec.off\"}";
    let (fleet, rendering) = rendered(rule, "", "");
    let rules = Rules::new(fleet, Some(rendering));
    let widget = |busy: bool, failed: bool, current: bool| json!({"metadata": {"generation": 2}, "spec": {}, "status": {"busy": busy, "failed": failed, "current": current}});
    let with = |object: Value, pointer: &str, value: Value| {
        let mut object = object;
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[name] = value;
        object
    };
    let ready = json!([{"type": "Ready", "status": "False", "reason": "Dry", "message": "no water"}]);
    for (object, expected) in [
        (widget(false, false, true), "Healthy: "),
        (widget(true, true, true), "Progressing: inProgress is true (evenkeel.yaml:4:"),
        (widget(false, true, true), "Degraded: failed is true (evenkeel.yaml:4:"),
        (with(widget(false, true, true), "/status/conditions", ready), "Degraded: Dry: no water (failed at evenkeel.yaml:4:"),
        (widget(false, false, false), "Progressing: it is not current yet (evenkeel.yaml:4:"),
        (json!({"spec": {}}), "Progressing: not known yet: there is no status (inProgress at evenkeel.yaml:4:"),
        (json!({"spec": {}, "status": {"busy": false}}), "Progressing: not known yet: there is no failed (failed at evenkeel.yaml:4:"),
        (json!({"spec": {}, "status": {"busy": "no"}}), "Progressing: not known yet: it is neither true nor false (inProgress at"),
        (
            with(widget(false, true, true), "/status/observedGeneration", json!(1)),
            "Progressing: its controller has not seen the change yet",
        ),
        (with(widget(false, false, true), "/status/observedGeneration", json!(2)), "Healthy: "),
        (
            with(with(widget(false, true, false), "/status/observedGeneration", json!(1)), "/spec/off", json!(true)),
            "Suspended: suspended is true (evenkeel.yaml:5:",
        ),
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), "Progressing: it is being deleted"),
    ] {
        let found = rules.assess(&id("Widget.example.org", "a"), &object);
        let shown = format!("{:?}: {}", found.health, found.reason);
        assert!(shown.starts_with(expected), "{object}: {shown}");
    }
}

#[test]
fn other_rules_are_noticed_and_the_rendering_stays_the_same() {
    let (fleet, rendering) = rendered(&widget("status.a"), &widget("status.b"), "");
    let rules = Rules::new(Arc::clone(&fleet), Some(Arc::clone(&rendering)));
    for (others, same) in [
        (rendered(&widget("status.a"), &widget("status.b"), ""), true),
        (rendered(&widget("status.x"), &widget("status.b"), ""), false),
        (rendered(&widget("status.a"), &widget("status.x"), ""), false),
        (rendered(&widget("status.a"), &widget("status.b"), &widget("status.x")), false),
        (rendered("", "", ""), false),
    ] {
        assert_eq!(others.1.digest, rendering.digest, "what is sent does not depend on it");
        assert_eq!(Rules::new(others.0, Some(others.1)).judge_as(&rules), same);
    }
    let kept = rules.renewed(&fleet, None);
    assert!(kept.judge_as(&rules), "a rendering that cannot be made changes no rule");
}
