//! Credentials for the remote: where they stand, read anew at each fetch so that rotating one needs no restart, and kept out of
//! everything that is printed.

use std::{fmt, io::Read, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::error::GitError;

/// Largest file that can be a user's name or a password, in bytes.
const VALUE_MAX: u64 = 64 << 10;
/// What stands in place of a credential.
const MASK: &str = "***";
/// Name for a token that comes without one: GitHub, GitLab, Gitea and Azure take any.
const TOKEN_USER: &str = "git";

/// Where the credentials for a remote are. An ssh agent needs no setting: `SSH_AUTH_SOCK` is passed on.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// User for http(s); `git` where only a password is given.
    pub username: Option<Credential>,
    /// Password or token for http(s).
    pub password: Option<Credential>,
    /// Private key for ssh, without a passphrase.
    pub ssh_key: Option<PathBuf>,
    /// The only hosts that ssh trusts; without it, those of the agent's own user and of the system.
    pub known_hosts: Option<PathBuf>,
    /// The only certificate authorities that are trusted for https, as a PEM file; without it, those of the system.
    pub ca_file: Option<PathBuf>,
}

/// One value, or the place to read it from.
#[derive(Clone)]
pub enum Credential {
    /// The value itself.
    Text(String),
    /// A file with the value; line ends after it do not count.
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str(MASK),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

impl Credential {
    fn read(&self, what: &'static str) -> Result<String, GitError> {
        let fail = |why: String| GitError::Credential { what, why };
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Env(name) => std::env::var(name).map_err(|_| fail(format!("the variable {name} is not set, or not UTF-8")))?,
            Self::File(path) => {
                let mut text = String::new();
                let file = std::fs::File::open(path);
                file.and_then(|file| file.take(VALUE_MAX + 1).read_to_string(&mut text))
                    .map_err(|why| fail(format!("cannot read {}: {why}", path.display())))?;
                text
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        // A line end would begin a new field in what git is told.
        if text.is_empty() || text.len() as u64 > VALUE_MAX || text.contains(['\n', '\r', '\0']) {
            return Err(fail(format!("{self:?} is empty, too large or of more than one line")));
        }
        Ok(text.to_owned())
    }
}

/// User and password as read for one fetch.
pub(super) struct Login {
    pub(super) username: String,
    /// Empty where the user's name is the token, as in `https://TOKEN@host/`.
    pub(super) password: String,
}

impl Credentials {
    /// Reads user and password; None where neither is set.
    pub(super) fn login(&self) -> Result<Option<Login>, GitError> {
        let username = self.username.as_ref().map(|value| value.read("user name")).transpose()?;
        let password = self.password.as_ref().map(|value| value.read("password")).transpose()?;
        Ok(match (username, password) {
            (None, None) => None,
            (Some(username), password) => Some(Login { username, password: password.unwrap_or_default() }),
            (None, Some(password)) => Some(Login { username: TOKEN_USER.to_owned(), password }),
        })
    }
}

impl Login {
    /// Every form in which the secret part could come back in a message.
    fn secrets(&self) -> Vec<String> {
        let secret = if self.password.is_empty() { &self.username } else { &self.password };
        vec![STANDARD.encode(format!("{}:{}", self.username, self.password)), percent_encode(secret), secret.clone()]
    }
}

/// Text that others wrote, without the login and without any user or password before a host.
pub(super) fn scrub(text: &str, login: Option<&Login>) -> String {
    let mut text = without_userinfo(text);
    for secret in login.iter().flat_map(|login| login.secrets()) {
        text = text.replace(&secret, MASK);
    }
    text
}

/// Masks what stands between `://` and `@` of an address, wherever one is in the text.
fn without_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '\'' | '"')).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                clean.push_str(MASK);
                &after[at..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Undoes percent-encoding; None where the result is not UTF-8 or a `%` is not followed by two hexadecimal digits.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let byte = if *first == b'%' {
            let [high, low, tail @ ..] = tail else { return None };
            rest = tail;
            u8::try_from(char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?).ok()?
        } else {
            *first
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let credentials = Credentials { password: Some(Credential::File(path.clone())), ..Credentials::default() };
        for token in ["first", "second"] {
            std::fs::write(&path, format!("{token}\r\n")).unwrap();
            let login = credentials.login().unwrap().unwrap();
            assert_eq!((login.username.as_str(), login.password.as_str()), ("git", token));
        }
    }

    #[test]
    fn a_variable_is_read_by_its_name() {
        let value = Credential::Env("PATH".to_owned());
        assert_eq!(value.read("password").unwrap(), std::env::var("PATH").unwrap());
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_but_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2\nhost=evil").unwrap();
        for value in [
            Credential::File(path),
            Credential::File(dir.path().join("none")),
            Credential::Env("EVENKEEL_TEST_UNSET".to_owned()),
            Credential::Text(String::new()),
            Credential::Text("x".repeat(70_000)),
        ] {
            let error = value.read("password").unwrap_err();
            assert!(matches!(error, GitError::Credential { what: "password", .. }));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn scrubbing_finds_every_form() {
        let login = Login { username: "bob".to_owned(), password: "p@ss/word".to_owned() };
        let basic = STANDARD.encode("bob:p@ss/word");
        let text = format!("fatal: p@ss/word p%40ss%2Fword {basic} 'https://bob:x@host/r' https://host/a@b http://a@b@c/");
        assert_eq!(scrub(&text, Some(&login)), "fatal: *** *** *** 'https://***@host/r' https://host/a@b http://***@c/");
        let token = Login { username: "ghp_1".to_owned(), password: String::new() };
        assert_eq!(scrub("no ghp_1 here", Some(&token)), "no *** here");
    }

    #[test]
    fn percent_encoding_round_trips() {
        for text in ["plain", "ä €/@:%", ""] {
            assert_eq!(percent_decode(&percent_encode(text)).unwrap(), text);
        }
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }
}
