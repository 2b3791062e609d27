//! What an object's answers mean. Values in, values out.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{DIGEST_ANNOTATION, ID_ANNOTATION, ObjectId, PART_OF},
    render::RenderedObject,
    sync::{
        drift::{Departure, departures},
        entries::{entries, lost},
        others::managers,
        takeover::take_over,
    },
};

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is not there.
    Absent,
    /// It is there and nobody's that we know.
    Stranger {
        /// The managers from whom something would be taken; where there are none, it would be shared.
        from: Vec<String>,
        /// The managers who keep what they set of it.
        with: Vec<String>,
    },
    /// It is the fleet's.
    Member,
    /// It is another fleet's.
    OtherFleet,
}

/// What the server says of writing it.
#[derive(Debug, Clone, PartialEq)]
pub enum Tried {
    /// It would be this.
    Becomes(Value),
    /// It cannot be asked yet: its namespace or its kind is made, or the definition of its kind changed, by the same sync.
    Waits,
    /// The server cannot try it, in its words.
    Untried(String),
    /// It would be deleted and created anew.
    Anew,
    /// It is the last run of a hook: it makes way for the next.
    Runs,
    /// It is refused.
    Refused(Diagnostic),
}

/// What others did to a member since it was applied; Git has not changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// How the fleet's entry in its managedFields went, where it did.
    pub lost: Option<&'static str>,
    /// The fields, the first few.
    pub departures: Vec<Departure>,
}

/// One object and what a sync would do to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Previewed {
    /// As it is wanted.
    pub object: Arc<RenderedObject>,
    /// As it stands; it may hold a Secret's values, as what it would be may.
    pub live: Option<Value>,
    /// Whose it is.
    pub standing: Standing,
    /// What the server says.
    pub tried: Tried,
    /// What others did to it.
    pub drifted: Option<Drifted>,
    /// What becomes of what the tool that managed it before left on it.
    pub told: Option<String>,
}

impl Standing {
    /// By its marks, of which both must be right: controllers copy labels.
    pub(super) fn of(id: &ObjectId, live: Option<&Value>, set: &str) -> Self {
        let Some(live) = live else { return Self::Absent };
        let metadata = &live["metadata"];
        let is_own = metadata["annotations"][ID_ANNOTATION] == id.to_string();
        match metadata["labels"][PART_OF].as_str() {
            Some(owner) if owner == set && is_own => Self::Member,
            Some(owner) if owner != set => Self::OtherFleet,
            _ => Self::Stranger { from: Vec::new(), with: Vec::new() },
        }
    }
}

impl Previewed {
    pub(super) fn new(object: Arc<RenderedObject>, live: Option<Value>, standing: Standing, tried: Tried) -> Self {
        Self { object, live, standing, tried, drifted: None, told: None }
    }

    /// Tells who changed a member that Git has not changed.
    pub(super) fn look_closer(&mut self, manager: &str) {
        let Some(live) = &self.live else { return };
        let wanted = || serde_json::from_slice::<Value>(self.object.body.as_slice()).unwrap_or_default();
        match (&self.standing, &self.tried) {
            (Standing::Member, Tried::Becomes(would)) if self.is_as_applied(live) && content(would) != content(live) => {
                let departures = departures(&wanted(), live, manager);
                self.drifted = Some(Drifted { lost: lost(live, manager), departures });
            }
            // What the server cannot try is told by its marks, as a sync tells it.
            (Standing::Member, Tried::Untried(_)) if self.is_as_applied(live) => {
                let (lost, departures) = (lost(live, manager), departures(&without_blanks(wanted()), live, manager));
                self.drifted = (lost.is_some() || !departures.is_empty()).then_some(Drifted { lost, departures });
            }
            _ => {}
        }
    }

    /// Tells what is taken of a stranger: from whom the server says so, and from the tool that managed it, if it may be taken over.
    pub(super) fn take(&mut self, manager: &str, may_take: bool, mut from: BTreeSet<String>) {
        let Some(live) = &self.live else { return };
        let wanted = || serde_json::from_slice::<Value>(self.object.body.as_slice()).unwrap_or_default();
        let mut with = match &self.tried {
            Tried::Becomes(would) => managers(entries(would), manager),
            // Nobody says whose fields would be taken: it may be anybody's who has some.
            Tried::Untried(_) if may_take => BTreeSet::new(),
            _ => managers(entries(live), manager),
        };
        if matches!(self.tried, Tried::Untried(_)) && may_take {
            from.extend(managers(entries(live), manager));
        } else if let Some(rewrite) = may_take.then(|| take_over(live, manager, &wanted())).flatten() {
            let left = managers(&rewrite.entries, manager);
            let taken: Vec<Value> = entries(live).iter().filter(|entry| !rewrite.entries.contains(entry)).cloned().collect();
            from.extend(managers(&taken, manager));
            with.retain(|name| left.contains(name));
            self.told = Some(rewrite.told);
        }
        self.standing = Standing::Stranger { from: from.into_iter().collect(), with: with.into_iter().collect() };
    }

