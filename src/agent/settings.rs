//! What `evenkeel run` was told.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use serde::Deserialize;

use crate::{manifest::Masked, notify::ForgeSettings, server::Listen};

/// The settings of one agent, resolved from flags, environment and settings file, and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// Path or address of the config repository. Masked, since an address may carry credentials.
    pub repo: Masked<String>,
    /// The branch that is followed.
    pub branch: String,
    /// Where the mirror, the ledger and the socket are.
    pub state_dir: PathBuf,
    /// The kubeconfig file; none means `KUBECONFIG`, or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Bring the clusters to the head once and end.
    pub once: bool,
    /// Whether clusters are written.
    pub mode: Mode,
    /// Only the clusters that this label selector selects.
    pub only: Option<String>,
    /// Namespace of the parent ConfigMap on every cluster.
    pub namespace: String,
    /// Between two looks at the remote; jitter is added.
    pub poll_interval: Duration,
    /// Between two comparisons of a whole cluster with its rendering; jitter is added.
    pub compare_interval: Duration,
    /// Requests under way at a time over the whole fleet, at most.
    pub max_requests: usize,
    /// Requests under way at a time to one cluster, at most.
    pub max_requests_per_cluster: usize,
    /// Where the API is served besides the socket; with `once` nowhere.
    pub listen: Option<Listen>,
    /// The file with the secrets of webhooks; without it none are taken.
    pub webhook_secrets_file: Option<PathBuf>,
    /// The forge that is told how far commits are.
    pub forge: Option<ForgeSettings>,
    /// Push notes about commits to the remote.
    pub git_notes: bool,
    /// The file with the receivers of notifications.
    pub receivers_file: Option<PathBuf>,
    /// Where people reach the dashboard.
    pub public_url: Option<String>,
    /// How to reach the remote.
    pub git: GitSettings,
}

/// What an agent does about what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Clusters are held to the repository
    #[default]
    Sync,
    /// All is computed and reported, and nothing is written to any cluster
    Observe,
}

/// How a run ended that was not cut short by an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Every selected cluster is in sync. True also where the agent was told to stop.
    pub in_sync: bool,
    /// The selected clusters, by name.
    pub clusters: Vec<String>,
}

/// How a remote is reached. Credentials are named by file; they are read when they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSettings {
    /// Deadline of one fetch.
    pub timeout: Duration,
    /// User name for http(s), or for ssh where the address has none.
    pub username: Option<String>,
    /// File with the password or token for http(s).
    pub password_file: Option<PathBuf>,
    /// File with the private key for ssh; without it the ssh agent is asked.
    pub ssh_key_file: Option<PathBuf>,
    /// File with the host keys for ssh.
    pub known_hosts_file: Option<PathBuf>,
}
