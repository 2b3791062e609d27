//! Taking an object over from the tool that managed it before, without dead fields.
//!
//! A field that the old tool set and that Git does not have would stay for ever: server-side apply removes only what the applier
//! itself owned before. So the old tool's entries of managedFields become ours before the first apply, as `kubectl apply
//! --server-side` (k8s.io/client-go/util/csaupgrade) and Flux (fluxcd/pkg/ssa) do it; the apply then removes what Git does not
//! have, as the old tool would have. What people and controllers set stays theirs.

use serde_json::{Value, json};

use super::{
    entries::{BEFORE_FIRST_APPLY, Rewrite, entries, is_apply_of, is_of_object},
    fieldset::{minus, missing, union, within},
};
use crate::{listed, manifest::LAST_APPLIED};

/// Managers under which tools write whole objects that stand in a file or a chart, so that one who comes after them has to end
/// their work, and the operation where only one is meant. Names are exact: `kubectl edit`, `patch` and `scale` write as
/// `kubectl-edit` and so on, and are people.
const TOOLS: [(&str, Option<&str>); 8] = [
    // kubectl apply: kubernetes/kubectl pkg/cmd/apply/apply.go; the second holds its annotation alone.
    ("kubectl-client-side-apply", None),
    ("kubectl-last-applied", None),
    // kubectl apply --server-side, same file. Before 1.20 all of kubectl updated under this name.
    ("kubectl", Some("Apply")),
    // helm: helm/helm pkg/kube/client.go, the name of its binary.
    ("helm", None),
    // Flux: fluxcd/kustomize-controller and fluxcd/helm-controller, main.go, the controllers' names.
    ("kustomize-controller", None),
    ("helm-controller", None),
    // Argo CD: argoproj/argo-cd common/common.go (ArgoCDSSAManager), and the name of its binary where it sets none.
    ("argocd-controller", None),
    ("argocd-application-controller", None),
];

/// Paths that one line names; the first ones tell what happened.
const SHOWN_MAX: usize = 5;

