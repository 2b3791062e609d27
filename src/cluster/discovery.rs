//! What an API server serves: groups, versions and kinds, from aggregated discovery or from one document per group.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// One kind in one version, and where its objects are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Api {
    /// API group; empty for the core group.
    pub group: String,
    /// Version in the group.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// The collection's name in paths.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

impl Api {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// All that a server serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Apis {
    server_version: String,
    /// By group, then kind: the versions in the server's order of preference.
    kinds: BTreeMap<String, BTreeMap<String, Vec<Served>>>,
    unavailable: BTreeSet<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Served {
    api: Api,
    verbs: Vec<String>,
}

/// What rendering may depend on: the same facts, the same rendering.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The server's version, such as `v1.33.2`.
    pub version: String,
    /// Every (group, kind) that is served, and whether it is namespaced.
    pub scopes: BTreeMap<(String, String), bool>,
}

impl Apis {
    /// The kind in exactly that version.
    pub fn find(&self, group: &str, version: &str, kind: &str) -> Option<&Api> {
        self.served(group, kind).iter().map(|served| &served.api).find(|api| api.version == version)
    }

    /// The kind in the version that the server prefers.
    pub fn preferred(&self, group: &str, kind: &str) -> Option<&Api> {
        self.served(group, kind).first().map(|served| &served.api)
    }

    /// Whether the server serves anything in that group.
    pub fn serves_group(&self, group: &str) -> bool {
        self.kinds.contains_key(group)
    }

    /// Every kind in its preferred version that allows these verbs (`list`, `patch`, `delete`).
    pub fn with_verbs<'a>(&'a self, verbs: &'a [&str]) -> impl Iterator<Item = &'a Api> {
        let first = self.kinds.values().flat_map(|kinds| kinds.values().filter_map(|served| served.first()));
        first.filter(|served| verbs.iter().all(|verb| served.verbs.iter().any(|has| has == verb))).map(|served| &served.api)
    }

    /// The (group, version) pairs that the server names but could not describe, for instance because the server behind an
    /// APIService is down. What they hold is unknown, not gone.
    pub fn unavailable(&self) -> &BTreeSet<(String, String)> {
        &self.unavailable
    }

    /// Whether that group, in that version or any, is one that could not be described.
    pub fn is_unavailable(&self, group: &str, version: Option<&str>) -> bool {
        self.unavailable.iter().any(|(name, broken)| name == group && version.is_none_or(|version| broken == version))
    }

    /// The server's version, such as `v1.33.2`.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// The facts that rendering may use.
    pub fn facts(&self) -> Facts {
        let mut scopes = BTreeMap::new();
        for (group, kinds) in &self.kinds {
            for (kind, served) in kinds {
                scopes.insert((group.clone(), kind.clone()), served.iter().any(|served| served.api.namespaced));
            }
        }
        Facts { version: self.server_version.clone(), scopes }
    }

    pub(super) fn of_version(server_version: String) -> Self {
        Self { server_version, ..Self::default() }
    }

    pub(super) fn add_unavailable(&mut self, group: &str, version: &str) {
        self.unavailable.insert((group.to_owned(), version.to_owned()));
    }

    /// Adds what an aggregated document lists.
    pub(super) fn add_aggregated(&mut self, document: Aggregated) {
        for group in document.items {
            let name = group.metadata.name;
            for version in group.versions {
                if version.freshness == "Stale" {
                    self.add_unavailable(&name, &version.version);
                }
                for resource in version.resources {
                    let Some(kind) = resource.response_kind.filter(|kind| !kind.kind.is_empty()) else { continue };
                    let api = Api {
                        group: name.clone(),
                        version: version.version.clone(),
                        kind: kind.kind,
                        plural: resource.resource,
                        namespaced: resource.scope == "Namespaced",
                    };
                    self.add(api, resource.verbs);
                }
            }
        }
    }

