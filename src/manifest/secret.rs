//! Values that cannot be printed.

use std::{borrow::Cow, convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What stands in the place of a secret wherever it would be printed.
pub const MASK: &str = "***";

/// The annotation in which `kubectl apply` leaves a copy of the whole object.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What the names of Evenkeel's own annotations begin with.
const OWN_PREFIX: &str = "evenkeel.dev/";

/// Bytes of the longest annotation of a Secret that is shown. No packed copy of a Secret is as short: `gzip` and base64 alone make the
/// smallest one longer.
const PLAIN_LEN_MAX: usize = 64;

/// Whether an annotation of a Secret may be a copy of it: kubectl, kapp and others keep the object that they applied in one, as JSON or
/// packed. Evenkeel's own never are.
pub(crate) fn may_copy_secret(name: &str, value: &Value) -> bool {
    let is_plain = value.as_str().is_some_and(|text| text.len() <= PLAIN_LEN_MAX && !text.contains('{'));
    name == LAST_APPLIED || !(is_plain || name.starts_with(OWN_PREFIX))
}

/// Masks the annotations of a Secret that may be copies of it; the value is that of `metadata.annotations`.
pub(crate) fn mask_copies(annotations: &mut Value) {
    for (name, value) in annotations.as_object_mut().into_iter().flatten() {
        if may_copy_secret(name, value) {
            *value = MASK.into();
        }
    }
}

/// Whether a field of a Secret, by its name at the top, is none of those that hold values. Its annotations may be copies
/// ([`may_copy_secret`]).
pub(crate) fn is_plain_field_of_secret(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata" | "type" | "immutable")
}

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

/// The text with the credentials of every URL in it masked. All up to the last `@` of an address counts as credentials,
/// since a password may have a raw `/` in it; an address with `@` in its path loses its host by that, which is the lesser
/// harm. The user of an `ssh://` address without a password stays: it is part of the address.
pub fn mask_urls(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')).unwrap_or(after.len());
        rest = after;
        if let Some(at) = after[..end].rfind('@')
            && (!before.ends_with("ssh://") || after[..at].contains(':'))
        {
            masked.push_str(MASK);
            rest = &after[at..];
        }
    }
    if masked.is_empty() {
        return Cow::Borrowed(text);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
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
            ("https://user:12/ss?#@git.example:8443/a", "https://***@git.example:8443/a"),
            ("https://[::1]:8443/a", "https://[::1]:8443/a"),
            ("https://git.example/a, mail a@b", "https://git.example/a, mail a@b"),
            ("git@git.example:a.git", "git@git.example:a.git"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(mask_urls(text), expect, "{text}");
        }
    }

    #[test]
    fn annotations_that_may_be_copies_of_a_secret_are_told_apart() {
        let packed = "H4sIAAAAAAAA".repeat(8);
        for (name, value, expect) in [
            (LAST_APPLIED, "x", true),
            ("kapp.k14s.io/original", r#"{"kind":"Secret"}"#, true),
            ("objectset.rio.cattle.io/applied", &packed, true),
            ("example.com/owner", "team blue", false),
            ("evenkeel.dev/ignore", &"/data/some-long-key-of-the-secret ".repeat(3), false),
        ] {
            assert_eq!(may_copy_secret(name, &value.into()), expect, "{name}");
        }
        let mut annotations = serde_json::json!({"a": "b", "copy": "{}", "odd": 5});
        mask_copies(&mut annotations);
        assert_eq!(annotations, serde_json::json!({"a": "b", "copy": MASK, "odd": MASK}));
    }

    #[test]
    fn a_masked_value_is_only_had_by_name() {
        let secret: Masked<String> = Masked::new("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(secret.into_revealed(), "hunter2");
    }
}