    /// Whether what was applied last is what Git says.
    fn is_as_applied(&self, live: &Value) -> bool {
        live["metadata"]["annotations"][DIGEST_ANNOTATION] == self.object.digest.to_string()
    }

    /// Whether a sync would leave it as it is.
    pub fn is_as_wanted(&self) -> bool {
        match (&self.standing, &self.live, &self.tried) {
            (Standing::Member, Some(live), Tried::Becomes(would)) => self.is_as_applied(live) && content(would) == content(live),
            (Standing::Member, Some(live), Tried::Untried(_)) => self.is_as_applied(live) && self.drifted.is_none(),
            _ => false,
        }
    }

    /// Whether it would have other content than it has, the fleet's marks apart.
    pub fn changes_content(&self) -> bool {
        match (&self.live, &self.tried) {
            (Some(live), Tried::Becomes(would)) => content(would) != content(live),
            (_, Tried::Anew | Tried::Runs) => true,
            _ => false,
        }
    }
}

/// An object without what the server keeps about it and without the fleet's marks, to be compared and shown.
pub fn content(object: &Value) -> Value {
    /// Of `metadata`; written by the server with every write or once.
    /// A DaemonSet's count of its templates, which the server writes in the name of whoever created it (upstream
    /// pkg/registry/apps/daemonset/strategy.go).
    const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
    const KEPT_BY_SERVER: [&str; 6] = ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];
    let mut object = crate::render::without_marks(object.clone());
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !KEPT_BY_SERVER.contains(&name.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(TEMPLATE_GENERATION);
        }
    }
    object
}

/// An object without what says as much as its absence: the server drops that of many kinds, and nobody took it away.
fn without_blanks(value: Value) -> Value {
    let is_blank = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) => false,
    };
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, without_blanks(value))).filter(|(_, value)| !is_blank(value)).collect()
        }
        Value::Array(items) => items.into_iter().map(without_blanks).collect(),
        value => value,
    }
}

pub(super) fn other_fleet(id: &ObjectId, live: Option<&Value>, manager: &str) -> Tried {
    let names: BTreeSet<&str> = live.map(entries).unwrap_or_default().iter().filter_map(|entry| entry["manager"].as_str()).collect();
    let message = format!("{} manages it already; this fleet is {manager}", names.into_iter().collect::<Vec<_>>().join(", "));
    Tried::Refused(Diagnostic::new(codes::OTHER_FLEET, Place::Object(id.to_string()), message))
}

