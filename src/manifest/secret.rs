//! Values that cannot be printed.

use std::{borrow::Cow, convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands in the place of a secret wherever it would be printed.
pub const MASK: &str = "***";

/// Carries a secret. Its only rendering, in `Debug`, `Display` and every serialisation, is [`MASK`]; the value is had by
/// asking for it by name, so that a reviewer finds each place with one search.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Masked<T>(T);

/// The bytes of a credential or of a value in a Secret object.
pub type SecretBytes = Masked<Vec<u8>>;

impl<T> Masked<T> {
    /// Hides the value.
    pub const fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The value itself.
    pub const fn reveal(&self) -> &T {
        &self.0
    }

    /// The value itself, taken out.
    pub fn into_revealed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> fmt::Display for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> Serialize for Masked<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Masked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl FromStr for Masked<String> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// The text with the credentials of every URL in it masked. The user of an `ssh://` address without a password stays,
/// since it is part of the address and no secret.
pub fn mask_urls(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let credentials = credentials_of(after);
        let ssh_user = before.ends_with("ssh://") && !after[..credentials].contains(':');
        if credentials > 0 && !ssh_user {
            masked.push_str(MASK);
            rest = &after[credentials..];
        } else {
            rest = after;
        }
    }
    if masked.is_empty() {
        return Cow::Borrowed(text);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Length of the credentials that an URL's part after `://` begins with, without the `@`.
fn credentials_of(url: &str) -> usize {
    let word = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')).unwrap_or(url.len());
    let authority = url[..word].find(['/', '?', '#']).unwrap_or(word);
    if let Some(at) = url[..authority].rfind('@') {
        return at;
    }
    // A password with a raw `/` in it: what follows the colon is then no port.
    let port = url[..authority].split_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| !port.starts_with(|c: char| c.is_ascii_digit())) && !url.starts_with('[') {
        return url[..word].rfind('@').unwrap_or(0);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_the_credentials_of_urls_and_nothing_else() {
        for (text, expect) in [
            ("https://user:pass@git.example/a.git", "https://***@git.example/a.git"),
            ("fetch of https://token@git.example/a failed", "fetch of https://***@git.example/a failed"),
            ("'http://u:p@h' and 'http://v:q@i:80/x'", "'http://***@h' and 'http://***@i:80/x'"),
            ("https://user:pa/ss@git.example/a", "https://***@git.example/a"),
            ("https://user:p@ss@git.example/a", "https://***@git.example/a"),
            ("ssh://git@git.example/a", "ssh://git@git.example/a"),
            ("ssh://git:pw@git.example/a", "ssh://***@git.example/a"),
            ("https://git.example:8443/a@b", "https://git.example:8443/a@b"),
            ("https://[::1]:8443/a@b", "https://[::1]:8443/a@b"),
            ("https://git.example/a, mail a@b", "https://git.example/a, mail a@b"),
            ("git@git.example:a.git", "git@git.example:a.git"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(mask_urls(text), expect, "{text}");
        }
    }

    #[test]
    fn a_masked_value_is_only_had_by_name() {
        let secret: Masked<String> = Masked::new("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(secret.into_revealed(), "hunter2");
    }
}
