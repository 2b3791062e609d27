//! The agent's own kubeconfig, and which connection of it a cluster uses.
//!
//! The config repository may choose among the contexts and files that the agent's operator has put in place; it can never name
//! another file, a command or a credential.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use kube::config::{Kubeconfig as Content, KubeconfigError};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::ClusterError;

/// A kubeconfig larger than this is not read: a thousand contexts with certificates stay below 8 MiB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Exec plugins that run at the same time for the whole fleet.
const PLUGINS_MAX: usize = 8;

/// How `spec.connection` of a cluster.yaml says to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionSpec {
    /// A context of the agent's own kubeconfig. The default is the context named like the cluster.
    Context(String),
    /// A file in the folder of the agent's own kubeconfig.
    Kubeconfig {
        /// Its path, relative to that folder.
        path: String,
        /// The context; without one, that named like the cluster, else the file's current or only one.
        context: Option<String>,
    },
    /// The cluster in which the agent runs.
    InCluster,
    /// A Secret of the cluster in which the agent runs. Not built yet.
    Secret(String),
}

/// The agent's own kubeconfig: one file, or those of `$KUBECONFIG` merged. Cheap to clone; read again when a file changed.
#[derive(Clone)]
pub struct Kubeconfig {
    files: Arc<[PathBuf]>,
    read: Arc<Mutex<Option<Read>>>,
    pub(super) plugins: Arc<Semaphore>,
}

struct Read {
    stamps: Vec<Stamp>,
    content: Arc<Content>,
}

/// What tells a changed file from an unchanged one, without reading it. None where there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(i64, i64, u64, u64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        // Follows links: projected volumes are renewed by turning a link.
        Self(fs::metadata(path).ok().map(|file| (file.mtime(), file.mtime_nsec(), file.size(), file.ino())))
    }
}

/// One connection's part of a kubeconfig.
pub(super) struct Chosen {
    /// The context with its cluster and user, and nothing else.
    pub(super) content: Content,
    /// The files that it came from.
    pub(super) files: Vec<PathBuf>,
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubeconfig").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Kubeconfig {
    /// The file at that path; without one, the files of `$KUBECONFIG`, else `~/.kube/config`, as far as they exist.
    pub fn open(path: Option<&Path>) -> Result<Self, ClusterError> {
        let named = match path {
            Some(path) => vec![path.to_owned()],
            None => match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
                Some(list) => std::env::split_paths(&list).filter(|file| !file.as_os_str().is_empty()).collect(),
                None => std::env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect(),
            },
        };
        let absolute = named.iter().map(|file| std::path::absolute(file).map_err(|error| wrong(file, error.to_string())));
        let mut files = absolute.collect::<Result<Vec<_>, _>>()?;
        if path.is_none() {
            files.retain(|file| file.exists());
        }
        let kubeconfig = Self { files: files.into(), read: Arc::default(), plugins: Arc::new(Semaphore::new(PLUGINS_MAX)) };
        kubeconfig.content()?;
        Ok(kubeconfig)
    }

    /// The names of its contexts, in the order of the files.
    pub fn contexts(&self) -> Result<Vec<String>, ClusterError> {
        Ok(contexts(&*self.content()?))
    }

    /// The content, parsed again only if a file changed.
    fn content(&self) -> Result<Arc<Content>, ClusterError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // Before reading: a change in between is then seen the next time.
        let stamps: Vec<_> = self.files.iter().map(|file| Stamp::of(file)).collect();
        if let Some(read) = read.as_ref().filter(|read| read.stamps == stamps) {
            return Ok(Arc::clone(&read.content));
        }
        let merged = self
            .files
            .iter()
            .try_fold(Content::default(), |merged, file| merged.merge(parse(file)?).map_err(|error| wrong(file, explain(&error))))?;
        let content = Arc::new(merged);
        *read = Some(Read { stamps, content: Arc::clone(&content) });
        Ok(content)
    }

    /// The context of a connection, as the files are now.
    pub(super) fn choose(&self, spec: &ConnectionSpec, cluster: &str) -> Result<Chosen, ClusterError> {
        match spec {
            ConnectionSpec::Context(context) => Ok(Chosen { content: only(&*self.content()?, context)?, files: self.files.to_vec() }),
            ConnectionSpec::Kubeconfig { path, context } => {
                let file = self.confine(path)?;
                let content = parse(&file)?;
                let context = context.clone().unwrap_or_else(|| default_context(&content, cluster));
                Ok(Chosen { content: only(&content, &context)?, files: vec![file] })
            }
            ConnectionSpec::InCluster => Ok(Chosen { content: Content::default(), files: Vec::new() }),
            ConnectionSpec::Secret(_) => Err(ClusterError::NotBuilt("spec.connection.secret")),
        }
    }

    /// The real path of a file that the repository names, which must be in the folder of the agent's own kubeconfig.
    fn confine(&self, path: &str) -> Result<PathBuf, ClusterError> {
        let outside = || ClusterError::OutsideFolder { path: path.to_owned() };
        let folder = self.files.first().and_then(|file| file.parent()).ok_or_else(outside)?;
        let asked = Path::new(path);
        // By its letters first, so that the answer does not tell what exists elsewhere.
        let strays = asked.components().any(|part| part == Component::ParentDir);
        if path.is_empty() || strays || (asked.is_absolute() && !asked.starts_with(folder)) {
            return Err(outside());
        }
        let joined = folder.join(asked);
        let folder = folder.canonicalize().map_err(|error| wrong(folder, error.to_string()))?;
        let real = joined.canonicalize().map_err(|error| wrong(&joined, error.to_string()))?;
        if real.starts_with(&folder) { Ok(real) } else { Err(outside()) }
    }
}

