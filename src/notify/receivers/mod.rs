//! Who is notified: names that the repository uses, and addresses and secrets that only the agent has.

mod alertmanager;
mod slack;
mod webhook;

use std::path::{Path, PathBuf};

use http::Uri;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    answer::{self, Outcome},
    board::Message,
    client::{Http, Outgoing, Reply, is_local},
    line,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::Masked,
    private,
};

/// Clusters that a text names; the rest is a number.
const NAMED_MAX: usize = 20;
/// Receivers of one agent.
const RECEIVERS_MAX: usize = 50;

/// One of the agent's receivers.
#[derive(Debug, Clone)]
pub struct Receiver {
    name: String,
    kind: Kind,
    address: Address,
    secret_file: Option<PathBuf>,
}

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Slack,
    Webhook,
    Alertmanager,
}

/// Masked where it stands: Slack's addresses are secrets.
#[derive(Debug, Clone)]
enum Address {
    Here(Masked<String>),
    /// Read at each request.
    File(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    receivers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    name: String,
    r#type: Kind,
    url: Option<Masked<String>>,
    url_file: Option<PathBuf>,
    secret_file: Option<PathBuf>,
}

/// What is around a message.
pub(super) struct Ground<'a> {
    pub(super) fleet: &'a str,
    pub(super) public_url: Option<&'a str>,
    pub(super) now: Timestamp,
    /// Tells this delivery from others.
    pub(super) delivery: String,
}

impl Receiver {
    /// Reads the file of receivers. EK6065 where it cannot be used.
    pub fn read(path: &Path) -> Result<Vec<Self>, Diagnostic> {
        let name = path.display().to_string();
        let wrong = |why: String| Diagnostic::new(codes::RECEIVERS, Place::file(&*name), why);
        let form = "`receivers`, a list of name, type (slack, webhook, alertmanager), url or urlFile, and secretFile";
        let file: FileForm = private::yaml(path, codes::RECEIVERS, form)?;
        if file.receivers.len() > RECEIVERS_MAX {
            return Err(wrong(format!("there are more than {RECEIVERS_MAX} receivers")));
        }
        let mut receivers: Vec<Self> = Vec::new();
        for entry in file.receivers {
            let shown = line(&entry.name, 63);
            if receivers.iter().any(|receiver| receiver.name == entry.name) {
                return Err(wrong(format!("two receivers are named {shown}")));
            }
            receivers.push(Self::checked(entry).map_err(|why| wrong(format!("the receiver {shown}: {why}")))?);
        }
        Ok(receivers)
    }

    fn checked(entry: Entry) -> Result<Self, String> {
        let Entry { name, r#type: kind, url, url_file, secret_file } = entry;
        if name.is_empty() || name.len() > 63 || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            return Err("a name is made of letters, digits, `-`, `_` and `.`, at most 63".to_owned());
        }
        if secret_file.is_some() && kind != Kind::Webhook {
            return Err("only a webhook is signed, so it has no secretFile".to_owned());
        }
        let address = match (url, url_file) {
            (Some(url), None) => Address::Here(url),
            (None, Some(file)) => Address::File(file),
            _ => return Err("it needs either url or urlFile".to_owned()),
        };
        let receiver = Self { name, kind, address, secret_file };
        receiver.url().map(|_| receiver)
    }

