//! `evenkeel run`: the agent.

mod shown;

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use self::shown::Shown;
use super::{
    World,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    status,
    tellers::TellArgs,
    values::{Concurrency, Interval, Namespace, OfCluster, OfFleet},
};
use crate::{
    agent::{GitSettings, Mode, RunSettings},
    cluster::{CONCURRENCY, FLEET_CONCURRENCY},
    log::{self, Format, Settings as LogSettings},
    manifest::Masked,
    server::{Listen, TlsFiles},
};

/// Hold the fleet to the repository
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Config repository: a path, or an address (file, http, https, ssh)
    #[arg(long, value_name = "URL|PATH", env = "EVENKEEL_REPO", value_parser = clap::value_parser!(Masked<String>))]
    repo: Option<Masked<String>>,
    /// Branch to follow [default: main]
    #[arg(long, value_name = "NAME", env = "EVENKEEL_BRANCH")]
    branch: Option<String>,
    /// Folder for the mirror, the ledger and the socket
    #[arg(long, value_name = "DIR", env = "EVENKEEL_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Kubeconfig with one context per cluster, named like it [default: KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE", env = "EVENKEEL_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Bring the clusters to the head of the branch once, report, and end
    #[arg(long, value_name = "BOOL", env = "EVENKEEL_ONCE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    once: Option<bool>,
    /// With --once on a terminal, show no progress below the log
    #[arg(short, long, env = "EVENKEEL_QUIET")]
    quiet: bool,
    /// sync (hold the clusters to the repository) or observe (report what that would do, and write nothing to any cluster) [default: sync]
    #[arg(long, value_name = "MODE", env = "EVENKEEL_MODE", value_enum, hide_possible_values = true)]
    mode: Option<Mode>,
    /// Only these clusters: a label selector over environment, region, cluster and labels
    #[arg(long, value_name = "SELECTOR", env = "EVENKEEL_ONLY")]
    only: Option<String>,
    /// Namespace on every cluster for the fleet's own ConfigMap [default: evenkeel-system]
    #[arg(long, value_name = "NAME", env = "EVENKEEL_NAMESPACE")]
    namespace: Option<Namespace>,
    /// Time between two looks at the remote [default: 30s]
    #[arg(long, value_name = "TIME", env = "EVENKEEL_POLL_INTERVAL")]
    poll_interval: Option<Interval>,
    /// Time between two comparisons of a whole cluster with the repository [default: 1h; 5m with --mode observe]
    #[arg(long, value_name = "TIME", env = "EVENKEEL_COMPARE_INTERVAL")]
    compare_interval: Option<Interval>,
    /// Requests under way at a time over the whole fleet, at most [default: 256]
    #[arg(long, value_name = "NUMBER", env = "EVENKEEL_MAX_REQUESTS")]
    max_requests: Option<OfFleet>,
    /// Requests under way at a time to one cluster, at most; fewer while it is slow or asks for that [default: 32]
    #[arg(long, value_name = "NUMBER", env = "EVENKEEL_MAX_REQUESTS_PER_CLUSTER")]
    max_requests_per_cluster: Option<OfCluster>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    tell: TellArgs,
    #[command(flatten)]
    git: GitArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
struct ServerArgs {
    /// Serve the API over TCP at this address, such as 127.0.0.1:8480 [default: on the socket alone]
    #[arg(long, value_name = "ADDRESS", env = "EVENKEEL_LISTEN")]
    listen: Option<SocketAddr>,
    /// File with the digests, roles and environments of the tokens that callers show
    #[arg(long, value_name = "FILE", env = "EVENKEEL_TOKENS_FILE")]
    tokens_file: Option<PathBuf>,
    /// PEM file with the server's certificate, and those that vouch for it [default: plain HTTP]
    #[arg(long, value_name = "FILE", env = "EVENKEEL_TLS_CERT_FILE")]
    tls_cert_file: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, value_name = "FILE", env = "EVENKEEL_TLS_KEY_FILE")]
    tls_key_file: Option<PathBuf>,
    /// File with the secrets that forges sign webhooks with [default: no webhooks are taken]
    #[arg(long, value_name = "FILE", env = "EVENKEEL_WEBHOOK_SECRETS_FILE")]
    webhook_secrets_file: Option<PathBuf>,
}

