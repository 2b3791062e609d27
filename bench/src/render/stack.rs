//! The repository that is rendered: apps of five objects in a base that three deeper layers change, and the same as a stack of
//! kustomizations.

use std::fmt::Write as _;

use crate::workload;

/// What the clusters' own layers change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// An env variable in every app, a label on every object, and in a tenth of the apps replicas and an image tag.
    All,
    /// An env variable, replicas and an image tag in a tenth of the apps.
    Tenth,
}

/// One app's patch in a layer.
struct Patch {
    variable: (&'static str, String),
    replicas: Option<u32>,
    tag: Option<&'static str>,
    /// Into the ConfigMap.
    entry: Option<(&'static str, &'static str)>,
}

/// A layer: its folder here, its label, and the patch of each app that it changes.
struct Layer {
    folder: String,
    label: Option<(&'static str, String)>,
    patches: Vec<(usize, Patch)>,
}

fn layers(apps: usize, cluster: &str, own: Own) -> [Layer; 3] {
    let environment = |_| Patch { variable: ("ENVIRONMENT", "production".to_owned()), replicas: Some(4), tag: Some("1.5.0"), entry: None };
    let region = |_| Patch { variable: ("REGION", "eu".to_owned()), replicas: None, tag: None, entry: Some(("region", "eu")) };
    let cluster_patch = |app: usize| Patch {
        variable: ("CLUSTER", cluster.to_owned()),
        replicas: app.is_multiple_of(10).then_some(6),
        tag: app.is_multiple_of(10).then_some("1.5.1-fix"),
        entry: None,
    };
    let every = |patch: &dyn Fn(usize) -> Patch| (0..apps).map(|app| (app, patch(app))).collect::<Vec<_>>();
    let mut changed = every(&cluster_patch);
    changed.retain(|(app, _)| own == Own::All || app.is_multiple_of(10));
    [
        Layer {
            folder: "environments/production/base".to_owned(),
            label: Some(("example.org/environment", "production".to_owned())),
            patches: every(&environment),
        },
        Layer {
            folder: "environments/production/eu/base".to_owned(),
            label: Some(("example.org/region", "eu".to_owned())),
            patches: every(&region),
        },
        Layer {
            folder: format!("environments/production/eu/{cluster}"),
            label: (own == Own::All).then(|| ("example.org/cluster", cluster.to_owned())),
            patches: changed,
        },
    ]
}

/// The fleet's repository.
pub(super) fn files(apps: usize, clusters: &[String], own: Own) -> Vec<(String, String)> {
    let mut files = workload::files(apps, clusters, "{}");
    for (number, cluster) in clusters.iter().enumerate() {
        let [environment, region, deepest] = layers(apps, cluster, own);
        let shared = if number == 0 { vec![environment, region] } else { Vec::new() };
        for layer in shared.into_iter().chain([deepest]) {
            if let Some((key, value)) = &layer.label {
                let text = format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nlabels: [{{pairs: {{{key}: {value}}}}}]\n");
                files.push((format!("{}/overlay.yaml", layer.folder), text));
            }
            files.extend(layer.patches.iter().map(|(app, patch)| (format!("{}/{}", layer.folder, path(*app)), patch.text(*app))));
        }
    }
    files
}

/// The same for one cluster as kustomizations, each of which stands on the one before; the last is in the folder `cluster`.
pub(super) fn kustomizations(apps: usize, cluster: &str) -> Vec<(String, String)> {
    let base = workload::files(apps, &[], "{}").into_iter().filter_map(|(path, text)| Some((path.strip_prefix("base/")?.to_owned(), text)));
    let base: Vec<(String, String)> = base.collect();
    let list: String = base.iter().fold("resources:\n".to_owned(), |list, (path, _)| list + "- " + path + "\n");
    let mut files = vec![("base/kustomization.yaml".to_owned(), list)];
    files.extend(base.into_iter().map(|(path, text)| (format!("base/{path}"), text)));
    for (layer, [name, below]) in
        layers(apps, cluster, Own::All).into_iter().zip([["environment", "base"], ["region", "environment"], ["cluster", "region"]])
    {
        let mut text = format!("resources: [../{below}]\n");
        if let Some((key, value)) = &layer.label {
            let _ = writeln!(text, "labels: [{{pairs: {{{key}: {value}}}}}]");
        }
        text.push_str("patches:\n");
        for (app, patch) in &layer.patches {
            let _ = writeln!(text, "- path: {}", path(*app));
            files.push((format!("{name}/{}", path(*app)), patch.text(*app)));
        }
        files.push((format!("{name}/kustomization.yaml"), text));
    }
    files
}

/// Where an app's patch stands in a layer.
fn path(app: usize) -> String {
    format!("team-{}/app-{app}.patch.yaml", app / 20)
}

impl Patch {
    fn text(&self, app: usize) -> String {
        let (name, value) = &self.variable;
        let namespace = format!("team-{}", app / 20);
        let mut text = format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app-{app}, namespace: {namespace}}}\nspec:\n");
        if let Some(replicas) = self.replicas {
            let _ = writeln!(text, "  replicas: {replicas}");
        }
        text.push_str("  template:\n    spec:\n      containers:\n        - name: web\n");
        if let Some(tag) = self.tag {
            let _ = writeln!(text, "          image: registry.example.org/shop/app-{app}:{tag}");
        }
        let _ = writeln!(text, "          env:\n            - {{name: {name}, value: {value}}}");
        if let Some((key, value)) = self.entry {
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app-{app}, namespace: {namespace}}}\ndata: {{{key}: {value}}}\n"
            );
        }
        text
    }
}