pub(super) fn kept_whole(id: &ObjectId, pointer: &str, whole: &str) -> Tried {
    let message = format!("it gives up {pointer}, which the API server keeps as a part of {whole}");
    Tried::Refused(Diagnostic::new(codes::KEPT_WHOLE, Place::Object(id.to_string()), message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sync::plan::tests::{id, rendering};

    /// The ConfigMap `one` of a rendering, as it stands on a cluster with those data.
    fn live(object: &RenderedObject, data: &str, by: &str) -> Value {
        let mut live: Value = serde_json::from_slice(object.body.as_slice()).unwrap();
        live["data"]["v"] = data.into();
        live["metadata"]["uid"] = "1".into();
        live["metadata"]["resourceVersion"] = "7".into();
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": "2026-01-02T03:04:05Z", "fieldsV1": fields});
        live["metadata"]["managedFields"] = json!([
            entry("evenkeel-shop", "Apply", json!({"f:metadata": {"f:labels": {}}})),
            entry(by, "Update", json!({"f:data": {"f:v": {}}})),
        ]);
        live
    }

    #[test]
    fn what_the_server_counts_in_a_daemon_set_is_nobodys() {
        let counted = |generation: &str| {
            let annotations = json!({"deprecated.daemonset.template.generation": generation, "mine": "1"});
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a", "annotations": annotations}})
        };
        assert_eq!(content(&counted("1")), content(&counted("2")));
        assert_eq!(content(&counted("1"))["metadata"]["annotations"], json!({"mine": "1"}));
    }

    fn previewed(data: &str, would: &str, change: impl FnOnce(&mut Value)) -> Previewed {
        let object = rendering(&[("a", "one")], "1").objects[0].clone();
        let mut now = live(&object, data, "kubectl-edit");
        change(&mut now);
        let set = now["metadata"]["labels"][PART_OF].as_str().unwrap_or("none").to_owned();
        let standing = Standing::of(&object.id, Some(&now), &set);
        let would = Tried::Becomes(live(&object, would, "kubectl-edit"));
        let mut previewed = Previewed::new(object, Some(now), standing, would);
        previewed.look_closer("evenkeel-shop");
        previewed
    }

    #[test]
    fn an_object_is_the_fleet_s_by_both_marks() {
        let object = &rendering(&[("a", "one")], "1").objects[0];
        let own = live(object, "1", "x");
        let set = own["metadata"]["labels"][PART_OF].as_str().unwrap().to_owned();
        let of = |live: Option<&Value>, set: &str| Standing::of(&id("one"), live, set);
        assert_eq!(of(None, &set), Standing::Absent);
        assert_eq!(of(Some(&own), &set), Standing::Member);
        assert_eq!(of(Some(&own), "another"), Standing::OtherFleet);
        let mut copy = own.clone();
        copy["metadata"]["annotations"][ID_ANNOTATION] = "ConfigMap/shop/two".into();
        assert_eq!(of(Some(&copy), &set), Standing::Stranger { from: Vec::new(), with: Vec::new() });
        copy["metadata"]["labels"] = json!({});
        assert_eq!(of(Some(&copy), &set), Standing::Stranger { from: Vec::new(), with: Vec::new() });
    }

    #[test]
    fn who_changed_what_is_told_where_git_has_not_changed() {
        let drifted = previewed("by hand", "1", |_| {}).drifted.unwrap();
        let expected = Departure {
            path: ".data.v".to_owned(),
            manager: Some("kubectl-edit".to_owned()),
            time: Some("2026-01-02T03:04:05Z".to_owned()),
        };
        assert_eq!(drifted, Drifted { lost: None, departures: vec![expected] });

        let older = previewed("by hand", "1", |live| live["metadata"]["annotations"][DIGEST_ANNOTATION] = "older".into());
        assert_eq!((older.drifted.clone(), older.is_as_wanted(), older.changes_content()), (None, false, true), "Git changed it");
        let same = previewed("1", "1", |_| {});
        assert_eq!((same.drifted.clone(), same.is_as_wanted(), same.changes_content()), (None, true, false));
    }

    #[test]
    fn what_cannot_be_tried_is_told_by_its_marks() {
        let untried = |data: &str, change: fn(&mut Value)| {
            let mut previewed = previewed(data, "1", change);
            (previewed.tried, previewed.drifted) = (Tried::Untried("no dry runs".to_owned()), None);
            previewed.look_closer("evenkeel-shop");
            (previewed.is_as_wanted(), previewed.drifted.map(|drifted| (drifted.lost.is_some(), drifted.departures.len())))
        };
        assert_eq!(untried("1", |_| {}), (true, None));
        assert_eq!(untried("by hand", |_| {}), (false, Some((false, 1))));
        assert_eq!(untried("1", |live| live["metadata"]["managedFields"] = json!([])), (false, Some((true, 0))));
        assert_eq!(untried("1", |live| live["metadata"]["annotations"][DIGEST_ANNOTATION] = "older".into()), (false, None));
    }

    #[test]
    fn what_says_nothing_is_not_missed() {
        let blank =
            json!({"data": {}, "spec": {"on": false, "count": 0, "text": "", "deep": {"none": null}, "items": [{"a": []}], "real": 1}});
        assert_eq!(without_blanks(blank), json!({"spec": {"items": [{}], "real": 1}}));
    }

    #[test]
    fn what_the_server_keeps_is_no_difference() {
        let mut other = previewed("1", "1", |_| {});
        let Tried::Becomes(would) = &mut other.tried else { unreachable!() };
        would["metadata"]["resourceVersion"] = "8".into();
        would["metadata"]["generation"] = 2.into();
        would["status"] = json!({"ready": true});
        assert!(other.is_as_wanted());
    }

    #[test]
    fn a_stranger_is_never_as_wanted_and_tells_what_is_taken_and_what_is_left() {
        let stranger = |may_take: bool, conflict: &[&str]| {
            let entries = json!([
                {"manager": "helm", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:v": {}, "f:old": {}}}},
                {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:more": {}}}},
                {"manager": "controller", "operation": "Update", "apiVersion": "v1", "subresource": "status", "fieldsV1": {"f:status": {}}}]);
            let mut previewed = previewed("1", "1", |live| {
                live["metadata"]["labels"] = json!({});
                live["metadata"]["managedFields"] = entries.clone();
                live["data"]["old"] = "1".into();
            });
            let Tried::Becomes(would) = &mut previewed.tried else { unreachable!() };
            (would["metadata"]["managedFields"], would["data"]["old"]) = (entries, "1".into());
            previewed.take("evenkeel-shop", may_take, conflict.iter().map(|name| (*name).to_owned()).collect());
            assert!(!previewed.is_as_wanted() && !previewed.changes_content());
            let Standing::Stranger { from, with } = previewed.standing else { unreachable!() };
            (from.join(","), with.join(","), previewed.told)
        };
        let told = "what helm managed is the fleet's now; removed, since Git does not have it: .data.old".to_owned();
        assert_eq!(stranger(false, &[]), (String::new(), "helm,kubectl-edit".to_owned(), None), "it is shared");
        assert_eq!(stranger(true, &[]), ("helm".to_owned(), "kubectl-edit".to_owned(), Some(told.clone())));
        assert_eq!(stranger(true, &["kubectl-edit"]), ("helm,kubectl-edit".to_owned(), "kubectl-edit".to_owned(), Some(told)));
    }
}
