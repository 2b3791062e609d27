//! What an answer that is no success means: from its status, its `Status` object and its words to an [`ErrorKind`].

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;

use super::{ApiError, ErrorKind, FieldConflict};

/// A server's message is kept up to this many bytes; the API server's own are far shorter, a webhook's need not be.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Text that is no `Status` (a proxy's page) is kept up to this many bytes.
const FOREIGN_BYTES_MAX: usize = 512;

/// `meta/v1 Status`, as far as it is used.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    name: String,
    causes: Vec<Cause>,
    retry_after_seconds: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

/// The error that such an answer is.
pub(super) fn error(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let known = serde_json::from_slice::<Status>(body).ok().filter(|parsed| parsed.kind == "Status");
    let is_status = known.is_some();
    let Status { message, reason, details, .. } = known.unwrap_or_default();
    let details = details.unwrap_or_default();
    let kind = if is_status { kind(status, &reason, &message, &details) } else { foreign_kind(status) };
    let message = match (is_status, message.is_empty()) {
        (true, false) => cut(&message, MESSAGE_BYTES_MAX),
        _ => foreign_message(status, body),
    };
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let retry_after = header.or((details.retry_after_seconds > 0).then_some(details.retry_after_seconds)).map(Duration::from_secs);
    let causes = details.causes.into_iter().map(|cause| cut(&cause.message, MESSAGE_BYTES_MAX)).collect();
    ApiError::new(kind, message).answered(status.as_u16(), reason, causes, retry_after)
}

fn kind(status: StatusCode, reason: &str, message: &str, details: &Details) -> ErrorKind {
    // Webhooks choose their status freely (even 401), and policies within bounds, so their words come first.
    if status.is_client_error() && is_denial(message) {
        return ErrorKind::Refused;
    }
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        403 if lacks_right(message) => ErrorKind::Forbidden,
        403 => ErrorKind::Refused,
        // A kind that is not served has no name to report.
        404 if details.name.is_empty() => ErrorKind::NoSuchKind,
        404 => ErrorKind::NotFound,
        409 => conflict(reason, details),
        // Sent as a failure of the server by some versions, though the manifest has a field that the schema has not.
        500 if message.starts_with("failed to create typed patch object") => ErrorKind::Invalid,
        400 | 405 | 413 | 422 => ErrorKind::Invalid,
        _ => foreign_kind(status),
    }
}

/// The kind of an answer that nobody explains.
fn foreign_kind(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NoSuchKind,
        408 | 504 => ErrorKind::Timeout,
        410 => ErrorKind::Expired,
        429 => ErrorKind::TooManyRequests,
        500..=599 => ErrorKind::Server,
        _ => ErrorKind::Protocol,
    }
}

/// Whether an admission webhook or a ValidatingAdmissionPolicy says no: the words of k8s.io/apiserver/pkg/admission/plugin.
fn is_denial(message: &str) -> bool {
    (message.contains("admission webhook \"") && message.contains("denied the request"))
        || (message.contains("ValidatingAdmissionPolicy '") && message.contains("denied request"))
}

/// Whether an authorizer says no, in the words of k8s.io/apiserver/pkg/endpoints/handlers/responsewriters and of RBAC's
/// check against escalation. Admission (PodSecurity, quota) answers 403 as well, in words of its own.
fn lacks_right(message: &str) -> bool {
    let words = message.split_once("is forbidden: ").map_or(message, |(_, words)| words);
    let words = words.strip_prefix("forbidden: ").unwrap_or(words);
    (words.starts_with("User \"") && words.contains("\" cannot "))
        || (words.starts_with("user \"") && words.contains("attempting to grant RBAC permissions"))
}

fn conflict(reason: &str, details: &Details) -> ErrorKind {
    let fields: Vec<_> = details.causes.iter().filter(|cause| cause.reason == "FieldManagerConflict").filter_map(field_conflict).collect();
    if !fields.is_empty() {
        ErrorKind::Conflict(fields)
    } else if reason == "AlreadyExists" {
        ErrorKind::AlreadyExists
    } else {
        ErrorKind::PreconditionFailed
    }
}

/// From `conflict with "kubectl" using apps/v1 at 2026-01-02T03:04:05Z` and the field's path.
fn field_conflict(cause: &Cause) -> Option<FieldConflict> {
    let quoted = cause.message.strip_prefix("conflict with ")?;
    let end = quoted.char_indices().skip(1).scan(false, |escaped, (at, character)| {
        let closes = character == '"' && !*escaped;
        *escaped = character == '\\' && !*escaped;
        Some((at, closes))
    });
    let end = end.into_iter().find_map(|(at, closes)| closes.then_some(at))?;
    let manager = serde_json::from_str(&quoted[..=end]).unwrap_or_else(|_| quoted[..=end].trim_matches('"').to_owned());
    Some(FieldConflict { manager, field: cause.field.clone() })
}