    /// Its name, as the repository's rules have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it speaks, as metrics have it.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Slack => "slack",
            Kind::Webhook => "webhook",
            Kind::Alertmanager => "alertmanager",
        }
    }

    /// How often it must be told what still stands; none where once is enough.
    pub(super) fn again(&self) -> Option<jiff::SignedDuration> {
        (self.kind == Kind::Alertmanager).then_some(alertmanager::AGAIN)
    }

    /// The address, or why there is none; without any part of it.
    fn url(&self) -> Result<Masked<String>, String> {
        let url = match &self.address {
            Address::Here(url) => url.clone(),
            Address::File(path) => private::secret(path).map_err(|why| format!("{}: {why}", path.display()))?,
        };
        let uri: Uri = url.reveal().parse().map_err(|_| "its address is no address".to_owned())?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_local(&uri) || self.kind != Kind::Slack => {}
            Some("http") => return Err("its address is the secret, and would go over the network unencrypted".to_owned()),
            _ => return Err("its address begins with https:// or http://".to_owned()),
        }
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err("a user cannot stand in its address".to_owned());
        }
        Ok(url)
    }

    fn request(&self, message: &Message, ground: &Ground<'_>) -> Result<Outgoing, String> {
        let url = self.url()?;
        match self.kind {
            Kind::Slack => Ok(slack::request(url, message, ground)),
            Kind::Alertmanager => Ok(alertmanager::request(&url, message, ground)),
            Kind::Webhook => {
                let secret = self.secret_file.as_deref().map(private::secret).transpose();
                let secret = secret.map_err(|why| format!("its secret: {why}"))?;
                Ok(webhook::request(url, secret.as_ref(), message, ground))
            }
        }
    }

    /// The answer without the receiver's own words, where these may repeat a secret of its address, in whatever form: there is none in an
    /// address of a host alone.
    fn repeatable(&self, reply: Reply) -> Reply {
        let is_open = match &self.address {
            Address::Here(url) => url.reveal().parse::<Uri>().is_ok_and(|uri| uri.path() == "/" && uri.query().is_none()),
            Address::File(_) => false,
        };
        if is_open { reply } else { Reply { text: String::new(), ..reply } }
    }

    /// Tells it, once.
    pub(super) async fn tell(&self, http: &Http, message: &Message, ground: &Ground<'_>) -> Outcome {
        let sent = match self.request(message, ground) {
            Ok(request) => http.post(&request).await,
            Err(why) => Err(why),
        };
        match sent {
            Ok(reply) => answer::judge(&self.repeatable(reply), ground.now),
            Err(why) => Outcome::Again { why, after: None },
        }
    }

    /// Sends a test message; what the receiver answered. EK6067 where it did not take it.
    pub async fn test(&self, http: &Http, fleet: &str, now: Timestamp) -> Result<(), Diagnostic> {
        let message = Message::test(now);
        let ground = Ground { fleet, public_url: None, now, delivery: format!("test-{}", now.as_millisecond()) };
        match self.tell(http, &message, &ground).await {
            Outcome::Sent => Ok(()),
            Outcome::Again { why, .. } | Outcome::Never { why } => {
                Err(Diagnostic::new(codes::NOTIFY_TEST, Place::Nowhere, format!("{} ({}) was not told: {why}", self.name, self.kind())))
            }
        }
    }
}

/// The parts of a text for people.
struct Words {
    /// What, where, how bad.
    title: String,
    /// Which clusters.
    who: String,
    /// The cause.
    cause: String,
    /// The way out; empty where it is over.
    way_out: String,
    /// The page of the commit or of the cluster.
    link: Option<String>,
}

impl Words {
    fn of(message: &Message, ground: &Ground<'_>) -> Self {
        let Message { key, resolved, clusters, error, commit, .. } = message;
        let count = clusters.len();
        let state = if *resolved { "resolved" } else { message.severity.word() };
        let (what, several) = (format!("{:?}", key.trouble), if count == 1 { "cluster" } else { "clusters" });
        let named: Vec<&str> = clusters.keys().take(NAMED_MAX).map(String::as_str).collect();
        let more = if count > NAMED_MAX { format!(" and {} more", count - NAMED_MAX) } else { String::new() };
        let code = if error.code.is_empty() { String::new() } else { format!("{}: ", error.code) };
        let commit = commit.map(|commit| commit.to_string());
        let at = commit.as_ref().map(|commit| format!(" (commit {})", commit.chars().take(7).collect::<String>())).unwrap_or_default();
        let since = message.since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let public = ground.public_url.map(|url| url.trim_end_matches('/'));
        let page = || match (&commit, clusters.keys().next()) {
            (_, Some(cluster)) if count == 1 => Some(format!("/clusters/{cluster}")),
            (Some(commit), _) => Some(format!("/commits/{commit}")),
            _ => None,
        };
        Self {
            title: format!("[{state}] {} {}: {count} {several} {what}", ground.fleet, key.environment),
            who: if *resolved { format!("{}{more}", named.join(", ")) } else { format!("{}{more}, since {since}", named.join(", ")) },
            cause: format!("{code}{}{at}", error.message),
            way_out: if *resolved { String::new() } else { error.hint.clone() },
            link: public.and_then(|public| Some(format!("{public}{}", page()?))),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
