//! Which agent a command asks: the one of a state directory, or one at an address.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{STATE_DIR, error::CommandError, settings_file::SettingsFile};
use crate::{
    codes,
    manifest::Masked,
    server::{Address, ServerUrl, socket_path, token_of},
};

/// The variable with a token itself, for where a file is one thing too many.
const TOKEN: &str = "EVENKEEL_TOKEN";

/// Which agent is meant.
#[derive(Debug, Args)]
pub(super) struct StateDirArg {
    /// State directory of the agent [default: /var/lib/evenkeel]
    #[arg(long, value_name = "DIR", env = "EVENKEEL_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Address of an agent that listens (run --listen), instead of its state directory; the token is in EVENKEEL_TOKEN or --token-file
    #[arg(long, value_name = "URL", env = "EVENKEEL_SERVER")]
    server: Option<ServerUrl>,
    /// File with the token for --server
    #[arg(long, value_name = "FILE", env = "EVENKEEL_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the certificate authority of --server [default: the system's]
    #[arg(long, value_name = "FILE", env = "EVENKEEL_SERVER_CA_FILE")]
    server_ca_file: Option<PathBuf>,
}

impl StateDirArg {
    /// A flag or variable over the file, and an address over a folder.
    pub(super) fn resolve(self, file: &SettingsFile) -> Whom {
        let server = self.server.or_else(|| file.server.clone().filter(|_| self.state_dir.is_none()));
        match server {
            Some(url) => Whom::Server {
                url,
                token_file: self.token_file.or_else(|| file.token_file.clone()),
                ca_file: self.server_ca_file.or_else(|| file.server_ca_file.clone()),
            },
            None => Whom::StateDir(self.state_dir.or_else(|| file.state_dir.clone()).unwrap_or_else(|| STATE_DIR.into())),
        }
    }
}

/// The agent that is asked.
#[derive(Debug)]
pub(super) enum Whom {
    /// By its socket, and while it is stopped by its ledger.
    StateDir(PathBuf),
    /// Over the network.
    Server { url: ServerUrl, token_file: Option<PathBuf>, ca_file: Option<PathBuf> },
}

impl Whom {
    /// Where it is asked. EK6042 where a token would go unencrypted to another machine.
    pub(super) fn address(&self) -> Result<Address, CommandError> {
        let (url, token_file, ca_file) = match self {
            Self::StateDir(path) => return Ok(Address::Socket(socket_path(path))),
            Self::Server { url, token_file, ca_file } => (url, token_file, ca_file),
        };
        let token = match (token_file, std::env::var(TOKEN)) {
            (Some(path), _) => Some(token_of(path)?),
            (None, Ok(token)) if !token.is_empty() => Some(token),
            (None, _) => None,
        };
        if token.is_some() && !url.keeps_secrets() {
            let message = format!("the token would go unencrypted to {url}");
            return Err(CommandError::new(codes::SERVER_ADDRESS, message).with_hint("Use https, or a tunnel to the agent's machine."));
        }
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(CommandError::new(codes::TOKEN, "the token has spaces or other characters that no token has"));
        }
        Ok(Address::Server { url: url.clone(), token: token.map(Masked::new), ca_file: ca_file.clone() })
    }

    /// The agent's name in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::StateDir(path) => path.display().to_string(),
            Self::Server { url, .. } => url.to_string(),
        }
    }

    /// The folder in which something can be put on record while the agent is stopped.
    pub(super) fn state_dir(&self) -> Option<&Path> {
        match self {
            Self::StateDir(path) => Some(path),
            Self::Server { .. } => None,
        }
    }

    /// Nobody answers there.
    pub(super) fn not_running(&self) -> CommandError {
        match self {
            Self::StateDir(path) => CommandError::new(codes::AGENT_GONE, format!("no agent runs on {}", path.display()))
                .with_hint("Start the agent, or name the state directory of the one that runs with --state-dir."),
            Self::Server { url, .. } => CommandError::new(codes::AGENT_GONE, format!("nobody listens at {url}"))
                .with_hint("Is the agent running with --listen, and is the address right?"),
        }
    }
}
