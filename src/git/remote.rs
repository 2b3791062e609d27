//! The remote that is followed: its address, branch and credentials.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    credentials::{Credential, Credentials, percent_decode},
    error::GitError,
};

/// One branch of one remote repository. Shown and printed without credentials.
#[derive(Clone)]
pub struct Remote {
    address: Address,
    branch: String,
    credentials: Credentials,
}

/// How the remote is reached. None of these has a user's password in it; the one of ssh may name its user.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// An absolute path on this machine.
    Local(PathBuf),
    /// `http://` or `https://`, without user.
    Http(String),
    /// `ssh://[user@]host[:port]/path` or `[user@]host:path`.
    Ssh(String),
}

impl Remote {
    /// Reads an address: a path, `file://`, `http(s)://`, `ssh://` or `user@host:path` (anything with a colon before the first
    /// slash is the last, as for `git`). A user and password in an http address become credentials where `credentials` has none.
    pub fn new(url: &str, branch: &str, mut credentials: Credentials) -> Result<Self, GitError> {
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        if !git2::Reference::is_valid_name(&format!("refs/heads/{branch}")) {
            return Err(GitError::Address { address: format!("{branch:?}"), why: "not the name of a branch" });
        }
        let address = match url.split_once("://") {
            Some(("file", rest)) => local(
                &percent_decode(rest).filter(|path| path.starts_with('/')).ok_or_else(|| bad(url, "file:// takes an absolute path"))?,
            )?,
            Some((scheme @ ("http" | "https"), rest)) => http(scheme, rest, &mut credentials)?,
            Some(("ssh", rest)) => ssh(rest)?,
            Some(_) => return Err(bad(url, "only file://, http://, https:// and ssh:// are followed")),
            None if url.contains("::") => return Err(bad(url, "helpers of git are not used")),
            None if url.find(':').is_some_and(|colon| !url[..colon].contains('/')) => scp(url)?,
            None => local(url)?,
        };
        Ok(Self { address, branch: branch.to_owned(), credentials })
    }

    /// The branch's name, without `refs/heads/`.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// The repository's path, where it is on this machine: it can be watched.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.address {
            Address::Local(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Local(path) => write!(f, "{}", path.display()),
            Address::Http(url) | Address::Ssh(url) => f.write_str(url),
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self}, branch {}, {:?})", self.branch, self.credentials)
    }
}

fn bad(url: &str, why: &'static str) -> GitError {
    // Whatever stands before an @ may be a secret, and an address that cannot be read may have one anywhere before it.
    let shown = url.rfind('@').map_or_else(|| url.to_owned(), |at| format!("***{}", &url[at..]));
    GitError::Address { address: format!("{shown:?}"), why }
}

fn local(path: &str) -> Result<Address, GitError> {
    if path.contains('\0') {
        return Err(bad(path, "a path has no zero byte"));
    }
    std::path::absolute(path).map(Address::Local).map_err(|_| bad(path, "an empty path"))
}

fn http(scheme: &str, rest: &str, credentials: &mut Credentials) -> Result<Address, GitError> {
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if !plain(host) || path.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#')) {
        return Err(bad(&format!("{scheme}://{host}"), "not an address of the form https://host/path"));
    }
    if let Some(user) = user {
        let (name, password) = user.split_once(':').map_or((user, None), |(name, password)| (name, Some(password)));
        let value = |text: &str| {
            let text =
                percent_decode(text).ok_or_else(|| bad(&format!("{scheme}://{host}"), "user and password are not percent-encoded UTF-8"));
            text.map(|text| (!text.is_empty()).then_some(Credential::Text(text)))
        };
        let (name, password) = (value(name)?, password.map_or(Ok(None), value)?);
        if credentials.username.is_none() && credentials.password.is_none() {
            (credentials.username, credentials.password) = (name, password);
        }
    }
    Ok(Address::Http(format!("{scheme}://{host}{path}")))
}