fn parse(file: &Path) -> Result<Content, ClusterError> {
    let about = fs::metadata(file).map_err(|error| wrong(file, error.to_string()))?;
    if !about.is_file() {
        return Err(wrong(file, "not a regular file".to_owned()));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(wrong(file, format!("larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024)));
    }
    Content::read_from(file).map_err(|error| wrong(file, explain(&error)))
}

/// Where and why, without the text around it: the parser quotes lines, and these may hold a token.
pub(super) fn explain(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("not a kubeconfig: wrong at line {}, column {}", at.line(), at.column()),
            None => "not a kubeconfig".to_owned(),
        },
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        other => other.to_string(),
    }
}

fn wrong(path: &Path, problem: String) -> ClusterError {
    ClusterError::Kubeconfig { path: path.to_owned(), problem }
}

fn contexts(content: &Content) -> Vec<String> {
    content.contexts.iter().map(|context| context.name.clone()).collect()
}

fn default_context(content: &Content, cluster: &str) -> String {
    let names = contexts(content);
    let current = content.current_context.clone().filter(|name| !name.is_empty());
    match &names[..] {
        names if names.iter().any(|name| name == cluster) => cluster.to_owned(),
        _ if current.is_some() => current.unwrap_or_default(),
        [one] => one.clone(),
        _ => cluster.to_owned(),
    }
}

/// The kubeconfig reduced to that context.
fn only(content: &Content, context: &str) -> Result<Content, ClusterError> {
    let absent = || ClusterError::NoContext { context: context.to_owned(), contexts: contexts(content) };
    let named = content.contexts.iter().find(|named| named.name == context).ok_or_else(absent)?;
    let of = named.context.as_ref().ok_or_else(absent)?;
    Ok(Content {
        clusters: content.clusters.iter().filter(|named| named.name == of.cluster).cloned().collect(),
        auth_infos: content.auth_infos.iter().filter(|named| Some(&named.name) == of.user.as_ref()).cloned().collect(),
        contexts: vec![named.clone()],
        current_context: Some(context.to_owned()),
        ..Content::default()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(contexts: &[&str]) -> String {
        let head = "apiVersion: v1\nkind: Config\nclusters:\n- {name: c, cluster: {server: 'https://127.0.0.1:1'}}\n";
        let user = "users:\n- {name: u, user: {token: hunter2}}\ncontexts:\n";
        let contexts: Vec<_> = contexts.iter().map(|name| format!("- {{name: {name}, context: {{cluster: c, user: u}}}}\n")).collect();
        format!("{head}{user}{}", contexts.concat())
    }

    fn folder() -> (tempfile::TempDir, Kubeconfig) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config"), text(&["dev", "prod"])).unwrap();
        let kubeconfig = Kubeconfig::open(Some(&folder.path().join("config"))).unwrap();
        (folder, kubeconfig)
    }

    fn chosen(kubeconfig: &Kubeconfig, spec: &ConnectionSpec, cluster: &str) -> Result<String, ClusterError> {
        kubeconfig.choose(spec, cluster).map(|chosen| chosen.content.current_context.unwrap())
    }

    #[test]
    fn contexts_are_chosen_and_reread() {
        let (folder, kubeconfig) = folder();
        let context = |name: &str| ConnectionSpec::Context(name.into());
        assert_eq!(chosen(&kubeconfig, &context("prod"), "x").unwrap(), "prod");
        let absent = chosen(&kubeconfig, &context("qa"), "x").unwrap_err();
        assert_eq!((absent.code().id, &*absent.to_string()), ("EK3001", "the kubeconfig has no context named \"qa\"; it has dev, prod"));
        fs::write(folder.path().join("config"), text(&["dev", "prod", "qa"])).unwrap();
        assert_eq!(chosen(&kubeconfig, &context("qa"), "x").unwrap(), "qa");
        assert_eq!(kubeconfig.contexts().unwrap(), ["dev", "prod", "qa"]);
    }

    #[test]
    fn files_of_the_repository_are_confined() {
        let (folder, kubeconfig) = folder();
        let elsewhere = tempfile::tempdir().unwrap();
        let outside = elsewhere.path().join("config");
        fs::write(&outside, text(&["evil"])).unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/one"), text(&["only"])).unwrap();
        symlink(&outside, folder.path().join("link")).unwrap();
        symlink("sub/one", folder.path().join("inner")).unwrap();
        symlink(elsewhere.path(), folder.path().join("away")).unwrap();
        let file = |path: &str| chosen(&kubeconfig, &ConnectionSpec::Kubeconfig { path: path.into(), context: None }, "x");
        assert_eq!(file("sub/one").unwrap(), "only");
        assert_eq!(file("./inner").unwrap(), "only");
        assert_eq!(file(folder.path().join("sub/one").to_str().unwrap()).unwrap(), "only");
        for path in ["", "..", "../x", "sub/../sub/one", "link", "away/config", "/etc/passwd", "/no/such/file", outside.to_str().unwrap()] {
            assert_eq!(file(path).unwrap_err().code().id, "EK3007", "{path:?}");
        }
        assert_eq!(file("missing").unwrap_err().code().id, "EK3001");
        assert_eq!(file("sub").unwrap_err().code().id, "EK3001");
    }

    #[test]
    fn the_context_of_a_file_is_found() {
        let (folder, kubeconfig) = folder();
        let choose = |text: String, context: Option<&str>| {
            fs::write(folder.path().join("f"), text).unwrap();
            let spec = ConnectionSpec::Kubeconfig { path: "f".into(), context: context.map(Into::into) };
            chosen(&kubeconfig, &spec, "web")
        };
        assert_eq!(choose(text(&["a", "web"]), None).unwrap(), "web");
        assert_eq!(choose(text(&["a"]), None).unwrap(), "a");
        assert_eq!(choose(text(&["a", "b"]) + "current-context: b\n", None).unwrap(), "b");
        assert_eq!(choose(text(&["a", "web"]), Some("a")).unwrap(), "a");
        choose(text(&["a", "b"]), None).unwrap_err();
    }

    #[test]
    fn errors_do_not_quote_the_file() {
        let (folder, kubeconfig) = folder();
        fs::write(folder.path().join("bad"), "users:\n- name: u\n  user: {token: hunter2, tokenFile: [hunter2]}\n").unwrap();
        let spec = ConnectionSpec::Kubeconfig { path: "bad".into(), context: None };
        let error = chosen(&kubeconfig, &spec, "x").unwrap_err().to_string();
        assert!(error.contains("line 3") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_secret_is_not_built_yet() {
        let (_folder, kubeconfig) = folder();
        assert_eq!(chosen(&kubeconfig, &ConnectionSpec::Secret("s".into()), "x").unwrap_err().code().id, "EK1006");
    }
}
