//! Walking the tree from the root to the clusters.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Cluster, Connection, Fleet, FleetSpec, HealthRules, Ignored, Layer, Level, OnRemoval, Rollout, Validate, is_label,
    names::{is_dns_label, one_edit_apart},
    notifications,
    own::{CLUSTER, ENVIRONMENT, FLEET, Kind, Own, REGION},
    sort_problems,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{BlobId, Entry, Node, Source, TreeId},
    manifest::{self, Drift},
};

pub(crate) const FLEET_FILE: &str = "evenkeel.yaml";
pub(super) const ROOT_FOLDERS: [&str; 5] = ["base", "components", "environments", "policies", "regions"];

/// Folders around a cluster.yaml: environments, the environment, the region, the cluster.
const CLUSTER_DEPTH: usize = 4;

/// Reads the shape of a revision.
///
/// Fails for the root's own files alone; a mistake elsewhere is noted at the clusters that it concerns.
pub fn read(source: &dyn Source) -> Result<Fleet, Vec<Diagnostic>> {
    let root = list(source, &Ignored::default(), "", source.root()).map_err(|problem| vec![problem])?;
    let ignored = match find(&root, Ignored::FILE) {
        Some(Node::File(blob)) => Ignored::read(&text(source, Ignored::FILE, blob).map_err(|problem| vec![problem])?)?,
        Some(_) => return Err(vec![Diagnostic::new(codes::IGNORE_FILE, Place::file(Ignored::FILE), "not a file")]),
        None => Ignored::default(),
    };
    let (name, spec) = fleet_file(source, &root)?;
    let mut walk = Walk {
        source,
        ignored: Arc::new(ignored),
        base: None,
        regions: BTreeMap::new(),
        clusters: Vec::new(),
        components: Vec::new(),
        warnings: Vec::new(),
        problems: Vec::new(),
    };
    walk.root(&root, &spec)?;
    if walk.clusters.is_empty() {
        walk.refuse_emptiness(&root)?;
    }
    walk.clusters.sort_by(|a, b| (&a.name, &a.environment, &a.region).cmp(&(&b.name, &b.environment, &b.region)));
    refuse_doubles(&mut walk.clusters);
    if let Some(rollout) = &spec.rollout {
        rollout.refuse_outsiders(&mut walk.clusters);
        walk.warnings.extend(rollout.idle(&walk.clusters));
    }
    let Walk { ignored, mut clusters, mut components, mut warnings, mut problems, .. } = walk;
    components.sort_by(|a, b| a.path.cmp(&b.path));
    clusters.iter_mut().map(|cluster| &mut cluster.problems).chain([&mut warnings, &mut problems]).for_each(sort_problems);
    Ok(Fleet { name, spec, clusters, components, warnings, problems, ignored })
}

fn fleet_file(source: &dyn Source, root: &[Entry]) -> Result<(String, FleetSpec), Vec<Diagnostic>> {
    let none = |message: &str, hint: &str| Diagnostic::new(codes::FLEET_FILE, Place::file(FLEET_FILE), message).with_hint(hint);
    let refuse = |message: &str| vec![Diagnostic::new(codes::FLEET_FILE, Place::file(FLEET_FILE), message)];
    let blob = match find(root, FLEET_FILE) {
        Some(Node::File(blob)) => blob,
        Some(_) => return Err(refuse("not a file")),
        None if find(root, "evenkeel.yml").is_some() => {
            let hint = "Only the name evenkeel.yaml is read.";
            return Err(vec![none("there is none; rename evenkeel.yml", hint)]);
        }
        None => {
            let hint = "The root of the repository needs evenkeel.yaml with kind: Fleet; `evenkeel init` writes one.";
            return Err(vec![none("there is none in the root of the repository", hint)]);
        }
    };
    let text = text(source, FLEET_FILE, blob).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let own = Own::read(FLEET_FILE, &text, &FLEET, None, &mut problems);
    // What their words mean is asked where their form is right.
    let rollout = if problems.is_empty() { Rollout::read(&own, &mut problems).map(Arc::new) } else { None };
    match &own.name {
        // Its field manager would be the one that has fields between the fleet and those to whom it gives them up.
        Some(name) if format!("evenkeel-{name}") == manifest::HANDOVER => {
            problems.extend(refuse(&format!("the name {name} is Evenkeel's own; give the fleet another one")));
        }
        Some(name) if is_dns_label(name) => {}
        Some(name) => {
            problems.extend(refuse(&format!("metadata.name `{name}` is not made of lower-case letters, digits and `-`, at most 63")));
        }
        None if problems.is_empty() => problems.extend(refuse("metadata.name is missing; it names the fleet")),
        None => {}
    }
    let notifications = Arc::new(notifications::read(&own, &mut problems));
    let health = Arc::new(HealthRules::read(&own, &mut problems));
    if !problems.is_empty() {
        return Err(problems);
    }
    let spec = FleetSpec {
        paused: own.paused(),
        adopt: own.field("adopt").unwrap_or_default(),
        budget: own.field("budget").unwrap_or_default(),
        health,
        drift: own.drift(),
        validate: own.field("validate"),
        on_removal: own.field("onRemoval"),
        rollout,
        notifications,
    };
    Ok((own.name.unwrap_or_default(), spec))
}

