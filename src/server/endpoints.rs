//! Every path of the server, and what a caller must have for it. What is not in this list is answered to nobody.

use super::caller::Role;

/// What a caller must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: probes of an orchestrator have no token.
    Nothing,
    /// A signature of what is sent, by a secret that the handler knows: a forge has no token.
    Signature,
    /// A token of any role; on loopback none.
    Reading,
    /// A token of that role, on loopback too.
    Role(Role),
}

/// One path and method.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// GET or POST.
    pub method: &'static str,
    /// With parameters in braces.
    pub path: &'static str,
    /// What a caller must have.
    pub needs: Needs,
    /// For people and their browsers; others are the API.
    pub page: bool,
}

const fn endpoint(method: &'static str, path: &'static str, needs: Needs) -> Endpoint {
    Endpoint { method, path, needs, page: false }
}

const fn page(method: &'static str, path: &'static str, needs: Needs) -> Endpoint {
    Endpoint { method, path, needs, page: true }
}

/// All of them. docs/openapi.json has those of the API, held to this list by a test.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/healthz", Needs::Nothing),
    endpoint("GET", "/readyz", Needs::Nothing),
    endpoint("GET", "/metrics", Needs::Reading),
    endpoint("GET", "/api/v1/status", Needs::Reading),
    endpoint("GET", "/api/v1/log", Needs::Reading),
    endpoint("GET", "/api/v1/where/{rev}", Needs::Reading),
    endpoint("GET", "/api/v1/history/{cluster}", Needs::Reading),
    endpoint("GET", "/api/v1/why/{cluster}", Needs::Reading),
    endpoint("GET", "/api/v1/diff/{cluster}", Needs::Reading),
    endpoint("GET", "/api/v1/object/{cluster}/{object}", Needs::Reading),
    endpoint("GET", "/api/v1/under-way", Needs::Reading),
    endpoint("GET", "/api/v1/source", Needs::Reading),
    endpoint("GET", "/api/v1/changes", Needs::Reading),
    endpoint("GET", "/api/v1/events", Needs::Reading),
    endpoint("GET", "/api/v1/events/stream", Needs::Reading),
    endpoint("POST", "/hooks/{forge}", Needs::Signature),
    endpoint("POST", "/api/v1/plan", Needs::Role(Role::Planner)),
    endpoint("POST", "/api/v1/sync", Needs::Role(Role::Operator)),
    endpoint("POST", "/api/v1/hold", Needs::Role(Role::Operator)),
    endpoint("POST", "/api/v1/release", Needs::Role(Role::Operator)),
    endpoint("POST", "/api/v1/rollback", Needs::Role(Role::Operator)),
    endpoint("POST", "/api/v1/retry", Needs::Role(Role::Operator)),
    endpoint("POST", "/api/v1/approve", Needs::Role(Role::Approver)),
    endpoint("POST", "/api/v1/resume", Needs::Role(Role::Approver)),
    endpoint("POST", "/api/v1/accept-cluster", Needs::Role(Role::Approver)),
    page("GET", "/", Needs::Reading),
    page("GET", "/clusters/{cluster}", Needs::Reading),
    page("GET", "/commits/{rev}", Needs::Reading),
    page("GET", "/search", Needs::Reading),
    page("GET", "/rollout", Needs::Reading),
    page("POST", "/approve", Needs::Role(Role::Approver)),
    page("GET", "/hold", Needs::Role(Role::Operator)),
    page("POST", "/hold", Needs::Role(Role::Operator)),
    page("POST", "/release", Needs::Role(Role::Operator)),
    page("POST", "/retry", Needs::Role(Role::Operator)),
    page("GET", "/rollback", Needs::Role(Role::Operator)),
    page("POST", "/rollback", Needs::Role(Role::Operator)),
    page("GET", "/sign-in", Needs::Nothing),
    page("POST", "/sign-in", Needs::Nothing),
    page("POST", "/sign-out", Needs::Nothing),
    page("GET", "/assets/style.css", Needs::Nothing),
    page("GET", "/assets/live.js", Needs::Nothing),
];

/// That one; none where the path takes no such method.
pub(super) fn find(method: &str, path: &str) -> Option<&'static Endpoint> {
    // Whatever can be got can be asked about.
    let method = if method == "HEAD" { "GET" } else { method };
    ENDPOINTS.iter().find(|endpoint| endpoint.method == method && endpoint.path == path)
}