fn ssh(rest: &str) -> Result<Address, GitError> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err(bad(&format!("ssh://@{host}"), "ssh takes a key, not a password"));
    }
    if !plain(host) || (!user.is_empty() && !plain(user)) || path.is_empty() || path.contains(char::is_control) {
        return Err(bad(&format!("ssh://{rest}"), "not an address of the form ssh://user@host/path"));
    }
    Ok(Address::Ssh(format!("ssh://{rest}")))
}

fn scp(url: &str) -> Result<Address, GitError> {
    let (authority, path) = url.split_once(':').unwrap_or((url, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !plain(host) || (!user.is_empty() && !plain(user)) || path.is_empty() || path.contains(char::is_control) {
        return Err(bad(url, "not an address of the form user@host:path"));
    }
    Ok(Address::Ssh(url.to_owned()))
}

/// Nothing that a program could take for an option or a separator.
fn plain(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']' | '%' | '+'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn remote(url: &str) -> Result<Remote, GitError> {
        Remote::new(url, "main", Credentials::default())
    }

    #[test]
    fn every_form_of_address_is_known() {
        let cwd = std::env::current_dir().unwrap();
        for (url, expect) in [
            ("/srv/fleet.git", Address::Local("/srv/fleet.git".into())),
            ("./a:b", Address::Local(cwd.join("a:b"))),
            ("file:///srv/a%20b", Address::Local("/srv/a b".into())),
            ("https://h.example:8443/x/y.git", Address::Http("https://h.example:8443/x/y.git".to_owned())),
            ("http://[::1]:80/x", Address::Http("http://[::1]:80/x".to_owned())),
            ("https://bob:p%40ss@h/x", Address::Http("https://h/x".to_owned())),
            ("ssh://git@h:22/x.git", Address::Ssh("ssh://git@h:22/x.git".to_owned())),
            ("git@h:x/y.git", Address::Ssh("git@h:x/y.git".to_owned())),
        ] {
            assert!(remote(url).unwrap().address == expect, "{url}");
        }
    }

    #[test]
    fn what_git_could_misread_is_refused() {
        for url in [
            "",
            "ext::sh -c id",
            "git://h/x",
            "ftp://h/x",
            "file://relative",
            "file://host%2",
            "https:///x",
            "https://h/x?token=a",
            "https://-h/x",
            "http://h/a b",
            "ssh://-oProxyCommand=id/x",
            "ssh://h",
            "ssh://git:pw@h/x",
            "-oProxyCommand=id:x",
            "-a@h:x",
            "git@h:",
            "ssh://u@h/a\nb",
        ] {
            let error = remote(url).unwrap_err();
            assert!(matches!(error, GitError::Address { .. }), "{url}: {error}");
        }
        for branch in ["", "a..b", "a b", "-", "x.lock", "a/*"] {
            let refused = Remote::new("/x", branch, Credentials::default()).is_err();
            assert_eq!(refused, branch != "-", "{branch:?}");
        }
        assert_eq!(Remote::new("/x", "refs/heads/a/b", Credentials::default()).unwrap().branch(), "a/b");
    }

    #[test]
    fn nothing_shows_a_credential() {
        for url in [
            "https://bob:hunter2@h/x",
            "https://hunter2@h/x",
            "https://bob:hunter2@h/x?a",
            "https://bob:%zzhunter2@h/x",
            "ssh://git:hunter2@h/x",
            "foo://hunter2@h/",
        ] {
            let shown = match remote(url) {
                Ok(remote) => format!("{remote} {remote:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn settings_go_before_the_address() {
        let login = remote("https://bob:p%40ss@h/x").unwrap().credentials.login().unwrap().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("bob", "p@ss"));
        let credentials = Credentials { password: Some(Credential::Text("set".to_owned())), ..Credentials::default() };
        let login = Remote::new("https://bob:in-url@h/x", "main", credentials).unwrap().credentials.login().unwrap().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("git", "set"));
    }
}
