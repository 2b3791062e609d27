//! The bearer tokens that callers over TCP show.
//!
//! The file has their SHA-256 digests and not the tokens: whoever reads it can use none. That suits long random tokens, which
//! no dictionary has; so short ones are not taken. The file is looked at again at each request: a token that was taken out is
//! refused from then on, and so are all while the file cannot be read.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    caller::{Caller, Role, Scope},
    stamp::Stamp,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    private,
};

/// Bytes of a token at least: 128 bits in hexadecimal.
const TOKEN_LEN_MIN: usize = 32;
/// Bytes of a token at most, below what a request's head may have.
const TOKEN_LEN_MAX: usize = 512;
/// Bytes of the file: some ten thousand tokens.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// One line of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Whose it is, for the record.
    name: String,
    role: Role,
    /// All where it is left out.
    environments: Option<BTreeSet<String>>,
    /// Of the token, in hexadecimal.
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    tokens: Vec<Entry>,
}

/// A token's digest and what it is good for.
#[derive(Debug, Clone)]
struct Token {
    digest: [u8; 32],
    caller: Caller,
}

/// The tokens of one file.
#[derive(Debug)]
pub(super) struct Tokens {
    path: PathBuf,
    read: Mutex<(Stamp, Vec<Token>)>,
}

impl Tokens {
    /// Reads the file. EK6040 where it cannot be read or says something else than tokens.
    pub(super) fn open(path: &Path) -> Result<Self, Diagnostic> {
        // Looked at before it is read: what is written in between is read again.
        let stamp = Stamp::of(&[path]);
        let tokens = read(path)?;
        Ok(Self { path: path.to_owned(), read: Mutex::new((stamp, tokens)) })
    }

    /// Whose token that is.
    pub(super) fn caller(&self, token: &str) -> Option<Caller> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&[&self.path]);
        if read.0 != stamp {
            *read = (stamp, reload(&self.path));
        }
        find(&read.1, token)
    }
}

fn reload(path: &Path) -> Vec<Token> {
    match read(path) {
        Ok(tokens) => {
            tracing::info!(tokens = tokens.len(), "the file of tokens changed and was read again");
            tokens
        }
        Err(error) => {
            tracing::error!(code = %error.code, "{error}; no token is taken until it can be read");
            Vec::new()
        }
    }
}

/// All are compared, and each in constant time: how long it takes tells nothing of how near a guess came.
fn find(tokens: &[Token], token: &str) -> Option<Caller> {
    if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len()) {
        return None;
    }
    let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    tokens.iter().fold(None, |found, token| if bool::from(token.digest.ct_eq(&digest)) { Some(&token.caller) } else { found }).cloned()
}

