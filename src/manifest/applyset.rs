//! How the objects of a fleet are told from others in a cluster: ApplySet, KEP-3659.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The label that every member carries; its value is the set's id.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// What the name of every parent begins with.
const PREFIX: &str = "evenkeel-";

/// The set that a fleet's objects form in a cluster, named by its parent ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApplySet {
    /// The parent's name, `evenkeel-<fleet>`.
    pub name: String,
    /// The parent's namespace.
    pub namespace: String,
}

impl ApplySet {
    /// The set of that fleet, whose parent stands in that namespace.
    pub fn new(fleet: &str, namespace: impl Into<String>) -> Self {
        Self { name: format!("{PREFIX}{fleet}"), namespace: namespace.into() }
    }

    /// The fleet's name.
    pub fn fleet(&self) -> &str {
        self.name.strip_prefix(PREFIX).unwrap_or(&self.name)
    }

    /// The id, made of the parent's identity as KEP-3659 says: `<name>.<namespace>.<kind>.<group>`, where the core group is empty.
    pub fn id(&self) -> String {
        let hash = Sha256::digest(format!("{}.{}.ConfigMap.", self.name, self.namespace));
        format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_the_hash_of_the_parent() {
        // printf evenkeel-shop.evenkeel-system.ConfigMap. | openssl dgst -sha256 -binary | basenc --base64url
        let set = ApplySet::new("shop", "evenkeel-system");
        assert_eq!(set.fleet(), "shop");
        assert_eq!(set.id(), "applyset-miTZwsxu7PqwJIQxqlYQRu7CwhAsMKkKB3d27Qn65Us-v1");
    }
}
