//! What all overlay.yaml files of a repository name, read without judging them: files whose text may be secret.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::git::{Node, Source, TreeId};

/// How deep folders are looked into.
const DEPTH_MAX: usize = 40;
/// Folders of the root in which overlays stand.
const ROOTS: [&str; 4] = ["base", "components", "environments", "regions"];

/// What overlays name.
#[derive(Debug, Default)]
pub(super) struct Overlays {
    /// Files that may hold parts of a Secret though they do not say so.
    guarded: BTreeSet<String>,
    /// Folders with an overlay that cannot be read, or that is named otherwise: what it makes of the files there is not known.
    unknown: Vec<String>,
}

impl Overlays {
    /// Reads them all. What cannot be read is a mistake that is found elsewhere.
    pub(super) fn of(source: &dyn Source) -> Self {
        let mut found = Self::default();
        let Ok(root) = source.folder(source.root()) else { return found };
        for name in ROOTS {
            let Some(Node::Folder(tree)) = root.get(name).map(|entry| entry.node) else { continue };
            found.folder(source, name, tree, 0);
        }
        found
    }

    /// Whether an overlay makes parts of Secrets of that file, or may do so.
    pub(super) fn guards(&self, path: &str) -> bool {
        let below = |folder: &String| path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'));
        self.guarded.contains(path) || (!path.ends_with("/overlay.yaml") && self.unknown.iter().any(below))
    }

    fn folder(&mut self, source: &dyn Source, path: &str, tree: TreeId, depth: usize) {
        let Ok(folder) = source.folder(tree) else { return };
        for entry in &folder.entries {
            match entry.node {
                Node::Folder(tree) if depth < DEPTH_MAX => self.folder(source, &format!("{path}/{}", entry.name), tree, depth + 1),
                Node::File(blob) if entry.name == "overlay.yaml" => {
                    let text = source.blob(blob).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
                    match kube_yaml::parse(&text) {
                        Ok(documents) => documents.into_iter().for_each(|document| self.overlay(path, &document.root.into_json())),
                        Err(_) => self.unknown.push(path.to_owned()),
                    }
                }
                Node::File(_) if matches!(&*entry.name, "overlay.yml" | "kustomization.yaml" | "kustomization.yml" | "Kustomization") => {
                    self.unknown.push(path.to_owned());
                }
                _ => {}
            }
        }
    }

    fn overlay(&mut self, folder: &str, overlay: &Value) {
        let items = |name: &str| overlay[name].as_array().into_iter().flatten();
        for patch in items("patches") {
            // A target's kind is a regular expression; only a plain word surely leaves Secrets out.
            let kind = patch["target"]["kind"].as_str().unwrap_or_default();
            let plain = !kind.is_empty() && kind != "Secret" && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if let (Some(path), true, false) = (patch["path"].as_str(), patch["target"].is_object(), plain) {
                self.guarded.insert(resolve(folder, path));
            }
        }
        for generator in items("secretGenerator") {
            for field in ["files", "envs", "env"] {
                let values = match &generator[field] {
                    Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
                    Value::String(value) => vec![value.as_str()],
                    _ => Vec::new(),
                };
                // `key=path` or a path.
                self.guarded.extend(values.iter().map(|value| resolve(folder, value.split_once('=').map_or(*value, |(_, path)| path))));
            }
        }
    }
}

/// A path as an overlay in that folder gives it, from the repository's root.
fn resolve(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in relative.split('/') {
        if part == ".." {
            parts.pop();
        } else if part != "." {
            parts.push(part);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::git::MemorySource;

    fn overlays(files: &[(&str, &str)]) -> Overlays {
        Overlays::of(&MemorySource::new(files.iter().copied()).unwrap())
    }

    #[test]
    fn files_that_may_become_part_of_a_secret() {
        let found = overlays(&[(
            "base/shop/overlay.yaml",
            "secretGenerator: [{name: a, files: [key=./key.yaml, other.yaml], envs: [.env]}]\n\
             patches:\n- {path: any.yaml, target: {name: a}}\n- {path: some.yaml, target: {kind: Sec.*}}\n\
             - {path: plain.yaml, target: {kind: Deployment}}\n- path: named.yaml\n",
        )]);
        for (path, guarded) in [
            ("key.yaml", true),
            ("other.yaml", true),
            (".env", true),
            ("any.yaml", true),
            ("some.yaml", true),
            ("plain.yaml", false),
            ("named.yaml", false),
        ] {
            assert_eq!(found.guards(&format!("base/shop/{path}")), guarded, "{path}");
        }
    }

    #[test]
    fn what_a_broken_or_misnamed_overlay_makes_of_files_is_not_known() {
        for name in ["overlay.yaml", "overlay.yml", "kustomization.yaml"] {
            let path = format!("base/x/{name}");
            let overlays = overlays(&[(&path, "secretGenerator: [{files: [a.json]\n"), ("base/x/a.json", "{}"), ("base/y/b.yaml", "")]);
            assert!(overlays.guards("base/x/a.json") && !overlays.guards("base/y/b.yaml") && !overlays.guards("base/x/overlay.yaml"));
        }
    }
}
