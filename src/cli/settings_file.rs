//! `--config FILE`: the flags' long names as keys of a YAML file.

use std::{fs::File, io::Read, net::SocketAddr, path::Path, path::PathBuf};

use serde::Deserialize;

use super::hold::Until;
use super::tellers::{ForgeWord, NotesWord};
use super::values::{Interval, Limit, Namespace, OfCluster, OfFleet, Output, Since};
use crate::{
    agent::Mode,
    codes,
    diagnostic::{Diagnostic, Place},
    log::Format,
    manifest::Masked,
    server::ServerUrl,
};

/// Where the parent of a fleet's objects stands if nothing says otherwise.
const NAMESPACE: &str = "evenkeel-system";
/// Bytes of a settings file.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// Every key, whichever command reads it; a test holds them equal to the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct SettingsFile {
    pub(super) repo: Option<Masked<String>>,
    pub(super) rev: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) once: Option<bool>,
    pub(super) mode: Option<Mode>,
    pub(super) only: Option<String>,
    pub(super) namespace: Option<Namespace>,
    pub(super) poll_interval: Option<Interval>,
    pub(super) compare_interval: Option<Interval>,
    pub(super) max_requests: Option<OfFleet>,
    pub(super) max_requests_per_cluster: Option<OfCluster>,
    pub(super) git_timeout: Option<Interval>,
    pub(super) git_username: Option<String>,
    pub(super) git_password_file: Option<PathBuf>,
    pub(super) git_ssh_key_file: Option<PathBuf>,
    pub(super) git_known_hosts_file: Option<PathBuf>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) tokens_file: Option<PathBuf>,
    pub(super) tls_cert_file: Option<PathBuf>,
    pub(super) tls_key_file: Option<PathBuf>,
    pub(super) webhook_secrets_file: Option<PathBuf>,
    pub(super) forge: Option<ForgeWord>,
    pub(super) forge_url: Option<String>,
    pub(super) forge_repo: Option<String>,
    pub(super) forge_token_file: Option<PathBuf>,
    pub(super) git_notes: Option<NotesWord>,
    pub(super) receivers_file: Option<PathBuf>,
    pub(super) public_url: Option<String>,
    pub(super) server: Option<ServerUrl>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) server_ca_file: Option<PathBuf>,
    pub(super) log_format: Option<Format>,
    pub(super) log_level: Option<String>,
    pub(super) output: Option<Output>,
    pub(super) strict: Option<bool>,
    pub(super) live: Option<bool>,
    pub(super) name: Option<String>,
    pub(super) limit: Option<Limit>,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Until>,
    pub(super) bundle: Option<String>,
    pub(super) drift: Option<bool>,
    pub(super) follow: Option<bool>,
    pub(super) since: Option<Since>,
    pub(super) cluster: Option<String>,
    pub(super) author: Option<String>,
    pub(super) failed: Option<bool>,
    pub(super) wait: Option<bool>,
    pub(super) deadline: Option<Interval>,
    pub(super) quiet: Option<bool>,
}

impl SettingsFile {
    /// Where the parent of a fleet's objects stands.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_ref().map_or(NAMESPACE, |Namespace(name)| name)
    }

    /// Reads the file; without one, nothing is set.
    pub(super) fn read(path: Option<&Path>) -> Result<Self, Diagnostic> {
        let Some(path) = path else { return Ok(Self::default()) };
        let name = path.display().to_string();
        let unreadable =
            |why: String| Diagnostic::new(codes::SETTINGS, Place::file(&*name), format!("the settings file cannot be read: {why}"));
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_string(&mut text));
        read.map_err(|error| unreadable(error.to_string()))?;
        if text.len() as u64 > FILE_LEN_MAX {
            return Err(unreadable("it is larger than 1 MiB".to_owned()));
        }
        Self::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, Diagnostic> {
        serde_yaml::from_str::<Option<Self>>(text).map(Option::unwrap_or_default).map_err(|error| {
            let whole = error.to_string();
            let Some(at) = error.location() else { return Diagnostic::new(codes::SETTINGS, Place::file(name), whole) };
            let message = whole.replace(&format!(" at line {} column {}", at.line(), at.column()), "");
            let line = second_line_of_key(text, &message).unwrap_or(at.line());
            let place = Place::at(name, u32::try_from(line).unwrap_or(0), u32::try_from(at.column()).unwrap_or(0));
            Diagnostic::new(codes::SETTINGS, place, message)
        })
    }
}

/// The line of a key that stands there twice; the reader of YAML knows only where the whole mapping begins.
fn second_line_of_key(text: &str, message: &str) -> Option<usize> {
    let key = message.strip_prefix("duplicate field `")?.split('`').next()?;
    let is_key = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
    text.lines().enumerate().filter(|(_, line)| is_key(line)).nth(1).map(|(at, _)| at + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_keys_and_takes_an_empty_file() {
        let settings = SettingsFile::parse("f", "state-dir: /s\npoll-interval: 5m\nonce: true\nlimit: 7\nlog-format: json\n").unwrap();
        assert_eq!(settings.state_dir, Some("/s".into()));
        assert_eq!(settings.poll_interval, Some(Interval::seconds(300)));
        assert_eq!((settings.once, settings.limit, settings.log_format), (Some(true), Some(Limit(7)), Some(Format::Json)));
        for empty in ["", "# nothing\n", "---\n"] {
            assert_eq!(SettingsFile::parse("f", empty).unwrap().branch, None);
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, expect) in [
            ("branch: a\nbrnch: b\n", "f:2:1: error[EK6002]: unknown field `brnch`"),
            ("branch: a\npoll-interval: soon\n", "f:2:16: error[EK6002]: poll-interval: `soon` is no span of time"),
            ("once: maybe\n", "f:1:7: error[EK6002]: once: invalid type: string \"maybe\", expected a boolean"),
            ("branch: a\nbranch: b\n", "f:2:1: error[EK6002]: duplicate field `branch`"),
            ("branch: [a]\n", "f:1:9: error[EK6002]: branch: invalid type: sequence"),
            ("branch: 'a\n", "f:2:1: error[EK6002]: "),
            ("- branch\n", "f:1:1: error[EK6002]: invalid type: sequence"),
        ] {
            let problem = SettingsFile::parse("f", text).unwrap_err().to_string();
            assert!(problem.starts_with(expect), "{text:?}: {problem}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let problem = SettingsFile::read(Some(Path::new("/nonexistent/settings.yaml"))).unwrap_err().to_string();
        assert!(problem.starts_with("/nonexistent/settings.yaml: error[EK6002]: the settings file cannot be read: "), "{problem}");
    }
}