impl ServerArgs {
    fn resolve(self, file: &SettingsFile) -> Result<Option<Listen>, CommandError> {
        let cert = self.tls_cert_file.or_else(|| file.tls_cert_file.clone());
        let key = self.tls_key_file.or_else(|| file.tls_key_file.clone());
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => return Err(CommandError::usage("--tls-cert-file and --tls-key-file belong together")),
        };
        let tokens_file = self.tokens_file.or_else(|| file.tokens_file.clone());
        Ok(self.listen.or(file.listen).map(|address| Listen { address, tokens_file, tls }))
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Git")]
struct GitArgs {
    /// Deadline of a fetch [default: 2m]
    #[arg(long = "git-timeout", value_name = "TIME", env = "EVENKEEL_GIT_TIMEOUT")]
    timeout: Option<Interval>,
    /// User name for http(s), and for ssh where the address has none
    #[arg(long = "git-username", value_name = "NAME", env = "EVENKEEL_GIT_USERNAME")]
    username: Option<String>,
    /// File with the password or token for http(s)
    #[arg(long = "git-password-file", value_name = "FILE", env = "EVENKEEL_GIT_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// File with the private key for ssh [default: the ssh agent's keys]
    #[arg(long = "git-ssh-key-file", value_name = "FILE", env = "EVENKEEL_GIT_SSH_KEY_FILE")]
    ssh_key_file: Option<PathBuf>,
    /// File with the host keys for ssh [default: ~/.ssh/known_hosts]
    #[arg(long = "git-known-hosts-file", value_name = "FILE", env = "EVENKEEL_GIT_KNOWN_HOSTS_FILE")]
    known_hosts_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Log, on stderr")]
struct LogArgs {
    /// auto (human on a terminal, JSON otherwise), human or json [default: auto]
    #[arg(long = "log-format", value_name = "FORM", env = "EVENKEEL_LOG_FORMAT")]
    format: Option<Format>,
    /// error, warn, info, debug or trace, or a list such as info,evenkeel::sync=debug [default: info]
    #[arg(long = "log-level", value_name = "LEVEL", env = "EVENKEEL_LOG_LEVEL")]
    level: Option<String>,
}

pub(super) fn run(args: RunArgs, file: SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let quiet = args.quiet || file.quiet.unwrap_or(false);
    let (settings, log) = resolve(args, file)?;
    let (once, state_dir) = (settings.once, settings.state_dir.clone());
    let shown = if once && !quiet { Shown::start(state_dir.clone()) } else { None };
    let outcome = (world.agent)(settings, &log);
    drop(shown);
    let outcome = outcome?;
    if once {
        status::report(&state_dir, &outcome.clusters, world, printer)?;
    }
    Ok(if outcome.in_sync { Exit::Done } else { Exit::Amiss })
}

/// Flag and environment over file over default.
fn resolve(args: RunArgs, file: SettingsFile) -> Result<(RunSettings, LogSettings), CommandError> {
    let RunArgs { git, log, server, tell, .. } = args;
    let told = tell.resolve(&file)?;
    let webhook_secrets_file = server.webhook_secrets_file.clone().or_else(|| file.webhook_secrets_file.clone());
    let listen = server.resolve(&file)?;
    let namespace = args.namespace.map_or_else(|| file.namespace().to_owned(), |Namespace(name)| name);
    let repo = args.repo.or(file.repo).ok_or_else(|| missing("repo"))?;
    let state_dir = args.state_dir.or(file.state_dir).ok_or_else(|| missing("state-dir"))?;
    let branch = args.branch.or(file.branch).unwrap_or_else(|| "main".to_owned());
    let log = LogSettings {
        format: log.format.or(file.log_format).unwrap_or_default(),
        level: log.level.or(file.log_level).unwrap_or_else(|| "info".to_owned()),
    };
    log::filter(&log.level)?;
    if repo.reveal().is_empty() || branch.is_empty() || state_dir.as_os_str().is_empty() {
        return Err(CommandError::usage("--repo, --branch and --state-dir cannot be empty"));
    }
    let only = args.only.or(file.only);
    if only.as_ref().is_some_and(|only| only.trim().is_empty()) {
        return Err(CommandError::usage("--only cannot be empty").with_hint("Leave it out for the whole fleet."));
    }
    let mode = args.mode.or(file.mode).unwrap_or_default();
    // Nothing tells of changes to objects that are not the fleet's yet but another look at them.
    let compare = if mode == Mode::Observe { Interval::seconds(300) } else { Interval::seconds(3600) };
    let settings = RunSettings {
        repo,
        branch,
        state_dir,
        kubeconfig: args.kubeconfig.or(file.kubeconfig),
        once: args.once.or(file.once).unwrap_or(false),
        mode,
        only,
        namespace,
        poll_interval: args.poll_interval.or(file.poll_interval).unwrap_or(Interval::seconds(30)).0,
        compare_interval: args.compare_interval.or(file.compare_interval).unwrap_or(compare).0,
        max_requests: args.max_requests.or(file.max_requests).unwrap_or(Concurrency(FLEET_CONCURRENCY)).0,
        max_requests_per_cluster: args.max_requests_per_cluster.or(file.max_requests_per_cluster).unwrap_or(Concurrency(CONCURRENCY)).0,
        listen,
        webhook_secrets_file,
        forge: told.forge,
        git_notes: told.git_notes,
        receivers_file: told.receivers_file,
        public_url: told.public_url,
        git: GitSettings {
            timeout: git.timeout.or(file.git_timeout).unwrap_or(Interval::seconds(120)).0,
            username: git.username.or(file.git_username),
            password_file: git.password_file.or(file.git_password_file),
            ssh_key_file: git.ssh_key_file.or(file.git_ssh_key_file),
            known_hosts_file: git.known_hosts_file.or(file.git_known_hosts_file),
        },
    };
    Ok((settings, log))
}

fn missing(flag: &str) -> CommandError {
    let variable = flag.to_ascii_uppercase().replace('-', "_");
    CommandError::usage(format!("--{flag} is missing"))
        .with_hint(format!("Give --{flag}, EVENKEEL_{variable}, or the key `{flag}` in the settings file; see `evenkeel help run`."))
}