    /// Adds what the document of one group and version lists.
    pub(super) fn add_resources(&mut self, group: &str, version: &str, document: ResourceList) {
        for resource in document.resources {
            // A slash marks a subresource.
            if resource.kind.is_empty() || resource.name.contains('/') {
                continue;
            }
            let (group, version) = (group.to_owned(), version.to_owned());
            let api = Api { group, version, kind: resource.kind, plural: resource.name, namespaced: resource.namespaced };
            self.add(api, resource.verbs);
        }
    }

    /// Two resources of a group may answer with the same kind; the one that can be patched is the one that manifests mean.
    fn add(&mut self, api: Api, verbs: Vec<String>) {
        let served = self.kinds.entry(api.group.clone()).or_default().entry(api.kind.clone()).or_default();
        let patches = |verbs: &[String]| verbs.iter().any(|verb| verb == "patch");
        match served.iter_mut().find(|known| known.api.version == api.version) {
            Some(known) if !patches(&known.verbs) && patches(&verbs) => *known = Served { api, verbs },
            Some(_) => {}
            None => served.push(Served { api, verbs }),
        }
    }

    fn served(&self, group: &str, kind: &str) -> &[Served] {
        self.kinds.get(group).and_then(|kinds| kinds.get(kind)).map_or(&[], Vec::as_slice)
    }
}

/// `apidiscovery.k8s.io` v2 or v2beta1 `APIGroupDiscoveryList`.
#[derive(Deserialize)]
pub(super) struct Aggregated {
    items: Vec<AggregatedGroup>,
}

#[derive(Deserialize)]
struct AggregatedGroup {
    #[serde(default)]
    metadata: Named,
    #[serde(default)]
    versions: Vec<AggregatedVersion>,
}

