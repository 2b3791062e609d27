//! Commit statuses: how each forge is told. Pure but for the token, which is read anew for each request so that it can be rotated.

mod gitea;
mod github;
mod gitlab;

use std::path::PathBuf;

use http::{HeaderName, Uri};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    answer::{self, Outcome},
    client::{Outgoing, Reply, is_local},
    commits::Due,
    line,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{Remote, webhook::Forge},
    manifest::Masked,
    private,
};

/// How the forge is reached, as the operator says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeSettings {
    /// Which API it has.
    pub forge: Forge,
    /// Base of its API; else it follows from the repository's address.
    pub url: Option<String>,
    /// The repository's path there; else it follows from its address.
    pub repo: Option<String>,
    /// The file with the token.
    pub token_file: PathBuf,
}

/// The API of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    forge: Forge,
    base: String,
    repo: String,
    branch: String,
    token_file: PathBuf,
}

/// What a status says, in the words of all forges.
struct Words<'a> {
    due: &'a Due,
    context: String,
    target: Option<String>,
}

impl Words<'_> {
    /// The description within a forge's limit, in characters.
    fn description(&self, chars_max: usize) -> String {
        line(&self.due.description, chars_max)
    }
}

/// What a forge wants to have.
struct Form {
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Api {
    /// Finds the API. EK6064 where the settings do not say where it is, or the token would go over the network unencrypted.
    pub fn new(settings: &ForgeSettings, remote: &Remote) -> Result<Self, Diagnostic> {
        let wrong = |why: String| Diagnostic::new(codes::FORGE, Place::Nowhere, why);
        let found = Found::of(&remote.to_string());
        let derived = found.as_ref().map(|found| match settings.forge {
            Forge::Github => github::place(found),
            Forge::Gitlab => gitlab::place(found),
            _ => gitea::place(found),
        });
        let missing = |flag: &str| wrong(format!("where the forge has {remote} does not follow from its address: {flag} is missing"));
        let (base, repo) = derived.unzip();
        let base = settings.url.clone().or(base).ok_or_else(|| missing("--forge-url"))?;
        let repo = settings.repo.clone().or(repo).ok_or_else(|| missing("--forge-repo"))?;
        let repo = repo.trim_matches('/').trim_end_matches(".git").to_owned();
        let uri: Uri = base.parse().map_err(|_| wrong("--forge-url is no address".to_owned()))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") || uri.authority().is_none_or(|it| it.as_str().contains('@')) || uri.query().is_some() {
            return Err(wrong("--forge-url must be of the form https://host/api, without a user".to_owned()));
        }
        if scheme == "http" && !is_local(&uri) {
            return Err(wrong(format!("the token would go to {base} unencrypted")));
        }
        if !repo.contains('/') || repo.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#')) {
            return Err(wrong(format!("{repo:?} is no repository of a forge; give --forge-repo owner/name")));
        }
        let api = Self {
            forge: settings.forge,
            base: base.trim_end_matches('/').to_owned(),
            repo,
            branch: remote.branch().to_owned(),
            token_file: settings.token_file.clone(),
        };
        api.token()?;
        Ok(api)
    }

    /// As it stands in metrics.
    pub(super) fn kind(&self) -> &'static str {
        self.forge.word()
    }

    /// Where it is, for the log.
    pub(super) fn place(&self) -> String {
        format!("{} of {}", self.repo, self.base)
    }

    fn token(&self) -> Result<Masked<String>, Diagnostic> {
        let unusable = |why| Diagnostic::new(codes::FORGE, Place::file(self.token_file.display().to_string()), why);
        private::secret(&self.token_file).map_err(unusable)
    }

    /// The request that tells a status.
    pub(super) fn request(&self, due: &Due, fleet: &str, public_url: Option<&str>) -> Result<Outgoing, Diagnostic> {
        let target = public_url.map(|url| format!("{}/commits/{}", url.trim_end_matches('/'), due.commit));
        let words = Words { due, context: format!("evenkeel/{fleet}/{}", due.environment), target };
        let token = self.token()?;
        let form = match self.forge {
            Forge::Github => github::form(&self.repo, &words, token.reveal()),
            Forge::Gitlab => gitlab::form(&self.repo, &self.branch, &words, token.reveal()),
            _ => gitea::form(&self.repo, &words, token.reveal()),
        };
        let headers = form.headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), Masked::new(value))).collect();
        Ok(Outgoing { url: Masked::new(format!("{}{}", self.base, form.path)), headers, body: form.body.to_string().into_bytes() })
    }

    /// What its answer means.
    pub(super) fn judge(&self, reply: &Reply, now: Timestamp) -> Outcome {
        if self.forge == Forge::Gitlab && gitlab::is_there_already(reply) { Outcome::Sent } else { answer::judge(reply, now) }
    }
}

/// A repository's address in its parts.
struct Found {
    scheme: &'static str,
    /// Without port where that is the one of ssh.
    host: String,
    /// Without `.git`.
    path: Vec<String>,
}

impl Found {
    fn of(address: &str) -> Option<Self> {
        let (scheme, rest) = match address.split_once("://") {
            Some(("https", rest)) => ("https", rest.split_once('/')?),
            Some(("http", rest)) => ("http", rest.split_once('/')?),
            Some(("ssh", rest)) => {
                let (authority, path) = rest.split_once('/')?;
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                let bare = if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(host, _)| host) };
                ("https", (bare, path))
            }
            Some(_) => return None,
            None => {
                let (authority, path) = address.split_once(':').filter(|(authority, _)| !authority.contains('/'))?;
                ("https", (authority.rsplit_once('@').map_or(authority, |(_, host)| host), path))
            }
        };
        let (host, path) = rest;
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).split('/').map(str::to_owned).collect();
        Some(Self { scheme, host: host.to_lowercase(), path })
    }

    /// Base of the API below the address at which the forge is, and `owner/name`: for forges that have no deeper ones.
    fn split(&self, api: &str) -> (String, String) {
        let (before, repo) = self.path.split_at(self.path.len().saturating_sub(2));
        let place = [&[self.host.clone()][..], before].concat().join("/");
        (format!("{}://{place}{api}", self.scheme), repo.join("/"))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
