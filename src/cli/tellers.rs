//! Settings of `evenkeel run` for telling others: the forge.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::{error::CommandError, settings_file::SettingsFile};
use crate::{git::webhook::Forge, notify::ForgeSettings};

/// A forge that takes commit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum ForgeWord {
    /// GitHub, its Enterprise Server too
    Github,
    /// GitLab
    Gitlab,
    /// Gitea and Forgejo
    #[value(alias = "forgejo")]
    #[serde(alias = "forgejo")]
    Gitea,
}

/// Whether notes about commits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum NotesWord {
    /// None are
    #[serde(alias = "false")]
    Off,
    /// They are pushed to the remote
    Push,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Telling others")]
pub(super) struct TellArgs {
    /// Tell this forge how far each commit is: github, gitlab or gitea (Forgejo too) [default: nobody is told]
    #[arg(long, value_name = "FORGE", env = "EVENKEEL_FORGE", value_enum, hide_possible_values = true)]
    forge: Option<ForgeWord>,
    /// Base of the forge's API [default: from the repository's address]
    #[arg(long, value_name = "URL", env = "EVENKEEL_FORGE_URL")]
    forge_url: Option<String>,
    /// The repository's path at the forge, such as owner/name [default: from its address]
    #[arg(long, value_name = "PATH", env = "EVENKEEL_FORGE_REPO")]
    forge_repo: Option<String>,
    /// File with the forge's token, which may write commit statuses
    #[arg(long, value_name = "FILE", env = "EVENKEEL_FORGE_TOKEN_FILE")]
    forge_token_file: Option<PathBuf>,
    /// push (lines about each commit, which `git log --notes=evenkeel` shows) or off [default: off]
    #[arg(long, value_name = "MODE", env = "EVENKEEL_GIT_NOTES", value_enum, hide_possible_values = true)]
    git_notes: Option<NotesWord>,
    /// File with the addresses and secrets of those who are notified of troubles
    #[arg(long, value_name = "FILE", env = "EVENKEEL_RECEIVERS_FILE")]
    receivers_file: Option<PathBuf>,
    /// Where people reach the dashboard; links to it go into what others are told
    #[arg(long, value_name = "URL", env = "EVENKEEL_PUBLIC_URL")]
    public_url: Option<String>,
}

/// What was said about telling others.
pub(super) struct Told {
    pub(super) forge: Option<ForgeSettings>,
    pub(super) git_notes: bool,
    pub(super) receivers_file: Option<PathBuf>,
    pub(super) public_url: Option<String>,
}

impl TellArgs {
    pub(super) fn resolve(self, file: &SettingsFile) -> Result<Told, CommandError> {
        let token_file = self.forge_token_file.or_else(|| file.forge_token_file.clone());
        let url = self.forge_url.or_else(|| file.forge_url.clone());
        let repo = self.forge_repo.or_else(|| file.forge_repo.clone());
        let forge = match (self.forge.or(file.forge), token_file) {
            (Some(word), Some(token_file)) => {
                let forge = match word {
                    ForgeWord::Github => Forge::Github,
                    ForgeWord::Gitlab => Forge::Gitlab,
                    ForgeWord::Gitea => Forge::Gitea,
                };
                Some(ForgeSettings { forge, url, repo, token_file })
            }
            (None, None) if url.is_none() && repo.is_none() => None,
            (None, _) => return Err(CommandError::usage("--forge-url, --forge-repo and --forge-token-file need --forge")),
            (Some(_), None) => return Err(CommandError::usage("--forge needs --forge-token-file")),
        };
        let public_url = self.public_url.or_else(|| file.public_url.clone());
        if public_url.as_deref().is_some_and(|url| !is_address(url)) {
            return Err(CommandError::usage("--public-url must be of the form https://host/path, without a user"));
        }
        let receivers_file = self.receivers_file.or_else(|| file.receivers_file.clone());
        let git_notes = self.git_notes.or(file.git_notes) == Some(NotesWord::Push);
        Ok(Told { forge, git_notes, receivers_file, public_url })
    }
}

fn is_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    matches!(scheme, "http" | "https")
        && !rest.is_empty()
        && text.is_ascii()
        && !text.contains(|c: char| c.is_control() || matches!(c, ' ' | '@' | '"'))
}
