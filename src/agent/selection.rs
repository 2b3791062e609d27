//! Why a selector selects no cluster: mostly a slip of the pen, which is named where it can be told.

use std::collections::{BTreeMap, BTreeSet};

use kube_overlay::LabelSelector;

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    layout::one_edit_apart,
    sync::hold::Labels,
};

/// Labels that are listed where no near one is found.
const LABELS_MAX: usize = 20;

/// What to say of a selector that selects none of these clusters.
pub(super) fn none(selector: &LabelSelector, clusters: &BTreeMap<String, Labels>) -> Diagnostic {
    let keys: BTreeSet<&str> = selector.needs().collect();
    let known: BTreeSet<&str> = clusters.values().flat_map(|labels| labels.keys().map(String::as_str)).collect();
    let refuse = |more: &str, hint: Option<String>| {
        let text = selector.to_string();
        let none = Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("{text:?} selects no cluster{more}"));
        if let Some(hint) = hint { none.with_hint(hint) } else { none }
    };
    if !keys.is_empty() && keys.iter().all(|key| clusters.contains_key(*key)) {
        let names: Vec<&str> = keys.into_iter().collect();
        let meant = if let [name] = names.as_slice() { format!("cluster={name}") } else { format!("cluster in ({})", names.join(",")) };
        return refuse("", Some(format!("A selector is of labels; did you mean `{meant}`?")));
    }
    let Some(unknown) = keys.iter().find(|key| !known.contains(**key)).filter(|_| !clusters.is_empty()) else { return refuse("", None) };
    let near = known.iter().find(|label| one_edit_apart(unknown, label));
    let hint = near.map_or_else(
        || format!("There are: {}.", known.iter().take(LABELS_MAX).copied().collect::<Vec<_>>().join(", ")),
        |near| format!("Did you mean `{near}`?"),
    );
    refuse(&format!(": no cluster has a label {unknown}"), Some(hint))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_named() {
        let labels =
            |name: &str| [("cluster", name), ("environment", "prod"), ("tier", "a")].map(|(key, value)| (key.into(), value.into()));
        let clusters = ["prod-1", "prod-2"].map(|name| (name.to_owned(), labels(name).into()));
        for (text, message, hint) in [
            ("prod-2", "\"prod-2\" selects no cluster", "A selector is of labels; did you mean `cluster=prod-2`?"),
            (
                "prod-2,prod-1",
                "\"prod-2,prod-1\" selects no cluster",
                "A selector is of labels; did you mean `cluster in (prod-1,prod-2)`?",
            ),
            ("enviroment=prod", "\"enviroment=prod\" selects no cluster: no cluster has a label enviroment", "Did you mean `environment`?"),
            ("prod-9", "\"prod-9\" selects no cluster: no cluster has a label prod-9", "There are: cluster, environment, tier."),
            ("environment=dev", "\"environment=dev\" selects no cluster", codes::UNKNOWN_CLUSTER.next),
            ("environment=dev,!canary", "\"environment=dev,!canary\" selects no cluster", codes::UNKNOWN_CLUSTER.next),
        ] {
            let said = none(&text.parse().unwrap(), &clusters.clone().into());
            assert_eq!((said.message.as_str(), said.hint.as_str()), (message, hint));
        }
        assert_eq!(none(&"a=b".parse().unwrap(), &BTreeMap::new()).hint, codes::UNKNOWN_CLUSTER.next, "of no cluster anything is known");
    }
}