/// Clusters are told apart by name alone, so a name that is taken twice refuses both.
fn refuse_doubles(clusters: &mut [Cluster]) {
    for same in clusters.chunk_by_mut(|a, b| a.name == b.name).filter(|same| same.len() > 1) {
        let folders: Vec<String> = same.iter().map(folder_of).collect();
        for (cluster, folder) in same.iter_mut().zip(&folders) {
            let others: Vec<&str> = folders.iter().filter(|other| *other != folder).map(String::as_str).collect();
            let message = format!("the name {} is taken by {} too", cluster.name, others.join(", "));
            cluster.problems.push(Diagnostic::new(codes::CLUSTER_TWICE, Place::file(folder), message));
        }
    }
}

fn folder_of(cluster: &Cluster) -> String {
    format!("environments/{}/{}/{}", cluster.environment, cluster.region, cluster.name)
}

/// What the folders above hand down to a cluster.
#[derive(Clone, Default)]
struct Above {
    labels: BTreeMap<String, String>,
    paused: Option<String>,
    drift: Option<Drift>,
    validate: Option<Validate>,
    on_removal: Option<OnRemoval>,
    layers: Vec<Layer>,
}

impl Above {
    /// Takes in the settings of one more file; what deeper files say wins, the outermost `paused` is named.
    fn take(&mut self, path: &str, own: Own) {
        if own.paused() {
            self.paused.get_or_insert_with(|| path.to_owned());
        }
        self.drift = own.drift().or(self.drift);
        self.validate = own.field("validate").or(self.validate);
        self.on_removal = own.field("onRemoval").or(self.on_removal);
        self.labels.extend(own.labels);
    }
}

struct Walk<'a> {
    source: &'a dyn Source,
    ignored: Arc<Ignored>,
    base: Option<Layer>,
    /// The region layers, and the mistakes beside them, by region.
    regions: BTreeMap<String, (Option<Layer>, Vec<Diagnostic>)>,
    clusters: Vec<Cluster>,
    components: Vec<Layer>,
    warnings: Vec<Diagnostic>,
    problems: Vec<Diagnostic>,
}