/// What to rewrite of a live object before it is applied for the first time; none where no tool left anything.
///
/// [`BEFORE_FIRST_APPLY`] stands for all who wrote before managedFields were kept: of its fields only those are taken that
/// `kubectl apply` says it applied. The rest may be an autoscaler's.
pub(super) fn take_over(live: &Value, manager: &str, wanted: &Value) -> Option<Rewrite> {
    let all = entries(live);
    let annotation = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let applied: Option<Value> = annotation.and_then(|text| serde_json::from_str(text).ok());
    let target = all.iter().position(|entry| is_apply_of(entry, manager));
    let version = match target {
        Some(at) => &all[at]["apiVersion"],
        None => &all.iter().find(|entry| share_of(entry, applied.as_ref()).is_some())?["apiVersion"],
    };
    let (mut kept, mut from, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    for entry in all.iter().filter(|entry| !is_apply_of(entry, manager)) {
        // Fields of another version need not have the same names.
        let share = share_of(entry, applied.as_ref()).filter(|_| entry["apiVersion"] == *version);
        let rest = share.as_ref().map_or_else(|| Some(entry["fieldsV1"].clone()), |share| minus(&entry["fieldsV1"], share));
        if let Some(rest) = rest {
            let mut entry = entry.clone();
            entry["fieldsV1"] = rest;
            kept.push(entry);
        }
        if let Some(share) = share {
            from.push(entry["manager"].as_str().unwrap_or_default());
            taken.push(if live["kind"] == "Secret" { as_data(share) } else { share });
        }
    }
    let taken = all_of(taken)?;
    let told = tell(&from, &taken, &kept, (live, wanted));
    let fields = target.map_or_else(|| taken.clone(), |at| union(&all[at]["fieldsV1"], &taken));
    let ours = json!({"manager": manager, "operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields});
    kept.push(ours);
    Some(Rewrite { entries: kept, drops_last_applied: annotation.is_some(), told })
}

fn all_of(sets: impl IntoIterator<Item = Value>) -> Option<Value> {
    sets.into_iter().reduce(|all, set| union(&all, &set))
}

/// What of an entry is a tool's; none where nothing is.
fn share_of(entry: &Value, applied: Option<&Value>) -> Option<Value> {
    let (manager, fields) = (entry["manager"].as_str()?, &entry["fieldsV1"]);
    if !is_of_object(entry) {
        return None;
    }
    if manager == BEFORE_FIRST_APPLY {
        return within(fields, applied?);
    }
    // Whoever keeps kubectl's annotation applies on the client's side, under whatever name.
    let keeps_annotation = !fields["f:metadata"]["f:annotations"][format!("f:{LAST_APPLIED}")].is_null();
    let is_tool = TOOLS.iter().any(|(name, operation)| *name == manager && operation.is_none_or(|wanted| entry["operation"] == wanted));
    (is_tool || keeps_annotation).then(|| fields.clone())
}

/// What a tool wrote as `stringData` of a Secret stands in its `data`, and goes only from there.
fn as_data(mut share: Value) -> Value {
    let plain = share.as_object_mut().and_then(|fields| fields.remove("f:stringData"));
    match plain {
        Some(plain) => union(&share, &json!({"f:data": plain})),
        None => share,
    }
}

fn tell(from: &[&str], taken: &Value, kept: &[Value], (live, wanted): (&Value, &Value)) -> String {
    let others = all_of(kept.iter().map(|entry| entry["fieldsV1"].clone())).unwrap_or_default();
    let mut gone = minus(taken, &others).and_then(|sole| within(&sole, live)).map(|sole| missing(&sole, wanted)).unwrap_or_default();
    gone.retain(|path| !path.ends_with(LAST_APPLIED));
    let mut names = from.to_vec();
    names.dedup();
    let mut text = format!("what {} managed is the fleet's now", names.join(" and "));
    if !gone.is_empty() {
        text = format!("{text}; removed, since Git does not have it: {}", listed::first(&gone, SHOWN_MAX));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn live(entries: &[Value], last_applied: Option<&Value>) -> Value {
        let annotations = last_applied.map(|applied| json!({LAST_APPLIED: applied.to_string()})).unwrap_or_default();
        let names = ["kept", "old", "by-hand", "shared", "one", "two", "applied", "scaled"];
        let data: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), "1".into())).collect();
        json!({"metadata": {"resourceVersion": "7", "annotations": annotations, "managedFields": entries}, "data": data})
    }

    fn data(names: &[&str]) -> Value {
        json!({"f:data": names.iter().map(|name| (format!("f:{name}"), json!({}))).collect::<serde_json::Map<_, _>>()})
    }

    #[test]
    fn tools_are_taken_over_and_others_stay() {
        let wanted = json!({"data": {"kept": "1"}});
        let person = entry("kubectl-edit", "Update", &data(&["by-hand"]));
        let status = {
            let mut status = entry("helm", "Update", &data(&["state"]));
            status["subresource"] = "status".into();
            status
        };
        let helm = entry("helm", "Update", &data(&["kept", "old"]));
        let rewrite = take_over(&live(&[helm, person.clone(), status.clone()], None), "us", &wanted).unwrap();
        assert_eq!(rewrite.entries, [person.clone(), status, entry("us", "Apply", &data(&["kept", "old"]))]);
        assert_eq!(rewrite.told, "what helm managed is the fleet's now; removed, since Git does not have it: .data.old");
        assert!(!rewrite.drops_last_applied);
        assert_eq!(take_over(&live(&[person], None), "us", &wanted), None, "nothing of a tool");
    }

    #[test]
    fn what_a_tool_wrote_as_string_data_is_taken_where_it_stands() {
        let flux = entry("kustomize-controller", "Apply", &json!({"f:stringData": {"f:kept": {}, "f:old": {}}, "f:type": {}}));
        let mut secret = live(&[flux], None);
        secret["kind"] = "Secret".into();
        let rewrite = take_over(&secret, "us", &json!({"data": {"kept": "2"}})).unwrap();
        assert_eq!(rewrite.entries, [entry("us", "Apply", &json!({"f:data": {"f:kept": {}, "f:old": {}}, "f:type": {}}))]);
        assert_eq!(rewrite.told, "what kustomize-controller managed is the fleet's now; removed, since Git does not have it: .data.old");
    }

    #[test]
    fn fields_that_others_set_too_are_not_told_as_removed() {
        let object = live(&[entry("kubectl", "Apply", &data(&["shared"])), entry("controller", "Update", &data(&["shared"]))], None);
        assert_eq!(take_over(&object, "us", &json!({})).unwrap().told, "what kubectl managed is the fleet's now");
    }

    #[test]
    fn an_entry_of_ours_is_added_to_and_other_versions_stay() {
        let old = {
            let mut old = entry("kubectl-client-side-apply", "Update", &data(&["old"]));
            old["apiVersion"] = "v1beta1".into();
            old
        };
        let object = live(&[entry("us", "Apply", &data(&["one"])), entry("helm", "Apply", &data(&["two"])), old.clone()], None);
        let rewrite = take_over(&object, "us", &json!({})).unwrap();
        assert_eq!(rewrite.entries, [old, entry("us", "Apply", &data(&["one", "two"]))]);
    }

    #[test]
    fn of_an_unknown_past_only_what_kubectl_applied_is_taken() {
        let before = entry(BEFORE_FIRST_APPLY, "Update", &data(&["applied", "scaled"]));
        assert_eq!(take_over(&live(std::slice::from_ref(&before), None), "us", &json!({})), None);
        let rewrite = take_over(&live(&[before], Some(&json!({"data": {"applied": "1"}}))), "us", &json!({"data": {}})).unwrap();
        assert_eq!(rewrite.entries, [entry(BEFORE_FIRST_APPLY, "Update", &data(&["scaled"])), entry("us", "Apply", &data(&["applied"]))]);
        assert!(rewrite.drops_last_applied && rewrite.told.contains(".data.applied"), "{rewrite:?}");
    }

    #[test]
    fn a_tool_of_another_name_is_known_by_the_annotation() {
        let mut fields = data(&["old"]);
        fields["f:metadata"] = json!({"f:annotations": {format!("f:{LAST_APPLIED}"): {}}});
        let object = live(&[entry("deployer", "Update", &fields)], Some(&json!({"data": {"old": "1"}})));
        let rewrite = take_over(&object, "us", &json!({})).unwrap();
        assert_eq!(rewrite.entries, [entry("us", "Apply", &fields)]);
    }
}
