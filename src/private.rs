//! Files with secrets in them: read whole, bounded, and only where not everybody can.

use std::{fs::File, io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

use serde::de::DeserializeOwned;

use crate::{
    codes::Code,
    diagnostic::{Diagnostic, Place},
    manifest::Masked,
};

/// Bytes of such a file: some thousand secrets.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// The text of a file with secrets, or why it is not used.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("the file cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.mode();
    if mode & 0o007 != 0 {
        return Err(format!(
            "everybody can use the file (mode {:04o}), and it has secrets in it: `chmod o= {}`",
            mode & 0o7777,
            path.display()
        ));
    }
    let mut text = String::new();
    file.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > FILE_LEN_MAX { Err("the file is larger than 64 KiB".to_owned()) } else { Ok(text) }
}

/// What a file with secrets says, which is told as `form` where it is something else. What stands there is not repeated.
pub(crate) fn yaml<T: DeserializeOwned>(path: &Path, code: Code, form: &str) -> Result<T, Diagnostic> {
    let name = path.display().to_string();
    let text = text(path).map_err(|why| Diagnostic::new(code, Place::file(&*name), why))?;
    parse(&name, &text, code, form)
}

/// The same of a text that was read already.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, text: &str, code: Code, form: &str) -> Result<T, Diagnostic> {
    serde_yaml::from_str(text).map_err(|error| {
        // The reader's own words would show what stands there.
        let number = |at: usize| u32::try_from(at).unwrap_or(0);
        let place = error.location().map_or(Place::file(name), |at| Place::at(name, number(at.line()), number(at.column())));
        Diagnostic::new(code, place, format!("this is not {form}"))
    })
}

/// The one secret that is all of a file, without the line end after it.
pub(crate) fn secret(path: &Path) -> Result<Masked<String>, String> {
    let text = text(path)?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() || secret.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return Err("the file is empty, or has more than one line of ASCII text".to_owned());
    }
    Ok(Masked::new(secret.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_file_that_not_everybody_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (text, mode, expect) in [
            ("hunter2\r\n", 0o640, Ok("hunter2")),
            ("hunter2", 0o600, Ok("hunter2")),
            ("hunter2", 0o604, Err("everybody can use the file (mode 0604)")),
            ("hunter2\nX: y", 0o600, Err("more than one line")),
            ("hünter2", 0o600, Err("more than one line of ASCII")),
            ("\n", 0o600, Err("empty")),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match (secret(&path), expect) {
                (Ok(secret), Ok(expect)) => assert_eq!(secret.reveal(), expect),
                (Err(why), Err(expect)) => assert!(why.contains(expect) && !why.contains("hunter2"), "{why}"),
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
        assert!(text(&dir.path().join("none")).unwrap_err().contains("cannot be read"));
    }
}