fn foreign_message(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(FOREIGN_BYTES_MAX)]);
    let text = text.trim().trim_end_matches(char::REPLACEMENT_CHARACTER);
    if text.is_empty() { format!("the server answered {status}") } else { format!("the server answered {status}: {text}") }
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max { text.to_owned() } else { format!("{}…", &text[..text.floor_char_boundary(bytes_max)]) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(code: u16, reason: &str, message: &str, details: &Value) -> ApiError {
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message, "details": details});
        error(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), body.to_string().as_bytes())
    }

    #[test]
    fn kinds() {
        let named = json!({"name": "web", "kind": "deployments", "group": "apps"});
        let table: &[(u16, &str, &str, ErrorKind)] = &[
            (400, "BadRequest", "strict decoding error: unknown field \"spec.foo\"", ErrorKind::Invalid),
            (401, "Unauthorized", "Unauthorized", ErrorKind::Unauthorized),
            (
                403,
                "Forbidden",
                r#"deployments.apps "web" is forbidden: User "ci" cannot patch resource "deployments" in API group "apps" in the namespace "shop""#,
                ErrorKind::Forbidden,
            ),
            (403, "Forbidden", r#"forbidden: User "system:anonymous" cannot get path "/apis""#, ErrorKind::Forbidden),
            (
                403,
                "Forbidden",
                r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "ci" (groups=["g"]) is attempting to grant RBAC permissions not currently held: …"#,
                ErrorKind::Forbidden,
            ),
            (403, "Forbidden", r#"pods "web" is forbidden: violates PodSecurity "restricted:latest": privileged"#, ErrorKind::Refused),
            (403, "Forbidden", r#"pods "web" is forbidden: exceeded quota: small"#, ErrorKind::Refused),
            (
                403,
                "Forbidden",
                r#"configmaps "a" is forbidden: unable to create new content in namespace shop because it is being terminated"#,
                ErrorKind::Refused,
            ),
            (403, "Forbidden", r#"admission webhook "x.y" denied the request: User "a" cannot have this"#, ErrorKind::Refused),
            (401, "Unauthorized", r#"admission webhook "x.y" denied the request: who are you?"#, ErrorKind::Refused),
            (
                403,
                "Forbidden",
                r#"configmaps "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                ErrorKind::Refused,
            ),
            (404, "NotFound", r#"deployments.apps "web" not found"#, ErrorKind::NotFound),
            (405, "MethodNotAllowed", "the server does not allow this method on the requested resource", ErrorKind::Invalid),
            (406, "NotAcceptable", "only the following media types are accepted: …", ErrorKind::Protocol),
            (409, "AlreadyExists", r#"configmaps "a" already exists"#, ErrorKind::AlreadyExists),
            (409, "Conflict", "the object has been modified", ErrorKind::PreconditionFailed),
            (410, "Expired", "The provided continue parameter is too old", ErrorKind::Expired),
            (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", ErrorKind::Invalid),
            (422, "Invalid", "spec.replicas: Invalid value: -1", ErrorKind::Invalid),
            (429, "TooManyRequests", "too many requests", ErrorKind::TooManyRequests),
            (500, "", "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.foo", ErrorKind::Invalid),
            (500, "InternalError", r#"Internal error occurred: failed calling webhook "x.y""#, ErrorKind::Server),
            (503, "ServiceUnavailable", "apiserver is shutting down", ErrorKind::Server),
            (504, "Timeout", "request did not complete within the allotted timeout", ErrorKind::Timeout),
        ];
        for (code, reason, message, kind) in table {
            let error = status(*code, reason, message, &named);
            assert_eq!(error.kind(), kind, "{code} {message}");
            assert_eq!((error.status(), error.reason(), error.message()), (Some(*code), *reason, *message));
        }
        assert_eq!(*status(404, "NotFound", "the server could not find the requested resource", &json!({})).kind(), ErrorKind::NoSuchKind);
    }

    #[test]
    fn field_conflicts_name_their_managers() {
        let cause = |message: &str, field: &str| json!({"reason": "FieldManagerConflict", "message": message, "field": field});
        let error = status(
            409,
            "Conflict",
            "Apply failed with 2 conflicts",
            &json!({"causes": [
                cause("conflict with \"kubectl-client-side-apply\" using apps/v1 at 2026-01-02T03:04:05Z", ".spec.replicas"),
                cause(r#"conflict with "odd \"name\"" with subresource "status""#, ".data.a"),
                cause("something else", ".data.b"),
            ]}),
        );
        let conflict = |manager: &str, field: &str| FieldConflict { manager: manager.into(), field: field.into() };
        assert_eq!(
            *error.kind(),
            ErrorKind::Conflict(vec![conflict("kubectl-client-side-apply", ".spec.replicas"), conflict("odd \"name\"", ".data.a")])
        );
    }

    #[test]
    fn immutable_fields_are_recognised() {
        let immutable =
            |code, message: &str, cause: &str| status(code, "Invalid", message, &json!({"causes": [{"message": cause}]})).is_immutable();
        assert!(immutable(422, "Deployment is invalid", "Invalid value: {…}: field is immutable"));
        assert!(immutable(422, "x is invalid: roleRef: Invalid value: {…}: cannot change roleRef", ""));
        assert!(!immutable(422, "spec.replicas: Invalid value: -1", ""));
        assert!(!immutable(500, "field is immutable", ""));
    }

    #[test]
    fn what_goes_by_itself_and_what_cannot_be_tried() {
        let refused = |words: &str| status(403, "Forbidden", &format!(r#"configmaps "a" is forbidden: {words}"#), &json!(null));
        for (words, code) in [
            ("unable to create new content in namespace shop because it is being terminated", "EK4035"),
            ("exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2", "EK4036"),
            ("status unknown for quota: few, resources: count/configmaps", "EK4036"),
        ] {
            assert!(refused(words).retryable(), "{words}");
            assert_eq!(refused(words).code().id, code, "{words}");
        }
        for words in ["failed quota: few: must specify limits.cpu", "violates PodSecurity \"restricted:latest\""] {
            assert!(!refused(words).retryable(), "{words}");
        }
        let webhook = status(400, "BadRequest", r#"admission webhook "x.y" does not support dry run"#, &json!(null));
        assert!(webhook.is_untriable() && !webhook.is_of_lost_version());
        let lost = status(500, "InternalError", "request to convert CR to an invalid group/version: a.org/v1alpha1", &json!(null));
        assert!(lost.is_untriable() && lost.is_of_lost_version());
        assert!(!status(422, "Invalid", "spec.replicas: Invalid value: -1", &json!(null)).is_untriable());
    }

    #[test]
    fn foreign_answers() {
        let answer = |code: u16, body: &[u8]| error(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), body);
        let missing = answer(404, b"404 page not found\n");
        assert_eq!((missing.kind(), missing.message()), (&ErrorKind::NoSuchKind, "the server answered 404 Not Found: 404 page not found"));
        assert_eq!(*answer(302, b"").kind(), ErrorKind::Protocol);
        assert_eq!(*answer(403, b"<html>").kind(), ErrorKind::Forbidden);
        assert_eq!(*answer(502, b"<html>").kind(), ErrorKind::Server);
        assert!(answer(502, &vec![b'x'; 100_000]).message().len() < 1000);
        assert!(status(422, "Invalid", &"ä".repeat(20_000), &json!(null)).message().len() < 20_000);
    }

    #[test]
    fn retry_after_from_header_or_details() {
        let mut headers = HeaderMap::new();
        let body = br#"{"kind":"Status","details":{"retryAfterSeconds":3}}"#;
        assert_eq!(error(StatusCode::TOO_MANY_REQUESTS, &headers, body).retry_after(), Some(Duration::from_secs(3)));
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(error(StatusCode::TOO_MANY_REQUESTS, &headers, body).retry_after(), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        assert_eq!(error(StatusCode::TOO_MANY_REQUESTS, &headers, b"{}").retry_after(), None);
    }

    #[test]
    fn codes() {
        let code = |error: &ApiError| error.code().id;
        assert_eq!(code(&status(422, "Invalid", "no", &json!(null))), "EK4001");
        assert_eq!(code(&status(422, "Invalid", "field is immutable", &json!(null))), "EK4010");
        assert_eq!(code(&status(403, "Forbidden", r#"User "a" cannot get path "/""#, &json!(null))), "EK4011");
        assert_eq!(code(&status(401, "Unauthorized", "Unauthorized", &json!(null))), "EK3003");
        assert_eq!(code(&ApiError::new(ErrorKind::Timeout, "slow")), "EK3002");
    }
}