impl Walk<'_> {
    fn root(&mut self, root: &[Entry], spec: &FleetSpec) -> Result<(), Vec<Diagnostic>> {
        self.near_misses(root);
        let root: Vec<&Entry> = root.iter().filter(|entry| !self.leaves_out(&entry.name, entry)).collect();
        let mut everywhere = Vec::new();
        let folder = |name: &str| {
            root.iter().find(|entry| entry.name == name).map_or(Ok(None), |entry| match entry.node {
                Node::Folder(tree) => Ok(Some(tree)),
                _ => Err(vec![Diagnostic::new(codes::STRAY_FILE, Place::file(name), "must be a folder")]),
            })
        };
        if folder("policies")?.is_some() {
            return Err(vec![Diagnostic::new(codes::NOT_BUILT_YET, Place::file("policies"), "policies are not built yet")]);
        }
        self.base = folder("base")?.map(|tree| Layer { path: "base".to_owned(), tree, level: Level::Base });
        if let Some(tree) = folder("regions")? {
            self.regions(tree, &mut everywhere);
        }
        if let Some(tree) = folder("components")? {
            self.components(tree);
        }
        let above = Above {
            paused: spec.paused.then(|| FLEET_FILE.to_owned()),
            drift: spec.drift,
            validate: spec.validate,
            on_removal: spec.on_removal,
            layers: self.base.iter().cloned().collect(),
            ..Above::default()
        };
        if let Some(tree) = folder("environments")? {
            for entry in self.list("environments", tree, &mut everywhere) {
                match entry.node {
                    Node::Folder(tree) => self.environment(&entry.name, tree, above.clone()),
                    _ => everywhere.push(stray("environments", &entry)),
                }
            }
        }
        self.hand_down(0, everywhere);
        let unused = self.regions.keys().filter(|region| !self.clusters.iter().any(|cluster| cluster.region == **region));
        let unused: Vec<String> = unused.map(|region| format!("regions/{region}")).collect();
        for path in unused {
            self.warnings.push(Diagnostic::new(codes::NEAR_MISS, Place::file(&path), "no environment has a cluster in this region"));
            let region = self.regions.get_mut(&path["regions/".len()..]);
            self.problems.extend(region.map(|(_, problems)| std::mem::take(problems)).unwrap_or_default());
        }
        Ok(())
    }

    /// The root belongs to the repository's owner; only a name that is nearly one of ours is suspicious.
    fn near_misses(&mut self, root: &[Entry]) {
        for entry in root.iter().filter(|entry| matches!(entry.node, Node::Folder(_))) {
            let Some(meant) = ROOT_FOLDERS.iter().find(|name| one_edit_apart(name, &entry.name) || entry.name.eq_ignore_ascii_case(name))
            else {
                continue;
            };
            if entry.name != *meant && !self.leaves_out(&entry.name, entry) {
                self.warnings.push(Diagnostic::new(
                    codes::NEAR_MISS,
                    Place::file(&entry.name),
                    format!("the folder is not read; was `{meant}` meant?"),
                ));
            }
        }
    }

    fn regions(&mut self, tree: TreeId, everywhere: &mut Vec<Diagnostic>) {
        for entry in self.list("regions", tree, everywhere) {
            let Node::Folder(tree) = entry.node else {
                everywhere.push(stray("regions", &entry));
                continue;
            };
            let path = format!("regions/{}", entry.name);
            let mut problems = Vec::new();
            let mut base = None;
            for inner in self.list(&path, tree, &mut problems) {
                match inner.node {
                    Node::Folder(tree) if inner.name == "base" => {
                        base = Some(Layer { path: format!("{path}/base"), tree, level: Level::Region });
                    }
                    _ => problems.push(stray(&path, &inner)),
                }
            }
            self.regions.insert(entry.name, (base, problems));
        }
    }

    /// What is wrong here concerns no cluster: what includes a component that is not there says so itself.
    fn components(&mut self, tree: TreeId) {
        let mut problems = Vec::new();
        for entry in self.list("components", tree, &mut problems) {
            match entry.node {
                Node::Folder(tree) => {
                    self.components.push(Layer { path: format!("components/{}", entry.name), tree, level: Level::Component });
                }
                _ => problems.push(stray("components", &entry)),
            }
        }
        self.problems.extend(problems);
    }

    fn environment(&mut self, name: &str, tree: TreeId, mut above: Above) {
        let path = format!("environments/{name}");
        let first = self.clusters.len();
        let mut problems = Vec::new();
        check_name(&path, name, "an environment", &mut problems);
        let entries = self.list(&path, tree, &mut problems);
        self.settings(&path, &entries, "environment.yaml", &ENVIRONMENT, name, &mut above, &mut problems);
        let base = layer(&path, &entries, Level::Environment);
        for entry in &entries {
            match entry.node {
                Node::File(_) if entry.name == "environment.yaml" => {}
                Node::Folder(_) if entry.name == "base" => {}
                Node::Folder(tree) => {
                    let mut above = above.clone();
                    above.layers.extend(self.regions.get(&entry.name).and_then(|(layer, _)| layer.clone()));
                    above.layers.extend(base.clone());
                    if !self.region(name, &entry.name, tree, above, &mut problems) {
                        problems.push(stray(&path, entry));
                    }
                }
                _ => problems.push(stray(&path, entry)),
            }
        }
        if self.clusters.len() == first {
            self.warnings.push(Diagnostic::new(codes::NEAR_MISS, Place::file(&path), "the environment has no clusters"));
        }
        self.hand_down(first, problems);
    }

    /// Reads a region of an environment. False if nothing in the folder makes it one.
    fn region(&mut self, environment: &str, name: &str, tree: TreeId, mut above: Above, problems_above: &mut Vec<Diagnostic>) -> bool {
        let path = format!("environments/{environment}/{name}");
        let first = self.clusters.len();
        let mut problems = Vec::new();
        let entries = self.list(&path, tree, problems_above);
        let base = layer(&path, &entries, Level::EnvironmentRegion);
        let mut known = base.is_some() || find(&entries, "region.yaml").is_some();
        self.settings(&path, &entries, "region.yaml", &REGION, name, &mut above, &mut problems);
        above.layers.extend(base);
        for entry in &entries {
            match entry.node {
                Node::File(_) if entry.name == "region.yaml" => {}
                Node::Folder(_) if entry.name == "base" => {}
                Node::Folder(tree) if self.cluster([environment, name, &entry.name], tree, above.clone(), &mut problems) => known = true,
                _ => problems.push(stray(&path, entry)),
            }
        }
        if !known {
            return false;
        }
        check_name(&path, name, "a region", &mut problems);
        if self.clusters.len() > first {
            problems.extend(self.regions.get(name).map(|(_, problems)| problems.clone()).unwrap_or_default());
        }
        self.hand_down(first, problems);
        true
    }

    /// Reads a cluster. False if there is no cluster.yaml.
    fn cluster(
        &mut self,
        [environment, region, name]: [&str; 3],
        tree: TreeId,
        mut above: Above,
        problems_above: &mut Vec<Diagnostic>,
    ) -> bool {
        let path = format!("environments/{environment}/{region}/{name}");
        let entries = self.list(&path, tree, problems_above);
        let Some(Node::File(blob)) = find(&entries, "cluster.yaml") else { return false };
        let mut problems = Vec::new();
        check_name(&path, name, "a cluster", &mut problems);
        if let Some(base) = entries.iter().find(|entry| entry.name == "base") {
            problems.push(stray(&path, base).with_hint("A cluster's folder is a layer itself: move the content of base one folder up."));
        }
        let file = format!("{path}/cluster.yaml");
        let mut connection = None;
        match text(self.source, &file, blob) {
            Ok(text) => {
                let own = Own::read(&file, &text, &CLUSTER, Some(name), &mut problems);
                connection = Connection::read(&own);
                above.take(&file, own);
            }
            Err(problem) => problems.push(problem),
        }
        above.layers.push(Layer { path, tree, level: Level::Cluster });
        above.labels.extend(
            [("environment", environment), ("region", region), ("cluster", name)]
                .map(|(label, value)| (label.to_owned(), value.to_owned())),
        );
        self.clusters.push(Cluster {
            name: name.to_owned(),
            environment: environment.to_owned(),
            region: region.to_owned(),
            labels: above.labels,
            paused: above.paused,
            drift: above.drift.unwrap_or_default(),
            validate: above.validate.unwrap_or_default(),
            on_removal: above.on_removal.unwrap_or_default(),
            connection,
            layers: above.layers,
            problems,
        });
        true
    }

    /// Takes in environment.yaml or region.yaml, where there is one.
    #[expect(clippy::too_many_arguments, reason = "a private step of two callers; a struct would only rename the arguments")]
    fn settings(
        &self,
        path: &str,
        entries: &[Entry],
        file: &str,
        kind: &'static Kind,
        folder: &str,
        above: &mut Above,
        problems: &mut Vec<Diagnostic>,
    ) {
        let Some(Node::File(blob)) = find(entries, file) else { return };
        let file = format!("{path}/{file}");
        match text(self.source, &file, blob) {
            Ok(text) => {
                let own = Own::read(&file, &text, kind, Some(folder), problems);
                above.take(&file, own);
            }
            Err(problem) => problems.push(problem),
        }
    }

    /// Notes mistakes at every cluster found since `first`, all of which lie below the folder in which the mistakes stand.
    fn hand_down(&mut self, first: usize, problems: Vec<Diagnostic>) {
        let below = &mut self.clusters[first..];
        if below.is_empty() {
            self.problems.extend(problems);
            return;
        }
        for cluster in below {
            cluster.problems.extend(problems.iter().cloned());
        }
    }

    /// A repository all of whose clusters are left out is a mistake of a pattern: who read it as it stands would let go of the fleet.
    fn refuse_emptiness(&self, root: &[Entry]) -> Result<(), Vec<Diagnostic>> {
        let Some(path) = self.left_out_cluster("", root) else { return Ok(()) };
        let Some((line, pattern)) = self.ignored.line_of(&path) else { return Ok(()) };
        let message = format!("no cluster is left: `{pattern}` leaves out {path}");
        Err(vec![Diagnostic::new(codes::ALL_IGNORED, Place::at(Ignored::FILE, line, 1), message)])
    }

    /// The first cluster.yaml at its place, whatever is left out.
    fn left_out_cluster(&self, path: &str, entries: &[Entry]) -> Option<String> {
        let depth = if path.is_empty() { 0 } else { path.matches('/').count() + 1 };
        entries.iter().find_map(|entry| match entry.node {
            Node::File(_) if depth == CLUSTER_DEPTH && entry.name == "cluster.yaml" => Some(format!("{path}/{}", entry.name)),
            Node::Folder(tree) if depth < CLUSTER_DEPTH && (depth > 0 || entry.name == "environments") => {
                let path = if depth == 0 { entry.name.clone() } else { format!("{path}/{}", entry.name) };
                let inner = list(self.source, &Ignored::default(), &path, tree).ok()?;
                self.left_out_cluster(&path, &inner)
            }
            _ => None,
        })
    }

    fn list(&self, path: &str, tree: TreeId, problems: &mut Vec<Diagnostic>) -> Vec<Entry> {
        list(self.source, &self.ignored, path, tree).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        })
    }

    fn leaves_out(&self, path: &str, entry: &Entry) -> bool {
        self.ignored.leaves_out(path, matches!(entry.node, Node::Folder(_)))
    }
}

