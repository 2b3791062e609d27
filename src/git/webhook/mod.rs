//! What forges send when somebody pushes: whether it is signed, what it says, and whether that concerns the followed branch.
//! Pure; the server does the rest.

mod payload;
mod signature;

use std::fmt;

pub use payload::{BadPayload, Event};
pub use signature::{GITLAB_SIGNING, Proven, Unproven, signature, verify};

use super::remote::Remote;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forge {
    /// GitHub, its Enterprise Server too.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
    /// Whoever signs as docs/WEBHOOKS.md says.
    Generic,
}

impl Forge {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Github, Self::Gitlab, Self::Gitea, Self::Generic];

    /// As it stands in settings, paths and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
            Self::Generic => "generic",
        }
    }

    /// The forge of that word. Forgejo is another name of Gitea's: it sends the same.
    pub fn find(word: &str) -> Option<Self> {
        if word == "forgejo" { Some(Self::Gitea) } else { Self::ALL.into_iter().find(|forge| forge.word() == word) }
    }
}

impl fmt::Display for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The followed branch moved.
    Fetch,
    /// The forge asks whether anybody is there.
    Pong,
    /// It concerns somebody else; in one sentence.
    Ignored(String),
}

/// Whether an event concerns the branch that is followed.
pub fn judge(event: &Event, remote: &Remote) -> Verdict {
    match event {
        Event::Ping => Verdict::Pong,
        Event::Other(name) => Verdict::Ignored(format!("nothing is done about the event {name:?}")),
        Event::Push { reference, .. } if reference.strip_prefix("refs/heads/") != Some(remote.branch()) => {
            Verdict::Ignored(format!("{reference:?} is not the branch that is followed"))
        }
        Event::Push { repositories, .. } if !is_followed(repositories, remote) => {
            Verdict::Ignored("the repository is not the one that is followed".to_owned())
        }
        Event::Push { .. } => Verdict::Fetch,
    }
}

/// Whether one of the names that a forge gives a repository is the remote's. Paths are compared and hosts are not: a forge is
/// often reached by another name from inside than it gives itself, and whoever signs has the secret of this agent. Who gives no
/// name means the one that the secret is for.
fn is_followed(repositories: &[String], remote: &Remote) -> bool {
    let followed = path_of(&remote.to_string());
    let ends = |whole: &str, part: &str| whole.strip_suffix(part).is_some_and(|before| before.is_empty() || before.ends_with('/'));
    repositories.is_empty()
        || repositories.iter().map(|name| path_of(name)).any(|name| !name.is_empty() && (ends(&followed, &name) || ends(&name, &followed)))
}

/// `owner/name` of an address or path, in lower case as forges compare it.
fn path_of(address: &str) -> String {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => match address.split_once(':') {
            Some((host, path)) if !host.contains('/') => path,
            _ => address,
        },
    };
    let path = path.trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path).to_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::git::Credentials;

    fn push(reference: &str, repositories: &[&str]) -> Event {
        Event::Push { reference: reference.to_owned(), repositories: repositories.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn a_repository_is_known_by_its_path() {
        for (remote, name, same) in [
            ("https://github.com/acme/fleet.git", "acme/fleet", true),
            ("https://github.com/acme/fleet", "https://github.com/Acme/Fleet.git", true),
            ("git@github.com:acme/fleet.git", "https://github.com/acme/fleet.git", true),
            ("ssh://git@git.internal:2222/acme/fleet.git", "git@git.example.com:acme/fleet.git", true),
            ("https://example.com/gitlab/a/b/fleet.git", "a/b/fleet", true),
            ("git@example.com:a/b/fleet.git", "https://example.com/gitlab/a/b/fleet.git", true),
            ("/srv/git/acme/fleet.git", "acme/fleet", true),
            ("https://github.com/acme/fleet", "acme/fleet-2", false),
            ("https://github.com/acme/fleet", "other/fleet", false),
            ("https://github.com/acme/fleet", "me/fleet", false),
            ("https://github.com/acme/fleet", "", false),
            ("https://github.com/acme/fleet", "https://github.com/", false),
        ] {
            let remote = Remote::new(remote, "main", Credentials::default()).unwrap();
            let verdict = judge(&push("refs/heads/main", &[name]), &remote);
            assert_eq!(verdict == Verdict::Fetch, same, "{remote} {name}");
        }
    }

    #[test]
    fn only_the_followed_branch_is_fetched() {
        let remote = Remote::new("https://h/a/b", "release/1", Credentials::default()).unwrap();
        for (reference, followed) in [
            ("refs/heads/release/1", true),
            ("refs/heads/main", false),
            ("refs/tags/release/1", false),
            ("release/1", false),
            ("refs/heads/release/1/x", false),
            ("", false),
        ] {
            assert_eq!(judge(&push(reference, &["a/b"]), &remote) == Verdict::Fetch, followed, "{reference}");
        }
        assert_eq!(judge(&push("refs/heads/release/1", &[]), &remote), Verdict::Fetch);
        assert_eq!(judge(&Event::Ping, &remote), Verdict::Pong);
        assert!(matches!(judge(&Event::Other("issues".to_owned()), &remote), Verdict::Ignored(why) if why.contains("issues")));
    }
}
