//! The rules of the repository (`spec.health`), which go before those built in.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Assessment, assess, condition, deleting, has_status, unseen_change, words_of};
use crate::{
    layout::{Condition, HealthRule, HealthRules},
    manifest::{Digest, ObjectId},
    render::Rendering,
};

/// By what the objects of a cluster are judged.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    fleet: Arc<HealthRules>,
    /// Which object is of which bundle, and the bundles' rules.
    rendering: Option<Arc<Rendering>>,
    /// There is any at all.
    any: bool,
}

impl Rules {
    /// The rules of a fleet, and of the bundles of a rendering.
    pub fn new(fleet: Arc<HealthRules>, rendering: Option<Arc<Rendering>>) -> Self {
        let of_bundle = rendering.iter().flat_map(|rendering| rendering.bundles.values()).any(|settings| !settings.health.is_empty());
        Self { any: of_bundle || !fleet.is_empty(), fleet, rendering }
    }

    /// The rules with these of the fleet. A rendering that cannot be made leaves what is known of the bundles.
    pub(in crate::sync) fn renewed(&self, fleet: &Arc<HealthRules>, rendering: Option<&Arc<Rendering>>) -> Self {
        Self::new(Arc::clone(fleet), rendering.or(self.rendering.as_ref()).cloned())
    }

    /// Whether every object is judged as by the other rules.
    pub(in crate::sync) fn judge_as(&self, other: &Self) -> bool {
        self.fleet == other.fleet && self.of_bundles() == other.of_bundles()
    }

    /// The bundles that have rules, and the digest that says which objects are theirs.
    fn of_bundles(&self) -> Option<(Digest, BTreeMap<&str, &HealthRules>)> {
        let rendering = self.rendering.as_ref()?;
        let with_rules = rendering.bundles.iter().filter(|(_, settings)| !settings.health.is_empty());
        let bundles: BTreeMap<_, _> = with_rules.map(|(name, settings)| (&**name, &settings.health)).collect();
        (!bundles.is_empty()).then_some((rendering.digest, bundles))
    }

    /// The rule for an object: its bundle's, or else the fleet's.
    fn of(&self, id: &ObjectId) -> Option<&HealthRule> {
        if !self.any {
            return None;
        }
        let kind = id.group_kind();
        let bundle = self.rendering.as_ref().and_then(|rendering| {
            let object = rendering.object(id)?;
            rendering.bundles.get(&*object.bundle)?.health.of(&kind)
        });
        bundle.or_else(|| self.fleet.of(&kind)).map(|rule| &**rule)
    }

    /// Whether the object has to be read to know how it does.
    pub fn read(&self, id: &ObjectId) -> bool {
        has_status(&id.group, &id.kind) || self.of(id).is_some()
    }

    /// Judges an object.
    pub fn assess(&self, id: &ObjectId, object: &Value) -> Assessment {
        match self.of(id) {
            Some(rule) => by_rule(rule, object),
            None => assess(&id.group_kind(), object),
        }
    }
}

/// As Flux does with its `healthCheckExprs`: a status of an older content says nothing; then inProgress, failed and current are asked
/// in this order, and the first that is true counts. What cannot be told, such as for a field that is not there, is in progress.
/// `suspended` comes first: a controller that rests may not look at changes.
fn by_rule(rule: &HealthRule, object: &Value) -> Assessment {
    if let Some(deleting) = deleting(object) {
        return deleting;
    }
    let asked = |name: &str, condition: Option<&Condition>, then: fn(String) -> Assessment| {
        let condition = condition?;
        match condition.expression.holds(object) {
            Ok(true) => Some(then(because(object, name, condition))),
            Ok(false) => None,
            Err(why) => Some(Assessment::progressing(format!("not known yet: {why} ({name} at {})", condition.place))),
        }
    };
    asked("suspended", rule.suspended.as_ref(), Assessment::suspended)
        .or_else(|| unseen_change(object))
        .or_else(|| asked("inProgress", rule.in_progress.as_ref(), Assessment::progressing))
        .or_else(|| asked("failed", rule.failed.as_ref(), Assessment::degraded))
        .or_else(|| asked("current", Some(&rule.current), |_| Assessment::healthy()))
        .unwrap_or_else(|| Assessment::progressing(format!("it is not current yet ({})", rule.current.place)))
}

/// The object's own words, where it has any, and the rule that says so.
fn because(object: &Value, name: &str, rule: &Condition) -> String {
    let mut said = ["Ready", "Available"].into_iter().filter_map(|kind| condition(object, kind));
    match said.find(|said| said["status"] != "True" && (said["message"].is_string() || said["reason"].is_string())) {
        Some(said) => format!("{} ({name} at {})", words_of(said), rule.place),
        None => format!("{name} is true ({})", rule.place),
    }
}