/// A folder's entries without what .evenkeelignore leaves out. Below the root, names that begin with a dot (.gitkeep) are nobody's
/// manifests either.
fn list(source: &dyn Source, ignored: &Ignored, path: &str, tree: TreeId) -> Result<Vec<Entry>, Diagnostic> {
    let folder = source.folder(tree).map_err(|error| Diagnostic::new(codes::GIT_BROKEN, Place::file(path), error.to_string()))?;
    let kept = folder.entries.iter().filter(|entry| {
        path.is_empty()
            || !(entry.name.starts_with('.')
                || ignored.leaves_out(&format!("{path}/{}", entry.name), matches!(entry.node, Node::Folder(_))))
    });
    Ok(kept.cloned().collect())
}

fn text(source: &dyn Source, path: &str, blob: BlobId) -> Result<String, Diagnostic> {
    let bytes = source.blob(blob).map_err(|error| Diagnostic::new(codes::GIT_BROKEN, Place::file(path), error.to_string()))?;
    manifest::text(path, bytes)
}

fn find(entries: &[Entry], name: &str) -> Option<Node> {
    entries.iter().find(|entry| entry.name == name).map(|entry| entry.node)
}

fn layer(path: &str, entries: &[Entry], level: Level) -> Option<Layer> {
    match find(entries, "base") {
        Some(Node::Folder(tree)) => Some(Layer { path: format!("{path}/base"), tree, level }),
        _ => None,
    }
}

