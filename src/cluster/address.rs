//! Addresses of objects and collections on an API server.

use std::fmt::Write as _;

use super::{Api, ApiError, ErrorKind};

/// The path of a collection.
pub(super) fn collection(api: &Api, namespace: Option<&str>) -> Result<String, ApiError> {
    let mut path = if api.group.is_empty() { "/api/".to_owned() } else { format!("/apis/{}/", segment(&api.group)?) };
    path.push_str(&segment(&api.version)?);
    if let Some(namespace) = namespace {
        if !api.namespaced {
            return Err(wrong(format!("{} is not a namespaced kind, yet namespace {namespace:?} is given", api.kind)));
        }
        path.push_str("/namespaces/");
        path.push_str(&segment(namespace)?);
    }
    path.push('/');
    path.push_str(&segment(&api.plural)?);
    Ok(path)
}

/// The path of an object.
pub(super) fn object(api: &Api, namespace: Option<&str>, name: &str) -> Result<String, ApiError> {
    if api.namespaced && namespace.is_none() {
        return Err(wrong(format!("{} is a namespaced kind, yet no namespace is given", api.kind)));
    }
    Ok(format!("{}/{}", collection(api, namespace)?, segment(name)?))
}

/// A path with its query; values are encoded.
pub(super) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (at, (key, value)) in query.iter().enumerate() {
        let _ = write!(out, "{}{key}={}", if at == 0 { '?' } else { '&' }, encode(value));
    }
    out
}

/// One segment of a path, encoded.
///
/// Kubernetes refuses these names as well, but only after Go's router has cleaned the path, and `..` would have reached
/// another object by then (k8s.io/apimachinery/pkg/api/validation/path).
fn segment(text: &str) -> Result<String, ApiError> {
    if matches!(text, "" | "." | "..") || text.contains(['/', '%']) {
        return Err(wrong(format!("{text:?} cannot be a name: it may not be empty, \".\" or \"..\", or contain \"/\" or \"%\"")));
    }
    Ok(encode(text))
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn wrong(message: String) -> ApiError {
    ApiError::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn api(group: &str, plural: &str, namespaced: bool) -> Api {
        Api { group: group.into(), version: "v1".into(), kind: "Kind".into(), plural: plural.into(), namespaced }
    }

    #[test]
    fn paths() {
        let config = api("", "configmaps", true);
        assert_eq!(collection(&config, None).unwrap(), "/api/v1/configmaps");
        assert_eq!(object(&config, Some("a"), "b").unwrap(), "/api/v1/namespaces/a/configmaps/b");
        let role = api("rbac.authorization.k8s.io", "clusterroles", false);
        assert_eq!(object(&role, None, "system:x?y").unwrap(), "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:x%3Fy");
        assert_eq!(with_query("/x", &[("labelSelector", "a=b,c!=d"), ("limit", "5")]), "/x?labelSelector=a%3Db%2Cc%21%3Dd&limit=5");
    }

    #[test]
    fn names_that_would_reach_elsewhere_are_refused() {
        let config = api("", "configmaps", true);
        for name in ["", ".", "..", "a/b", "../secrets/x", "%2e%2e"] {
            assert_eq!(*object(&config, Some("a"), name).unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
            assert_eq!(*object(&config, Some(name), "a").unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
        }
        object(&config, None, "a").unwrap_err();
        object(&api("", "nodes", false), Some("a"), "b").unwrap_err();
    }
}