/// The core group has no name, and its metadata may be absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct AggregatedVersion {
    version: String,
    #[serde(default)]
    resources: Vec<AggregatedResource>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource {
    resource: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

/// `v1 APIResourceList`.
#[derive(Deserialize)]
pub(super) struct ResourceList {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
}

/// `v1 APIVersions` (of `/api`) or `v1 APIGroupList` (of `/apis`), or an aggregated document: a server decides by itself.
#[derive(Deserialize)]
#[serde(tag = "kind")]
pub(super) enum Root {
    #[serde(rename = "APIGroupDiscoveryList")]
    Aggregated(Aggregated),
    #[serde(rename = "APIVersions")]
    Core { versions: Vec<String> },
    #[serde(rename = "APIGroupList")]
    Groups { groups: Vec<Group> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    name: String,
    versions: Vec<GroupVersion>,
    #[serde(default)]
    preferred_version: Option<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

impl Root {
    /// The (group, version) pairs that have documents of their own, preferred versions first within their group.
    pub(super) fn group_versions(&self) -> Vec<(String, String)> {
        match self {
            Self::Aggregated(_) => Vec::new(),
            Self::Core { versions } => versions.iter().map(|version| (String::new(), version.clone())).collect(),
            Self::Groups { groups } => groups.iter().flat_map(Group::in_order).collect(),
        }
    }
}

impl Group {
    fn in_order(&self) -> Vec<(String, String)> {
        let mut versions: Vec<&str> = self.versions.iter().map(|version| &*version.version).collect();
        // Stable: the others keep the server's order.
        versions.sort_by_key(|version| self.preferred_version.as_ref().is_none_or(|preferred| preferred.version != *version));
        versions.into_iter().map(|version| (self.name.clone(), version.to_owned())).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const AGGREGATED: &str = r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[
        {"metadata":{"name":"apps","creationTimestamp":null},"versions":[
            {"version":"v1","freshness":"Current","resources":[
                {"resource":"deployments","responseKind":{"group":"apps","version":"v1","kind":"Deployment"},"scope":"Namespaced",
                 "singularResource":"deployment","verbs":["create","get","list","patch"],"subresources":[{"subresource":"scale"}]},
                {"resource":"ghosts","responseKind":null,"scope":"Namespaced","verbs":[]}]},
            {"version":"v1beta1","freshness":"Current","resources":[
                {"resource":"deployments","responseKind":{"group":"","version":"","kind":"Deployment"},"scope":"Namespaced","verbs":["get"]}]}]},
        {"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale"}]}]}"#;

    fn apis(documents: &[&str]) -> Apis {
        let mut apis = Apis::of_version("v1.36.3".into());
        for document in documents {
            match serde_json::from_str(document).unwrap() {
                Root::Aggregated(document) => apis.add_aggregated(document),
                _ => panic!("not aggregated"),
            }
        }
        apis
    }

    #[test]
    fn aggregated() {
        let core = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"creationTimestamp":null},"versions":[{"version":"v1","freshness":"Current","resources":[
            {"resource":"bindings","responseKind":{"kind":"Binding"},"scope":"Namespaced","verbs":["create"]},
            {"resource":"nodes","responseKind":{"kind":"Node"},"scope":"Cluster","verbs":["get","list","patch"]}]}]}]}"#;
        let apis = apis(&[core, AGGREGATED]);
        let deployment = apis.find("apps", "v1beta1", "Deployment").unwrap();
        assert_eq!((&*deployment.plural, deployment.namespaced, &*deployment.api_version()), ("deployments", true, "apps/v1beta1"));
        assert_eq!(apis.preferred("apps", "Deployment").unwrap().version, "v1");
        assert_eq!(apis.preferred("", "Node").unwrap().api_version(), "v1");
        assert_eq!(apis.find("apps", "v2", "Deployment"), None);
        assert!(apis.serves_group("apps") && apis.serves_group("") && !apis.serves_group("metrics.k8s.io"));
        assert!(apis.is_unavailable("metrics.k8s.io", None) && apis.is_unavailable("metrics.k8s.io", Some("v1beta1")));
        assert!(!apis.is_unavailable("metrics.k8s.io", Some("v1")) && !apis.is_unavailable("apps", None));
        let listable: Vec<_> = apis.with_verbs(&["list", "patch"]).map(|api| &*api.kind).collect();
        assert_eq!(listable, ["Node", "Deployment"]);
        let facts = apis.facts();
        assert_eq!(facts.version, "v1.36.3");
        assert!(!facts.scopes[&(String::new(), "Node".into())]);
        assert!(facts.scopes[&("apps".into(), "Deployment".into())]);
        assert_eq!(facts.scopes.len(), 3);
    }

    #[test]
    fn one_document_per_group() {
        let groups = r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"autoscaling","versions":[
            {"groupVersion":"autoscaling/v1","version":"v1"},{"groupVersion":"autoscaling/v2","version":"v2"}],
            "preferredVersion":{"groupVersion":"autoscaling/v2","version":"v2"}}]}"#;
        let root: Root = serde_json::from_str(groups).unwrap();
        let pair = |group: &str, version: &str| (group.to_owned(), version.to_owned());
        assert_eq!(root.group_versions(), [pair("autoscaling", "v2"), pair("autoscaling", "v1")]);
        let core: Root = serde_json::from_str(r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}"#).unwrap();
        assert_eq!(core.group_versions(), [pair("", "v1")]);

        let mut apis = Apis::default();
        let resources = r#"{"kind":"APIResourceList","groupVersion":"autoscaling/v2","resources":[
            {"name":"horizontalpodautoscalers","singularName":"","namespaced":true,"kind":"HorizontalPodAutoscaler","verbs":["list"]},
            {"name":"horizontalpodautoscalers/status","namespaced":true,"kind":"HorizontalPodAutoscaler","verbs":["get","patch"]}]}"#;
        apis.add_resources("autoscaling", "v2", serde_json::from_str(resources).unwrap());
        assert_eq!(apis.preferred("autoscaling", "HorizontalPodAutoscaler").unwrap().plural, "horizontalpodautoscalers");
    }

    #[test]
    fn the_resource_that_can_be_patched_wins() {
        let mut apis = Apis::default();
        let resources = r#"{"resources":[{"name":"reviews","kind":"Thing","verbs":["create"]},{"name":"things","kind":"Thing","verbs":["patch"]},
            {"name":"others","kind":"Thing","verbs":["patch"]}]}"#;
        apis.add_resources("g", "v1", serde_json::from_str(resources).unwrap());
        assert_eq!(apis.preferred("g", "Thing").unwrap().plural, "things");
    }
}