fn check_name(path: &str, name: &str, what: &str, problems: &mut Vec<Diagnostic>) {
    if name == "base" || !is_label(name) {
        let message = format!("`{name}` cannot name {what}: it must be a label's value, and not `base`");
        problems.push(Diagnostic::new(codes::STRAY_FILE, Place::file(path), message).with_hint("Rename the folder."));
    }
}

fn stray(folder: &str, entry: &Entry) -> Diagnostic {
    let message = match entry.node {
        Node::Folder(_) => format!("{folder} has no place for this folder"),
        Node::File(_) => format!("{folder} has no place for this file"),
        Node::Link => "a symbolic link, which is never followed".to_owned(),
        Node::Submodule => "a submodule, which is never followed".to_owned(),
    };
    let stray = Diagnostic::new(codes::STRAY_FILE, Place::file(format!("{folder}/{}", entry.name)), message);
    match entry.name.strip_suffix(".yml") {
        Some(name @ ("environment" | "region" | "cluster")) => stray.with_hint(format!("Rename it to {name}.yaml.")),
        _ if folder.starts_with("environments/") && matches!(entry.node, Node::Folder(_)) => stray.with_hint(
            "A cluster's folder, environments/ENVIRONMENT/REGION/CLUSTER, holds a cluster.yaml; manifests belong in a `base` folder or a cluster's.",
        ),
        _ => stray,
    }
}