fn read(path: &Path) -> Result<Vec<Token>, Diagnostic> {
    let name = path.display().to_string();
    let wrong = |why: String| Diagnostic::new(codes::TOKENS, Place::file(&*name), why);
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| wrong(format!("the file of tokens cannot be read: {error}")))?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(wrong("the file of tokens is larger than 1 MiB".to_owned()));
    }
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Vec<Token>, Diagnostic> {
    let file: FileForm = private::parse(name, text, codes::TOKENS, "`tokens`, a list of name, role, environments and sha256")?;
    let mut names = BTreeSet::new();
    let mut tokens = Vec::with_capacity(file.tokens.len());
    for (at, Entry { name: whose, role, environments, sha256 }) in file.tokens.into_iter().enumerate() {
        let wrong = |why: &str| Diagnostic::new(codes::TOKENS, Place::file(name), format!("token {}: {why}", at + 1));
        if whose.is_empty() || whose.chars().any(char::is_control) {
            return Err(wrong("its name is empty or has control characters"));
        }
        if !names.insert(whose.clone()) {
            return Err(wrong("another has its name"));
        }
        if environments.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(wrong("it is for no environment; leave `environments` out for all"));
        }
        let digest = hexadecimal(&sha256).ok_or_else(|| wrong("sha256 is not 64 hexadecimal digits"))?;
        let scope = environments.map_or(Scope::Fleet, Scope::Environments);
        tokens.push(Token { digest, caller: Caller { who: format!("{whose} (token)"), role: Some(role), scope } });
    }
    Ok(tokens)
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Reads a token from a file that has nothing else; the newline at its end is not part of it. EK6041 where it cannot.
pub(crate) fn token_of(path: &Path) -> Result<String, Diagnostic> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| Diagnostic::new(codes::TOKEN, Place::file(&*name), format!("the token cannot be read: {error}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ANN: &str = "ann-0123456789abcdef0123456789abcdef";
    const BOB: &str = "bob-0123456789abcdef0123456789abcdef";

    fn token_digest(token: &str) -> String {
        Sha256::digest(token.as_bytes()).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    fn line(name: &str, role: &str, token: &str) -> String {
        format!("- {{name: {name}, role: {role}, sha256: {}}}\n", token_digest(token))
    }

    #[test]
    fn a_token_is_found_by_its_digest_alone() {
        let digest = token_digest(BOB);
        let text = format!(
            "tokens:\n{}- {{name: bob, role: viewer, environments: [dev], sha256: {}}}\n",
            line("ann", "approver", ANN),
            digest.to_uppercase()
        );
        let tokens = parse("f", &text).unwrap();
        let ann = Caller { who: "ann (token)".to_owned(), role: Some(Role::Approver), scope: Scope::Fleet };
        assert_eq!(find(&tokens, ANN), Some(ann));
        let bob = find(&tokens, BOB).unwrap();
        assert_eq!((bob.role, bob.scope), (Some(Role::Viewer), Scope::Environments(["dev".to_owned()].into())));
        for other in ["", "ann", &digest, &format!("{ANN} "), &ANN[1..]] {
            assert_eq!(find(&tokens, other), None, "{other}");
        }
    }

    #[test]
    fn short_tokens_are_not_taken() {
        let tokens = parse("f", &format!("tokens:\n{}", line("a", "viewer", "secret"))).unwrap();
        assert_eq!(find(&tokens, "secret"), None);
    }

    #[test]
    fn mistakes_are_named_and_show_nothing_of_the_file() {
        let twice = format!("tokens:\n{}{}", line("a", "viewer", ANN), line("a", "viewer", BOB));
        for (text, expect) in [
            ("tokens:\n- {name: a, role: owner, sha256: hunter2}\n", "f:2:19: error[EK6040]: this is not `tokens`"),
            ("tokens:\n- {name: a, role: viewer, token: hunter2}\n", "f:2:27: error[EK6040]: this is not `tokens`"),
            ("tokens:\n- {name: a, role: viewer, sha256: hunter2}\n", "f: error[EK6040]: token 1: sha256 is not 64 hexadecimal digits"),
            ("tokens:\n- {name: a, role: viewer, environments: [], sha256: x}\n", "f: error[EK6040]: token 1: it is for no environment"),
            ("tokens:\n- {name: '', role: viewer, sha256: x}\n", "f: error[EK6040]: token 1: its name is empty"),
            (&twice, "f: error[EK6040]: token 2: another has its name"),
            ("", "f:1:1: error[EK6040]: this is not `tokens`"),
        ] {
            let problem = parse("f", text).unwrap_err().to_string();
            assert!(problem.starts_with(expect) && !problem.contains("hunter2"), "{text:?}: {problem}");
        }
    }

    #[test]
    fn a_token_that_was_taken_out_is_refused_and_so_are_all_while_the_file_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        fs::write(&path, format!("tokens:\n{}{}", line("ann", "viewer", ANN), line("bob", "viewer", BOB))).unwrap();
        let tokens = Tokens::open(&path).unwrap();
        assert!(tokens.caller(ANN).is_some() && tokens.caller(BOB).is_some());
        fs::write(&path, format!("tokens:\n{}", line("bob", "viewer", BOB))).unwrap();
        assert!(tokens.caller(ANN).is_none() && tokens.caller(BOB).is_some());
        fs::write(&path, "tokens: [").unwrap();
        assert!(tokens.caller(BOB).is_none());
        fs::remove_file(&path).unwrap();
        assert!(tokens.caller(BOB).is_none());
        assert_eq!(Tokens::open(&path).unwrap_err().code, codes::TOKENS);
    }
}
