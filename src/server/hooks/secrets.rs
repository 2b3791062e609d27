//! The secrets that forges prove themselves with.
//!
//! These are the secrets themselves and no digests, since an HMAC needs its key. So the file must not be everybody's to read, and what
//! stands in it is never shown. It is looked at with each request: a new secret needs no restart, and while the file cannot be read no
//! hook is taken.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;

use super::super::stamp::Stamp;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::webhook::{Forge, GITLAB_SIGNING},
    manifest::Masked,
    private,
};

/// Characters of a secret at least: what is shorter can be guessed from one signed request that somebody captured.
const SECRET_LEN_MIN: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    webhooks: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    forge: String,
    secret: Masked<String>,
}

type Known = Vec<(Forge, Masked<String>)>;

/// The secrets of one file.
#[derive(Debug)]
pub(super) struct Secrets {
    path: PathBuf,
    read: Mutex<(Stamp, Known)>,
}

impl Secrets {
    /// Reads the file. EK6060 where it cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self, Diagnostic> {
        // Looked at before it is read: what is written in between is read again.
        let stamp = Stamp::of(&[path]);
        let known = read(path)?;
        Ok(Self { path: path.to_owned(), read: Mutex::new((stamp, known)) })
    }

    /// Those of one forge. Several, so that one can be replaced without a gap.
    pub(super) fn of(&self, forge: Forge) -> Vec<Masked<String>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&[&self.path]);
        if read.0 != stamp {
            *read = (stamp, reload(&self.path));
        }
        read.1.iter().filter(|(of, _)| *of == forge).map(|(_, secret)| secret.clone()).collect()
    }

    /// The forges that have one now.
    pub(super) fn forges(&self) -> Vec<Forge> {
        Forge::ALL.into_iter().filter(|forge| !self.of(*forge).is_empty()).collect()
    }
}

fn reload(path: &Path) -> Known {
    match read(path) {
        Ok(known) => {
            tracing::info!(secrets = known.len(), "the file of webhook secrets changed and was read again");
            known
        }
        Err(error) => {
            tracing::error!(code = %error.code, "{error}; no webhook is taken until it can be read");
            Vec::new()
        }
    }
}

fn read(path: &Path) -> Result<Known, Diagnostic> {
    let name = path.display().to_string();
    let wrong = |why: String| Diagnostic::new(codes::WEBHOOK_SECRETS, Place::file(&*name), why);
    let file: FileForm = private::yaml(path, codes::WEBHOOK_SECRETS, "`webhooks`, a list of forge and secret")?;
    let secret = |(at, Entry { forge, secret }): (usize, Entry)| {
        let forge = Forge::find(&forge).ok_or_else(|| wrong(format!("secret {}: forge is github, gitlab, gitea or generic", at + 1)))?;
        match fault(forge, secret.reveal()) {
            Some(why) => Err(wrong(format!("secret {}: {why}", at + 1))),
            None => Ok((forge, secret)),
        }
    };
    file.webhooks.into_iter().enumerate().map(secret).collect()
}

fn fault(forge: Forge, secret: &str) -> Option<&'static str> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    if secret.len() < SECRET_LEN_MIN || secret.chars().any(char::is_control) {
        return Some("it is shorter than 16 characters, or has control characters");
    }
    let key = secret.strip_prefix(GITLAB_SIGNING).filter(|_| forge == Forge::Gitlab)?;
    STANDARD.decode(key).is_err().then_some("after whsec_ stands a key in base64")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn mistakes_are_named_and_show_nothing_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hooks");
        for (text, mode, expect) in [
            ("webhooks:\n- {forge: github, secret: [hunter2hunter2hunter2]}\n", 0o600, ": error[EK6060]: this is not `webhooks`"),
            ("webhooks:\n- {forge: github, token: hunter2}\n", 0o600, ": error[EK6060]: this is not `webhooks`"),
            ("webhooks:\n- {forge: sourcehut, secret: hunter2hunter2hunter2}\n", 0o600, "secret 1: forge is github"),
            ("webhooks:\n- {forge: github, secret: hunter2}\n", 0o600, "secret 1: it is shorter than 16"),
            ("webhooks:\n- {forge: gitlab, secret: whsec_hunter2-hunter2}\n", 0o600, "secret 1: after whsec_"),
            ("webhooks: []\n", 0o644, "everybody can use the file (mode 0644)"),
        ] {
            write(&path, text, mode);
            let problem = Secrets::open(&path).unwrap_err().to_string();
            assert!(problem.contains(expect) && !problem.contains("hunter2"), "{text:?}: {problem}");
        }
    }

    #[test]
    fn the_file_is_taken_up_anew_and_none_is_known_while_it_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hooks");
        write(&path, "webhooks:\n- {forge: forgejo, secret: 0123456789abcdef}\n- {forge: gitea, secret: fedcba9876543210}\n", 0o640);
        let secrets = Secrets::open(&path).unwrap();
        assert_eq!((secrets.of(Forge::Gitea).len(), secrets.of(Forge::Github).len()), (2, 0));
        assert_eq!(secrets.forges(), [Forge::Gitea]);
        write(&path, "webhooks:\n- {forge: github, secret: 0123456789abcdef}\n", 0o640);
        assert_eq!((secrets.of(Forge::Gitea).len(), secrets.of(Forge::Github).len()), (0, 1));
        write(&path, "webhooks: [", 0o640);
        assert_eq!(secrets.forges(), []);
    }
}
