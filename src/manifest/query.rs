//! An object as a person names it.

use super::ObjectId;

/// Short names that kubectl users know, with the kinds that they stand for.
const SHORT_NAMES: [(&str, &str); 27] = [
    ("cm", "configmap"),
    ("crd", "customresourcedefinition"),
    ("crds", "customresourcedefinition"),
    ("csr", "certificatesigningrequest"),
    ("cj", "cronjob"),
    ("deploy", "deployment"),
    ("ds", "daemonset"),
    ("ep", "endpoints"),
    ("ev", "event"),
    ("hpa", "horizontalpodautoscaler"),
    ("ing", "ingress"),
    ("limits", "limitrange"),
    ("netpol", "networkpolicy"),
    ("no", "node"),
    ("ns", "namespace"),
    ("pc", "priorityclass"),
    ("pdb", "poddisruptionbudget"),
    ("po", "pod"),
    ("pv", "persistentvolume"),
    ("pvc", "persistentvolumeclaim"),
    ("quota", "resourcequota"),
    ("rc", "replicationcontroller"),
    ("rs", "replicaset"),
    ("sa", "serviceaccount"),
    ("sc", "storageclass"),
    ("sts", "statefulset"),
    ("svc", "service"),
];

/// `kind[.group]/[namespace/]name`: the kind in any case, singular, plural or short; the group may be left out, and the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectQuery {
    /// In lower case, the short name replaced.
    kind: String,
    group: Option<String>,
    namespace: Option<String>,
    name: String,
}

/// The text is not `kind[.group]/[namespace/]name`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not of the form kind[.group]/[namespace/]name")]
pub struct BadObjectQuery(String);

impl std::str::FromStr for ObjectQuery {
    type Err = BadObjectQuery;

    fn from_str(text: &str) -> Result<Self, BadObjectQuery> {
        let id: ObjectId = text.parse().map_err(|_| BadObjectQuery(text.to_owned()))?;
        let kind = id.kind.to_lowercase();
        let long = SHORT_NAMES.iter().find(|(short, _)| *short == kind).map(|(_, long)| (*long).to_owned());
        let group = (!id.group.is_empty()).then(|| id.group.to_lowercase());
        Ok(Self { kind: long.unwrap_or(kind), group, namespace: id.namespace.clone(), name: id.name.clone() })
    }
}

impl ObjectQuery {
    /// Whether it can mean that object. Without a namespace it means objects of that name in all of them.
    pub fn matches(&self, id: &ObjectId) -> bool {
        let kind = id.kind.to_lowercase();
        self.name == id.name
            && self.namespace.as_ref().is_none_or(|namespace| id.namespace.as_ref() == Some(namespace))
            && self.group.as_ref().is_none_or(|group| *group == id.group)
            && (self.kind == kind || self.kind == plural(&kind))
    }
}

/// The plural that generators of APIs make of a kind, `networkpolicies` of `networkpolicy`.
fn plural(kind: &str) -> String {
    let ends = |endings: &[&str]| endings.iter().any(|ending| kind.ends_with(ending));
    match kind.strip_suffix('y') {
        Some(stem) if !ends(&["ay", "ey", "oy", "uy"]) => format!("{stem}ies"),
        _ if kind == "endpoints" => kind.to_owned(),
        _ if ends(&["s", "x", "z", "ch", "sh"]) => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_all_its_names() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            (
                "Deployment.apps/shop/web",
                &["deployment/web", "Deployments/web", "deploy/web", "DEPLOY.apps/web", "deployments.apps/shop/web"],
                &["deployment/other/web", "deployment/we", "deployment.extensions/web", "deploymentes/web", "service/web"],
            ),
            ("NetworkPolicy.networking.k8s.io/a/b", &["netpol/b", "networkpolicies.networking.k8s.io/a/b"], &["networkpolicys/b"]),
            ("Ingress.networking.k8s.io/a/b", &["ing/b", "ingresses/a/b"], &["ingresss/b", "ingresses.networking/b"]),
            ("Endpoints/a/b", &["ep/b", "endpoints/b"], &["endpointses/b"]),
            ("Namespace/b", &["ns/b", "namespaces/b"], &["namespace/a/b"]),
        ];
        for (id, meant, others) in cases {
            let id: ObjectId = id.parse().unwrap();
            let matches = |text: &&&str| text.parse::<ObjectQuery>().unwrap().matches(&id);
            assert_eq!(meant.iter().filter(matches).count(), meant.len(), "{id}");
            assert_eq!(others.iter().filter(matches).collect::<Vec<_>>(), Vec::<&&str>::new(), "{id}");
        }
    }

    #[test]
    fn what_is_no_object() {
        for text in ["web", "deployment/", "/web", "a/b/c/d", "deployment//web"] {
            let error = text.parse::<ObjectQuery>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{text}` is not of the form")), "{error}");
        }
    }
}
